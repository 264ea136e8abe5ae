"""Delay and dimension of delay embeddings: known signals, slow definitions, bad windows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from pi_cache.errors import EngineNotInstalled
from pipeline import options
from pipeline.delays import curves, embedding, neighbours
from pipeline.delays.choice import Choices, Summary
from pipeline.delays.rules import (
    DELAY_RULES,
    by_autocorrelation,
    by_false_neighbours,
    by_giotto,
    by_mutual_information,
    by_quarter_period,
    by_zero_autocorrelation,
    first_minimum,
)
from pipeline.engines import installed

LONGEST = 40
Rates = Callable[[np.ndarray], np.ndarray]


def as_windows(*signals: np.ndarray) -> np.ndarray:
    """Signals (T,) as windows (n, T, 1)."""
    return np.stack(signals)[:, :, None]


def sines(period: float, count: int = 1, samples: int = 600, noise: float = 0.0) -> np.ndarray:
    """Windows (n, T, 1) of sines of other phases, with Gaussian noise."""
    rng = np.random.default_rng(1)
    phases = np.linspace(0, 6, count)[:, None]
    clean = np.sin(2 * np.pi * np.arange(samples) / period + phases)
    return (clean + noise * rng.normal(size=clean.shape))[:, :, None]


def solved(rates: Rates, start: list[float], step: float, samples: int) -> np.ndarray:
    """The first coordinate of a flow, past its transient, by Runge and Kutta's fourth order."""
    state, found = np.array(start), []
    for k in range(samples + 500):
        for _ in range(4):  # smaller steps than those that are kept
            h = step / 4
            one = rates(state)
            two = rates(state + h / 2 * one)
            three = rates(state + h / 2 * two)
            four = rates(state + h * three)
            state = state + h / 6 * (one + 2 * two + 2 * three + four)
        if k >= 500:
            found.append(state[0])
    return np.array(found)


@pytest.fixture(scope="module")
def lorenz() -> np.ndarray:
    """x of the Lorenz system (10, 28, 8/3), a sample every 0.02."""
    return solved(
        lambda s: np.array(
            [10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]]
        ),
        [1.0, 1.0, 1.0],
        0.02,
        3000,
    )


@pytest.fixture(scope="module")
def rossler() -> np.ndarray:
    """x of the Rossler system (0.2, 0.2, 5.7), a sample every 0.1; its period is about 5.9."""
    return solved(
        lambda s: np.array([-s[1] - s[2], s[0] + 0.2 * s[1], 0.2 + s[2] * (s[0] - 5.7)]),
        [1.0, 1.0, 1.0],
        0.1,
        2000,
    )


# --- Slow definitions --------------------------------------------------------------------------


def slow_information(labels: list[int], delay: int) -> float:
    """Mutual information of labels and later labels, from counts of pairs."""
    pairs = list(zip(labels[:-delay], labels[delay:], strict=True))
    joint, first, second = (
        Counter(pairs),
        Counter(a for a, _ in pairs),
        Counter(b for _, b in pairs),
    )
    total = len(pairs)
    return sum(
        count / total * math.log(count * total / (first[a] * second[b]))
        for (a, b), count in joint.items()
    )


def slow_false_share(signal: np.ndarray, delay: int, dimension: int, theiler: int) -> float:
    """Both criteria of Kennel, Brown and Abarbanel, by all pairs of points."""
    points = len(signal) - dimension * delay
    vectors = [[signal[i + k * delay] for k in range(dimension)] for i in range(points)]
    false = 0
    for i in range(points):
        distance, nearest = min(
            (math.dist(vectors[i], vectors[j]), j) for j in range(points) if abs(i - j) > theiler
        )
        apart = abs(signal[i + dimension * delay] - signal[nearest + dimension * delay])
        both = math.sqrt(distance**2 + apart**2)
        false += apart > 15 * distance or both > 2 * float(np.std(signal))
    return false / points


