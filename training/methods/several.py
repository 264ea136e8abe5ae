"""Any number of teachers, weighted alike, by given weights, or for each sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from pi_cache.specs.checks import Checks
from training.losses.features import l2_per_sample
from training.losses.teachers import (
    Weights,
    confidence_weights,
    entropy_weights,
    equal_weights,
    weighted_batch_mean,
    weighted_kl_batch_mean,
    weighted_kl_element_mean,
)
from training.methods.base import Term, Terms
from training.methods.checks import check_as_many, check_not_negative, check_shares
from training.methods.features import projector
from training.methods.kd import WithKd
from training.models.outputs import Outputs

WEIGHTED_KL: Mapping[str, Callable[..., Tensor]] = {
    "batch_mean": weighted_kl_batch_mean,
    "element_mean": weighted_kl_element_mean,
}
WEIGHTINGS = ("averaged", "weighted", "entropy", "confidence")


@dataclass(frozen=True, kw_only=True)
class Weighted(WithKd):
    """A method whose KD is a weighted sum over teachers, with weights that add up to one.

    weights: one a teacher, in their order.
    """

    least: ClassVar[int] = 2
    most: ClassVar[int | None] = None
    weights: tuple[float, ...]

    def check(self, checks: Checks) -> None:
        super().check(checks)
        check_shares(checks, self.weights)

    def check_teachers(self, count: int) -> None:
        super().check_teachers(count)
        check_as_many(self.name, self.weights, count)

    def divergence(self, student: Tensor, teachers: Sequence[Tensor], targets: Tensor) -> Tensor:
        kl = WEIGHTED_KL[self.kd_reduction]
        return kl(student, teachers, self.weights, temperature=self.temperature)


@dataclass(frozen=True, kw_only=True)
class Multi(WithKd):
    """KD from several teachers: CE + T**2 * weighted sum over teachers of KL, T = 4.

    weighting: `averaged` (1 / T each), `weighted` (by `weights`), `entropy` (EBKD) or `confidence`
    (CA-MKD), the last two for each sample. Both weights 1 are those of CA-MKD's commands; its code
    divides KL once more: see `losses.teachers`.
    """

    name: ClassVar[str] = "multi"
    source: ClassVar[str] = "Zhang et al., ICASSP 2022, arXiv 2201.00007; Kwon et al., ICASSP 2020"
    least: ClassVar[int] = 2
    most: ClassVar[int | None] = None
    term_names: ClassVar[tuple[str, ...]] = ("ce", "kd")
    kd_weight: float = 1.0
    ce_weight: float | None = 1.0
    weighting: str = "averaged"
    weights: tuple[float, ...] = ()

    def check(self, checks: Checks) -> None:
        super().check(checks)
        checks.choice("weighting", self.weighting, WEIGHTINGS)
        if self.weighting == "weighted":
            check_shares(checks, self.weights)
        else:
            checks.that(
                not self.weights, f"weights are for weighting=weighted, got {self.weighting}"
            )

    def check_teachers(self, count: int) -> None:
        super().check_teachers(count)
        if self.weighting == "weighted":
            check_as_many(self.name, self.weights, count)

    def weigh(self, teachers: Sequence[Tensor], targets: Tensor) -> Weights:
        """Weights (T,) or (T, n) of teachers' logits (n, K)."""
        if self.weighting == "entropy":
            return entropy_weights(teachers)
        if self.weighting == "confidence":
            return confidence_weights(teachers, targets)
        return self.weights or equal_weights(len(teachers))

    def divergence(self, student: Tensor, teachers: Sequence[Tensor], targets: Tensor) -> Tensor:
        kl, weights = WEIGHTED_KL[self.kd_reduction], self.weigh(teachers, targets)
        return kl(student, teachers, weights, temperature=self.temperature)


@dataclass(frozen=True, kw_only=True)
class CaMkd(Multi):
    """Confidence-aware KD with features: CE + T**2 KL + 50 * weighted sum of squared differences.

    Features are pooled, each teacher's through a projector of its own, so that teachers may read
    anything; each sample's mean over features is weighted. Our choice: the weights are those
    of KL. The paper finds them from the logits that a teacher's classifier gives for the projected
    features, and an objective sees what teachers gave, not their classifiers. Its code leaves the
    features out in the first epoch.
    """

    name: ClassVar[str] = "ca-mkd"
    source: ClassVar[str] = "Zhang et al., ICASSP 2022, arXiv 2201.00007, and its code"
    stages: ClassVar[bool] = True
    term_names: ClassVar[tuple[str, ...]] = ("ce", "kd", "features")
    weighting: str = "confidence"
    feature_weight: float = 50.0

    def check(self, checks: Checks) -> None:
        super().check(checks)
        check_not_negative(checks, feature_weight=self.feature_weight)

    def learned(self, student: Outputs, teachers: Sequence[Outputs]) -> nn.ModuleDict:
        own = student.maps["pooled"]
        made = [projector(own, teacher.maps["pooled"]) for teacher in teachers]
        return nn.ModuleDict({"projectors": nn.ModuleList(made)})

    def added(
        self,
        student: Outputs,
        teachers: Sequence[Outputs],
        targets: Tensor,
        learned: nn.ModuleDict,
    ) -> Terms:
        own, projectors = student.maps["pooled"], learned["projectors"]
        assert isinstance(projectors, nn.ModuleList)
        losses = [
            l2_per_sample(own, teacher.maps["pooled"], projector=each)
            for each, teacher in zip(projectors, teachers, strict=True)
        ]
        weights = self.weigh([teacher.logits for teacher in teachers], targets)
        return {"features": Term(self.feature_weight, weighted_batch_mean(losses, weights))}
