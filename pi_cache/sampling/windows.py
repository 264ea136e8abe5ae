"""Windows of recordings: what the id of a sample says of where it was cut.

    RECORDING@START+LENGTH@RATEHz[=SAMPLES@RATEHz]

LENGTH samples from sample START (counted from 0) of the recording, taken at the rate; and, where
they were resampled, how many they became. Two windows of another place, length or rate have
another id, so stores of them do not join.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from pi_cache.errors import InvalidSpec
from pi_cache.sampling.samples import Numbers, Samples, coded, parse_texts

ID_FORM = (
    "RECORDING@START+LENGTH@RATEHz[=SAMPLES@RATEHz]: LENGTH samples from sample START (from 0) of"
    " the recording, at its rate; then how many they became where they were resampled"
)
"""What a store says of its ids, under the name `ids` of its attributes."""

_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[+-][0-9]+)?"
_ID = re.compile(
    rf"(?P<recording>.+)@(?P<start>[0-9]+)\+(?P<length>[0-9]+)@(?P<recorded>{_NUMBER})Hz"
    rf"(?:=(?P<samples>[0-9]+)@(?P<rate>{_NUMBER})Hz)?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Where a window was cut, in samples as they were recorded, and what it became.

    recording: its file, with `#SUBJECT` where several people share one. recorded, rate: in Hz, of
    the recording and of the window, to six digits. samples: of the window.
    """

    recording: str
    start: int
    length: int
    recorded: float
    samples: int
    rate: float

    @property
    def stop(self) -> int:
        """The first sample of the recording after it."""
        return self.start + self.length

    def __str__(self) -> str:
        place = f"{self.recording}@{self.start:06d}+{self.length}@{self.recorded:.6g}Hz"
        same = (self.samples, f"{self.rate:.6g}") == (self.length, f"{self.recorded:.6g}")
        return place if same else f"{place}={self.samples}@{self.rate:.6g}Hz"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The window of an id. Raises InvalidSpec for an id that names none."""
        found = _ID.fullmatch(text)
        if found is None:
            raise InvalidSpec(f"the id {text[:80]!r} names no window, expected {ID_FORM}")
        length, recorded = int(found["length"]), float(found["recorded"])
        return cls(
            recording=found["recording"],
            start=int(found["start"]),
            length=length,
            recorded=recorded,
            samples=int(found["samples"] or length),
            rate=float(found["rate"] or recorded),
        )


@dataclass(frozen=True, slots=True)
class Intervals:
    """Where each of N windows was cut: recording, first sample, and the one after the last."""

    recordings: ArrayLike | Sequence[str]
    starts: ArrayLike
    stops: ArrayLike

    def ranked(self, count: int) -> tuple[Numbers, Numbers]:
        """(N,) start and stop in whole numbers: equal order, and recordings one after another.

        Raises InvalidSpec for other lengths than `count`, and for empty windows.
        """
        starts, stops = np.asarray(self.starts), np.asarray(self.stops)
        _, code = coded(parse_texts(self.recordings, "recordings"))
        if not len(code) == len(starts) == len(stops) == count:
            raise InvalidSpec(
                f"intervals: {len(code)} recordings, {len(starts)} starts and {len(stops)} stops"
                f" for {count} samples"
            )
        if not (stops > starts).all():
            bad = int(np.flatnonzero(~(stops > starts))[0])
            raise InvalidSpec(f"intervals: window {bad} stops at {stops[bad]}, not after its start")
        times, ranks = np.unique(np.concatenate([starts, stops]), return_inverse=True)
        base = code * len(times)
        return base + ranks.reshape(-1)[:count], base + ranks.reshape(-1)[count:]


def intervals_of(samples: Samples) -> Intervals:
    """Where each window was cut, for `check_leakage`. Raises InvalidSpec for other ids."""
    windows = [Window.parse(str(name)) for name in samples.ids]
    return Intervals(
        recordings=[window.recording for window in windows],
        starts=np.array([window.start for window in windows], np.int64),
        stops=np.array([window.stop for window in windows], np.int64),
    )


def told_intervals(samples: Samples) -> Intervals | None:
    """`intervals_of` the samples; None where some id names no window."""
    try:
        return intervals_of(samples)
    except InvalidSpec:
        return None
