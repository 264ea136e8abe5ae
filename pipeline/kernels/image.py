"""Persistence images with exact cell integrals, without evaluating a Gaussian per point.

An image is a sum over the points (b, p) of a diagram with weight w, on cells of width d whose lower
edges are regular, x_j = lower + j h (h is the step; h = d where cells tile the axis):

    image[i, j] = sum  w Y[i] X[j],    X[j] = Phi((x_j + d - b) / sigma) - Phi((x_j - b) / sigma),

Phi the standard normal distribution function, Y the same for p on the persistence axis. Write
b = lower + (k + f) h with k whole and 0 <= f < 1. Then

    X[j] = D(j - k, f),    D(u, f) = Phi(((u - f) h + d) / sigma) - Phi((u - f) h / sigma)

depends on the cell offset u = j - k and on the fraction f only. The unit interval of f is cut in
equal pieces, and for each piece and each offset D is a polynomial in f (through Chebyshev nodes),
as close as `TOLERANCE` allows. A row of cell integrals is then a few fused multiply-adds over
contiguous slices of one small table. Further than `CUT` standard deviations D is left at zero.

Points are ordered by their persistence cell (counting sort) and taken eight at a time: a rank-8
update of only those image rows that some point of the eight can reach ("wide"). Where a point
reaches a small part of the columns, each point updates its own window instead ("narrow").

An image so drawn is off by at most `Tables.error` times the sum of its weights; one whose maximum
is not well above that has to be drawn from `cell_masses` itself.

Reference: Adams et al., Persistence Images, JMLR 18 (2017), section 4.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from pipeline.kernels.jit import compiled, inlined

DEGREE = {np.dtype(np.float64): 5, np.dtype(np.float32): 3}
TOLERANCE = {np.dtype(np.float64): 2e-14, np.dtype(np.float32): 2e-10}
"""Largest error of a tabulated cell integral, as a part of the largest cell integral."""
CUT = {np.dtype(np.float64): 8.3, np.dtype(np.float32): 6.5}
MOST_PIECES = 1024
"""More would make tables of tens of megabytes, slower to read than the normal distribution."""
NARROW = 0.48
"""A window of at most this part of the columns is drawn point by point (measured)."""
SHORTEST = 48
"""Columns of such a window, at least: shorter loops are unrolled and then are no vector code."""


class Cells(NamedTuple):
    """Cells [lower + j step, lower + j step + width], j < size, of one axis."""

    lower: float
    step: float
    width: float
    size: int


class Axis(NamedTuple):
    """Tabulated cell integrals of one axis.

    table: (pieces, degree + 1, offsets), powers of the place within a piece, -1..1; offset u
    stands in column u + origin. reach: offsets beyond it are zero. first, last: a point in cell
    `first` or `last` reaches no cell; positions are clamped to them.
    """

    lower: float
    inverse_step: float
    origin: int
    reach: int
    first: int
    last: int
    table: np.ndarray


class Tables(NamedTuple):
    """What `draw` needs for one grid and sigma. error: see the module's text."""

    birth: Axis
    persistence: Axis
    render: Callable[..., None]
    error: float


def cell_masses(positions: np.ndarray, lower: np.ndarray, width: float, sigma: float) -> np.ndarray:
    """Mass of a Gaussian at each position in each cell: (n,), (c,) -> (n, c).

    Taken as a difference on the side of the Gaussian without cancellation, so that far tails have
    full relative precision.
    """
    low = (lower - positions[:, None]) / sigma  # (n, c)
    high = low + width / sigma
    right = low > 0
    masses: np.ndarray = ndtr(np.where(right, -low, high)) - ndtr(np.where(right, -high, low))
    return masses


@functools.lru_cache(maxsize=16)
def tables(birth: Cells, persistence: Cells, sigma: float, dtype: np.dtype) -> Tables | None:
    """Tables and kernel for float64 or float32 images; None where sigma is under about 1/30 step.

    sigma: standard deviation in field units.
    """
    lane = 64 // dtype.itemsize
    reaches = [math.ceil((CUT[dtype] * sigma + c.width) / c.step) + 1 for c in (birth, persistence)]
    width = _whole_lanes(birth.size, lane)
    windows = [_whole_lanes(max(2 * reach + 1, SHORTEST), lane) for reach in reaches]
    narrow = windows[0] <= NARROW * width
    spans = windows if narrow else [width, width]
    axes = []
    error = 0.0
    for cells, reach, span in zip((birth, persistence), reaches, spans, strict=True):
        axis, axis_error = _axis(cells, sigma, dtype, reach, span, narrow)
        if axis is None:
            return None
        axes.append(axis)
        error += axis_error
    degree = DEGREE[dtype]
    render = _narrow(width, *windows, degree) if narrow else _wide(width, degree)
    peak = math.prod(_peak(cells, sigma) for cells in (birth, persistence))
    return Tables(axes[0], axes[1], render, error * peak)


