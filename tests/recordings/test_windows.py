"""Windows against a slow copy of their rules, sample by sample; and what a spec accepts."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cache.errors import SourceError, UnknownSource
from pipeline.recordings import Facts, Recording
from pipeline.windows import PUBLISHED, WindowSpec, cut, make_series
from pipeline.windows.missing import interpolated
from pipeline.windows.resample import linear, mean, thin
from pipeline.windows.scaling import (
    Extent,
    Moments,
    Scaling,
    fitted_scaling,
    published_scaling,
)

NAN = math.nan
FACTS = Facts(
    name="made",
    title="Made",
    sensors="none",
    channels=("x", "y"),
    units=("g", "g"),
    rate=10.0,
    subjects="1",
    labels={0: "none", 3: "walk", 7: "run"},
    classes=(7, 3),
    layout="none",
    citation="none",
    licence="none",
    address="none",
)


def spec(**options: Any) -> WindowSpec:
    return WindowSpec(**({"window": 4, "step": 2} | options))


def recording(seed: int = 0, samples: int = 60, **changes: Any) -> Recording:
    """Labels in runs, some values missing, some times that jump."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(samples, 2))
    values[random.random(values.shape) < 0.03] = NAN
    steps = np.where(random.random(samples) < 0.05, 5.0, 1.0)
    usual = {
        "dataset": "made",
        "subject": "1",
        "file": "f",
        "rate": 10.0,
        "channels": ("x", "y"),
        "units": ("g", "g"),
        "values": values,
        "labels": np.repeat(random.choice([0, 3, 7, 7], samples), 6)[:samples].astype(np.int64),
        "times": np.cumsum(steps) / 10,
    }
    return Recording(**(usual | changes))


# The slow truth: windows as (raw start, raw length, class, values), one sample at a time.

Slow = tuple[int, int, int, list[list[float]]]


def slow_stretches(rec: Recording, rule: str) -> list[list[int]]:
    """Samples that follow each other."""
    found: list[list[int]] = [[]]
    for k in range(len(rec)):
        late = rec.times is not None and k and rec.times[k] - rec.times[k - 1] > 0.15
        if (late and rule == "cut") or (rec.window and k % rec.window == 0):
            found.append([])
        found[-1].append(k)
    return [stretch for stretch in found if stretch]


def slow_rows(stretch: list[int], values: np.ndarray, rule: str) -> list[tuple[list[int], Any]]:
    """Each new sample: the old ones that it is made of, and its value."""
    name, _, amount = rule.partition(":")
    if name == "none":
        return [([k], values[k]) for k in stretch]
    factor = int(amount)
    if name == "thin":
        return [([k], values[k]) for k in stretch[::factor]]
    whole = [stretch[k : k + factor] for k in range(0, len(stretch), factor)]
    return [(block, np.mean(values[block], axis=0)) for block in whole if len(block) == factor]


def slow_class(codes: list[int], rule: str) -> int | None:
    """The class of raw codes; None where they tell none."""
    name, _, share = rule.partition(":")
    if name == "majority":
        most, count = Counter(codes).most_common(1)[0]
        enough = count >= float(share) * len(codes) if share else count > len(codes) / 2
        chosen = most if enough else None
    elif name in ("all", "ends"):
        seen = set(codes) if name == "all" else {codes[0], codes[-1]}
        chosen = codes[0] if len(seen) == 1 else None
    else:
        chosen = codes[0 if name == "first" else -1]
    return {7: 0, 3: 1}.get(chosen) if chosen is not None else None


