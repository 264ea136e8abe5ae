"""Vietoris-Rips H0 and H1 against boundary matrices and ripser, and by laws."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fields import delay_embedding, image_clouds
from pipeline.kernels.rips import MOST_POINTS, Stopped, rips_h01, rips_h01_of_distances
from tests import naive
from tests.photographs import channels

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ripser import ripser

ROOT = Path(__file__).resolve().parents[2]

Pairs = list[tuple[float, float]]


def diagrams(cloud: np.ndarray, longest: float = np.inf) -> list[Pairs]:
    """Sorted H0 and H1 pairs of one cloud."""
    cloud = np.asarray(cloud, np.float64)
    return split(*rips_h01(cloud, np.array([0, len(cloud)]), longest=longest))


def of_distances(lengths: np.ndarray, longest: float = np.inf) -> list[Pairs]:
    starts = np.array([0, len(lengths)])
    return split(*rips_h01_of_distances(lengths.reshape(-1), starts, longest=longest))


def split(points: np.ndarray, offsets: np.ndarray) -> list[Pairs]:
    assert offsets[0] == 0
    assert offsets[-1] == len(points)
    return [
        sorted(map(tuple, points[start:stop].tolist()))
        for start, stop in itertools.pairwise(offsets)
    ]


def rounded_lengths(cloud: np.ndarray) -> np.ndarray:
    """Roots of the squares, summed in float64 and rounded to float32, in float32."""
    squares = np.zeros((len(cloud), len(cloud)))
    for coordinate in np.asarray(cloud, np.float64).T:
        squares = squares + (coordinate[:, None] - coordinate[None]) ** 2
    lengths: np.ndarray = np.sqrt(squares.astype(np.float32))
    return lengths


def by_ripser(lengths: np.ndarray, longest: float = np.inf) -> list[Pairs]:
    """Pairs of positive persistence; ripser computes in single precision."""
    found = ripser(lengths, maxdim=1, thresh=longest, distance_matrix=True)["dgms"]
    return [sorted((b, d) for b, d in diagram.tolist() if d > b) for diagram in found]


# --- against boundary matrices


def cloud_of(dimension: int, content: bytes, fine: bool) -> np.ndarray:
    """Up to 9 points on a small grid, or on a fine one."""
    numbers = np.frombuffer(content, np.uint8)[: len(content) // dimension * dimension]
    cloud = numbers.reshape(-1, dimension)[:9]
    return cloud / 7 if fine else cloud % 5 - 2.0


small_clouds = st.builds(
    cloud_of, st.integers(1, 3), st.binary(min_size=3, max_size=27), st.booleans()
)


@given(small_clouds)
@settings(max_examples=2500)
def test_small_clouds_equal_boundary_matrices(cloud: np.ndarray) -> None:
    assert diagrams(cloud) == naive.rips(rounded_lengths(cloud))


@given(small_clouds, st.sampled_from([0.5, 1.0, 2.0, 3.0]))
@settings(max_examples=1000)
def test_cut_at_a_length_equals_boundary_matrices(cloud: np.ndarray, longest: float) -> None:
    assert diagrams(cloud, longest) == naive.rips(rounded_lengths(cloud), longest)


def lengths_of(n: int, content: bytes) -> np.ndarray:
    """A symmetric matrix of few values, zeros among them: no triangle inequality holds."""
    lengths = np.zeros((n, n), np.float32)
    below = np.tril_indices(n, -1)
    lengths[below] = np.resize(np.frombuffer(content, np.uint8) % 6 / 3, len(below[0]))
    return lengths + lengths.T


@given(st.builds(lengths_of, st.integers(1, 9), st.binary(min_size=36, max_size=36)))
@settings(max_examples=1500)
def test_lengths_that_are_no_metric_equal_boundary_matrices(lengths: np.ndarray) -> None:
    assert of_distances(lengths) == naive.rips(lengths)


def test_lengths_of_any_float32_are_kept() -> None:
    """From the smallest subnormal to the largest number."""
    smallest, largest = np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max
    lengths = np.array([[0, smallest, largest], [smallest, 0, largest], [largest, largest, 0]])
    assert of_distances(lengths)[0] == [(0, float(smallest)), (0, float(largest)), (0, np.inf)]


def test_negative_zeros_are_zeros(rng: np.random.Generator) -> None:
    """Such as -log(1): its bits are those of the smallest whole number."""
    cloud = np.repeat(rng.random((6, 2)), 2, axis=0)
    lengths = rounded_lengths(cloud)
    assert of_distances(np.where(lengths == 0, -0.0, lengths)) == of_distances(lengths)


# --- against ripser


def clouds() -> Iterator[tuple[str, np.ndarray]]:
    """Where such kernels break: ties, repeated and nearly repeated points, flat and round ones."""
    random = np.random.default_rng(0)
    t = np.arange(400.0)
    yield "cube", random.random((300, 3))
    yield "cube of 10 dimensions", random.random((150, 10))
    sphere = random.normal(size=(300, 3))
    yield "sphere", sphere / np.linalg.norm(sphere, axis=1, keepdims=True)
    angles = random.random(200) * 2 * np.pi
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    yield "circle", circle
    yield "noisy circle", circle + 0.1 * random.normal(size=circle.shape)
    u, v = random.random((2, 300)) * 2 * np.pi
    yield (
        "torus",
        np.stack([(2 + np.cos(v)) * np.cos(u), (2 + np.cos(v)) * np.sin(u), np.sin(v)], 1),
    )
    yield "grid", np.stack(np.meshgrid(range(15), range(15)), -1).reshape(-1, 2)
    yield "grid of 3 dimensions", np.stack(np.meshgrid(*[range(6)] * 3), -1).reshape(-1, 3)
    yield "whole numbers", random.integers(0, 9, (250, 3))
    yield "repeated", np.repeat(random.random((60, 3)), 3, axis=0)
    yield "all equal", np.ones((50, 3))
    yield "line", np.stack([np.arange(120.0), np.zeros(120)], axis=1)
    yield "random line", np.stack([random.random(120)] * 2, axis=1)
    yield "one coordinate", random.random((100, 1))
    yield "far away", 1e6 + random.random((150, 3))
    yield "tiny", 1e-4 * random.random((150, 3))
    yield "600 coordinates", random.random((150, 600))
    yield "of many scales", random.normal(size=(200, 3)) * np.exp(3 * random.normal(size=(200, 1)))
    yield "half of it dense", random.random((200, 2)) * np.repeat([[1e-3], [1]], 100, axis=0)
    for n in (2, 3, 4):
        yield f"{n} points", random.random((n, 3))
    for n in (3, 4, 5, 6, 24, 51):
        around = np.arange(n) * 2 * np.pi / n
        yield f"{n}-gon", np.stack([np.cos(around), np.sin(around)], axis=1)
    signals = {
        "sines": np.sin(t / 9) + 0.3 * np.sin(t / 23.7),
        "noise": random.normal(size=400),
        "walk": random.normal(size=400).cumsum(),
        "square wave": np.sign(np.sin(t / 15)),
        "quantised wave": np.round(5 * np.sin(t / 20)),
        "nearly square wave": np.sign(np.sin(t / 15)) + 1e-7 * random.normal(size=400),
    }
    for name, signal in signals.items():
        for dimension in (2, 3, 6):
            yield f"{name}, embedded in {dimension}", delay_embedding(signal, dimension, 4)


@pytest.mark.parametrize(("name", "cloud"), [pytest.param(n, c, id=n) for n, c in clouds()])
def test_equals_ripser(name: str, cloud: np.ndarray) -> None:
    expected = by_ripser(rounded_lengths(cloud))
    assert diagrams(cloud) == expected
    assert of_distances(rounded_lengths(cloud)) == expected


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_cut_at_a_length_equals_ripser(share: float, rng: np.random.Generator) -> None:
    cloud = rng.random((150, 3))
    lengths = rounded_lengths(cloud)
    longest = float(np.quantile(lengths, share))
    found = diagrams(cloud, longest)
    assert found == by_ripser(lengths, longest)
    assert (0, np.inf) in found[0]
    assert found == diagrams(cloud, float(lengths[lengths <= longest].max()))  # itself included


@pytest.mark.parametrize("step", [0.1, 0.3, 0.7, 1e-30, 1e30])
def test_an_edge_of_the_largest_length_is_in(step: float) -> None:
    """A length is compared as it was rounded: 0.1 as float32 is over 0.1."""
    grid = step * np.stack(np.meshgrid(range(3), range(3)), -1).reshape(-1, 2)
    side = float(np.float32(step))
    components, loops = diagrams(grid, step)
    np.testing.assert_allclose(components, [(0, side)] * 8 + [(0, np.inf)], rtol=1e-6)
    np.testing.assert_allclose(loops, [(side, np.inf)] * 4, rtol=1e-6)
    lengths = np.array([[0, step], [step, 0]])
    assert of_distances(lengths, step)[0] == [(0, side), (0, np.inf)]


def bipartite(n: int, random: np.random.Generator) -> np.ndarray:
    """Two halves, near only across: (n / 2 - 1)**2 loops that stay until the halves close."""
    side = np.arange(n) < n // 2
    lengths = np.where(side[:, None] == side, 2.0, random.random((n, n)))
    lengths = np.minimum(lengths, lengths.T)
    np.fill_diagonal(lengths, 0)
    return lengths.astype(np.float32)


def test_tables_that_grow_lose_nothing(rng: np.random.Generator) -> None:
    """Thousands of loops and relations, between small ones; and paths of many edges."""
    noise = rng.random((200, 200), np.float32)
    parts = [bipartite(n, rng) for n in (8, 130, 10, 200, 6)]
    parts.insert(2, np.triu(noise, 1) + np.triu(noise, 1).T)
    starts = np.cumsum([0, *map(len, parts)])
    flat = np.concatenate([part.reshape(-1) for part in parts])
    found = split(*rips_h01_of_distances(flat, starts))
    assert found == [pairs for part in parts for pairs in by_ripser(part)]
    assert max(map(len, found)) > 4096


def test_photographs_equal_ripser() -> None:
    planes = channels(6)[:, :24, :24] / 255
    for cloud in image_clouds(planes[:, None])[:, 0]:
        assert diagrams(cloud) == by_ripser(rounded_lengths(cloud))


@pytest.mark.slow
def test_whole_photographs_equal_ripser() -> None:
    for cloud in image_clouds(channels(4)[:, None] / 255)[:, 0]:
        assert diagrams(cloud) == by_ripser(rounded_lengths(cloud))


# --- laws


def test_order_of_points_does_not_matter(rng: np.random.Generator) -> None:
    cloud = rng.integers(0, 7, (120, 3)).astype(float)
    assert diagrams(cloud) == diagrams(cloud[rng.permutation(120)])


@pytest.mark.parametrize("exponent", [-1000, -200, 3, 200, 900])
def test_scaling_by_a_power_of_two_scales_the_diagram(
    exponent: int, rng: np.random.Generator
) -> None:
    """Squares of such lengths would not fit float32, nor float64."""
    cloud, factor = rng.random((60, 3)), 2.0**exponent
    scaled = [[(b * factor, d * factor) for b, d in pairs] for pairs in diagrams(cloud)]
    assert diagrams(cloud * factor) == scaled
    longest = 0.3
    cut = [[(b * factor, d * factor) for b, d in pairs] for pairs in diagrams(cloud, longest)]
    assert diagrams(cloud * factor, longest * factor) == cut


def test_points_much_nearer_than_others_stay_apart() -> None:
    """1e-37 of the extent: the square is no float32, the length is one."""
    cloud = np.array([[0.0, 0], [1e-37, 0], [1, 0], [1, 2e-37]])
    near, far = np.float32(1e-37), np.float32(2e-37)
    assert diagrams(cloud)[0] == [(0, near), (0, far), (0, 1), (0, np.inf)]


def test_a_coordinate_far_from_zero_does_not_matter() -> None:
    """Scaled before it is subtracted, 1e10 would be out of range."""
    near = np.array([[1e10, 0], [1e10, 1e-290], [1e10, 3e-290]])
    np.testing.assert_allclose(diagrams(near)[0], [(0, 1e-290), (0, 2e-290), (0, np.inf)])


def test_squares_of_many_coordinates_stay_in_range() -> None:
    corners = np.stack([np.zeros(70_000), np.full(70_000, 1 - 1e-12)])
    assert diagrams(corners)[0] == [(0, float(np.float32(np.sqrt(70_000)))), (0, np.inf)]


def test_regular_polygons_have_one_loop() -> None:
    for n in (4, 6, 24):
        around = np.arange(n) * 2 * np.pi / n
        _, loops = diagrams(np.stack([np.cos(around), np.sin(around)], axis=1))
        (birth, death), *others = loops
        assert not others
        assert birth == pytest.approx(2 * np.sin(np.pi / n), rel=1e-6)
        assert death == pytest.approx(2 * np.sin(np.pi * np.ceil(n / 3) / n), rel=1e-6)


# --- batches, and ends


def test_a_batch_equals_its_clouds(rng: np.random.Generator) -> None:
    """Of any sizes, none and one among them: neither tables nor learnt batches leak."""
    parts = [rng.random((n, 3)) for n in (90, 0, 1, 2, 200, 3, 64, 65, 128, 5)]
    starts = np.cumsum([0, *map(len, parts)])
    points, offsets = rips_h01(np.concatenate(parts), starts)
    together = split(points, offsets)
    assert together == [pairs for part in parts for pairs in diagrams(part)]
    flat = np.concatenate([rounded_lengths(part).reshape(-1) for part in parts])
    assert split(*rips_h01_of_distances(flat, starts)) == together


def test_no_cloud_gives_no_diagram() -> None:
    points, offsets = rips_h01(np.empty((0, 3)), np.array([0]))
    assert points.shape == (0, 2)
    assert offsets.tolist() == [0]


def test_points_come_in_order_with_essential_classes_last(rng: np.random.Generator) -> None:
    points, offsets = rips_h01(rng.random((80, 2)), np.array([0, 80]), longest=0.2)
    components, loops = points[: offsets[1]], points[offsets[1] :]
    assert (np.diff(components[np.isfinite(components[:, 1]), 1]) >= 0).all()
    for diagram in (components, loops):
        assert (np.diff(np.isinf(diagram[:, 1]).astype(int)) >= 0).all()
    for alive in (True, False):
        births = loops[np.isinf(loops[:, 1]) == alive, 0]
        assert len(births) > 1 and (np.diff(births) >= 0).all()


def test_more_points_than_the_tables_take_are_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        rips_h01(np.zeros((MOST_POINTS + 1, 2)), np.array([0, MOST_POINTS + 1]))


def test_work_is_given_up_when_told(rng: np.random.Generator) -> None:
    parts = [rng.random((40, 3)), rng.random((2500, 10)), rng.random((40, 3))]
    starts = np.cumsum([0, *map(len, parts)])
    padded = np.concatenate([np.pad(part, ((0, 0), (0, 10 - part.shape[1]))) for part in parts])
    watch = np.zeros(3, np.int64)

    def stop_at_the_second() -> None:
        while watch[0] != 1:
            time.sleep(0.001)
        watch[1] = 1

    thread = threading.Thread(target=stop_at_the_second, daemon=True)
    thread.start()
    with pytest.raises(Stopped) as caught:
        rips_h01(padded, starts, watch=watch)
    thread.join()
    assert caught.value.item == 1
    watch[:] = 0
    rips_h01(padded[:40], np.array([0, 40]), watch=watch)
    assert watch[0] == -1


@pytest.mark.parametrize("shape", [(5000, 3), (3000, 700), (6000, 2)])
def test_work_is_given_up_while_lengths_are_computed(shape: tuple[int, int]) -> None:
    """Repeated points among them, whose rows are compared."""
    cloud = np.zeros(shape)
    cloud[::2] = np.random.default_rng(0).random((shape[0] // 2, shape[1]))
    watch = np.array([0, 1, 0])
    started = time.process_time()
    with pytest.raises(Stopped):
        rips_h01(cloud, np.array([0, len(cloud)]), watch=watch)
    assert time.process_time() - started < 5


@pytest.mark.slow
def test_loops_beyond_the_numbers_of_the_table_are_found_by_their_edge(
    tmp_path: Path,
) -> None:
    """The same diagrams when only five loops have a number beside the witnesses.

    And a cloud whose loops take more than there is room for is refused.
    """
    script = """
import numpy as np, pytest
import pipeline.kernels.loops as loops
loops.MOST_NUMBERED = 5
loops.MOST_BYTES = 2**19
from pipeline.kernels.rips import TooManyLoops
from tests.pipeline import test_rips_kernel as own
for name, cloud in own.clouds():
    if len(cloud) < 260:
        assert own.diagrams(cloud) == own.by_ripser(own.rounded_lengths(cloud)), name
with pytest.raises(TooManyLoops) as caught:
    own.of_distances(own.bipartite(300, np.random.default_rng(0)))
assert caught.value.item == 0
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
