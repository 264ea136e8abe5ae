"""Losses of features themselves: FitNet's hints through a projector, and AFD.

What is learned, projectors and attention, belongs to the caller and comes as a function or tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec
from training.losses.attention import attention_map, energy
from training.losses.shapes import check_maps, pool, reduce, unit_rows, wide

Projector = Callable[[Tensor], Tensor]


def l2(
    student: Tensor, teacher: Tensor, *, reduction: str, projector: Projector | None = None
) -> Tensor:
    """Squared difference of features (n, ...), the student's through the projector.

    FitNet's hint (Romero et al., ICLR 2015, arXiv 1412.6550) is half of the `batch_mean`;
    RepDistiller takes the `element_mean`. Raises InvalidSpec where shapes differ after projection.
    """
    return reduce(_squares(student, teacher, projector), reduction)


def l2_per_sample(
    student: Tensor, teacher: Tensor, *, projector: Projector | None = None
) -> Tensor:
    """(n,) mean squared difference of features (n, ...), such as CA-MKD weighs by teacher."""
    return _squares(student, teacher, projector).flatten(1).mean(1)


def afd_attention(queries: Tensor, keys: Tensor, positions: Tensor | None = None) -> Tensor:
    """(n, T, S) shares of S student layers for each of T teacher layers.

    softmax over s of (queries (n, T, d) . keys (n, S, T, d) + positions (T, S)) / sqrt(d), where
    positions is the product of the layers' own embeddings. Raises InvalidSpec for other shapes.
    """
    if queries.ndim != 3 or keys.ndim != 4 or queries.shape != keys[:, 0].shape:
        raise InvalidSpec(
            "queries must be (n, T, d) and keys (n, S, T, d), got"
            f" {tuple(queries.shape)} and {tuple(keys.shape)}"
        )
    logits = (wide(queries)[:, :, None] * wide(keys).transpose(1, 2)).sum(3)  # (n, T, S)
    if positions is not None:
        logits = logits + positions
    return torch.softmax(logits / queries.shape[2] ** 0.5, dim=2)


def afd_batch_mean(
    student: Sequence[Tensor], teacher: Sequence[Tensor], attention: Tensor
) -> Tensor:
    """Sum over teacher layers t of sum_s a_ts mean_positions (Q_s - Q_t)**2, mean over the batch.

    Maps are (n, C, *positions). Q_t is the attention map of the teacher's layer and Q_s that of
    the student's, its energy averaged to the teacher's size first. attention: (n, T, S), from
    `afd_attention`. Ji et al., AAAI 2021 (arXiv 2102.02973), after its released code.
    """
    if not student or not teacher:
        raise InvalidSpec("AFD needs a layer of the student and one of the teacher at least")
    check_maps(*student, *teacher)
    shape = (len(teacher[0]), len(teacher), len(student))
    if tuple(attention.shape) != shape:
        raise InvalidSpec(f"attention must be (n, T, S) = {shape}, got {tuple(attention.shape)}")
    rows = [
        torch.stack([_distance(own, maps) for own in student], dim=1)  # (n, S)
        for maps in teacher
    ]
    return (wide(attention) * torch.stack(rows, dim=1)).sum((1, 2)).mean()


def _distance(student: Tensor, teacher: Tensor) -> Tensor:
    """(n,) mean squared difference of attention maps, at the teacher's size."""
    own = energy(student).reshape(len(student), 1, *student.shape[2:])
    own = unit_rows(pool(own, teacher.shape[2:]).flatten(1))
    return (own - attention_map(teacher)).square().mean(1)


def _squares(student: Tensor, teacher: Tensor, projector: Projector | None) -> Tensor:
    projected = student if projector is None else projector(student)
    if projected.shape != teacher.shape:
        raise InvalidSpec(
            f"features of the student are {tuple(projected.shape)}, of the teacher"
            f" {tuple(teacher.shape)}; give a projector from {tuple(student.shape[1:])} to"
            f" {tuple(teacher.shape[1:])}"
        )
    check_maps(projected, axes=2)
    return (wide(projected) - wide(teacher)).square()
