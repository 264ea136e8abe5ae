"""What a store says of itself: coverage, a suggested window, one image explained, recipes."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from pi_cache.commands.options import CONTEXT
from pi_cache.reader import Store, open_store
from pi_cache.specs import DiagramSpec, ImageSpec
from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.cli import cli
from pipeline.images import in_window, select
from pipeline.recipes import RECIPES, describe_diagram
from pipeline.reports.coverage import coverage, warnings_of
from pipeline.reports.explain import class_lines, classes_of, explain_sample, explanation_lines
from pipeline.reports.suggestion import (
    drawn_points,
    round_outward,
    some_samples,
    suggest_window,
    window_options,
)
from pipeline.sources.arrays import from_arrays

IMAGE = ImageSpec(pixels=8, sigma=0.1)


def made(
    root: Path,
    data: np.ndarray,
    diagram: DiagramSpec | None = None,
    image: ImageSpec = IMAGE,
    recipe: str = "",
    **columns: Any,
) -> Store:
    """A store of an array's samples."""
    source = from_arrays(data, **columns)
    report = build(
        source,
        diagram or DiagramSpec(),
        image,
        root=root,
        recipe=recipe,
        options=Options(executor="serial"),
    )
    return open_store(report.path)


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words, catch_exceptions=False)


@pytest.fixture
def signals(rng: np.random.Generator) -> np.ndarray:
    """Signals (12, 60) in 0..1: the third has a hole, the fifth is constant."""
    values = rng.random((12, 60))
    values[2, 7] = np.nan
    values[4] = 0.5
    return values


@pytest.fixture
def store(tmp_path: Path, signals: np.ndarray) -> Store:
    return made(tmp_path, signals, sample="signal", ids=[f"신호/{i}" for i in range(12)])


# --- one image explained


def test_each_class_has_its_place() -> None:
    points = np.array(
        [[0.2, 0.6], [0.2, 0.21], [0.2, np.inf], [-0.5, 0.1], [0.3, 3.0], [-0.5, 3.0], [0.0, 1.0]]
    )
    found = classes_of(points, ImageSpec(threshold=0.05))
    assert [(c["birth"], c["death"], c["place"]) for c in found] == [
        (0.2, None, "essential, dropped"),
        (-0.5, 3.0, "outside both ranges"),
        (0.3, 3.0, "outside the persistence range"),
        (0.0, 1.0, "inside the window"),
        (-0.5, 0.1, "outside the birth range"),
        (0.2, 0.6, "inside the window"),
        (0.2, 0.21, "under the threshold"),
    ]
    assert [c["persistence"] for c in found] == pytest.approx([None, 3.5, 2.7, 1, 0.6, 0.4, 0.01])
    json.dumps(found, allow_nan=False)


def test_a_clipped_class_has_the_persistence_it_is_drawn_with() -> None:
    spec = ImageSpec(essential="clip:1")
    found = classes_of(np.array([[0.25, np.inf], [2.0, np.inf]]), spec)
    assert {(c["birth"], c["persistence"], c["place"]) for c in found} == {
        (0.25, 0.75, "inside the window"),
        (2.0, None, "under the threshold"),
    }


POINT = st.tuples(
    st.floats(-1, 2), st.one_of(st.floats(0, 2), st.just(np.inf)), st.sampled_from([1, -1])
)


@given(
    points=st.lists(POINT, max_size=12),
    essential=st.sampled_from(["drop", "clip:1.5"]),
    threshold=st.sampled_from([0.0, 0.4]),
)
def test_places_count_what_is_drawn_and_inside(
    points: list[tuple[float, float, int]], essential: str, threshold: float
) -> None:
    diagram = np.array([(b, b + sign * p) for b, p, sign in points]).reshape(-1, 2)
    spec = ImageSpec(essential=essential, threshold=threshold)
    places = Counter(c["place"] for c in classes_of(diagram, spec))
    births, persistences, _ = select(diagram, np.array([0, len(diagram)]), spec)
    assert places["inside the window"] == in_window(births, persistences, spec).sum()
    assert sum(n for name, n in places.items() if "side" in name) == len(births)
    assert places.total() == len(diagram)


def test_text_has_ten_classes_and_counts_the_rest() -> None:
    points = np.column_stack([np.zeros(14), np.linspace(0.1, 1.4, 14)])
    lines = class_lines(classes_of(points, ImageSpec()))
    assert len(lines) == 1 + 10 + 1
    assert lines[1].split()[:3] == ["0", "1.4", "1.4"]
    assert lines[-1] == "and 4 more: 4 inside the window"
    assert class_lines([]) == []


