"""Random numbers from an explicit generator, on its device."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def uniform(shape: tuple[int, ...], generator: Generator, low: float, high: float) -> Tensor:
    """Uniform float32 in low..high."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def chosen(count: int, probability: float, generator: Generator) -> Tensor:
    """(count,) bool, each true with a probability."""
    return torch.rand(count, generator=generator, device=generator.device) < probability


def whole(shape: tuple[int, ...], generator: Generator, low: int, high: int) -> Tensor:
    """Uniform int64 in low..high, both included."""
    return torch.randint(low, high + 1, shape, generator=generator, device=generator.device)


def normal_like(values: Tensor, generator: Generator) -> Tensor:
    """Standard normal numbers, of the shape and dtype of floats."""
    return torch.randn(
        values.shape, generator=generator, device=generator.device, dtype=values.dtype
    )


def permutation(count: int, generator: Generator) -> Tensor:
    """(count,) int64, an order of 0..count-1."""
    return torch.randperm(count, generator=generator, device=generator.device)


def symmetric_beta(count: int, alpha: float, generator: Generator) -> Tensor:
    """(count,) float32 from Beta(alpha, alpha): the first of two Dirichlet shares.

    What `torch.distributions.Beta` calls too, but that takes no generator.
    """
    concentration = torch.full((count, 2), alpha, dtype=torch.float64, device=generator.device)
    shares = torch._sample_dirichlet(concentration, generator=generator)
    return shares[:, 0].to(torch.float32)


def members(rows: int, columns: int, taken: int, generator: Generator) -> Tensor:
    """(rows, columns) bool with exactly `taken` true in each row, anywhere."""
    ranks = torch.rand((rows, columns), generator=generator, device=generator.device)
    return ranks.argsort(dim=1).argsort(dim=1) < taken
