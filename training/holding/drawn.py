"""Diagrams held, and the images of each batch drawn from them, beside all else held by its size."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pi_cache.errors import InvalidSpec
from pi_cache.reader import Store
from training.holding.resident import Resident
from training.holding.streaming import Streaming
from training.order import Blocks
from training.parts import Part, Table
from training.rendered import RenderedImages
from training.widen import PLAIN, Scale

HoldRest = Callable[[Table, int], Resident | Streaming]
"""What is not drawn, and the bytes that diagrams take already, to what holds it."""


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
    imported images, inputs and arrays are held as they are stored, by `hold_rest`: on the device,
    in the machine's memory or on disk. blocks: the order that the latter needs, if any.
    Raises InvalidSpec where no images of the table have diagrams; CorruptStore.
    """

    def __init__(
        self, table: Table, *, hold_rest: HoldRest, device: str | torch.device = "cpu"
    ) -> None:
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
        rest = _Rest(len(table), kept, table.numbers)
        taken = sum(each.bytes for each in self.images.values())
        self.rest = hold_rest(rest, taken) if kept else Resident(rest, device=self.device)
        self.scales: dict[str, Scale] = {**self.rest.scales, **dict.fromkeys(self.images, PLAIN)}
        self.why = "; ".join(f"{name} {drawn.why}" for name, drawn in self.images.items())
        self.why += f"; {', '.join(kept)} {self.rest.why}" if kept else ""

    def __len__(self) -> int:
        return len(self.rest)

    @property
    def blocks(self) -> Blocks | None:
        """See `Streaming`."""
        return getattr(self.rest, "blocks", None)

    def batch(self, positions: Tensor) -> dict[str, Tensor]:
        """Tensors (n, ...) of the samples at positions (n,) int64, on the device."""
        return self._with_images(positions, self.rest.batch(positions))

    def stream(self, batches: Sequence[Tensor]) -> Generator[dict[str, Tensor], None, None]:
        """The batches at these positions, one after the other; what lies on disk is read ahead."""
        rest = self.rest
        found: Iterable[dict[str, Tensor]] = (
            rest.stream(batches)
            if isinstance(rest, Streaming)
            else (rest.batch(positions) for positions in batches)
        )
        for positions, values in zip(batches, found, strict=True):
            yield self._with_images(positions, values)

    def close(self) -> None:
        """Let go of the diagrams and of all else."""
        for drawn in self.images.values():
            drawn.close()
        self.rest.close()

    def _with_images(self, positions: Tensor, rest: Mapping[str, Tensor]) -> dict[str, Tensor]:
        drawn = {name: each.batch(positions)["images"] for name, each in self.images.items()}
        return drawn | {name: values.to(self.device) for name, values in rest.items()}


def _has_diagrams(part: Part) -> bool:
    if not isinstance(part.source, Store) or part.array != "images":
        return False
    return part.source.spec.gramian is None and part.source.spec.origin is None
