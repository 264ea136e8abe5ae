"""Gramian angular fields of signals: what their definition gives, and the laws that follow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pi_cache.specs import DTYPES, FORMS, GramianSpec
from pipeline.gramian.fields import (
    decoded,
    gramian_fields,
    outside,
    real_values,
    reduced,
    scaled,
    segment_means,
)
from pipeline.gramian.shard import drawn
from tests.naive import gramian_field

forms = pytest.mark.parametrize("form", FORMS)
SIZES = [(1, 1), (5, 1), (7, 3), (64, 64), (100, 64), (128, 64), (150, 64), (201, 200)]
"""Lengths of a signal and sizes of its field."""

signals = arrays(
    np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6, allow_subnormal=False)
)


def spec(size: int, form: str = "summation", **given: Any) -> GramianSpec:
    return GramianSpec(**{"size": size, "form": form, "dtype": "float64", **given})


@forms
@pytest.mark.parametrize(("length", "size"), SIZES)
@pytest.mark.parametrize("between", [None, (-0.5, 1.5)])
def test_fields_are_those_of_the_angles(
    form: str, length: int, size: int, between: Any, rng: np.random.Generator
) -> None:
    signal = rng.normal(size=(2, length))
    found = gramian_fields(signal, spec(size, form, range=between or "window"))
    for k in range(2):
        expected = gramian_field(signal[k], size, form, between)
        np.testing.assert_allclose(found[k], expected, atol=1e-7 if length < 5 else 1e-13)


def test_known_values() -> None:
    """Of -1, 0, 1 the angles are pi, pi / 2 and 0."""
    signal = np.array([-1.0, 0.0, 1.0])
    summation = [[1, 0, -1], [0, -1, 0], [-1, 0, 1]]
    difference = [[0, 1, 0], [-1, 0, 1], [0, -1, 0]]
    np.testing.assert_array_equal(gramian_fields(signal, spec(3)), summation)
    np.testing.assert_array_equal(gramian_fields(signal, spec(3, "difference")), difference)


@forms
@given(signal=signals, data=st.data())
def test_symmetry_diagonal_and_range(form: str, signal: np.ndarray, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(signal)))
    field = gramian_fields(signal, spec(size, form))
    phases = reduced(signal, spec(size, form))
    assert np.isfinite(field).all() and np.abs(field).max() <= 1
    if form == "summation":
        assert np.array_equal(field, field.T)
        np.testing.assert_allclose(np.diag(field), 2 * phases**2 - 1, atol=1e-15)
    else:
        assert np.array_equal(field, -field.T) and not np.diag(field).any()


@forms
@given(signal=signals, power=st.integers(-300, 300), data=st.data())
def test_units_do_not_matter(
    form: str, signal: np.ndarray, power: int, data: st.DataObject
) -> None:
    """A signal in other units has the same field; upside down, GASF the same and GADF negated."""
    size = data.draw(st.integers(1, len(signal)))
    field = gramian_fields(signal, spec(size, form))
    assert np.array_equal(gramian_fields(np.ldexp(signal, power), spec(size, form)), field)
    flipped = gramian_fields(-signal, spec(size, form))
    sign = 1 if form == "summation" else -1
    np.testing.assert_allclose(flipped, sign * field, atol=1e-6)


@forms
def test_time_backwards_turns_the_field(form: str, rng: np.random.Generator) -> None:
    signal = rng.normal(size=90)
    field = gramian_fields(signal, spec(40, form))
    backwards = gramian_fields(signal[::-1].copy(), spec(40, form))
    np.testing.assert_allclose(backwards, field[::-1, ::-1], atol=1e-14)


@pytest.mark.parametrize(
    "signal",
    [
        [1e8, np.nextafter(1e8, 2e8), 1e8],
        [5e-324, 0.0, 1e-323],
        [-1.7e308, 1.7e308, 0.0],
        [1e-310, 3e-310, 2e-310],
        [-1e300, 1e-300, 1e300],
    ],
    ids=["one step", "denormal steps", "the largest range", "denormals", "far apart"],
)
def test_extreme_ranges_become_minus_one_and_one(signal: list[float]) -> None:
    values = scaled(np.array(signal))
    assert values.min() == -1 and values.max() == 1
    assert np.isfinite(gramian_fields(np.array(signal), spec(3))).all()


@pytest.mark.parametrize("value", [0.0, 7.25, -1e300, 5e-324])
def test_a_flat_channel_counts_as_zero(value: float) -> None:
    flat = np.full((1, 12), value)
    assert (gramian_fields(flat, spec(5)) == -1).all()
    assert (gramian_fields(flat, spec(5, "difference")) == 0).all()
    alternating = np.tile([1.0, 3.0], 6)
    assert (gramian_fields(alternating, spec(6, range="segments")) == -1).all()


@pytest.mark.parametrize(("length", "size"), [(90, 7), (600, 64), (100, 64), (100, 10)])
def test_segments_that_differ_by_rounding_are_flat(length: int, size: int) -> None:
    """Their sums are rounded each in its own way: that is no signal from -1 to 1."""
    flat = np.repeat([[7.1], [0.1], [9.80665], [1e308], [-3e-310]], length, axis=1)
    assert (gramian_fields(flat, spec(size, range="segments")) == -1).all()
    assert (gramian_fields(flat, spec(size, "difference", range="segments")) == 0).all()
    if length % size == 0:
        waves = np.sin(np.arange(length) * 2 * np.pi * size / length)
        assert (gramian_fields(waves + 0.1, spec(size, range="segments")) == -1).all()
    small = 1 + 1e-9 * np.linspace(0, 1, length)  # and one part in a billion is none
    assert np.ptp(reduced(small, spec(size, range="segments"))) == 2


def test_segments_of_the_largest_values(rng: np.random.Generator) -> None:
    """Their sums do not overflow."""
    signal = rng.choice([-1e308, 1e308], size=90)
    field = gramian_fields(signal, spec(7, range="segments"))
    expected = gramian_fields(np.sign(signal), spec(7, range="segments"))
    np.testing.assert_allclose(field, expected, atol=1e-12)


def test_a_flat_channel_has_a_place_in_a_given_range() -> None:
    field = gramian_fields(np.full(6, 0.5), spec(3, range=(-1, 1)))
    np.testing.assert_allclose(field, math.cos(2 * math.acos(0.5)))


def test_values_outside_a_given_range_are_clipped_and_counted() -> None:
    signal, between = np.array([-9.0, -1.0, 0.0, 1.0, 1e300]), (-1.0, 1.0)
    np.testing.assert_array_equal(scaled(signal, between), [-1, -1, 0, 1, 1])
    np.testing.assert_array_equal(outside(signal, between), [1, 0, 0, 0, 1])
    narrow = scaled(np.array([0.0, 1e308]), (0.0, 1e-308))
    np.testing.assert_array_equal(narrow, [-1, 1])


@given(data=st.data())
def test_segments_hold_equal_parts(data: st.DataObject) -> None:
    signal = data.draw(signals)
    size = data.draw(st.integers(1, len(signal)))
    means = segment_means(signal, size)
    parts = np.repeat(signal, size).reshape(size, len(signal))
    largest = np.abs(signal).max()
    np.testing.assert_allclose(means, parts.mean(axis=1), atol=1e-12 * largest)
    np.testing.assert_allclose(means.mean(), signal.mean(), atol=1e-12 * largest)
    if size == len(signal):
        assert np.array_equal(means, signal)


def test_a_border_inside_a_value_shares_it() -> None:
    np.testing.assert_allclose(segment_means(np.array([0.0, 3.0, 9.0]), 2), [1.0, 7.0])


def test_segments_are_scaled_as_by_pyts(rng: np.random.Generator) -> None:
    """Averaged first, then scaled by the extremes of the averages."""
    signal = rng.normal(size=96)
    means = signal.reshape(24, 4).mean(axis=1)
    phases = (means - means.min()) / (means.max() - means.min()) * 2 - 1
    sines = np.sqrt(np.clip(1 - phases**2, 0, 1))
    summation = np.outer(phases, phases) - np.outer(sines, sines)
    difference = np.outer(sines, phases) - np.outer(phases, sines)
    for form, expected in zip(FORMS, (summation, difference), strict=True):
        found = gramian_fields(signal, spec(24, form, range="segments"))
        np.testing.assert_allclose(found, expected, atol=1e-13)
    assert not np.allclose(gramian_fields(signal, spec(24)), summation, atol=0.01)


@forms
@pytest.mark.parametrize("dtype", DTYPES)
def test_stored_types_are_near_the_values(form: str, dtype: str, rng: np.random.Generator) -> None:
    signal = rng.normal(size=(3, 70))
    exact = gramian_fields(signal, spec(32, form))
    made = spec(32, form, dtype=dtype)
    stored = gramian_fields(signal, made)
    error = {"float16": 2.5e-4, "float32": 3e-8, "float64": 0, "uint8": 1 / 255 + 1e-12}[dtype]
    assert stored.dtype == dtype
    assert np.abs(decoded(stored, made) - exact).max() <= error


def test_bytes_reach_both_ends_and_are_truncated_when_asked(rng: np.random.Generator) -> None:
    signal = rng.normal(size=50)
    exact = gramian_fields(signal, spec(50))
    rounded = gramian_fields(signal, spec(50, dtype="uint8"))
    cut = gramian_fields(signal, spec(50, dtype="uint8", rounding="truncate"))
    assert (rounded.min(), rounded.max()) == (0, 255)
    np.testing.assert_array_equal(rounded, np.rint(255 * ((exact + 1) / 2)))
    np.testing.assert_array_equal(cut, np.floor((exact + 1) * 127.5))


def test_the_type_of_a_signal_does_not_matter(rng: np.random.Generator) -> None:
    whole = rng.integers(-100, 100, (4, 30, 2))  # (n, T, C)
    expected = gramian_fields(real_values(whole.astype(np.float64), None), spec(10))
    for dtype in ("int8", "int16", "int64", "float32"):
        found = gramian_fields(real_values(whole.astype(dtype), None), spec(10))
        assert np.array_equal(found, expected)
    lowest, highest = real_values(np.array([[[0], [255]]], np.uint8), 255.0)[0, 0]
    assert (lowest, highest) == (0.0, 1.0)


@forms
def test_a_field_does_not_depend_on_its_neighbours(form: str, rng: np.random.Generator) -> None:
    signal = rng.normal(size=(9, 5, 77))
    together = drawn(signal, spec(50, form))
    alone = np.stack([drawn(one[None], spec(50, form))[0] for one in signal])
    assert np.array_equal(together, alone)
    assert np.array_equal(together[3, 2], gramian_fields(signal[3, 2], spec(50, form)))
