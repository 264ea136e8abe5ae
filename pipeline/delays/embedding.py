"""The delay and the dimension of the delay embedding of a source, by rules, and how they came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pi_cache.errors import InvalidSpec, SourceError
from pipeline.delays.choice import Choices
from pipeline.delays.rules import DELAY_RULES, THRESHOLD, by_false_neighbours, by_giotto
from pipeline.delays.training import Part

GIOTTO = "giotto"
NEIGHBOURS = "false-nearest-neighbours"
DELAY_NAMES = (*DELAY_RULES, GIOTTO)
DIMENSION_NAMES = (NEIGHBOURS, GIOTTO)
LONGEST_DELAY = 100
"""Samples, at most, that are tried unless told otherwise: a quarter of a window, up to this."""
HIGHEST_DIMENSION = 6
LOWEST_DIMENSION = 2
"""Of a delay embedding; a window that one dimension is enough for counts as this."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is tried. longest: delays 1..longest, in samples. highest: dimensions 1..highest.

    threshold: share of false nearest neighbours that a dimension may leave.
    """

    longest: int
    highest: int = HIGHEST_DIMENSION
    threshold: float = THRESHOLD

    @classmethod
    def of(cls, part: Part, longest: int | None = None, **others: Any) -> Limits:
        """With the longest delay that is usual for windows of this length, unless given.

        A window of T samples has no pair of values T apart, and no point of T dimensions beside
        another: no more is tried than the longest window has.
        """
        most = max(max(map(len, part.windows)) - 1, 1)
        usual = max(min(part.length // 4, LONGEST_DELAY), 1)
        given = {name: value for name, value in others.items() if value is not None}
        highest = min(given.pop("highest", HIGHEST_DIMENSION), max(most, LOWEST_DIMENSION))
        return cls(longest=min(longest or usual, most), highest=highest, **given)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A number for all channels, and the choices of windows it is the median of.

    number: None where it is not known. rule: "" for a number that was given, which has no choices.
    """

    number: int | None
    rule: str = ""
    choices: Choices | None = None

    @classmethod
    def by(cls, rule: str, choices: Choices, lowest: int = 1) -> Chosen:
        """The median of all windows of all channels, at least `lowest`."""
        median = choices.summary().median
        return cls(
            number=None if median is None else max(median, lowest), rule=rule, choices=choices
        )

    def to_dict(self) -> dict[str, Any]:
        """Number, rule and quartiles."""
        summary = {} if self.choices is None else self.choices.summary().to_dict()
        return {"number": self.number, "rule": self.rule or "given", **summary}


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Delay and dimension of one part of a source, with how they were chosen."""

    part: Part
    limits: Limits
    delay: Chosen
    dimension: Chosen

    def record(self) -> dict[str, Any]:
        """How the numbers were chosen, as a store keeps it: plain values."""
        return {
            "delay": {**self.delay.to_dict(), "longest": self.limits.longest},
            "dimension": {
                **self.dimension.to_dict(),
                "highest": self.limits.highest,
                "threshold": self.limits.threshold,
            },
            "part": self.part.name,
            "windows": len(self.part.windows),
            "of": self.part.of,
        }

    def numbers(self) -> dict[str, int]:
        """The fields of a DiagramSpec. Raises SourceError where a rule found no number."""
        found = {"delay": self.delay, "dimension": self.dimension}
        for name, chosen in found.items():
            if chosen.number is None:
                raise SourceError(f"no {name} was found: {self._why(name, chosen)}")
        return {f"embedding_{name}": chosen.number or 0 for name, chosen in found.items()}

    def _why(self, name: str, chosen: Chosen) -> str:
        if chosen.choices is None:
            return "it needs a delay"
        summary = chosen.choices.summary()
        if not summary.used and name == "dimension":
            return (
                "every channel of every window is constant, not finite or too short for a delay of"
                f" {self.delay.number}: the median window has {self.part.length} samples"
            )
        if not summary.used:
            return "every channel of every window is constant, not finite or too short"
        largest = self.limits.longest if name == "delay" else self.limits.highest
        return (
            f"by {chosen.rule} {summary.beyond} of {summary.used} channels of windows have none up"
            f" to {largest}; try up to more (pipeline delays, --max-{name}), longer windows or"
            " another rule"
        )


def find_embedding(part: Part, delay: int | str, dimension: int | str, limits: Limits) -> Embedding:
    """The embedding by rules of `DELAY_NAMES` and `DIMENSION_NAMES`, or by numbers that are given.

    One delay and one dimension serve all channels, and the dimension is chosen for that delay.
    Raises InvalidSpec for rules that do not go together, EngineNotInstalled for giotto.
    """
    if isinstance(delay, int) and delay < 1:
        raise InvalidSpec(f"embedding_delay must be at least 1, got {delay}")
    if dimension == GIOTTO and delay != GIOTTO:
        raise InvalidSpec("giotto-tda searches delay and dimension together: give giotto for both")
    if GIOTTO in (delay, dimension):
        pairs = [by_giotto(array, limits.longest, limits.highest) for array in part.alike]
        delays, dimensions = (Choices.joined(each) for each in zip(*pairs, strict=True))
        lag = Chosen.by(GIOTTO, delays)
        high = Chosen.by(GIOTTO, dimensions, LOWEST_DIMENSION)
        if dimension != GIOTTO:
            high = _dimension(part, lag.number, dimension, limits)
        return Embedding(part=part, limits=limits, delay=lag, dimension=high)
    lag = Chosen(number=int(delay)) if isinstance(delay, int) else _delay(part, delay, limits)
    high = _dimension(part, lag.number, dimension, limits)
    return Embedding(part=part, limits=limits, delay=lag, dimension=high)


def _delay(part: Part, rule: str, limits: Limits) -> Chosen:
    choose = DELAY_RULES[rule]
    return Chosen.by(rule, Choices.joined([choose(a, limits.longest) for a in part.alike]))


def _dimension(part: Part, delay: int | None, dimension: int | str, limits: Limits) -> Chosen:
    if isinstance(dimension, int):
        return Chosen(number=dimension)
    if delay is None:
        return Chosen(number=None, rule=dimension)
    found = [
        by_false_neighbours(array, delay, limits.highest, threshold=limits.threshold)
        for array in part.alike
    ]
    return Chosen.by(dimension, Choices.joined(found), LOWEST_DIMENSION)
