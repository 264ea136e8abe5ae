"""Images by their spec: against persim, gudhi's conventions, published images, and by laws."""

from __future__ import annotations

import io
import math
import tarfile
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat

from pi_cache.axes import cell_width, lower_edges
from pi_cache.errors import InvalidSpec, SampleError
from pi_cache.specs import ImageSpec, Status
from pipeline import images
from pipeline.images import (
    block_of,
    draw,
    normalise,
    quantise,
    render,
    select,
)
from pipeline.kernels.path import path_h0
from tests import naive
from tests.pipeline.test_image_kernel import precise_mass
from tests.shared import shared_data

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from persim import PersImage, PersistenceImager

INF = np.inf
births = st.floats(-0.5, 1.5)
points = st.lists(st.tuples(births, st.floats(0.0, 1.5)), max_size=20).map(
    lambda pairs: [(birth, birth + persistence) for birth, persistence in pairs]
)
diagrams = st.lists(points, min_size=1, max_size=4)


def ragged(parts: list) -> tuple[np.ndarray, np.ndarray]:
    """Points and offsets of lists of (birth, death)."""
    rows = [point for part in parts for point in part]
    return np.array(rows, float).reshape(-1, 2), np.cumsum([0, *map(len, parts)])


def image(part: list, spec: ImageSpec) -> np.ndarray:
    """The raw image of one diagram."""
    return raw([part], spec)[0]


def raw(parts: list, spec: ImageSpec) -> np.ndarray:
    """Images of some diagrams before they are normalised."""
    return draw(select(*ragged(parts), spec), spec)


def noisy(seed: int, size: int = 100) -> np.ndarray:
    """A diagram of births in 0..1 and small persistences."""
    random = np.random.default_rng(seed)
    birth = random.random(size)
    return np.column_stack([birth, birth + random.exponential(0.1, size)])


# --- Definition --------------------------------------------------------------------------------

SPECS = {
    "default": ImageSpec(pixels=8),
    "unit weights": ImageSpec(pixels=8, weight="one", threshold=0.1),
    "power": ImageSpec(pixels=8, weight="power:1.5"),
    "relative": ImageSpec(pixels=8, weight="relative", threshold=0.2),
    "other ranges": ImageSpec(pixels=8, birth_range=(-1, 2), persistence_range=(0.1, 0.9)),
    "legacy": ImageSpec(pixels=8, birth_range=(-0.7, 1), grid="legacy-persim", weight="relative"),
    "one pixel": ImageSpec(pixels=1),
    "one legacy pixel": ImageSpec(pixels=1, grid="legacy-persim"),
    "sharp": ImageSpec(pixels=8, sigma=1e-4),
    "descending": ImageSpec(pixels=8, row_order="descending"),
}


def obvious(part: list, spec: ImageSpec) -> np.ndarray:
    drawn = [(b, d - b) for b, d in part if d - b > spec.threshold]
    largest = max((p for _, p in drawn), default=0.0)
    weigh = {"one": lambda p: 1, "linear": lambda p: p, "relative": lambda p: p / largest}
    weight = weigh.get(spec.weight, lambda p: p**spec.weight_power)
    cells = naive.edges(
        spec.birth_range, spec.persistence_range, spec.pixels, spec.grid == "legacy-persim"
    )
    found = naive.image([(b, p, weight(p)) for b, p in drawn], cells, spec.sigma)
    return found[::-1] if spec.row_order == "descending" else found


@pytest.mark.parametrize("name", SPECS)
@settings(deadline=None, max_examples=25)
@given(parts=diagrams)
def test_equals_the_double_loop(name: str, parts: list) -> None:
    spec = SPECS[name]
    drawn = raw(parts, spec)
    assert drawn.shape == (len(parts), spec.pixels, spec.pixels)
    assert drawn.dtype == np.float64
    for part, found in zip(parts, drawn, strict=True):
        expected = obvious(part, spec)
        # The position of an edge is known to a rounding error, magnified by a small sigma.
        tolerance = 1e-13 + 1e-15 / spec.sigma
        assert np.allclose(found, expected, rtol=1e-9 + tolerance, atol=tolerance)


@given(diagrams)
def test_single_precision_is_close_to_double(parts: list) -> None:
    spec = ImageSpec()
    single = raw(parts, spec.replace(precision="float32"))
    assert single.dtype == np.float32
    double = raw(parts, spec)
    assert np.allclose(single, double, rtol=0, atol=1e-6 * max(1e-30, double.max()))


