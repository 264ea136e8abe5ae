"""Recipes against the software their papers used, and against what was published."""

from __future__ import annotations

import io
import json
import tarfile
import warnings
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.io import loadmat
from scipy.sparse import coo_matrix

from pi_cache.axes import cell_width
from pi_cache.cli import cli as cache_cli
from pi_cache.errors import InvalidSpec
from pi_cache.reader import open_store
from pi_cache.specs import DiagramSpec, ImageSpec
from pipeline.build import build
from pipeline.cli import cli as pipeline_cli
from pipeline.recipes import RECIPES, Recipe, bare_name, find_recipe, recorded_name
from pipeline.reports.explain import recipe_of
from pipeline.shard import Clock, diagrams_of, images_of
from pipeline.sources.arrays import from_arrays
from pipeline.sources.base import Source, read_samples
from tests.shared import shared_data

Published = dict[str, dict[str, np.ndarray]]


def images_by_us(source: Source, recipe: Recipe, **image: Any) -> np.ndarray:
    """Images (n, channels, pixels, pixels) of the recipe with some of its image spec changed."""
    clock = Clock()
    diagrams, status, _ = diagrams_of(read_samples(source), source, recipe.diagram, clock)
    return images_of(diagrams, status, recipe.image.replace(**image), clock)[0]


def image_by_scikit_tda(signal: np.ndarray, threshold: float, image: ImageSpec) -> np.ndarray:
    """What the released notebooks do: ripser on a sparse path graph, then the legacy PersImage."""
    from persim import PersImage
    from ripser import ripser

    n = len(signal)
    vertex, edge = np.arange(n), np.arange(n - 1)
    values = np.concatenate([signal, np.maximum(signal[:-1], signal[1:])])
    rows, columns = np.concatenate([vertex, edge]), np.concatenate([vertex, edge + 1])
    graph = coo_matrix((values, (rows, columns)), shape=(n, n)).tocsr()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        diagram = ripser(graph, maxdim=0, distance_matrix=True)["dgms"][0]
        diagram = diagram[np.isfinite(diagram[:, 1])].astype(np.float64)
        diagram = diagram[diagram[:, 1] - diagram[:, 0] > threshold]
        persim = PersImage(
            spread=image.sigma,
            pixels=[image.pixels, image.pixels],
            specs={"minBD": image.birth_range[0], "maxBD": image.birth_range[1]},
            verbose=False,
        )
        drawn = np.asarray(persim.transform(diagram))
    return drawn / drawn.max() if drawn.max() > 0 else drawn


def lossless_cifar(count: int) -> np.ndarray:
    """The first exact CIFAR-10 training images (n, 32, 32, 3)."""
    with Image.open(shared_data("cifar10_lossless") / "cifar10_batch_0.png") as picture:
        return np.asarray(picture).reshape(1000, 32, 32, 3)[:count]


def test_pi_net_cifar10_is_ripser_and_persimage() -> None:
    photos, recipe = lossless_cifar(4), find_recipe("pi-net-cifar10")
    ours = images_by_us(from_arrays(photos), recipe, dtype="float64")
    assert ours.shape == (4, 3, 50, 50)
    for photo, images in zip(photos, ours, strict=True):
        for channel in range(3):
            signal = photo[:, :, channel].reshape(-1) / 255
            expected = image_by_scikit_tda(signal, 0.005, recipe.image)
            np.testing.assert_allclose(images[channel], expected, rtol=0, atol=1e-12)


def test_tgd_cifar10_has_rows_then_columns_as_bytes() -> None:
    photos, recipe = lossless_cifar(3), find_recipe("tgd-cifar10")
    exact = images_by_us(from_arrays(photos), recipe, dtype="float64")
    stored = images_by_us(from_arrays(photos), recipe)
    assert stored.dtype == np.uint8 and stored.shape == (3, 6, 50, 50)
    for photo, images in zip(photos, exact, strict=True):
        for channel in range(6):
            plane = photo[:, :, channel % 3] / 255
            signal = (plane if channel < 3 else plane.T).reshape(-1)
            expected = image_by_scikit_tda(signal, 0.02, recipe.image)
            np.testing.assert_allclose(images[channel], expected, rtol=0, atol=1e-11)
    np.testing.assert_array_equal(stored, (exact * 255).astype(np.uint8))
    assert (exact[:, :3] != exact[:, 3:]).any(), "columns are not rows"