@pytest.mark.parametrize("power", [-1060, 1023])
def test_the_unit_of_a_signal_does_not_matter(power: int) -> None:
    """Neither do values near the largest and the smallest that there are."""
    steps = np.rint(sines(40, 3, noise=0.1) * 2000) / 4096  # whole steps, so that no bit is lost
    for rule in DELAY_RULES.values():
        near, far = (rule(windows, LONGEST) for windows in (steps, np.ldexp(steps, power)))
        np.testing.assert_array_equal(far.numbers, near.numbers)
    near, far = (by_false_neighbours(each, 10, 4) for each in (steps, np.ldexp(steps, power)))
    np.testing.assert_array_equal(far.curves, near.curves)


@pytest.mark.parametrize("levels", [0, 3])
def test_mutual_information_is_that_of_the_definition(levels: int) -> None:
    rng = np.random.default_rng(2)
    signals = rng.normal(size=(3, 90)).cumsum(axis=1)
    if levels:
        signals = np.round(signals / levels)  # equal values share a bin
    found, freedom = curves.mutual_information(signals, 30)
    labels = curves.binned(signals, curves.bins_of(90))
    for row, delay in ((0, 1), (1, 7), (2, 30)):
        wanted = slow_information(labels[row].tolist(), delay)
        assert found[row, delay - 1] == pytest.approx(wanted, abs=1e-12)
        filled = len(set(labels[row, :-delay])), len(set(labels[row, delay:]))
        assert freedom[row, delay - 1] == (filled[0] - 1) * (filled[1] - 1)


def test_bins_hold_equally_many_values_and_equal_ones_together() -> None:
    rng = np.random.default_rng(3)
    labels = curves.binned(rng.normal(size=(1, 100)), 4)
    assert Counter(labels[0].tolist()) == {0: 25, 1: 25, 2: 25, 3: 25}
    flat = curves.binned(np.array([[0.0] * 70 + [1.0] * 30]), 4)[0]
    assert len(set(flat[:70])) == len(set(flat[70:])) == 1
    assert flat[0] != flat[-1]
    assert [curves.bins_of(n) for n in (16, 100, 600, 10**6)] == [3, 4, 10, 32]


def test_autocorrelation_is_that_of_the_definition() -> None:
    signals = np.random.default_rng(4).normal(size=(3, 50)).cumsum(axis=1) * 1e3
    found = curves.autocorrelation(signals, 60)
    for signal, curve in zip(signals, found, strict=True):
        centred = signal - signal.mean()
        whole = np.correlate(centred, centred, "full")[49:]
        np.testing.assert_allclose(curve[:49], whole[1:] / whole[0], atol=1e-12)
        assert np.isnan(curve[49:]).all()


@pytest.mark.parametrize(("delay", "theiler"), [(1, 0), (3, 3), (5, 1)])
def test_false_neighbours_are_those_of_all_pairs(delay: int, theiler: int) -> None:
    rng = np.random.default_rng(delay)
    walk = rng.normal(size=120).cumsum()
    for signal in (walk, rng.normal(size=120), sines(23.7, samples=120, noise=0.01)[0, :, 0]):
        found = neighbours.false_neighbours(signal, delay, 4, theiler)
        wanted = [slow_false_share(signal, delay, d, theiler) for d in range(1, 5)]
        assert found.tolist() == pytest.approx(wanted, abs=1e-12)
        assert 0 < max(wanted) <= 1


def test_the_nearest_neighbour_is_the_nearest_of_those_that_are_apart() -> None:
    points = np.random.default_rng(5).normal(size=(80, 2)).cumsum(axis=0).round(1)  # with ties
    distance, nearest = neighbours.nearest_neighbours(points, 6)
    for i, (found, j) in enumerate(zip(distance, nearest, strict=True)):
        assert abs(i - j) > 6
        assert found == pytest.approx(math.dist(points[i], points[j]))
        others = [math.dist(points[i], points[k]) for k in range(80) if abs(i - k) > 6]
        assert found == pytest.approx(min(others))


# --- Known signals -----------------------------------------------------------------------------


@pytest.mark.parametrize("period", [12.0, 20.7, 40.0, 50.3, 97.0])
def test_a_quarter_of_the_period_of_a_sine(period: float) -> None:
    windows = sines(period, count=5)
    assert set(by_quarter_period(windows, LONGEST).numbers.ravel()) == {round(period / 4)}
    zero = by_zero_autocorrelation(windows, LONGEST).summary()
    assert zero.median == pytest.approx(period / 4, abs=1.5)
    below = by_autocorrelation(windows, LONGEST).summary().median
    assert below == pytest.approx(period * math.acos(1 / math.e) / (2 * math.pi), abs=1.5)


