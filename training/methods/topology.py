"""Methods of teachers that read images or signals and persistence images: TGD, TDA_KD, TPKD."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pi_cache.specs.checks import Checks
from training.losses.kd import cross_entropy_batch_mean, rescale
from training.losses.shapes import REDUCTIONS
from training.losses.similarity import tgd_element_mean, tpkd
from training.methods.base import Term, Terms
from training.methods.checks import check_layers, check_not_negative, check_positive
from training.methods.layers import ALL, Pair, pairs
from training.methods.several import WEIGHTED_KL, Weighted
from training.models.outputs import Outputs

LAYOUTS = ("grid", "bands")


@dataclass(frozen=True, kw_only=True)
class Tgd(Weighted):
    """Topology-guided: 0.1 CE + 0.9 T**2 KL + 1000 * sum over stages of merged SP, T = 4.

    KL is 0.99 of the image teacher and 0.01 of the PI teacher, `element_mean` as released, and so
    are the similarity maps merged before their rows are normalised. Further teachers take part by
    further weights. The released commands also start from a student that was trained alone.
    """

    name: ClassVar[str] = "tgd"
    source: ClassVar[str] = "Jeon et al., GRaM at ICML 2024, arXiv 2407.05316, and its code"
    roles: ClassVar[tuple[str, ...]] = ("image", "PI")
    stages: ClassVar[bool] = True
    compares: ClassVar[bool] = True
    term_names: ClassVar[tuple[str, ...]] = ("ce", "kd", "sp")
    kd_weight: float = 0.9
    kd_reduction: str = "element_mean"
    weights: tuple[float, ...] = (0.99, 0.01)
    sp_weight: float = 1000.0
    layers: tuple[str, ...] = ALL

    def check(self, checks: Checks) -> None:
        super().check(checks)
        check_not_negative(checks, sp_weight=self.sp_weight)
        check_layers(checks, layers=self.layers)

    def added(
        self,
        student: Outputs,
        teachers: Sequence[Outputs],
        targets: Tensor,
        learned: nn.ModuleDict,
    ) -> Terms:
        loss = merged_sp(pairs(student, teachers, self.layers), self.weights)
        return {"sp": Term(self.sp_weight, loss)}


@dataclass(frozen=True, kw_only=True)
class TdaKd(Weighted):
    """Rescaled logits: 0.01 CE(z / std) + 0.99 T**2 KL of 2 z / std, T = 4.

    KL is 0.7 of the PI teacher and 0.3 of the signal teacher, `element_mean` as released; T enters
    as T**2 alone. factor: the 2. A positive factor of anybody's logits changes nothing. An annealed
    start, from a student that was trained alone, is optional.
    """

    name: ClassVar[str] = "tda-kd"
    source: ClassVar[str] = "Jeon et al., Asilomar 2022, by its code"
    roles: ClassVar[tuple[str, ...]] = ("PI", "signal")
    term_names: ClassVar[tuple[str, ...]] = ("ce", "kd")
    kd_weight: float = 0.99
    kd_reduction: str = "element_mean"
    weights: tuple[float, ...] = (0.7, 0.3)
    factor: float = 2.0

    def check(self, checks: Checks) -> None:
        super().check(checks)
        check_positive(checks, factor=self.factor)

    def cross_entropy(self, student: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy_batch_mean(rescale(student, factor=1.0), targets)

    def divergence(self, student: Tensor, teachers: Sequence[Tensor], targets: Tensor) -> Tensor:
        own, *others = [rescale(logits, factor=self.factor) for logits in (student, *teachers)]
        return WEIGHTED_KL[self.kd_reduction](own, others, self.weights, temperature=1.0)


@dataclass(frozen=True, kw_only=True)
class Tpkd(Weighted):
    """(1 - lambda) CE + lambda T**2 KL + beta * sum over stages of orthogonal features.

    Defaults are of PAMAP2: lambda 0.99, beta 200, 0.7 of the PI and 0.3 of the signal teacher. For
    GENEActiv: 0.7, 700, and 0.3 and 0.7. T = 4. The student starts from one trained alone.

    Not found, and chosen: plain logits, and `element_mean` in KL as in this group's other code;
    weights of similarities are those of KL; the sum over stages; the `reduction` of a patch's
    squares; and patches, layout and product of `losses.similarity.tpkd`. With the product, beta 200
    makes this term 50 to 100 times KD on SisFall, and the student forgets what it began with;
    without, it is 6 to 9 times KD, hence the default. sp_weight: of merged
    similarities as in TGD, as the notes' "annealed + SP" has them; none unless given.
    """

    name: ClassVar[str] = "tpkd"
    source: ClassVar[str] = "Jeon et al., EAAI 2024, arXiv 2407.05315, by notes on it"
    roles: ClassVar[tuple[str, ...]] = ("PI", "signal")
    stages: ClassVar[bool] = True
    compares: ClassVar[bool] = True
    needs_start: ClassVar[bool] = True
    term_names: ClassVar[tuple[str, ...]] = ("ce", "kd", "orthogonal", "sp")
    kd_weight: float = 0.99
    kd_reduction: str = "element_mean"
    weights: tuple[float, ...] = (0.7, 0.3)
    orthogonal_weight: float = 200.0
    reduction: str = "element_mean"
    patches: int = 4
    layout: str = "grid"
    product: bool = False
    sp_weight: float = 0.0
    layers: tuple[str, ...] = ALL

    def check(self, checks: Checks) -> None:
        super().check(checks)
        check_not_negative(
            checks, orthogonal_weight=self.orthogonal_weight, sp_weight=self.sp_weight
        )
        check_layers(checks, layers=self.layers)
        checks.choice("reduction", self.reduction, tuple(REDUCTIONS))
        checks.choice("layout", self.layout, LAYOUTS)
        square = self.layout != "grid" or math.isqrt(max(self.patches, 0)) ** 2 == self.patches
        checks.that(
            self.patches >= 1 and square,
            f"patches must be from 1 on, and a square number in a grid, got {self.patches!r}",
        )

    @property
    def smallest(self) -> int:
        return max(2, math.isqrt(self.patches) if self.layout == "grid" else self.patches)

    def added(
        self,
        student: Outputs,
        teachers: Sequence[Outputs],
        targets: Tensor,
        learned: nn.ModuleDict,
    ) -> Terms:
        found = pairs(student, teachers, self.layers)
        losses = [self._orthogonal(pair) for pair in found]
        terms = {"orthogonal": Term(self.orthogonal_weight, torch.stack(losses).sum())}
        if self.sp_weight:
            terms["sp"] = Term(self.sp_weight, merged_sp(found, self.weights))
        return terms

    def _orthogonal(self, pair: Pair) -> Tensor:
        return tpkd(
            pair.student,
            pair.teachers,
            weights=self.weights,
            reduction=self.reduction,
            patches=self.patches,
            layout=self.layout,
            product=self.product,
        )


def merged_sp(found: Sequence[Pair], weights: Sequence[float]) -> Tensor:
    """() sum over layers of SP against the teachers' merged similarities."""
    losses = [tgd_element_mean(own, others, weights=weights) for own, others in found]
    return torch.stack(losses).sum()