def test_tda_kd_pamap2_leaves_half_of_the_birth_axis_uncovered(rng: np.random.Generator) -> None:
    windows, recipe = rng.random((2, 100, 4)), find_recipe("tda-kd-pamap2")
    source = from_arrays(windows, sample="signal")
    ours = images_by_us(source, recipe, dtype="float64")
    assert ours.shape == (2, 4, 64, 64)
    for window, images in zip(windows, ours, strict=True):
        for channel in range(4):
            expected = image_by_scikit_tda(window[:, channel], 0.01, recipe.image)
            np.testing.assert_allclose(images[channel], expected, rtol=0, atol=1e-12)


def test_pi_net_paper_rips_draws_loops_only(rng: np.random.Generator) -> None:
    recipe = find_recipe("pi-net-paper-rips")
    source = from_arrays(rng.integers(0, 256, (2, 9, 9, 3)).astype(np.uint8))
    clock = Clock()
    diagrams, _, _ = diagrams_of(read_samples(source), source, recipe.diagram, clock)
    assert len(diagrams) == 6
    assert np.isfinite(diagrams.points).all()
    assert (diagrams.points[:, 0] > 0).all(), "components are born at 0, loops are not"


@pytest.fixture(scope="module")
def published() -> Published:
    """The arrays of the 35 published signals, by kind and name."""
    path = shared_data("sublevel_set_tda") / "signals_a.tar.xz"
    found: Published = {}
    with tarfile.open(path, "r:xz") as archive:
        for member in archive:
            if not member.name.endswith(".mat"):
                continue
            _, kind, *_, name = Path(member.name).parts
            stream = archive.extractfile(member)
            assert stream is not None
            content = loadmat(io.BytesIO(stream.read()))
            array = next(v for k, v in content.items() if not k.startswith("__"))
            found.setdefault(kind, {})[name] = array
    assert len(found["Persistence_Images"]) == 35
    return found


def test_published_images_come_out_of_the_store(published: Published, tmp_path: Path) -> None:
    """Acceptance: diagrams to 3e-8, images to 1e-6 in a float32 store and 1e-12 in float64."""
    names = sorted(published["Range_Enforced_Signals"])
    signals = np.stack([published["Range_Enforced_Signals"][n].reshape(-1) for n in names])
    source = from_arrays(signals, ids=names, sample="signal")
    recipe = find_recipe("sublevel-set-tda")
    for dtype, tolerance in (("float32", 1e-6), ("float64", 1e-12)):
        report = build(source, recipe.diagram, recipe.image.replace(dtype=dtype), root=tmp_path)
        store = open_store(report.path)
        for sample, name in enumerate(names):
            pairs = store.diagram(sample, 0)
            finite = pairs[np.isfinite(pairs[:, 1])]
            expected = published["Persistence_Diagrams"][name]
            expected = expected[np.isfinite(expected).all(axis=1)]
            assert finite.shape == expected.shape
            np.testing.assert_allclose(by_birth(finite), by_birth(expected), rtol=0, atol=3e-8)
            image = store.read("images", [sample])[0, 0]
            shown = published["Persistence_Images"][name].reshape(100, 100)
            np.testing.assert_allclose(image, shown, rtol=0, atol=tolerance)


def test_raw_signals_are_centred_and_scaled(published: Published) -> None:
    """From the raw signals, with the scale that the whole published set had."""
    names = sorted(published["Dummy_Dataset"])
    raw = np.stack([published["Dummy_Dataset"][name].reshape(-1) for name in names])
    centred = raw - raw.mean(axis=1, keepdims=True)
    enforced = np.stack([published["Range_Enforced_Signals"][n].reshape(-1) for n in names])
    scale = float(np.abs(centred).max() / np.abs(enforced).max())
    recipe = find_recipe("sublevel-set-tda")
    diagram = recipe.diagram.replace(centre=True, scale=scale)
    source, clock = from_arrays(raw, sample="signal"), Clock()
    diagrams, status, _ = diagrams_of(read_samples(source), source, diagram, clock)
    images, _, _ = images_of(diagrams, status, recipe.image.replace(dtype="float64"), clock)
    for name, image in zip(names, images, strict=True):
        shown = published["Persistence_Images"][name].reshape(100, 100)
        np.testing.assert_allclose(image[0], shown, rtol=0, atol=2e-6)


def by_birth(pairs: np.ndarray) -> np.ndarray:
    rounded = np.round(pairs, 6)
    return pairs[np.lexsort((rounded[:, 1], rounded[:, 0]))]


