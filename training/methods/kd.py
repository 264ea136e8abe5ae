"""KD, and what all methods that have cross entropy and KD among their terms share.

    total = (1 - kd_weight) CE + kd_weight T**2 KL + what a method adds

Hinton et al., 2015 (arXiv 1503.02531).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from pi_cache.specs.checks import Checks
from training.losses.kd import cross_entropy_batch_mean, kl_batch_mean, kl_element_mean
from training.losses.shapes import REDUCTIONS
from training.methods.base import Method, Term, Terms
from training.methods.checks import check_not_negative, check_positive
from training.models.outputs import Outputs

KL: Mapping[str, Callable[..., Tensor]] = {
    "batch_mean": kl_batch_mean,
    "element_mean": kl_element_mean,
}


@dataclass(frozen=True, kw_only=True)
class WithKd(Method):
    """A method with the terms `ce` and `kd`, and what a child adds to them.

    kd_weight: lambda, before T**2 KL; for 0 there is no such term. ce_weight: before the cross
    entropy, 1 - kd_weight unless given. temperature: T. kd_reduction: `batch_mean` is the formula;
    `element_mean`, also divided by the classes, is what the code of TGD and TDA_KD does.
    """

    kd_weight: float = 0.0
    ce_weight: float | None = None
    temperature: float = 4.0
    kd_reduction: str = "batch_mean"

    def check(self, checks: Checks) -> None:
        check_not_negative(checks, kd_weight=self.kd_weight)
        check_positive(checks, temperature=self.temperature)
        checks.choice("kd_reduction", self.kd_reduction, tuple(REDUCTIONS))
        if self.ce_weight is not None:
            check_not_negative(checks, ce_weight=self.ce_weight)
        elif self.kd_weight > 1:
            checks.that(False, "give ce_weight too where kd_weight is above 1")

    def terms(
        self,
        student: Outputs,
        teachers: Sequence[Outputs],
        targets: Tensor,
        learned: nn.ModuleDict,
    ) -> Terms:
        self.check_teachers(len(teachers))
        logits = [teacher.logits for teacher in teachers]
        terms = {"ce": Term(self.share, self.cross_entropy(student.logits, targets))}
        if self.kd_weight:
            divergence = self.divergence(student.logits, logits, targets)
            terms["kd"] = Term(self.kd_weight * self.squared, divergence)
        return terms | self.added(student, teachers, targets, learned)

    @property
    def share(self) -> float:
        """The weight of the cross entropy."""
        return 1 - self.kd_weight if self.ce_weight is None else self.ce_weight

    @property
    def squared(self) -> float:
        """What the divergence is multiplied by, so that its gradient does not fall with T."""
        return self.temperature**2

    def cross_entropy(self, student: Tensor, targets: Tensor) -> Tensor:
        """() of logits (n, K)."""
        return cross_entropy_batch_mean(student, targets)

    def divergence(self, student: Tensor, teachers: Sequence[Tensor], targets: Tensor) -> Tensor:
        """() of logits (n, K) of the student and of each teacher, without T**2."""
        return KL[self.kd_reduction](student, teachers[0], temperature=self.temperature)

    def added(
        self,
        student: Outputs,
        teachers: Sequence[Outputs],
        targets: Tensor,
        learned: nn.ModuleDict,
    ) -> Terms:
        """Further terms."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Kd(WithKd):
    """Knowledge distillation: (1 - lambda) CE + lambda T**2 KL(teacher || student).

    lambda 0.9 and T 4 are those of RepDistiller, AMD and TGD.
    """

    name: ClassVar[str] = "kd"
    source: ClassVar[str] = "Hinton et al., 2015, arXiv 1503.02531"
    term_names: ClassVar[tuple[str, ...]] = ("ce", "kd")
    kd_weight: float = 0.9


@dataclass(frozen=True, kw_only=True)
class Eskd(Kd):
    """KD from a teacher that was stopped early: its best epoch.

    lambda is 0.7 for GENEActiv and 0.99 for PAMAP2. What the paper's best epoch was measured on was
    not found; a run here keeps that on validation data.
    """

    name: ClassVar[str] = "eskd"
    source: ClassVar[str] = "Jeon et al., IEEE IoT Journal 2021, arXiv 2201.00111"
    pick: ClassVar[str | None] = "best"
    kd_weight: float = 0.7


@dataclass(frozen=True, kw_only=True)
class FullKd(Eskd):
    """KD from a teacher that was trained to the end: its last epoch. All else is as in ESKD."""

    name: ClassVar[str] = "full-kd"
    pick: ClassVar[str | None] = "last"
