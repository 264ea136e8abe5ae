"""H0 and H1 of images against the reduction of the boundary matrix and gudhi, and by laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipeline.kernels.cubical import cubical_h01
from pipeline.kernels.path import path_h0
from tests import naive
from tests.photographs import channels

Pairs = list[tuple[float, float]]

constructions = pytest.mark.parametrize("cells", [True, False], ids=["cells", "vertices"])
precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64])

shapes = array_shapes(min_dims=2, max_dims=2, max_side=6)
few_values = st.integers(-2, 2).map(float) | st.just(-0.0)
many_values = st.floats(-(2.0**100), 2.0**100, width=32) | st.floats(-2, 2, width=32)
images = arrays(np.float64, shapes, elements=few_values) | arrays(
    np.float64, shapes, elements=many_values
)
integers = arrays(np.float64, shapes, elements=st.integers(-50, 50).map(float))


def sorted_pairs(points: np.ndarray) -> Pairs:
    """Finite pairs sorted, then essential classes."""
    return sorted(map(tuple, points.tolist()), key=lambda pair: (pair[1] == np.inf, pair))


def diagrams(image: np.ndarray, cells: bool, min_persistence: float = 0.0) -> tuple[Pairs, Pairs]:
    """H0, with its essential class last, and H1 of one image."""
    points, offsets = cubical_h01(image[None], cells=cells, min_persistence=min_persistence)
    assert points.dtype == image.dtype
    assert offsets.dtype == np.int64
    assert (len(offsets), offsets[0], offsets[2]) == (3, 0, len(points))
    h0, h1 = points[: offsets[1]], points[offsets[1] :]
    assert np.isinf(h0[:, 1]).tolist() == [False] * (len(h0) - 1) + [True]
    assert not np.signbit(points[points == 0]).any()
    return sorted_pairs(h0), sorted_pairs(h1)


def by_gudhi(image: np.ndarray, cells: bool) -> tuple[Pairs, Pairs]:
    gudhi = pytest.importorskip("gudhi")
    name = "top_dimensional_cells" if cells else "vertices"
    cubical = gudhi.CubicalComplex(**{name: image.astype(np.float64)})
    cubical.compute_persistence()
    both = [np.reshape(cubical.persistence_intervals_in_dimension(k), (-1, 2)) for k in (0, 1)]
    h0, h1 = (sorted_pairs(pairs[pairs[:, 1] > pairs[:, 0]]) for pairs in both)
    return h0, h1


# --- against others


@constructions
@precisions
@settings(max_examples=1000)
@given(image=images)
def test_equals_the_reduction_of_the_boundary_matrix(
    image: np.ndarray, cells: bool, dtype: type
) -> None:
    image = image.astype(dtype)
    assert diagrams(image, cells) == naive.cubical_h01(image, cells)


@constructions
@given(image=integers, least=st.sampled_from([0.5, 1.0, 2.0, 30.0]))
def test_pairs_of_at_most_the_least_persistence_are_dropped(
    image: np.ndarray, least: float, cells: bool
) -> None:
    assert diagrams(image, cells, least) == naive.cubical_h01(image, cells, least)


@constructions
@precisions
def test_photos_equal_gudhi(cells: bool, dtype: type) -> None:
    """Bit for bit, in one batch; divided by 255, all bits of the values differ."""
    for photos in (channels(200).astype(dtype), (channels(200) / 255).astype(dtype)):
        points, offsets = cubical_h01(photos, cells=cells)
        for s, photo in enumerate(photos):
            h0, h1 = (points[offsets[k] : offsets[k + 1]] for k in (2 * s, 2 * s + 1))
            assert (sorted_pairs(h0), sorted_pairs(h1)) == by_gudhi(photo, cells)


@constructions
@precisions
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 2), (2, 1), (1, 30), (30, 1), (2, 2), (2, 17), (3, 3), (41, 100)], ids=str
)
def test_any_size_equals_gudhi(
    shape: tuple[int, int], cells: bool, dtype: type, rng: np.random.Generator
) -> None:
    noise = rng.normal(size=shape)
    kinds = [noise, np.exp(20 * noise), rng.integers(-3, 4, shape), np.full(shape, -1.5)]
    kinds += [np.round(noise + np.linspace(-9, 9, shape[1])), np.zeros(shape)]
    for kind in kinds:
        image = kind.astype(dtype)
        assert diagrams(image, cells) == by_gudhi(image, cells)


# --- precision


@constructions
@pytest.mark.parametrize("outlier", [1, 2, 2**20, 2**40])
def test_values_that_are_equal_in_single_precision(
    outlier: int, cells: bool, rng: np.random.Generator
) -> None:
    """Integers k as 1 + k * 2**-52 have the same diagram, as their pixels have the same order."""
    for side in (8, 60):
        image = rng.integers(0, 500, (side, side)).astype(np.float64)
        image[0, 0] = outlier
        h0, h1 = diagrams(1 + image * 2.0**-52, cells)
        back = [[((b - 1) * 2.0**52, (d - 1) * 2.0**52) for b, d in pairs] for pairs in (h0, h1)]
        assert tuple(back) == diagrams(image, cells)


@constructions
def test_a_few_values_that_are_equal_in_single_precision(
    cells: bool, rng: np.random.Generator
) -> None:
    image = np.round(rng.normal(size=(50, 50)), 3)
    image += rng.integers(-3, 4, image.shape) * 1e-15
    assert diagrams(image, cells) == by_gudhi(image, cells)


@constructions
@precisions
@pytest.mark.parametrize("extreme", ["largest", "tiny"])
def test_the_largest_and_the_smallest_values(
    extreme: str, cells: bool, dtype: type, rng: np.random.Generator
) -> None:
    unit = np.finfo(dtype).max if extreme == "largest" else np.finfo(dtype).smallest_subnormal
    levels = rng.integers(-1, 2, (12, 12))
    h0, h1 = diagrams(unit * levels.astype(dtype), cells)
    unit = float(unit)
    expected = [[(b * unit, d * unit) for b, d in p] for p in by_gudhi(levels, cells)]
    assert [h0, h1] == expected


# --- laws


@constructions
@given(image=images)
def test_turned_and_mirrored_images_have_the_same_diagrams(image: np.ndarray, cells: bool) -> None:
    expected = diagrams(image, cells)
    for same in (image.T, image[::-1], image[:, ::-1], np.rot90(image)):
        assert diagrams(same, cells) == expected


@constructions
@given(image=integers, shift=st.integers(-9, 9))
def test_adding_a_constant_shifts_the_diagrams(image: np.ndarray, shift: int, cells: bool) -> None:
    shifted = [[(b + shift, d + shift) for b, d in pairs] for pairs in diagrams(image, cells)]
    assert list(diagrams(image + shift, cells)) == shifted


@constructions
@given(image=images)
def test_loops_are_the_components_of_the_negated_image_in_the_other_construction(
    image: np.ndarray, cells: bool
) -> None:
    """The outside, the oldest component, is a border lower than all."""
    border = np.pad(-image, 1, constant_values=-2 * np.abs(image).max() - 1)
    components, _ = diagrams(border, not cells)
    _, loops = diagrams(image, cells)
    assert loops == sorted((-death, -birth) for birth, death in components[:-1])


@constructions
@given(row=st.lists(few_values, min_size=1, max_size=40))
def test_one_row_is_a_signal(row: list[float], cells: bool) -> None:
    signal = np.array([row])
    expected = sorted_pairs(path_h0(signal, 0.0)[0])
    assert diagrams(signal, cells) == (expected, [])
    assert diagrams(signal.T, cells) == (expected, [])


@constructions
@given(image=images)
def test_single_precision_is_the_same_for_values_that_it_can_hold(
    image: np.ndarray, cells: bool
) -> None:
    assert diagrams(image, cells) == diagrams(image.astype(np.float32), cells)


# --- batches and arrays


@constructions
@precisions
@given(
    batch=array_shapes(min_dims=3, max_dims=3, max_side=7).flatmap(
        lambda shape: arrays(np.float64, shape, elements=few_values)
    )
)
def test_a_batch_equals_its_images_one_by_one(batch: np.ndarray, cells: bool, dtype: type) -> None:
    batch = batch.astype(dtype)
    points, offsets = cubical_h01(batch, cells=cells)
    alone = [cubical_h01(image[None], cells=cells) for image in batch]
    assert np.array_equal(points, np.concatenate([part for part, _ in alone]))
    assert np.diff(offsets).tolist() == [n for _, ends in alone for n in np.diff(ends).tolist()]


@constructions
def test_images_of_many_points_after_images_of_few(cells: bool, rng: np.random.Generator) -> None:
    """More points than there is room for at first; nothing is left over from the image before."""
    flat = np.zeros((10, 24, 24))
    batch = np.concatenate([flat, rng.random((20, 24, 24)), flat])
    points, offsets = cubical_h01(batch, cells=cells)
    assert len(points) > batch.size // 8 + 2 * len(batch)
    for s, image in enumerate(batch):
        h0, h1 = (points[offsets[k] : offsets[k + 1]] for k in (2 * s, 2 * s + 1))
        assert (sorted_pairs(h0), sorted_pairs(h1)) == diagrams(image, cells)


@constructions
def test_order_within_a_diagram(cells: bool, rng: np.random.Generator) -> None:
    points, offsets = cubical_h01(rng.random((1, 30, 30)), cells=cells)
    assert (np.diff(points[: offsets[1], 1]) >= 0).all()
    assert (np.diff(points[offsets[1] :, 0]) <= 0).all()


@constructions
@precisions
def test_no_image_gives_no_diagram(cells: bool, dtype: type) -> None:
    points, offsets = cubical_h01(np.empty((0, 5, 7), dtype), cells=cells)
    assert (points.shape, points.dtype) == ((0, 2), dtype)
    assert offsets.tolist() == [0]


@constructions
def test_read_only_and_strided_input_is_taken_and_left_alone(
    cells: bool, rng: np.random.Generator
) -> None:
    source = rng.integers(0, 9, (3, 20, 24)).astype(np.float64)
    strided = source[:, ::-2, 1::3]
    before = strided.copy()
    strided.flags.writeable = False
    points, offsets = cubical_h01(strided, cells=cells)
    expected, ends = cubical_h01(before, cells=cells)
    assert np.array_equal(points, expected)
    assert np.array_equal(offsets, ends)
    assert np.array_equal(strided, before)
    transposed, _ = cubical_h01(before.transpose(0, 2, 1), cells=cells)
    assert sorted_pairs(transposed) == sorted_pairs(expected)
