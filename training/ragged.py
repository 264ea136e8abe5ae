"""Parts of unequal lengths of one array of points, and how to take them together.

A part is a start and a length, both on the CPU; the points may be on any device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SEGMENT = 4096
"""Points of a segment, at most: larger diagrams are added up from several."""
GROUP = 2**19
"""Masses of one axis, with padding, of a group on a CPU, where they then stay in its cache."""
GROUP_ELSEWHERE = 2**26

Numbers = NDArray[np.int64]


class Ragged(NamedTuple):
    """D parts of an array of points: starts (D,) and lengths (D,)."""

    starts: Numbers
    lengths: Numbers

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def total(self) -> int:
        """Points of all parts."""
        return int(self.lengths.sum())

    @property
    def is_whole(self) -> bool:
        """Whether the parts lie one after the other from point 0 on."""
        ends: Numbers = np.cumsum(self.lengths)
        return bool((self.starts == ends - self.lengths).all())

    def at(self, numbers: Numbers) -> Ragged:
        """Some of the parts."""
        return Ragged(self.starts[numbers], self.lengths[numbers])

    def packed(self) -> Ragged:
        """Parts of the same lengths, one after the other from 0 on."""
        return Ragged(np.cumsum(self.lengths) - self.lengths, self.lengths)

    def points(self, device: torch.device) -> Tensor:
        """(n,) int64 numbers of the points of all parts, part after part."""
        shift = torch.from_numpy(self.starts - self.packed().starts).to(device)
        lengths = torch.from_numpy(self.lengths).to(device)
        shifts = torch.repeat_interleave(shift, lengths, output_size=self.total)
        return shifts + torch.arange(self.total, device=device)

    def owners(self, device: torch.device) -> Tensor:
        """(n,) int64 number of the part of each of those points."""
        parts, lengths = torch.arange(len(self)), torch.from_numpy(self.lengths)
        return torch.repeat_interleave(parts.to(device), lengths.to(device), output_size=self.total)


class Group(NamedTuple):
    """Segments of about one length. owners: (G,) number of the part of each; points: (G, L)."""

    owners: Tensor
    points: Tensor


def room_of(device: torch.device, pixels: int) -> int:
    """Points of a group whose images have so many pixels a side: memory is that of their masses."""
    return max(1, (GROUP if device.type == "cpu" else GROUP_ELSEWHERE) // pixels)


def groups(ragged: Ragged, sentinel: int, device: torch.device, room: int) -> Iterator[Group]:
    """All points of all parts, in groups of segments of about one length, the longest first.

    room: points of a group, with padding; one segment is in a group whatever its length.

    A segment is a part, or a piece of one that has more than SEGMENT points. In a group, segments
    are padded with the point `sentinel` to the length of its longest. An empty part is in none.
    """
    owners, starts, lengths = _segments(ragged)
    table = torch.from_numpy(np.stack((owners, starts, starts + lengths))).to(device)
    first = 0
    while first < len(lengths):
        longest = int(lengths[first])
        here = slice(first, first + max(1, room // longest))
        first = here.stop
        points = table[1, here, None] + torch.arange(longest, device=device)  # (G, L)
        outside = points >= table[2, here, None]
        yield Group(table[0, here], points.masked_fill_(outside, sentinel))


def _segments(ragged: Ragged) -> tuple[Numbers, Numbers, Numbers]:
    """Part, start and length of each segment, by falling length."""
    pieces = -(-ragged.lengths // SEGMENT)
    owners = np.repeat(np.arange(len(ragged)), pieces)
    place = np.arange(len(owners)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    starts = ragged.starts[owners] + place * SEGMENT
    lengths = np.minimum(ragged.lengths[owners] - place * SEGMENT, SEGMENT)
    order = np.argsort(-lengths, kind="stable")
    return owners[order], starts[order], lengths[order]
