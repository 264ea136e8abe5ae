"""Masses of Gaussians in the cells of an axis: exactly, and from a small table.

A cell of width d begins at x_j = lower + j h (h is the step; h = d where cells tile the axis). Of a
Gaussian of deviation sigma at b it holds the mass

    X[j] = Phi((x_j + d - b) / sigma) - Phi((x_j - b) / sigma),

Phi the standard normal distribution function. With b = lower + (k + f) h, k whole and 0 <= f < 1,

    X[j] = D(j - k, f),    D(u, f) = Phi(((u - f) h + d) / sigma) - Phi((u - f) h / sigma)

depends on the offset u = j - k and on the fraction f only. The unit interval of f is cut in equal
pieces, and for each piece and each offset D is a polynomial in f (through Chebyshev nodes), as
close as `TOLERANCE` allows. Further than `CUT` deviations from the point D is left at zero. So a
row of masses is a few fused multiply-adds over contiguous slices, and no Gaussian is evaluated.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

DEGREE = {np.dtype(np.float64): 5, np.dtype(np.float32): 3}
TOLERANCE = {np.dtype(np.float64): 2e-14, np.dtype(np.float32): 2e-10}
"""Largest error of a tabulated mass, as a part of the largest mass."""
CUT = {np.dtype(np.float64): 8.3, np.dtype(np.float32): 6.5}
MOST_PIECES = 1024
"""More would make tables of megabytes, slower to read than the normal distribution."""
SHORTEST = 48
"""Columns of a row, at least: shorter loops are unrolled, and then do not become vector code."""


class Cells(NamedTuple):
    """Cells [lower + j step, lower + j step + width], j < size, of one axis; width <= step."""

    lower: float
    step: float
    width: float
    size: int


class Axis(NamedTuple):
    """Tabulated masses of one axis.

    first, last: a point in one of these cells reaches none; positions are clamped to them.
    reach: masses are zero at offsets beyond it. table: (pieces, degree + 1, columns), coefficients
    of the powers of the place within a piece, -1..1. Its columns are those of `tabulate`.
    """

    lower: float
    inverse_step: float
    first: int
    last: int
    reach: int
    table: np.ndarray


def cell_masses(positions: np.ndarray, lower: np.ndarray, width: float, sigma: float) -> np.ndarray:
    """Mass of a Gaussian at each position in each cell: (n,), (c,) -> (n, c).

    lower: lower edges of the cells. Taken as a difference on the side of the Gaussian without
    cancellation, so that far tails have full relative precision.
    """
    low = (lower - positions[:, None]) / sigma  # (n, c)
    high = low + width / sigma
    right = low > 0
    masses: np.ndarray = ndtr(np.where(right, -low, high)) - ndtr(np.where(right, -high, low))
    return masses


def peak(cells: Cells, sigma: float) -> float:
    """Mass in a cell of the Gaussian at its centre, the largest that there is."""
    return 2 * float(ndtr(cells.width / (2 * sigma))) - 1


def lanes(count: int, dtype: np.dtype) -> int:
    """The count rounded up to whole 64-byte vectors."""
    lane = 64 // dtype.itemsize
    return -(-count // lane) * lane


def reach_of(cells: Cells, sigma: float, dtype: np.dtype) -> int:
    """Largest offset at which a mass counts."""
    return max(1, math.ceil(CUT[dtype] * sigma / cells.step))


def window(cells: Cells, sigma: float, dtype: np.dtype) -> int:
    """Columns for all masses of one point that count."""
    return lanes(max(2 * reach_of(cells, sigma, dtype) + 1, SHORTEST), dtype)


def tabulate(
    cells: Cells, sigma: float, dtype: np.dtype, *, span: int, slides: bool
) -> tuple[Axis, float] | None:
    """The table of an axis, and its largest error as a part of the peak.

    sigma: standard deviation in field units. A row of masses is read as `span` columns. With
    slides, they begin with column 0, for offset -reach, and the row slides along the cells: aligned
    loads from a table that stays in the cache. Without, the row stays, and for a point in cell k
    they begin with column last - k, for cell 0.

    None where sigma is under about 1/30 step: no reasonable table is close enough.
    """
    fitted = _fit(cells, sigma, dtype)
    if fitted is None:
        return None
    powers, error = fitted  # powers: (pieces, degree + 1, offsets -reach..reach)
    reach = reach_of(cells, sigma, dtype)
    first, last = -reach - 1, cells.size + reach
    columns, begin = (span, 0) if slides else (last - first + span, last - reach)
    table = np.zeros((*powers.shape[:2], columns), dtype)
    table[:, :, begin : begin + 2 * reach + 1] = powers
    return Axis(cells.lower, 1 / cells.step, first, last, reach, table), error


def _fit(cells: Cells, sigma: float, dtype: np.dtype) -> tuple[np.ndarray, float] | None:
    """Coefficients for as many pieces as it takes, and the largest error between nodes."""
    degree = DEGREE[dtype]
    reach = reach_of(cells, sigma, dtype)
    lower = np.arange(-reach - 1, reach + 2) * cells.step

    def masses(fractions: np.ndarray) -> np.ndarray:
        found = cell_masses(fractions.ravel() * cells.step, lower, cells.width, sigma)
        return found.reshape(*fractions.shape, len(lower))

    nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    between = np.cos(np.pi * np.arange(2 * degree + 3) / (2 * degree + 2))
    fit = np.linalg.inv(np.vander(nodes, increasing=True))  # values at the nodes -> coefficients
    check = np.vander(between, degree + 1, increasing=True)
    # Differences of Phi are rounded to about 1e-16, whatever they are.
    tolerance = max(TOLERANCE[dtype], 4e-16 / peak(cells, sigma))
    pieces = 1
    while pieces <= MOST_PIECES:
        starts = np.arange(pieces)[:, None]
        powers = fit @ masses((starts + (nodes + 1) / 2) / pieces)  # (pieces, degree + 1, offset)
        difference = check @ powers - masses((starts + (between + 1) / 2) / pieces)
        error = float(np.abs(difference).max()) / peak(cells, sigma)
        if error <= tolerance:
            cut = masses(np.array([0.0, 1.0]))[:, [0, -1]].max() / peak(cells, sigma)
            return powers[:, :, 1:-1], error + float(cut)
        pieces *= 2
    return None
