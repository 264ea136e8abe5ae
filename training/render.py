"""Persistence images from diagrams, many at a time, on the device where the points are.

Diagrams are ragged: points (N, 2) of (birth, death), and offsets (S, C + 1) such that sample s,
channel c has the points points[offsets[s, c]:offsets[s, c + 1]], as `Store.diagrams` gives them.
Images are (S, C, persistence, birth). The steps are those by which stored images were made: select
the points, weigh them, add up the masses of their Gaussians in the cells, normalise.

A batch is cut in segments of points, a diagram each where it is not large; segments of about one
length are padded to it and multiplied together, persistence masses with birth masses.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from pi_cache.errors import InvalidSpec
from pi_cache.specs import ImageSpec
from training.masses import FAR, Masses, cells_of, masses_of, peak, tabulate
from training.ragged import Group, Numbers, Ragged, groups, room_of

FAINT = 3e-7
"""Float32 images that tables could get wrong by this part of their maximum are drawn in float64."""
DIM = 1e-30
"""So are those of a smaller maximum, or of one that float32 does not hold: it ends near 1e-38."""
DEPTH = 64
"""Terms of a sum that float32 adds up at once: see `product`."""


class Selection(NamedTuple):
    """The points that are drawn: births, persistences and weights (n,), those of a part together.

    Where points are left in that are not drawn, their weight is 0.
    """

    births: Tensor
    persistences: Tensor
    weights: Tensor


class Renderer:
    """Draws diagrams by one image spec.

    spec: grid, sigma, weights, threshold, essential classes, normalisation and row order. Its dtype
    and rounding are those of stored images: what is drawn is not rounded to them.
    dtype: float32 or float64, of the images. Float32 ones are within 1e-6 of the maximum.
    dataset_max: the largest value of all raw images, which normalise dataset-max needs.
    Raises InvalidSpec.
    """

    def __init__(
        self,
        spec: ImageSpec,
        *,
        dtype: torch.dtype = torch.float32,
        dataset_max: float | None = None,
    ) -> None:
        if dtype not in (torch.float32, torch.float64):
            raise InvalidSpec(f"images are drawn in float32 or float64, got {dtype}")
        needed = spec.normalise == "dataset-max"
        if needed and (dataset_max is None or not 0 <= dataset_max < math.inf):
            raise InvalidSpec(
                f"normalise dataset-max needs the largest value of all images, got {dataset_max!r}"
            )
        self.spec = spec
        self.dtype = dtype
        self.dataset_max = dataset_max
        self.birth, self.persistence = (cells_of(spec, axis) for axis in ("birth", "persistence"))
        for cells in (self.birth, self.persistence):
            if cells.step <= 0:
                raise InvalidSpec(
                    "the window is too narrow for cells of their own; widen its range"
                )

    def __call__(
        self, points: Tensor, offsets: ArrayLike, *, sigma: Tensor | float | None = None
    ) -> Tensor:
        """Images (S, C, P, B) of ragged diagrams; differentiable by points and by sigma.

        points: (N, 2) float64 or float32 births and deaths in field units; float64 is exact.
        offsets: (S, C + 1), on the CPU. sigma: in place of that of the spec, a number or a tensor
        of one element. Where a derivative is asked for, a point takes about 8 bytes for each row
        and column of the image until the backward pass; otherwise memory is bounded.
        Raises InvalidSpec, on a CPU for a persistence that is no finite number too; elsewhere,
        where looking would wait for the device, that image is NaN.
        """
        check_points(points)
        edges = _parse_offsets(offsets, len(points))
        ragged = Ragged(edges[:, :-1].ravel(), np.diff(edges, axis=1).ravel())
        images = self.draw(points, ragged, parse_sigma(sigma, self.spec))
        return images.reshape(*edges[:, 1:].shape, *images.shape[1:])

    def draw(self, points: Tensor, ragged: Ragged, sigma: Tensor) -> Tensor:
        """Images (D, P, B) of D diagrams."""
        with torch.autocast(points.device.type, enabled=False), exact_products(points.device):
            brought, ragged = select(points, ragged, self.spec)
            raw = self._raw(brought, ragged, sigma, self.dtype)
            images = self._normalised(raw)
            if self.dtype == torch.float64 or points.device.type == "mps":  # which has no float64
                return images
            faint = self._faint(raw.detach(), brought, ragged, sigma.detach().item())
            if not len(faint):
                return images
            chosen = ragged.at(faint.cpu().numpy())
            again = self._normalised(self._raw(brought, chosen, sigma, torch.float64))
            return images.index_copy(0, faint, again.to(self.dtype))

    def _raw(self, brought: Selection, ragged: Ragged, sigma: Tensor, dtype: torch.dtype) -> Tensor:
        """Images (D, P, B) before they are normalised."""
        columns = self._columns(brought)
        room = room_of(columns.device, self.spec.pixels)
        parts = groups(ragged, columns.shape[1] - 1, columns.device, room)
        drawn = [self._group(columns, group, sigma, dtype) for group in parts]
        shape = (len(ragged), self.persistence.size, self.birth.size)
        images = torch.zeros(shape, dtype=dtype, device=columns.device)
        if not drawn:
            return images
        owners, added = (torch.cat(column) for column in zip(*drawn, strict=True))
        if len(owners) == (ragged.lengths > 0).sum():  # every diagram is one segment
            return images.index_copy_(0, owners, added)
        return images.index_add_(0, owners, added)

    def _columns(self, brought: Selection) -> Tensor:
        """(3, N + 1) places on both axes and weights; the last point weighs nothing."""
        birth = (brought.births - self.birth.lower) / self.birth.step
        persistence = (brought.persistences - self.persistence.lower) / self.persistence.step
        places = torch.nan_to_num(torch.stack((birth, persistence))).clamp(-FAR, FAR)
        columns = torch.cat((places, brought.weights[None]))
        return torch.nn.functional.pad(columns, (0, 1))

    def _group(
        self, columns: Tensor, group: Group, sigma: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Numbers (G,) of the diagrams of a group of segments, and their images (G, P, B)."""
        shape = group.points.shape
        birth, persistence, weights = columns.index_select(1, group.points.ravel())
        weights = weights.to(dtype)
        if torch.is_grad_enabled() and (columns.requires_grad or sigma.requires_grad):
            x = Masses.apply(birth, sigma, self.birth, dtype)  # type: ignore[no-untyped-call]
            y = Masses.apply(persistence, sigma, self.persistence, dtype)  # type: ignore[no-untyped-call]
            y = y * weights[:, None]
        else:
            x = masses_of(birth, None, self.birth, sigma.detach().item(), dtype)
            y = masses_of(persistence, weights, self.persistence, sigma.detach().item(), dtype)
        x, y = x.view(*shape, -1), y.view(*shape, -1)  # (G, L, B), (G, L, P)
        return group.owners, product(y, x)

    def _normalised(self, raw: Tensor) -> Tensor:
        """Images by the rule of the spec: see `pipeline.images.normalise`."""
        if self.spec.normalise == "none":
            return raw
        if self.spec.normalise == "dataset-max":
            return raw / self.dataset_max if self.dataset_max else torch.zeros_like(raw)
        maxima = raw.amax((1, 2), keepdim=True)
        dark = maxima <= max(self.spec.floor, torch.finfo(getattr(torch, self.spec.precision)).tiny)
        return torch.where(dark, 0, raw / torch.where(dark, 1, maxima))  # NaN is not dark

    def _faint(self, raw: Tensor, brought: Selection, ragged: Ragged, sigma: float) -> Tensor:
        """Numbers of the images that float32 tables do not draw well enough."""
        tables = [tabulate(cells, sigma, raw.device) for cells in (self.birth, self.persistence)]
        error = sum(table.error for table in tables if table is not None)
        error *= peak(self.birth, sigma) * peak(self.persistence, sigma)
        maxima = raw.amax((1, 2)).double()
        totals = torch.zeros_like(maxima)
        totals.index_add_(0, ragged.owners(raw.device), brought.weights.detach())
        faint = (error * totals > FAINT * maxima) | (maxima < DIM) | ~maxima.isfinite()
        return (faint & (totals > 0)).nonzero()[:, 0]


