"""Every engine gives the same diagrams, from one interface; what is missing is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pi_cache.errors import EngineNotInstalled, InvalidSpec, SampleError
from pi_cache.reader import open_store
from pi_cache.specs import METRICS, DiagramSpec, ImageSpec, SourceSpec, Status, StoreSpec
from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.diagrams import Diagrams, compute_diagrams, tiny_fields
from pipeline.engines import ENGINES, installed, missing
from pipeline.engines.common import lengths
from pipeline.fields import Fields, delay_embedding, image_clouds
from pipeline.request import resolve
from pipeline.sources import open_source

SINGLE = 1e-6
"""ripser, giotto-ph and native Vietoris-Rips hold lengths in single precision."""


def available(engine: str) -> str:
    if not installed(engine):
        pytest.skip(f"engine {engine} is not installed here")
    return engine


def diagrams(values: np.ndarray, spec: DiagramSpec) -> Diagrams:
    return compute_diagrams(Fields(values), spec)


def ordered(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(points.T[::-1])]


def assert_same(found: Diagrams, expected: Diagrams, tolerance: float) -> None:
    assert len(found) == len(expected)
    for s in range(len(expected)):
        one, other = ordered(found[s]), ordered(expected[s])
        assert one.shape == other.shape, s
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


def signals(rng: np.random.Generator) -> np.ndarray:
    """Noise, ties with exact zeros, plateaus, a constant, rising, falling."""
    return np.array(
        [
            rng.normal(size=40),
            rng.integers(-2, 3, 40) / 4,
            np.repeat(rng.integers(0, 5, 10), 4) / 8,
            np.zeros(40),
            np.arange(40.0),
            -np.arange(40.0),
        ]
    )


@pytest.mark.parametrize("engine", ["ripser", "gudhi", "giotto"])
@pytest.mark.parametrize("filtration", ["sublevel", "superlevel"])
def test_paths_agree_with_the_native_kernel(
    engine: str, filtration: str, rng: np.random.Generator
) -> None:
    native = DiagramSpec(filtration=filtration)
    values = signals(rng)
    found = diagrams(values, native.replace(engine=available(engine)))
    assert_same(found, diagrams(values, native), SINGLE if engine == "ripser" else 0)


def test_superlevel_diagrams_are_those_of_the_negated_signal(rng: np.random.Generator) -> None:
    values = signals(rng)
    above = diagrams(values, DiagramSpec(filtration="superlevel"))
    below = diagrams(-values, DiagramSpec())
    np.testing.assert_array_equal(above.points, -below.points)
    finite = above.points[np.isfinite(above.points[:, 1])]
    assert (finite[:, 0] > finite[:, 1]).all()


def test_ragged_signals_equal_signals_one_by_one(rng: np.random.Generator) -> None:
    ragged = [rng.normal(size=n) for n in (1, 2, 7, 30)]
    together = compute_diagrams(Fields(ragged), DiagramSpec(filtration="superlevel"))
    for s, signal in enumerate(ragged):
        alone = diagrams(signal[None], DiagramSpec(filtration="superlevel"))
        np.testing.assert_array_equal(together[s], alone[0])


@pytest.mark.parametrize("construction", ["cells", "vertices"])
def test_cubical_rings(construction: str) -> None:
    """A ring of low pixels has one component and one hole, whatever a pixel is.

    Joined by corners only, it is one component of cells and four of vertices.
    """
    available("gudhi")
    spec = DiagramSpec(filtration="cubical", construction=construction)
    ring = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], float)
    found = diagrams(ring[None], spec)
    np.testing.assert_array_equal(found[0], [[0, np.inf]])
    np.testing.assert_array_equal(found[1], [[0, 1]])
    diamond = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], float)
    found = diagrams(diamond[None], spec)
    assert len(found[0]) == (1 if construction == "cells" else 4)
    assert len(found[1]) == (1 if construction == "cells" else 0)


@pytest.mark.parametrize("engine", ["gudhi", "giotto"])
@pytest.mark.parametrize("construction", ["cells", "vertices"])
@pytest.mark.parametrize("homology", [(0, 1), (1,)])
def test_cubical_engines_agree(
    engine: str, construction: str, homology: tuple[int, ...], rng: np.random.Generator
) -> None:
    spec = DiagramSpec(filtration="cubical", construction=construction, homology=homology)
    other = spec.replace(engine=available(engine))
    images = rng.integers(0, 9, (10, 8, 7)) / 4
    if (engine, construction) == ("giotto", "vertices"):
        with pytest.raises(InvalidSpec, match="cubical vertices; use native or gudhi"):
            diagrams(images, other)
        return
    found = diagrams(images, other)
    assert_same(found, diagrams(images, spec), 0)
    assert len(found) == 10 * len(homology)


def test_ragged_images_equal_images_one_by_one(rng: np.random.Generator) -> None:
    ragged = [rng.random(shape) for shape in ((3, 4), (3, 4), (5, 2), (1, 1), (3, 4))]
    spec = DiagramSpec(filtration="cubical", min_persistence=0.1)
    together = compute_diagrams(Fields(ragged), spec)
    for s, image in enumerate(ragged):
        alone = diagrams(image[None], spec)
        for k in (0, 1):
            np.testing.assert_array_equal(together[2 * s + k], alone[k])


@pytest.mark.parametrize("engine", ["ripser", "gudhi", "giotto"])
@pytest.mark.parametrize("max_length", [None, 0.4])
@pytest.mark.parametrize("homology", [(0, 1), (1,), (0,), (0, 1, 2)])
def test_rips_engines_agree(
    engine: str,
    max_length: float | None,
    homology: tuple[int, ...],
    rng: np.random.Generator,
) -> None:
    spec = DiagramSpec(filtration="rips", homology=homology, max_length=max_length)
    clouds = rng.random((3, 30, 3))
    found = diagrams(clouds, spec.replace(engine=available(engine)))
    assert_same(found, diagrams(clouds, spec), SINGLE)
    assert len(found) == 3 * len(homology)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("time_limit", [None, 60.0])
def test_a_metric_is_that_of_its_distance_matrix(
    engine: str, metric: str, time_limit: float | None, rng: np.random.Generator
) -> None:
    spec = DiagramSpec(filtration="rips", metric=metric, engine=available(engine))
    clouds = rng.random((3, 20, 3)) + 0.1
    found = compute_diagrams(Fields(clouds), spec, time_limit=time_limit)
    matrices = np.stack([lengths(cloud, metric) for cloud in clouds])
    assert_same(found, diagrams(matrices, spec.replace(metric="precomputed")), SINGLE)
    by_ripser = spec.replace(engine="ripser", metric="precomputed")
    assert_same(found, diagrams(matrices, by_ripser), SINGLE)


def test_lengths_are_what_their_names_say(rng: np.random.Generator) -> None:
    cloud = rng.normal(size=(6, 3))
    apart = cloud[:, None] - cloud[None]
    norms = np.linalg.norm(cloud, axis=1)
    expected = {
        "euclidean": np.sqrt((apart**2).sum(-1)),
        "manhattan": np.abs(apart).sum(-1),
        "chebyshev": np.abs(apart).max(-1),
        "cosine": 1 - cloud @ cloud.T / np.outer(norms, norms),
    }
    for metric, matrix in expected.items():
        found = lengths(cloud, metric)
        np.testing.assert_allclose(found, matrix, atol=1e-14)
        assert (found == found.T).all() and (np.diag(found) == 0).all() and (found >= 0).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_point_at_zero_has_no_cosine_distance(engine: str) -> None:
    spec = DiagramSpec(filtration="rips", metric="cosine", engine=available(engine))
    clouds = np.array([[[1.0, 0], [0, 1]], [[1.0, 0], [0, 0]]])
    with pytest.raises(SampleError, match="no cosine distance") as caught:
        compute_diagrams(Fields(clouds), spec)
    assert (caught.value.status, caught.value.field) == (Status.NAN, 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_cloud_far_from_zero_keeps_its_shape(engine: str, rng: np.random.Generator) -> None:
    cloud = rng.integers(0, 64, (1, 30, 2)) / 64
    spec = DiagramSpec(filtration="rips", engine=available(engine))
    assert_same(diagrams(cloud + 2.0**20, spec), diagrams(cloud, spec), SINGLE)


def covered() -> list[DiagramSpec]:
    """Every engine with every filtration, and with every metric."""
    return [
        DiagramSpec(filtration=name, engine=engine.name, **({"metric": m} if m else {}))
        for engine in ENGINES.values()
        for name, cover in engine.covers.items()
        for m in cover.metrics or ("",)
    ]


def some_fields(spec: DiagramSpec, rng: np.random.Generator) -> np.ndarray:
    """Two fields of the kind that a spec filters."""
    if spec.filtration == "rips":
        clouds = rng.normal(size=(2, 12, 3))
        given = spec.metric == "precomputed"
        return np.stack([lengths(c, "euclidean") for c in clouds]) if given else clouds
    return rng.normal(size=(2, 6, 7) if spec.filtration == "cubical" else (2, 40))


@pytest.mark.parametrize("exponent", [-1000, -664, -166, 127, 664, 1000])
@pytest.mark.parametrize("spec", covered(), ids=lambda s: f"{s.engine}-{s.filtration}-{s.metric}")
def test_values_of_any_size_give_the_same_diagrams(
    spec: DiagramSpec, exponent: int, rng: np.random.Generator
) -> None:
    """Multiplied by a power of two, which is exact: 2**664 is about 1e200."""
    available(spec.engine)
    factor = 1.0 if spec.metric == "cosine" else 2.0**exponent
    if spec.filtration == "rips":
        spec = spec.replace(max_length=1.5)
    expected = diagrams(some := some_fields(spec, rng), spec)
    if spec.filtration == "rips":
        spec = spec.replace(max_length=1.5 * factor)
    found = diagrams(some * 2.0**exponent, spec)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    np.testing.assert_array_equal(found.points, expected.points * factor)
    assert len(found.points) > 4 and np.isinf(found.points).any()


@pytest.mark.parametrize("factor", [1e200, 1e-200, 1e-50])
@pytest.mark.parametrize("spec", covered(), ids=lambda s: f"{s.engine}-{s.filtration}-{s.metric}")
def test_huge_and_tiny_values_agree(
    spec: DiagramSpec, factor: float, rng: np.random.Generator
) -> None:
    available(spec.engine)
    expected = diagrams(some := some_fields(spec, rng), spec)
    found = diagrams(some * factor, spec)
    factor = 1.0 if spec.metric == "cosine" else factor
    np.testing.assert_allclose(found.points / factor, expected.points, rtol=0, atol=5 * SINGLE)


@pytest.mark.parametrize("engine", ["native", "ripser", "gudhi", "giotto"])
@pytest.mark.parametrize("most", [1.7e308, np.finfo(float).max])
def test_the_largest_values_are_no_essential_classes(engine: str, most: float) -> None:
    values = np.array([[0.0, most, -most, most, most / 2]])
    found = diagrams(values, DiagramSpec(engine=available(engine)))
    expected = [[-most, np.inf], [0, most], [most / 2, most]]
    np.testing.assert_allclose(ordered(found[0]), expected, rtol=SINGLE)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev"])
def test_lengths_beyond_the_precision_are_an_error(
    engine: str, precision: str, metric: str
) -> None:
    """And no essential classes: each coordinate is finite, and their differences are not."""
    most = float(np.finfo(precision).max)
    spec = DiagramSpec(
        filtration="rips", metric=metric, precision=precision, engine=available(engine)
    )
    clouds = np.array([[[1.0, 2.0], [3.0, 4.0]], [[most, 0.0], [-most, 0.0]]], precision)
    with pytest.raises(SampleError, match=f"lengths that may be beyond {precision}") as caught:
        diagrams(clouds, spec)
    assert (caught.value.status, caught.value.field) == (Status.INF, 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_clouds_of_different_sizes(engine: str, rng: np.random.Generator) -> None:
    ragged = [rng.random((n, 2)) for n in (1, 2, 9, 5)]
    spec = DiagramSpec(filtration="rips", engine=available(engine), metric="manhattan")
    together = compute_diagrams(Fields(ragged), spec)
    for s, cloud in enumerate(ragged):
        alone = diagrams(cloud[None], spec)
        for k in (0, 1):
            np.testing.assert_array_equal(together[2 * s + k], alone[k])


def test_rips_of_a_circle() -> None:
    """One component; one loop, born at the side of the polygon, dead at its triangle."""
    t = np.arange(24) * 2 * np.pi / 24
    circle = np.stack([np.cos(t), np.sin(t)], axis=1)
    found = diagrams(circle[None], DiagramSpec(filtration="rips"))
    assert len(found[0]) == 24
    np.testing.assert_allclose(found[1], [[2 * np.sin(np.pi / 24), np.sqrt(3)]], atol=SINGLE)


def test_repeated_points_give_no_pair_of_zero_persistence() -> None:
    cloud = np.repeat(np.array([[0.0, 0], [1, 0]]), 3, axis=0)
    found = diagrams(cloud[None], DiagramSpec(filtration="rips"))
    np.testing.assert_allclose(found[0], [[0, 1], [0, np.inf]])


def test_min_persistence_is_strict_and_spares_essential_classes() -> None:
    signal = np.array([[0.0, 1.0, 0.5, 2.0, 1.0, 1.25]])
    for engine in ("native", "ripser"):
        spec = DiagramSpec(min_persistence=0.5, engine=engine)
        np.testing.assert_allclose(diagrams(signal, spec)[0], [[1, 2], [0, np.inf]])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"filtration": "cubical", "engine": "ripser"}, "ripser does not compute cubical; use nat"),
        (
            {"filtration": "rips", "homology": (0, 2), "engine": "native"},
            "native does not compute rips homology H2; use ripser, gudhi or giotto",
        ),
    ],
)
def test_what_an_engine_does_not_cover_names_those_that_do(
    spec: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message):
        compute_diagrams(Fields([]), DiagramSpec(**spec))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_serves_no_field_and_a_tiny_one(name: str) -> None:
    available(name)
    for filtration in ENGINES[name].covers:
        spec = DiagramSpec(filtration=filtration, engine=name)
        assert len(compute_diagrams(Fields([]), spec)) == 0
        assert len(compute_diagrams(tiny_fields(spec), spec)) == len(spec.homology)


def test_missing_engine_says_how_to_install_it() -> None:
    missing = [engine for engine in ENGINES if not installed(engine)]
    if not missing:
        pytest.skip("every engine is installed here")
    spec = DiagramSpec(filtration="rips", engine=missing[0])
    with pytest.raises(EngineNotInstalled, match="pip install"):
        compute_diagrams(Fields([]), spec)


def test_image_clouds_run_from_zero_to_one() -> None:
    clouds = image_clouds(np.arange(6.0).reshape(1, 1, 2, 3))
    assert clouds.shape == (1, 1, 6, 3)
    np.testing.assert_array_equal(clouds[0, 0, :, 0], [0, 0.5, 1, 0, 0.5, 1])
    np.testing.assert_array_equal(clouds[0, 0, :, 1], [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(clouds[0, 0, :, 2], np.arange(6))


def test_delay_embedding_shifts() -> None:
    clouds = delay_embedding(np.arange(7.0).reshape(1, 1, 7), 3, 2)
    np.testing.assert_array_equal(clouds[0, 0], [[0, 2, 4], [1, 3, 5], [2, 4, 6]])


@pytest.mark.parametrize("filtration", ["sublevel", "cubical", "rips"])
def test_stores_by_every_engine_hold_the_same_images(filtration: str, tmp_path: Path) -> None:
    source, image = open_source("digits")[:24], ImageSpec(pixels=12, dtype="float32")
    spec = DiagramSpec(filtration=filtration)
    names = [e for e in ENGINES if filtration in ENGINES[e].covers and installed(e)]
    stores = {}
    for engine in names:
        how = Options(executor="serial")
        given = spec.replace(engine=engine)
        stores[engine] = open_store(build(source, given, image, root=tmp_path, options=how).path)
    assert len({store.key for store in stores.values()}) == len(names) >= 2
    expected = stores["native"].read_all("images")
    for engine, store in stores.items():
        assert store.spec.diagram.engine == engine
        assert (store.status == Status.OK).all()
        np.testing.assert_allclose(store.read_all("images"), expected, rtol=0, atol=1e-5)


# --- which engine, and which key


def test_the_default_is_native_where_it_covers_all() -> None:
    for spec in (
        DiagramSpec(),
        DiagramSpec(filtration="superlevel"),
        DiagramSpec(filtration="cubical", construction="vertices"),
        DiagramSpec(filtration="rips", metric="cosine"),
    ):
        assert spec.engine == "native" and missing(ENGINES["native"], spec) is None
    assert DiagramSpec(filtration="rips", homology=(1, 2)).engine == "ripser"


def test_a_default_engine_follows_the_homology() -> None:
    request = resolve({}, {"recipe": "pi-net-paper-rips", "homology": (0, 1, 2)})
    assert request.diagram.engine == "ripser"
    named = resolve({"diagram": {"filtration": "rips", "engine": "gudhi"}}, {"homology": (2,)})
    assert named.diagram.engine == "gudhi"


def test_stores_from_before_the_metrics_keep_their_keys() -> None:
    """Keys as the first version computed them, when a spec had no metric.

    What changed since then has another version, and so another key: lengths that ripser is given,
    the order of points of native paths.
    """
    image = SourceSpec(kind="digits", sample="image", samples=4, channels=1, fingerprint="0" * 64)
    cloud = SourceSpec(kind="array", sample="cloud", samples=4, channels=1, fingerprint="0" * 64)
    rips = DiagramSpec(filtration="rips", max_length=0.5, engine="ripser")
    cubical = DiagramSpec(filtration="cubical", engine="gudhi")
    known = {
        "1c8e33bc1c9aa06f7e103c3b3a9bd5cd220633a507ccf4f3b2d1c3f3976ce79a": (cloud, rips),
        "61be2b21e40705203c515b683b1a205e52774ce4aebe89422168fb4496bf4667": (image, cubical),
        "1a08e1f7ae0e2828f3970946d1f4ea499a885869911d64b8746dcf15db85d97c": (image, DiagramSpec()),
    }
    for key, (source, diagram) in known.items():
        spec = StoreSpec(source=source, diagram=diagram, image=ImageSpec(), algorithm=1)
        assert spec.key == key
        now = StoreSpec(source=source, diagram=diagram, image=ImageSpec())
        assert now.algorithm == (1 if diagram is cubical else 2)
        assert (now.key == key) == (now.algorithm == 1)
        assert StoreSpec.from_document(spec.to_document()) == spec
        assert "metric" not in diagram.to_dict() and diagram.to_dict()["engine"] == diagram.engine


def test_a_metric_is_part_of_the_key_and_comes_back() -> None:
    cosine = DiagramSpec(filtration="rips", metric="cosine")
    assert DiagramSpec.from_dict(cosine.to_dict()) == cosine
    assert cosine != DiagramSpec(filtration="rips")
    with pytest.raises(InvalidSpec, match="metric applies to rips only"):
        DiagramSpec(metric="cosine")
    with pytest.raises(InvalidSpec, match="did you mean 'manhattan'"):
        DiagramSpec(filtration="rips", metric="manhatten")
