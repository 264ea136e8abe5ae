"""What is counted of a shard while it is built, so that a report reads nothing but the manifest.

Every count is a number, or a list with one for each channel, and `pi_cache.manifest.merged` adds
them up over the shards, in their order, whoever computed them. Whole numbers and extremes do not
depend on how a store is cut into shards; sums do by some 1e-15 of themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from pi_cache.specs import DiagramSpec, ImageSpec, Status, StoreSpec
from pipeline.images import Selection, select
from pipeline.kernels.extent import Extent, extent
from pipeline.kernels.tally import Tally, tally
from pipeline.sources.base import Samples, Source

USABLE = (Status.OK, Status.CONSTANT)
"""What can be filtered."""
CLIPPED_RUN = 3
"""So many equal values in a row, at the smallest or largest value of a channel, are clipped."""
FRACTION = 160
"""Sums are kept as whole multiples of 2^-160: then adding them is exact, in any order."""
COUNTED_BYTES = 2**20
"""Values counted at a time: they stay in the processor's cache."""
LARGEST = sys.float_info.max


class Shown:
    """What the window of the image shows of the points that are drawn, by channel of the images.

    counts: points, and those inside the closed ranges of both axes; births below and above the
    range of births; persistences below and above theirs. sums: of persistence, and of the points
    inside. The smallest and largest birth, and the largest persistence.
    """

    COUNTS = (
        "points", "points_inside", "births_below", "births_above", "persistences_below",
        "persistences_above",
    )  # fmt: skip
    SUMS = ("persistence", "persistence_inside")
    TOTALS = ("points", "points_inside", "persistence", "persistence_inside")

    def __init__(self, channels: int) -> None:
        self.tally = Tally.none(channels)

    def add(self, selection: Selection, spec: ImageSpec) -> None:
        """Count the diagrams of whole samples, in the order of their channels."""
        tally(*selection, spec.birth_range, spec.persistence_range, *self.tally)

    def to_dict(self) -> dict[str, list[Any]]:
        """As it is recorded; an extreme of no point is None, a sum too large the largest float."""
        counts, sums, lows, highs = self.tally
        return {
            **dict(zip(self.COUNTS, counts.tolist(), strict=True)),
            **dict(zip(self.SUMS, np.minimum(sums, LARGEST).tolist(), strict=True)),
            "min_birth": _known(lows),
            "max_birth": _known(highs[0]),
            "max_persistence": _known(highs[1]),
        }

    def totals(self) -> dict[str, Any]:
        """Of all channels together, as it is recorded."""
        found = self.to_dict()
        return {name: min(sum(found[name]), LARGEST) for name in self.TOTALS}


def _known(values: np.ndarray) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]


def input_statistics(samples: Samples, source: Source, spec: DiagramSpec) -> dict[str, Any]:
    """Counts of the values of signals as they are filtered, by channel; {} for other samples.

    samples: all that were looked at. windows, values: those that are usable, and their values in
    each channel. flat: windows in which a channel is constant. total, squares: sums of the values
    and of their squares, in units of 2^-FRACTION, of values before they are rounded to the
    precision of the diagram. lowest, highest: the extreme value, and how many
    values are clipped there: they lie in a run of CLIPPED_RUN or more at that value, in a window in
    which the channel is not constant. read, missing: values of a channel that were read, also in
    windows that are not usable, and how many of them are NaN.
    """
    if source.sample != "signal":
        return {}
    with np.errstate(over="ignore", invalid="ignore"):
        surveyed = _survey(samples, Filtered(source.maximum, spec), len(source.channels))
        return {
            "inputs": {
                "samples": len(samples.status),
                **_counts(surveyed),
                **_missing(samples, len(source.channels)),
            }
        }


def warm_statistics(spec: StoreSpec) -> None:
    """Compile what counts the samples of a store, or load it; a moment if done."""
    if spec.source.sample == "signal":
        extent(np.zeros((1, 1, 1)))
    if spec.gramian is None:
        nothing = np.empty((0, 2), spec.diagram.precision), np.zeros(2, np.int64)
        Shown(1).add(select(*nothing, spec.image), spec.image)


