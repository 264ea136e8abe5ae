"""What a method of distillation is: a frozen value that makes weighted terms of outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from pi_cache.errors import InvalidSpec
from pi_cache.specs.checks import Checks
from training.models.outputs import Outputs


class Term(NamedTuple):
    """One summand of an objective: `weight * value`. value: (), before it is weighted."""

    weight: float
    value: Tensor


Terms = dict[str, Term]
"""Summands by name, such as `ce`, `kd`, `sp`."""


def total(terms: Mapping[str, Term]) -> Tensor:
    """(), the sum of weight * value over all terms."""
    weighted = [term.weight * term.value for term in terms.values()]
    result = weighted[0]
    for each in weighted[1:]:
        result = result + each
    return result


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """The objective of a student that learns from teachers: settings, checked on construction.

    name: of METHODS. source: paper and section. least, most: how many teachers it takes, None for
    any number. roles: what the paper's teachers read, in the order of its weights. stages: it reads
    the maps of stages, not the logits alone. compares: a term compares the samples of a batch with
    each other, so that its size matters. needs_start: the student starts from a network of its
    kind that was trained alone. pick: the epoch of a teacher's run, `best` or `last`, where the
    method is about that; see `picked`. term_names: of all summands that it may have.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    least: ClassVar[int] = 1
    most: ClassVar[int | None] = 1
    roles: ClassVar[tuple[str, ...]] = ()
    stages: ClassVar[bool] = False
    compares: ClassVar[bool] = False
    needs_start: ClassVar[bool] = False
    pick: ClassVar[str | None] = None
    term_names: ClassVar[tuple[str, ...]] = ("ce",)

    def __post_init__(self) -> None:
        checks = Checks(self.name)
        self.check(checks)
        checks.done()

    def check(self, checks: Checks) -> None:  # noqa: B027  # most have more to check
        """Gather what is wrong with the settings; a child adds its own."""

    def check_teachers(self, count: int) -> None:
        """Raise InvalidSpec unless the method takes so many teachers."""
        if count < self.least or (self.most is not None and count > self.most):
            raise InvalidSpec(
                f"{self.name} learns from {how_many(self)}, got {count}; give --teacher for each"
            )

    @property
    def smallest(self) -> int:
        """Samples that a batch needs; a smaller last one is left out."""
        return 2

    @abstractmethod
    def terms(
        self,
        student: Outputs,
        teachers: Sequence[Outputs],
        targets: Tensor,
        learned: nn.ModuleDict,
    ) -> Terms:
        """The terms of a batch.

        student: has gradients. teachers: made under no_grad, in the order in which they were
        given. targets: labels (n,) int64, or shares of classes (n, K) of mixed samples. learned:
        what `learned` gave, trained with the student.
        """

    def learned(self, student: Outputs, teachers: Sequence[Outputs]) -> nn.ModuleDict:
        """What the method itself learns, such as projectors, for outputs of these shapes.

        Drawn from torch's seed. None of it is part of the student. Most methods learn nothing.
        """
        return nn.ModuleDict()

    def to_dict(self) -> dict[str, Any]:
        """Its name and settings, as plain values."""
        return {"name": self.name, **asdict(self)}


def how_many(method: Method | type[Method]) -> str:
    """How many teachers a method takes, in words."""
    if method.most == method.least:
        return f"{method.least} teacher" + ("s" if method.least > 1 else "")
    if method.most is None:
        return f"{method.least} teachers or more"
    return f"{method.least} to {method.most} teachers"
