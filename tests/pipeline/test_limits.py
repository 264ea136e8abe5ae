"""What is refused before any work, with an estimate and a remedy; and what is let through."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from pi_cache.errors import InvalidSpec, SampleError
from pi_cache.reader import open_store
from pi_cache.specs import METRICS, DiagramSpec, ImageSpec, Status, StoreSpec
from pipeline.build import build
from pipeline.diagrams import compute_diagrams
from pipeline.engines import ENGINES, installed
from pipeline.engines.common import lengths
from pipeline.engines.limits import (
    BUDGET,
    check_fields,
    count_edges,
    estimate,
    pairs_of,
    refusal,
)
from pipeline.fields import Fields
from pipeline.prepare import Options, make_plan
from pipeline.sources import open_source
from pipeline.sources.arrays import from_arrays

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


def test_memory_ends_a_library_before_its_largest_size() -> None:
    for engine in ("ripser", "gudhi", "giotto"):
        spec = RIPS.replace(engine=engine)
        assert refusal(spec, 4096) is None
        text = refusal(spec, 20_000)
        assert text is not None and "8 GiB" in text and "--max-length" in text
        assert refusal(spec, 20_000, edges=100_000.0) is None or engine != "gudhi"


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


def test_the_budget_is_stated_and_not_measured() -> None:
    assert BUDGET == 8 * 2**30
