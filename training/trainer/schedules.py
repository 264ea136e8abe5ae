"""The learning rate of an epoch, by a text.

    constant                        the learning rate of the config
    cosine                          half a cosine, from it towards 0 after the last epoch
    steps:0.2@40,80,120,160         times 0.2 from each of these epochs on
    steps:0.2@20%,40%               the same, in percent of all epochs
    values:1e-3@0,1e-4@300          these rates from these epochs on, whatever the config says
    tda-kd                          times 1, 0.2, 0.02, 0.002 from int(E/18), int(E/3), int(2E/3) on

Epochs count from 0: the rate at 40 is that of the 41st pass. Rates change between epochs only.
`tda-kd` is of the released code of Jeon et al., Asilomar 2022, with 0.05 for its learning rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from pi_cache.errors import InvalidSpec
from pi_cache.nearest import hint

if TYPE_CHECKING:
    from training.trainer.config import TrainConfig

TDA_KD = (1.0, 0.2, 0.02, 0.002)
"""Of its learning rate, from epoch 0 and from each of its three boundaries on."""
NAMES = ("constant", "cosine", "steps", "values", "tda-kd")
FORMS = "constant, cosine, steps:FACTOR@EPOCH,..., values:RATE@EPOCH,... or tda-kd"


class Schedule(Protocol):
    """The learning rate of an epoch (from 0) among so many, of a base rate."""

    def __call__(self, epoch: int, epochs: int, base: float) -> float: ...


@dataclass(frozen=True, slots=True)
class At:
    """A point of a run: an epoch, or a percentage of all."""

    number: Fraction
    percent: bool

    def epoch(self, epochs: int) -> int:
        """The first epoch at or before this point, as the papers round."""
        return math.floor(self.number * epochs / 100 if self.percent else self.number)


@dataclass(frozen=True, slots=True)
class Steps:
    """base * factor ** (how many of the points have passed)."""

    factor: float
    points: tuple[At, ...]

    def __call__(self, epoch: int, epochs: int, base: float) -> float:
        passed = sum(point.epoch(epochs) <= epoch for point in self.points)
        return base * self.factor**passed


@dataclass(frozen=True, slots=True)
class Values:
    """The rate of the last point that has passed; the first of them is at 0."""

    rates: tuple[float, ...]
    points: tuple[At, ...]

    def __call__(self, epoch: int, epochs: int, base: float) -> float:
        passed = sum(point.epoch(epochs) <= epoch for point in self.points)
        return self.rates[passed - 1]


def constant(epoch: int, epochs: int, base: float) -> float:
    """The base rate."""
    return base


def cosine(epoch: int, epochs: int, base: float) -> float:
    """base * (1 + cos(pi epoch / epochs)) / 2. Loshchilov and Hutter, ICLR 2017, no restarts."""
    return base * (1 + math.cos(math.pi * epoch / epochs)) / 2


def tda_kd(epoch: int, epochs: int, base: float) -> float:
    """base * TDA_KD, from epochs 0, int(E/18), int(E/3) and int(2E/3) on."""
    passed = sum(bound <= epoch for bound in (epochs // 18, epochs // 3, 2 * epochs // 3))
    return base * TDA_KD[passed]


def parse_schedule(text: str) -> Schedule:
    """The schedule that a text names. Raises InvalidSpec."""
    kind, colon, rest = text.partition(":")
    plain: dict[str, Schedule] = {"constant": constant, "cosine": cosine, "tda-kd": tda_kd}
    if kind in plain and not colon:
        return plain[kind]
    if kind == "steps" and colon:
        factor, at, points = rest.partition("@")
        if at:
            return Steps(_rate(factor, text), _ordered(points.split(","), text))
    if kind == "values" and colon:
        pairs = [pair.partition("@") for pair in rest.split(",")]
        found = Values(
            tuple(_rate(rate, text) for rate, _, _ in pairs),
            _ordered([point for _, _, point in pairs], text),
        )
        if found.points[0].number != 0:
            raise InvalidSpec(f"schedule {text!r}: the first rate must be that of epoch 0, RATE@0")
        return found
    meant = "" if kind in NAMES else hint(kind, NAMES)
    raise InvalidSpec(f"a schedule is {FORMS}, got {text!r}{meant}")


def rate(config: TrainConfig, epoch: int) -> float:
    """The learning rate of an epoch, counted from 0."""
    return parse_schedule(config.schedule)(epoch, config.epochs, config.learning_rate)


def _rate(text: str, whole: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise InvalidSpec(f"schedule {whole!r}: {text!r} is no positive number")
    return found


def _ordered(texts: list[str], whole: str) -> tuple[At, ...]:
    """Points, each behind the one before. Raises InvalidSpec."""
    points = tuple(_point(text.strip(), whole) for text in texts)
    if len({point.percent for point in points if point.number}) > 1:
        raise InvalidSpec(f"schedule {whole!r}: give all epochs as numbers, or all in percent")
    numbers = [point.number for point in points]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise InvalidSpec(f"schedule {whole!r}: epochs must go up")
    return points


def _point(text: str, whole: str) -> At:
    percent = text.endswith("%")
    try:
        number = Fraction(text.removesuffix("%"))
    except (ValueError, ZeroDivisionError):
        number = Fraction(-1)
    if number < 0 or (not percent and number.denominator != 1) or (percent and number > 100):
        raise InvalidSpec(
            f"schedule {whole!r}: {text!r} is no epoch; give a whole number from 0 on, or a"
            " percentage such as 20%"
        )
    return At(number, percent)
