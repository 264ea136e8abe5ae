"""What is measured of runs that have ended beside their clean test samples: corrupted ones."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pi_cache import files
from training.augment.corruptions import SAMPLE_OF, Corruption, Levels
from training.evaluation.evaluate import (
    Evaluation,
    described,
    evaluate,
    labelled,
    levels_of,
    read_evaluation,
    write_evaluation,
)
from training.evaluation.metrics import summary
from training.evaluation.opened import data_of
from training.evaluation.predict import predict
from training.experiments.calls import Caller
from training.experiments.corrupted import Corrupted
from training.reports.experiment import Experiment
from training.runs.repeat import REPLACED
from training.tasks import DataSpec, Task, open_task
from training.trained import Trained, read_trained

Say = Callable[[str], None]
TEST = "test"
KEPT = 2
"""Tasks that are kept open."""
SEED = 0
"""Of what corruptions draw, the same for every network."""
LEFT = 86_400.0
"""Seconds without a measurement after which a call on another machine is taken for killed."""


class Measurer:
    """Measures runs under corruptions, task by task; used as a context, it cleans up after itself.

    corrupt: each kind with its levels. nets: PI-Nets by the name of the array that each gives.
    aside: the folder of corrupted samples, which is there while they are needed. In it are a folder
    of each process that measures, and perhaps files of the user's own, which are not touched.
    placed: where data lie now. numbers: of levels or amounts, 1 for the first; None for all.
    """

    def __init__(
        self,
        corrupt: Sequence[Levels],
        nets: Mapping[str, Trained],
        call: Caller,
        aside: Path,
        *,
        device: str,
        say: Say,
        placed: Callable[[DataSpec], DataSpec] = lambda spec: spec,
        numbers: Sequence[int] | None = None,
    ) -> None:
        self.corrupt, self.nets, self.call, self.aside = corrupt, nets, call, aside
        self.device, self.say, self.placed, self.numbers = device, say, placed, numbers
        self._open: dict[str, tuple[Task, Corrupted]] = {}
        self._own = aside / files.temporary_name()
        self._opened = 0

    def __enter__(self) -> Measurer:
        for path in self.aside.glob("*.*.*"):
            if _is_left(path):
                shutil.rmtree(path, ignore_errors=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._open.clear()
        shutil.rmtree(self._own, ignore_errors=True)
        with contextlib.suppress(OSError):  # there are none, or there is something else
            self.aside.rmdir()

    def measure(self, experiment: Experiment) -> None:
        """Measure every run once. Left out is one that reads images that cannot be made anew.

        Such as arrays of one's own: what is stored of them is of clean samples.
        """
        for place, run in experiment.runs.items():
            todo = [each for each in self.corrupt if not self._is_measured(run.folder, each)]
            if not todo:
                continue
            trained = read_trained(run.folder, device=self.device)
            task, corrupted = self._task(self.placed(data_of(trained.record, run.folder)))
            if not set(trained.view.names) <= corrupted.names:
                self.say(f"{place} reads {trained.view}, of which corrupted ones are not made")
                continue
            self.say(f"{place} under {', '.join(each.kind for each in todo)}")
            write_evaluation(run.folder, self._levels(trained, task, corrupted, todo))

    def _is_measured(self, folder: Path, levels: Levels) -> bool:
        """Whether a run was measured at these levels, with this fill; else it is moved aside."""
        path = _file(folder, levels.kind)
        if not files.exists(path):
            return False
        rows = read_evaluation(path)["levels"]
        if any(_are_of(rows, each) for each in self._described(levels)):
            return True
        aside = files.move_aside(path, folder / REPLACED)
        self.say(f"{path} was measured at other levels, or with another fill: moved to {aside}")
        return False

    def _described(self, levels: Levels) -> Iterator[list[dict[str, Any]]]:
        """What rows say of these levels, for each kind of sample that has that many."""
        for sample in sorted(set(SAMPLE_OF.values())):
            if {*(self.numbers or ())} <= {0, *levels.numbers(sample)}:
                wanted = levels.corruptions(sample, self.numbers)
                yield [described(each, sample, SEED) for each in wanted]

    def _levels(
        self, trained: Trained, task: Task, corrupted: Corrupted, todo: Sequence[Levels]
    ) -> Evaluation:
        levels = [level for each in todo for level in levels_of(each, task, self.numbers)]
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
            side = corrupted.side(level)
            files.touch(self._own)  # for calls on other machines
            found = predict(trained, side, task)
            metrics = summary(*labelled(found))
        sample = SAMPLE_OF[len(corrupted.clean.parts["inputs"].shape) + 1]
        return {**described(level, sample, SEED), **metrics}

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
            folder = self._own / f"task-{self._opened}"
            corrupted = Corrupted(task.test, self.nets, self.call, folder, seed=SEED)
            self._open[known] = (task, corrupted)
        return self._open[known]


def _is_left(folder: Path) -> bool:
    """Whether a folder is of a call that was killed; of one on another machine its age tells."""
    if not files.is_left(folder.name):
        return False
    if folder.name.startswith(f"{socket.gethostname()}."):
        return True
    try:
        return files.clock(folder.parent) - files.changed(folder) >= LEFT
    except FileNotFoundError:  # another call removes it
        return False


def _are_of(rows: Sequence[Mapping[str, Any]], levels: Sequence[Mapping[str, Any]]) -> bool:
    """Whether rows of metrics are those of levels, and of no others.

    Older rows do not say what missing points became; it was 0.
    """
    return len(rows) == len(levels) and all(
        level.items() <= {"fill": 0.0, **row}.items()
        for row, level in zip(rows, levels, strict=True)
    )


def _file(folder: Path, kind: str) -> Path:
    return folder / f"robustness-{TEST}-{kind}.json"
