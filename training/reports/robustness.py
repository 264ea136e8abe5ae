"""What runs measured on corrupted samples, by level."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pi_cache import files
from training.evaluation.evaluate import read_evaluation
from training.reports.experiment import Experiment, Place
from training.reports.spread import Spread, complete_seeds, spread

Level = tuple[int, float]
"""Number and amount."""
Points = Mapping[Level, Mapping[Place, Mapping[str, Any]]]
"""The metrics of every run that was measured at a level."""


def curves(experiment: Experiment) -> dict[str, dict[str, Points]]:
    """What was measured by kind of corruption and arm."""
    found: dict[str, dict[str, dict[Level, dict[Place, Mapping[str, Any]]]]] = {}
    beginning = f"robustness-{experiment.side}-"
    for place, run in experiment.runs.items():
        for path in files.listing(run.folder):
            if not (path.name.startswith(beginning) and path.suffix == ".json"):
                continue
            for level in read_evaluation(path)["levels"]:
                arms = found.setdefault(level["kind"], {})
                points = arms.setdefault(place.arm, {})
                points.setdefault((level["level"], level["amount"]), {})[place] = level
    return {
        kind: {arm: dict(points) for arm, points in arms.items()} for kind, arms in found.items()
    }


def level_name(level: Level) -> str:
    """`2: 0.09`, or the amount alone where it is none of a table's levels."""
    number, amount = level
    return f"{amount:g}" if amount and not number else f"{number}: {amount:g}"


def at_level(experiment: Experiment, arm: str, points: Points, level: Level, metric: str) -> Spread:
    """A metric over the seeds of an arm that were measured in every fold, as `over_seeds`."""
    measured = points.get(level, {})
    return spread(
        statistics.fmean(measured[place][metric] for place in places)
        for places in complete_seeds(experiment, arm).values()
        if all(place in measured for place in places)
    )


def seeds_of(levels: Sequence[Spread]) -> str:
    """How many seeds the means of a curve are over: `3 seeds`, `1 to 3 seeds` where levels lack."""
    counts = sorted({level.values for level in levels})
    most = f"{counts[-1]} seed{'s' * (counts[-1] != 1)}"
    return most if len(counts) == 1 else f"{counts[0]} to {most}"