class Filtered:
    """What becomes of values before they are filtered, see `pipeline.fields`.

    Elementwise and rising, once the mean of each signal is subtracted: the extremes of what becomes
    of values are what becomes of their extremes, and the mean is divided as they are.
    """

    def __init__(self, maximum: float | None, spec: DiagramSpec) -> None:
        self.maximum, self.spec = maximum, spec

    def divided(self, values: Any) -> Any:
        """Values in the units of the diagram."""
        return values / (self.maximum or 1.0) / self.spec.scale

    def rounded(self, values: np.ndarray, means: np.ndarray) -> np.ndarray:
        """Values in the units of the diagram and of its precision, as float64.

        means: of the signals that they are from.
        """
        values = values - means if self.spec.centre else values
        return np.asarray(self.divided(values).astype(self.spec.precision), np.float64)


@dataclass(frozen=True)
class _Survey:
    """Usable signals and what each is like: positions, lengths (n,), extent (n, C)."""

    samples: Samples
    filtered: Filtered
    positions: np.ndarray
    lengths: np.ndarray
    found: Extent
    lows: np.ndarray
    highs: np.ndarray

    def part(self, kept: np.ndarray) -> _Survey:
        """Some of the signals; kept: (n,) bool."""
        return replace(
            self,
            positions=self.positions[kept],
            lengths=self.lengths[kept],
            found=Extent(*(values[kept] for values in self.found)),
            lows=self.lows[kept],
            highs=self.highs[kept],
        )