def select(points: Tensor, ragged: Ragged, spec: ImageSpec) -> tuple[Selection, Ragged]:
    """The points of persistence over the threshold, and where those of each diagram lie.

    Essential classes are clipped or left out. On a CPU the others leave; elsewhere that would wait
    for the device, and they stay, with no weight. Raises InvalidSpec for a persistence that is no
    finite number; elsewhere its weight is NaN.
    """
    if not (ragged.is_whole and ragged.total == len(points)):
        points = points.index_select(0, ragged.points(points.device))
        ragged = ragged.packed()
    if points.device.type != "mps":
        points = points.double()
    births, persistences = _birth_and_persistence(points, spec)
    kept = persistences > spec.threshold
    finite = persistences.detach().isfinite()
    if points.device.type == "cpu":
        _check_finite(points, finite)
        numbers, ragged = _leave_out(kept, ragged)
        births, persistences = births[numbers], persistences[numbers]
        kept = kept[numbers]
    safe = torch.where(kept, persistences, 1)  # whose power has a derivative
    weights = torch.where(kept, _weights(safe, kept, ragged, spec), 0)
    if points.device.type != "cpu":
        weights = weights.masked_fill(~finite, math.nan)
    return Selection(births, persistences, weights), ragged


def _check_finite(points: Tensor, finite: Tensor) -> None:
    """Raise InvalidSpec where a persistence is no finite number."""
    if not finite.all():
        birth, death = points[int(finite.int().argmin())].tolist()
        raise InvalidSpec(
            f"a persistence is no finite number: birth {birth:g}, death {death:g}; only deaths may"
            " be infinite, and scale points whose difference overflows"
        )


