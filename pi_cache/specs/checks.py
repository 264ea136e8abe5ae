"""What a value of a spec must be: every problem is gathered, and raised once."""

from __future__ import annotations

import math
from typing import Any

from pi_cache.errors import InvalidSpec
from pi_cache.nearest import hint


class Checks:
    """Collects every problem of a spec and raises them together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[str] = []

    def that(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(problem)

    def text(self, field_name: str, value: object) -> None:
        if not isinstance(value, str):
            self.problems.append(f"{field_name} must be text, got {value!r:.50}")

    def choice(self, field_name: str, value: object, choices: tuple[str, ...]) -> None:
        if value not in choices:
            meant = hint(str(value), choices)
            self.problems.append(
                f"{field_name} must be one of {', '.join(choices)}, got {value!r}{meant}"
            )

    def done(self) -> None:
        if self.problems:
            raise InvalidSpec(f"{self.name}: " + "; ".join(self.problems))


def number(value: Any, name: str) -> float:
    """A finite float; -0.0 becomes 0.0 so that both have one key."""
    try:
        finite = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidSpec(f"{name} must be a number, got {value!r:.50}") from None
    if not math.isfinite(finite):
        raise InvalidSpec(f"{name} must be finite, got {value!r}")
    return finite + 0.0


def whole(value: Any, name: str) -> int:
    """A whole number, however it is written."""
    amount = number(value, name)
    if isinstance(value, bool) or amount != int(amount):
        raise InvalidSpec(f"{name} must be a whole number, got {value!r}")
    return int(amount)


def interval(value: Any, name: str) -> tuple[float, float]:
    """Two finite numbers, the lower one first."""
    try:
        low, high = value
    except (TypeError, ValueError):
        raise InvalidSpec(f"{name} must be two numbers LO,HI, got {value!r}") from None
    low, high = number(low, name), number(high, name)
    if not low < high:
        raise InvalidSpec(f"{name} must have LO < HI, got {low:g},{high:g}")
    return low, high


def unknown_name(name: str, known: set[str]) -> str:
    """What is wrong with a name that is none of the known ones, with the nearest of these."""
    return f"unknown field {name!r}{hint(name, sorted(known))}"
