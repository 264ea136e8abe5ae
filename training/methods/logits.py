"""Methods that change the logits first: LSD and KD with mixup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from training.losses.kd import cross_entropy_batch_mean, rescale, standardise
from training.methods.kd import KL, WithKd


@dataclass(frozen=True, kw_only=True)
class Lsd(WithKd):
    """KD of standardised logits: 0.1 CE + 9 T**2 KL of (z - mean) / std, T = 2.

    Weights and T are those of the released commands; some of them take T = 3. unbiased: the
    deviation divides by classes - 1, as the released code does.
    """

    name: ClassVar[str] = "lsd"
    source: ClassVar[str] = "Sun et al., CVPR 2024, arXiv 2403.01427"
    term_names: ClassVar[tuple[str, ...]] = ("ce", "kd")
    kd_weight: float = 9.0
    ce_weight: float | None = 0.1
    temperature: float = 2.0
    unbiased: bool = True

    def divergence(self, student: Tensor, teachers: Sequence[Tensor], targets: Tensor) -> Tensor:
        own = standardise(student, unbiased=self.unbiased)
        other = standardise(teachers[0], unbiased=self.unbiased)
        return KL[self.kd_reduction](own, other, temperature=self.temperature)


@dataclass(frozen=True, kw_only=True)
class MixupKd(WithKd):
    """KD of mixed samples: 0.1 CE(z / std) + 0.9 KL(z_t / std || z / std), no T and no T**2.

    The samples are mixed by an augmentation, `Mixup`; the released partial mixup is
    `Mixup(kept=0.9, replacement=True, both=True)`. conventional: plain logits with T and T**2
    instead, what the paper compares with.
    """

    name: ClassVar[str] = "mixup-kd"
    source: ClassVar[str] = "Choi et al., WACV 2023, arXiv 2211.03946"
    term_names: ClassVar[tuple[str, ...]] = ("ce", "kd")
    kd_weight: float = 0.9
    conventional: bool = False

    @property
    def squared(self) -> float:
        return self.temperature**2 if self.conventional else 1.0

    def cross_entropy(self, student: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy_batch_mean(self._scaled(student), targets)

    def divergence(self, student: Tensor, teachers: Sequence[Tensor], targets: Tensor) -> Tensor:
        temperature = self.temperature if self.conventional else 1.0
        own, other = self._scaled(student), self._scaled(teachers[0])
        return KL[self.kd_reduction](own, other, temperature=temperature)

    def _scaled(self, logits: Tensor) -> Tensor:
        return logits if self.conventional else rescale(logits, factor=1.0)