def test_explain_gives_every_class_as_json(store: Store, tmp_path: Path) -> None:
    result = run("explain", store.key, "0", "--cache", str(tmp_path), "--json")
    channel = json.loads(result.stdout)["channels"][0]
    diagram = store.diagram(0, 0)
    assert len(channel["classes"]) == len(diagram) == channel["points"]
    assert sorted(c["birth"] for c in channel["classes"]) == sorted(diagram[:, 0].tolist())
    assert Counter(c["place"] for c in channel["classes"])["inside the window"] == (
        channel["drawn"] - channel["outside"]
    )


def test_an_unusable_sample_has_a_reason_and_no_value(store: Store, tmp_path: Path) -> None:
    facts = explain_sample(store, 2)
    assert facts["status"] == "NAN"
    assert facts["problem"].startswith("has NAN at (7, 0)")
    assert facts["channels"][0]["value"] is None and facts["channels"][0]["pixel"] is None
    asked = explain_sample(store, 2, (1, 2))["channels"][0]
    assert asked["value"] is None and asked["pixel"] == [1, 2]
    text = run("explain", store.key, "2", "--cache", str(tmp_path)).stdout
    assert text.count("신호/2") == 1
    assert "status   NAN: has NAN at (7, 0)" in text
    assert "pixel" not in text.partition("channel ")[2]


def test_a_constant_sample_says_so_and_is_explained(store: Store) -> None:
    lines = explanation_lines(store, explain_sample(store, 4))
    assert "status   CONSTANT: every channel is constant" in lines
    assert any("essential, dropped" in line for line in lines)


def test_the_recipe_and_what_was_changed_of_it_are_told(tmp_path: Path) -> None:
    recipe = RECIPES["tda-kd-pamap2"]
    data = np.random.default_rng(1).random((3, 100, 2))
    image = recipe.image.replace(pixels=9)
    store = made(tmp_path, data, recipe.diagram, image, recipe.name, sample="signal")
    facts = explain_sample(store, 0)
    assert facts["recipe"] == {
        "name": recipe.name,
        "citation": recipe.citation,
        "changed": {"image.pixels": 9},
    }
    line = f"recipe   {recipe.name}; but image.pixels 9; {recipe.citation}"
    assert line in explanation_lines(store, facts)


def test_no_recipe_is_told(store: Store) -> None:
    facts = explain_sample(store, 0)
    assert facts["recipe"]["name"] == ""
    assert any(line.startswith("recipe   none") for line in explanation_lines(store, facts))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (DiagramSpec(filtration="rips"), "float64 first; native holds lengths in single precision"),
        (
            DiagramSpec(filtration="rips", homology=(2,)),
            "float64 first; ripser computes in single precision",
        ),
        (DiagramSpec(filtration="rips", metric="cosine"), "a cloud under the cosine metric"),
        (DiagramSpec(filtration="rips", metric="precomputed"), "complexes of a distance matrix"),
        (DiagramSpec(filtration="cubical"), "computed by the native engine"),
        (DiagramSpec(engine="ripser"), "float64 first; ripser computes in single precision"),
        (DiagramSpec(filtration="rips", engine="giotto"), "giotto-ph computes in single precision"),
        (DiagramSpec(filtration="cubical", engine="giotto"), "computed by the giotto engine"),
        (DiagramSpec(precision="float32"), "float32 first; computed by the native engine"),
    ],
)
def test_precision_is_told_as_it_is(spec: DiagramSpec, words: str) -> None:
    assert words in " ".join(describe_diagram(spec))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_tells_both_specs_and_its_source(name: str) -> None:
    recipe, text = RECIPES[name], run("recipes", name).stdout
    assert recipe.citation in text and recipe.summary in text
    assert f"for: {recipe.sample}s" in text
    assert all(line in text for line in (*recipe.published, *recipe.chosen))
    assert text.count("  diagram: ") >= 2 and f"  image: {recipe.image.pixels} x" in text


# --- coverage


@pytest.mark.parametrize(
    ("essential", "counts"), [("drop", (0, 11)), ("clip:1", (11, 0))], ids=["drop", "clip"]
)
def test_essential_classes_are_counted(
    essential: str, counts: tuple[int, int], tmp_path: Path, signals: np.ndarray
) -> None:
    image = IMAGE.replace(essential=essential)
    facts = coverage(made(tmp_path, signals, image=image, sample="signal"))
    assert (facts["essential_clipped"], facts["essential_dropped"]) == counts
    assert facts["status"] == {"OK": 10, "NAN": 1, "CONSTANT": 1}


