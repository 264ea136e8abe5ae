"""The best epoch on test data, as released code of the papers takes it: a second column.

It comes of a second set of runs, whose teachers are chosen so too. The runs that everything else on
a page is made of are given no test samples to choose by.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pi_cache import files
from training.reports.experiment import Experiment, read_experiment
from training.reports.spread import over_seeds
from training.reports.table import Measured, Table
from training.reports.tables import measured
from training.runs.ledger import NAME as LEDGER
from training.trainer.config import TEST

PLAN = "plan-best-on-test.toml"
RUNS = "runs-best-on-test"
TABLE = "best-on-test"
METRIC = "accuracy"


def by_test(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A plan, with epochs chosen on the test side where an arm does not say otherwise."""
    defaults = plan["defaults"]
    return {**plan, "defaults": {**defaults, "config": {**defaults["config"], "select": TEST}}}


def second_column(folder: Path, experiment: Experiment) -> list[Table]:
    """The table of both columns, where results have runs of both kinds.

    folder: of the results. experiment: their runs that are chosen on validation data.
    """
    second = second_runs(folder)
    if second is None:
        return []
    arms = experiment.arms
    return [
        Table(
            name=TABLE,
            title="Accuracy, %: the epoch chosen on validation data, and the best one on test data",
            columns=("arm", "chosen on validation", "best on test (the papers' rule)"),
            rows=tuple((arm, _accuracy(experiment, arm), _accuracy(second, arm)) for arm in arms),
            notes=(
                "The second column is of a second set of runs, whose teachers were chosen on test"
                " data too, but for those that are taken as they were last. It is too high by what"
                " choosing gives, and compares with numbers of the papers alone.",
                *_lacking(experiment, second),
            ),
        )
    ]


def second_runs(folder: Path) -> Experiment | None:
    """Runs that were chosen on test data; None where no such run has ended."""
    return read_experiment(folder / RUNS) if files.exists(folder / RUNS / LEDGER) else None


def _lacking(experiment: Experiment, second: Experiment) -> list[str]:
    """A sentence on the arms whose second number is of fewer runs, as after a call cut short."""
    counts = {
        arm: (sum(place in second.runs for place in runs), len(runs))
        for arm, runs in ((arm, experiment.of(arm)) for arm in experiment.arms)
    }
    fewer = [f"{arm} ({there} of {n})" for arm, (there, n) in counts.items() if there < n]
    said = f"The second column has fewer runs than the first of: {', '.join(fewer)}."
    return [said] if fewer else []


def _accuracy(experiment: Experiment, arm: str) -> Measured:
    return measured(METRIC, over_seeds(experiment, arm, METRIC, weighted=False))
