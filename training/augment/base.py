"""What an augmentation is: a frozen value, called with a batch and a generator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from pi_cache.errors import InvalidSpec
from pi_cache.specs import DiagramSpec, GramianSpec
from training.augment.effects import Effect, invalid

AXES = {"image": ("samples", "channels", "height", "width"), "signal": ("samples", "channels", "T")}
BYTE_MAXIMUM = 255.0
"""What a byte holds for the value 1."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Row i of a mixed batch is weight[i] of sample first[i] and the rest of sample second[i].

    first, second: (n,) int64, rows of the batch before it was mixed. weight: (n,) float32 in 0..1.
    """

    first: Tensor
    second: Tensor
    weight: Tensor

    def __call__(self, values: Tensor) -> Tensor:
        """Values (n, ...) mixed: images, logits or targets; floats, bytes are divided by 255."""
        wide = widened(values)
        weight = self.weight.to(wide.dtype).reshape(-1, *[1] * (wide.dim() - 1))
        return weight * wide[self.first] + (1 - weight) * wide[self.second]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was drawn for a batch, as far as labels and persistence images follow it.

    mix: which samples were mixed. changed: (n,) bool, samples that were turned, where that is at
    random. order: (n, C), channel c of the result is channel order[i, c] of sample i. factor,
    offset: (n, C), a signal became factor * signal + offset. None where it does not apply.
    """

    mix: Mix | None = None
    changed: Tensor | None = None
    order: Tensor | None = None
    factor: Tensor | None = None
    offset: Tensor | None = None


class Augmentation(ABC):
    """A change of the inputs of a batch. Subclasses are frozen dataclasses of their parameters."""

    samples: ClassVar[tuple[str, ...]] = ("image",)
    """The kinds of sample that it takes."""
    mixes: ClassVar[bool] = False
    """Whether labels are mixed."""

    def __call__(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        """The changed batch, a new tensor or the same, and what was drawn.

        generator: on the device of the batch. Raises InvalidSpec for a batch of other axes.
        """
        check_batch(batch, generator, self.samples, self.name)
        return (batch, Drawn()) if self.neutral else self.apply(batch, generator)

    @abstractmethod
    def apply(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        """As a call, of a batch that was checked."""

    @abstractmethod
    def effect(self, spec: DiagramSpec) -> Effect:
        """What becomes of the diagrams that `spec` makes of the samples."""

    def gramian_effect(self, spec: GramianSpec) -> Effect:
        """As `effect`, of Gramian angular fields of signals."""
        return invalid("the field is that of another signal")

    @property
    def name(self) -> str:
        """The name of its class."""
        return type(self).__name__

    @property
    def neutral(self) -> bool:
        """Whether its parameters say that it changes nothing."""
        return False

    def to_dict(self) -> dict[str, Any]:
        """Its name and parameters, as plain values for a run's record."""
        parameters = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {"name": self.name} | {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in parameters.items()
        }


def check_batch(batch: Tensor, generator: Generator, samples: tuple[str, ...], name: str) -> None:
    """Raises InvalidSpec unless the batch has the axes, and is where the generator is."""
    expected = [AXES[sample] for sample in samples]
    if batch.dim() not in {len(axes) for axes in expected} or 0 in batch.shape:
        wanted = " or ".join(f"({', '.join(axes)})" for axes in expected)
        raise InvalidSpec(f"{name} takes batches {wanted}, got {tuple(batch.shape)}")
    if batch.dtype != torch.uint8 and not batch.is_floating_point():
        raise InvalidSpec(f"{name} takes uint8 or floats, got {batch.dtype}; convert the batch")
    if batch.device.type != generator.device.type:
        raise InvalidSpec(
            f"{name}: the batch is on {batch.device} and the generator on {generator.device};"
            f" make it with torch.Generator(device={batch.device.type!r})"
        )


def widened(values: Tensor) -> Tensor:
    """Floats as they are; bytes divided by 255, as float32."""
    if values.dtype == torch.uint8:
        return values.to(torch.float32) / BYTE_MAXIMUM
    return values


def stored_value(value: float, batch: Tensor) -> float:
    """A value in units of the field as the batch holds it: bytes count to 255."""
    return float(round(value * BYTE_MAXIMUM)) if batch.dtype == torch.uint8 else value


def check_share(name: str, share: float, *, of: str = "0..1") -> None:
    """Raises InvalidSpec unless a probability or share lies in 0..1."""
    if not 0 <= share <= 1:
        raise InvalidSpec(f"{name} must lie in {of}, got {share!r}")


def check_positive(name: str, value: float) -> None:
    """Raises InvalidSpec for a negative number."""
    if not value >= 0:
        raise InvalidSpec(f"{name} must not be negative, got {value!r}")
