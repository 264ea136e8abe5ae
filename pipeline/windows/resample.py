"""Samples at another rate, by a named rule, of one stretch without a gap.

Each function takes values (L, C), their times (L,) in seconds from the first, and an amount. It
gives the new values (K, C), and for each of them the first and the last sample (K,) that it is
made of. NaN stays NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.windows.spec import Rule

Made = tuple[np.ndarray, np.ndarray, np.ndarray]

SAME = 1e-6
"""Of a step: a new sample so near to an old one is that one."""


def thin(values: np.ndarray, seconds: np.ndarray, factor: int) -> Made:
    """Every `factor`-th sample, from the first on."""
    taken = np.arange(0, len(values), factor)
    return values[taken], taken, taken


def mean(values: np.ndarray, seconds: np.ndarray, factor: int) -> Made:
    """Means of whole blocks of `factor` samples."""
    count = len(values) // factor
    blocks = values[: count * factor].reshape(count, factor, values.shape[1])
    first = np.arange(count) * factor
    return blocks.mean(axis=1), first, first + factor - 1


def linear(values: np.ndarray, seconds: np.ndarray, rate: float) -> Made:
    """Values at `rate` Hz on straight lines between samples, the first sample first."""
    wanted = np.arange(int(seconds[-1] * rate + SAME) + 1) / rate  # (K,)
    before = np.clip(np.searchsorted(seconds, wanted, "right") - 1, 0, None)
    after = np.minimum(before + 1, len(seconds) - 1)
    steps = np.where(after > before, seconds[after] - seconds[before], 1.0)
    part = (wanted - seconds[before]) / steps  # 0 at `before`, 1 at `after`
    after = np.where(part < SAME, before, after)
    before = np.where(part > 1 - SAME, after, before)
    low, high = values[before], values[after]
    return low + (high - low) * np.where(after > before, part, 0.0)[:, None], before, after


RULES: dict[str, Callable[[np.ndarray, np.ndarray, float], Made]] = {
    "thin": thin,  # type: ignore[dict-item]
    "mean": mean,  # type: ignore[dict-item]
    "linear": linear,
}


def new_rate(rate: float, rule: Rule) -> float:
    """The rate in Hz that a rule makes of one."""
    if rule.name == "linear":
        return float(rule.amount)
    return rate if rule.name == "none" else rate / int(rule.amount)
