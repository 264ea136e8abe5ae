"""Tabulated cell integrals against the error function, by laws, and across processes."""

from __future__ import annotations

import decimal
import subprocess
import sys
import tracemalloc
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels import image as kernel
from pipeline.kernels.cells import Cells, cell_masses
from pipeline.kernels.half import to_half
from pipeline.kernels.image import Tables, draw, tables
from tests import naive

DOUBLE, SINGLE = np.dtype(np.float64), np.dtype(np.float32)
ACCURACY = {DOUBLE: 2e-14, SINGLE: 5e-7}

positions = st.floats(-3.0, 4.0) | st.integers(-10, 60).map(lambda j: j / 50)
points = st.lists(
    st.tuples(positions, st.floats(0.0, 3.0), st.floats(1e-3, 2.0)), min_size=1, max_size=30
)


def square(pixels: int, sigma: float, dtype: np.dtype, *, legacy: bool = False) -> Tables:
    cells = grid(pixels, legacy)
    prepared = tables(cells, cells, sigma, dtype)
    assert prepared is not None
    return prepared


def grid(pixels: int, legacy: bool = False) -> Cells:
    return Cells(0.0, 1 / (pixels - 1) if legacy else 1 / pixels, 1 / pixels, pixels)


def mass_at_best(cells: Cells, sigma: float) -> float:
    return naive.mass(-cells.width / 2, cells.width / 2, 0.0, sigma)


def images(diagrams: list, prepared: Tables, *, descending: bool = False) -> np.ndarray:
    """Images of diagrams of (birth, persistence, weight) points."""
    rows = np.array([point for diagram in diagrams for point in diagram], float)
    births, persistences, weights = rows.reshape(-1, 3).T.copy()
    offsets = np.cumsum([0, *map(len, diagrams)])
    return draw(births, persistences, offsets, weights, prepared, descending=descending)


def precise_mass(low: float, width: float, mean: float, sigma: float) -> float:
    """Mass of a Gaussian in one cell, of numbers taken as exact: in 400 digits, then rounded.

    Phi(x) = 1/2 + phi(x) (x + x^3 / 3 + x^5 / (3 5) + ...) loses digits in the tail, and has them.
    """
    with decimal.localcontext(prec=400):

        def phi_less_half(x: Decimal) -> Decimal:
            x = min(max(x, Decimal(-45)), Decimal(45))  # the rest is under any float
            total, term, n = Decimal(0), x, 1
            while abs(term) > abs(total) * Decimal("1e-400"):
                total, n = total + term, n + 2
                term *= x * x / n
            return total * (-x * x / 2).exp()

        place, sigma_ = Decimal(low) - Decimal(mean), Decimal(sigma)
        difference = phi_less_half((place + Decimal(width)) / sigma_) - phi_less_half(
            place / sigma_
        )
        return float(difference * Decimal("0.39894228040143267793994605993438"))


@pytest.mark.parametrize("sigma", [3e-4, 0.01, 0.03, 0.1, 1.0, 30.0, 1e3, 1e6, 1e9, 1e100])
@pytest.mark.parametrize("low", [0.0, -10.0 / 3, 20.0, -1000.0])
@pytest.mark.parametrize("width", [1e-9, 0.01, 1.0])
def test_masses_have_full_relative_precision(sigma: float, low: float, width: float) -> None:
    """In the middle, in the tails, and in cells that are thin beside sigma."""
    positions, lower = np.array([0.013, 0.4, 0.9]), low + 0.37 * np.arange(3)
    found = cell_masses(positions, lower, width, sigma)
    within = np.abs(lower - positions[:, None]) < 37 * sigma
    for q, j in zip(*np.nonzero(within), strict=True):
        expected = precise_mass(lower[j], width, positions[q], sigma)
        assert found[q, j] == pytest.approx(expected, rel=1e-12, abs=1e-307)
    assert (found >= 0).all()
    assert (found[np.abs(lower - positions[:, None]) > 40 * sigma + width] == 0).all()