def test_axes_of_both_grids() -> None:
    regular = ImageSpec(pixels=4, birth_range=(-1, 1), persistence_range=(0, 2))
    assert lower_edges(regular, "birth").tolist() == [-1, -0.5, 0, 0.5]
    assert lower_edges(regular, "persistence").tolist() == [0, 0.5, 1, 1.5]
    assert cell_width(regular, "birth") == cell_width(regular, "persistence") == 0.5
    legacy = ImageSpec(pixels=3, birth_range=(-1, 1), grid="legacy-persim")
    assert lower_edges(legacy, "birth").tolist() == [-1, 0, 1]
    assert lower_edges(legacy, "persistence").tolist() == [0, 0.5, 1]
    assert cell_width(legacy, "birth") == cell_width(legacy, "persistence") == 1 / 3


def test_a_legacy_grid_has_gaps_in_which_points_vanish() -> None:
    """Range -1..1 in 64 pixels: half of the birth axis belongs to no cell."""
    spec = ImageSpec(pixels=64, birth_range=(-1, 1), sigma=1e-3, grid="legacy-persim", weight="one")
    width = cell_width(spec, "birth")
    persistence = lower_edges(spec, "persistence")[9] + width / 2
    inside = lower_edges(spec, "birth")[20] + width / 2
    between = lower_edges(spec, "birth")[20] + width * 1.5
    assert image([(inside, inside + persistence)], spec).sum() == pytest.approx(1, abs=1e-9)
    assert image([(between, between + persistence)], spec).sum() < 1e-9


# --- Which points are drawn --------------------------------------------------------------------


def test_the_threshold_is_strict() -> None:
    spec = ImageSpec(threshold=0.25)
    assert not image([(0.0, 0.25)], spec).any()
    assert image([(0.0, 0.2501)], spec).any()


def test_essential_classes_are_dropped_or_clipped() -> None:
    part = [(0.2, 0.5), (0.1, INF)]
    assert np.array_equal(image(part, ImageSpec()), image(part[:1], ImageSpec()))
    clipped = ImageSpec(essential="clip:0.9")
    assert np.array_equal(image(part, clipped), image([part[0], (0.1, 0.9)], ImageSpec()))
    # Born beyond the clip value: nothing to draw, not a life of negative length.
    assert np.array_equal(image([(0.95, INF)], clipped), np.zeros((50, 50)))


def test_superlevel_diagrams_are_drawn_by_their_length() -> None:
    """Births above deaths; the essential class dies at minus infinity."""
    spec = ImageSpec(essential="clip:0")
    drawn = image([(0.8, 0.5), (0.9, -INF)], spec)
    assert np.allclose(drawn, image([(0.8, 1.1), (0.9, 1.8)], spec), rtol=0, atol=1e-14)


def test_relative_weights_count_points_outside_the_window() -> None:
    spec = ImageSpec(weight="relative", sigma=0.02)
    inside, outside = (0.5, 0.9), (0.5, 8.5)
    part = image([inside, outside], spec)
    assert np.allclose(part, image([inside], spec) * (0.4 / 8), rtol=1e-12)


@given(diagrams)
def test_offsets_may_begin_within_the_points(parts: list) -> None:
    spec = ImageSpec(weight="relative")
    rows, offsets = ragged([noisy(0).tolist(), *parts])
    assert np.array_equal(draw(select(rows, offsets[1:], spec), spec), raw(parts, spec))


# --- Faint images ------------------------------------------------------------------------------

TGD = ImageSpec(
    birth_range=(0, 0.3), persistence_range=(0, 0.3), sigma=0.01, threshold=0.02,
    grid="legacy-persim", weight="relative",
)  # fmt: skip


@pytest.mark.parametrize("birth", [0.32, 0.38, 0.40, 0.45, 0.5, 0.6, 0.66])
@pytest.mark.parametrize("grid", ["legacy-persim", "regular"])
def test_dust_is_normalised_by_its_own_maximum_exactly(birth: float, grid: str) -> None:
    """All points lie outside the window, and what reaches it may be as little as 1e-300."""
    spec = TGD.replace(grid=grid)
    part = [(birth, birth + 0.1), (birth + 0.01, birth + 0.4)]
    cells = naive.edges(spec.birth_range, spec.persistence_range, 50, grid == "legacy-persim")
    expected = naive.image([(birth, 0.1, 0.1 / 0.39), (birth + 0.01, 0.39, 1)], cells, spec.sigma)
    assert 0 < expected.max() < 0.1
    found = normalise(raw([part], spec), spec)[0]
    assert np.allclose(found, expected / expected.max(), rtol=1e-8, atol=1e-10)


