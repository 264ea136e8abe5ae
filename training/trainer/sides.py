"""The samples that a run is given: those it learns from, and those it is chosen by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec
from training.joined import JoinedDataset
from training.tasks import Task, prepare
from training.trainer.config import LAST, TEST, VALIDATION
from training.trainer.objectives import Objective

Batch = dict[str, Tensor]
Transform = Callable[[Batch], Batch]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sides:
    """What a run sees. Built by hand where there are no labels, as for a PI-Net.

    train: learned from. validation: measured after each epoch, None for no such side. test: given
    only to a run that says `best-on-test`. numbers: the class of each label of the data set, see
    `tasks.prepare`; empty where labels are classes. class_names, record: as of a Task.
    """

    train: JoinedDataset
    validation: JoinedDataset | None = None
    test: JoinedDataset | None = None
    numbers: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    class_names: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)


def sides_of(given: Task | Sides, select: str) -> Sides:
    """The sides that a run with this selection may see: the test side for `best-on-test` alone.

    Raises InvalidSpec where the side that it chooses by is missing, or the test side is given to a
    run that must not see it.
    """
    if isinstance(given, Sides):
        sides = given
        if sides.test is not None and select != TEST:
            raise InvalidSpec(
                f"a run that selects {select} is given no test side; leave it to `evaluate`, or"
                f" say {TEST}, which is then in every record of the run"
            )
    else:
        sides = Sides(
            train=given.train,
            validation=given.validation,
            test=given.test if select == TEST else None,
            numbers=given.numbers,
            class_names=given.class_names,
            record=given.record,
        )
    if select == VALIDATION and not sides.validation:
        raise InvalidSpec(
            "there is no validation side to choose an epoch by; hold back a share of the training"
            f" samples (DataSpec.validation), or select the {LAST} epoch"
        )
    if select == TEST and not sides.test:
        raise InvalidSpec(f"{TEST} needs a test side, and these samples have none")
    return sides


def measured_side(sides: Sides) -> tuple[str, JoinedDataset | None]:
    """Name and samples of the side that is measured after each epoch; None for no samples."""
    if sides.test is not None:
        return "test", sides.test
    return "validation", sides.validation or None


def narrowed(
    data: JoinedDataset, objective: Objective, also: Collection[str] = ()
) -> JoinedDataset:
    """The samples with nothing but what the objective reads, so that no more is held.

    also: arrays that a transform needs beside. Raises InvalidSpec that names a missing array.
    """
    labels = ["labels"] if objective.labelled else []
    wanted = list(dict.fromkeys([*objective.names, *also, *labels, "index"]))
    missing = [name for name in wanted if name not in data.names]
    if missing:
        raise InvalidSpec(
            f"these samples have no {', '.join(missing)}, which a network or a teacher reads;"
            f" there are {', '.join(data.names)}"
        )
    return data.only(wanted)


class Prepared:
    """A transform for `Loader`: batches as objectives take them, augmented if so asked.

    augment: takes labels as classes and inputs as stored, channels last, and gives inputs channels
    second, as AugmentedBatches does. One that has `prepared` set takes batches as they are stored
    and does all of it.
    """

    def __init__(self, numbers: Tensor, augment: Transform | None = None) -> None:
        self.numbers, self.augment = numbers, augment
        if (check := getattr(augment, "check_parts", None)) is not None:
            self.check_parts = check

    def __call__(self, batch: Batch) -> Batch:
        if self.augment is None:
            return prepare(batch, self.numbers) if len(self.numbers) else _moved(batch)
        if "labels" in batch and len(self.numbers) and not getattr(self.augment, "prepared", False):
            labels = prepare({"labels": batch["labels"]}, self.numbers)
            batch = batch | labels
        return self.augment(batch)


def _moved(batch: Batch) -> Batch:
    """Inputs channels second, labels as they are."""
    labels = {name: batch[name] for name in ("labels",) if name in batch}
    plain = {name: value for name, value in batch.items() if name not in labels}
    return prepare(plain, torch.empty(0, dtype=torch.int64)) | labels
