"""Augmentations of signals (n, C, T), and Mix1 and Mix2, which put some of them together.

Jeon et al., IEEE IoT Journal 2021 (arXiv 2201.00111) name removal, Gaussian noise and shifting in
time, but their lengths, scales and fill values are not published: they are arguments here. The
defaults are those of the same group's released code for corrupted time series (at most 20 % of the
window removed, 20 % of the deviation, 10 % shift).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from pi_cache.errors import InvalidSpec
from pi_cache.specs import DiagramSpec, GramianSpec
from training.augment.base import Augmentation, Drawn, check_positive, check_share, widened
from training.augment.draws import chosen, normal_like, uniform, whole
from training.augment.effects import Effect, invalid, other, unchanged

FILLS = ("edge", "zero", "wrap")


@dataclass(frozen=True, kw_only=True)
class Removal(Augmentation):
    """Fills one stretch of each signal: up to `share` of it, anywhere.

    fill: the value of removed points, in the signal's unit. sensor: how many successive channels
    are one sensor; one sensor of each sample is chosen, None removes from all channels.
    """

    samples = ("signal",)
    share: float = 0.2
    fill: float = 0.0
    sensor: int | None = None

    def __post_init__(self) -> None:
        check_share("share", self.share)
        if self.sensor is not None and self.sensor < 1:
            raise InvalidSpec(f"sensor must be at least 1 channel, got {self.sensor}")

    @property
    def neutral(self) -> bool:
        return self.share == 0

    def apply(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        count, channels, length = batch.shape
        removed = whole((count,), generator, 0, int(self.share * length))
        start = (uniform((count,), generator, 0, 1) * (length - removed + 1)).long()
        time = torch.arange(length, device=batch.device)
        inside = (time >= start[:, None]) & (time < (start + removed)[:, None])  # (n, T)
        struck = self._channels(count, channels, generator)
        return batch.masked_fill(inside[:, None] & struck[:, :, None], self.fill), Drawn()

    def _channels(self, count: int, channels: int, generator: Generator) -> Tensor:
        """(n, C) bool: those of the chosen sensor."""
        if self.sensor is None:
            return torch.ones((count, channels), dtype=torch.bool, device=generator.device)
        if channels % self.sensor:
            raise InvalidSpec(
                f"{channels} channels are no whole number of sensors of {self.sensor};"
                " give the channels of one sensor, or None"
            )
        sensor = whole((count,), generator, 0, channels // self.sensor - 1)
        channel = torch.arange(channels, device=generator.device)
        return channel // self.sensor == sensor[:, None]

    def effect(self, spec: DiagramSpec) -> Effect:
        return other("a stretch is filled")


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Augmentation):
    """Adds independent normal noise.

    deviation: in the signal's unit; with `relative`, as a share of the deviation of each channel
    of each sample.
    """

    samples = ("signal",)
    deviation: float = 0.2
    relative: bool = True

    def __post_init__(self) -> None:
        check_positive("deviation", self.deviation)

    @property
    def neutral(self) -> bool:
        return self.deviation == 0

    def apply(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        return add_noise(widened(batch), self.deviation, self.relative, generator), Drawn()

    def effect(self, spec: DiagramSpec) -> Effect:
        return other("every value changes")


@dataclass(frozen=True, kw_only=True)
class Shift(Augmentation):
    """Shifts each signal in time by up to `share` of its length, to either side.

    fill: `edge` repeats the first or last value, `zero` fills with zeros, `wrap` brings in what
    left at the other end.
    """

    samples = ("signal",)
    share: float = 0.1
    fill: str = "edge"

    def __post_init__(self) -> None:
        check_share("share", self.share)
        if self.fill not in FILLS:
            raise InvalidSpec(f"fill must be one of {', '.join(FILLS)}, got {self.fill!r}")

    @property
    def neutral(self) -> bool:
        return self.share == 0

    def apply(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        count, _, length = batch.shape
        most = int(self.share * length)
        shift = whole((count, 1), generator, -most, most)
        source = torch.arange(length, device=batch.device) - shift  # (n, T)
        held = source % length if self.fill == "wrap" else source.clamp(0, length - 1)
        shifted = batch.gather(2, held[:, None].expand_as(batch))
        if self.fill == "zero":
            shifted = shifted.masked_fill((held != source)[:, None], 0)
        return shifted, Drawn()

    def effect(self, spec: DiagramSpec) -> Effect:
        if self.fill == "wrap":
            return other("the signal is cut at another time and its ends are joined")
        return other("values leave at one end")


@dataclass(frozen=True, kw_only=True)
class Reverse(Augmentation):
    """Reverses each signal in time, with a probability."""

    samples = ("signal",)
    probability: float = 0.5

    def __post_init__(self) -> None:
        check_share("probability", self.probability)

    @property
    def neutral(self) -> bool:
        return self.probability == 0

    def apply(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        changed = chosen(len(batch), self.probability, generator)
        return torch.where(changed[:, None, None], batch.flip(2), batch), Drawn(changed=changed)

    def effect(self, spec: DiagramSpec) -> Effect:
        if spec.filtration == "rips":
            return unchanged("the coordinates of each embedded point are reversed", exact=False)
        # The mean of a reversed signal is summed in another order.
        return unchanged("a reversed path has the same diagram", exact=not spec.centre)

    def gramian_effect(self, spec: GramianSpec) -> Effect:
        return invalid("the field is turned by half", variant="reverse")


@dataclass(frozen=True, kw_only=True)
class Negate(Augmentation):
    """Changes the sign of each signal, with a probability; floats only."""

    samples = ("signal",)
    probability: float = 0.5

    def __post_init__(self) -> None:
        check_share("probability", self.probability)

    @property
    def neutral(self) -> bool:
        return self.probability == 0

    def apply(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        if not batch.is_floating_point():
            raise InvalidSpec(f"{self.name} needs floats, got {batch.dtype}; convert the batch")
        changed = chosen(len(batch), self.probability, generator)
        return torch.where(changed[:, None, None], -batch, batch), Drawn(changed=changed)

    def effect(self, spec: DiagramSpec) -> Effect:
        if spec.filtration == "rips":
            return unchanged("embedded points are mirrored at the origin, which keeps distances")
        return invalid("sub-level and super-level sets change places", variant="negate")

    def gramian_effect(self, spec: GramianSpec) -> Effect:
        mirrored = isinstance(spec.range, str) or spec.range[0] == -spec.range[1]
        if spec.form == "summation" and mirrored:
            return unchanged("angles phi become pi - phi, and cosines of sums stay", exact=False)
        return invalid("each angle phi becomes another", variant="negate")


@dataclass(frozen=True, kw_only=True)
class Offset(Augmentation):
    """Adds one number to each channel of each sample, uniform in -limit..limit (signal's unit)."""

    samples = ("signal",)
    limit: float = 0.1

    def __post_init__(self) -> None:
        check_positive("limit", self.limit)

    @property
    def neutral(self) -> bool:
        return self.limit == 0

    def apply(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        wide = widened(batch)
        offset = uniform(tuple(wide.shape[:2]), generator, -self.limit, self.limit).to(wide.dtype)
        return wide + offset[:, :, None], Drawn(offset=offset)

    def effect(self, spec: DiagramSpec) -> Effect:
        if spec.centre:
            return unchanged("the mean is subtracted before the filtration", exact=False)
        if spec.filtration == "rips" and spec.metric != "cosine":
            return unchanged("embedded points are translated, which keeps distances", exact=False)
        if spec.filtration == "rips":
            return invalid("angles at the origin change; with centre they would not")
        return invalid(
            "births and deaths move by the offset; with centre they would not", rendered=True
        )

    def gramian_effect(self, spec: GramianSpec) -> Effect:
        return _rescaled(spec)


@dataclass(frozen=True, kw_only=True)
class Scaling(Augmentation):
    """Multiplies each channel of each sample by a factor, uniform in 1-limit..1+limit."""

    samples = ("signal",)
    limit: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.limit < 1:
            raise InvalidSpec(f"limit must lie in 0..1, below 1, got {self.limit!r}")

    @property
    def neutral(self) -> bool:
        return self.limit == 0

    def apply(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        wide = widened(batch)
        factor = uniform(tuple(wide.shape[:2]), generator, 1 - self.limit, 1 + self.limit)
        factor = factor.to(wide.dtype)
        return wide * factor[:, :, None], Drawn(factor=factor)

    def effect(self, spec: DiagramSpec) -> Effect:
        if spec.metric == "cosine":
            return unchanged("angles at the origin stay", exact=False)
        # A pair or an edge that was left out might not have been after it was scaled.
        whole_diagram = spec.min_persistence == 0 and spec.max_length is None
        return invalid("births and deaths are multiplied by the factor", rendered=whole_diagram)

    def gramian_effect(self, spec: GramianSpec) -> Effect:
        return _rescaled(spec)


def _rescaled(spec: GramianSpec) -> Effect:
    """Of fields of signals that were multiplied by a positive number, or moved by one."""
    if isinstance(spec.range, str):
        return unchanged("each channel is scaled to its own range", exact=False)
    return invalid("values lie elsewhere in the fixed range")


def add_noise(values: Tensor, deviation: float, relative: bool, generator: Generator) -> Tensor:
    """Floats (n, C, ...) plus normal noise.

    deviation: in the unit of the values; relative: times the deviation of each channel of a sample.
    """
    noise = normal_like(values, generator) * deviation
    if relative:
        axes = tuple(range(2, values.dim()))
        noise = noise * values.std(dim=axes, correction=0, keepdim=True)
    return values + noise


def mix1(removal: Removal | None = None, shift: Shift | None = None) -> tuple[Augmentation, ...]:
    """Removal, then shift: Mix1 of Jeon et al. (the order is not published)."""
    return (removal or Removal(), shift or Shift())


def mix2(
    removal: Removal | None = None,
    noise: GaussianNoise | None = None,
    shift: Shift | None = None,
) -> tuple[Augmentation, ...]:
    """Removal, noise, then shift: Mix2 of Jeon et al. (the order is not published)."""
    return (removal or Removal(), noise or GaussianNoise(), shift or Shift())
