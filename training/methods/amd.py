"""AMD: attention maps with an angular margin, of whole maps, or of these and their parts.

    total = 0.1 CE + 0.9 T**2 KL + 5000 * mean over layers of AM,  T = 4 (CIFAR-10)

Jeon et al., Neurocomputing 518, 2023 (arXiv 2302.14130). Their layers are a list with the stem;
which were taken for which pair of networks was not found, so it is an argument, and the stem is not
among the maps of a network here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pi_cache.specs.checks import Checks
from training.losses.amd import LOCAL, MARGIN, SCALE, SCORES, amd_global, amd_global_local
from training.losses.shapes import REDUCTIONS
from training.methods.base import Term, Terms
from training.methods.checks import check_layers, check_not_negative, check_positive
from training.methods.kd import WithKd
from training.methods.layers import ALL, pairs
from training.models.outputs import Outputs


@dataclass(frozen=True, kw_only=True)
class Amd(WithKd):
    """Angular margin of whole attention maps, beside CE and KD.

    amd_weight: gamma; 5000 was best for CIFAR-10 and CINIC-10. reduction: it belongs to
    `element_mean`, as in the released class; the printed norm is a `batch_mean`. scale, margin: s
    and m. scores: which of `losses.amd.SCORES` are compared, A, P and N of the paper's ablation.
    layers: see `layers`.
    """

    name: ClassVar[str] = "amd"
    source: ClassVar[str] = "Jeon et al., Neurocomputing 518, 2023, arXiv 2302.14130"
    stages: ClassVar[bool] = True
    term_names: ClassVar[tuple[str, ...]] = ("ce", "kd", "amd")
    kd_weight: float = 0.9
    amd_weight: float = 5000.0
    scale: float = SCALE
    margin: float = MARGIN
    reduction: str = "element_mean"
    layers: tuple[str, ...] = ALL
    scores: tuple[str, ...] = SCORES

    def check(self, checks: Checks) -> None:
        super().check(checks)
        check_not_negative(checks, amd_weight=self.amd_weight)
        check_layers(checks, layers=self.layers)
        check_positive(checks, scale=self.scale, margin=self.margin)
        checks.choice("reduction", self.reduction, tuple(REDUCTIONS))
        known = bool(self.scores) and set(self.scores) <= set(SCORES)
        checks.that(
            known and len(set(self.scores)) == len(self.scores),
            f"scores must be different ones of {', '.join(SCORES)}, got {self.scores!r}",
        )

    def added(
        self,
        student: Outputs,
        teachers: Sequence[Outputs],
        targets: Tensor,
        learned: nn.ModuleDict,
    ) -> Terms:
        found = pairs(student, teachers, self.layers)
        losses = [self.angular(own, other) for own, (other,) in found]
        return {"amd": Term(self.amd_weight, torch.stack(losses).mean())}

    def angular(self, student: Tensor, teacher: Tensor) -> Tensor:
        """() of the maps of one layer."""
        return amd_global(
            student,
            teacher,
            reduction=self.reduction,
            scale=self.scale,
            margin=self.margin,
            scores=self.scores,
        )


@dataclass(frozen=True, kw_only=True)
class AmdGlobalLocal(Amd):
    """0.8 of the loss of whole maps and 0.2 of that of their parts, beside CE and KD.

    local: the share of the parts. grid: how many parts along each axis, 2 x 2 of an image.
    """

    name: ClassVar[str] = "amd-gl"
    local: float = LOCAL
    grid: int = 2

    def check(self, checks: Checks) -> None:
        super().check(checks)
        checks.that(0 <= self.local <= 1, f"local must lie in 0..1, got {self.local!r}")
        checks.that(self.grid >= 1, f"grid must be a whole number from 1 on, got {self.grid!r}")

    def angular(self, student: Tensor, teacher: Tensor) -> Tensor:
        return amd_global_local(
            student,
            teacher,
            reduction=self.reduction,
            scale=self.scale,
            margin=self.margin,
            grid=self.grid,
            local=self.local,
            scores=self.scores,
        )
