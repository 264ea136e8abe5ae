"""Diagrams to persistence images, by an ImageSpec. Pure: arrays in, arrays out.

    draw -> normalise -> quantise, or `render` for all three a block at a time.

Diagrams are ragged: points (P, 2) of (birth, death), and offsets (S+1,) such that diagram s is
points[offsets[s]:offsets[s+1]]. An essential class has death inf, or -inf where births lie above
deaths (super-level sets). Images are (S, persistence, birth).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple, Self

import numpy as np

from pi_cache.errors import InvalidSpec
from pi_cache.specs import ImageSpec
from pipeline.kernels.cells import Cells, cell_masses
from pipeline.kernels.half import to_half
from pipeline.kernels.image import draw as draw_tabulated
from pipeline.kernels.image import tables

FAINT = {"float64": 1e-10, "float32": 1e-6}
"""Images that tables could get wrong by this part of their maximum are drawn without them."""

BLOCK = 256
"""Images that `render` draws at once: few enough that memory is used again, and stays in cache."""


class Edges(NamedTuple):
    """Cells of both axes: lower edges (pixels,) and the one width of each, in field units."""

    birth: np.ndarray
    birth_width: float
    persistence: np.ndarray
    persistence_width: float


def axis_edges(spec: ImageSpec) -> Edges:
    """Lower edges and widths of the cells, ascending on both axes whatever the row order.

    On a legacy grid the edges run from the lowest to the highest value inclusive, while each cell
    is HI / pixels wide: cells neither tile the range nor quite stay in it.
    """
    birth, persistence = _cells(spec)
    return Edges(_lower(birth), birth.width, _lower(persistence), persistence.width)


def render(
    points: np.ndarray, offsets: np.ndarray, spec: ImageSpec, dataset_max: float | None = None
) -> np.ndarray:
    """Finished images (S, pixels, pixels) of spec.dtype, `BLOCK` of them at a time.

    dataset_max: the largest value of all raw images, for normalise = dataset-max.
    Raises InvalidSpec where the values do not fit spec.dtype.
    """
    count = len(offsets) - 1
    images = np.empty((count, spec.pixels, spec.pixels), spec.dtype)
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        raw = draw(points, offsets[start : stop + 1], spec)
        images[start:stop] = quantise(normalise(raw, spec, dataset_max), spec)
    return images


def draw(points: np.ndarray, offsets: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Raw images (S, pixels, pixels) of spec.precision, not yet normalised.

    points: (P, 2) births and deaths in field units, taken as float64. offsets: (S+1,), may start
    anywhere in points.

    Values come from tables that are exact to rounding for an image of ordinary brightness. An image
    that is faint beside its weights (its points lie outside the window) is made again from the
    normal distribution function, so that its own maximum is a number and not noise. What is less
    than the smallest normal number of spec.precision is zero.
    """
    drawn = _select(points, offsets, spec)
    weights = _weights(drawn, spec)
    birth, persistence = _cells(spec)
    descending = spec.row_order == "descending"
    prepared = tables(birth, persistence, spec.sigma, np.dtype(spec.precision))
    if prepared is None:
        images = np.empty((len(offsets) - 1, spec.pixels, spec.pixels), spec.precision)
        faint = np.ones(len(images), np.bool_)
    else:
        images = draw_tabulated(*drawn, weights, prepared, descending=descending)
        bound = prepared.error * _each(np.add, weights, drawn.offsets)
        faint = (bound > FAINT[spec.precision] * _maxima(images)) & (np.diff(drawn.offsets) > 0)
    for s in np.flatnonzero(faint):
        own = slice(drawn.offsets[s], drawn.offsets[s + 1])
        x = cell_masses(drawn.births[own], _lower(birth), birth.width, spec.sigma)
        y = cell_masses(drawn.persistences[own], _lower(persistence), persistence.width, spec.sigma)
        image = (y * weights[own, None]).T @ x  # (persistence, birth)
        if image.max() < np.finfo(images.dtype).tiny:
            image[:] = 0  # what is left of it has no precision
        images[s] = image[::-1] if descending else image
    return images


def normalise(images: np.ndarray, spec: ImageSpec, dataset_max: float | None = None) -> np.ndarray:
    """Images divided by their own maximum, by dataset_max, or as they are; same type.

    With own-max, an image whose maximum is not above spec.floor (or zero) becomes zeros. A data
    set without any brightness (dataset_max 0) becomes zeros. Raises InvalidSpec where dataset-max
    is asked for and no finite dataset_max is given.
    """
    if spec.normalise == "none":
        return images
    if spec.normalise == "dataset-max":
        if dataset_max is None or not 0 <= dataset_max < np.inf:
            raise InvalidSpec(
                f"normalise dataset-max needs the largest value of all images, got {dataset_max!r}"
            )
        return images / images.dtype.type(dataset_max) if dataset_max else np.zeros_like(images)
    maxima = _maxima(images)
    bright = maxima > spec.floor
    divisors = np.where(bright, maxima, 1)[:, None, None]
    normalised: np.ndarray = images / divisors
    normalised[~bright] = 0
    return normalised


