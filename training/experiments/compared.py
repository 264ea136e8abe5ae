"""Which arms are compared with a baseline, and which have a panel in figures."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from training.experiments.description import Description, Scale
from training.reports.experiment import Experiment


def teachers_of(scale: Scale) -> set[str]:
    """Names of the arms that teach others."""
    return {
        name.partition(":")[0] for arm in scale.plan["arms"] for name in arm.get("teachers", ())
    }


def uncompared(description: Description, scale: Scale) -> set[str]:
    """Names of the arms that tests and sentences leave out: teachers, and what bounds a gain."""
    return teachers_of(scale) | set(description.bounds)


def only(experiment: Experiment, arms: Sequence[str]) -> Experiment:
    """The runs of some arms; of all where none are named."""
    return without(experiment, set(experiment.arms) - set(arms)) if arms else experiment


def without(experiment: Experiment, arms: Collection[str]) -> Experiment:
    """The runs of all other arms."""
    return Experiment(
        side=experiment.side,
        runs={place: run for place, run in experiment.runs.items() if place.arm not in arms},
        missing={place: why for place, why in experiment.missing.items() if place.arm not in arms},
    )
