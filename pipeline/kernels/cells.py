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
from scipy.special import erf, ndtr

DEGREE = {np.dtype(np.float64): 5, np.dtype(np.float32): 3}
TOLERANCE = {np.dtype(np.float64): 2e-14, np.dtype(np.float32): 2e-10}
"""Largest error of a tabulated mass, as a part of the largest mass."""
CUT = {np.dtype(np.float64): 8.3, np.dtype(np.float32): 6.5}
MOST_PIECES = 1024
"""More would make tables of megabytes, slower to read than the normal distribution."""
MOST_REACH = 32
"""Largest reach, in sizes of the axis: tables grow with sigma, and such an image is nearly flat."""
SMALLEST_STEP = 1e-300
"""Under it 1 / step is not a number to count on."""
THIN = 0.25
"""Where a cell is thinner, in deviations, Phi at its ends would lose digits in the difference."""
NODES, NODE_WEIGHTS = (values / 2 for values in np.polynomial.legendre.leggauss(5))
"""Gauss-Legendre rule for -1/2..1/2: relative error 4e-16 for the density in a thin cell."""
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
    of the powers of the place within a piece, -1..1. Its columns, and `slides`, are those of
    `tabulate`.
    """

    lower: float
    inverse_step: float
    first: int
    last: int
    reach: int
    slides: bool
    table: np.ndarray


def cell_masses(positions: np.ndarray, lower: np.ndarray, width: float, sigma: float) -> np.ndarray:
    """Mass of a Gaussian at each position in each cell: (n,), (c,) -> (n, c).

    lower: lower edges of the cells. Every mass has full relative precision, in far tails and in
    cells that are thin beside sigma: where Phi hardly changes across the cell, the density is
    integrated; elsewhere Phi is subtracted on the side of the Gaussian without cancellation.
    """
    thickness = width / sigma
    # Infinitely many deviations away is an answer.
    with np.errstate(over="ignore", invalid="ignore"):
        place = lower - positions[:, None]  # (n, c)
        low = place / sigma
        high = low + thickness if math.isfinite(thickness) else (place + width) / sigma
        flat = np.abs(low + thickness / 2) * thickness < THIN if thickness < THIN else None
    if flat is None or not flat.any():
        return _difference(low, high)
    if flat.all():
        return _integral(low + thickness / 2, thickness)
    masses: np.ndarray = np.empty_like(low)
    masses[flat] = _integral(low[flat] + thickness / 2, thickness)
    masses[~flat] = _difference(low[~flat], high[~flat])
    return masses


def _difference(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Phi(high) - Phi(low), on the side where both are small."""
    right = low > 0
    masses: np.ndarray = ndtr(np.where(right, -low, high)) - ndtr(np.where(right, -high, low))
    return masses


def _integral(centre: np.ndarray, thickness: float) -> np.ndarray:
    """Integral of the normal density over thickness around each centre."""
    density = np.zeros_like(centre)
    for node, weight in zip(NODES, NODE_WEIGHTS, strict=True):
        density += weight * np.exp(-((centre + node * thickness) ** 2) / 2)
    density *= thickness / math.sqrt(2 * math.pi)
    return density


def peak(cells: Cells, sigma: float) -> float:
    """Mass in a cell of the Gaussian at its centre, the largest that there is."""
    return float(erf(cells.width / sigma / math.sqrt(8)))


def lanes(count: int, dtype: np.dtype) -> int:
    """The count rounded up to whole 64-byte vectors."""
    lane = 64 // dtype.itemsize
    return -(-count // lane) * lane


def has_table(cells: Cells, sigma: float, dtype: np.dtype) -> bool:
    """Whether a table has a reasonable reach; with sigma over 4 times the axis it has not."""
    longest = MOST_REACH * cells.size * cells.step
    return cells.step > SMALLEST_STEP and CUT[dtype] * sigma <= longest


def reach_of(cells: Cells, sigma: float, dtype: np.dtype) -> int:
    """Largest offset at which a mass counts. The axis `has_table`."""
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
    table = _aligned((*powers.shape[:2], columns), dtype)
    table[:, :, begin : begin + 2 * reach + 1] = powers
    return Axis(cells.lower, 1 / cells.step, first, last, reach, slides, table), error


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Zeros that begin at a multiple of 64 bytes: no vector lies in two lines of the cache."""
    size = math.prod(shape) * dtype.itemsize
    room = np.zeros(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype).reshape(shape)


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
    pieces = 1
    while pieces <= MOST_PIECES:
        starts = np.arange(pieces)[:, None]
        powers = fit @ masses((starts + (nodes + 1) / 2) / pieces)  # (pieces, degree + 1, offset)
        difference = check @ powers - masses((starts + (between + 1) / 2) / pieces)
        error = float(np.abs(difference).max()) / peak(cells, sigma)
        if error <= TOLERANCE[dtype]:
            cut = masses(np.array([0.0, 1.0]))[:, [0, -1]].max() / peak(cells, sigma)
            return powers[:, :, 1:-1], error + float(cut)
        pieces *= 2
    return None
