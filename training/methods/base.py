"""What a method of distillation is: a frozen value that makes weighted terms of outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

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
    any number. stages: it reads the maps of stages, not the logits alone.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    least: ClassVar[int] = 1
    most: ClassVar[int | None] = 1
    stages: ClassVar[bool] = False

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
