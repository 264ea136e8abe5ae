"""Mean and deviation of a metric over seeds and folds.

    unweighted: v[seed] = mean over folds of v[fold, seed]
    weighted:   v[seed] = sum over folds of w[fold] v[fold, seed] / sum over folds of w[fold]

with w the number of test windows. Mean and sample deviation (n - 1) are over seeds: what another
seed would change, and not what another person would.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from training.reports.experiment import Experiment, Place


class Spread(NamedTuple):
    """mean and sample deviation, None where there are too few; values: how many there are."""

    mean: float | None
    deviation: float | None
    values: int


def spread(values: Iterable[float]) -> Spread:
    """Of some values."""
    found = list(values)
    if not found:
        return Spread(None, None, 0)
    deviation = statistics.stdev(found) if len(found) > 1 else None
    return Spread(statistics.fmean(found), deviation, len(found))


def over_seeds(experiment: Experiment, arm: str, metric: str, *, weighted: bool) -> Spread:
    """Over the seeds of an arm that have a result in every fold; see this module."""
    values = experiment.values(arm, metric)
    found = []
    for places in complete_seeds(experiment, arm).values():
        weights = [experiment.runs[place].windows if weighted else 1 for place in places]
        parts = [values[place] * w for place, w in zip(places, weights, strict=True)]
        found.append(sum(parts) / sum(weights))
    return spread(found)


def over_folds(experiment: Experiment, arm: str, metric: str) -> Spread:
    """Over folds of the mean over seeds: how much people differ. Of nothing where a fold lacks."""
    cells = [in_fold(experiment, arm, metric, fold).mean for fold in experiment.folds]
    means = [mean for mean in cells if mean is not None]
    return spread(means if len(means) == len(cells) else [])


def in_fold(experiment: Experiment, arm: str, metric: str, fold: str) -> Spread:
    """Over the seeds of an arm in one fold."""
    values = experiment.values(arm, metric)
    return spread(value for place, value in values.items() if place.fold == fold)


def complete_seeds(experiment: Experiment, arm: str) -> Mapping[int, list[Place]]:
    """The runs of each seed that has one in every fold."""
    by_seed: dict[int, list[Place]] = {}
    for place in experiment.of(arm):
        by_seed.setdefault(place.seed, []).append(place)
    return {s: places for s, places in by_seed.items() if len(places) == len(experiment.folds)}
