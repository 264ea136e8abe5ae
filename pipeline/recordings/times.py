"""Where the times of a recording break, and what is odd about them in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

GAP = 1.5
"""Steps longer than this many samples are gaps."""

AVERAGED = 20
"""Steps over which the usual one is taken, and fewer than which tell none."""

DRIFT = 0.01
"""Share by which the usual step may differ from 1 / rate before it is told."""


def breaks(times: np.ndarray, rate: float, *, longest: float = GAP) -> np.ndarray:
    """Positions (K,) int64 of samples that do not follow the one before.

    times: (T,) in seconds. A sample follows when it is later by at most `longest` / rate; an
    unknown time, NaN, follows nothing and is followed by nothing.
    """
    steps = np.diff(times)
    follows = (steps > 0) & (steps <= longest / rate)  # False for NaN
    return np.flatnonzero(~follows) + 1


def usual_step(times: np.ndarray, rate: float) -> float:
    """The usual step of times (T,) in seconds; 1 / rate where there are fewer than two.

    The median over stretches of AVERAGED steps, since times rounded to milliseconds alternate; of
    single steps where there are few, since gaps would be in most stretches.
    """
    known = times[~np.isnan(times)]
    span = AVERAGED if len(known) > 10 * AVERAGED else min(1, len(known) - 1)
    return float(np.median(known[span:] - known[:-span])) / span if span > 0 else 1 / rate


def irregular(times: np.ndarray, rate: float) -> np.ndarray | None:
    """The times (T,), or None where each is within half a sample of the first plus k / rate."""
    off = np.abs(times - times[0] - np.arange(len(times)) / rate)
    return None if bool((off < 0.5 / rate).all()) else times  # NaN is not below


def time_notes(times: np.ndarray, rate: float) -> tuple[str, ...]:
    """What is odd about times (T,) in seconds, a sentence each; () if nothing is."""
    return tuple(_oddities(times, rate))


def _oddities(times: np.ndarray, rate: float) -> Iterator[str]:
    unknown = int(np.isnan(times).sum())
    if unknown:
        yield f"{unknown} times are not known"
    steps = np.diff(times[~np.isnan(times)])
    back = int((steps <= 0).sum())
    if back:
        yield f"{back} times do not come after the one before"
    gaps = steps[steps > GAP / rate]
    if len(gaps):
        yield f"{len(gaps)} gaps in time, the longest of {gaps.max():.6g} s"
    usual = usual_step(times, rate)
    if len(steps) >= AVERAGED and abs(usual * rate - 1) > DRIFT:
        yield f"the usual step is {usual:.6g} s where {rate:g} Hz is stated"