def draw(
    births: np.ndarray,
    persistences: np.ndarray,
    offsets: np.ndarray,
    weights: np.ndarray,
    tables: Tables,
    *,
    descending: bool,
) -> np.ndarray:
    """Images (S, persistence cells, birth cells) of S diagrams, in the type of the tables.

    births, persistences, weights: (P,) float64, finite. offsets: (S+1,) int64; diagram s is the
    slice offsets[s]:offsets[s+1]. descending: row 0 is the highest persistence.

    An image depends on its own points only, bit for bit, whatever is drawn with it.
    """
    rows = tables.persistence.last - tables.persistence.reach
    columns = tables.birth.last - tables.birth.reach
    images = np.empty((len(offsets) - 1, rows, columns), tables.birth.table.dtype)
    tables.render(
        births, persistences, offsets, weights, tables.birth, tables.persistence, descending, images
    )
    return images


def _whole_lanes(count: int, lane: int) -> int:
    return -(-count // lane) * lane


def _peak(cells: Cells, sigma: float) -> float:
    """Mass in a cell of the Gaussian at its centre, the largest that there is."""
    return 2 * float(ndtr(cells.width / (2 * sigma))) - 1


def _axis(
    cells: Cells, sigma: float, dtype: np.dtype, reach: int, span: int, narrow: bool
) -> tuple[Axis | None, float]:
    """The table of an axis, and its error as a part of the peak. Rows of `span` cells are read."""
    degree = DEGREE[dtype]
    peak = _peak(cells, sigma)
    offsets = np.arange(-reach, reach + 1)

    def masses(fractions: np.ndarray) -> np.ndarray:
        lower = offsets * cells.step  # (u,)
        return cell_masses(fractions.ravel() * cells.step, lower, cells.width, sigma).reshape(
            *fractions.shape, len(offsets)
        )

    nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    between = np.cos(np.pi * np.arange(2 * degree + 3) / (2 * degree + 2))
    fit = np.linalg.inv(np.vander(nodes, increasing=True))  # values at nodes -> powers
    check = np.vander(between, degree + 1, increasing=True)
    # Differences of Phi are rounded to about 1e-16, whatever they are.
    tolerance = max(TOLERANCE[dtype], 4e-16 / peak)
    pieces = 1
    while True:
        starts = np.arange(pieces)[:, None]
        powers = fit @ masses((starts + (nodes + 1) / 2) / pieces)  # (pieces, degree + 1, u)
        difference = check @ powers - masses((starts + (between + 1) / 2) / pieces)
        error = float(np.abs(difference).max()) / peak
        if error <= tolerance:
            break
        pieces *= 2
        if pieces > MOST_PIECES:
            return None, error
    tail = float(masses(np.array([0.0, 1.0]))[:, [0, -1]].max()) / peak
    side = reach + span + (0 if narrow else cells.size)
    table = np.zeros((pieces, degree + 1, 2 * side + 1), dtype)
    table[:, :, side - reach : side + reach + 1] = powers
    axis = Axis(
        float(cells.lower), 1 / cells.step, side, reach, -reach - 1, cells.size + reach, table
    )
    return axis, error + tail


@inlined
def _locate(position: float, axis: Axis) -> tuple[int, float]:
    """Cell number and fraction of the cell, clamped to the cells that the table knows."""
    place = (position - axis.lower) * axis.inverse_step
    place = min(max(place, axis.first), axis.last)
    cell = math.floor(place)
    return cell, place - cell


@inlined
def _fill(
    axis: Axis,
    column: int,
    fraction: float,
    factor: float,
    width: int,
    degree: int,
    row: np.ndarray,
) -> None:
    """row[:width] = factor * cell integrals for the fraction, from the table's column on.

    Slices and loops from 0: an index that might be negative is not turned into vector code.
    """
    pieces = axis.table.shape[0]
    piece = min(int(fraction * pieces), pieces - 1)
    z = row.dtype.type(2 * (fraction * pieces - piece) - 1)
    powers = axis.table[piece]
    t0 = powers[0][column:]
    t1 = powers[1][column:]
    t2 = powers[2][column:]
    t3 = powers[3][column:]
    if degree == 3:
        for j in range(width):
            row[j] = factor * (((t3[j] * z + t2[j]) * z + t1[j]) * z + t0[j])
    else:
        t4 = powers[4][column:]
        t5 = powers[5][column:]
        for j in range(width):
            row[j] = factor * (
                ((((t5[j] * z + t4[j]) * z + t3[j]) * z + t2[j]) * z + t1[j]) * z + t0[j]
            )


@compiled
def _sort_by_cell(
    persistences: np.ndarray, axis: Axis, cells: np.ndarray, starts: np.ndarray, order: np.ndarray
) -> None:
    """Counting sort: cells (n,) of the points, and their order, stable. starts is scratch."""
    starts[:] = 0
    for q in range(len(persistences)):
        cell, _ = _locate(persistences[q], axis)
        cells[q] = cell
        starts[cell - axis.first + 1] += 1
    for c in range(len(starts) - 1):
        starts[c + 1] += starts[c]
    for q in range(len(persistences)):
        c = cells[q] - axis.first
        order[starts[c]] = q
        starts[c] += 1


@compiled
def _copy(image: np.ndarray, descending: bool, out: np.ndarray) -> None:
    """The image without its padding, its rows upside down if asked.

    Tables are off by a rounding error, so a mass next to nothing may come out negative: it is 0.
    """
    rows, columns = out.shape
    zero = out.dtype.type(0)
    for i in range(rows):
        source = image[rows - 1 - i if descending else i]
        target = out[i]
        for j in range(columns):
            target[j] = max(source[j], zero)


@functools.cache
def _wide(width: int, degree: int) -> Callable[..., None]:
    """The kernel for images of at most `width` columns and rows, a constant in its loops."""

    @compiled
    def render(
        births: np.ndarray,
        persistences: np.ndarray,
        offsets: np.ndarray,
        weights: np.ndarray,
        birth: Axis,
        persistence: Axis,
        descending: bool,
        images: np.ndarray,
    ) -> None:
        rows = images.shape[1]
        one = images.dtype.type(1)
        longest = 0
        for s in range(len(offsets) - 1):
            longest = max(longest, offsets[s + 1] - offsets[s])
        cells = np.empty(longest, np.int64)
        order = np.empty(longest, np.int64)
        starts = np.empty(persistence.last - persistence.first + 2, np.int64)
        image = np.empty((rows, width), images.dtype)
        x = np.empty((8, width), images.dtype)
        y = np.empty((8, width), images.dtype)
        for s in range(len(offsets) - 1):
            b = births[offsets[s] : offsets[s + 1]]
            p = persistences[offsets[s] : offsets[s + 1]]
            w = weights[offsets[s] : offsets[s + 1]]
            _sort_by_cell(p, persistence, cells, starts, order)
            image[:] = 0
            for block in range(0, len(b), 8):
                end = min(block + 8, len(b))
                low = max(cells[order[block]] - persistence.reach, 0)
                high = min(cells[order[end - 1]] + persistence.reach + 1, rows)
                if high <= low:
                    continue
                for t in range(8):
                    if block + t < end:
                        q = order[block + t]
                        j, f = _locate(b[q], birth)
                        i, g = _locate(p[q], persistence)
                        weight = images.dtype.type(w[q])
                        _fill(birth, birth.origin - j, f, one, width, degree, x[t])
                        _fill(persistence, persistence.origin - i, g, weight, width, degree, y[t])
                    else:
                        x[t] = 0
                        y[t] = 0
                for i in range(low, high):
                    row = image[i]
                    y0 = y[0, i]
                    y1 = y[1, i]
                    y2 = y[2, i]
                    y3 = y[3, i]
                    y4 = y[4, i]
                    y5 = y[5, i]
                    y6 = y[6, i]
                    y7 = y[7, i]
                    for j in range(width):
                        row[j] += (y0 * x[0, j] + y1 * x[1, j] + y2 * x[2, j] + y3 * x[3, j]) + (
                            y4 * x[4, j] + y5 * x[5, j] + y6 * x[6, j] + y7 * x[7, j]
                        )
            _copy(image, descending, images[s])

    return render


@functools.cache
def _narrow(width: int, columns: int, rows: int, degree: int) -> Callable[..., None]:
    """The kernel in which a point updates a window of `columns` and at most `rows`."""

    @compiled
    def render(
        births: np.ndarray,
        persistences: np.ndarray,
        offsets: np.ndarray,
        weights: np.ndarray,
        birth: Axis,
        persistence: Axis,
        descending: bool,
        images: np.ndarray,
    ) -> None:
        height = images.shape[1]
        one = images.dtype.type(1)
        image = np.empty((height, width), images.dtype)
        x = np.empty(columns, images.dtype)
        y = np.empty(rows, images.dtype)
        for s in range(len(offsets) - 1):
            image[:] = 0
            for q in range(offsets[s], offsets[s + 1]):
                j, f = _locate(births[q], birth)
                i, g = _locate(persistences[q], persistence)
                left = min(max(j - birth.reach, 0), width - columns)
                low = max(i - persistence.reach, 0)
                high = min(i + persistence.reach + 1, height)
                if high <= low or j + birth.reach < 0 or j - birth.reach >= width:
                    continue
                weight = images.dtype.type(weights[q])
                _fill(birth, birth.origin - j + left, f, one, columns, degree, x)
                _fill(persistence, persistence.origin - i + low, g, weight, rows, degree, y)
                for i in range(high - low):
                    row = image[low + i][left:]
                    factor = y[i]
                    for j in range(columns):
                        row[j] += factor * x[j]
            _copy(image, descending, images[s])

    return render
