"""What is measured of runs that have ended beside their clean test samples: corrupted ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pi_cache import files
from training.augment.corruptions import SAMPLE_OF, Corruption
from training.evaluation.evaluate import (
    Evaluation,
    evaluate,
    labelled,
    levels_of,
    write_evaluation,
)
from training.evaluation.metrics import summary
from training.evaluation.opened import data_of
from training.evaluation.predict import predict
from training.experiments.calls import Caller
from training.experiments.corrupted import Corrupted
from training.reports.experiment import Experiment
from training.tasks import DataSpec, Task, open_task
from training.trained import Trained, read_trained

Say = Callable[[str], None]
TEST = "test"
KEPT = 2
"""Tasks that are kept open."""
SEED = 0
"""Of what corruptions draw, the same for every network."""


class Measurer:
    """Measures runs under corruptions, task by task; used as a context, it cleans up after itself.

    nets: PI-Nets by the name of the array that each gives. aside: the folder of corrupted samples,
    which is there while they are needed. numbers: of the levels, None for all.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        nets: Mapping[str, Trained],
        call: Caller,
        aside: Path,
        *,
        device: str,
        say: Say,
        numbers: Sequence[int] | None = None,
    ) -> None:
        self.kinds, self.nets, self.call, self.aside = kinds, nets, call, aside
        self.device, self.say, self.numbers = device, say, numbers
        self._open: dict[str, tuple[Task, Corrupted]] = {}
        self._opened = 0

    def __enter__(self) -> Measurer:
        shutil.rmtree(self.aside, ignore_errors=True)  # of a call that was killed
        return self

    def __exit__(self, *error: object) -> None:
        self._open.clear()
        shutil.rmtree(self.aside, ignore_errors=True)

    def measure(self, experiment: Experiment) -> None:
        """Measure every run once. Left out is one that reads images that cannot be made anew.

        Such as arrays of one's own: what is stored of them is of clean samples.
        """
        for place, run in experiment.runs.items():
            todo = [kind for kind in self.kinds if not files.exists(_file(run.folder, kind))]
            if not todo:
                continue
            trained = read_trained(run.folder, device=self.device)
            task, corrupted = self._task(data_of(trained.record, run.folder))
            if not set(trained.view.names) <= corrupted.names:
                self.say(f"{place} reads {trained.view}, of which corrupted ones are not made")
                continue
            self.say(f"{place} under {', '.join(todo)}")
            write_evaluation(run.folder, self._levels(trained, task, corrupted, todo))

    def _levels(
        self, trained: Trained, task: Task, corrupted: Corrupted, kinds: Sequence[str]
    ) -> Evaluation:
        levels = [level for kind in kinds for level in levels_of(kind, task, self.numbers)]
        if trained.view.names == ("inputs",):
            return evaluate(trained, TEST, task, corruptions=levels, seed=SEED)
        clean = evaluate(trained, TEST, task)
        rows = [self._row(trained, task, corrupted, level, clean) for level in levels]
        return replace(clean, levels=rows)

    def _row(
        self,
        trained: Trained,
        task: Task,
        corrupted: Corrupted,
        level: Corruption,
        clean: Evaluation,
    ) -> dict[str, Any]:
        """The metrics under one corruption, as `evaluate` gives them."""
        metrics = clean.metrics
        if not level.neutral:
            found = predict(trained, corrupted.side(level), task)
            metrics = summary(*labelled(found))
        sample = SAMPLE_OF[len(corrupted.clean.parts["inputs"].shape) + 1]
        amount = level.amount_for(sample)
        named = {"kind": level.kind, "level": level.level, "amount": amount, "seed": SEED}
        return {**named, **metrics}

    def _task(self, spec: DataSpec) -> tuple[Task, Corrupted]:
        """A task and its corrupted samples, opened once for the runs of a fold."""
        known = repr(sorted(spec.to_dict().items()))
        if known not in self._open:
            if len(self._open) == KEPT:
                _, first = self._open.pop(next(iter(self._open)))
                shutil.rmtree(first.folder, ignore_errors=True)
            task = open_task(spec)
            assert task.test is not None
            self._opened += 1
            folder = self.aside / f"task-{self._opened}"
            corrupted = Corrupted(task.test, self.nets, self.call, folder, seed=SEED)
            self._open[known] = (task, corrupted)
        return self._open[known]


def _file(folder: Path, kind: str) -> Path:
    return folder / f"robustness-{TEST}-{kind}.json"