def test_every_recipe_says_where_it_comes_from() -> None:
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert recipe.citation and recipe.published and recipe.summary
        assert DiagramSpec.from_dict(recipe.diagram.to_dict()) == recipe.diagram


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(InvalidSpec, match="did you mean 'tgd-cifar10'"):
        find_recipe("tdg-cifar10")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_was_changed_says_so(name: str) -> None:
    recipe = find_recipe(name)
    assert recorded_name(name, recipe.diagram, recipe.image) == name
    changed = recorded_name(name, recipe.diagram, recipe.image.replace(sigma=0.5))
    assert changed == f"{name}, changed" and bare_name(changed) == bare_name(name) == name
    rounded = recorded_name(name, recipe.diagram.replace(min_persistence=0.5), recipe.image)
    assert rounded == changed == recorded_name(changed, recipe.diagram, recipe.image)


def test_what_a_recipe_leaves_open_is_no_change() -> None:
    signals, tgd = find_recipe("sublevel-set-tda"), find_recipe("tgd-cifar10")
    scaled = signals.diagram.replace(centre=True, scale=3.5)
    double = signals.image.replace(dtype="float64")
    assert recorded_name(signals.name, scaled, double) == signals.name
    half = signals.image.replace(dtype="float16")
    assert recorded_name(signals.name, scaled, half).endswith(", changed")
    for image in (tgd.image.replace(dtype="float32"), tgd.image.replace(normalise="dataset-max")):
        assert recorded_name(tgd.name, tgd.diagram, image).endswith(", changed")
    assert recorded_name("mine", tgd.diagram, tgd.image) == "mine"


def test_a_store_of_a_changed_recipe(tmp_path: Path) -> None:
    """Its spec builds it again; it is found by a part of the name, and not as the recipe."""
    pieces = np.tile(np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3), (2, 1, 1, 1))
    np.save(tmp_path / "x.npy", pieces)
    cache = ["--cache", str(tmp_path), "--json"]

    def run(command: click.Command, *words: str) -> Any:
        done = CliRunner().invoke(command, [*words, *cache], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    words = ["build-pis", f"array:{tmp_path / 'x.npy'}", "--recipe", "tgd-cifar10"]
    exact, changed = run(pipeline_cli, *words), run(pipeline_cli, *words, "--sigma", "0.5")
    store = open_store(changed["path"])
    assert store.spec.recipe == "tgd-cifar10, changed"
    told = recipe_of(store)
    assert (told["name"], told["changed"]) == ("tgd-cifar10", {"image.sigma": 0.5})
    again = run(pipeline_cli, "build-pis", "--spec", str(store.path / "spec.json"))
    assert again["found"] and again["key"] == changed["key"]
    found = run(cache_cli, "find", "recipe=tgd-cifar10")
    assert [document["key"] for document in found] == [exact["key"]]
    both = run(cache_cli, "find", "recipe~tgd")
    assert {document["key"] for document in both} == {exact["key"], changed["key"]}


def test_what_a_recipe_cannot_show_is_said_before_any_work(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(1).random((2, 60, 1)))
    words = [f"array:{tmp_path / 'x.npy'}", "--sample", "signal", "--cache", str(tmp_path)]

    def told(*more: str) -> tuple[str, str]:
        done = CliRunner().invoke(pipeline_cli, more, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout, done.stderr

    for command in ("plan", "build-pis"):
        _, talk = told(command, *words, "--recipe", "tda-kd-pamap2")
        assert "no birth can lie in -1..0" in talk
        assert talk.index("tda-kd-pamap2-corrected is the same") < talk.index("no store under")
        assert talk.count("birth axis") == 2, "its empty half and its gaps, once each"
        _, talk = told(command, *words, "--recipe", "tda-kd-pamap2-corrected")
        assert "warning" not in talk
    text, _ = told("recipes", "tda-kd-pamap2")
    assert "warning: no birth can lie in -1..0" in text and "tda-kd-pamap2-corrected" in text
    (document,) = json.loads(told("recipes", "tda-kd-pamap2", "--json")[0])
    assert document["corrected"] == "tda-kd-pamap2-corrected"
    assert document["pixels_lit"] < 0.35 and len(document["warnings"]) > 2


def test_the_corrected_recipe_changes_the_window_alone() -> None:
    published, corrected = find_recipe("tda-kd-pamap2"), find_recipe("tda-kd-pamap2-corrected")
    assert corrected.diagram == published.diagram
    mended = published.image.replace(grid="regular", birth_range=(0.0, 1.0))
    assert corrected.image == mended
    for axis in ("birth", "persistence"):
        width = cell_width(published.image, axis)
        assert cell_width(corrected.image, axis) == width == 1 / 64
    assert {recipe.corrected for recipe in RECIPES.values()} <= {"", *RECIPES}