def slowly(rec: Recording, options: dict[str, Any]) -> list[Slow]:
    found = []
    for stretch in slow_stretches(rec, options.get("gaps", "cut")):
        rows = slow_rows(stretch, rec.values, options.get("resample", "none"))
        window, step = options["window"], options["step"]
        for start in range(options.get("start", 0), len(rows) - window + 1, step):
            taken = rows[start : start + window]
            first, last = taken[0][0][0], taken[-1][0][-1]
            between = [k for k in stretch if first <= k <= last]
            label = slow_class(rec.labels[between].tolist(), options.get("label_rule", "all"))
            values = np.array([value for _, value in taken])
            if label is None or (np.isnan(values).any() and options.get("missing") != "keep"):
                continue
            found.append((first, last + 1 - first, label, values.tolist()))
    return found


def fast(rec: Recording, options: dict[str, Any]) -> list[Slow]:
    series = make_series(rec, WindowSpec(**options), FACTS)
    found = cut(series, WindowSpec(**options), labelled=True)
    return [
        (start, length, label, series.values[k : k + found.samples].tolist())
        for start, length, label, k in zip(
            found.starts.tolist(),
            found.lengths.tolist(),
            found.classes.tolist(),
            found.positions.tolist(),
            strict=True,
        )
    ]


@given(
    seed=st.integers(0, 10**6),
    window=st.integers(1, 9),
    step=st.integers(1, 5),
    start=st.integers(0, 4),
    resample=st.sampled_from(["none", "thin:2", "thin:3", "mean:2", "mean:4"]),
    label_rule=st.sampled_from(["all", "ends", "first", "last", "majority", "majority:0.8"]),
    gaps=st.sampled_from(["cut", "bridge"]),
    missing=st.sampled_from(["drop", "keep"]),
    block=st.sampled_from([0, 0, 12]),
)
def test_windows_are_those_of_the_slow_rules(seed: int, block: int, **options: Any) -> None:
    rec = recording(seed, window=block)
    np.testing.assert_equal(fast(rec, options), slowly(rec, options))


def test_what_is_left_out_is_counted() -> None:
    labels = np.array([7] * 4 + [3] * 4 + [0] * 4 + [7] * 6, np.int64)
    values = np.zeros((18, 2))
    values[13, 1] = NAN
    rec = recording(samples=18, labels=labels, values=values, times=None)
    found = cut(make_series(rec, spec(), FACTS), spec(), labelled=True)
    assert found.starts.tolist() == [0, 4, 14]
    assert found.left_out == {
        "windows of mixed labels": 3,
        "windows of no class": 1,
        "windows with missing values": 1,
    }
    times = np.arange(18) / 10 + 9 * (np.arange(18) >= 2) + 9 * (np.arange(18) >= 4)
    rec = recording(samples=18, labels=labels, values=values, times=times)
    found = cut(make_series(rec, spec(), FACTS), spec(), labelled=True)
    assert found.left_out["stretches that are too short"] == 2


@pytest.mark.parametrize(("share", "kept"), [(0.55, {0}), (0.56, set()), (0.8, set())])
def test_a_share_is_reached_where_it_is_met_exactly(share: float, kept: set[int]) -> None:
    labels = np.array([7] * 45 + [3] * 45 + [7] * 10, np.int64)
    rule = WindowSpec(window=100, step=1, label_rule=f"majority:{share}")
    rec = recording(samples=200, labels=np.tile(labels, 2), values=np.zeros((200, 2)), times=None)
    found = cut(make_series(rec, rule, FACTS), rule, labelled=True)
    assert set(found.classes.tolist()) == kept
    assert len(found) == (101 if kept else 0)


def test_without_labels_every_window_is_kept() -> None:
    series = make_series(recording(samples=10, times=None, values=np.ones((10, 2))), spec(), FACTS)
    found = cut(series, spec(), labelled=False)
    assert found.classes.tolist() == [-1] * 4


def test_which_values_lie_in_a_window() -> None:
    rec = recording(3)
    series = make_series(rec, spec(step=3), FACTS)
    found = cut(series, spec(step=3), labelled=True)
    inside = {k + i for k in found.positions.tolist() for i in range(4)}
    assert np.flatnonzero(found.covered(series)).tolist() == sorted(inside)


