"""Every engine gives the same diagrams, from one interface; what is missing is said."""

from __future__ import annotations

import numpy as np
import pytest

from pi_cache.errors import EngineNotInstalled, InvalidSpec, SampleError
from pi_cache.specs import DiagramSpec, Status
from pipeline.diagrams import ENGINES, RIPS_POINTS, Diagrams, compute_diagrams, installed
from pipeline.fields import Fields, delay_embedding, image_clouds

SINGLE = 1e-6
"""ripser and giotto-ph compute in single precision."""


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


def test_cubical_giotto_agrees(rng: np.random.Generator) -> None:
    spec = DiagramSpec(filtration="cubical")
    images = rng.integers(0, 9, (10, 8, 7)) / 4
    found = diagrams(images, spec.replace(engine=available("giotto")))
    assert_same(found, diagrams(images, spec), 0)
    with pytest.raises(InvalidSpec, match="cells only"):
        diagrams(images, spec.replace(engine="giotto", construction="vertices"))


@pytest.mark.parametrize("engine", ["gudhi", "giotto"])
@pytest.mark.parametrize("max_length", [None, 0.4])
@pytest.mark.parametrize("homology", [(0, 1), (1,), (0, 1, 2)])
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


def test_large_cloud_is_refused_before_work() -> None:
    cloud = np.zeros((1, RIPS_POINTS + 1, 2))
    with pytest.raises(SampleError, match="over the limit") as caught:
        diagrams(cloud, DiagramSpec(filtration="rips"))
    assert caught.value.status == Status.TOO_LARGE


def test_min_persistence_is_strict_and_spares_essential_classes() -> None:
    signal = np.array([[0.0, 1.0, 0.5, 2.0, 1.0, 1.25]])
    for engine in ("native", "ripser"):
        spec = DiagramSpec(min_persistence=0.5, engine=engine)
        np.testing.assert_allclose(diagrams(signal, spec)[0], [[1, 2], [0, np.inf]])


def test_uncovered_filtration_names_engines_that_cover_it() -> None:
    with pytest.raises(InvalidSpec, match="ripser does not compute cubical; use gudhi"):
        compute_diagrams(Fields([]), DiagramSpec(filtration="cubical", engine="ripser"))


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
