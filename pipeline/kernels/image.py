"""Persistence images with exact cell integrals, many diagrams at a time.

An image is a sum over the points (b, p) of a diagram with weights w,

    image[i, j] = sum  w Y[i] X[j],

where X are the masses that a Gaussian at b has in the cells of the birth axis, and Y those of one
at p in the cells of the persistence axis. Both come from the tables of `pipeline.kernels.cells`,
which says how.

Points are ordered by their persistence cell (counting sort) and taken eight at a time: a rank-8
update of only those image rows that some point of the eight can reach ("wide"). Where a point
reaches less than half of the columns, each point updates its own window instead ("narrow").

An image so drawn is off by at most `Tables.error` times the sum of its weights, and by rounding;
one whose maximum is not well above that has to be drawn from `cell_masses` itself.

Reference: Adams et al., Persistence Images, JMLR 18 (2017), section 4.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pipeline.kernels.cells import DEGREE, Axis, Cells, has_table, lanes, peak, tabulate, window
from pipeline.kernels.jit import compiled, inlined

NARROW = 0.48
"""Windows of at most this part of the columns are drawn point by point (measured)."""


class Tables(NamedTuple):
    """What `draw` needs for one grid and sigma. error: see the module's text."""

    birth: Axis
    persistence: Axis
    shape: tuple[int, int]
    render: Callable[..., None]
    error: float


@functools.lru_cache(maxsize=16)
def tables(birth: Cells, persistence: Cells, sigma: float, dtype: np.dtype) -> Tables | None:
    """Tables and kernel for float64 or float32 images.

    sigma: standard deviation in field units. None where it is under about 1/30 step of an axis,
    or over about 4 times its length: draw from `cell_masses` then.
    """
    if not all(has_table(cells, sigma, dtype) for cells in (birth, persistence)):
        return None
    axes = (birth, persistence)
    windows = [window(cells, sigma, dtype) for cells in axes]
    wholes = [lanes(cells.size, dtype) for cells in axes]
    narrow = windows[0] <= NARROW * wholes[0]
    slides = [narrow or windows[a] <= wholes[a] for a in range(2)]
    spans = [windows[a] if slides[a] else wholes[a] for a in range(2)]
    x_table = tabulate(birth, sigma, dtype, span=spans[0], slides=slides[0])
    y_table = tabulate(persistence, sigma, dtype, span=spans[1], slides=slides[1])
    if x_table is None or y_table is None:
        return None
    (x, x_error), (y, y_error) = x_table, y_table
    make = _narrow if narrow else _wide
    render = make(*wholes, *spans, DEGREE[dtype])
    error = (x_error + y_error) * math.prod(peak(cells, sigma) for cells in (birth, persistence))
    return Tables(x, y, (persistence.size, birth.size), render, error)


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
    images = np.empty((len(offsets) - 1, *tables.shape), tables.birth.table.dtype)
    tables.render(
        births, persistences, offsets, weights, tables.birth, tables.persistence, descending, images
    )
    return images


@inlined
def _locate(position: float, axis: Axis) -> tuple[int, float]:
    """Cell number and fraction of the cell, clamped to the cells that the table knows."""
    place = (position - axis.lower) * axis.inverse_step
    place = min(max(place, axis.first), axis.last)
    cell = math.floor(place)
    return cell, place - cell


