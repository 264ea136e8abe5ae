"""V-scores of some classes alone: whether a network tells similar ones as well apart as others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pi_cache import files
from training.evaluation.predictions import read_predictions
from training.experiments.description import Place
from training.reports.embedding import v_score
from training.reports.experiment import Experiment, Run
from training.reports.spread import spread
from training.reports.table import Cell, Measured, Table


def grouped_v_scores(
    groups: Mapping[str, Sequence[str]],
) -> Callable[[Place, Experiment], Table]:
    """What makes the table of groups of classes, by name: a column a group, a row an arm."""

    def table(place: Place, experiment: Experiment) -> Table:
        rows: list[tuple[Cell, ...]] = []
        for arm in experiment.arms:
            runs = list(experiment.of(arm).values())
            cells = [
                Measured(spread(_score(run, names, experiment.side) for run in runs), 1.0, 4)
                for names in groups.values()
            ]
            rows.append((arm, len(runs), *cells))
        listed = "; ".join(f"{name}: {', '.join(classes)}" for name, classes in groups.items())
        return Table(
            name="v-scores-of-groups",
            title=f"V-score of pooled features of some classes on {experiment.side}",
            columns=("arm", "runs", *groups),
            rows=tuple(rows),
            notes=(f"As the V-scores of all classes; {listed}.",),
        )

    return table


def _score(run: Run, names: Sequence[str], side: str) -> float:
    """Of the samples of these classes in one run, whose features `training repeat` keeps."""
    path = run.folder / f"features-{side}.safetensors"
    assert files.exists(path), path
    found = read_predictions(path)
    wanted = [list(found.class_names).index(name) for name in names]
    chosen = np.isin(found.labels, wanted)
    assert found.features is not None
    return v_score(found.features[chosen], found.labels[chosen])
