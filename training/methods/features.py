"""Methods that compare features through a learned projector: FitNet and L2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from pi_cache.specs.checks import Checks
from training.losses.features import l2
from training.losses.shapes import REDUCTIONS, match_positions
from training.methods.base import Term, Terms
from training.methods.checks import check_not_negative
from training.methods.kd import WithKd
from training.methods.layers import pairs
from training.models.layers import NORMS, conv
from training.models.outputs import Outputs


def projector(student: Tensor, teacher: Tensor) -> nn.Module:
    """From the channels of maps (n, C, ...) to those of a teacher's: linear, then a norm.

    Without the norm the weights of the papers diverge: raw maps of a wide network are so large that
    a step of 0.01 is too long for a linear projector.
    """
    before, after, axes = student.shape[1], teacher.shape[1], student.ndim - 2
    linear = conv(axes, before, after, 1) if axes else nn.Linear(before, after, bias=False)
    return nn.Sequential(linear, NORMS[axes](after))


@dataclass(frozen=True, kw_only=True)
class FitNet(WithKd):
    """Hints: CE + 100 (projector(F_student) - F_teacher)**2 of one stage.

    Weight and stage are RepDistiller's, whose weight belongs to `element_mean`. Our choices: the
    projector is a 1 x 1 convolution and a norm, without RepDistiller's ReLU, since maps may be
    negative; of two sizes the larger is averaged to the smaller first, where RepDistiller's
    convolution changes the size itself. All is trained at once; the paper trains the hint first.
    """

    name: ClassVar[str] = "fitnet"
    source: ClassVar[str] = "Romero et al., ICLR 2015, arXiv 1412.6550; RepDistiller"
    stages: ClassVar[bool] = True
    term_names: ClassVar[tuple[str, ...]] = ("ce", "kd", "hint")
    hint_weight: float = 100.0
    layer: str = "stage2"
    reduction: str = "element_mean"

    def check(self, checks: Checks) -> None:
        super().check(checks)
        check_not_negative(checks, hint_weight=self.hint_weight)
        checks.choice("reduction", self.reduction, tuple(REDUCTIONS))
        checks.that(self.layer != "all", "layer must be one layer, such as stage2; got all")

    def learned(self, student: Outputs, teachers: Sequence[Outputs]) -> nn.ModuleDict:
        return nn.ModuleDict({"projector": projector(*self._maps(student, teachers))})

    def added(
        self,
        student: Outputs,
        teachers: Sequence[Outputs],
        targets: Tensor,
        learned: nn.ModuleDict,
    ) -> Terms:
        own, other = self._maps(student, teachers)
        hint = l2(own, other, reduction=self.reduction, projector=learned["projector"])
        return {"hint": Term(self.hint_weight, hint)}

    def _maps(self, student: Outputs, teachers: Sequence[Outputs]) -> tuple[Tensor, Tensor]:
        """Maps of the layer of both, at one size."""
        self.check_teachers(len(teachers))
        ((own, (other,)),) = pairs(student, teachers, [self.layer])
        return (own, other) if own.ndim == other.ndim == 2 else match_positions(own, other)


@dataclass(frozen=True, kw_only=True)
class L2(FitNet):
    """CE + 100 (projector(pooled_student) - pooled_teacher)**2, `element_mean`.

    Of any two networks, of a signal and of an image too. The weight was not found; it is that of
    the hint.
    """

    name: ClassVar[str] = "l2"
    source: ClassVar[str] = "the hint of FitNet, of pooled features"
    layer: str = "pooled"