def test_channels_are_taken_in_their_order() -> None:
    rec = recording()
    series = make_series(rec, spec(channels="y,x"), FACTS)
    assert series.channels == ("y", "x")
    np.testing.assert_array_equal(series.values, rec.values[:, ::-1])
    with pytest.raises(SourceError, match="made, f has no channel z; it has x, y"):
        make_series(rec, spec(channels="x,z"), FACTS)


# Other rates, and missing values.


@given(
    samples=st.integers(1, 40),
    rate=st.sampled_from([3.0, 5.0, 7.5, 10.0, 20.0, 33.0]),
    seed=st.integers(0, 99),
)
def test_values_at_another_rate_lie_on_the_lines_between(
    samples: int, rate: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=(samples, 2))
    seconds = np.concatenate([[0], np.cumsum(random.uniform(0.05, 0.15, samples))[:-1]])
    made, before, after = linear(values, seconds, rate)
    for k, (row, low, high) in enumerate(zip(made, before, after, strict=True)):
        assert seconds[low] - 1e-6 <= k / rate <= seconds[high] + 1e-6
        assert high - low <= 1
        for column in range(2):
            expected = np.interp(k / rate, seconds, values[:, column])
            assert row[column] == pytest.approx(expected, abs=1e-5)
    assert (len(made) - 1) / rate <= seconds[-1] + 1e-6 < len(made) / rate + 1e-5


def test_at_the_same_or_half_the_rate_values_stay_as_they_are() -> None:
    values = np.random.default_rng(0).normal(size=(5000, 1))
    values[7] = NAN
    seconds = np.arange(5000) / 33.3
    for rate, factor in ((33.3, 1), (33.3 / 3, 3)):
        made, before, after = linear(values, seconds, rate)
        np.testing.assert_array_equal(made, values[::factor])
        np.testing.assert_array_equal(before, after)
        np.testing.assert_array_equal(made, thin(values, seconds, factor)[0])


def test_a_missing_value_stays_missing_in_what_is_made_of_it() -> None:
    values = np.array([[0.0], [1.0], [NAN], [3.0], [4.0], [5.0]])
    seconds = np.arange(6) / 10
    assert mean(values, seconds, 2)[0][:, 0].tolist()[::2] == [0.5, 4.5]
    assert np.isnan(mean(values, seconds, 2)[0][1, 0])
    doubled = linear(values, seconds, 20.0)[0][:, 0]
    assert np.flatnonzero(np.isnan(doubled)).tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("longest", "expected"),
    [
        (1, [NAN, 1, 2, 3, NAN, NAN, 6, NAN, NAN, 9, NAN]),
        (2, [NAN, 1, 2, 3, 4, 5, 6, NAN, NAN, 9, NAN]),
    ],
)
def test_short_runs_of_missing_values_are_filled(longest: int, expected: list[float]) -> None:
    """Never before the first value or after the last, nor over a gap (before the eighth)."""
    values = np.array([[NAN, 1, NAN, 3, NAN, NAN, 6, NAN, NAN, 9, NAN]]).T
    done = interpolated(values, np.array([0, 8, 11]), longest)
    np.testing.assert_array_equal(done[:, 0], expected)
    assert np.isnan(values[2, 0]), "the original stays"


@pytest.mark.parametrize("rule", ["none", "thin:2", "mean:2", "linear:5", "linear:13"])
@pytest.mark.parametrize("gaps", ["cut", "bridge"])
def test_a_sample_of_unknown_time_follows_nothing(rule: str, gaps: str) -> None:
    times = np.arange(60) / 10
    times[[0, 20, 21, 59]] = NAN
    rec = recording(samples=60, times=times, values=np.ones((60, 2)), labels=np.full(60, 7))
    chosen = spec(resample=rule, gaps=gaps, step=1)
    found = cut(make_series(rec, chosen, FACTS), chosen, labelled=True)
    assert len(found) > 8
    spans = list(zip(found.starts.tolist(), (found.starts + found.lengths).tolist(), strict=True))
    over = [start <= k < stop for start, stop in spans for k in (0, 20, 21, 59)]
    assert any(over) == (gaps == "bridge")


