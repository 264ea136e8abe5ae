"""A window of the images that fits: from the points of some samples of a finished store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np

from pi_cache.reader import Store
from pi_cache.specs import Status
from pipeline.images import select
from pipeline.plan import spread

LOOKED_AT = 500
"""Samples whose diagrams are read to suggest a window, or to draw one."""
NARROWEST = 0.1
"""A suggested birth range is at least this part of the persistence range: one sigma serves both."""


def some_samples(store: Store, wanted: np.ndarray | None = None) -> np.ndarray:
    """Up to `LOOKED_AT` usable samples (n,), spread over the store; ascending.

    wanted: (N,) which ones are preferred; all where it holds none of the usable ones.
    """
    usable = np.asarray(store.status) == Status.OK
    if wanted is not None and (usable & wanted).any():
        usable &= wanted
    found = np.flatnonzero(usable)
    return found[spread(len(found), LOOKED_AT)] if len(found) else found


def drawn_points(store: Store, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Birth and persistence of all points that are drawn of some samples."""
    points, _ = store.diagrams(samples)
    births, persistences, _ = select(points, np.array([0, len(points)]), store.spec.image)
    return births, persistences


def suggest_window(store: Store) -> dict[str, list[float]] | None:
    """Ranges that each hold 99 % of the points of some samples, rounded outward.

    Of the train split where there is one. Fit for the grid of the store: a legacy one has a single
    HI for both axes. None where no point is drawn.
    """
    train = None if store.splits is None else store.splits == "train"
    birth, persistence = drawn_points(store, some_samples(store, train))
    if not len(birth):
        return None
    low, high = np.quantile(birth, [0.005, 0.995]).tolist()
    longest = float(np.quantile(persistence, 0.99))
    if store.spec.image.grid == "legacy-persim":
        low, high = round_outward(min(low, 0.0), max(high, longest))
        return {"birth_range": [low, high], "persistence_range": [0.0, high]}
    missing = NARROWEST * longest - (high - low)
    if missing > 0:
        low, high = low - missing / 2, high + missing / 2
    return {
        "birth_range": list(round_outward(low, high)),
        "persistence_range": [0.0, round_outward(0.0, longest)[1]],
    }


def round_outward(low: float, high: float) -> tuple[float, float]:
    """The nearest interval around this one with ends on a grid of a tenth of its width or finer.

    The grid is a power of ten, so that few digits are written. LO < HI even where both are equal.
    """
    width = max(high - low, 1e-9 * max(abs(low), abs(high)), 1e-300)
    step = Decimal(1).scaleb(math.floor(math.log10(width)) - 1)
    down, up = (
        (Decimal(repr(end)) / step).to_integral_value(rounding) * step
        for end, rounding in ((low, ROUND_FLOOR), (high, ROUND_CEILING))
    )
    return float(down), float(up if up > down else down + step)


def window_options(birth: Sequence[float], persistence: Sequence[float]) -> str:
    """A window as the options that ask for it; with `=`, so that a negative number is a value."""
    ranges = {"birth": birth, "persistence": persistence}
    return " ".join(f"--{axis}-range={joined(ends)}" for axis, ends in ranges.items())


def joined(ends: Sequence[float]) -> str:
    return ",".join(repr(float(end)).removesuffix(".0") for end in ends)
