"""Teachers of a run: without gradients, and once for each sample where batches never change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from training.models.outputs import Outputs
from training.trained import Trained

Batch = Mapping[str, Tensor]


class Kept(NamedTuple):
    """What one teacher gives for every sample of a side: logits (N, K), maps (N, ...) by name."""

    logits: Tensor
    maps: dict[str, Tensor]


class Teachers:
    """Called with a batch, gives the Outputs of each teacher in order.

    stages: whether maps are asked for; without, maps may be missing from what is kept.
    """

    def __init__(self, members: tuple[Trained, ...], *, stages: bool) -> None:
        self.members, self.stages = members, stages
        self.kept: tuple[Kept, ...] = ()
        self._place = torch.empty(0, dtype=torch.int64)
        for teacher in members:
            teacher.network.requires_grad_(False)

    @property
    def names(self) -> tuple[str, ...]:
        """Arrays of a batch that some teacher reads."""
        return tuple(dict.fromkeys(n for teacher in self.members for n in teacher.view.names))

    def place(self, device: torch.device) -> None:
        """Send them to a device."""
        for teacher in self.members:
            teacher.network.to(device)

    def __call__(self, batch: Batch) -> list[Outputs]:
        if not self.kept:
            return [teacher(batch) for teacher in self.members]
        rows = self._place[batch["index"]]
        return [
            Outputs(kept.logits[rows], {name: maps[rows] for name, maps in kept.maps.items()})
            for kept in self.kept
        ]

    def keep(self, batches: Iterable[Batch], *, samples: int, most: int) -> str:
        """Ask them once about every sample, if that fits `most` bytes; says what was done.

        batches: of one fixed order, with `index`, so that a run that is taken up again gets the
        same bits. samples: how many there are in all.
        """
        rows, places, first = 0, [], True
        for batch in batches:
            given = [self._wanted(teacher(batch)) for teacher in self.members]
            if first:
                needed = samples * sum(map(_bytes, given)) // len(batch["index"])
                if needed > most:
                    return f"teachers run in every step: {needed:,} bytes, {most:,} may be kept"
                tables = [_empty(outputs, samples) for outputs in given]
                first = False
            stop = rows + len(batch["index"])
            for table, outputs in zip(tables, given, strict=True):
                table.logits[rows:stop] = outputs.logits
                for name, maps in table.maps.items():
                    maps[rows:stop] = outputs.maps[name]
            places.append(batch["index"])
            rows = stop
        index = torch.cat(places)
        self._place = torch.full((int(index.max()) + 1,), -1, device=index.device)
        self._place[index] = torch.arange(rows, device=index.device)
        self.kept = tuple(tables)
        return f"teachers were asked once about {rows:,} samples: {needed:,} bytes are kept"

    def forget(self) -> None:
        """Ask them anew from now on."""
        self.kept = ()

    def _wanted(self, outputs: Outputs) -> Outputs:
        return outputs if self.stages else Outputs(outputs.logits, {})


def _bytes(outputs: Outputs) -> int:
    return sum(value.nbytes for value in (outputs.logits, *outputs.maps.values()))


def _empty(outputs: Outputs, samples: int) -> Kept:
    """Tables for so many samples like these."""

    def table(like: Tensor) -> Tensor:
        return like.new_empty((samples, *like.shape[1:]))

    return Kept(table(outputs.logits), {n: table(maps) for n, maps in outputs.maps.items()})
