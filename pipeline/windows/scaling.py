"""Values without units, by constants of a paper or by numbers found on a stated part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from pi_cache.errors import SourceError, UnknownSource
from pipeline.windows.published import Published


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaling:
    """(value - offset) / divisor of each channel.

    offset, divisor: (C,), of the channels named. above: what values over 1 become, those below 0
    become 0; None for values as they are.
    """

    channels: tuple[str, ...]
    offset: np.ndarray
    divisor: np.ndarray
    above: float | None = None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Scaled values (T, C)."""
        done = (values - self.offset) / self.divisor
        if self.above is not None:
            done[done > 1] = self.above
            done[done < 0] = 0.0
        return np.asarray(done)

    def to_numbers(self) -> dict[str, dict[str, float]]:
        """Offset and divisor, each by channel, as they are stored."""
        return {
            name: dict(zip(self.channels, numbers.tolist(), strict=True))
            for name, numbers in (("offset", self.offset), ("divisor", self.divisor))
        }

    @classmethod
    def from_numbers(cls, numbers: object, channels: Sequence[str]) -> Self:
        """The scaling that was stored. Raises UnknownSource where it is none of these channels."""
        known = numbers if isinstance(numbers, Mapping) else {}
        offset, divisor = (_by_channel(known.get(name), channels) for name in ("offset", "divisor"))
        if offset is None or divisor is None or not (divisor > 0).all():
            raise UnknownSource(
                "fitted must hold offset and divisor, each a number by channel"
                f" ({', '.join(channels)}); leave it out, and it is found again"
            )
        return cls(channels=tuple(channels), offset=offset, divisor=divisor)


def _by_channel(numbers: object, channels: Sequence[str]) -> np.ndarray | None:
    """The number (C,) of each channel; None where there are others, or some are no numbers."""
    if not isinstance(numbers, Mapping) or set(numbers) != set(channels):
        return None
    found = [numbers[name] for name in channels]
    fine = all(isinstance(number, int | float) and math.isfinite(number) for number in found)
    return np.array(found, np.float64) if fine else None


def published_scaling(published: Published, channels: Sequence[str], where: str) -> Scaling:
    """By the constants of a paper. Raises SourceError for a channel that has none."""
    lowest, highest = published.lowest or {}, published.highest or {}
    without = [name for name in channels if name not in lowest]
    if without:
        raise SourceError(
            f"{where}: no constants are published for {', '.join(without)}; leave them out with"
            " channels, or fit the scale"
        )
    offset = np.array([lowest[name] for name in channels])
    top = np.array([highest[name] for name in channels])
    return Scaling(
        channels=tuple(channels), offset=offset, divisor=top - offset, above=published.above
    )


CONSTANT = 1e-12
"""Of the offset: a smaller divisor is what rounding leaves of a constant channel."""


class Fit(Protocol):
    """What is gathered of values, a part at a time."""

    def add(self, values: np.ndarray) -> None:
        """Look at values (T, C); NaN are passed over."""

    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Offset and divisor (C,) of all values that were looked at."""


class Extent:
    """From smallest to largest value: 0 to 1."""

    def __init__(self, channels: int) -> None:
        self.lowest, self.highest = np.full(channels, np.inf), np.full(channels, -np.inf)

    def add(self, values: np.ndarray) -> None:
        """Look at values (T, C)."""
        self.lowest = np.fmin(self.lowest, np.fmin.reduce(values, axis=0))
        self.highest = np.fmax(self.highest, np.fmax.reduce(values, axis=0))

    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Smallest value, and range."""
        return self.lowest, self.highest - self.lowest


class Moments:
    """The mean: 0, and the standard deviation: 1.

    Parts are merged as in Chan, Golub and LeVeque, The American Statistician 37, 1983.
    """

    def __init__(self, channels: int) -> None:
        self.count, self.mean, self.squares = np.zeros((3, channels))

    def add(self, values: np.ndarray) -> None:
        """Look at values (T, C)."""
        known = ~np.isnan(values)
        count = known.sum(axis=0)
        least = np.maximum(count, 1)
        mean = np.where(known, values, 0.0).sum(axis=0) / least
        squares = (np.where(known, values - mean, 0.0) ** 2).sum(axis=0)
        total = np.maximum(self.count + count, 1)
        apart = mean - self.mean
        self.squares += squares + apart**2 * self.count * count / total
        self.mean += apart * count / total
        self.count += count

    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean, and deviation over all values."""
        return self.mean, np.sqrt(self.squares / np.maximum(self.count, 1))


FITS: dict[str, type[Extent] | type[Moments]] = {"minmax": Extent, "zscore": Moments}


def fitted_scaling(fit: Fit, channels: Sequence[str], where: str) -> Scaling:
    """By what was gathered. Raises SourceError for a channel that is constant there."""
    offset, divisor = fit.numbers()
    told = (divisor > CONSTANT * np.abs(offset)) & np.isfinite(divisor)
    wrong = [name for name, fine in zip(channels, told, strict=True) if not fine]
    if wrong:
        raise SourceError(
            f"{where}: no scale can be fitted to {', '.join(wrong)}, constant or absent in the"
            " part of fit_on; leave them out with channels, or fit on more"
        )
    return Scaling(channels=tuple(channels), offset=offset, divisor=divisor)
