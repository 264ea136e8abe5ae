"""Diagrams to persistence images, by an ImageSpec. Pure: arrays in, arrays out.

    select -> draw -> normalise -> quantise, or `render` for all three a block at a time.

Diagrams are ragged: points (P, 2) of (birth, death), and offsets (S+1,) such that diagram s is
points[offsets[s]:offsets[s+1]]. An essential class has death inf, or -inf where births lie above
deaths (super-level sets). Images are (S, persistence, birth).
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from pi_cache.axes import cell_width, lower_edges
from pi_cache.errors import InvalidSpec, SampleError
from pi_cache.specs import ImageSpec, Status
from pipeline.kernels.cells import Cells, cell_masses
from pipeline.kernels.half import to_half
from pipeline.kernels.image import draw as draw_tabulated
from pipeline.kernels.image import tables

FAINT = {"float64": 1e-10, "float32": 1e-6}
"""Images that tables could get wrong by this part of their maximum are drawn without them."""

NEGLIGIBLE = 60.0
"""In natural logarithms: e^-60 of an image is far below its last bit."""

BLOCK = 256
"""Images that are drawn at once, at most."""
BLOCK_BYTES = 8 * 2**20
"""Of raw images that are drawn at once: memory is used again, and stays in cache."""
MASSES = 2**17
"""Masses of one axis that are held at once where no tables are used."""


def block_of(spec: ImageSpec) -> int:
    """How many images to draw at once."""
    image = spec.pixels**2 * np.dtype(spec.precision).itemsize
    return max(1, min(BLOCK, BLOCK_BYTES // image))


class Selection(NamedTuple):
    """The points that are drawn: births and persistences (Q,), offsets (S+1,) from 0."""

    births: np.ndarray
    persistences: np.ndarray
    offsets: np.ndarray


def select(points: np.ndarray, offsets: np.ndarray, spec: ImageSpec) -> Selection:
    """Points with persistence over the threshold; essential classes clipped or left out.

    points: (P, 2) births and deaths in field units, taken as float64. offsets: (S+1,), may start
    anywhere in points. A class that never dies and is born beyond the clip value would have lived a
    negative time: it is left out. Raises SampleError where a persistence is no finite number.
    """
    first, last = offsets[0], offsets[-1]
    births = np.asarray(points[first:last, 0], np.float64)
    deaths = np.asarray(points[first:last, 1], np.float64)
    essential = np.isinf(deaths)
    clip = spec.clip_value
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        persistences = np.abs(deaths - births)
        persistences[essential] = (
            0.0 if clip is None else ((clip - births) * np.sign(deaths))[essential]
        )
    finite = np.isfinite(persistences)
    if not finite.all():
        worst = int(np.argmin(finite))
        raise SampleError(
            Status.INF,
            f"a persistence overflows: birth {births[worst]:g}, death {deaths[worst]:g}; "
            "scale the data",
        )
    kept = persistences > spec.threshold
    ends = np.concatenate([[0], np.cumsum(kept)])
    return Selection(births[kept], persistences[kept], ends[offsets - first])


def render(
    points: np.ndarray, offsets: np.ndarray, spec: ImageSpec, dataset_max: float | None = None
) -> np.ndarray:
    """Finished images (S, pixels, pixels) of spec.dtype, `block_of` them at a time.

    dataset_max: the largest value of all raw images, for normalise = dataset-max.
    Raises InvalidSpec where the values do not fit spec.dtype, SampleError where persistences or
    weights overflow.
    """
    block = block_of(spec)
    count = len(offsets) - 1
    images = np.empty((count, spec.pixels, spec.pixels), spec.dtype)
    for start in range(0, count, block):
        stop = min(start + block, count)
        raw = draw(select(points, offsets[start : stop + 1], spec), spec)
        images[start:stop] = quantise(normalise(raw, spec, dataset_max), spec)
    return images


def draw(selection: Selection, spec: ImageSpec) -> np.ndarray:
    """Raw images (S, pixels, pixels) of spec.precision, not yet normalised.

    Values come from tables that are exact to rounding for an image of ordinary brightness. An image
    that is faint beside its weights (its points lie outside the window) is made again from the
    normal distribution function, so that its own maximum is a number and not noise. What is less
    than the smallest normal number of spec.precision is zero. Raises SampleError where the weights
    of a diagram are more than spec.precision holds.
    """
    weights = _weights(selection, spec)
    totals = _totals(weights, selection, spec)
    birth, persistence = _cells(spec, "birth"), _cells(spec, "persistence")
    descending = spec.row_order == "descending"
    prepared = tables(birth, persistence, spec.sigma, np.dtype(spec.precision))
    if prepared is None:
        images = np.zeros((len(selection.offsets) - 1, spec.pixels, spec.pixels), spec.precision)
        faint = np.ones(len(images), np.bool_)
    else:
        images = draw_tabulated(*selection, weights, prepared, descending=descending)
        maxima = _maxima(images)
        faint = prepared.error * totals > FAINT[spec.precision] * maxima
        faint |= maxima < np.finfo(images.dtype).tiny
    for s in np.flatnonzero(faint & (totals > 0)):
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

    A point at a distance from the nearest cell loses by exp(-distance^2 / 2 sigma^2); under e^-60
    of the brightest one it is nothing beside it, whatever the cells are.
    """
    axes = [_cells(spec, "birth"), _cells(spec, "persistence")]
    edges = [lower_edges(spec, "birth"), lower_edges(spec, "persistence")]
    with np.errstate(over="ignore", divide="ignore"):  # far away, and of no weight
        logs = np.log(weights)
        for cells, positions in zip(axes, (births, persistences), strict=True):
            logs -= (_distances(positions, cells) / spec.sigma) ** 2 / 2
    near = np.flatnonzero(logs > max(logs.max() - NEGLIGIBLE, -sys.float_info.max))
    image = np.zeros((spec.pixels, spec.pixels))
    step = max(1, MASSES // spec.pixels)
    for part in (near[start : start + step] for start in range(0, len(near), step)):
        x = cell_masses(births[part], edges[0], axes[0].width, spec.sigma)
        y = cell_masses(persistences[part], edges[1], axes[1].width, spec.sigma)
        image += (y * weights[part, None]).T @ x  # (persistence, birth)
    return image


def _distances(positions: np.ndarray, cells: Cells) -> np.ndarray:
    """From each position (n,) to the nearest cell, 0 inside. Cells of a legacy grid have gaps."""
    first = cells.lower + cells.width / 2
    step = cells.step or 1.0  # 0 where the edges of a narrow window are one number
    nearest = np.clip(np.rint((positions - first) / step), 0, cells.size - 1)
    away = np.abs(positions - first - nearest * cells.step) - cells.width / 2
    distances: np.ndarray = np.maximum(away, 0)
    return distances


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
    with np.errstate(over="ignore"):  # refused with the totals
        weights: np.ndarray = selection.persistences**spec.weight_power
    return weights


def _totals(weights: np.ndarray, selection: Selection, spec: ImageSpec) -> np.ndarray:
    """Weight of each diagram (S,). No pixel has more, so what it fits in holds the image."""
    with np.errstate(over="ignore"):
        totals = _each(np.add, weights, selection.offsets)
    if totals.max(initial=0) > float(np.finfo(spec.precision).max) / 2:
        raise SampleError(
            Status.INF,
            f"weights overflow {spec.precision}: {spec.weight} of persistences up to "
            f"{selection.persistences.max():g}; scale the data, or choose a lower weight power"
            + (" or precision float64" if spec.precision == "float32" else ""),
        )
    return totals


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