def quantise(images: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Images as spec.dtype. Raises InvalidSpec where the values do not fit it.

    uint8 is 255 times the value, truncated or rounded to the nearest whole number (halves to even).
    """
    largest = float(images.max(initial=0))
    if not np.isfinite(largest):
        raise InvalidSpec("images overflow: choose precision float64, or a lower weight power")
    if spec.dtype == "uint8":
        if largest > 1:
            raise InvalidSpec(f"uint8 holds values in 0..1, got {largest:g}; choose a float dtype")
        scaled = images * 255
        return (np.rint(scaled) if spec.rounding == "nearest" else scaled).astype(np.uint8)
    if spec.dtype == "float16":
        if largest >= 65520:  # would round to inf
            raise InvalidSpec(
                f"float16 holds values up to 65504, got {largest:g}; "
                "choose dtype float32 or normalise own-max"
            )
        return to_half(images)
    return images.astype(spec.dtype, copy=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowStatistics:
    """What of some diagrams lies in the window of the image; sums, so parts add up.

    diagrams: their number. empty: those of which nothing is drawn. points, persistence: number and
    total persistence of the points drawn (selected by essential and threshold); points_inside,
    persistence_inside: of those with birth and persistence within the closed ranges of the spec.
    """

    diagrams: int = 0
    empty: int = 0
    points: int = 0
    points_inside: int = 0
    persistence: float = 0.0
    persistence_inside: float = 0.0

    def __add__(self, other: WindowStatistics) -> Self:
        return type(self)(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )


def window_statistics(points: np.ndarray, offsets: np.ndarray, spec: ImageSpec) -> WindowStatistics:
    """How much of the diagrams the window of the spec shows. Parameters as for `draw`."""
    drawn = _select(points, offsets, spec)
    birth_low, birth_high = spec.birth_range
    low, high = spec.persistence_range
    inside = (birth_low <= drawn.births) & (drawn.births <= birth_high)
    inside &= (low <= drawn.persistences) & (drawn.persistences <= high)
    return WindowStatistics(
        diagrams=len(offsets) - 1,
        empty=int((np.diff(drawn.offsets) == 0).sum()),
        points=len(drawn.births),
        points_inside=int(inside.sum()),
        persistence=float(drawn.persistences.sum()),
        persistence_inside=float(drawn.persistences[inside].sum()),
    )


class _Drawn(NamedTuple):
    """The points to draw: births and persistences (Q,), offsets (S+1,) from 0."""

    births: np.ndarray
    persistences: np.ndarray
    offsets: np.ndarray


def _select(points: np.ndarray, offsets: np.ndarray, spec: ImageSpec) -> _Drawn:
    """Points with persistence over the threshold; essential classes clipped or left out.

    A class that never dies and is born beyond the clip value would have lived a negative time:
    it is left out.
    """
    first, last = offsets[0], offsets[-1]
    births = np.asarray(points[first:last, 0], np.float64)
    deaths = np.asarray(points[first:last, 1], np.float64)
    persistences = np.abs(deaths - births)
    essential = np.isinf(deaths)
    clip = spec.clip_value
    persistences[essential] = (
        0.0 if clip is None else ((clip - births) * np.sign(deaths))[essential]
    )
    kept = persistences > spec.threshold
    ends = np.concatenate([[0], np.cumsum(kept)])
    return _Drawn(births[kept], persistences[kept], ends[offsets - first])


def _weights(drawn: _Drawn, spec: ImageSpec) -> np.ndarray:
    """Weight of each point (Q,): a power of its persistence, or relative to the largest one."""
    if spec.weight == "relative":
        largest = _each(np.maximum, drawn.persistences, drawn.offsets)
        relative: np.ndarray = drawn.persistences / np.repeat(largest, np.diff(drawn.offsets))
        return relative
    if spec.weight_power == 1:
        return drawn.persistences
    weights: np.ndarray = drawn.persistences**spec.weight_power
    return weights


def _each(reduce: np.ufunc, values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Sum or maximum of the values of each diagram (S,), 0 for an empty one.

    Each from its own values only: differences of a running sum would depend on the others.
    """
    found = np.zeros(len(offsets) - 1)
    filled = np.diff(offsets) > 0  # reduceat takes an empty part for its next element
    if filled.any():
        found[filled] = reduce.reduceat(values, offsets[:-1][filled])
    return found


def _maxima(images: np.ndarray) -> np.ndarray:
    """The largest value of each image (S,)."""
    maxima: np.ndarray = images.max(axis=(1, 2), initial=0)
    return maxima


def _cells(spec: ImageSpec) -> tuple[Cells, Cells]:
    """Cells of the birth and of the persistence axis."""
    n = spec.pixels
    axes = []
    for low, high in (spec.birth_range, spec.persistence_range):
        width = (spec.birth_range[1] if spec.grid == "legacy-persim" else high - low) / n
        step = (high - low) / (n - 1) if spec.grid == "legacy-persim" and n > 1 else width
        axes.append(Cells(low, step, width, n))
    return axes[0], axes[1]


def _lower(cells: Cells) -> np.ndarray:
    """Lower edges (count,)."""
    return np.linspace(cells.lower, cells.lower + cells.step * (cells.size - 1), cells.size)
