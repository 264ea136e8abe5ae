"""Small types on the way to the device, wide ones on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

BYTE_MAXIMUM = 255.0
"""What uint8 images hold for the end of the range that they stand for."""


class Scale(NamedTuple):
    """What stored numbers stand for: number / maximum + low; None divides by nothing."""

    maximum: float | None = None
    low: float = 0.0


PLAIN = Scale()


def scale_of_bytes(low: float = 0.0, high: float = 1.0) -> Scale:
    """The scale of uint8 images, of which 0 stands for `low` and 255 for `high`."""
    return Scale(BYTE_MAXIMUM / (high - low), low)


def widen(stored: Tensor, dtype: torch.dtype | None, scale: Scale = PLAIN) -> Tensor:
    """The numbers as they are for None, or in `dtype`: scaled, in float32 at least."""
    if dtype is None:
        return stored
    if scale.maximum is None:
        return stored.to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    values = stored.to(wide).div_(scale.maximum) if stored.dtype != wide else stored / scale.maximum
    return (values.add_(scale.low) if scale.low else values).to(dtype)


def widen_batch(
    batch: Mapping[str, Tensor], dtypes: Mapping[str, torch.dtype], scales: Mapping[str, Scale]
) -> dict[str, Tensor]:
    """A batch in which each tensor that `dtypes` names is widened; the others as they are."""
    return {
        name: widen(tensor, dtypes.get(name), scales.get(name, PLAIN))
        for name, tensor in batch.items()
    }
