"""The one loop: epochs of steps, a measurement after each, states between, and two networks.

A run that was killed goes on when it is called again with the same arguments, and every later loss
is bit for bit what an undisturbed run has (on the CPU; on the same machine and versions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from training.tasks import Task
from training.trained import ModelSpec
from training.trainer.checks import check_device, check_labels, check_model
from training.trainer.config import TrainConfig
from training.trainer.folder import RunFolder
from training.trainer.objectives import Objective
from training.trainer.ranks import join_ranks
from training.trainer.run import Run
from training.trainer.sides import Sides, Transform, sides_of
from training.trainer.surroundings import surroundings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run gave.

    epochs: done. chosen: the epoch of `best.safetensors`, counted from 1. select: how it was
    chosen. measured: the name of the score, on which side. score: of the chosen epoch, None where
    nothing was measured. seconds: of training, without measuring. samples_per_second: in them.
    skipped: steps that float16 left out.
    """

    epochs: int
    chosen: int
    select: str
    measured: str
    score: float | None
    seconds: float
    samples_per_second: float
    skipped: int
    ranks: int
    versions: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Result:
        """The result that `to_dict` wrote, of a document that may hold more."""
        return cls(**{each.name: values[each.name] for each in fields(cls)})


def train(
    objective: Objective,
    sides: Task | Sides,
    config: TrainConfig,
    folder: Path | str,
    *,
    model: ModelSpec,
    transform: Transform | None = None,
    say: Say = lambda text: None,
    record: Mapping[str, Any] | None = None,
    tensorboard: bool | None = None,
) -> Result:
    """Train, or go on with what was begun in this folder, or say what it gave.

    objective, transform: made anew for each call: a network that has learned is another one, which
    is refused, and a generator that was drawn from goes on elsewhere.

    sides: of a Task only those are taken that the selection of the config may see. folder: made
    where there is none; see `folder`. model: of the objective's network, which is then
    `best.safetensors` and `last.safetensors`. transform: of whole batches, see `Prepared`; its
    state is kept where it has a `state_dict`. say: called with a line after each epoch. record:
    of the caller, kept in run.json and in both networks. tensorboard: write events, None for where
    it is installed.
    Raises InvalidSpec, AlreadyPublished where the folder holds another run, NotFinite,
    CorruptStore.
    """
    seen = sides_of(sides, config.select)
    check_model(objective, seen, model)
    check_labels(objective, seen, model.classes)
    ranks, device = join_ranks(torch.device(config.device))
    check_device(device)
    with surroundings(config, device):
        files = RunFolder(Path(folder))
        identity = _identity(objective, seen, config, model, record or {}, ranks.ranks)
        if ranks.first:
            files.begin(identity)
        ranks.wait()
        done = files.result()
        if done is not None:
            say(f"{files.path}: ended before, after {done['epochs']} epochs")
            if ranks.first:
                files.clear()
            return Result.from_dict(done)
        run = Run(
            objective=objective,
            sides=seen,
            config=config,
            folder=files,
            model=model,
            transform=transform,
            say=say if ranks.first else lambda text: None,
            identity=files.identity(),
            ranks=ranks,
            device=device,
            tensorboard=tensorboard,
        )
        try:
            return Result.from_dict(run())
        finally:
            run.close()


def _identity(
    objective: Objective,
    sides: Sides,
    config: TrainConfig,
    model: ModelSpec,
    record: Mapping[str, Any],
    ranks: int,
) -> dict[str, Any]:
    """What makes a run this one and no other, as plain values."""
    return {
        "config": config.to_dict(),
        "objective": objective.to_dict(),
        "model": asdict(model),
        "class_names": list(sides.class_names),
        "data": dict(sides.record),
        "record": dict(record),
        "ranks": ranks,
    }
