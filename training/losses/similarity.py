"""Losses of similarities between samples: SP, TGD's merged maps, TPKD's orthogonal features.

    G = A A^T with A (n, everything else);  loss = mean over n x n of (rows(G_s) - rows(G_t))**2

and rows() divides each row by its L2 norm. Only (n, n) maps are compared, so channels, sizes and
even the number of axes may differ between student and teachers. Beyond the maps that the networks
hold, memory is a few (n, n) arrays, and a gradient of the student's map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec
from training.losses.shapes import check_maps, check_weights, reduce, unit_rows, wide


def similarity(maps: Tensor) -> Tensor:
    """(n, n) inner products of the samples of maps (n, ...), not normalised, float32 or float64.

    Overflows in float32 where values reach about 1e16.
    """
    check_maps(maps, axes=2)
    rows = _rows(maps)
    # Autocast would multiply in half precision, whose range ends at 65,504.
    with torch.autocast(rows.device.type, enabled=False):
        rows = wide(rows)
        return rows @ rows.T


def merge(similarities: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """(n, n) weighted sum of similarities of several teachers, as they are: larger maps weigh more.

    Raises InvalidSpec for another number of weights or batches of different sizes.
    """
    check_weights(weights, len(similarities))
    check_maps(*similarities, axes=2)
    return torch.stack([w * g for w, g in zip(weights, similarities, strict=True)]).sum(0)


def sp_element_mean(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of row-normalised similarities of maps (n, ...).

    Tung and Mori, ICCV 2019 (arXiv 1907.09682). A batch of one gives 0.
    """
    check_maps(student, teacher, axes=2)
    difference = unit_rows(similarity(student)) - unit_rows(similarity(teacher))
    return difference.square().mean()


def tgd_element_mean(
    student: Tensor, teachers: Sequence[Tensor], *, weights: Sequence[float]
) -> Tensor:
    """SP against the merged similarity of several teachers' maps, merged before normalising.

    weights: of the teachers; 0.99 for images and 0.01 for persistence images in the released code
    of TGD (Jeon et al., 2024, arXiv 2407.05316), which adds up three stages with 1000 before them.
    """
    merged = merge([similarity(maps) for maps in teachers], weights)
    check_maps(student, merged, axes=2)
    return (unit_rows(similarity(student)) - unit_rows(merged)).square().mean()


def orthogonal_features(
    similarities: Tensor, *, patches: int = 4, layout: str = "grid", product: bool = True
) -> list[Tensor]:
    """Patches of a similarity map (n, n), rows normalised, minus the identity.

    The exact form in TPKD was not found; each choice is an argument. patches: 4 is a guess of a
    reader. layout: `grid` of square patches, or `bands` of whole rows. product: take P P^T of a
    normalised patch P, cosines of its rows, before the identity; without it P - I, square patches.
    Raises InvalidSpec where the map cannot be cut like that.
    """
    return [_orthogonal(patch, product=product) for patch in _cut(similarities, patches, layout)]


def tpkd(
    student: Tensor,
    teachers: Sequence[Tensor],
    *,
    weights: Sequence[float],
    reduction: str,
    patches: int = 4,
    layout: str = "grid",
    product: bool = True,
) -> Tensor:
    """Squared difference of orthogonal features of student and merged teachers, mean over patches.

    The identity is on both sides and cancels, so that patches need not be square here.
    weights: of the teachers' similarities. reduction: of a patch's squares, `batch_mean` (squared
    Frobenius norm over its rows) or `element_mean`; which one TPKD's weights 700 and 200 belong to
    was not found. Jeon et al., EAAI 2024 (arXiv 2407.05315).
    """
    merged = merge([similarity(maps) for maps in teachers], weights)
    own = similarity(student)
    check_maps(own, merged, axes=2)
    cut = [_cut(each, patches, layout) for each in (own, merged)]
    pairs = zip(*[[_normalised(patch, product) for patch in each] for each in cut], strict=True)
    return torch.stack([reduce((a - b).square(), reduction) for a, b in pairs]).mean()


def _rows(maps: Tensor) -> Tensor:
    """(n, everything else) without a copy: the order of features does not matter to a product."""
    if maps.ndim == 4 and maps.is_contiguous(memory_format=torch.channels_last):
        maps = maps.permute(0, 2, 3, 1)
    return maps.flatten(1)


def _cut(similarities: Tensor, patches: int, layout: str) -> list[Tensor]:
    if layout not in ("grid", "bands"):
        raise InvalidSpec(f"layout must be grid or bands, got {layout!r}")
    side = math.isqrt(max(patches, 0)) if layout == "grid" else patches
    count = len(similarities)
    if not 1 <= side <= count or (layout == "grid" and side * side != patches):
        raise InvalidSpec(
            f"a similarity map of {count} samples cannot be cut into {patches} patches ({layout});"
            " a grid needs a square number, and each patch a row at least"
        )
    bands = torch.tensor_split(similarities, side)
    if layout == "bands":
        return list(bands)
    return [patch for band in bands for patch in torch.tensor_split(band, side, dim=1)]


def _normalised(patch: Tensor, product: bool) -> Tensor:
    """A patch with rows of norm one, or the cosines of its rows: what has the identity near it."""
    unit = unit_rows(patch)
    if not product:
        return unit
    with torch.autocast(unit.device.type, enabled=False):
        return unit @ unit.T


def _orthogonal(patch: Tensor, *, product: bool) -> Tensor:
    found = _normalised(patch, product)
    if found.shape[0] != found.shape[1]:
        raise InvalidSpec(
            f"the identity cannot be subtracted from a patch {tuple(found.shape)}; take"
            " product=True, or square patches of batches that they divide (drop_last leaves out a"
            " last batch that is smaller)"
        )
    return found - torch.eye(len(found), device=found.device, dtype=found.dtype)
