"""Noisy students: a teacher labels what has no label, a noised student learns from it and teaches.

A round: the teacher, without noise, gives pseudo-labels to the pool; a new student learns from
labelled and pseudo-labelled samples together, with noise on both (augmentations of inputs, dropout
of its model options); then it is the next teacher. The term is the mean cross entropy over a batch
in which both kinds are as they come in the shuffled union.

    DIR/round-0            the first teacher, trained on labels alone (absent with a teacher given)
    DIR/pseudo-1.safetensors, DIR/round-1, ...

References: Xie et al., "Self-training with Noisy Student improves ImageNet classification", CVPR
2020, arXiv 1911.04252, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pi_cache import files
from pi_cache.errors import AlreadyPublished, InvalidSpec, LeakageError
from pi_cache.sampling.draws import draw, ranks
from pi_cache.sampling.samples import listed
from training.evaluation.opened import data_of
from training.joined import JoinedDataset
from training.losses.kd import cross_entropy_batch_mean
from training.methods.base import Term, Terms
from training.pinets.seen import seen_ids
from training.runs.batches import augmented
from training.runs.execute import seeded
from training.runs.identity import with_digests
from training.runs.record import provenance
from training.runs.spec import RunSpec
from training.runs.teachers import Given, check_given, open_given
from training.selftraining.pseudo import (
    Choice,
    Pseudo,
    check_pool,
    pseudo_labels,
    read_pseudo,
    write_pseudo,
)
from training.selftraining.targets import Targets, positions, target_table
from training.tasks import Task, open_task
from training.trained import ModelSpec, Trained, read_trained
from training.trainer.config import TrainConfig
from training.trainer.loop import Result, train
from training.trainer.objectives import Batch, Objective, Supervised, digest
from training.trainer.sides import Sides
from training.views import View, fit_view

ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTraining:
    """Everything that decides a chain of noisy students.

    run: what each student is: data, view, model, augmentations, config. No method, no start.
    choice: which pseudo-labels. rounds: of students. unlabelled_share: of the labelled training
    samples, whose labels are hidden beside those that have none; drawn by id with `seed`, each
    class by its share. teacher: a trained run for the first round, None to train one on labels.
    Raises InvalidSpec with every problem.
    """

    run: RunSpec
    choice: Choice = field(default_factory=Choice)
    rounds: int = ROUNDS
    unlabelled_share: float = 0.0
    seed: int = 0
    teacher: str | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.run.method is not None or self.run.start is not None:
            problems.append("students of self-training take no method and no start")
        if self.rounds < 1:
            problems.append(f"rounds must be at least 1, got {self.rounds}")
        if not 0 <= self.unlabelled_share < 1:
            problems.append(f"unlabelled_share must be in 0..1, got {self.unlabelled_share}")
        if problems:
            raise InvalidSpec("; ".join(problems))

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "run": self.run.to_dict(),
            "choice": asdict(self.choice),
            "rounds": self.rounds,
            "unlabelled_share": self.unlabelled_share,
            "seed": self.seed,
            "teacher": self.teacher,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a round gave. folder: of its run. kept: samples with a pseudo-label, of `pool`.

    rows: those with repeats. correct: the share of kept samples whose class is the hidden label,
    None where no label is known; it is reported and used for nothing.
    """

    number: int
    folder: str
    result: Result
    pool: int = 0
    kept: int = 0
    rows: int = 0
    correct: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {**{n: getattr(self, n) for n in self.__slots__}, "result": self.result.to_dict()}


class Student(Supervised):
    """Cross entropy with the shares that `Targets` gave: the term `ce`.

    A batch that was given none is refused: labels of the pool are never read. Validation is by
    labels, as for any classifier.
    """

    labelled = False

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.view.names, "labels")

    def terms(self, batch: Batch) -> Terms:
        if "targets" not in batch:
            raise InvalidSpec("a student of self-training needs targets; use the transform Targets")
        return {
            "ce": Term(1.0, cross_entropy_batch_mean(self.outputs(batch).logits, batch["targets"]))
        }


def noisy_student(
    spec: SelfTraining, folder: Path, *, say: Callable[[str], None]
) -> Iterator[Round]:
    """The rounds, one after another as they end; run again, they go on where they were killed.

    Raises InvalidSpec where there is nothing without a label, LeakageError for a pool with test
    samples, and what `open_task`, `train` and `read_trained` raise.
    """
    task = open_task(spec.run.data)
    labelled, pool = divide(task.train, spec.unlabelled_share, spec.seed)
    check_pool(pool, task)
    say(f"{len(labelled)} samples with a label, {len(pool)} without")
    chain = _Chain(spec, task, labelled, pool, folder.absolute(), say)
    if spec.teacher is None:
        first = chain.train_teacher()
        yield first
        teacher = read_trained(first.folder, device=spec.run.config.device)
    else:
        given = open_given(spec.teacher, device=spec.run.config.device)
        for note in (*check_given(given, task), *check_untold(given, pool)):
            say(f"not checked: {note}")
        teacher = given.trained
    for number in range(1, spec.rounds + 1):
        made = chain.train_student(number, teacher)
        yield made
        teacher = read_trained(made.folder, device=spec.run.config.device)


def check_untold(given: Given, pool: JoinedDataset) -> list[str]:
    """What could not be checked: whether a teacher was told the labels of the pool.

    Raises LeakageError where it learned from samples of it, whose labels are hidden here.
    """
    told = given.trained.record.get("record", {}).get("self_training")
    seen = seen_ids(given.trained, given.name)
    if seen is None:
        return [f"whether {given.name} was told the labels of the pool"]
    if told is not None:  # its own pool is what it was told of without labels
        own = open_task(data_of(given.trained.record, given.name)).train
        seen &= set(divide(own, told["unlabelled_share"], told["seed"])[0].ids.tolist())
    both = sorted(seen & set(pool.ids[pool.numbers["labels"] >= 0].tolist()))
    if both:
        raise LeakageError(
            f"{given.name} was trained on the labels of {len(both)} samples of the pool"
            f" ({listed(both)}), which are hidden here; leave out --teacher, so that one is trained"
            " without them"
        )
    return []