def test_what_underflows_is_zero_and_stays_zero() -> None:
    assert not render(*ragged([[(0.99, 1.2)], [], [(5.0, 9.0)]]), TGD).any()


def test_dust_beside_a_heavy_diagram_is_exact_too() -> None:
    """Whether an image is faint is judged by its own weights."""
    spec = TGD.replace(weight="power:8", threshold=0.001)
    dust, heavy = [(0.39, 0.392)], [(0.1, 1e6)]
    alone, beside = raw([dust], spec)[0], raw([heavy, dust, heavy], spec)[1]
    assert np.array_equal(alone, beside)
    assert normalise(alone[None], spec).max() == 1


def test_a_floor_puts_dust_out() -> None:
    part = [(0.5, 0.6)]
    assert render(*ragged([part]), TGD).max() == 1
    assert not render(*ragged([part]), TGD.replace(floor=1e-12)).any()


def test_a_point_in_a_gap_of_the_cells_hides_nobody() -> None:
    """Between two legacy cells it is 78 deviations from both; the other one is 14 from a cell."""
    spec = ImageSpec(pixels=64, birth_range=(-1, 1), sigma=1e-4, grid="legacy-persim", weight="one")
    width = cell_width(spec, "birth")
    gap = lower_edges(spec, "birth")[20] + width * 1.5
    dust = lower_edges(spec, "birth")[-1] + width + 14e-4
    expected = image([(dust, dust + 0.5)], spec)
    assert 0 < expected.max() < 1e-40
    assert np.array_equal(image([(gap, gap + 0.5), (dust, dust + 0.5)], spec), expected)


# --- Extreme settings --------------------------------------------------------------------------

EXTREMES = {
    "sigma 4": {"sigma": 4.0},
    "sigma 1e3": {"sigma": 1e3},
    "sigma 1e9": {"sigma": 1e9},
    "large and descending": {"sigma": 1e6, "row_order": "descending"},
    "large and legacy": {"sigma": 1e3, "grid": "legacy-persim"},
    "one pixel": {"pixels": 1},
    "one pixel, large sigma": {"pixels": 1, "sigma": 1e3},
    "one pixel, small sigma": {"pixels": 1, "sigma": 0.02},
    "far window": {"birth_range": (-1000, -999), "sigma": 30.0},
    "far window, 28 deviations": {"birth_range": (-14, -13), "sigma": 0.5},
    "narrow window": {"birth_range": (0.5, 0.5 + 1e-9)},
    "narrow windows": {"birth_range": (0.5, 0.5 + 1e-9), "persistence_range": (0.2, 0.2 + 1e-12)},
    "narrow and far": {"birth_range": (-1, -1 + 1e-9)},
    "one float wide": {"birth_range": (1, math.nextafter(1, 2))},
    "wide window": {"birth_range": (-1e9, 1e9)},
}


def precise_masses(spec: ImageSpec, axis: str, means: list[float]) -> np.ndarray:
    """(cells, means)"""
    width = cell_width(spec, axis)
    cells = lower_edges(spec, axis)
    return np.array([[precise_mass(c, width, mean, spec.sigma) for mean in means] for c in cells])


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_settings_are_exact(name: str) -> None:
    """Every pixel to 12 digits, or to a rounding error of the brightest one where tables draw."""
    spec = ImageSpec(**{"pixels": 3, **EXTREMES[name]})
    part = [(0.1, 0.35), (0.48, 1.2), (0.9, 0.95)]
    births, persistences = [b for b, _ in part], [d - b for b, d in part]
    x = precise_masses(spec, "birth", births)
    y = precise_masses(spec, "persistence", persistences)
    weights = np.array([d - b for b, d in part])
    expected = (y * weights) @ x.T  # (persistence, birth)
    assert expected.max() > 0
    found = image(part, spec)
    ascending = found[::-1] if spec.row_order == "descending" else found
    assert np.allclose(ascending, expected, rtol=1e-12, atol=5e-14 * expected.max())
    assert render(*ragged([part]), spec).max() == 1


