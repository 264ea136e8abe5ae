"""What one run is: its data, its network, its teachers and how it is trained; plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pi_cache.errors import InvalidSpec
from pi_cache.nearest import hint
from training.augment.base import Augmentation
from training.methods.base import Method
from training.methods.catalogue import make_method
from training.methods.picks import picked
from training.models.catalogue import MODELS, PI_NETS
from training.runs.augmentations import parse_augmentations
from training.tasks import DataSpec
from training.trainer.config import TrainConfig
from training.views import NORMS, parse_terms

FOLLOWING = ("name", "channels", "classes", "dimensions")
"""What a network is built with that follows from the samples, and is no option."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """Everything that decides what a run gives.

    view: what the network reads, see `views`. normalise: one of `views.NORMS`. model: a name of
    `models.MODELS`; model_options: what else its family takes. method: how it learns from
    teachers, None for labels alone. teachers: runs, `RUN:best` or `RUN:last`, or files of networks.
    start: such a network, whose weights and view the run begins with. augment: of the raw inputs,
    in their order. allow_stale: images that do not follow an augmentation are used all the same.
    Raises InvalidSpec with every problem.
    """

    data: DataSpec
    view: str
    model: str
    config: TrainConfig
    normalise: str = "values"
    model_options: Mapping[str, Any] = field(default_factory=dict)
    method: Method | None = None
    teachers: tuple[str, ...] = ()
    start: str | None = None
    augment: tuple[Augmentation, ...] = ()
    allow_stale: bool = False

    def __post_init__(self) -> None:
        teachers = tuple(map(str, self.teachers))
        if self.method is not None:
            teachers = tuple(picked(self.method, teacher) for teacher in teachers)
        object.__setattr__(self, "teachers", teachers)
        object.__setattr__(self, "augment", parse_augmentations(self.augment))
        object.__setattr__(self, "model_options", dict(self.model_options))
        parse_terms(self.view)
        problems = [*self._of_network(), *self._of_method()]
        if problems:
            raise InvalidSpec("; ".join(problems))

    def _of_network(self) -> list[str]:
        problems = []
        if self.model in PI_NETS:
            problems.append(f"{self.model} gives images, not classes: use `training pi-net`")
        elif self.model not in MODELS:
            problems.append(
                f"unknown model {self.model!r}{hint(self.model, MODELS)} (`training models`"
                " lists them)"
            )
        problems += [
            f"{name} is no option of a network: it follows from the samples and the view"
            for name in FOLLOWING
            if name in self.model_options
        ]
        if self.normalise not in NORMS:
            problems.append(f"normalise must be one of {', '.join(NORMS)}, got {self.normalise!r}")
        return problems

    def _of_method(self) -> list[str]:
        if any(
            not name.strip()
            for name in (*self.teachers, *([] if self.start is None else [self.start]))
        ):
            return ["a teacher and a start are folders of runs or files of networks, got ''"]
        if self.method is None:
            taught = "teachers go with a method; `training methods` lists them"
            return [taught] * bool(self.teachers)
        problems = []
        try:
            self.method.check_teachers(len(self.teachers))
        except InvalidSpec as error:
            problems.append(str(error))
        if self.method.needs_start and self.start is None:
            problems.append(
                f"{self.method.name} starts from the same network trained on labels alone; train"
                " it with `training fit` and give --start RUN"
            )
        return problems

    def to_dict(self) -> dict[str, Any]:
        """As plain values; `from_dict` gives it back."""
        return {
            "data": self.data.to_dict(),
            "view": self.view,
            "normalise": self.normalise,
            "model": self.model,
            "model_options": dict(self.model_options),
            "method": None if self.method is None else self.method.to_dict(),
            "teachers": list(self.teachers),
            "start": self.start,
            "augment": [each.to_dict() for each in self.augment],
            "allow_stale": self.allow_stale,
            "config": self.config.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSpec:
        """The spec of `to_dict`. Raises InvalidSpec for fields that are missing or unknown."""
        given = dict(values)
        try:
            method = given.pop("method", None)
            return cls(
                data=DataSpec(**given.pop("data")),
                config=TrainConfig.from_dict(given.pop("config")),
                method=None if method is None else make_method(**method),
                **given,
            )
        except (TypeError, KeyError) as error:
            raise InvalidSpec(f"no spec of a run: {error}") from error