def test_filling_is_a_rule_of_the_spec() -> None:
    values = np.arange(20.0).reshape(10, 2)
    values[4, 0] = NAN
    rec = recording(samples=10, values=values, times=None)
    series = make_series(rec, spec(missing="interpolate:0.1s"), FACTS)
    np.testing.assert_array_equal(series.values, np.arange(20.0).reshape(10, 2))


# Scales.


def test_a_fitted_range_is_that_of_all_parts(rng: np.random.Generator) -> None:
    parts = [rng.normal(size=(n, 2)) for n in (3, 50, 7)]
    parts[1][4] = NAN
    extent, moments = Extent(2), Moments(2)
    for part in parts:
        extent.add(part)
        moments.add(part)
    together = np.concatenate(parts)
    lowest, highest = np.nanmin(together, axis=0), np.nanmax(together, axis=0)
    scaling = fitted_scaling(extent, ("x", "y"), "made")
    np.testing.assert_array_equal(
        scaling(together[:3]), (together[:3] - lowest) / (highest - lowest)
    )
    scores = fitted_scaling(moments, ("x", "y"), "made")
    np.testing.assert_allclose(scores.offset, np.nanmean(together, axis=0), rtol=1e-12)
    np.testing.assert_allclose(scores.divisor, np.nanstd(together, axis=0), rtol=1e-12)
    again = Scaling.from_numbers(json.loads(json.dumps(scores.to_numbers())), ("x", "y"))
    np.testing.assert_array_equal(again(together), scores(together))


@pytest.mark.parametrize("fit", [Extent, Moments])
def test_a_constant_channel_has_no_scale(fit: type[Extent] | type[Moments]) -> None:
    gathered = fit(3)
    for _ in range(9):
        gathered.add(np.column_stack([np.arange(7.0), np.full(7, 0.1), np.full(7, NAN)]))
    with pytest.raises(SourceError, match=r"no scale can be fitted to y, z, constant or absent"):
        fitted_scaling(gathered, ("x", "y", "z"), "made")


@pytest.mark.parametrize(
    "numbers",
    [
        "0,1",
        {"offset": {"x": 0.0}},
        {"offset": {"x": 0.0}, "divisor": {"x": 0.0}},
        {"offset": {"x": NAN}, "divisor": {"x": 1.0}},
        {"offset": {"x": 0.0}, "divisor": {"x": "1"}},
        {"offset": {"x": 0.0, "y": 0.0}, "divisor": {"x": 1.0, "y": 1.0}},
    ],
)
def test_stored_numbers_are_checked(numbers: object) -> None:
    with pytest.raises(UnknownSource, match="fitted must hold offset and divisor"):
        Scaling.from_numbers(numbers, ("x",))


def test_published_constants_are_those_of_named_channels() -> None:
    scaling = published_scaling(PUBLISHED["pamap2"], ("hand_temperature", "heart_rate"), "made")
    scaled = scaling(np.array([[35.5, 101.0], [40.0, -1.0], [0.0, 202.0]]))
    np.testing.assert_array_equal(scaled, [[1, 0.5], [0.99, 0], [0, 1]])
    with pytest.raises(SourceError, match="no constants are published for hand_orientation_0"):
        published_scaling(PUBLISHED["pamap2"], ("hand_orientation_0",), "made")


# The spec.

lengths = st.one_of(
    st.integers(1, 9999),
    st.floats(1e-6, 1e6).map(lambda x: f"{np.format_float_positional(x, trim='-')}s"),
)


