"""What is wrong with a run, found before it reads a sample or writes a file."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pi_cache.errors import InvalidSpec
from training.devices import refusing
from training.trained import ModelSpec
from training.trainer.objectives import Objective
from training.trainer.sides import Sides, measured_side


def check_labels(objective: Objective, sides: Sides, classes: int) -> None:
    """Raise InvalidSpec unless every label that is read is one of so many classes.

    Losses look only at labels on the CPU: on a device each look would wait for it.
    """
    name, measured = measured_side(sides)
    reads = objective.labelled or "labels" in objective.names
    for side, data, read in (
        ("training", sides.train, objective.labelled),
        (name, measured, reads),
    ):
        if data is None or not read:
            continue
        labels = data.numbers.get("labels")
        if labels is None:
            raise InvalidSpec(
                f"the {side} samples have no labels, which {type(objective).__name__} needs"
            )
        if missing := int((labels < 0).sum()):
            raise InvalidSpec(
                f"{missing} of {len(labels)} {side} samples have no label (-1); leave them out, or"
                " give them pseudo-labels first"
            )
        found = _classes(labels, sides.numbers.numpy())
        if other := int(((found < 0) | (found >= classes)).sum()):
            raise InvalidSpec(
                f"{other} of {len(labels)} {side} samples have a class outside 0..{classes - 1},"
                " all that the network tells apart; build it with more classes"
            )


def _classes(labels: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class of each label, -1 for one that `numbers` does not know."""
    if not len(numbers):
        return labels
    known: NDArray[np.int64] = numbers[np.minimum(labels, len(numbers) - 1)]
    return np.where(labels < len(numbers), known, -1)


def check_model(objective: Objective, sides: Sides, model: ModelSpec) -> None:
    """Raise InvalidSpec unless the files of this run could be read: model, network, view and names.

    A run of a day would else end with networks that nobody can load.
    """
    view, names, problems = objective.view, sides.class_names, []
    if model.classes and len(names) != model.classes:
        problems.append(
            f"it has {model.classes} classes, the samples have {len(names)} class names"
        )
    if (view.channels, view.dimensions) != (model.channels, model.dimensions):
        problems.append(
            f"it has {model.channels} channels and {model.dimensions} dimensions, the view {view}"
            f" has {view.channels} and {view.dimensions}"
        )
    with torch.random.fork_rng(devices=[]):
        try:
            model.build().load_state_dict(objective.network.state_dict(), strict=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            problems.append(f"the network is another one ({reason:.200})")
    if problems:
        raise InvalidSpec(
            f"model {model.name} does not describe what is trained: {'; '.join(problems)}"
        )


def check_device(device: torch.device) -> None:
    """Raise InvalidSpec where torch has no such device."""
    with refusing(f"device {str(device)!r} cannot be used here"):
        torch.empty(0, device=device)
