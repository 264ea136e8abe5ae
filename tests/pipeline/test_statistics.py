"""What is counted of a shard against slow, obvious counting; cuts into shards change nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cache.integrity.restore import remainder
from pi_cache.manifest import merged
from pi_cache.reader import open_store
from pi_cache.specs import DiagramSpec, ImageSpec
from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.fields import make_fields
from pipeline.images import select
from pipeline.kernels.extent import extent
from pipeline.sources.arrays import from_arrays
from pipeline.sources.base import read_samples
from pipeline.statistics import (
    CLIPPED_RUN,
    LARGEST,
    Shown,
    input_statistics,
    mean_and_deviation,
    run_lengths,
)

SPECS = (
    DiagramSpec(),
    DiagramSpec(precision="float32"),
    DiagramSpec(centre=True, scale=2.0),
    DiagramSpec(filtration="rips", embedding_dimension=2, embedding_delay=3),
)


def counted(data: Any, spec: DiagramSpec = SPECS[0], **columns: Any) -> dict[str, Any]:
    """The statistics of signals, as JSON gives them back."""
    source = from_arrays(data, sample="signal", **columns)
    found = input_statistics(read_samples(source), source, spec)
    plain: dict[str, Any] = json.loads(json.dumps(found, allow_nan=False))["inputs"]
    return plain


def naive_clipped(window: np.ndarray, extreme: float) -> int:
    """Values of a window (T,) in long runs at an extreme, counted run by run."""
    if window.min() == window.max():
        return 0
    runs = ((value, len(list(run))) for value, run in groupby(window.tolist()))
    return sum(length for value, length in runs if value == extreme and length >= CLIPPED_RUN)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 5), (3, 17, 2), (2, 100, 9), (1, 7, 40)])
def test_extents_are_those_of_numpy(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    signals = rng.normal(5, 2, shape)
    found = extent(signals)
    assert np.array_equal(found.lows, signals.min(axis=1))
    assert np.array_equal(found.highs, signals.max(axis=1))
    assert found.means == pytest.approx(signals.mean(axis=1), rel=1e-13)
    assert found.squares == pytest.approx(signals.var(axis=1) * shape[1], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("spec", SPECS, ids=["plain", "float32", "centred", "embedded"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "ragged"])
def test_values_are_counted_as_they_are_filtered(
    spec: DiagramSpec, dtype: str, rng: np.random.Generator
) -> None:
    data = np.clip(rng.normal(0, 3, (30, 40, 2)).round(), -5, 4)  # saturated at both ends
    data[3, :, 1] = 4
    data[:, 20:26, 0] = np.where(rng.random((30, 1)) < 0.5, 4, 1)
    source = from_arrays(data.astype("float64" if dtype == "ragged" else dtype), sample="signal")
    samples = read_samples(source)
    if dtype == "ragged":
        arrays = [np.array(window) for window in samples.arrays]
        arrays[5] = arrays[5][:31]
        samples = replace(samples, arrays=arrays)
    seen = input_statistics(samples, source, spec)["inputs"]
    whole = DiagramSpec(precision=spec.precision, centre=spec.centre, scale=spec.scale)
    fields = list(make_fields(samples, source, whole))
    for channel in range(2):
        windows = [np.asarray(field, np.float64) for field in fields[channel::2]]
        values = np.concatenate(windows)
        mean, deviation = mean_and_deviation(
            seen["values"], seen["total"][channel], seen["squares"][channel]
        )
        assert seen["values"] == len(values) and seen["windows"] == 30
        assert mean == pytest.approx(math.fsum(values.tolist()) / len(values), abs=1e-6)
        assert deviation == pytest.approx(values.std(), rel=1e-6)
        assert seen["flat"][channel] == sum(w.min() == w.max() for w in windows)
        for name, extreme in (("lowest", values.min()), ("highest", values.max())):
            value, clipped = seen[name][channel]
            assert value == pytest.approx(extreme, abs=1e-14)
            if not spec.centre:
                assert clipped == sum(naive_clipped(window, extreme) for window in windows)


@given(hit=st.lists(st.booleans(), max_size=12))
def test_runs_are_counted_as_by_hand(hit: list[bool]) -> None:
    runs = [len(list(run)) for value, run in groupby(hit) if value]
    expected = sum(length for length in runs if length >= CLIPPED_RUN)
    assert run_lengths(np.array([hit], bool).reshape(1, -1)).tolist() == [expected]


PARTS = st.lists(
    st.lists(st.sampled_from([0.0, 0.25, 1.0, 1e8, -3.5]), min_size=8, max_size=8),
    min_size=2,
    max_size=6,
)


@settings(max_examples=40)
@given(data=PARTS, cut=st.integers(1, 5))
def test_parts_add_up_in_any_order(data: list[list[float]], cut: int) -> None:
    """Counts and extremes exactly; what is left of a total beside a part is the other part."""
    signals = np.array(data).reshape(len(data), 4, 2)
    cut = min(cut, len(data) - 1)
    one, other, both = (counted(part) for part in (signals[:cut], signals[cut:], signals))
    total, turned = merged([one, other]), merged([other, one])
    assert total == turned
    sums = ("total", "squares")
    assert {k: v for k, v in total.items() if k not in sums} == {
        k: v for k, v in both.items() if k not in sums
    }
    for channel in range(2):
        found, expected = (
            mean_and_deviation(seen["values"], *(seen[name][channel] for name in sums))
            for seen in (total, both)
        )
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert merged([one, remainder(total, one)]) == total


def test_deviation_survives_a_large_mean(rng: np.random.Generator) -> None:
    signals = 1e9 + rng.normal(0, 1e-3, (40, 50, 1))
    total = merged(counted(signals[k : k + 4]) for k in range(0, 40, 4))
    mean, deviation = mean_and_deviation(total["values"], total["total"][0], total["squares"][0])
    assert mean == pytest.approx(signals.mean(), rel=1e-15)
    assert deviation == pytest.approx((signals - 1e9).std(), rel=1e-5)


def test_missing_values_are_counted_and_nothing_else_of_their_window() -> None:
    signals = np.arange(48.0).reshape(3, 8, 2)
    signals[1, 2:5, 1] = np.nan
    seen = counted(signals)
    assert (seen["samples"], seen["windows"], seen["values"], seen["read"]) == (3, 2, 16, 24)
    assert seen["missing"] == [0, 3]
    assert [value for value, _ in seen["highest"]] == [46, 47]


def test_huge_values_and_none_at_all_are_recorded() -> None:
    huge = counted(np.full((2, 4, 1), 1e308) * [[[1.0]], [[-1.0]]])
    mean, deviation = mean_and_deviation(huge["values"], huge["total"][0], huge["squares"][0])
    assert math.isfinite(mean) and math.isfinite(deviation)
    nothing = counted(np.full((2, 4, 1), np.nan))
    assert nothing["windows"] == 0 and nothing["lowest"] == [None]
    assert merged([nothing, huge]) == merged([huge, nothing])
    beyond = counted(np.array([[[1.0]] * 4, [[1e39]] * 4]), DiagramSpec(precision="float32"))
    assert beyond["windows"] == 1 and beyond["highest"] == [[1.0, 0]]


def test_points_are_counted_by_channel(rng: np.random.Generator) -> None:
    """Against one comparison a point; the first channel of the last sample is empty."""
    spec = ImageSpec(birth_range=(-1, 1), persistence_range=(0.2, 1))
    lengths = [3, 0, 5, 9, 0, 2]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    births = rng.normal(0, 1, offsets[-1])
    points = np.column_stack([births, births + rng.exponential(1, len(births))])
    found = Shown(2)
    for first, last in ((0, 4), (4, 6)):
        found.add(select(points, offsets[first : last + 1], spec), spec)
    seen = found.to_dict()
    owner = np.repeat(np.arange(6) % 2, lengths)
    for channel in range(2):
        birth, death = points[owner == channel].T
        persistence = death - birth
        inside = (abs(birth) <= 1) & (persistence >= 0.2) & (persistence <= 1)
        expected = {
            "points": len(birth),
            "points_inside": inside.sum(),
            "births_below": (birth < -1).sum(),
            "births_above": (birth > 1).sum(),
            "persistences_below": (persistence < 0.2).sum(),
            "persistences_above": (persistence > 1).sum(),
            "persistence": pytest.approx(persistence.sum()),
            "persistence_inside": pytest.approx(persistence[inside].sum()),
            "min_birth": birth.min(),
            "max_birth": birth.max(),
            "max_persistence": persistence.max(),
        }
        assert {name: values[channel] for name, values in seen.items()} == expected
    for name, total in found.totals().items():
        assert total == pytest.approx(sum(seen[name]))
    assert Shown(1).to_dict()["min_birth"] == [None]


def test_sums_beyond_the_largest_float_are_that(tmp_path: Path) -> None:
    """Within a shard, and over shards; JSON has no larger number."""
    signals = np.tile([0, 8e307, 0, 1.2e308, -1, -0.3], (20, 1))
    image = ImageSpec(pixels=6, weight="relative", persistence_range=(0, 1.7e308), sigma=1e307)
    options = Options(executor="serial", shard_samples=8)
    report = build(
        from_arrays(signals, sample="signal"), SPECS[0], image, root=tmp_path, options=options
    )
    seen = open_store(report.path).manifest.statistics
    assert seen["window"]["persistence"] == seen["shown"]["persistence"][0] == LARGEST
    assert seen["window"]["points"] == seen["shown"]["points"][0] == 40
    assert merged([{"total": [2**1100]}] * 2) == {"total": [2**1101]}, "whole numbers have no end"


def test_what_cannot_be_drawn_has_no_diagrams(tmp_path: Path) -> None:
    """Neither any with points nor any that are empty."""
    signals = np.array([[0.0, 1e308, 0, 1e308, 0, 1e308, 0], [0, 0.5, 0, 0.5, 0, 0.5, 0]])
    report = build(
        from_arrays(signals, sample="signal"), SPECS[0], ImageSpec(pixels=6), root=tmp_path
    )
    manifest = open_store(report.path).manifest
    assert manifest.status == {"OK": 1, "INF": 1}
    window = manifest.statistics["window"]
    assert (window["diagrams"], window["empty"], window["points"]) == (1, 0, 3)


def test_a_store_has_the_same_counts_however_it_was_built(tmp_path: Path) -> None:
    signals = np.random.default_rng(4).random((50, 30, 3))
    source = from_arrays(signals, sample="signal")
    found = []
    for name, options in {
        "one": Options(executor="serial", shard_samples=8),
        "two": Options(executor="joblib", workers=2, shard_samples=8),
        "cut": Options(executor="serial", shard_samples=24),
    }.items():
        report = build(source, SPECS[0], ImageSpec(pixels=6), root=tmp_path / name, options=options)
        found.append(open_store(report.path).manifest.statistics)
    one, two, cut = found
    assert (one["inputs"], one["shown"]) == (two["inputs"], two["shown"])
    for name in ("flat", "lowest", "highest", "values", "windows", "missing"):
        assert one["inputs"][name] == cut["inputs"][name]
    for name, values in one["shown"].items():
        assert values == pytest.approx(cut["shown"][name], rel=1e-13)
