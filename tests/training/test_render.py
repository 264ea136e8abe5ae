"""Images drawn with torch: equal to those of the pipeline, and their derivatives to differences."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi_cache.errors import InvalidSpec  # noqa: E402
from pi_cache.specs import ImageSpec  # noqa: E402
from pipeline import images  # noqa: E402
from pipeline.kernels.cells import cell_masses  # noqa: E402
from training import ragged, render  # noqa: E402
from training.masses import (  # noqa: E402
    Masses,
    cells_of,
    exact_masses,
    tabulate,
    tabulated_masses,
)
from training.ragged import Ragged, groups  # noqa: E402
from training.render import Renderer  # noqa: E402

CPU = torch.device("cpu")
CHANNELS = 3
SPECS = {
    "default": ImageSpec(),
    "unit weights": ImageSpec(weight="one"),
    "power": ImageSpec(weight="power:1.5"),
    "root": ImageSpec(weight="power:0.5"),
    "relative": ImageSpec(weight="relative", threshold=0.05),
    "threshold": ImageSpec(threshold=0.2),
    "clipped": ImageSpec(essential="clip:1.25"),
    "clipped below births": ImageSpec(essential="clip:0.5"),
    "raw": ImageSpec(normalise="none"),
    "floor": ImageSpec(floor=0.02),
    "legacy": ImageSpec(grid="legacy-persim"),
    "legacy with gaps": ImageSpec(grid="legacy-persim", birth_range=(-0.7, 1)),
    "descending": ImageSpec(row_order="descending"),
    "other ranges": ImageSpec(birth_range=(-1, 2), persistence_range=(0.1, 0.4)),
    "far outside": ImageSpec(birth_range=(1.5, 2), persistence_range=(0.9, 1.5)),
    "nothing inside": ImageSpec(birth_range=(90, 91)),
    "one pixel": ImageSpec(pixels=1),
    "many pixels": ImageSpec(pixels=200, sigma=0.1),
    "one legacy pixel": ImageSpec(pixels=1, grid="legacy-persim"),
    "sharp": ImageSpec(pixels=9, sigma=1e-4),
    "narrow": ImageSpec(sigma=0.004),
    "flat": ImageSpec(sigma=1.0),
    "flatter": ImageSpec(sigma=40.0, grid="legacy-persim"),
    "single": ImageSpec(precision="float32"),
}


def diagrams(seed: int, samples: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Points, some essential, and offsets (samples, CHANNELS + 1); the first diagram is empty."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, most, (samples, CHANNELS))
    counts[0, 0] = 0
    ends = np.cumsum(counts).reshape(counts.shape)
    birth = random.random(ends[-1, -1])
    points = np.column_stack([birth, birth + random.exponential(0.1, len(birth))])
    points[::17, 1] = np.inf
    points[5::31, 1] = -np.inf
    return points, np.concatenate([ends[:, :1] - counts[:, :1], ends], axis=1)


def stored(points: np.ndarray, offsets: np.ndarray, spec: ImageSpec, **more: float) -> np.ndarray:
    """What the pipeline stores, in float64 (float32 where the spec says so)."""
    flat = np.append(offsets[:, :-1].ravel(), offsets[-1, -1])
    found = images.render(points, flat, spec.replace(dtype=spec.precision), **more)
    return found.reshape(*offsets[:, 1:].shape, spec.pixels, spec.pixels)


def drawn(points: np.ndarray, offsets: np.ndarray, spec: ImageSpec, dtype: str) -> np.ndarray:
    renderer = Renderer(spec, dtype=getattr(torch, dtype))
    return renderer(torch.from_numpy(points), offsets).numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SPECS)
def test_equals_the_stored_images(name: str, dtype: str) -> None:
    spec = SPECS[name]
    points, offsets = diagrams(1, 6, 120)
    expected = stored(points, offsets, spec)
    found = drawn(points, offsets, spec, dtype)
    assert found.dtype == dtype and found.shape == expected.shape
    exact = dtype == "float64" and spec.precision == "float64"
    tolerance = 1e-13 + 1e-16 / spec.sigma if exact else 1e-6
    assert np.abs(found - expected).max() <= tolerance * max(1.0, expected.max())
    if name != "nothing inside":
        assert expected.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("away", [0.3, 0.5, 0.9, 1.4])
def test_a_faint_image_is_no_noise(away: float, dtype: str) -> None:
    """A point outside the window leaves a tail, whose own maximum is 1 all the same."""
    spec = ImageSpec(pixels=12)
    points = np.array([[1 + away, 2 + away], [-0.2, -0.2 + 0.5]])
    offsets = np.array([[0, 1, 1, 2]])
    expected, found = stored(points, offsets, spec), drawn(points, offsets, spec, dtype)
    assert expected[0, 0].max() == 1
    assert np.abs(found - expected).max() <= (1e-6 if dtype == "float32" else 1e-12)


def test_dataset_maximum() -> None:
    spec = ImageSpec(normalise="dataset-max", pixels=20)
    points, offsets = diagrams(2, 3, 40)
    for most in (2.5, 0.0):
        found = Renderer(spec, dataset_max=most)(torch.from_numpy(points), offsets).numpy()
        expected = stored(points, offsets, spec, dataset_max=most)
        assert np.allclose(found, expected, rtol=0, atol=1e-6)
    for wrong in (None, -1.0, math.inf):
        with pytest.raises(InvalidSpec, match="needs the largest value of all images"):
            Renderer(spec, dataset_max=wrong)


def test_pieces_of_large_diagrams_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    points, offsets = diagrams(3, 5, 300)
    expected = stored(points, offsets, ImageSpec())
    monkeypatch.setattr(ragged, "SEGMENT", 32)
    monkeypatch.setattr(ragged, "GROUP", 100 * ImageSpec().pixels)
    assert np.abs(drawn(points, offsets, ImageSpec(), "float32") - expected).max() <= 1e-6


def test_groups_hold_all_points_once_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ragged, "SEGMENT", 50)
    lengths = np.random.default_rng(4).integers(0, 200, 40)
    parts = Ragged(np.cumsum(lengths) - lengths, lengths)
    seen, padding = [], 0
    for group in groups(parts, parts.total, CPU, 128):
        assert group.points.numel() <= 128 and group.points.shape[1] <= 50
        for owner, row in zip(group.owners.tolist(), group.points, strict=True):
            own = row[row < parts.total]
            padding += len(row) - len(own)
            assert (parts.owners(CPU)[own] == owner).all()
            seen += own.tolist()
    assert sorted(seen) == list(range(parts.total))
    assert padding < 0.1 * parts.total


def test_memory_is_that_of_masses_however_many_pixels() -> None:
    for pixels in (1, 50, 1024):
        assert 0.9 * ragged.GROUP < ragged.room_of(CPU, pixels) * pixels <= ragged.GROUP
    assert ragged.room_of(CPU, 10**9) == 1


@pytest.mark.parametrize("shape", [(0, 2), (2, 3)])
def test_nothing_to_draw(shape: tuple[int, int]) -> None:
    found = Renderer(ImageSpec(pixels=5))(torch.empty(0, 2), np.zeros(shape, np.int64))
    assert found.shape == (shape[0], shape[1] - 1, 5, 5) and not found.any()


def test_offsets_may_lie_anywhere() -> None:
    points, offsets = diagrams(5, 6, 50)
    chosen = offsets[[4, 1, 4]]
    expected = stored(points, offsets, ImageSpec())[[4, 1, 4]]
    assert np.abs(drawn(points, chosen, ImageSpec(), "float32") - expected).max() <= 1e-6


def test_points_in_single_precision_are_taken_as_they_are() -> None:
    points, offsets = diagrams(6, 4, 60)
    points = points.astype(np.float32)
    expected = stored(points.astype(float), offsets, ImageSpec())
    assert np.abs(drawn(points, offsets, ImageSpec(), "float32") - expected).max() <= 1e-6


def test_autocast_does_not_reach_the_products() -> None:
    points, offsets = diagrams(7, 4, 60)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = drawn(points, offsets, ImageSpec(), "float32")
    assert np.abs(found - stored(points, offsets, ImageSpec())).max() <= 1e-6


# --- Masses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECS)
def test_masses_have_full_relative_precision(name: str) -> None:
    spec = SPECS[name]
    for axis in ("birth", "persistence"):
        cells = cells_of(spec, axis)
        positions = np.random.default_rng(8).uniform(-3, 5, 300)
        lower = cells.lower + cells.step * np.arange(cells.size)
        expected = cell_masses(positions, lower, cells.width, spec.sigma)
        expected = expected[:, ::-1] if cells.descending else expected
        place = torch.from_numpy((positions - cells.lower) / cells.step)
        found = exact_masses(place, cells, spec.sigma).numpy()
        ordinary = expected > 1e-200
        # An edge is known to a rounding error; a tail magnifies it by its distance, in deviations.
        error = np.abs(found / np.where(ordinary, expected, 1) - 1)[ordinary]
        assert error.max(initial=0) < 1e-11 + 1e-13 / spec.sigma


def test_tables_keep_their_word() -> None:
    for sigma in (0.01, 0.05, 0.7):
        cells = cells_of(ImageSpec(row_order="descending"), "persistence")
        table = tabulate(cells, sigma, CPU)
        assert table is not None
        place = torch.linspace(-90, 140, 5001, dtype=torch.float64)
        found = tabulated_masses(place, None, table)
        error = (found - exact_masses(place, cells, sigma)).abs().max()
        assert error < 2e-7 * found.max()
        twice = tabulated_masses(place, torch.full((5001,), 2.0), table)
        assert torch.allclose(twice, 2 * found, rtol=1e-6)


# --- Derivatives ---------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", ["regular", "legacy-persim"])
@pytest.mark.parametrize("row_order", ["ascending", "descending"])
def test_derivatives_of_masses(grid: str, row_order: str) -> None:
    spec = ImageSpec(pixels=5, grid=grid, row_order=row_order)
    cells = cells_of(spec, "persistence")
    place = torch.tensor([-0.4, 0.0, 1.0, 2.3, 4.9], dtype=torch.float64, requires_grad=True)
    sigma = torch.tensor(0.17, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda p, s: Masses.apply(p, s, cells, torch.float64), (place, sigma)
    )


@pytest.mark.parametrize("weight", ["one", "linear", "power:0.5", "power:2", "relative"])
@pytest.mark.parametrize("normalise", ["own-max", "none"])
def test_images_are_differentiable(weight: str, normalise: str) -> None:
    spec = ImageSpec(
        pixels=4, weight=weight, normalise=normalise, threshold=0.06, essential="clip:1.1"
    )
    points, offsets = diagrams(9, 2, 7)
    given = torch.from_numpy(points[:, :1]).requires_grad_()
    deaths = torch.from_numpy(points[:, 1:])
    sigma = torch.tensor(0.21, dtype=torch.float64, requires_grad=True)
    renderer = Renderer(spec, dtype=torch.float64)

    def draw(births: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return renderer(torch.cat([births, deaths], 1), offsets, sigma=sigma)

    assert torch.autograd.gradcheck(draw, (given, sigma))


def test_deaths_have_derivatives_too() -> None:
    points = torch.tensor([[0.2, 0.5], [0.4, 0.9], [0.6, 0.3]], dtype=torch.float64)
    renderer = Renderer(ImageSpec(pixels=4, sigma=0.3), dtype=torch.float64)
    offsets = np.array([[0, 3]])
    assert torch.autograd.gradcheck(lambda p: renderer(p, offsets), (points.requires_grad_(),))


def test_derivatives_in_single_precision_are_those_of_double() -> None:
    points, offsets = diagrams(10, 3, 80)
    found = []
    for dtype in (torch.float32, torch.float64):
        given = torch.from_numpy(points).requires_grad_()
        sigma = torch.tensor(0.05, requires_grad=True)
        image = Renderer(ImageSpec(), dtype=dtype)(given, offsets, sigma=sigma)
        wave = torch.sin(torch.arange(image[0, 0].numel())).view_as(image[0, 0]).to(dtype)
        (image * wave).sum().backward()
        found.append((given.grad, sigma.grad))
    finite = torch.from_numpy(points[:, 1]).isfinite()
    single, double = found
    assert double[0].isfinite().all() and single[0].isfinite().all()
    assert (single[0] - double[0])[finite].abs().max() < 1e-5 * double[0].abs().max()
    assert abs(single[1] / double[1] - 1) < 1e-4


def test_faint_and_empty_images_have_finite_derivatives() -> None:
    points = torch.tensor([[2.0, 3.5], [40.0, 41.0]], dtype=torch.float64, requires_grad=True)
    image = Renderer(ImageSpec(pixels=6))(points, np.array([[0, 1, 2, 2]]))
    image.square().sum().backward()
    assert image[0, 0].max() == 1 and not image[0, 1:].any()
    assert points.grad is not None and points.grad.isfinite().all() and points.grad[0].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_point_at_the_end_of_numbers_harms_no_other(dtype: str) -> None:
    """Its place, in cells, is no finite number any more."""
    spec = ImageSpec(pixels=6, weight="one")
    points = torch.tensor([[1e307, 1.5e307], [0.2, 0.9]], dtype=torch.float64)
    sigma = torch.tensor(0.05, requires_grad=True)
    for far in (points, points * torch.tensor([[1e-200], [1.0]])):
        given = far.requires_grad_()
        image = Renderer(spec, dtype=getattr(torch, dtype))(given, np.array([[0, 2]]), sigma=sigma)
        expected = stored(far.detach().numpy()[1:], np.array([[0, 1]]), spec)
        assert np.abs(image.detach().numpy() - expected).max() <= 1e-6
        gradients = torch.autograd.grad(image.square().sum(), (given, sigma))
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_weights_that_float32_does_not_hold() -> None:
    scale = 1e21
    spec = ImageSpec(
        pixels=5, weight="power:2", birth_range=(0, 9 * scale), persistence_range=(0, 9 * scale),
        sigma=scale,
    )  # fmt: skip
    points, offsets = np.array([[0.0, 2.0], [1.0, 6.0]]) * scale, np.array([[0, 2]])
    expected = stored(points, offsets, spec)
    assert np.abs(drawn(points, offsets, spec, "float32") - expected).max() <= 1e-6


# --- Refusals ------------------------------------------------------------------------------------


def test_what_cannot_be_drawn_is_refused() -> None:
    renderer, points = Renderer(ImageSpec(pixels=4)), torch.zeros(3, 2)
    for wrong in (points.half(), points.long(), points[:, :1]):
        with pytest.raises(InvalidSpec, match="points must be float64 or float32"):
            renderer(wrong, np.array([[0, 1]]))
    for offsets in (np.array([0, 3]), np.array([[0.0, 3.0]])):
        with pytest.raises(InvalidSpec, match="offsets must be whole numbers"):
            renderer(points, offsets)
    for offsets in (np.array([[0, 4]]), np.array([[2, 1]]), np.array([[-1, 1]])):
        with pytest.raises(InvalidSpec, match="offsets must rise from 0 to 3 points at most"):
            renderer(points, offsets)
    for sigma in (0.0, -1.0, math.nan, math.inf, torch.ones(2)):
        with pytest.raises(InvalidSpec, match="sigma must be one positive number"):
            renderer(points, np.array([[0, 3]]), sigma=sigma)
    with pytest.raises(InvalidSpec, match="drawn in float32 or float64"):
        Renderer(ImageSpec(), dtype=torch.float16)
    with pytest.raises(InvalidSpec, match="too narrow for cells of their own"):
        Renderer(ImageSpec(pixels=2, birth_range=(1.0, math.nextafter(1.0, 2.0))))


@pytest.mark.parametrize(
    "point", [(math.nan, 0.5), (0.5, math.nan), (-math.inf, math.inf), (-1e308, 1.5e308)]
)
def test_a_persistence_that_is_no_number_is_refused(point: tuple[float, float]) -> None:
    """As the pipeline refuses it: it would be left out in silence."""
    points = torch.tensor([(0.1, 0.2), point], dtype=torch.float64)
    with pytest.raises(InvalidSpec, match="a persistence is no finite number: birth"):
        Renderer(ImageSpec(pixels=4))(points, np.array([[0, 2]]))


def test_a_weight_that_is_no_number_gives_no_black_image() -> None:
    """On a device that is not waited for, this is how a point that is no number shows."""
    raw = torch.tensor([[[math.nan]], [[2.0]], [[0.0]]])
    found = Renderer(ImageSpec(pixels=1))._normalised(raw).ravel()
    assert found[0].isnan() and found[1:].tolist() == [1, 0]


def test_exact_products_put_the_setting_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Settings:
        fp32_precision = "tf32"

    monkeypatch.setattr(torch.backends.cuda, "matmul", Settings)
    with render.exact_products(torch.device("cuda")):
        assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"
