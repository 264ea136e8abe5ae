"""Corruptions of stated scale, for tests of robustness: noise, missing points and blur, by level.

They act on samples in units of the field, before normalisation; level 0 is the identity.

| kind | sample | levels 1, 2, ... | what the number is |
| --- | --- | --- | --- |
| noise | image | 0.04 0.06 0.08 0.09 0.10 | deviation, of values in 0..1, cut to 0..1 |
| noise | signal | 0.06 0.09 0.12 | deviation, as a share of that of each channel of each sample |
| missing | both | 0.15 0.22 0.30 | share of the pixels or times that are set to `fill` |
| blur | image | 0.4 0.6 0.7 0.8 1.0 | deviation of the Gaussian, in pixels |
| blur | signal | 1 2 4 | deviation of the Gaussian, in samples of time |

Noise and blur of images: CIFAR-10-C, Hendrycks and Dietterich, ICLR 2019. Noise and missing points
of signals: levels of the wearable studies of Jeon et al. Whether their noise is relative is not
published; in the same group's released code it is. Missing pixels and blurred signals: our choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from pi_cache.errors import InvalidSpec
from pi_cache.specs import DiagramSpec
from training.augment.base import (
    Augmentation,
    Drawn,
    check_positive,
    check_share,
    stored_value,
    widened,
)
from training.augment.draws import members
from training.augment.effects import Effect, other
from training.augment.signals import add_noise

LEVELS = {
    ("noise", "image"): (0.04, 0.06, 0.08, 0.09, 0.10),
    ("noise", "signal"): (0.06, 0.09, 0.12),
    ("missing", "image"): (0.15, 0.22, 0.30),
    ("missing", "signal"): (0.15, 0.22, 0.30),
    ("blur", "image"): (0.4, 0.6, 0.7, 0.8, 1.0),
    ("blur", "signal"): (1.0, 2.0, 4.0),
}
MISSING = "missing"
KINDS = ("noise", MISSING, "blur")
AMOUNTS = {
    "noise": "deviation (of signals: relative to the channel's)",
    MISSING: "share of points that are lost",
    "blur": "deviation of the Gaussian",
}
"""What the number of a level is, in a few words."""
TRUNCATED = 4.0
"""Deviations after which a blur is cut, as scipy and scikit-image do."""
SAMPLE_OF = {4: "image", 3: "signal"}
"""By the number of axes of a batch."""


@dataclass(frozen=True, kw_only=True)
class Corruption(Augmentation):
    """One corruption at one level, the same for every sample of a batch.

    kind: `noise`, `missing` or `blur`. level: 0 changes nothing, k is the k-th number of the table
    of this module. amount: a number of one's own instead. fill: of missing points. relative: of
    noise, None for what the table says. Raises InvalidSpec for float images outside 0..1, which
    were normalised already, and for a fill that is not finite or that images cannot hold.
    """

    samples = ("image", "signal")
    kind: str = "noise"
    level: int = 0
    amount: float | None = None
    fill: float = 0.0
    relative: bool | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidSpec(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.amount is not None and self.level:
            raise InvalidSpec("give a level or an amount, not both")
        most = max(len(levels) for (kind, _), levels in LEVELS.items() if kind == self.kind)
        if not 0 <= self.level <= most:
            raise InvalidSpec(f"level of {self.kind} must lie in 0..{most}, got {self.level!r}")
        check_positive("amount", self.amount or 0.0)
        if self.kind == MISSING and (self.amount or 0) > 1:
            raise InvalidSpec(f"amount of missing is a share in 0..1, got {self.amount!r}")
        if not math.isfinite(self.fill):
            raise InvalidSpec(f"fill must be a finite number, got {self.fill!r}")

    @property
    def neutral(self) -> bool:
        return not self.level and not self.amount

    def amount_for(self, sample: str) -> float:
        """The number of the level. Raises InvalidSpec where the sample has fewer levels."""
        levels = LEVELS[self.kind, sample]
        if self.amount is not None or not self.level:
            return self.amount or 0.0
        if self.level > len(levels):
            raise beyond(self.kind, sample, len(levels), self.level)
        return levels[self.level - 1]

    def apply(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        sample = SAMPLE_OF[batch.dim()]
        check_scale(batch, sample)
        amount = self.amount_for(sample)
        if self.kind == MISSING:
            if sample == "image":
                check_share("fill of an image", self.fill)
            return strike(batch, amount, stored_value(self.fill, batch), generator), Drawn()
        if self.kind == "blur":
            return blur(widened(batch), amount), Drawn()
        relative = sample == "signal" if self.relative is None else self.relative
        noisy = add_noise(widened(batch), amount, relative, generator)
        return (noisy.clamp(0, 1) if sample == "image" else noisy), Drawn()

    def effect(self, spec: DiagramSpec) -> Effect:
        return other("values are corrupted")


@dataclass(frozen=True)
class Levels:
    """At which levels networks are measured under a kind of corruption.

    amounts: of one's own, () for the levels of the table. fill: of missing points. Raises
    InvalidSpec for a kind that there is not, and where another kind is given a fill.
    """

    kind: str
    amounts: tuple[float, ...] = ()
    fill: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidSpec(f"corrupt must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.fill and self.kind != MISSING:
            raise InvalidSpec(f"fill is of missing points, not of {self.kind}; leave it out")

    def numbers(self, sample: str) -> range:
        """Of the levels that an `image` or a `signal` has, 1 for the first."""
        return range(1, len(self.amounts or LEVELS[self.kind, sample]) + 1)

    def corruptions(self, sample: str, numbers: Sequence[int] | None = None) -> list[Corruption]:
        """Of an `image` or a `signal`: level 0, which changes nothing, and those named, or all.

        Raises InvalidSpec for a number that the sample does not have.
        """
        known = self.numbers(sample)
        wanted = [number for number in (known if numbers is None else numbers) if number]
        if unknown := [number for number in wanted if number not in known]:
            raise beyond(self.kind, sample, len(known), unknown[0])
        return [self._at(number) for number in (0, *wanted)]

    def _at(self, number: int) -> Corruption:
        if self.amounts and number:
            return Corruption(kind=self.kind, amount=self.amounts[number - 1], fill=self.fill)
        return Corruption(kind=self.kind, level=number, fill=self.fill)


def beyond(kind: str, sample: str, most: int, level: int) -> InvalidSpec:
    """The error for a level that a sample does not have."""
    return InvalidSpec(
        f"{kind} of a {sample} has levels 0..{most}, got {level}; give an amount to go beyond"
    )


def check_scale(batch: Tensor, sample: str) -> None:
    """Raises InvalidSpec for float images with values outside 0..1."""
    if sample != "image" or batch.dtype == torch.uint8:
        return
    low, high = (float(value) for value in torch.aminmax(batch))
    if not (low >= 0 and high <= 1):
        raise InvalidSpec(
            f"corruptions take images in 0..1, got values in {low:g}..{high:g};"
            " corrupt first, normalise afterwards"
        )


def check_identity(corruption: Corruption, batch: Tensor, generator: Generator) -> None:
    """Raises InvalidSpec unless level 0 of a corruption leaves the batch as it is.

    What a robustness table rests on: its first column must be the plain accuracy.
    """
    plain = Corruption(kind=corruption.kind, fill=corruption.fill, relative=corruption.relative)
    got, _ = plain(batch, generator)
    if got.dtype != batch.dtype or not torch.equal(got, batch):
        raise InvalidSpec(f"{corruption.kind} of level 0 changes the batch; check its scale")


def strike(batch: Tensor, share: float, fill: float, generator: Generator) -> Tensor:
    """The batch with a share of its pixels or times, in all channels, set to `fill`.

    As many in every sample: round(share * points).
    """
    count, _, *axes = batch.shape
    points = torch.Size(axes).numel()
    struck = members(count, points, round(share * points), generator)
    return batch.masked_fill(struck.reshape(count, 1, *axes), fill)


def blur(values: Tensor, deviation: float) -> Tensor:
    """Floats (n, C, ...) convolved with a Gaussian along every axis after the second.

    deviation: in steps of the axis. Beyond the edge the last value is repeated.
    """
    if deviation == 0:
        return values
    radius = int(TRUNCATED * deviation + 0.5)
    step = torch.arange(-radius, radius + 1, dtype=values.dtype, device=values.device)
    kernel = torch.exp(-0.5 * (step / deviation) ** 2)
    kernel /= kernel.sum()
    for axis in range(2, values.dim()):
        values = _convolved(values, kernel, axis)
    return values


def _convolved(values: Tensor, kernel: Tensor, axis: int) -> Tensor:
    """The values convolved along one axis: a weighted sum of shifted copies."""
    length, radius = values.shape[axis], len(kernel) // 2
    place = torch.arange(-radius, length + radius, device=values.device).clamp(0, length - 1)
    padded = values.index_select(axis, place)
    windows = padded.unfold(axis, len(kernel), 1)  # (..., length, ..., K)
    return windows @ kernel