@pytest.mark.parametrize("period", [20.0, 40.0])
def test_mutual_information_of_a_noisy_sine_is_least_at_a_quarter(period: float) -> None:
    found = by_mutual_information(sines(period, count=30, noise=0.1), LONGEST).summary()
    assert found.median == pytest.approx(period / 4, rel=0.25)
    assert found.beyond == 0


def test_white_noise_has_the_delay_1_and_no_dimension() -> None:
    windows = np.random.default_rng(6).normal(size=(40, 300, 2))
    for rule in (by_mutual_information, by_autocorrelation):
        numbers = rule(windows, LONGEST).numbers
        assert (numbers == 1).mean() > 0.9
    dimensions = by_false_neighbours(windows[:6], 1, 6)
    assert dimensions.weak.all()


def test_lorenz(lorenz: np.ndarray) -> None:
    """The literature has the first minimum at about 0.16, and three dimensions."""
    windows = as_windows(lorenz)
    delay = by_mutual_information(windows, LONGEST).numbers.item()
    assert 0.14 <= delay * 0.02 <= 0.2
    dimensions = by_false_neighbours(windows, int(delay), 6)
    assert dimensions.numbers.item() == 3
    assert not dimensions.weak.any()


def test_rossler(rossler: np.ndarray) -> None:
    """It turns about once in 5.9, so a quarter is 1.5; three dimensions."""
    windows = as_windows(rossler)
    assert by_quarter_period(windows, LONGEST).numbers.item() == pytest.approx(14.7, abs=1)
    delay = by_mutual_information(windows, LONGEST).numbers.item()
    assert 1.0 <= delay * 0.1 <= 1.6
    assert by_false_neighbours(windows, int(delay), 6).numbers.item() == 3


def test_a_sine_is_a_circle() -> None:
    found = by_false_neighbours(sines(40.3), 10, 6)
    assert found.numbers.item() == 2
    assert found.curves[0, 0, 0] > 0.2, "one coordinate does not tell rising from falling"


def test_steps_of_a_converter_make_no_false_neighbours() -> None:
    """Equal points that the next coordinate parts by one step are as near as can be told."""
    coarse = np.round(10 * sines(37.3)) / 10
    shares = by_false_neighbours(coarse, 9, 5).curves[0, 0]
    assert shares[0] > 0.2
    assert (shares[1:] < 0.01).all()


def test_a_small_dip_is_no_minimum() -> None:
    curve = np.array([5.0, 3.0, 3.1, 2.0, 1.0, 2.0, 0.5, 2.0])
    rise, chance = np.full(8, 0.5), np.zeros(8)
    assert first_minimum(curve, rise, chance) == 5
    assert first_minimum(curve, np.full(8, 0.05), chance) == 2
    assert first_minimum(curve, np.full(8, 9.0), chance) == math.inf
    assert first_minimum(curve, rise, np.full(8, 3.0)) == 2, "as good as nothing"


# --- Windows as they come ----------------------------------------------------------------------

RULES = {**DELAY_RULES, "false": lambda windows, longest: by_false_neighbours(windows, 2, 4)}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_each_channel_of_each_window_is_by_itself(rule: Callable[..., Choices]) -> None:
    rng = np.random.default_rng(7)
    windows = rng.normal(size=(4, 120, 3)).cumsum(axis=1)
    windows[0, :, 1] = 7.5
    windows[1, 60, 0] = np.nan
    windows[2, 3, 2] = -np.inf
    bad = {(0, 1), (1, 0), (2, 2)}
    together = rule(windows, 25)
    assert together.numbers.shape == (4, 3)
    assert together.curves.shape == (4, 3, len(together.tried))
    for n in range(4):
        for c in range(3):
            alone = rule(windows[n : n + 1, :, c : c + 1], 25)
            np.testing.assert_array_equal(alone.numbers[0, 0], together.numbers[n, c])
            np.testing.assert_array_equal(alone.curves[0, 0], together.curves[n, c])
            assert np.isnan(together.numbers[n, c]) == ((n, c) in bad)
            assert np.isnan(together.curves[n, c]).all() == ((n, c) in bad)
    assert together.summary().unusable == 3
    assert together.summary(1).unusable == 1


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_units_do_not_matter(rule: Callable[..., Choices]) -> None:
    windows = np.random.default_rng(8).normal(size=(3, 150, 2)).cumsum(axis=1)
    plain, scaled = rule(windows, 30), rule(windows * 2.0**-12, 30)
    np.testing.assert_array_equal(plain.numbers, scaled.numbers)
    np.testing.assert_allclose(plain.curves, scaled.curves, atol=1e-9)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("samples", [1, 2, 15, 16, 17, 31])
