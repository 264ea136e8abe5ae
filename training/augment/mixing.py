"""Augmentations that mix samples, and so their labels: Mixup (full and partial) and CutMix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from pi_cache.errors import InvalidSpec
from pi_cache.specs import DiagramSpec
from training.augment.base import Augmentation, Drawn, Mix, check_share
from training.augment.draws import permutation, symmetric_beta, uniform, whole
from training.augment.effects import Effect, other
from training.augment.images import boxes


@dataclass(frozen=True, kw_only=True)
class Mixup(Augmentation):
    """Each row is weight * one sample + (1 - weight) * another, as floats.

    alpha: weights are drawn from Beta(alpha, alpha), one a row.
    kept: the share of rows that stay whole (weight 1): 0 is full mixup, 0.9 partial mixup.
    replacement: whether rows to keep are drawn with replacement. Without it exactly int(n * kept)
    rows stay whole; with it, as in the released code of Choi et al., about (1 - 1/n)^(n * kept) of
    n rows stay mixed: 41 % for kept 0.9, and not 10 %.
    both: whether the first sample of a pair is drawn as well. As in that code; else it is row i.
    Choi et al., WACV 2023 (arXiv 2211.03946); Zhang et al., ICLR 2018, mixes row i with another.
    """

    samples = ("image", "signal")
    mixes = True
    alpha: float = 1.0
    kept: float = 0.0
    replacement: bool = False
    both: bool = False

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise InvalidSpec(f"alpha must be positive, got {self.alpha!r}")
        check_share("kept", self.kept)

    def apply(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        count = len(batch)
        second = permutation(count, generator)
        first = (
            permutation(count, generator)
            if self.both
            else torch.arange(count, device=generator.device)
        )
        weight = symmetric_beta(count, self.alpha, generator)
        weight[self._whole_rows(count, generator)] = 1.0
        mix = Mix(first, second, weight)
        return mix(batch), Drawn(mix=mix)

    def _whole_rows(self, count: int, generator: Generator) -> Tensor:
        kept = int(count * self.kept)
        if self.replacement:
            return whole((kept,), generator, 0, count - 1)
        return permutation(count, generator)[:kept]

    def effect(self, spec: DiagramSpec) -> Effect:
        return other("two samples are averaged, and the diagram of a mean is no mean of diagrams")


@dataclass(frozen=True, kw_only=True)
class CutMix(Augmentation):
    """Puts a box of another sample in each image; the weight is the share of pixels that stay.

    alpha: the share is drawn from Beta(alpha, alpha), then follows the box, whose centre is any
    pixel and which is cut at the edge. probability: of each batch, as in the released code.
    Yun et al., ICCV 2019 (arXiv 1905.04899), algorithm A1; there one box serves a whole batch, here
    each image has its own.
    """

    mixes = True
    alpha: float = 1.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise InvalidSpec(f"alpha must be positive, got {self.alpha!r}")
        check_share("probability", self.probability)

    @property
    def neutral(self) -> bool:
        return self.probability == 0

    def apply(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        second = permutation(len(batch), generator)
        inside = self._boxes(batch, generator)
        inside &= uniform((1,), generator, 0, 1)[:, None, None] < self.probability
        weight = 1 - inside.flatten(1).float().mean(dim=1)
        first = torch.arange(len(batch), device=batch.device)
        mixed = torch.where(inside[:, None], batch[second], batch)
        return mixed, Drawn(mix=Mix(first, second, weight))

    def _boxes(self, batch: Tensor, generator: Generator) -> Tensor:
        """(n, H, W) bool. A box has the square root of its share of both sides."""
        count, _, height, width = batch.shape
        side = (1 - symmetric_beta(count, self.alpha, generator)).sqrt()
        tall, wide = (side * height).long(), (side * width).long()
        top = whole((count,), generator, 0, height - 1) - tall // 2
        left = whole((count,), generator, 0, width - 1) - wide // 2
        return boxes(batch, top, top + tall, left, left + wide)

    def effect(self, spec: DiagramSpec) -> Effect:
        return other("a box comes from another sample")