def _survey(samples: Samples, filtered: Filtered, channels: int) -> _Survey:
    """The usable signals; one with a value beyond the precision is left out."""
    positions = np.flatnonzero(np.isin(samples.status, USABLE))
    parts, lengths = [Extent(*np.empty((4, 0, channels)))], [np.empty(0, np.int64)]
    for block in _blocks(samples, positions):
        parts.append(extent(np.asarray(block, np.float64)))
        lengths.append(np.full(len(block), block.shape[1]))
    found = Extent(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    lows, highs = (filtered.rounded(ends, found.means) for ends in (found.lows, found.highs))
    survey = _Survey(samples, filtered, positions, np.concatenate(lengths), found, lows, highs)
    return survey.part((np.isfinite(lows) & np.isfinite(highs)).all(axis=1))


def _blocks(samples: Samples, usable: np.ndarray) -> Iterator[np.ndarray]:
    """Usable signals (n, T, C), some at a time and each once; those of other lengths one by one."""
    arrays = samples.arrays
    if isinstance(arrays, list):
        yield from (arrays[position][None] for position in usable.tolist())
        return
    step = max(COUNTED_BYTES // max(arrays[:1].size * 8, 1), 1)
    for start in range(0, len(usable), step):
        chosen = usable[start : start + step]
        first, last = int(chosen[0]), int(chosen[-1])
        together = last - first + 1 == len(chosen)
        yield arrays[first : last + 1] if together else arrays[chosen]


def _counts(survey: _Survey) -> dict[str, Any]:
    lows, highs = survey.lows, survey.highs
    channels = lows.shape[1]
    counted = {"windows": len(lows), "values": int(survey.lengths.sum())}
    if not len(lows):
        names = ("flat", "total", "squares")
        none = dict.fromkeys(("lowest", "highest"), [None] * channels)
        return counted | {name: [0] * channels for name in names} | none
    flat = lows == highs
    total, squares = _moments(survey)
    return counted | {
        "flat": flat.sum(axis=0).tolist(),
        "total": total,
        "squares": squares,
        "lowest": _clipped(survey, lows, lows.min(axis=0), flat),
        "highest": _clipped(survey, highs, highs.max(axis=0), flat),
    }


def _moments(survey: _Survey) -> tuple[list[int], list[int]]:
    """Sum of values, and of their squares, of each channel in units of 2^-FRACTION.

    From mean m and sum S of squared differences to it, both in double precision: n m and S + n m^2
    without rounding. So values may be far from zero and close to each other: the deviation is wrong
    by about 1e-16 of the ratio of mean to deviation, where plain squares lose that ratio squared.
    """
    divided, lengths = survey.filtered.divided, survey.lengths[:, None]
    count = int(survey.lengths.sum())
    each, spreads = divided(survey.found.means), divided(divided(survey.found.squares))  # (n, C)
    if survey.filtered.spec.centre:
        each = np.zeros_like(each)
    means = (each * (lengths / count)).sum(axis=0)  # (C,)
    squares = (spreads + lengths * (each - means) ** 2).sum(axis=0)
    exact = [
        (Fraction(mean), Fraction(square))
        for mean, square in zip(_finite(means), _finite(squares), strict=True)
    ]
    return (
        [whole(count * mean) for mean, _ in exact],
        [whole(square + count * mean**2) for mean, square in exact],
    )


def _finite(values: np.ndarray) -> list[float]:
    """The largest float for what is beyond it: the record of a shard holds finite numbers."""
    finite: list[float] = np.nan_to_num(values, nan=LARGEST).tolist()
    return finite


def whole(value: Fraction) -> int:
    """A number in units of 2^-FRACTION, rounded down."""
    return (value.numerator << FRACTION) // value.denominator


def mean_and_deviation(count: int, total: int, squares: int) -> tuple[float, float]:
    """Mean, and standard deviation over all values, of sums in units of 2^-FRACTION."""
    mean = Fraction(total, count)
    variance = Fraction(squares, count) * 2**FRACTION - mean**2  # units of 2^-FRACTION squared
    deviation = float(min(max(variance, 0) / 4**FRACTION, LARGEST)) ** 0.5
    return float(mean / 2**FRACTION), deviation


def _clipped(
    survey: _Survey, extremes: np.ndarray, found: np.ndarray, flat: np.ndarray
) -> list[list[float]]:
    """The extreme value of each channel, and how many values are clipped there.

    extremes, flat: (n, C), of each signal, and whether it is one value. found: (C,) the extreme of
    all.
    """
    counts = np.zeros(len(found), np.int64)
    for window, channel in _some_at_a_time(survey, (extremes == found) & ~flat):  # (m,) each
        signals = _signals(survey.samples.arrays, survey.positions[window], channel)  # (m, T)
        values = survey.filtered.rounded(signals, survey.found.means[window, channel][:, None])
        lengths = run_lengths(values == found[channel][:, None])
        counts += np.bincount(channel, lengths, len(found)).astype(np.int64)
    return [list(pair) for pair in zip(found.tolist(), counts.tolist(), strict=True)]


def _some_at_a_time(survey: _Survey, chosen: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Signal and channel of what is chosen (n, C), a few megabytes of values at a time."""
    window, channel = np.nonzero(chosen)
    alike = isinstance(survey.samples.arrays, np.ndarray)
    step = max(COUNTED_BYTES // (8 * int(survey.lengths.max())), 1) if alike else 1
    for start in range(0, len(window), step):
        yield window[start : start + step], channel[start : start + step]


def _signals(
    arrays: np.ndarray | list[np.ndarray], position: np.ndarray, channel: np.ndarray
) -> np.ndarray:
    """One channel each of some signals (m, T); of one where they are of other lengths."""
    if isinstance(arrays, np.ndarray):
        return np.asarray(arrays[position, :, channel], np.float64)
    return np.asarray(arrays[position[0]][None, :, channel[0]], np.float64)


def run_lengths(hit: np.ndarray) -> np.ndarray:
    """How many of each row (m, T) lie in runs of CLIPPED_RUN or more: (m,)."""
    starts = hit.shape[1] - CLIPPED_RUN + 1
    inside = np.zeros_like(hit)
    if starts > 0:
        run = np.logical_and.reduce([hit[:, k : k + starts] for k in range(CLIPPED_RUN)])
        for k in range(CLIPPED_RUN):
            inside[:, k : k + starts] |= run
    lengths: np.ndarray = inside.sum(axis=1)
    return lengths


def _missing(samples: Samples, channels: int) -> dict[str, Any]:
    """How many values of each channel were read, and how many of them are missing."""
    readable = np.isin(samples.status, (*USABLE, Status.NAN, Status.INF))
    missing = np.zeros(channels, np.int64)
    for position in np.flatnonzero(samples.status == Status.NAN).tolist():
        missing += np.isnan(samples.arrays[position]).sum(axis=0)
    if isinstance(samples.arrays, np.ndarray):
        read = int(readable.sum()) * samples.arrays.shape[1]
    else:
        read = sum(len(array) for array, told in zip(samples.arrays, readable, strict=True) if told)
    return {"read": read, "missing": missing.tolist()}
