"""AMD: attention maps with an angular margin, of whole maps and of their parts.

    q = energy / (|energy|_2 + 1e-6), energy = sum_c A_c**2, over positions
    u = s cos(m arccos q),  v = s (1 - q),  G = u - log(e**u + e**v)
    loss = ( |unit(G)_s - unit(G)_t|**2 + the same of u + the same of v ) / 3

Jeon et al., Neurocomputing 518, 2023 (arXiv 2302.14130). The released class takes the mean over
positions (`element_mean`); the formula is a squared Frobenius norm (`batch_mean`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pi_cache.errors import InvalidSpec
from training.losses.shapes import match_positions, reduce, row_norms, unit_rows, wide

SCALE = 64.0
MARGIN = 1.35
EPSILON = 1e-6
"""Added to the norm of an energy, as in the released code."""
EDGE = 1e-7
"""Distance of q from 1, where the derivative of arccos is infinite."""
LOCAL = 0.2
"""Share of the parts in the global and local loss; the whole map has the rest."""
SCORES = ("angular", "positive", "negative")
"""G, u and v: A, P and N of the paper's ablation."""


def amd_global(
    student: Tensor,
    teacher: Tensor,
    *,
    reduction: str,
    scale: float = SCALE,
    margin: float = MARGIN,
    scores: Sequence[str] = SCORES,
) -> Tensor:
    """Angular margin loss of whole maps (n, C, *positions); 0 for equal maps.

    scores: of SCORES, whose mean it is. Of two sizes the larger is first averaged to the smaller.
    Channels may differ.
    """
    own, other = _positive(student, teacher)
    return _terms(own.flatten(1), other.flatten(1), reduction, scale, margin, scores)


def amd_local(
    student: Tensor,
    teacher: Tensor,
    *,
    reduction: str,
    scale: float = SCALE,
    margin: float = MARGIN,
    grid: int = 2,
    scores: Sequence[str] = SCORES,
) -> Tensor:
    """The same of parts, `grid` along each axis, mean over parts: 2 x 2 of images, 2 of signals.

    q is that of the whole map, and each part is normalised for itself. An odd side gives its
    first part the smaller half. Raises InvalidSpec for maps with fewer positions than parts.
    """
    own, other = _positive(student, teacher)
    sizes = own.shape[1:]
    if grid < 1 or min(sizes) < grid:
        raise InvalidSpec(
            f"maps of {tuple(sizes)} positions cannot be cut in {grid} along an axis; take a"
            " smaller grid, or layers with larger maps"
        )
    losses = [
        _terms(own[part].flatten(1), other[part].flatten(1), reduction, scale, margin, scores)
        for part in _parts(sizes, grid)
    ]
    return torch.stack(losses).mean()


def amd_global_local(
    student: Tensor,
    teacher: Tensor,
    *,
    reduction: str,
    scale: float = SCALE,
    margin: float = MARGIN,
    grid: int = 2,
    local: float = LOCAL,
    scores: Sequence[str] = SCORES,
) -> Tensor:
    """(1 - local) * global + local * local loss."""
    given = {"reduction": reduction, "scale": scale, "margin": margin, "scores": scores}
    whole = amd_global(student, teacher, **given)  # type: ignore[arg-type]
    parts = amd_local(student, teacher, **given, grid=grid)  # type: ignore[arg-type]
    return (1 - local) * whole + local * parts


def _positive(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Maps q (n, *positions) of both, at one size."""
    student, teacher = match_positions(student, teacher)
    return _attention(student), _attention(teacher)


def _attention(maps: Tensor) -> Tensor:
    energies = wide(maps).square().sum(1)  # (n, *positions)
    norms = row_norms(energies.flatten(1)) + EPSILON
    return energies / norms.reshape(-1, *[1] * (energies.ndim - 1))


def _terms(
    own: Tensor,
    other: Tensor,
    reduction: str,
    scale: float,
    margin: float,
    scores: Sequence[str],
) -> Tensor:
    """Mean of the squared differences of some scores of maps q (n, positions).

    Raises InvalidSpec for scores that there are not.
    """
    if not scores or set(scores) - set(SCORES):
        raise InvalidSpec(f"scores must be some of {', '.join(SCORES)}, got {scores!r}")
    found = zip(SCORES, _scores(own, scale, margin), _scores(other, scale, margin), strict=True)
    pairs = [(a, b) for name, a, b in found if name in scores]
    losses = [reduce((unit_rows(a) - unit_rows(b)).square(), reduction) for a, b in pairs]
    return torch.stack(losses).mean()


def _scores(q: Tensor, scale: float, margin: float) -> tuple[Tensor, Tensor, Tensor]:
    """G, u and v, each (n, positions). G by logsigmoid: e**u would overflow for a large scale."""
    positive = scale * torch.cos(margin * torch.acos(q.clamp(EDGE - 1, 1 - EDGE)))
    negative = scale * (1 - q)
    return logsigmoid(positive - negative), positive, negative


def _parts(sizes: torch.Size, grid: int) -> Iterator[tuple[slice, ...]]:
    edges = [[size * k // grid for k in range(grid + 1)] for size in sizes]
    for cut in itertools.product(*(itertools.pairwise(axis) for axis in edges)):
        yield (slice(None), *(slice(low, high) for low, high in cut))