def test_short_windows_are_no_error(rule: Callable[..., Choices], samples: int) -> None:
    windows = np.random.default_rng(9).normal(size=(2, samples, 1))
    found = rule(windows, 50)
    assert found.numbers.shape == (2, 1)
    if samples < 16:
        assert np.isnan(found.numbers).all()


def test_a_window_too_short_for_a_dimension_ends_the_curve() -> None:
    window = sines(23.7, samples=100, noise=0.05)
    shares = by_false_neighbours(window, 20, 6).curves[0, 0]
    assert np.isfinite(shares[:2]).all(), "80 and 60 points, of which 41 may be near in time"
    assert np.isnan(shares[2:]).all(), "40 points"
    none = by_false_neighbours(window, 60, 6)
    assert np.isnan(none.numbers).all()
    assert none.summary().unusable == 1


def test_what_no_delay_fits_is_beyond() -> None:
    line = as_windows(np.arange(600.0))
    for rule in (by_autocorrelation, by_zero_autocorrelation, by_quarter_period):
        assert np.isposinf(rule(line, LONGEST).numbers).all()
    slow = sines(400.0)
    assert np.isposinf(by_quarter_period(slow, 300).numbers).all(), "a window holds 1.5 periods"


def test_quartiles_are_numbers_that_were_chosen() -> None:
    numbers = np.array([np.nan, 3, 1, 2, 8, np.inf])
    found = Summary.of(numbers, np.zeros(6, bool))
    assert (found.lower, found.median, found.upper) == (2, 3, 8)
    assert (found.used, found.unusable, found.beyond) == (5, 1, 1)
    late = Summary.of(np.array([1, np.inf, np.inf]), np.zeros(3, bool))
    assert (late.lower, late.median, late.upper) == (1, None, None)
    assert Summary.of(np.array([np.nan]), np.zeros(1, bool)).median is None


def test_the_command_line_knows_every_rule() -> None:
    assert options.DELAY_RULES == embedding.DELAY_NAMES
    assert options.DIMENSION_RULES == embedding.DIMENSION_NAMES


# --- giotto-tda --------------------------------------------------------------------------------


def test_giotto_is_asked_for_by_name_where_it_is_not_installed() -> None:
    if installed("giotto"):
        pytest.skip("giotto-tda is installed here")
    with pytest.raises(EngineNotInstalled, match=r"pi-cache\[giotto\].*AGPL-3.0"):
        by_giotto(sines(20.0), 10, 3)


def test_the_search_of_giotto_is_made_as_it_is_described(rossler: np.ndarray) -> None:
    if not installed("giotto"):
        pytest.skip("giotto-tda is not installed; make test-giotto has it")
    short = np.tile(np.nan, 600)
    windows = as_windows(rossler[:600], short, sines(20.0)[0, :, 0][:600] * 0)
    delays, dimensions = by_giotto(windows, 30, 5)
    least = []
    for delay in range(1, 31):
        counts = np.histogram2d(rossler[: 600 - delay], rossler[delay:600], bins=100)[0]
        rows, columns = counts.nonzero()
        labels = counts / counts.sum()
        joint = labels[rows, columns]
        parts = labels.sum(axis=1)[rows] * labels.sum(axis=0)[columns]
        least.append(float((joint * np.log(joint / parts)).sum()))
    assert delays.numbers[0, 0] == int(np.argmin(least)) + 1
    assert 2 <= dimensions.numbers[0, 0] <= 5
    assert np.isnan(delays.numbers[1:]).all()
    assert delays.curves.shape == (3, 1, 0)