def test_masses_at_any_distance_are_numbers() -> None:
    """Sigma may be as small, and positions as large, as floats are."""
    positions, lower = np.array([-1e308, 0.25, 0.75, 1e308]), np.array([0.0, 0.5])
    for sigma in (1e-320, 1e-300):
        found = cell_masses(positions, lower, 0.5, sigma)
        assert found.tolist() == [[0, 0], [1, 0], [0, 1], [0, 0]]


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
@pytest.mark.parametrize("sigma", [3.5, 0.5, 0.05, 0.013])
@pytest.mark.parametrize("pixels", [4, 7, 50])
@given(diagram=points)
def test_equals_the_error_function(pixels: int, sigma: float, dtype: np.dtype, diagram: list):
    for legacy in (False, True):
        image = images([diagram], square(pixels, sigma, dtype, legacy=legacy))[0]
        cells = grid(pixels, legacy)
        lower = cells.lower + cells.step * np.arange(pixels)
        b, p, w = np.array(diagram).T
        x = cell_masses(b, lower, cells.width, sigma)
        expected = (cell_masses(p, lower, cells.width, sigma) * w[:, None]).T @ x
        brightest = w.sum() * mass_at_best(cells, sigma) ** 2
        # Cells and points are known to a rounding error, which a small sigma magnifies.
        accuracy = ACCURACY[dtype] + 1e-15 / sigma
        assert np.abs(image - expected).max() <= accuracy * brightest


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
@pytest.mark.parametrize("sigma", [0.05, 0.01])
@pytest.mark.parametrize("legacy", [False, True])
def test_images_of_many_points_are_exact_to_rounding(legacy: bool, sigma: float, dtype: np.dtype):
    """At the accuracy that the benchmark claims: a part of the image's own maximum."""
    random = np.random.default_rng(3)
    b, p = random.random((20, 170)), random.exponential(0.1, (20, 170))
    cells = grid(50, legacy)
    lower = cells.lower + cells.step * np.arange(50)
    drawn = images(np.stack([b, p, p], 2).tolist(), square(50, sigma, dtype, legacy=legacy))
    for k, image in enumerate(drawn):
        y = cell_masses(p[k], lower, cells.width, sigma) * p[k, :, None]
        expected = y.T @ cell_masses(b[k], lower, cells.width, sigma)
        assert np.abs(image - expected).max() <= ACCURACY[dtype] * expected.max()


