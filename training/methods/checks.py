"""What settings of methods must be, each problem gathered by `Checks`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pi_cache.errors import InvalidSpec
from pi_cache.specs.checks import Checks

SUM = 1e-6
"""How far weights of teachers may be from adding up to one."""


def check_not_negative(checks: Checks, **weights: float) -> None:
    """Weights of terms: finite numbers from 0 on."""
    for name, value in weights.items():
        holds = math.isfinite(value) and value >= 0
        checks.that(holds, f"{name} must be a finite number from 0 on, got {value!r}")


def check_positive(checks: Checks, **numbers: float) -> None:
    """Finite numbers above zero."""
    for name, value in numbers.items():
        holds = math.isfinite(value) and value > 0
        checks.that(holds, f"{name} must be a finite number above 0, got {value!r}")


def check_layers(checks: Checks, **layers: Sequence[str]) -> None:
    """One layer at least; whether a network has it is seen at the first batch."""
    for name, given in layers.items():
        checks.that(len(given) > 0, f"{name} must name one layer at least, such as last")


def check_shares(checks: Checks, weights: Sequence[float]) -> None:
    """Weights of teachers: from 0 on, and together one."""
    check_not_negative(checks, **{f"weight {k} of teachers": w for k, w in enumerate(weights, 1)})
    total = sum(weights)  # fsum raises where numbers are too large, or infinite with both signs
    checks.that(
        abs(total - 1) <= SUM,
        f"weights of teachers must add up to 1, got {_listed(weights)} = {total:g}",
    )


def check_as_many(name: str, weights: Sequence[float], teachers: int) -> None:
    """Raise InvalidSpec unless there is a weight for each teacher."""
    if len(weights) != teachers:
        raise InvalidSpec(
            f"{name}: {teachers} teachers need as many weights, got {len(weights)}"
            f" ({_listed(weights)}); set weights to one number a teacher, in their order"
        )


def _listed(weights: Sequence[float]) -> str:
    return " + ".join(f"{weight:g}" for weight in weights)
