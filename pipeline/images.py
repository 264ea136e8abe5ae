"""Diagrams to persistence images, by an ImageSpec. Pure: arrays in, arrays out.

    select -> draw -> normalise -> quantise, or `render` for all three a block at a time.

Diagrams are ragged: points (P, 2) of (birth, death), and offsets (S+1,) such that diagram s is
points[offsets[s]:offsets[s+1]]. An essential class has death inf, or -inf where births lie above
deaths (super-level sets). Images are (S, persistence, birth).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple, Self

import numpy as np

from pi_cache.axes import cell_width, lower_edges
from pi_cache.errors import InvalidSpec
from pi_cache.specs import ImageSpec
from pipeline.kernels.cells import Cells, cell_masses
from pipeline.kernels.half import to_half
from pipeline.kernels.image import draw as draw_tabulated
from pipeline.kernels.image import tables

FAINT = {"float64": 1e-10, "float32": 1e-6}
"""Images that tables could get wrong by this part of their maximum are drawn without them."""

NEGLIGIBLE = 60.0
"""In natural logarithms: e^-60 of an image is far below its last bit."""

BLOCK = 256
"""Images that `render` draws at once: few enough that memory is used again, and stays in cache."""


class Selection(NamedTuple):
    """The points that are drawn: births and persistences (Q,), offsets (S+1,) from 0."""

    births: np.ndarray
    persistences: np.ndarray
    offsets: np.ndarray


def select(points: np.ndarray, offsets: np.ndarray, spec: ImageSpec) -> Selection:
    """Points with persistence over the threshold; essential classes clipped or left out.

    points: (P, 2) births and deaths in field units, taken as float64. offsets: (S+1,), may start
    anywhere in points. A class that never dies and is born beyond the clip value would have lived a
    negative time: it is left out.
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
    return Selection(births[kept], persistences[kept], ends[offsets - first])


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
        raw = draw(select(points, offsets[start : stop + 1], spec), spec)
        images[start:stop] = quantise(normalise(raw, spec, dataset_max), spec)
    return images


def draw(selection: Selection, spec: ImageSpec) -> np.ndarray:
    """Raw images (S, pixels, pixels) of spec.precision, not yet normalised.

    Values come from tables that are exact to rounding for an image of ordinary brightness. An image
    that is faint beside its weights (its points lie outside the window) is made again from the
    normal distribution function, so that its own maximum is a number and not noise. What is less
    than the smallest normal number of spec.precision is zero.
    """
    weights = _weights(selection, spec)
    birth, persistence = _cells(spec, "birth"), _cells(spec, "persistence")
    descending = spec.row_order == "descending"
    prepared = tables(birth, persistence, spec.sigma, np.dtype(spec.precision))
    if prepared is None:
        images = np.zeros((len(selection.offsets) - 1, spec.pixels, spec.pixels), spec.precision)
        faint = np.ones(len(images), np.bool_)
    else:
        images = draw_tabulated(*selection, weights, prepared, descending=descending)
        bound = prepared.error * _each(np.add, weights, selection.offsets)
        faint = bound > FAINT[spec.precision] * _maxima(images)
    for s in np.flatnonzero(faint & (np.diff(selection.offsets) > 0)):
        own = slice(selection.offsets[s], selection.offsets[s + 1])
        part = selection.births[own], selection.persistences[own], weights[own]
        image = _draw_exactly(*part, spec)
        if image.max() < np.finfo(images.dtype).tiny:
            image[:] = 0  # what is left of it has no precision
        images[s] = image[::-1] if descending else image
    return images


def _draw_exactly(
    births: np.ndarray, persistences: np.ndarray, weights: np.ndarray, spec: ImageSpec
) -> np.ndarray:
    """One image, ascending, from the normal distribution function; of its brightest points only.

    A point further away loses by exp(-distance^2 / 2 sigma^2); under e^-60 of the brightest one it
    is nothing beside it, whatever the cells are.
    """
    logs = np.log(weights)
    for axis, positions in (("birth", births), ("persistence", persistences)):
        edges, width = lower_edges(spec, axis), cell_width(spec, axis)
        away = np.maximum(np.maximum(edges[0] - positions, positions - edges[-1] - width), 0)
        logs -= (away / spec.sigma) ** 2 / 2
    near = logs > logs.max() - NEGLIGIBLE
    x, y = (
        cell_masses(positions[near], lower_edges(spec, axis), cell_width(spec, axis), spec.sigma)
        for axis, positions in (("birth", births), ("persistence", persistences))
    )
    image: np.ndarray = (y * weights[near, None]).T @ x  # (persistence, birth)
    return image


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
    total persistence of the points drawn; points_inside, persistence_inside: of those with birth
    and persistence within the closed ranges of the spec.
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


def window_statistics(selection: Selection, spec: ImageSpec) -> WindowStatistics:
    """How much of the points drawn the window of the spec shows."""
    inside = in_window(selection.births, selection.persistences, spec)
    return WindowStatistics(
        diagrams=len(selection.offsets) - 1,
        empty=int((np.diff(selection.offsets) == 0).sum()),
        points=len(selection.births),
        points_inside=int(inside.sum()),
        persistence=float(selection.persistences.sum()),
        persistence_inside=float(selection.persistences[inside].sum()),
    )


def in_window(births: np.ndarray, persistences: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Which points (Q,) lie in the closed ranges of the spec."""
    birth_low, birth_high = spec.birth_range
    low, high = spec.persistence_range
    inside: np.ndarray = (birth_low <= births) & (births <= birth_high)
    inside &= (low <= persistences) & (persistences <= high)
    return inside


def _weights(selection: Selection, spec: ImageSpec) -> np.ndarray:
    """Weight of each point (Q,): a power of its persistence, or relative to the largest one."""
    if spec.weight == "relative":
        largest = _each(np.maximum, selection.persistences, selection.offsets)
        relative: np.ndarray = selection.persistences / np.repeat(
            largest, np.diff(selection.offsets)
        )
        return relative
    if spec.weight_power == 1:
        return selection.persistences
    weights: np.ndarray = selection.persistences**spec.weight_power
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


def _cells(spec: ImageSpec, axis: str) -> Cells:
    edges, width = lower_edges(spec, axis), cell_width(spec, axis)
    step = float(edges[-1] - edges[0]) / (spec.pixels - 1) if spec.pixels > 1 else width
    return Cells(float(edges[0]), step, width, spec.pixels)
