"""What runs measured on corrupted samples, by level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pi_cache import files
from training.evaluation.evaluate import read_evaluation
from training.reports.experiment import Experiment

Level = tuple[int, float]
"""Number and amount."""
Points = Mapping[Level, list[Mapping[str, Any]]]


def curves(experiment: Experiment) -> dict[str, dict[str, Points]]:
    """By kind and arm: of each level, the metrics of every run that was measured at it."""
    found: dict[str, dict[str, dict[Level, list[Mapping[str, Any]]]]] = {}
    beginning = f"robustness-{experiment.side}-"
    for place, run in experiment.runs.items():
        for path in files.listing(run.folder):
            if not (path.name.startswith(beginning) and path.suffix == ".json"):
                continue
            for level in read_evaluation(path)["levels"]:
                arms = found.setdefault(level["kind"], {})
                points = arms.setdefault(place.arm, {})
                points.setdefault((level["level"], level["amount"]), []).append(level)
    return {
        kind: {arm: dict(points) for arm, points in arms.items()} for kind, arms in found.items()
    }