def test_report_names_each_problem_once(store: Store, tmp_path: Path) -> None:
    result = run("report", store.key, "--cache", str(tmp_path))
    rows = [line for line in result.stdout.splitlines() if line.startswith("problems")]
    assert [row.split(maxsplit=1)[1] for row in rows] == [
        "신호/2: has NAN at (7, 0); fill or leave out such values before",
        "신호/4: every channel is constant",
    ]
    warning = next(line for line in warnings_of(coverage(store)) if "not delivered" in line)
    assert warning.count("신호/2: ") == 1 and warning.count("신호/2") == 1


def test_a_store_without_usable_samples_is_reported(tmp_path: Path) -> None:
    store = made(tmp_path, np.full((3, 20), np.nan), sample="signal")
    facts = coverage(store)
    assert facts["suggested"] is None and facts["points_inside"] is None
    assert "not delivered" in warnings_of(facts)[0]
    assert "suggested            -" in run("report", store.key, "--cache", str(tmp_path)).stdout


# --- a suggested window


def test_births_far_from_zero_get_a_range_of_their_width(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    store = made(tmp_path, 10_000 + rng.random((20, 60)) / 10, sample="signal")
    fit = suggest_window(store)
    assert fit is not None
    low, high = fit["birth_range"]
    assert 9_999.9 <= low < 10_000.01 and 10_000.05 < high <= 10_000.11
    birth, persistence = drawn_points(store, some_samples(store))
    assert ((low <= birth) & (birth <= high)).mean() >= 0.99
    assert (persistence <= fit["persistence_range"][1]).mean() >= 0.99
    inside = IMAGE.replace(**{name: tuple(ends) for name, ends in fit.items()})
    assert coverage(made(tmp_path, 10_000 + rng.random((20, 60)) / 10, image=inside,
                         sample="signal"))["points_inside"] > 0.9  # fmt: skip


def test_births_that_are_all_zero_get_a_small_range(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    pytest.importorskip("ripser")
    clouds = rng.random((6, 25, 2))
    store = made(tmp_path, clouds, DiagramSpec(filtration="rips", homology=(0,)), sample="cloud")
    fit = suggest_window(store)
    assert fit is not None
    low, high = fit["birth_range"]
    assert low == -high and 0.05 <= (high - low) / fit["persistence_range"][1] <= 0.3
    facts = {**coverage(store), "points_inside": 0.1, "persistence_inside": 0.1}
    assert f"--birth-range=-{high!r},{high!r} --persistence-range=0," in warnings_of(facts)[0]


def test_a_legacy_grid_gets_a_window_that_it_accepts(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    image = ImageSpec(grid="legacy-persim", weight="relative", pixels=8, sigma=0.1)
    for shift in (-3.0, 5.0):
        store = made(tmp_path, shift + rng.random((20, 60)), image=image, sample="signal")
        fit = suggest_window(store)
        assert fit is not None
        assert fit["birth_range"][1] == fit["persistence_range"][1]
        image.replace(**{name: tuple(ends) for name, ends in fit.items()})


@given(low=st.floats(-1e6, 1e6), width=st.one_of(st.just(0.0), st.floats(1e-3, 1e6)))
def test_rounding_widens_by_little(low: float, width: float) -> None:
    high = low + width
    down, up = round_outward(low, high)
    assert down <= low <= high <= up
    assert down < up
    assert up - down <= max(1.21 * (high - low), 1e-8 * abs(low) + 1e-290)


def test_options_of_a_window_are_read_as_they_are_written() -> None:
    words = shlex.split(window_options([-0.7, 9_999.95], [0.0, 1e-7]))
    command = cli.commands["build-pis"]
    read = command.make_context("build-pis", words, **CONTEXT).params
    assert read["birth_range"] == (-0.7, 9_999.95)
    assert read["persistence_range"] == (0.0, 1e-7)


def test_a_window_that_loses_most_points_comes_with_a_better_one(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    store = made(tmp_path, rng.random((10, 60)) - 5, sample="signal")
    warning = next(line for line in warnings_of(coverage(store)) if "the window" in line)
    assert "(birth 0,1, persistence 0,1) holds 0% of the points" in warning
    assert "on each axis 99 % of the points lie in --birth-range=-" in warning


def test_looked_at_samples_are_usable_and_spread(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.reports.suggestion.LOOKED_AT", 3)
    chosen = some_samples(store)
    assert chosen[0] == 0 and chosen[-1] == 11 and len(chosen) == 3
    assert some_samples(store, np.arange(12) == 7).tolist() == [7]
    assert some_samples(store, np.arange(12) == 2).tolist() == chosen.tolist()