@given(
    window=lengths,
    step=lengths,
    start=st.integers(0, 99),
    resample=st.one_of(
        st.sampled_from(["none", "thin:3", "mean:12"]),
        st.floats(1e-3, 1e4).map(lambda rate: f"linear:{rate!r}"),
    ),
    label_rule=st.sampled_from(["all", "majority", "majority:0.55", "ends", "first", "last"]),
    gaps=st.sampled_from(["cut", "bridge"]),
    missing=st.sampled_from(["drop", "keep", "interpolate:3", "interpolate:0.25s"]),
    channels=st.sampled_from(["", "x", "x,y"]),
    fit=st.sampled_from(
        [
            {},
            {"scale": "published"},
            {"scale": "fitted:minmax", "fit_on": "subjects:1,2"},
            {"scale": "fitted:zscore", "fit_on": "split:train"},
        ]
    ),
    prepare=st.sampled_from(["none", "published"]),
)
def test_a_spec_comes_back_from_what_is_stored(fit: dict[str, str], **options: Any) -> None:
    made = WindowSpec(**options, **fit)
    stored = json.loads(json.dumps(made.to_options()))
    assert WindowSpec(**stored) == made
    assert WindowSpec(**stored).to_options() == stored


def test_ways_to_say_one_thing_are_one_spec() -> None:
    one = WindowSpec(window="100", step="1s", resample="linear:50", channels=["x", "y"])
    two = WindowSpec(window=100.0, step=" 1.0 s ", resample="linear:50.0", channels="x, y")
    assert one == two
    assert one.window.samples(33.0) == 100
    assert one.step.samples(100 / 3) == 33
    assert WindowSpec(window="3s", step=1).window.samples(100 / 3) == 100


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"window": "3 min"}, "window must be samples such as 100, or seconds such as 3s"),
        ({"window": "2.5"}, "window must be samples such as 100"),
        ({"window": True}, "window must be samples such as 100"),
        ({"step": "-1"}, "step must be samples such as 100"),
        ({"window": 0}, "window must be above 0"),
        ({"step": "0s"}, "step must be above 0"),
        ({"resample": "thin"}, "resample must be thin:K with a whole number from 2, got 'thin'"),
        ({"resample": "thin:1"}, "thin:K with a whole number from 2"),
        ({"resample": "cubic:3"}, "resample must be one of none, thin, mean, linear, got"),
        ({"resample": "none:3"}, "resample must be none without an amount"),
        ({"resample": "linear:inf"}, "linear:HZ with a rate above 0"),
        ({"label_rule": "majority:0.5"}, "majority:SHARE with a share above 0.5"),
        ({"label_rule": "any"}, "label_rule must be one of all, majority, ends"),
        ({"gaps": "fill"}, "gaps must be one of cut, bridge"),
        ({"missing": "interpolate"}, "missing must be interpolate:samples such as 100"),
        ({"scale": "minmax"}, "published, fitted, got 'minmax'; did you mean fitted:minmax"),
        ({"scale": "fitted"}, "scale must be fitted:minmax or fitted:zscore"),
        ({"scale": "fitted:minmax"}, "a fitted scale and fit_on go together"),
        ({"fit_on": "split:train"}, "a fitted scale and fit_on go together"),
        ({"fit_on": "split:", "scale": "fitted:minmax"}, "fit_on must be split:NAME"),
        ({"fit_on": "subjects:1,,2", "scale": "fitted:minmax"}, "got an empty one in '1,,2'"),
        ({"channels": "x,x"}, "the channels x, x must differ"),
        ({"prepare": "mine"}, "prepare must be one of none, published"),
    ],
)
def test_what_a_spec_refuses(options: dict[str, Any], match: str) -> None:
    with pytest.raises(UnknownSource, match=match):
        spec(**options)


def test_all_problems_are_told_together() -> None:
    with pytest.raises(UnknownSource, match=r"window must be .*; step must be .*; gaps must be "):
        WindowSpec(window="x", step="y", gaps="z")
