"""How a run trains: every number of it, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args

import torch

from pi_cache.errors import InvalidSpec
from pi_cache.nearest import hint
from training.holding.choose import How
from training.selection import whole_number
from training.trainer.schedules import parse_schedule

OPTIMIZERS = ("sgd", "adam", "adamw")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
VALIDATION, LAST, TEST = "best-on-validation", "last", "best-on-test"
SELECTIONS = (VALIDATION, LAST, TEST)
"""Which epoch is the run's. The last is what much released code does, and what it must be called:
the number that it reports was chosen by looking at the test side."""
CACHE_BYTES = 1 << 30
OPTIONAL = ("save_steps", "threads")
"""Whole numbers that may be None."""
FLAGS = ("nesterov", "deterministic", "channels_last", "drop_last", "cache_teachers")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """The settings of the loop.

    epochs: passes over the training side. batch_size: samples of a step on each rank.
    optimizer: one of OPTIMIZERS; momentum and nesterov are of sgd, betas and epsilon of the others.
    learning_rate, schedule: see `schedules`. weight_decay: of all that is trained.
    clip: the largest norm of all gradients together, None for no limit.
    precision: of networks, one of PRECISIONS; weights and losses stay float32.
    seed: of orders, dropout and what a method learns; networks are drawn before.
    deterministic: only algorithms that give the same bits again. select: one of SELECTIONS.
    channels_last: how maps of images lie in memory. compile: by torch.compile; a text is its
    backend. device, how: where networks are, and how samples are held, see `holding.choose`.
    drop_last: leave out a last batch that is not full. save_every: epochs from state to state.
    save_steps: also a state after so many steps, within an epoch. threads: of torch on the CPU,
    None for what it has. cache_teachers: keep what teachers give, where nothing changes batches;
    cache_bytes: so much of it at most, on the device.
    Raises InvalidSpec with every setting that is wrong.
    """

    epochs: int
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    nesterov: bool = False
    weight_decay: float = 1e-4
    schedule: str = "constant"
    clip: float | None = None
    precision: str = "float32"
    seed: int = 0
    deterministic: bool = True
    select: str = VALIDATION
    channels_last: bool = False
    compile: bool | str = False
    device: str = "cpu"
    how: How = "auto"
    drop_last: bool = False
    save_every: int = 1
    save_steps: int | None = None
    threads: int | None = None
    cache_teachers: bool = True
    cache_bytes: int = CACHE_BYTES

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "seed", "save_every", *OPTIONAL, "cache_bytes"):
            if (number := whole_number(getattr(self, name))) is not None:
                object.__setattr__(self, name, number)  # of numpy too, which JSON cannot hold
        betas: Any = self.betas
        if isinstance(betas, list):  # of JSON
            object.__setattr__(self, "betas", tuple(betas))
        problems = [*self._numbers(), *self._choices()]
        try:
            parse_schedule(str(self.schedule))
        except InvalidSpec as error:
            problems.append(str(error))
        if problems:
            raise InvalidSpec("; ".join(problems))

    def _numbers(self) -> list[str]:
        """What is wrong with its numbers."""
        least = {"epochs": 1, "batch_size": 1, "seed": 0, "save_every": 1, "cache_bytes": 0}
        least |= {n: 1 for n in OPTIONAL if getattr(self, n) is not None}
        wrong = [
            f"{name} must be a whole number from {low} on, got {getattr(self, name)!r}"
            for name, low in least.items()
            if (found := whole_number(getattr(self, name))) is None or found < low
        ]
        ranges = {
            "learning_rate": _real(self.learning_rate) and self.learning_rate > 0,
            "clip": self.clip is None or (_real(self.clip) and self.clip > 0),
            "epsilon": _real(self.epsilon) and self.epsilon > 0,
            "weight_decay": _real(self.weight_decay) and self.weight_decay >= 0,
            "momentum": _real(self.momentum) and 0 <= self.momentum < 1,
            "betas": isinstance(self.betas, tuple)
            and len(self.betas) == 2
            and all(_real(b) and 0 <= b < 1 for b in self.betas),
        }
        outside = [name for name, within in ranges.items() if not within]
        wrong += [f"{name} is out of range: {getattr(self, name)!r}" for name in outside]
        if self.nesterov and not self.momentum:
            wrong.append("nesterov needs a momentum above 0")
        return wrong

    def _choices(self) -> list[str]:
        """What is wrong with its words and flags."""
        choices = {
            "optimizer": OPTIMIZERS,
            "precision": tuple(PRECISIONS),
            "select": SELECTIONS,
            "how": get_args(How),
        }
        wrong = [
            f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
            for name, known in choices.items()
            if getattr(self, name) not in known
        ]
        wrong += [
            f"{name} must be True or False, got {getattr(self, name)!r}"
            for name in FLAGS
            if not isinstance(getattr(self, name), bool)
        ]
        try:
            torch.device(self.device)
        except RuntimeError:
            wrong.append(f"device must be cpu, cuda or cuda:NUMBER, got {self.device!r}")
        return wrong

    def to_dict(self) -> dict[str, Any]:
        """As plain values, which JSON can hold."""
        return {**asdict(self), "betas": list(self.betas)}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> TrainConfig:
        """The config that `to_dict` wrote, or a part of one. Raises InvalidSpec."""
        known = [each.name for each in fields(cls)]
        for name in settings:
            if name not in known:
                meant = hint(name, known) or f"; there are {', '.join(known)}"
                raise InvalidSpec(f"a run has no setting {name!r}{meant}")
        if "epochs" not in settings:
            raise InvalidSpec("a run needs a number of epochs")
        return cls(**settings)


def _real(value: Any) -> bool:
    """Whether this is a finite number."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < float("inf")  # NaN compares as false
    )
