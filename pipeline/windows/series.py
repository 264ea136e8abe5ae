"""One recording made ready to be cut: missing values filled, samples at another rate."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.recordings.base import Facts, Recording
from pipeline.windows.missing import interpolated
from pipeline.windows.published import PUBLISHED
from pipeline.windows.resample import RULES, new_rate
from pipeline.windows.rows import Rows
from pipeline.windows.spec import Length, WindowSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """Values of one recording at the rate of its windows, and where each comes from.

    values: (K, C) float64. bounds: (M + 1,) ends of the stretches, which no window leaves. first,
    last: (K,) the rows that a value is made of. raw, classes: (R,) the sample of the recording
    that a row is, and its class, -1 for none. rate, recorded: in Hz, of values and recording.
    units: of the channels, before any scale. read: bytes of the numbers of the recording. notes: of
    the recording.
    """

    channels: tuple[str, ...]
    values: np.ndarray
    bounds: np.ndarray
    first: np.ndarray
    last: np.ndarray
    raw: np.ndarray
    classes: np.ndarray
    rate: float
    recorded: float
    units: tuple[str, ...] = ()
    read: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds: an array that stands for several counts once."""
        arrays = (self.values, self.first, self.last, self.raw, self.classes)
        own = {id(array): array for array in arrays if any(array.strides)}
        return sum(array.nbytes for array in own.values())


def make_series(recording: Recording, spec: WindowSpec, facts: Facts) -> Series:
    """The series of a recording. Raises SourceError for channels that it has not."""
    rows = Rows.of(recording, facts)
    if spec.prepare.name == "published":
        prepare = PUBLISHED[facts.name].prepare
        assert prepare is not None  # checked where the source is opened
        rows = prepare(recording)
    rows = rows.with_channels(spec.channels, f"{facts.name}, {recording.file}")
    bounds = rows.bounds(bridge=spec.gaps.name == "bridge")
    values = rows.values
    if spec.missing.name == "interpolate":
        longest: Length = spec.missing.amount
        values = interpolated(values, bounds, longest.samples(rows.rate))
    values, bounds, first, last = _resampled(values, rows, bounds, spec)
    units = dict(zip(recording.channels, recording.units, strict=True))
    return Series(
        channels=rows.channels,
        values=values,
        bounds=bounds,
        first=first,
        last=last,
        raw=rows.raw,
        classes=rows.classes,
        rate=new_rate(rows.rate, spec.resample),
        recorded=recording.rate,
        units=tuple(units.get(name, "") for name in rows.channels),
        read=recording.values.nbytes,
        notes=recording.notes,
    )


def _resampled(
    values: np.ndarray, rows: Rows, bounds: np.ndarray, spec: WindowSpec
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Values (K, C), ends of the stretches, and first and last row (K,) of each value."""
    if spec.resample.name == "none" or not len(rows):
        every = rows.raw if rows.is_whole else np.arange(len(rows))
        return values, bounds, every, every
    make, amount = RULES[spec.resample.name], spec.resample.amount
    bridge = spec.gaps.name == "bridge"
    parts = [
        (start, make(values[start:stop], rows.seconds(start, stop, bridge=bridge), amount))
        for start, stop in pairwise(bounds.tolist())
    ]
    ends = np.cumsum([0, *(len(made[0]) for _, made in parts)])
    return (
        np.concatenate([made[0] for _, made in parts]),
        ends,
        np.concatenate([start + made[1] for start, made in parts]),
        np.concatenate([start + made[2] for start, made in parts]),
    )