@pytest.mark.parametrize("sigma", [1e3, 1e6, 1e9, 1e100])
def test_a_large_sigma_takes_little_memory(sigma: float) -> None:
    """Tables would grow with sigma, and masses with the points."""
    data = ragged([noisy(0, 200_000).tolist(), noisy(1).tolist()])
    spec = ImageSpec(sigma=sigma, weight="one", normalise="none")
    selection = select(*data, spec)
    tracemalloc.start()
    drawn = draw(selection, spec)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 40e6
    flat = (0.02 / sigma) ** 2 / (2 * np.pi)
    assert np.allclose(drawn, np.array([200_000, 100])[:, None, None] * flat, rtol=3e-6, atol=0)


@pytest.mark.parametrize(
    "spec",
    [ImageSpec(pixels=8, weight="power:400"), ImageSpec(pixels=8, weight="power:400", sigma=1e3)],
)
def test_weights_that_underflow_are_absent(spec: ImageSpec) -> None:
    light, heavy = (0.1, 0.2), (0.2, 0.8)
    drawn = raw([[light, heavy], [heavy], [light, light], []], spec)
    assert drawn[0].max() > 0
    assert np.array_equal(drawn[0], drawn[1])
    assert not drawn[2:].any()
    assert not render(*ragged([[light]]), spec).any()
    outside = raw([[(30.0, 30.1), (3.0, 3.5)]], TGD.replace(weight="power:400"))
    assert not outside.any()


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_images_under_the_smallest_normal_number_are_zero(precision: str) -> None:
    """Weights of few digits would else be a bright image of few digits."""
    tiny = float(np.finfo(precision).tiny)
    for sigma in (0.2, 1e3):
        spec = ImageSpec(pixels=8, precision=precision, weight="power:8", sigma=sigma)
        unit = float(image([(0.0, 1e-3)], spec).max()) / 1e-24
        least = (tiny / unit) ** (1 / 8)
        assert not image([(0.0, 0.98 * least)], spec).any()
        assert image([(0.0, 1.02 * least)], spec).max() > tiny


@pytest.mark.parametrize(
    ("point", "changes"),
    [
        ((-1e308, 1e308), {}),
        ((1e308, -1e308), {}),
        ((-1e308, INF), {"essential": "clip:1e308"}),
        ((INF, INF), {"essential": "clip:1"}),
        ((np.nan, 1.0), {}),
    ],
)
def test_persistences_that_overflow_are_refused(point: tuple, changes: dict) -> None:
    with pytest.raises(
        SampleError, match=r"a persistence overflows: birth .*; scale the data"
    ) as e:
        select(*ragged([[(0.1, 0.2)], [point]]), ImageSpec(**changes))
    assert e.value.status == Status.INF


@pytest.mark.parametrize(
    ("persistences", "changes", "message"),
    [
        ([1e200], {"weight": "power:2"}, r"weights overflow float64: power:2.0 .* 1e\+200; scale"),
        ([1e308, 1e308], {}, "weights overflow float64: linear .* or choose a lower weight power"),
        ([1e30], {"weight": "power:2", "precision": "float32"}, "float32: .* precision float64"),
        ([1e39], {"precision": "float32"}, "weights overflow float32"),
    ],
)
@pytest.mark.parametrize("sigma", [0.05, 1e3])
def test_weights_that_overflow_are_refused(
    persistences: list, changes: dict, message: str, sigma: float
) -> None:
    part = [(0.5, 0.5 + persistence) for persistence in persistences]
    spec = ImageSpec(sigma=sigma, **changes)
    with pytest.raises(SampleError, match=message) as e:
        render(*ragged([[(0.1, 0.2)], part, []]), spec)
    assert e.value.status == Status.INF


large = st.floats(-1e308, 1e308)


@settings(deadline=None, max_examples=200)
@given(
    parts=st.lists(st.lists(st.tuples(large, large), max_size=3), min_size=1, max_size=3),
    sigma=st.floats(-320, 308).map(lambda e: max(10.0**e, 5e-324)),
    width=st.floats(-15, 15).map(lambda e: 10.0**e),
    weight=st.sampled_from(["one", "linear", "relative", "power:2", "power:400"]),
    precision=st.sampled_from(["float64", "float32"]),
)
def test_images_are_finite_or_refused(
    parts: list, sigma: float, width: float, weight: str, precision: str
) -> None:
    """Whatever the numbers are; and no warning is given."""
    spec = ImageSpec(
        pixels=2, birth_range=(1, 1 + width), persistence_range=(0, width), sigma=sigma,
        weight=weight, precision=precision,
    )  # fmt: skip
    try:
        drawn = raw(parts, spec)
    except SampleError:
        return
    assert np.isfinite(drawn).all()
    assert (drawn >= 0).all()
    assert np.isfinite(normalise(drawn, spec)).all()


