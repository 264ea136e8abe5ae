"""AFD: attention decides which layers of the student learn from which of the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pi_cache.errors import InvalidSpec
from pi_cache.specs.checks import Checks
from training.losses.features import afd_attention, afd_batch_mean
from training.methods.base import Term, Terms
from training.methods.checks import check_layers, check_not_negative
from training.methods.kd import WithKd
from training.methods.layers import ALL, named
from training.models.network import average
from training.models.outputs import Outputs


class LayerAttention(nn.Module):
    """Shares (n, T, S) of S layers of a student for each of T layers of a teacher.

        query_t = BN(W_t g_t),  g the mean of each channel
        key_s = ReLU(BN(W_s g_s)),  key_st = BN(W key_s) for all t at once
        shares = softmax over s of (query_t . key_st + p_t . p_s) / sqrt(d)

    student, teacher: channels of each layer. size: d. After the released code of Ji et al.
    """

    def __init__(self, student: Sequence[int], teacher: Sequence[int], size: int) -> None:
        super().__init__()
        self.queries = nn.ModuleList(_normed(channels, size) for channels in teacher)
        self.keys = nn.ModuleList(
            nn.Sequential(_normed(channels, size), nn.ReLU()) for channels in student
        )
        self.bilinear = _normed(size, size * len(teacher))
        self.teacher_positions = nn.Parameter(torch.empty(len(teacher), size))
        self.student_positions = nn.Parameter(torch.empty(len(student), size))
        for positions in (self.teacher_positions, self.student_positions):
            nn.init.xavier_normal_(positions)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """student, teacher: maps (n, C, ...) of the layers."""
        count = len(student[0])
        if self.training and count < 2:
            raise InvalidSpec(
                "afd needs two samples in a batch, got one; leave out an incomplete last batch"
            )
        pooled = [average(maps) for maps in teacher]  # T of (n, C)
        queries = torch.stack([q(g) for q, g in zip(self.queries, pooled, strict=True)], dim=1)
        pooled = [average(maps) for maps in student]  # S of (n, C)
        keys = torch.stack([k(g) for k, g in zip(self.keys, pooled, strict=True)], dim=1)
        spread = self.bilinear(keys.flatten(0, 1))  # (n S, T d)
        spread = spread.reshape(count, len(student), len(teacher), -1)  # (n, S, T, d)
        positions = self.teacher_positions @ self.student_positions.T  # (T, S)
        return afd_attention(queries, spread, positions)


@dataclass(frozen=True, kw_only=True)
class Afd(WithKd):
    """Attention-based feature distillation: CE + 0.9 T**2 KL + 200 AFD, T = 4.

    Weights and size are those of the released code, where each residual block is a layer; here it
    is each stage that `student_layers` and `teacher_layers` name, by names as in `layers` without
    a colon. Signals learn from signals and images from images.
    """

    name: ClassVar[str] = "afd"
    source: ClassVar[str] = "Ji et al., AAAI 2021, arXiv 2102.02973, and its code"
    stages: ClassVar[bool] = True
    term_names: ClassVar[tuple[str, ...]] = ("ce", "kd", "afd")
    kd_weight: float = 0.9
    ce_weight: float | None = 1.0
    afd_weight: float = 200.0
    size: int = 128
    student_layers: tuple[str, ...] = ALL
    teacher_layers: tuple[str, ...] = ALL

    def check(self, checks: Checks) -> None:
        super().check(checks)
        check_not_negative(checks, afd_weight=self.afd_weight)
        check_layers(checks, student_layers=self.student_layers, teacher_layers=self.teacher_layers)
        checks.that(self.size >= 1, f"size must be a whole number from 1 on, got {self.size!r}")

    def learned(self, student: Outputs, teachers: Sequence[Outputs]) -> nn.ModuleDict:
        own, other = self._maps(student, teachers)
        student_channels = [maps.shape[1] for maps in own]
        teacher_channels = [maps.shape[1] for maps in other]
        attention = LayerAttention(student_channels, teacher_channels, self.size)
        return nn.ModuleDict({"attention": attention})

    def added(
        self,
        student: Outputs,
        teachers: Sequence[Outputs],
        targets: Tensor,
        learned: nn.ModuleDict,
    ) -> Terms:
        own, other = self._maps(student, teachers)
        loss = afd_batch_mean(own, other, learned["attention"](own, other))
        return {"afd": Term(self.afd_weight, loss)}

    def _maps(
        self, student: Outputs, teachers: Sequence[Outputs]
    ) -> tuple[list[Tensor], list[Tensor]]:
        self.check_teachers(len(teachers))
        return named(student, self.student_layers), named(teachers[0], self.teacher_layers)


def _normed(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(before, after), nn.BatchNorm1d(after))
