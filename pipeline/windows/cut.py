"""Where windows start in a series, which class each has, and why others are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.recordings.base import NO_LABEL
from pipeline.windows.series import Series
from pipeline.windows.spec import WindowSpec

MIXED = -2
"""Of a window whose class its rule does not tell."""

ROUNDING = 1e-9
"""Of a share: 55 of 100 rows are 0.55 of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """The windows of one series: each has `samples` values from `positions` (W,) on.

    classes: (W,) from 0, -1 where the data set has none. starts, lengths: (W,) in samples of the
    recording. left_out: counts of what is in no window, by reason.
    """

    samples: int
    positions: np.ndarray
    classes: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    left_out: Counter[str]

    def __len__(self) -> int:
        return len(self.positions)

    def covered(self, series: Series) -> np.ndarray:
        """Which values (K,) of the series lie in a window."""
        steps = np.zeros(len(series) + 1, np.int64)
        np.add.at(steps, self.positions, 1)
        np.add.at(steps, self.positions + self.samples, -1)
        return np.asarray(np.cumsum(steps)[:-1] > 0)


def cut(series: Series, spec: WindowSpec, *, labelled: bool) -> Cut:
    """The windows of a series. labelled: a window without a class is left out."""
    samples = spec.window.samples(series.rate)
    positions, short = _positions(series, spec, samples)
    first, last = series.first[positions], series.last[positions + samples - 1]  # (W,) rows
    classes = np.full(len(positions), NO_LABEL)
    if labelled:
        classes = LABEL_RULES[spec.label_rule.name](
            series.classes, first, last, spec.label_rule.amount
        )
    lacking = _lacking(series.values, positions, samples) & (spec.missing.name != "keep")
    mixed, nameless = classes == MIXED, (classes == NO_LABEL) & labelled
    kept = ~(mixed | nameless | lacking)
    starts = series.raw[first]
    reasons = {
        "windows of mixed labels": int(mixed.sum()),
        "windows of no class": int(nameless.sum()),
        "windows with missing values": int((lacking & ~mixed & ~nameless).sum()),
        "stretches that are too short": short,
    }
    return Cut(
        samples=samples,
        positions=positions[kept],
        classes=classes[kept],
        starts=starts[kept],
        lengths=(series.raw[last] + 1 - starts)[kept],
        left_out=Counter({reason: count for reason, count in reasons.items() if count}),
    )


def _positions(series: Series, spec: WindowSpec, samples: int) -> tuple[np.ndarray, int]:
    """Where windows start (W,), and how many stretches are too short for one."""
    step, start = spec.step.samples(series.rate), spec.start.samples(series.rate)
    stretches = [
        np.arange(low + start, high - samples + 1, step)
        for low, high in pairwise(series.bounds.tolist())
    ]
    short = sum(not len(stretch) for stretch in stretches)
    return np.concatenate([np.empty(0, np.int64), *stretches]), short


def _lacking(values: np.ndarray, positions: np.ndarray, samples: int) -> np.ndarray:
    """Whether a value is missing (W,) in each window."""
    rows = np.isnan(values).any(axis=1)
    if not rows.any():
        return np.zeros(len(positions), bool)
    before = np.concatenate([[0], np.cumsum(rows)])
    return np.asarray(before[positions + samples] > before[positions])


# From classes (R,) of rows, and the first and last row (W,) of each window, to its class, or MIXED.


def _all(classes: np.ndarray, first: np.ndarray, last: np.ndarray, share: None) -> np.ndarray:
    changes = np.concatenate([[0], np.cumsum(np.diff(classes) != 0)])
    return np.where(changes[first] == changes[last], classes[first], MIXED)


def _ends(classes: np.ndarray, first: np.ndarray, last: np.ndarray, share: None) -> np.ndarray:
    return np.where(classes[first] == classes[last], classes[first], MIXED)


def _first(classes: np.ndarray, first: np.ndarray, last: np.ndarray, share: None) -> np.ndarray:
    return np.asarray(classes[first])


def _last(classes: np.ndarray, first: np.ndarray, last: np.ndarray, share: None) -> np.ndarray:
    return np.asarray(classes[last])


def _majority(
    classes: np.ndarray, first: np.ndarray, last: np.ndarray, share: float | None
) -> np.ndarray:
    """share: of the rows that must have the class; None for more than half."""
    found = np.full(len(first), MIXED)
    rows = last + 1 - first
    for name in np.unique(classes):
        before = np.concatenate([[0], np.cumsum(classes == name)])
        count = before[last + 1] - before[first]
        found[count * 2 > rows if share is None else count >= (share - ROUNDING) * rows] = name
    return found


LABEL_RULES: dict[str, Callable[..., np.ndarray]] = {
    "all": _all,
    "ends": _ends,
    "first": _first,
    "last": _last,
    "majority": _majority,
}