def _birth_and_persistence(points: Tensor, spec: ImageSpec) -> tuple[Tensor, Tensor]:
    """(n,) each. A dropped essential class, or one that would live a negative time, has 0."""
    births, deaths = points.unbind(1)
    essential = deaths.isinf()
    persistences = (torch.where(essential, births, deaths) - births).abs()
    if spec.clip_value is not None:
        clipped = (spec.clip_value - births) * deaths.sign()
        persistences = torch.where(essential, clipped, persistences)
    return births, persistences


def _leave_out(kept: Tensor, ragged: Ragged) -> tuple[Tensor, Ragged]:
    """Numbers of the points that are kept, and the parts that these are."""
    ends = np.concatenate([[0], np.cumsum(kept.numpy())])
    lengths = ends[ragged.starts + ragged.lengths] - ends[ragged.starts]
    return kept.nonzero()[:, 0], Ragged(ragged.starts, lengths).packed()


def _weights(persistences: Tensor, kept: Tensor, ragged: Ragged, spec: ImageSpec) -> Tensor:
    """A power of the persistence, or relative to the largest one of the diagram."""
    if spec.weight != "relative":
        power = spec.weight_power
        return persistences if power == 1 else persistences**power
    owners = ragged.owners(persistences.device)
    largest = torch.zeros(len(ragged), dtype=persistences.dtype, device=persistences.device)
    drawn = torch.where(kept, persistences, 0)
    largest = largest.scatter_reduce(0, owners, drawn, "amax", include_self=True)
    return persistences / torch.where(largest > 0, largest, 1)[owners]


def check_points(points: Tensor) -> None:
    """Raise InvalidSpec unless points are (N, 2) floats that hold coordinates."""
    floats = points.dtype in (torch.float32, torch.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not floats:
        raise InvalidSpec(
            "points must be float64 or float32 (N, 2), birth and death, got"
            f" {points.dtype} {tuple(points.shape)}; float16 moves points by more than a cell"
        )


def _parse_offsets(offsets: ArrayLike, points: int) -> Numbers:
    """(S, C + 1) whole numbers that rise within each sample and stay among the points."""
    edges = np.asarray(offsets.cpu() if isinstance(offsets, Tensor) else offsets)
    if edges.ndim != 2 or edges.shape[1] < 2 or edges.dtype.kind not in "iu":
        raise InvalidSpec(
            "offsets must be whole numbers (samples, channels + 1), got"
            f" {edges.dtype} {edges.shape}; Store.diagrams gives them"
        )
    edges = edges.astype(np.int64)
    low, high = edges.min(initial=0), edges.max(initial=0)
    if low < 0 or high > points or (np.diff(edges, axis=1) < 0).any():
        raise InvalidSpec(
            f"offsets must rise from 0 to {points} points at most, they run from {low} to {high}"
        )
    return edges


def parse_sigma(sigma: Tensor | float | None, spec: ImageSpec) -> Tensor:
    """One positive finite number, as a tensor of no axes."""
    number = spec.sigma if sigma is None else sigma
    given = number if isinstance(number, Tensor) else torch.tensor(number, dtype=torch.float64)
    if given.numel() != 1 or not 0 < given.detach().item() < math.inf:
        raise InvalidSpec(f"sigma must be one positive number in field units, got {sigma!r}")
    return given.reshape(()) if given.device.type == "mps" else given.reshape(()).double()


def product(rows: Tensor, columns: Tensor) -> Tensor:
    """(G, P, B) sums over L of rows (G, L, P) times columns (G, L, B).

    Float32 sums of DEPTH terms at a time: those of hundreds of terms lose a digit.
    """
    rows = rows.transpose(1, 2)
    total = torch.bmm(rows[:, :, :DEPTH], columns[:, :DEPTH])
    for start in range(DEPTH, columns.shape[1], DEPTH):
        here = slice(start, start + DEPTH)
        total.baddbmm_(rows[:, :, here], columns[:, here])
    return total


@contextlib.contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Products of float32 matrices in float32, whatever a program allows itself elsewhere.

    TF32 keeps ten bits, and would be wrong by 1e-3.
    """
    if device.type != "cuda":
        yield
        return
    settings: Any = torch.backends.cuda.matmul
    name, exact = (
        ("fp32_precision", "ieee") if hasattr(settings, "fp32_precision") else ("allow_tf32", False)
    )
    before = getattr(settings, name)
    setattr(settings, name, exact)
    try:
        yield
    finally:
        setattr(settings, name, before)
