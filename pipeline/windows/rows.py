"""Rows of a recording that windows are cut from: which samples they are, and of which class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import NO_LABEL, Facts, Recording
from pipeline.recordings.times import breaks


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """What of a recording is cut, before any resampling.

    values: (R, C) float64 of the channels. classes: (R,) numbers of classes from 0, -1 for none.
    raw: (R,) ascending, the sample of the recording that a row is. times: (R,) in seconds, or None
    where each row follows the last by 1 / rate. follow: how many samples of the recording a row
    comes after the one before, where none was dropped between. block: 0, or the length of windows
    that the publisher has cut. seams: positions of rows that may not follow the one before.
    """

    channels: tuple[str, ...]
    values: np.ndarray
    classes: np.ndarray
    raw: np.ndarray
    times: np.ndarray | None
    rate: float
    follow: int = 1
    block: int = 0
    seams: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def of(cls, recording: Recording, facts: Facts) -> Self:
        """All rows of a recording, as it is."""
        return cls(
            channels=recording.channels,
            values=recording.values,
            classes=class_numbers(recording.labels, facts.classes),
            raw=np.arange(len(recording)),
            times=recording.times,
            rate=recording.rate,
            block=recording.window,
            seams=recording.seams,
        )

    @property
    def is_whole(self) -> bool:
        """Whether the rows are all samples of the recording."""
        return bool(len(self)) and int(self.raw[-1]) == len(self) - 1

    def with_channels(self, names: Sequence[str], where: str) -> Self:
        """These channels in their order, all for none named. Raises SourceError."""
        unknown = [name for name in names if name not in self.channels]
        if unknown:
            raise SourceError(
                f"{where} has no channel {', '.join(unknown)}; it has {', '.join(self.channels)}"
            )
        if not names or tuple(names) == self.channels:
            return self
        columns = [self.channels.index(name) for name in names]
        return replace(self, channels=tuple(names), values=self.values[:, columns])

    def bounds(self, *, bridge: bool) -> np.ndarray:
        """Ends (M + 1,) of the stretches that no window leaves, from 0 to R.

        A stretch ends at a window that the publisher has cut and, unless they are bridged, at a gap
        in time, at a seam and where rows were dropped.
        """
        ends = [np.array([0, len(self)])]
        if self.block:
            ends.append(np.arange(0, len(self), self.block))
        if not bridge:
            if not self.is_whole:
                ends.append(np.flatnonzero(np.diff(self.raw) > self.follow) + 1)
            ends.append(np.array(self.seams, np.int64))
            if self.times is not None:
                ends.append(breaks(self.times, self.rate))
        return np.unique(np.concatenate(ends))

    def seconds(self, start: int, stop: int, *, bridge: bool) -> np.ndarray:
        """Times of rows start..stop from the first; evenly spaced where gaps are bridged.

        One row alone has the time 0: its own may not be known.
        """
        if bridge or self.times is None or stop - start == 1:
            return np.arange(stop - start) / self.rate
        return np.asarray(self.times[start:stop] - self.times[start])


def class_numbers(codes: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """The place (T,) int64 of each code among the classes; -1 for one that is none of them."""
    if len(codes) > 1 and not codes.strides[0]:  # one code for all, in the memory of one
        return np.broadcast_to(class_numbers(codes[:1], classes), codes.shape)
    numbers = np.full(len(codes), NO_LABEL, np.int64)
    for number, code in enumerate(classes):
        numbers[codes == code] = number
    return numbers
