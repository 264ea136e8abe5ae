"""RKD: distances between samples, and angles among three of them.

    distance: d_ij = |e_i - e_j| / mean over pairs;           pairs i < j
    angle:    a_ijk = cos of the angle at e_j to e_i and e_k;  i, j, k distinct
    loss = mean of huber(student - teacher),  huber(x) = x**2 / 2 below 1, |x| - 1/2 above

Park et al., CVPR 2019 (arXiv 1904.05068). Released code takes means over all n**2 and n**3 entries,
the zeros of self pairs among them; here no self pair counts, so a batch's size changes no scale.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from pi_cache.errors import InvalidSpec
from training.losses.shapes import check_maps, unit_rows, wide


def rkd_distance_pair_mean(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over pairs of the Huber loss of distances of embeddings (n, ...), scaled to mean one.

    Invariant to rotation, shift and positive scale of either. Raises InvalidSpec for one sample.
    """
    _check(student, teacher, least=2)
    return smooth_l1_loss(_distances(student), _distances(teacher))


def rkd_angle_triplet_mean(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over triplets of the Huber loss of cosines of angles of embeddings (n, ...).

    Invariant like the distance. Memory is n**2 times the size of an embedding plus n**3: pass
    pooled embeddings, not maps. Raises InvalidSpec for fewer than three samples.
    """
    _check(student, teacher, least=3)
    terms = smooth_l1_loss(_angles(student), _angles(teacher), reduction="none")
    count = len(student)
    # Where i or k is j both sides are 0. Where i is k they are 1, or 0 where i and j coincide.
    apart = 1 - torch.eye(count, device=terms.device, dtype=terms.dtype)
    return (terms * apart).sum() / (count * (count - 1) * (count - 2))


def _check(student: Tensor, teacher: Tensor, *, least: int) -> None:
    check_maps(student, teacher, axes=2)
    if len(student) < least:
        raise InvalidSpec(
            f"relations need {least} samples in a batch, got {len(student)}; leave out an"
            " incomplete last batch"
        )


def _distances(embeddings: Tensor) -> Tensor:
    """(pairs,) distances of pairs i < j, divided by their mean; all zero where all are equal."""
    rows = wide(embeddings.flatten(1))
    # Through products distances of close samples lose their digits in float32.
    square = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    first, second = torch.triu_indices(len(rows), len(rows), offset=1, device=rows.device)
    distances = square[first, second]
    mean = distances.mean()
    return distances / torch.where(mean > 0, mean, torch.ones_like(mean))


def _angles(embeddings: Tensor) -> Tensor:
    """(n, n, n) cosines at sample j between i and k, as [j, i, k]; 0 where two samples coincide."""
    rows = wide(embeddings.flatten(1))
    away = unit_rows(rows[None] - rows[:, None])  # (j, i, m): from j to i
    with torch.autocast(away.device.type, enabled=False):
        return away @ away.transpose(1, 2)
