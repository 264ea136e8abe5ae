"""Diagrams held, and the images of each batch drawn from them, beside all else held decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pi_cache.errors import InvalidSpec
from pi_cache.reader import Store
from training.holding.resident import Resident
from training.parts import Part, Table
from training.rendered import RenderedImages
from training.widen import PLAIN, Scale


@dataclass(frozen=True, slots=True)
class _Rest:
    """What of a table is not drawn."""

    samples: int
    parts: Mapping[str, Part]
    numbers: Mapping[str, NDArray[np.int64]]

    def __len__(self) -> int:
        return self.samples


class Drawn:
    """A table whose persistence images are drawn on the device, see `training.rendered`.

    images: what draws them, by name; its sigma may be set or learned. Gramian angular fields,
    imported images, inputs and arrays are held as they are stored.
    Raises InvalidSpec where no images of the table have diagrams; CorruptStore.
    """

    def __init__(self, table: Table, *, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.images = {
            name: RenderedImages(part.source, part.rows, channels=part.channels, device=self.device)
            for name, part in table.parts.items()
            if _has_diagrams(part) and isinstance(part.source, Store)
        }
        if not self.images:
            raise InvalidSpec(
                "rendered: no images here have diagrams to be drawn from; name the images of a"
                " store of persistence images that was built, or use how='auto'"
            )
        kept = {name: part for name, part in table.parts.items() if name not in self.images}
        self._rest = Resident(_Rest(len(table), kept, table.numbers), device=self.device)
        self.scales: dict[str, Scale] = {**self._rest.scales, **dict.fromkeys(self.images, PLAIN)}
        self.why = "; ".join(f"{name} {drawn.why}" for name, drawn in self.images.items())

    def __len__(self) -> int:
        return len(self._rest)

    def batch(self, positions: Tensor) -> dict[str, Tensor]:
        """Tensors (n, ...) of the samples at positions (n,) int64, on the device."""
        drawn = {name: each.batch(positions)["images"] for name, each in self.images.items()}
        return drawn | self._rest.batch(positions)

    def close(self) -> None:
        """Let go of the diagrams and of the tensors."""
        for drawn in self.images.values():
            drawn.close()
        self._rest.close()


def _has_diagrams(part: Part) -> bool:
    if not isinstance(part.source, Store) or part.array != "images":
        return False
    return part.source.spec.gramian is None and part.source.spec.origin is None
