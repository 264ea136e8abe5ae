"""Masses of Gaussians in the cells of an axis, on any device, with their derivatives.

A cell j of width d begins at lower + j h. Of a Gaussian of deviation sigma at b it holds the mass

    X[j] = Phi(z[j] + d / sigma) - Phi(z[j]),    z[j] = (j - place) h / sigma,

where place = (b - lower) / h is b in steps of the axis, and Phi the standard normal distribution
function. Float64 masses are computed from `erfc`, on the side where nothing cancels. Float32 ones
are read from a table: place is cut in a whole number k and pieces of its fraction, and for each
(k, piece) a row of masses is a polynomial, the sum of a few table rows (`embedding_bag`).
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from pi_cache.axes import cell_width, lower_edges
from pi_cache.specs import ImageSpec

DEGREE = 3
"""Of the polynomials; a row costs in proportion, a finer cut of the fraction costs only memory."""
TOLERANCE = 1e-10
"""Largest error of a tabulated mass, as a part of the largest mass."""
CUT = 6.5
"""Deviations beyond which a tabulated mass is zero."""
MOST_PIECES = 256
MOST_VALUES = 2**21
"""Of a table; a larger one would be slower to read than `erfc` is to compute."""
THIN = 0.25
"""Where a cell is thinner, in deviations, Phi at its ends would lose digits in the difference."""
FAR = 1e15
"""Steps from the axis beyond which a point is as good as at that distance."""
NODES = (0.0, math.sqrt(5 - 2 * math.sqrt(10 / 7)) / 6, math.sqrt(5 + 2 * math.sqrt(10 / 7)) / 6)
NODE_WEIGHTS = (64 / 225, (322 + 13 * math.sqrt(70)) / 1800, (322 - 13 * math.sqrt(70)) / 1800)
"""Gauss-Legendre rule of five nodes for -1/2..1/2; the last two stand for a pair each."""


class Cells(NamedTuple):
    """Cells [lower + j step, lower + j step + width], j < size, of one axis.

    descending: cell 0 is the last one delivered.
    """

    lower: float
    step: float
    width: float
    size: int
    descending: bool


def cells_of(spec: ImageSpec, axis: str) -> Cells:
    """The cells of the axis `birth` or `persistence`, delivered in stored order."""
    edges, width = lower_edges(spec, axis), cell_width(spec, axis)
    step = float(edges[-1] - edges[0]) / (spec.pixels - 1) if spec.pixels > 1 else width
    descending = axis == "persistence" and spec.row_order == "descending"
    return Cells(float(edges[0]), step, width, spec.pixels, descending)


def peak(cells: Cells, sigma: float) -> float:
    """Mass in a cell of the Gaussian at its centre, the largest that there is."""
    return math.erf(cells.width / sigma / math.sqrt(8))


def exact_masses(place: Tensor, cells: Cells, sigma: float) -> Tensor:
    """(..., size) masses of Gaussians at `place` (...), in its dtype.

    Each has full relative precision, in far tails and in thin cells too.
    """
    thickness = cells.width / sigma
    low = _deviations(place, cells, sigma, place.dtype)
    masses = _difference(low, low + thickness)
    if thickness < THIN:
        centre = low + thickness / 2
        masses = torch.where(centre.abs() * thickness < THIN, _thin(centre, thickness), masses)
    return masses.flip(-1) if cells.descending else masses


def _deviations(place: Tensor, cells: Cells, sigma: float, dtype: torch.dtype) -> Tensor:
    """(..., size) lower ends of the cells, ascending, in deviations from each place.

    The fraction is split off first: what is left of it is exact in float32 too.
    """
    whole = place.floor()
    numbers = torch.arange(cells.size, device=place.device, dtype=dtype)
    steps = numbers - whole.to(dtype)[..., None]
    return steps.sub_((place - whole).to(dtype)[..., None]).mul_(cells.step / sigma)


def _difference(low: Tensor, high: Tensor) -> Tensor:
    """Phi(high) - Phi(low) from the two tails, which are small on the side that counts."""
    lower, upper = _tail(low), _tail(high)
    across = (low <= 0) & (high > 0)
    return torch.where(across, 1 - lower - upper, (lower - upper).abs())


def _tail(deviations: Tensor) -> Tensor:
    return torch.erfc(deviations.abs() * math.sqrt(0.5)) / 2


def _thin(centre: Tensor, thickness: float) -> Tensor:
    """Integral of the normal density over `thickness` around each centre."""
    total = NODE_WEIGHTS[0] * _density(centre)
    for node, weight in zip(NODES[1:], NODE_WEIGHTS[1:], strict=True):
        away = node * thickness
        total = total + weight * (_density(centre + away) + _density(centre - away))
    return total * thickness


def _density(deviations: Tensor) -> Tensor:
    return torch.exp(-(deviations**2) / 2) / math.sqrt(2 * math.pi)


class Table(NamedTuple):
    """Masses of one axis as polynomials of the place within a piece, -1..1.

    rows: (whole numbers * pieces * (DEGREE + 1), size) float32. first, last: whole numbers of the
    table; a point there or beyond reaches no cell. error: the largest, as a part of the peak.
    """

    rows: Tensor
    first: int
    last: int
    pieces: int
    error: float


@functools.lru_cache(maxsize=16)
def tabulate(cells: Cells, sigma: float, device: torch.device) -> Table | None:
    """The table of an axis; None where none of a reasonable size is close enough."""
    span = CUT * sigma / cells.step if cells.step else math.inf
    if span * cells.size * (DEGREE + 1) > MOST_VALUES:
        return None
    reach = max(1, math.ceil(span + cells.width / cells.step))
    whole = cells.size + 2 * reach + 2
    pieces = 1
    while pieces <= MOST_PIECES and whole * pieces * (DEGREE + 1) * cells.size <= MOST_VALUES:
        powers, error = _fit(cells, sigma, reach, pieces)
        if error <= TOLERANCE:
            rows = _expand(powers, cells, reach).to(device, torch.float32)
            return Table(rows, -reach - 1, cells.size + reach, pieces, error)
        pieces *= 2
    return None


def _fit(cells: Cells, sigma: float, reach: int, pieces: int) -> tuple[Tensor, float]:
    """(pieces, DEGREE + 1, offsets -reach..reach) coefficients, and the error between nodes.

    offset: of a cell from the whole number of a point. Fitted at Chebyshev nodes.
    """
    count = DEGREE + 1
    nodes = torch.cos(math.pi * (torch.arange(count, dtype=torch.float64) + 0.5) / count)
    between = torch.cos(math.pi * torch.arange(2 * count + 1, dtype=torch.float64) / (2 * count))
    around = Cells(0.0, cells.step, cells.width, 2 * reach + 1, False)

    def masses(positions: Tensor) -> Tensor:
        starts = torch.arange(pieces, dtype=torch.float64)[:, None]
        return exact_masses((starts + (positions + 1) / 2) / pieces + reach, around, sigma)

    powers = torch.linalg.solve(_powers(nodes), masses(nodes))
    error = (_powers(between) @ powers - masses(between)).abs().max()
    return powers, float(error) / peak(cells, sigma)


def _powers(positions: Tensor) -> Tensor:
    """(..., DEGREE + 1) powers 0, 1, ... of positions (...)."""
    squares = positions * positions
    return torch.stack((torch.ones_like(positions), positions, squares, squares * positions), -1)


def _expand(powers: Tensor, cells: Cells, reach: int) -> Tensor:
    """(whole * pieces * (DEGREE + 1), size): the masses of all cells, for each whole number."""
    size = cells.size
    padded = torch.nn.functional.pad(powers, (size, size))
    # Cell j is at the offset j - k from the whole number k, and so in column j - k + reach + size.
    windows = padded.unfold(-1, size, 1).flip(-2)  # (pieces, powers, k ascending, size)
    rows = windows.permute(2, 0, 1, 3)
    if cells.descending:
        rows = rows.flip(-1)
    return rows.reshape(-1, size).contiguous()


def tabulated_masses(place: Tensor, weights: Tensor | None, table: Table) -> Tensor:
    """(n, size) float32 masses of Gaussians at `place` (n,), times weights (n,) where given."""
    place = place.clamp(table.first, table.last)
    whole = place.floor()
    within = (place - whole) * table.pieces
    piece = within.floor()
    powers = _powers((2 * (within - piece) - 1).float())  # (n, DEGREE + 1)
    if weights is not None:
        powers = powers * weights[:, None]
    row = ((whole - table.first) * table.pieces + piece).to(torch.int32) * (DEGREE + 1)
    numbers = torch.arange(DEGREE + 1, dtype=torch.int32, device=place.device)
    return embedding_bag(row[:, None] + numbers, table.rows, mode="sum", per_sample_weights=powers)


class Masses(torch.autograd.Function):
    """Masses with the derivatives by place and sigma that the formula gives."""

    @staticmethod
    def forward(
        context: Any, place: Tensor, sigma: Tensor, cells: Cells, dtype: torch.dtype
    ) -> Tensor:
        context.save_for_backward(place, sigma)
        context.cells = cells
        return masses_of(place, None, cells, sigma.item(), dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """dX/dplace = (phi(low) - phi(high)) h / sigma.

        dX/dsigma = (low phi(low) - high phi(high)) / sigma.
        """
        place, sigma = context.saved_tensors
        cells, width = context.cells, sigma.item()
        low = _deviations(place, cells, width, gradient.dtype)
        high = low + cells.width / width
        low_density, high_density = _density(low), _density(high)
        if cells.descending:
            gradient = gradient.flip(-1)
        by_place = by_sigma = None
        if context.needs_input_grad[0]:
            by_place = (gradient * (low_density - high_density)).sum(-1) * (cells.step / width)
            by_place = by_place.to(place.dtype)
        if context.needs_input_grad[1]:
            by_sigma = (gradient * (low * low_density - high * high_density)).sum() / width
            by_sigma = by_sigma.to(sigma.dtype)
        return by_place, by_sigma, None, None


def masses_of(
    place: Tensor, weights: Tensor | None, cells: Cells, sigma: float, dtype: torch.dtype
) -> Tensor:
    """(n, size) masses of `dtype` of Gaussians at `place` (n,), times weights (n,) where given."""
    table = tabulate(cells, sigma, place.device) if dtype == torch.float32 else None
    if table is not None:
        return tabulated_masses(place, weights, table)
    masses = exact_masses(place, cells, sigma)
    return (masses if weights is None else masses * weights[:, None]).to(dtype)
