"""Numbers chosen from curves: one of each window and channel, and what they come to together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Choices:
    """The number that a rule chose of each window and channel, with the curve it was chosen from.

    numbers: (n, C) float64 of whole numbers; inf where none up to the largest that was tried fits
    the rule; NaN where the window cannot be used (constant, not finite, too short).
    weak: (n, C) bool, where the rule is met in its weaker form only; see the rule.
    curves: (n, C, L) float64, the quantity at each number tried, NaN where there is none.
    tried: (L,) int64, ascending; empty where a library tells no curve.
    """

    numbers: np.ndarray
    weak: np.ndarray
    curves: np.ndarray
    tried: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The choices of windows one after the other; the same numbers were tried of all."""
        return cls(
            np.concatenate([part.numbers for part in parts]),
            np.concatenate([part.weak for part in parts]),
            np.concatenate([part.curves for part in parts]),
            parts[0].tried,
        )

    def summary(self, channel: int | None = None) -> Summary:
        """What the windows of one channel come to, or all windows of all channels."""
        chosen = slice(None) if channel is None else channel
        return Summary.of(self.numbers[:, chosen].ravel(), self.weak[:, chosen].ravel())

    def band(self, channel: int) -> np.ndarray:
        """Quartiles (3, L) of the curves of one channel, NaN where no window has a value."""
        curves = self.curves[:, channel]  # (n, L)
        band = np.full((len(QUARTILES), curves.shape[1]), np.nan)
        known = ~np.isnan(curves).all(axis=0)
        if known.any():
            band[:, known] = np.nanquantile(curves[:, known], QUARTILES, axis=0)
        return band


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Median and quartiles of chosen numbers; each is one that was chosen, so a whole number.

    used: windows that count; unusable: those left out. beyond: those of `used` that fit the rule
    nowhere up to the largest number tried, and count as larger; a quartile among them is None.
    weak: those of `used` that fit its weaker form only.
    """

    lower: int | None
    median: int | None
    upper: int | None
    used: int
    unusable: int
    beyond: int
    weak: int

    @classmethod
    def of(cls, numbers: np.ndarray, weak: np.ndarray) -> Self:
        """Of numbers (n,) and weak (n,) as `Choices` holds them."""
        usable = numbers[~np.isnan(numbers)]
        lower, median, upper = (_quantile(usable, share) for share in QUARTILES)
        return cls(
            lower=lower,
            median=median,
            upper=upper,
            used=len(usable),
            unusable=len(numbers) - len(usable),
            beyond=int(np.isinf(usable).sum()),
            weak=int(weak.sum()),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, None for a quartile that is not known."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def _quantile(numbers: np.ndarray, share: float) -> int | None:
    """The smallest number that at least this share of the numbers does not exceed."""
    if not len(numbers):
        return None
    found = np.sort(numbers)[max(int(np.ceil(share * len(numbers))) - 1, 0)]
    return int(found) if np.isfinite(found) else None
