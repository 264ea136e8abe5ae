"""What all losses need of their tensors: shapes that agree, float32, and safe norms of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec

SMALLEST = 1e-30
"""A row whose norm is no larger counts as zero: its reciprocal would overflow in the gradient."""
REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "batch_mean": lambda terms: terms.flatten(1).sum(1).mean(),
    "element_mean": lambda terms: terms.mean(),
}


def wide(values: Tensor) -> Tensor:
    """The same values as float32, or float64 where they are. Raises InvalidSpec for others."""
    if not values.is_floating_point():
        raise InvalidSpec(f"a loss needs floats, got {values.dtype}; convert them first")
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def reduce(terms: Tensor, reduction: str) -> Tensor:
    """One number from terms (n, ...). Raises InvalidSpec for a reduction that is none of ours."""
    if reduction not in REDUCTIONS:
        raise InvalidSpec(f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    return REDUCTIONS[reduction](terms)


def check_logits(student: Tensor, *teachers: Tensor) -> None:
    """Raises InvalidSpec unless all are (n, classes), of one shape, with something in them."""
    shapes = [tuple(logits.shape) for logits in (student, *teachers)]
    if len(shapes[0]) != 2 or 0 in shapes[0] or len(set(shapes)) > 1:
        raise InvalidSpec(
            f"logits of student and teachers must be (n, classes) of one shape, got {shapes};"
            " check that all networks have the same classes and saw the same batch"
        )


def check_maps(*maps: Tensor, axes: int = 3) -> None:
    """Raises InvalidSpec unless all have a batch of one size and at least `axes` axes."""
    shapes = [tuple(values.shape) for values in maps]
    if any(len(shape) < axes or 0 in shape for shape in shapes):
        needed = "(n, channels, positions...)" if axes == 3 else "(n, ...)"
        raise InvalidSpec(
            f"maps must be {needed} and not empty, got {shapes}; vectors have no positions: use a"
            " loss that compares samples, such as SP"
        )
    if len({shape[0] for shape in shapes}) > 1:
        raise InvalidSpec(f"maps must be of one batch, in its order, got {shapes}")


def check_weights(weights: Sequence[float] | Tensor, teachers: int) -> None:
    """Raises InvalidSpec unless there is one weight for each of the teachers."""
    if len(weights) != teachers or not teachers:
        raise InvalidSpec(f"{teachers} teachers need as many weights, got {len(weights)}")


def pool(maps: Tensor, sizes: Sequence[int]) -> Tensor:
    """Means (n, C, *sizes) of maps; maps that have these sizes already are returned as they are.

    The same as adaptive average pooling, by a product for each axis: torch's own has no
    deterministic gradient on CUDA, and a run that asks for determinism would fail there. Raises
    InvalidSpec where the axes differ, as between a signal's maps and an image's.
    """
    if tuple(maps.shape[2:]) == tuple(sizes):
        return maps
    if maps.ndim - 2 != len(sizes):
        raise InvalidSpec(
            f"maps of {maps.ndim - 2} axes of positions cannot be compared with maps of"
            f" {len(sizes)}; use a loss that compares samples, such as SP"
        )
    # Autocast would take half precision, where a third is no third.
    with torch.autocast(maps.device.type, enabled=False):
        means = wide(maps)
        for axis, size in enumerate(sizes, start=2):
            means = (means.movedim(axis, -1) @ _averages(means, axis, size)).movedim(-1, axis)
    return means.to(maps.dtype)


def _averages(maps: Tensor, axis: int, size: int) -> Tensor:
    """(positions, size) shares of the positions along an axis in each of `size` means."""
    count, place = maps.shape[axis], torch.arange(size, device=maps.device)
    position = torch.arange(count, device=maps.device)[:, None]
    first, stop = place * count // size, ((place + 1) * count + size - 1) // size
    within = (position >= first) & (position < stop)
    return within.to(maps.dtype) / (stop - first)


def match_positions(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps with the smaller number of positions along each axis, by averaging."""
    check_maps(first, second)
    sizes = [min(pair) for pair in zip(first.shape[2:], second.shape[2:], strict=False)]
    if first.ndim != second.ndim:
        sizes = list(second.shape[2:])  # pool() says what is wrong
    return pool(first, sizes), pool(second, sizes)


def row_norms(rows: Tensor) -> Tensor:
    """L2 norms (..., 1) of rows (..., m); finite wherever they can be, with the gradient 0 at 0."""
    largest = rows.detach().abs().amax(-1, keepdim=True)
    largest = torch.where(largest > SMALLEST, largest, torch.ones_like(largest))
    norms: Tensor = torch.linalg.vector_norm(rows / largest, dim=-1, keepdim=True)
    return largest * norms


def unit_rows(rows: Tensor) -> Tensor:
    """Rows (..., m) divided by their L2 norms; a zero row stays zero."""
    norms = row_norms(rows)
    return rows / torch.where(norms > SMALLEST, norms, torch.ones_like(norms))