def divide(train: JoinedDataset, share: float, seed: int) -> tuple[JoinedDataset, JoinedDataset]:
    """Training samples with a label, and without: those that have none and those that hide theirs.

    share: of each class that hides. Raises InvalidSpec where either side would be empty.
    """
    labels, index = train.numbers["labels"], train.index
    known = labels >= 0
    hidden = ~known
    if share and known.any():
        order = ranks(train.ids[known].tolist(), seed)
        hidden[np.flatnonzero(known)[draw(labels[known], order, share)]] = True
    if hidden.all() or not hidden.any():
        raise InvalidSpec(
            f"all {len(labels)} training samples are {'without' if hidden.all() else 'with'} a"
            " label: self-training needs both; hide a share of them with --unlabelled-share"
        )
    return train.view(index[~hidden]), train.view(index[hidden])


class _Chain:
    """What all rounds share."""

    def __init__(
        self,
        spec: SelfTraining,
        task: Task,
        labelled: JoinedDataset,
        pool: JoinedDataset,
        folder: Path,
        say: Callable[[str], None],
    ) -> None:
        self.spec, self.task, self.folder, self.say = spec, task, folder, say
        self.labelled, self.pool = labelled, pool
        self.view: View = fit_view(spec.run.view, labelled, normalise=spec.run.normalise)
        self.model = ModelSpec(
            name=spec.run.model,
            channels=self.view.channels,
            classes=len(task.class_names),
            dimensions=self.view.dimensions,
            options=spec.run.model_options,
        )

    def train_teacher(self) -> Round:
        """Round 0: labels alone, with the same noise."""
        network = seeded(self.model, self.spec.run.config.seed)
        result = self._train(0, Supervised(network, self.view), self.labelled, None, {})
        return Round(number=0, folder=str(self._run(0)), result=result)

    def train_student(self, number: int, teacher: Trained) -> Round:
        """A round: pseudo-labels of the teacher, then a new student."""
        pseudo = self._pseudo(number, teacher)
        places = positions(self.labelled, pseudo)
        union = self.labelled.view(np.concatenate([self.labelled.index, places]))
        table = target_table(self.labelled, pseudo, self.task.numbers)
        network = seeded(self.model, self._config(number).seed)
        says = {"teacher": pseudo.record["teacher"], "pseudo_labels": self._file(number).name}
        result = self._train(number, Student(network, self.view), union, table, says)
        return Round(
            number=number,
            folder=str(self._run(number)),
            result=result,
            pool=len(self.pool),
            kept=pseudo.record["kept"],
            rows=len(pseudo),
            correct=self._correct(pseudo, places),
        )

    def _train(
        self,
        number: int,
        objective: Objective,
        samples: JoinedDataset,
        table: Tensor | None,
        says: dict[str, Any],
    ) -> Result:
        config, spec = self._config(number), self.spec.run
        augment = augmented(
            self.task,
            spec.augment,
            self.view.names,
            seed=config.seed,
            device=config.device,
            allow_stale=spec.allow_stale,
        )
        sides = Sides(
            train=samples,
            validation=self.task.validation,
            numbers=self.task.numbers,
            class_names=self.task.class_names,
            record=self.task.record,
        )
        told = {**self.spec.to_dict(), "run": {**spec.to_dict(), "data": with_digests(spec.data)}}
        made_by = {**provenance(config.device), "teacher": told.pop("teacher")}
        own = {"self_training": told, "round": number, **says, "provenance": made_by}
        self.say(f"round {number}: {len(samples)} samples")
        return train(
            objective,
            sides,
            config,
            self._run(number),
            model=self.model,
            transform=augment if table is None else Targets(table, augment),
            say=self.say,
            record=own,
        )

    def _pseudo(self, number: int, teacher: Trained) -> Pseudo:
        """Those of the file, if this teacher gave them; else new ones, written."""
        file, of = self._file(number), digest(teacher.network)
        if files.exists(file):
            found = read_pseudo(file)
            if found.record["teacher"] != of or found.record["choice"] != asdict(self.spec.choice):
                raise AlreadyPublished(
                    f"{file} holds pseudo-labels of another teacher or choice; give another folder",
                    (file,),
                )
            return found
        record = {"teacher": of, "round": number, "choice": asdict(self.spec.choice)}
        made = pseudo_labels(
            teacher,
            self.pool,
            self.spec.choice,
            device=self.spec.run.config.device,
            record={**record, "data": self.task.record["data"]},
        )
        write_pseudo(file, made)
        return made

    def _correct(self, pseudo: Pseudo, places: np.ndarray) -> float | None:
        """The share of pseudo-labelled samples whose hidden label is the same class."""
        once, first = np.unique(places, return_index=True)
        hidden = torch.from_numpy(self.labelled.view(once).numbers["labels"])
        known = hidden >= 0
        if not bool(known.any()):
            return None
        classes = self.task.numbers[hidden.clamp(min=0)]
        return float((classes == pseudo.labels[torch.from_numpy(first)])[known].double().mean())

    def _config(self, number: int) -> TrainConfig:
        """Each round draws its own weights and orders."""
        return replace(self.spec.run.config, seed=self.spec.run.config.seed + number)

    def _run(self, number: int) -> Path:
        return self.folder / f"round-{number}"

    def _file(self, number: int) -> Path:
        return self.folder / f"pseudo-{number}.safetensors"
