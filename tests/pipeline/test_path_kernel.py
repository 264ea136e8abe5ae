"""H0 of signals against union-find, ripser and gudhi, and by laws."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from pipeline.kernels.path import path_h0, path_h0_ragged
from tests import naive
from tests.photographs import channels

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ripser import ripser

small = st.integers(-4, 4).map(float) | st.just(-0.0)
any_float = st.floats(-1e6, 1e6, width=32)
plateaus = st.lists(st.tuples(small, st.integers(1, 4)), min_size=1, max_size=30).map(
    lambda runs: [value for value, length in runs for _ in range(length)]
)
signals = st.lists(small, min_size=1, max_size=60) | st.lists(any_float, min_size=1, max_size=60)


def diagram(signal: np.ndarray, min_persistence: float = 0.0) -> list[tuple[float, float]]:
    """Finite pairs sorted, then the essential class."""
    points, offsets = path_h0(np.asarray(signal)[None], min_persistence)
    assert offsets.tolist() == [0, len(points)]
    rows = [(float(birth), float(death)) for birth, death in points]
    return [*sorted(rows[:-1]), rows[-1]]


@given(signals | plateaus, st.sampled_from([0.0, 0.5, 1.0, 2.0]))
@settings(max_examples=1000)
def test_equals_union_find(signal: list[float], min_persistence: float) -> None:
    signal = np.array(signal)
    assert diagram(signal, min_persistence) == naive.path_h0(signal, min_persistence)


@given(signals | plateaus)
def test_single_precision_equals_union_find(signal: list[float]) -> None:
    signal = np.array(signal, np.float32)
    assert diagram(signal) == naive.path_h0(signal)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("length", [31, 32, 33, 64, 65, 257])
def test_long_signals_equal_union_find(length: int, dtype: type) -> None:
    """Passes over many minima: few go in a pass where oscillations grow or fade, or all do."""
    growing = np.arange(length) * (-1.0) ** np.arange(length)
    noisy = np.random.default_rng(length).normal(size=length)
    kinds = [growing, growing[::-1], growing + 30 * noisy, noisy, np.floor(2 * noisy)]
    kinds += [np.floor(2 * noisy) * -0.0, noisy * np.finfo(dtype).tiny, noisy * 1e37]
    for signal in (kind.astype(dtype) for kind in kinds):
        assert diagram(signal) == naive.path_h0(signal)


@given(st.lists(signals, min_size=1, max_size=8))
def test_ragged_equals_one_by_one(parts: list[list[float]]) -> None:
    starts = np.cumsum([0, *map(len, parts)])
    points, offsets = path_h0_ragged(np.concatenate(parts), starts, 0.0)
    alone = [path_h0(np.array([part]), 0.0)[0] for part in parts]
    assert np.array_equal(points, np.concatenate(alone))
    assert offsets.tolist() == [0, *np.cumsum([len(part) for part in alone])]


@given(signals, st.integers(-8, 8))
def test_adding_a_constant_shifts_the_diagram(signal: list[float], shift: int) -> None:
    signal = np.round(signal)
    shifted = [(birth + shift, death + shift) for birth, death in diagram(signal)]
    assert diagram(signal + shift) == shifted


@given(signals)
def test_a_reversed_signal_has_the_same_diagram(signal: list[float]) -> None:
    assert diagram(signal[::-1]) == diagram(signal)


@given(signals)
def test_total_persistence_and_range_are_half_the_variation(signal: list[float]) -> None:
    """Each finite pair is passed twice on a signal that comes back to its minimum."""
    signal = np.round(signal)
    *pairs, (lowest, death) = diagram(signal)
    assert (lowest, death) == (signal.min(), np.inf)
    closed = np.concatenate([[signal.max()], signal, [signal.max()]])
    variation = np.abs(np.diff(closed)).sum()
    assert 2 * (sum(d - b for b, d in pairs) + np.ptp(signal)) == variation


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_one_sample_is_one_class_that_never_dies(dtype: type) -> None:
    points, offsets = path_h0(np.array([[3.0], [-1.0]], dtype), 0.0)
    assert points.tolist() == [[3.0, np.inf], [-1.0, np.inf]]
    assert offsets.tolist() == [0, 1, 2]
    assert points.dtype == dtype


def test_no_signal_gives_no_diagram() -> None:
    points, offsets = path_h0(np.empty((0, 7)), 0.0)
    assert points.shape == (0, 2)
    assert offsets.tolist() == [0]


def test_a_pair_of_exactly_the_least_persistence_is_dropped() -> None:
    signal = np.array([0.0, 2.0, 1.0, 3.0])
    assert diagram(signal, 0.5) == [(1.0, 2.0), (0.0, np.inf)]
    assert diagram(signal, 1.0) == [(0.0, np.inf)]


@pytest.mark.parametrize("step", [1, 40])
def test_points_keep_no_more_memory_than_signals_have(step: int) -> None:
    signals = np.repeat(np.random.default_rng(0).normal(size=(20, 400)), step, axis=1)
    points, _ = path_h0(signals, 0.0)
    assert (points if points.base is None else points.base).nbytes <= signals.nbytes
    assert points.base is None or 4 * len(points) >= len(points.base)


def test_read_only_and_strided_input_is_taken_and_left_alone() -> None:
    signals = np.arange(24.0).reshape(2, 12)[:, ::-2] % 5
    before = signals.copy()
    signals.flags.writeable = False
    points, _ = path_h0(signals, 0.0)
    assert np.array_equal(points, path_h0(before, 0.0)[0])
    assert np.array_equal(signals, before)


def real_like(seed: int, length: int) -> np.ndarray:
    """Signals with exact zeros, plateaus, and values that single precision can hold."""
    random = np.random.default_rng(seed)
    kinds = [random.normal(size=length), np.cumsum(random.normal(size=length))]
    kinds += [random.integers(-3, 4, length), np.repeat(random.integers(0, 9, length), 3)[:length]]
    return np.array(kinds, np.float32)


def by_ripser(signal: np.ndarray) -> list[tuple[float, float]]:
    """Finite pairs sorted, then the essential class."""
    n = len(signal)
    rows, columns = np.arange(n - 1), np.arange(1, n)
    # Sparse matrices of ripser.py hold births on the diagonal, explicit zeros included.
    entries = np.concatenate([np.maximum(signal[:-1], signal[1:]), signal]).astype(float)
    where = (np.concatenate([rows, np.arange(n)]), np.concatenate([columns, np.arange(n)]))
    graph = sparse.coo_matrix((entries, where), (n, n)).tocsr()
    found = ripser(graph, maxdim=0, distance_matrix=True)["dgms"][0]
    pairs = [(birth, death) for birth, death in found.tolist() if death > birth]
    return sorted(pairs, key=lambda pair: (pair[1] == np.inf, pair))


@pytest.mark.parametrize("length", [2, 3, 17, 300])
def test_equals_ripser(length: int) -> None:
    """Bit for bit; ripser computes in single precision."""
    for signal in real_like(length, length):
        assert diagram(signal) == by_ripser(signal)


def test_photographs_equal_ripser() -> None:
    """Rows one after the other, and columns, of 200 channels, in one batch."""
    planes = (channels(200) / 255).astype(np.float32)
    for signals in (planes, planes.swapaxes(1, 2)):
        lines = np.ascontiguousarray(signals).reshape(200, -1)
        points, offsets = path_h0(lines, 0.0)
        for s, line in enumerate(lines):
            *pairs, last = map(tuple, points[offsets[s] : offsets[s + 1]].tolist())
            assert [*sorted(pairs), last] == by_ripser(line)


@pytest.mark.parametrize("length", [2, 3, 17, 300])
def test_equals_gudhi(length: int) -> None:
    gudhi = pytest.importorskip("gudhi")
    for signal in real_like(length, length).astype(np.float64):
        complex_ = gudhi.CubicalComplex(vertices=signal)
        complex_.compute_persistence()
        assert diagram(signal) == sorted(
            map(tuple, complex_.persistence_intervals_in_dimension(0).tolist()),
            key=lambda pair: (pair[1] == np.inf, pair),
        )