# --- Other libraries ---------------------------------------------------------------------------


@pytest.mark.parametrize("low", [0.0, -0.7])
@pytest.mark.parametrize("sigma", [0.05, 0.01])
def test_equals_the_retired_persimage(low: float, sigma: float) -> None:
    spec = ImageSpec(
        birth_range=(low, 1), sigma=sigma, grid="legacy-persim", weight="relative",
        row_order="descending",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = PersImage([50, 50], sigma, {"minBD": low, "maxBD": 1}, verbose=False)
        expected = oracle.transform(noisy(1))
    found = image(noisy(1).tolist(), spec)
    assert np.abs(found - expected).max() <= 1e-13 * expected.max()


@pytest.mark.parametrize("sigma", [0.05, 0.01])
def test_equals_persistenceimager(sigma: float) -> None:
    """It has the birth axis first, and takes the variance."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = PersistenceImager(
            (0, 1), (0, 1), 0.02, kernel_params={"sigma": [[sigma**2, 0], [0, sigma**2]]}
        )
        expected = oracle.transform(noisy(2)).T
    found = image(noisy(2).tolist(), ImageSpec(sigma=sigma))
    assert expected.shape == (50, 50)
    assert np.abs(found - expected).max() <= 1e-13 * expected.max()


def test_is_the_cell_average_of_what_gudhi_samples() -> None:
    """gudhi takes the density at the grid points: equal to second order in a fine grid."""
    representations = pytest.importorskip("gudhi.representations")
    n, sigma = 200, 0.1
    half = 0.5 / n
    oracle = representations.PersistenceImage(
        bandwidth=sigma, weight=lambda point: point[1], resolution=[n, n],
        im_range=[half, 1 - half, half, 1 - half],
    )  # fmt: skip
    expected = oracle.fit_transform([noisy(3)])[0].reshape(n, n) / n**2
    found = image(noisy(3).tolist(), ImageSpec(pixels=n, sigma=sigma))
    assert np.abs(found - expected).max() <= 3e-4 * expected.max()


# --- Normalisation and types -------------------------------------------------------------------


def test_own_maximum_floor_and_empty() -> None:
    raw = np.array([[[2.0, 1.0]], [[1e-3, 5e-4]], [[0.0, 0.0]]])
    assert normalise(raw, ImageSpec()).tolist() == [[[1, 0.5]], [[1, 0.5]], [[0, 0]]]
    assert normalise(raw, ImageSpec(floor=1e-3)).tolist() == [[[1, 0.5]], [[0, 0]], [[0, 0]]]
    assert normalise(raw, ImageSpec(normalise="none")) is raw


def test_dataset_maximum_is_needed_and_used() -> None:
    spec = ImageSpec(normalise="dataset-max")
    raw = np.array([[[2.0, 1.0]]], np.float32)
    assert normalise(raw, spec, 4.0).tolist() == [[[0.5, 0.25]]]
    assert normalise(raw, spec, 4.0).dtype == np.float32
    assert not normalise(0 * raw, spec, 0.0).any()
    for value in (None, -1.0, np.nan, np.inf):
        with pytest.raises(InvalidSpec, match="largest value of all images"):
            normalise(raw, spec, value)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_types_and_their_error(dtype: str, precision: str) -> None:
    spec = ImageSpec(dtype=dtype, precision=precision)
    exact = normalise(raw([noisy(4).tolist()], ImageSpec()), ImageSpec())
    found = render(*ragged([noisy(4).tolist()]), spec)
    assert found.dtype == dtype
    assert found.flags.c_contiguous
    largest = {"float16": 2.45e-4, "uint8": 0.5 / 255 + 1e-6}.get(dtype, 1e-6)
    scale = 255 if dtype == "uint8" else 1
    assert np.abs(found / scale - exact).max() <= largest


def test_eight_bits_rounded_or_truncated() -> None:
    values = np.array([[[0.0, 0.999, 1.0, 100.6 / 255]]])
    nearest = ImageSpec(dtype="uint8")
    assert quantise(values, nearest).tolist() == [[[0, 255, 255, 101]]]
    assert quantise(values, nearest.replace(rounding="truncate")).tolist() == [[[0, 254, 255, 100]]]


def test_values_that_do_not_fit_are_refused() -> None:
    spec = ImageSpec(normalise="none")
    assert quantise(np.full((1, 1, 1), 65519.9), spec)[0, 0, 0] == 65504
    with pytest.raises(InvalidSpec, match="float16 holds values up to 65504, got 65520"):
        quantise(np.full((1, 1, 1), 65520.0), spec)
    for value in (np.nan, np.inf):
        with pytest.raises(InvalidSpec, match="images overflow"):
            quantise(np.full((1, 1, 1), value), spec)
    with pytest.raises(InvalidSpec, match=r"uint8 holds values in 0\.\.1"):
        quantise(np.full((1, 1, 1), 1.5), ImageSpec(dtype="uint8"))


def test_render_is_the_three_steps_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ragged([noisy(seed, seed).tolist() for seed in range(7)])
    spec = ImageSpec()
    steps = quantise(normalise(draw(select(*data, spec), spec), spec), spec)
    for block in (1, 3, 100):
        monkeypatch.setattr(images, "BLOCK", block)
        assert np.array_equal(render(*data, spec), steps)
    monkeypatch.setattr(images, "BLOCK_BYTES", 3 * 20_000)
    assert block_of(spec) == 3
    assert np.array_equal(render(*data, spec), steps)


def test_blocks_have_8_mebibytes_at_most_or_one_image() -> None:
    assert block_of(ImageSpec()) == block_of(ImageSpec(pixels=1)) == images.BLOCK == 256
    assert block_of(ImageSpec(pixels=128)) == 64
    assert block_of(ImageSpec(pixels=1024)) == 1
    assert block_of(ImageSpec(pixels=1024, precision="float32")) == 2


# --- Published signals, diagrams and images ----------------------------------------------------


@pytest.fixture(scope="module")
def published() -> dict[str, dict[str, np.ndarray]]:
    """By sample name: `signal`, `diagram` and `image` of the Sublevel-Set-TDA repository."""
    folders = {
        "Range_Enforced_Signals": ("signal", "x"),
        "Persistence_Diagrams": ("diagram", "PD"),
        "Persistence_Images": ("image", "PersImg"),
    }
    found: dict[str, dict[str, np.ndarray]] = {}
    with tarfile.open(shared_data("sublevel_set_tda") / "signals_a.tar.xz", "r:xz") as archive:
        for member in archive:
            *_, folder, name = member.name.split("/")
            content = archive.extractfile(member)
            if folder in folders and content is not None:
                kind, key = folders[folder]
                found.setdefault(name, {})[kind] = loadmat(io.BytesIO(content.read()))[key]
    assert len(found) == 35
    return found


PUBLISHED = ImageSpec(
    pixels=100, birth_range=(-0.7, 0.7), persistence_range=(0, 0.7), sigma=0.015, threshold=0.08,
    grid="legacy-persim", weight="relative", row_order="descending", dtype="float64",
)  # fmt: skip


def test_published_diagrams(published: dict) -> None:
    for sample in published.values():
        rows, _ = path_h0(sample["signal"].astype(np.float32), 1e-3)
        found = rows[:-1].astype(np.float64)
        expected = sample["diagram"]
        assert found.shape == expected.shape
        order, other = np.lexsort(found.T[::-1]), np.lexsort(expected.T[::-1])
        assert np.abs(found[order] - expected[other]).max() <= 3e-8


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        ({}, 1e-12),
        ({"dtype": "float32"}, 1e-6),
        ({"precision": "float32"}, 1e-6),
        ({"dtype": "float16"}, 2.5e-4),
    ],
    ids=["float64", "stored as float32", "computed in float32", "stored as float16"],
)
def test_published_images(published: dict, changes: dict, tolerance: float) -> None:
    signals = np.concatenate([sample["signal"] for sample in published.values()])
    rows, offsets = path_h0(signals.astype(np.float32), 1e-3)
    found = render(rows.astype(np.float64), offsets, PUBLISHED.replace(**changes))
    expected = np.stack([s["image"].reshape(100, 100) for s in published.values()])
    assert np.abs(found - expected).max() <= tolerance
