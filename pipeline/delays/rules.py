"""Rules that choose the delay and the dimension of delay embeddings of windows.

Each takes windows (n, T, C) and gives `Choices`: a number of each window and channel, with the
curve it was chosen from. A channel of a window that is constant, not finite or too short has none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipeline.delays import curves
from pipeline.delays.choice import Choices
from pipeline.delays.neighbours import false_neighbours
from pipeline.kernels.magnitude import near_one

SHORTEST = 16
"""Samples of a window below which nothing is chosen."""
LEVEL = 1 / np.e
DEVIATIONS = 2.0
"""A minimum of the mutual information counts where the curve rises above it by so many standard
deviations of what chance gives: smaller ones come from the histogram."""
CHANCE = 0.99
"""Mutual information that so many of a hundred independent pairs of signals do not exceed."""
THRESHOLD = 0.01
"""Share of false nearest neighbours that a dimension may leave."""

Curves = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def by_mutual_information(windows: np.ndarray, longest: int) -> Choices:
    """The first minimum of the mutual information, or the first delay at which there is none.

    None: no more than 1 of 100 independent pairs of signals would show. So of white noise it is 1.
    """

    def chosen(signals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from scipy.stats import chi2

        information, freedom = curves.mutual_information(signals, longest)
        pairs = signals.shape[1] - np.arange(1, longest + 1)  # below 1 where the curve is NaN
        pairs = np.maximum(pairs, 1)
        chance = chi2.ppf(CHANCE, np.maximum(freedom, 1)) / (2 * pairs)
        rise = DEVIATIONS * np.sqrt(2 * freedom) / (2 * pairs)
        found = [first_minimum(*row) for row in zip(information, rise, chance, strict=True)]
        return np.array(found, np.float64), information

    return _choices(windows, np.arange(1, longest + 1), chosen)


def first_minimum(curve: np.ndarray, rise: np.ndarray, chance: np.ndarray) -> float:
    """The first delay at which a curve (L,) is at its lowest before it rises, or is chance.

    rise: (L,) by how much it has to rise. chance: (L,) what is as good as nothing. inf for none.
    """
    lowest = 0
    for place, value in enumerate(curve.tolist()):
        if value <= chance[place]:
            return place + 1.0
        if value < curve[lowest]:
            lowest = place
        if value > curve[lowest] + rise[place]:
            return lowest + 1.0
    return np.inf


def by_autocorrelation(windows: np.ndarray, longest: int, level: float = LEVEL) -> Choices:
    """The first delay at which the autocorrelation is no larger than a level: 1/e, or 0."""

    def chosen(signals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = curves.autocorrelation(signals, longest)
        return _first(found <= level), found

    return _choices(windows, np.arange(1, longest + 1), chosen)


def by_zero_autocorrelation(windows: np.ndarray, longest: int) -> Choices:
    """The first delay at which the autocorrelation is not positive."""
    return by_autocorrelation(windows, longest, 0.0)


def by_quarter_period(windows: np.ndarray, longest: int) -> Choices:
    """A quarter of the period of most power, of those that a window holds twice.

    None where the longest of these has the most: that is a drift, or a longer period.
    """

    def chosen(signals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = curves.power(signals, longest)
        known = int((~np.isnan(found)).any(axis=0).nonzero()[0].max(initial=-1))
        largest = found == 1.0
        largest[:, known:] = False
        return _first(largest), found

    return _choices(windows, np.arange(1, longest + 1), chosen)


def by_false_neighbours(
    windows: np.ndarray,
    delay: int,
    highest: int,
    *,
    threshold: float = THRESHOLD,
    theiler: int | None = None,
) -> Choices:
    """The first dimension with at most a share of false nearest neighbours (Kennel, 1992).

    Weaker form, of noisy signals and short windows whose share stays above: the first dimension
    after which it falls no further. Neither up to the highest: inf.
    theiler: points so many samples apart or fewer are no neighbours, the delay unless given.
    """
    apart = delay if theiler is None else theiler

    def chosen(signals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = [false_neighbours(signal, delay, highest, apart) for signal in signals]
        shares = np.reshape(rows, (-1, highest))
        enough = _first(shares <= threshold)
        floor = _first(shares[:, 1:] >= shares[:, :-1])
        found = np.where(np.isinf(enough), floor, enough)
        return np.where(np.isnan(shares).all(axis=1), np.nan, found), shares

    choices = _choices(windows, np.arange(1, highest + 1), chosen)
    above = ~(choices.curves <= threshold).any(axis=2)
    return replace(choices, weak=above & np.isfinite(choices.numbers))


def by_giotto(windows: np.ndarray, longest: int, highest: int) -> tuple[Choices, Choices]:
    """Delays and dimensions by the search of giotto-tda (AGPL-3.0), without their curves.

    Its delay is the one of the least mutual information, of 100 x 100 cells of equal width, of all
    up to the longest, and is not the first minimum. Its dimension is the one, from 2, where the
    number of false nearest neighbours bends least; each window has its own delay for that.
    Raises EngineNotInstalled.
    """
    from pipeline.engines import ENGINES, module_of

    search = module_of(ENGINES["giotto"]).embedding_search
    signals, use = _signals(windows)
    found = np.full((len(signals), 2), np.nan)
    for place in np.flatnonzero(use):
        found[place] = search(signals[place], longest, highest)
    shape = (len(windows), windows.shape[2])
    none, curve = np.zeros(shape, bool), np.empty((*shape, 0))
    delays, dimensions = found.T.reshape(2, *shape)
    return (
        Choices(delays, none, curve, np.arange(0)),
        Choices(dimensions, none, curve, np.arange(0)),
    )


def _first(holds: np.ndarray) -> np.ndarray:
    """Number, from 1, of the first place of each row (S, L) that holds; inf for none."""
    return np.where(holds.any(axis=1), holds.argmax(axis=1) + 1.0, np.inf)


def _choices(windows: np.ndarray, tried: np.ndarray, chosen: Curves) -> Choices:
    """Choices of windows (n, T, C) by a function of signals (S, T) to numbers and curves (S, L)."""
    signals, use = _signals(windows)
    numbers = np.full(len(signals), np.nan)
    found = np.full((len(signals), len(tried)), np.nan)
    if use.any():
        numbers[use], found[use] = chosen(signals[use])
    shape = (len(windows), windows.shape[2])
    none = np.zeros(shape, bool)
    return Choices(numbers.reshape(shape), none, found.reshape(*shape, len(tried)), tried)


def _signals(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Windows (n, T, C) as signals (n * C, T) float64, and which of them can be used.

    No rule depends on the unit of a signal, so those that can be used come with magnitudes near 1.
    """
    signals = np.swapaxes(np.array(windows, np.float64), 1, 2)
    signals = np.ascontiguousarray(signals).reshape(-1, windows.shape[1])
    use = usable(signals)
    signals[use] = near_one(signals[use])
    return signals, use


def usable(signals: np.ndarray) -> np.ndarray:
    """Which signals (S, T) vary, are finite and not too short: (S,) bool."""
    if signals.shape[1] < SHORTEST:
        return np.zeros(len(signals), bool)
    finite = np.isfinite(signals).all(axis=1)
    varies = np.zeros(len(signals), bool)
    varies[finite] = signals[finite].max(axis=1) > signals[finite].min(axis=1)
    both: np.ndarray = finite & varies
    return both


DELAY_RULES: dict[str, Callable[[np.ndarray, int], Choices]] = {
    "mutual-information": by_mutual_information,
    "autocorrelation": by_autocorrelation,
    "autocorrelation-zero": by_zero_autocorrelation,
    "quarter-period": by_quarter_period,
}
"""Of windows and the longest delay, by the words of the command line."""
