"""The order of an epoch: a function of seed, epoch and number of samples, and of nothing else.

Every rank and every machine computes the same order of all samples. A step takes the next
`ranks * batch_size` of it, of which each rank has an equal share. What has been delivered is
therefore always the beginning of the order, so that a job may go on with other ranks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from pi_cache.errors import InvalidSpec
from training.selection import described, whole_number


class Blocks(NamedTuple):
    """Samples that are decoded together, and how many are shuffled at a time.

    of: (n,) the block of each position. window: samples.
    """

    of: NDArray[np.int64]
    window: int


class Share(NamedTuple):
    """What one rank has of one step: positions start..stop of the order, `total` by all ranks."""

    start: int
    stop: int
    total: int


def epoch_order(
    samples: int, *, seed: int, epoch: int, shuffle: bool = True, blocks: Blocks | None = None
) -> Tensor:
    """(samples,) positions in the order of an epoch.

    blocks: they are put in a random order, and samples are then shuffled within windows, so that
    each block is decoded once: almost as random when a window has many times as many blocks as a
    batch has samples.
    """
    if not shuffle:
        return torch.arange(samples)
    draw = _generator(seed, epoch)
    if blocks is None:
        return torch.randperm(samples, generator=draw)
    names, number = np.unique(blocks.of, return_inverse=True)
    rank = torch.randperm(len(names), generator=draw)[torch.from_numpy(number.reshape(-1))]
    order = torch.argsort(rank, stable=True)
    parts = torch.split(order, blocks.window)
    return torch.cat([part[torch.randperm(len(part), generator=draw)] for part in parts])


def shares(samples: int, batch_size: int, *, rank: int, ranks: int, drop_last: bool) -> list[Share]:
    """What a rank has of each step through so many samples.

    All ranks have as many steps. Every sample is delivered once: what is left for the last step
    is shared equally, within one sample; where that is less than a sample for each rank, the step
    before gives up some of its own. drop_last: the last step is left out unless it is full.
    Raises InvalidSpec where ranks cannot have equally many steps that way.
    """
    step = batch_size * ranks
    full, rest = divmod(samples, step)
    totals = [step] * full + ([rest] if rest and not drop_last else [])
    if rest and not drop_last and rest < ranks:
        if batch_size == 1 or not full:
            raise InvalidSpec(
                f"{samples} samples in batches of {batch_size} leave {rest} for {ranks} ranks in"
                " the last step, and a rank without a sample would stop the others; take"
                " drop_last=True, fewer ranks or another batch size"
            )
        totals[-2:] = [step + rest - ranks, ranks]
    starts = np.cumsum([0, *totals])[:-1].tolist()
    return [
        Share(start + rank * total // ranks, start + (rank + 1) * total // ranks, total)
        for start, total in zip(starts, totals, strict=True)
    ]


@dataclass(kw_only=True)
class EpochBatches(Sampler[list[int]]):
    """The batches of a rank as lists of positions: a `batch_sampler` for torch's DataLoader.

        DataLoader(dataset, batch_sampler=EpochBatches(samples=len(dataset), batch_size=128))

    rank, ranks: this process among those that train together. blocks: see `epoch_order`.
    Call `set_epoch` before each epoch, as of torch's DistributedSampler.
    Raises InvalidSpec.
    """

    samples: int
    batch_size: int = 128
    shuffle: bool = True
    seed: int = 0
    rank: int = 0
    ranks: int = 1
    drop_last: bool = False
    blocks: Blocks | None = None
    epoch: int = 0

    def __post_init__(self) -> None:
        for name in ("samples", "batch_size", "seed", "rank", "ranks", "epoch"):
            setattr(self, name, _parse_whole(name, getattr(self, name)))
        if self.batch_size < 1 or self.samples < 1:
            raise InvalidSpec(
                "batches need at least one sample each, got"
                f" batch_size {self.batch_size} of {self.samples} samples"
            )
        if not 0 <= self.rank < self.ranks:
            raise InvalidSpec(f"rank must lie in 0..{self.ranks - 1}, got {self.rank}")
        self.shares(0)

    __hash__ = object.__hash__

    def __len__(self) -> int:
        return len(self.shares(0))

    def __iter__(self) -> Iterator[list[int]]:
        order = self.order()
        return (order[share.start : share.stop].tolist() for share in self.shares(0))

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch from the next iteration on."""
        self.epoch = _parse_whole("epoch", epoch)

    def order(self) -> Tensor:
        """(samples,) positions in the order of the epoch, of all ranks."""
        return epoch_order(
            self.samples,
            seed=self.seed,
            epoch=self.epoch,
            shuffle=self.shuffle,
            blocks=self.blocks,
        )

    def shares(self, done: int) -> list[Share]:
        """What this rank has of each step that is left after `done` samples of all ranks."""
        left = shares(
            self.samples - done,
            self.batch_size,
            rank=self.rank,
            ranks=self.ranks,
            drop_last=self.drop_last,
        )
        return [Share(start + done, stop + done, total) for start, stop, total in left]


def _parse_whole(name: str, value: Any) -> int:
    """A number of Python's, as which a state can be written. Raises InvalidSpec for others."""
    number = whole_number(value)
    if number is None:
        raise InvalidSpec(f"{name} must be a whole number, got {described(value)}")
    return number


def _generator(seed: int, epoch: int) -> torch.Generator:
    """Of torch on the CPU, wherever the samples are, so that the device changes no order."""
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