@inlined
def _fill(
    axis: Axis, column: int, fraction: float, factor: float, span: int, degree: int, row: np.ndarray
) -> None:
    """row[:span] = factor * masses for that fraction, from that column of the table on.

    span and degree are constants where this is copied to. Slices, and loops from 0: an index that
    might be negative would not become vector code.
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
        for j in range(span):
            row[j] = factor * (((t3[j] * z + t2[j]) * z + t1[j]) * z + t0[j])
    else:
        t4 = powers[4][column:]
        t5 = powers[5][column:]
        for j in range(span):
            row[j] = factor * (
                ((((t5[j] * z + t4[j]) * z + t3[j]) * z + t2[j]) * z + t1[j]) * z + t0[j]
            )


@inlined
def _place(cell: int, axis: Axis, padding: int) -> tuple[int, int]:
    """Column of the table, and of a row with that padding, where masses of such a point begin."""
    if axis.slides:
        return 0, padding + cell - axis.reach
    return axis.last - cell, padding


@inlined
def _clear(row: np.ndarray, count: int) -> None:
    """row[:count] = 0; count is a constant where this is copied to."""
    for j in range(count):
        row[j] = 0


@compiled
def _sort_by_cell(
    births: np.ndarray,
    persistences: np.ndarray,
    birth: Axis,
    persistence: Axis,
    cells: np.ndarray,
    starts: np.ndarray,
    order: np.ndarray,
) -> int:
    """Number of points that reach any cell, and in `order` those points by persistence cell.

    A counting sort, so it is stable. cells (n,): persistence cell of each point. starts is scratch.
    """
    starts[:] = 0
    for q in range(len(births)):
        column, _ = _locate(births[q], birth)
        cell, _ = _locate(persistences[q], persistence)
        if column == birth.first or column == birth.last or cell == persistence.last:
            cell = persistence.first
        cells[q] = cell
        starts[cell - persistence.first + 1] += 1
    nowhere = starts[1]
    starts[1] = 0
    for c in range(1, len(starts) - 1):
        starts[c + 1] += starts[c]
    for q in range(len(births)):
        c = cells[q] - persistence.first
        if c > 0:
            order[starts[c]] = q
            starts[c] += 1
    return int(len(births) - nowhere)


@compiled
def _copy(image: np.ndarray, zero: int, descending: bool, out: np.ndarray) -> None:
    """The image, whose first column is `zero`, without its padding; rows upside down if asked.

    Tables are off by a rounding error, so a mass next to nothing may come out negative: it is 0.
    """
    rows, columns = out.shape
    nothing = out.dtype.type(0)
    for i in range(rows):
        source = image[rows - 1 - i if descending else i][zero:]
        target = out[i]
        for j in range(columns):
            target[j] = max(source[j], nothing)


@functools.cache
def _wide(width: int, height: int, x_span: int, y_span: int, degree: int) -> Callable[..., None]:
    """The kernel for width columns and height rows, of which a point has x_span and y_span masses.

    These are constants in its loops. Masses have room for the windows of all points that reach the
    image, on both sides. Columns of x are unsigned, since numba looks at every other index for
    whether it is negative.
    """
    first = np.uint64(x_span)

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
        x = np.zeros((8, x_span + width + x_span), images.dtype)
        y = np.zeros((8, y_span + height + y_span), images.dtype)
        for s in range(len(offsets) - 1):
            b = births[offsets[s] : offsets[s + 1]]
            p = persistences[offsets[s] : offsets[s + 1]]
            w = weights[offsets[s] : offsets[s + 1]]
            count = _sort_by_cell(b, p, birth, persistence, cells, starts, order)
            image[:] = 0
            for block in range(0, count, 8):
                end = min(block + 8, count)
                low = max(cells[order[block]] - persistence.reach, 0)
                high = min(cells[order[end - 1]] + persistence.reach + 1, rows)
                for t in range(8):
                    _clear(x[t][x_span:], width)
                    _clear(y[t][y_span:], height)
                    if block + t < end:
                        q = order[block + t]
                        weight = images.dtype.type(w[q])
                        j, f = _locate(b[q], birth)
                        column, left = _place(j, birth, x_span)
                        _fill(birth, column, f, one, x_span, degree, x[t][left:])
                        i, f = _locate(p[q], persistence)
                        column, left = _place(i, persistence, y_span)
                        _fill(persistence, column, f, weight, y_span, degree, y[t][left:])
                for i in range(low, high):
                    row = image[i]
                    y0 = y[0, y_span + i]
                    y1 = y[1, y_span + i]
                    y2 = y[2, y_span + i]
                    y3 = y[3, y_span + i]
                    y4 = y[4, y_span + i]
                    y5 = y[5, y_span + i]
                    y6 = y[6, y_span + i]
                    y7 = y[7, y_span + i]
                    for place in range(np.uint64(width)):
                        k = first + place
                        row[place] += (
                            y0 * x[0, k] + y1 * x[1, k] + y2 * x[2, k] + y3 * x[3, k]
                        ) + (y4 * x[4, k] + y5 * x[5, k] + y6 * x[6, k] + y7 * x[7, k])
            _copy(image, 0, descending, images[s])

    return render


@functools.cache
def _narrow(width: int, height: int, x_span: int, y_span: int, degree: int) -> Callable[..., None]:
    """The kernel in which a point updates a window of x_span columns and at most y_span rows.

    The image has room for the windows of all points that reach it, on both sides.
    """

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
        padded = np.zeros((rows, x_span + width + x_span), images.dtype)
        x = np.empty(x_span, images.dtype)
        y = np.empty(y_span, images.dtype)
        for s in range(len(offsets) - 1):
            for i in range(rows):
                row = padded[i][x_span:]
                for j in range(width):
                    row[j] = 0
            for q in range(offsets[s], offsets[s + 1]):
                j, f = _locate(births[q], birth)
                i, g = _locate(persistences[q], persistence)
                bottom = i - persistence.reach
                low = max(bottom, 0)
                high = min(i + persistence.reach + 1, rows)
                if high <= low or j == birth.first or j == birth.last:
                    continue
                _fill(birth, 0, f, one, x_span, degree, x)
                _fill(persistence, 0, g, images.dtype.type(weights[q]), y_span, degree, y)
                left = x_span + j - birth.reach
                for i in range(low, high):
                    row = padded[i][left:]
                    factor = y[i - bottom]
                    for j in range(x_span):
                        row[j] += factor * x[j]
            _copy(padded, x_span, descending, images[s])

    return render
