"""Methods that compare maps without learning anything: AT, SP, RKD."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pi_cache.specs.checks import Checks
from training.losses.attention import at
from training.losses.relations import rkd_angle_triplet_mean, rkd_distance_pair_mean
from training.losses.shapes import REDUCTIONS
from training.losses.similarity import sp_element_mean
from training.methods.base import Term, Terms
from training.methods.checks import check_layers, check_not_negative
from training.methods.kd import WithKd
from training.methods.layers import ALL, LAST, pairs
from training.models.outputs import Outputs


@dataclass(frozen=True, kw_only=True)
class At(WithKd):
    """Attention transfer: CE + 1000 times the sum over layers of AT.

    Weights are RepDistiller's, which has no KD beside it; set kd_weight for CE + KD + AT.
    layers: see `layers`. power: of activations, from 1 on: below it the
    gradient is infinite at 0. reduction: the weight belongs to `element_mean`.
    """

    name: ClassVar[str] = "at"
    source: ClassVar[str] = "Zagoruyko and Komodakis, ICLR 2017, arXiv 1612.03928; RepDistiller"
    stages: ClassVar[bool] = True
    term_names: ClassVar[tuple[str, ...]] = ("ce", "kd", "at")
    at_weight: float = 1000.0
    layers: tuple[str, ...] = ALL
    power: float = 2.0
    reduction: str = "element_mean"

    def check(self, checks: Checks) -> None:
        super().check(checks)
        check_not_negative(checks, at_weight=self.at_weight)
        check_layers(checks, layers=self.layers)
        checks.that(
            1 <= self.power < math.inf,
            f"power must be a finite number from 1 on, got {self.power!r}",
        )
        checks.choice("reduction", self.reduction, tuple(REDUCTIONS))

    def added(
        self,
        student: Outputs,
        teachers: Sequence[Outputs],
        targets: Tensor,
        learned: nn.ModuleDict,
    ) -> Terms:
        losses = [
            at(own, other, reduction=self.reduction, power=self.power)
            for own, (other,) in pairs(student, teachers, self.layers)
        ]
        return {"at": Term(self.at_weight, torch.stack(losses).sum())}


@dataclass(frozen=True, kw_only=True)
class Sp(WithKd):
    """Similarity preserving: CE + 3000 times the sum over layers of SP.

    Weight and layer, the last stage, are RepDistiller's, which has no KD beside it. Student and
    teacher may be networks of a signal and of an image.
    """

    name: ClassVar[str] = "sp"
    source: ClassVar[str] = "Tung and Mori, ICCV 2019, arXiv 1907.09682; RepDistiller"
    stages: ClassVar[bool] = True
    compares: ClassVar[bool] = True
    term_names: ClassVar[tuple[str, ...]] = ("ce", "kd", "sp")
    sp_weight: float = 3000.0
    layers: tuple[str, ...] = LAST

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
        found = pairs(student, teachers, self.layers)
        losses = [sp_element_mean(own, other) for own, (other,) in found]
        return {"sp": Term(self.sp_weight, torch.stack(losses).sum())}


@dataclass(frozen=True, kw_only=True)
class Rkd(WithKd):
    """Relations of pooled features: CE + 25 distance + 50 angle.

    Weights are RepDistiller's. It divides by n**2 and n**3, where the means here are over true
    pairs and triplets: its terms are (n - 1) / n and (n - 1)(n - 2) / n**2 of these.
    """

    name: ClassVar[str] = "rkd"
    source: ClassVar[str] = "Park et al., CVPR 2019, arXiv 1904.05068; RepDistiller"
    stages: ClassVar[bool] = True
    compares: ClassVar[bool] = True
    term_names: ClassVar[tuple[str, ...]] = ("ce", "kd", "distance", "angle")
    distance_weight: float = 25.0
    angle_weight: float = 50.0

    def check(self, checks: Checks) -> None:
        super().check(checks)
        check_not_negative(
            checks, distance_weight=self.distance_weight, angle_weight=self.angle_weight
        )

    @property
    def smallest(self) -> int:
        return 3  # a triplet

    def added(
        self,
        student: Outputs,
        teachers: Sequence[Outputs],
        targets: Tensor,
        learned: nn.ModuleDict,
    ) -> Terms:
        own, other = student.maps["pooled"], teachers[0].maps["pooled"]
        return {
            "distance": Term(self.distance_weight, rkd_distance_pair_mean(own, other)),
            "angle": Term(self.angle_weight, rkd_angle_triplet_mean(own, other)),
        }