@given(points, st.sampled_from([0.4, 0.05, 0.01]), st.booleans())
def test_equals_the_double_loop(diagram: list, sigma: float, legacy: bool) -> None:
    cells = naive.edges((0, 1), (0, 1), 6, legacy)
    expected = naive.image(diagram[:5], cells, sigma)
    image = images([diagram[:5]], square(6, sigma, DOUBLE, legacy=legacy))[0]
    assert np.allclose(image, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
def test_wide_and_narrow_kernels_agree(dtype: np.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    diagram = np.column_stack([random.uniform(-0.2, 1.2, (200, 2)), random.random(200)]).tolist()
    cells = grid(120)
    found = []
    for limit in (0.0, 1.0):
        monkeypatch.setattr(kernel, "NARROW", limit)
        prepared = tables.__wrapped__(cells, cells, 0.02, dtype)
        found.append((prepared.render.__qualname__, images([diagram], prepared)[0]))
    (wide, one), (narrow, other) = found
    assert "_wide" in wide
    assert "_narrow" in narrow
    assert np.abs(one - other).max() <= ACCURACY[dtype] * one.max()


@pytest.mark.parametrize("sigma", [0.03, 0.005])
def test_the_mass_of_a_point_inside_is_its_weight(sigma: float) -> None:
    cells = Cells(0.0, 1 / 50, 1 / 50, 50)
    prepared = tables(cells, cells, sigma, DOUBLE)
    image = images([[(0.41, 0.57, 3.0)]], prepared)[0]
    assert image.sum() == pytest.approx(3.0, abs=1e-12)
    assert image.min() >= 0


@given(points, points)
def test_images_add(one: list, other: list) -> None:
    prepared = square(50, 0.05, DOUBLE)
    parts = images([one, other, one + other], prepared)
    assert np.allclose(parts[0] + parts[1], parts[2], rtol=0, atol=1e-13 * max(parts[2].max(), 1))


@given(points, st.integers(-10, 10), st.integers(0, 10))
def test_whole_cells_shift_the_image(diagram: list, right: int, up: int) -> None:
    n = 50
    prepared = square(n, 0.03, DOUBLE)
    moved = [(b + right / n, p + up / n, w) for b, p, w in diagram]
    one, other = images([diagram, moved], prepared)
    left = slice(max(-right, 0), n - max(right, 0))
    there = slice(max(right, 0), n - max(-right, 0))
    assert np.allclose(one[: n - up, left], other[up:, there], rtol=0, atol=1e-13)


@given(st.lists(points, min_size=1, max_size=6))
def test_an_image_does_not_depend_on_its_neighbours(diagrams: list) -> None:
    for sigma, pixels in ((0.05, 50), (0.01, 130)):
        prepared = square(pixels, sigma, SINGLE)
        together = images(diagrams, prepared)
        for diagram, image in zip(diagrams, together, strict=True):
            assert np.array_equal(images([diagram], prepared)[0], image)


def test_far_points_and_empty_diagrams_give_zeros() -> None:
    for sigma, pixels in ((0.05, 50), (0.01, 130)):
        far = [(b, p, 1.0) for b in (-1e300, -9.0, 0.5, 9.0, 1e300) for p in (9.0, 1e300)]
        assert not images([far, [], far], square(pixels, sigma, DOUBLE)).any()
    assert images([], square(50, 0.05, DOUBLE)).shape == (0, 50, 50)


def test_descending_rows_are_upside_down() -> None:
    prepared = square(50, 0.05, DOUBLE)
    diagram = [(0.21, 0.71, 1.0), (0.49, 0.09, 2.0)]
    up, down = images([diagram], prepared), images([diagram], prepared, descending=True)
    assert np.array_equal(up[:, ::-1], down)
    assert np.unravel_index(up[0, :20].argmax(), (20, 50)) == (4, 24)  # the brighter point, low


@pytest.mark.parametrize("sigma", [1e-320, 1e-6, 5.0, 1e3, 1e9, 1e308])
def test_very_small_and_very_large_sigma_have_no_tables(sigma: float) -> None:
    assert tables(grid(50), grid(50), sigma, DOUBLE) is None


@pytest.mark.parametrize("width", [0.0, 5e-324, 1e-310])
def test_cells_of_no_width_have_no_tables(width: float) -> None:
    cells = Cells(0.0, width, width, 50)
    assert tables(cells, cells, 1.0, DOUBLE) is None
    assert tables(cells, cells, 1e-320, DOUBLE) is None


def test_tables_are_bounded() -> None:
    """At the most pixels there are and the largest sigma that has tables."""
    cells = grid(1024)
    tracemalloc.start()
    prepared = tables.__wrapped__(cells, cells, 3.8, DOUBLE)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert prepared is not None
    assert prepared.birth.table.nbytes < 8e6
    assert most < 150e6
    assert prepared.error < 1e-13 * mass_at_best(cells, 3.8) ** 2


SECOND = """
import numpy as np
from pipeline.kernels import half, image, path
from pipeline.kernels.cells import Cells
points, offsets = path.path_h0(np.zeros((1, 9)), 0.0)
found = [path._diagrams]
for pixels, sigma in ((50, 0.05), (128, 0.01)):
    cells = Cells(0.0, 1 / pixels, 1 / pixels, pixels)
    tables = image.tables(cells, cells, sigma, np.dtype(np.float64))
    empty = np.empty(0)
    image.draw(empty, empty, np.zeros(2, np.int64), empty, tables, descending=False)
    found.append(tables.render)
half.to_half(np.zeros((1, 2, 2)))
found.append(half._round)
print([sum(f.stats.cache_hits.values()) for f in found])
print([sum(f.stats.cache_misses.values()) for f in found])
"""


@pytest.mark.slow
def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    """Closures over dispatchers would be compiled in every process."""
    said = [
        subprocess.run(
            [sys.executable, "-c", SECOND],
            env={"PYTHONPATH": ".", "NUMBA_CACHE_DIR": str(tmp_path), "PATH": ""},
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\n")[:2]
        for _ in range(2)
    ]
    assert said == [["[0, 0, 0, 0]", "[1, 1, 1, 1]"], ["[1, 1, 1, 1]", "[0, 0, 0, 0]"]]


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
def test_half_precision_is_rounded_as_numpy_does(dtype: np.dtype) -> None:
    """Every float16, every midpoint, and their neighbours on both sides."""
    exact = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(dtype)
    middle = (exact[1:] + exact[:-1]) / 2
    values = np.concatenate([exact, middle])
    neighbours = [np.nextafter(values, dtype.type(end)) for end in (0, 9e9)]
    values = np.concatenate([values, *neighbours])
    values = np.concatenate([values, -values])
    assert np.array_equal(
        to_half(values).view(np.uint16), values.astype(np.float16).view(np.uint16)
    )
