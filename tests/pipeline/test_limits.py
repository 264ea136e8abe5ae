"""What is refused before any work, with an estimate and a remedy; and what is let through."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pi_cache.errors import InvalidSpec, SampleError
from pi_cache.reader import open_store
from pi_cache.specs import METRICS, DiagramSpec, ImageSpec, Status, StoreSpec
from pipeline import engines, measuring
from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.diagrams import compute_diagrams
from pipeline.engines import ENGINES, installed
from pipeline.engines.common import lengths
from pipeline.engines.limits import (
    LOOPS,
    check_fields,
    count_edges,
    estimate,
    largest_whole,
    pairs_of,
    refusal,
)
from pipeline.fields import Fields
from pipeline.measuring import expectations, measure
from pipeline.plan import CHILD_MEMORY, Plan
from pipeline.planning import make_plan
from pipeline.sources import open_source
from pipeline.sources.arrays import from_arrays
from pipeline.sources.base import Source
from tests.pipeline import fake_engine
from tests.pipeline.fake_engine import ENDLESS

RIPS = DiagramSpec(filtration="rips")
IMAGE = ImageSpec(pixels=6)


def covered() -> list[DiagramSpec]:
    return [
        DiagramSpec(filtration=filtration, engine=engine.name)
        for engine in ENGINES.values()
        for filtration in engine.covers
    ]


@pytest.mark.parametrize("spec", covered(), ids=lambda s: f"{s.engine}-{s.filtration}")
def test_an_estimate_grows_and_ends_in_a_refusal(spec: DiagramSpec) -> None:
    found = [estimate(spec, size) for size in (10, 100, 1000, 8000)]
    for small, large in itertools.pairwise(found):
        assert small.memory < large.memory and small.seconds < large.seconds
    assert refusal(spec, 1000) is None
    largest = ENGINES[spec.engine].covers[spec.filtration].largest
    text = refusal(spec, largest + 1)
    assert text is not None and f"{largest + 1:,}" in text and "GB" in text
    assert ";" in text, "says what to do"


def test_the_stated_limit_is_that_of_the_kernel() -> None:
    from pipeline.kernels.rips import MOST_POINTS

    assert ENGINES["native"].covers["rips"].largest == MOST_POINTS


def test_the_loops_of_native_end_where_the_kernel_gives_up() -> None:
    from pipeline.kernels.loops import MOST_BYTES

    assert LOOPS == MOST_BYTES
    few, many, all_of_them = (estimate(RIPS, 4000, edges).memory for edges in (0, 2e4, None))
    assert many - few == pytest.approx(2e4 * (16 + 32) + 2e4**2 / 16)
    assert all_of_them - few == pytest.approx(LOOPS + 16 * pairs_of(4000))


@pytest.mark.parametrize("spec", covered(), ids=lambda s: f"{s.engine}-{s.filtration}")
def test_the_stated_limit_can_be_reached(spec: DiagramSpec) -> None:
    largest = ENGINES[spec.engine].covers[spec.filtration].largest
    assert refusal(spec, largest, 0.0) is None
    assert refusal(spec, largest + 1, 0.0) is not None
    whole = largest_whole(spec)
    assert refusal(spec, whole) is None and refusal(spec, whole + 1) is not None


@pytest.mark.parametrize(("engine", "served"), [("ripser", 16_000), ("gudhi", 75_000),
                                                ("giotto", 23_000)])  # fmt: skip
def test_memory_ends_a_library_before_its_largest_size(engine: str, served: int) -> None:
    spec = RIPS.replace(engine=engine)
    assert refusal(spec, 4096) is None
    text = refusal(spec, 15_000)
    assert text is not None and "8 GiB" in text and "--max-length" in text
    assert refusal(spec, 15_000, edges=100_000.0) is None
    assert (refusal(spec, 20_000, edges=100_000.0) is None) == (served >= 20_000)
    text = refusal(spec, 80_000, edges=100_000.0)
    assert text is not None and f"engine {engine}, {served:,}" in text


def test_coordinates_take_time() -> None:
    few, many = (estimate(RIPS, 2000, coordinates=d) for d in (3, 1003))
    assert many.seconds - few.seconds == pytest.approx(1e-6 * pairs_of(2000))
    assert many.memory == few.memory
    clouds = np.broadcast_to(np.float32(0), (1, 9000, 50_000))
    with pytest.raises(SampleError, match=r"and 3\d min"):
        check_fields(Fields(clouds), RIPS)


def test_a_remedy_says_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "installed", lambda name: name == "giotto")
    text = refusal(RIPS, 9000)
    assert text is not None and text.endswith("--engine gudhi (not installed)")
    spec = DiagramSpec(filtration="cubical", engine="ripser")
    with pytest.raises(
        InvalidSpec, match=r"use giotto, native \(not .*\) or gudhi \(not installed"
    ):
        engines.engine_of(spec)


def planned(source: Source, **diagram: Any) -> Plan:
    spec = StoreSpec(
        source=source.spec(), diagram=DiagramSpec(filtration="rips", **diagram), image=IMAGE
    )
    return make_plan(source, spec, options=Options(workers=1))


def test_a_plan_counts_the_edges_that_are_left_and_the_child(rng: np.random.Generator) -> None:
    source = from_arrays(rng.random((3, 500, 3)), sample="cloud")
    whole = planned(source, engine="ripser").field_memory
    assert whole == estimate(RIPS.replace(engine="ripser"), 500).memory + CHILD_MEMORY
    few = planned(source, engine="ripser", max_length=0.05).field_memory
    assert CHILD_MEMORY < few < CHILD_MEMORY + 0.4 * (whole - CHILD_MEMORY)
    assert planned(source).field_memory == estimate(RIPS, 500).memory, "native has no child"


def test_a_tiny_time_limit_costs_samples_and_not_the_plan(rng: np.random.Generator) -> None:
    source = from_arrays(rng.random((3, 400, 3)), sample="cloud")
    diagram = DiagramSpec(filtration="rips", engine="ripser")
    spec = StoreSpec(source=source.spec(), diagram=diagram, image=IMAGE)
    assert measure(source, spec, time_limit=1e-5).points == 0


def test_measuring_has_a_limit_of_its_own(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(measuring, "MEASURING_LIMIT", 0.3)
    monkeypatch.setattr(measuring, "ANNOUNCED", 0.2)
    monkeypatch.setattr("pipeline.diagrams.module_of", lambda engine: fake_engine)
    monkeypatch.setattr(measuring, "start_engine", lambda spec, limit: None)
    images = rng.random((2, 4, 4, 1)) + 10
    images[0, 0, 0, 0] = ENDLESS
    source = from_arrays(images)
    diagram = DiagramSpec(filtration="cubical", engine="gudhi")
    spec = StoreSpec(source=source.spec(), diagram=diagram, image=IMAGE)
    said: list[str] = []
    for limit in (600.0, 0.0, None):
        assert measure(source, spec, time_limit=limit, say=said.append).seconds >= 0.3
    assert said == ["1 of 1 measured samples took over 0.3 s: all may take longer"] * 3


def test_what_is_likely_to_take_too_long_is_said_before(rng: np.random.Generator) -> None:
    source = from_arrays(rng.random((3, 1500, 3)), sample="cloud")
    ripser = RIPS.replace(engine="ripser")
    warning, notice = expectations(source, ripser, 2.0)
    assert warning.startswith("warning: a cloud of 1,500 points takes engine ripser about 7 s")
    assert "--time-limit is 2 s: raise it, or use fewer points" in warning
    assert "first a few samples are computed" in notice
    assert expectations(source, ripser, 600.0) == [notice]
    assert expectations(source, ripser.replace(max_length=0.05), 2.0) == []
    assert expectations(source, RIPS, 2.0) == []


def test_h2_is_refused_far_earlier() -> None:
    spec = DiagramSpec(filtration="rips", homology=(0, 1, 2))
    assert refusal(spec, 500) is None
    text = refusal(spec, 1500)
    assert text is not None and "--homology 0,1" in text
    assert refusal(spec.replace(homology=(0, 1)), 1500) is None


def test_a_metric_needs_a_matrix() -> None:
    gudhi = RIPS.replace(engine="gudhi")
    plain, other = (estimate(s, 1000).memory for s in (gudhi, gudhi.replace(metric="cosine")))
    assert other - plain == pytest.approx(24 * pairs_of(1000))


@pytest.mark.parametrize("metric", METRICS)
def test_edges_are_counted_from_some_rows(metric: str, rng: np.random.Generator) -> None:
    cloud = rng.random((700, 3)) + 0.1
    matrix = lengths(cloud, metric)
    longest = float(np.quantile(matrix, 0.2))
    spec = RIPS.replace(metric=metric, max_length=longest)
    exact = int((matrix[np.triu_indices(700, 1)] <= longest).sum())
    assert count_edges(cloud, spec) == pytest.approx(exact, rel=0.2)
    assert count_edges(cloud, spec) == count_edges(cloud, spec)
    precomputed = spec.replace(metric="precomputed")
    assert count_edges(matrix, precomputed) == pytest.approx(count_edges(cloud, spec), rel=1e-3)
    few = cloud[:50]
    every = int((matrix[:50, :50][np.triu_indices(50, 1)] <= longest).sum())
    assert count_edges(few, spec) == pytest.approx(every), "all rows of a small cloud"


def test_a_large_cloud_is_refused_before_work() -> None:
    clouds = [np.zeros((5, 2)), np.zeros((8193, 2))]
    with pytest.raises(SampleError, match="8,193 points is over the limit of engine nat") as caught:
        compute_diagrams(Fields(clouds), RIPS)
    assert (caught.value.status, caught.value.field) == (Status.TOO_LARGE, 1)


def test_a_longest_edge_makes_room_in_a_library(rng: np.random.Generator) -> None:
    cloud = rng.random((1, 20_000, 2))
    gudhi = RIPS.replace(engine="gudhi")
    for longest in (None, 1.0):
        with pytest.raises(SampleError, match="over the limit"):
            check_fields(Fields(cloud), gudhi.replace(max_length=longest))
    check_fields(Fields(cloud), gudhi.replace(max_length=0.01))


@pytest.mark.slow
def test_gudhi_serves_a_cloud_that_native_refuses(rng: np.random.Generator) -> None:
    if not installed("gudhi"):
        pytest.skip("engine gudhi is not installed here")
    cloud = rng.random((1, 10_000, 3))
    spec = DiagramSpec(filtration="rips", max_length=0.03, engine="gudhi")
    assert len(compute_diagrams(Fields(cloud), spec, time_limit=120)[0]) >= 10_000 - 1


def test_a_source_of_too_large_samples_fails_at_once(tmp_path: Path) -> None:
    source = from_arrays(np.zeros((3, 100, 100, 1), np.uint8))
    spec = StoreSpec(source=source.spec(), diagram=RIPS, image=IMAGE)
    message = "every sample is too large: a cloud of 10,000 points is over the limit of engine nat"
    with pytest.raises(InvalidSpec, match=message):
        make_plan(source, spec, options=Options())
    with pytest.raises(InvalidSpec, match=message):
        build(source, RIPS, IMAGE, root=tmp_path)
    assert list(tmp_path.iterdir()) == [], "nothing was begun"


def test_a_ragged_source_loses_its_large_samples_only(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    head = "@problemName x\n@univariate true\n@equalLength false\n@classLabel true a\n@data\n"
    rows = [",".join(map(str, rng.integers(0, 9, n))) + ":a" for n in (30, 9000, 40)]
    (tmp_path / "x_TRAIN.ts").write_text(head + "\n".join(rows) + "\n")
    source = open_source(f"ucr:{tmp_path / 'x_TRAIN.ts'}")
    spec = DiagramSpec(filtration="rips", embedding_dimension=2, embedding_delay=1)
    report = build(source, spec, IMAGE, root=tmp_path, options=Options(executor="serial"))
    store = open_store(report.path)
    assert store.status.tolist() == [Status.OK, Status.TOO_LARGE, Status.OK]
    problem = report.manifest.statistics["problems"][source.ids[1]]
    assert "8,999 points" in problem and "--engine gudhi" in problem
