"""The benchmarks run: on tiny inputs, in this process, whatever the times are."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import count_rate, executors, first_touch, start_up
from benchmarks.kernels import fields, inputs, scaling
from benchmarks.kernels.__main__ import WORKS, main
from benchmarks.kernels.peers import Disagreement, Peer, check_diagrams, path_peers
from benchmarks.kernels.table import Peer as Time
from benchmarks.kernels.table import Result, compared, show
from benchmarks.kernels.timing import Contender, best_times
from pi_cache import checked
from pi_cache.layout import Layout

pytestmark = pytest.mark.filterwarnings("ignore")  # of the other libraries


@pytest.mark.parametrize("markdown", [False, True], ids=["text", "markdown"])
def test_the_command_prints_its_tables(markdown: bool) -> None:
    options = ["--quick", "--only", "A,B,C,D"] + ["--markdown"] * markdown
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 0, result.output
    for text in ("A path H0, float32", "A+B, float64", "C noise, cells", "D Rips", "gudhi"):
        assert text in result.output or (text == "gudhi" and "gudhi" not in path_peers())
    assert ("| --- |" in result.output) is markdown


def test_an_unknown_work_is_misuse() -> None:
    result = CliRunner().invoke(main, ["--only", "A,F"])
    assert result.exit_code == 2
    assert "unknown F; there are A, B, C, D, E, scaling" in result.output


def test_a_disagreement_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def lie(signal: np.ndarray) -> list[np.ndarray]:
        return [np.array([[0.0, 1.0]])]

    monkeypatch.setattr(fields, "path_peers", lambda: {"liar": Peer(lie, list)})
    result = CliRunner().invoke(main, ["--quick", "--only", "A"])
    assert result.exit_code == 1
    assert "liar and our kernel differ in H0" in result.output
    with pytest.raises(Disagreement, match="differ in H0 of a field of shape"):
        check_diagrams("liar", Peer(lie, list), np.zeros(3), [np.array([[0.0, np.inf]])])


@pytest.mark.parametrize("kind", inputs.KINDS)
def test_inputs_are_distinct(kind: str) -> None:
    clouds = inputs.embedded(kind, 3, inputs.QUICK)
    assert clouds.shape == (2, 70, 3)
    assert not np.array_equal(clouds[0], clouds[1])


@pytest.mark.parametrize("name", scaling.FIELDS)
def test_each_field_of_the_scaling_table_is_measured(name: str) -> None:
    work, _, sizes = scaling.FIELDS[name]
    found = scaling.measure(name, 16 if work == "cubical" else sizes[0] // 4)
    assert found["seconds"]["ours"] > 0
    assert found["peak"] >= found["before"] > 0
    assert json.loads(json.dumps(found)) == found


def test_beyond_the_largest_sizes_is_refused() -> None:
    assert len(scaling.refused()) == 3


def test_the_best_library_is_named_and_what_is_by_hand_is_not() -> None:
    times = [
        Time(name=name, seconds=ratio * 1e-6, ratio=ratio, inputs=5, by_hand=name == "hand")
        for name, ratio in (("slow", 400.0), ("hand", 2.0), ("fast", 12.3))
    ]
    result = Result(work="W", unit="u", seconds=1e-6, inputs=1000, peers=times, bound=5e-7)
    text = show([compared("Title", [result])], markdown=True)
    assert "| W | u (1,000) | 1.00 us | fast 12.3 us (5) | 12.3 |" in text
    assert "| hand 2.00 (5), slow 400 (5) | 500 ns | 2.00 |" in text


def test_all_have_their_turns() -> None:
    calls: list[str] = []
    runs = {name: [lambda name=name: calls.append(name)] for name in "ab"}
    best = best_times([Contender(name=n, runs=r, items=2) for n, r in runs.items()], rounds=3)
    assert "".join(calls) == "ab" + "ab" * 3, "once to warm up, then in turns"
    assert all(times.shape == (1,) and times[0] >= 0 for times in best.values())


def test_every_kernel_is_started() -> None:
    found = start_up.measure()
    assert len(found) == 13
    assert {"path, float32", "cubical, float64", "rips, points"} < set(found)


@pytest.mark.parametrize(
    "name", ["start_up", "two_processes", "plan", "build_rate", "first_touch", "wearables"]
)
def test_other_commands_say_how_they_are_used(name: str) -> None:
    result = CliRunner().invoke(import_module(f"benchmarks.{name}").main, ["--help"])
    assert result.exit_code == 0
    assert "--help" in result.output


def test_counting_is_measured() -> None:
    result = CliRunner().invoke(count_rate.main, ["--windows", "4", "--repeat", "1"])
    assert result.exit_code == 0, result.output
    assert result.output.count("counting is") == 6


def test_a_plan_is_compared_with_its_build() -> None:
    from benchmarks import plan

    assert len({case.name for case in plan.CASES}) == len(plan.CASES) >= 10
    case = plan.of_rips(
        "small", lambda folder: plan.from_arrays(plan.tori(4, 20), sample="cloud"), plan.rips(), 2.0
    )
    outcome = plan.compare(case)
    assert outcome.factor > 0
    assert outcome.plan.samples == 4
    assert "diagrams" in plan.steps(outcome)


def test_first_touch_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "SETTLED", 0.0)
    monkeypatch.setattr(checked, "SMALL", 0)
    path = first_touch.real_store(tmp_path, 2, Layout(shard_samples=16))
    assert min(first_touch.hashing(path, 1)) > 0
    marks = tmp_path / "marks"
    for read in first_touch.EPOCHS.values():
        assert first_touch.epoch(path, read, "first-touch", marks) > 0
    assert len(list(marks.glob("*/*"))) == 2, "what the first epoch hashed, the others found"
    times = first_touch.epochs(path, first_touch.whole, 1)
    assert min(times.first, times.remembered, times.size) > 0
    assert times.bytes == sum(file.stat().st_size for file in path.glob("data.zarr/images/c.*"))
    wide = first_touch.wide_store(tmp_path / "wide", 3)
    assert first_touch.opening(wide, 1) > 0


def test_wearables_are_made_built_and_opened() -> None:
    from benchmarks import wearables

    result = CliRunner().invoke(wearables.main, ["--small"])
    assert result.exit_code == 0, result.output
    for text in (
        "93 windows of 40 channels, counts as published",
        "times the bare parser",
        "times the kernels",
        "times the plan, in",
        "by tda-kd-pamap2-corrected",
        "one of 2 opened in",
    ):
        assert text in result.output


def test_rendering_is_measured(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from benchmarks import render

    store = render.make_store(tmp_path, 8)
    found = render.rates(store, 1)
    assert min(found.values()) > 0 and "bound, float32" in found
    kept = render.sizes(store, render.RenderedImages(store, range(8)))
    assert kept.raw == 30_000 and kept.raw > 8 * kept.resident


def test_a_set_with_other_windows_is_no_wearable(tmp_path: Path) -> None:
    from benchmarks import pamap2, wearables

    pamap2.write_set(tmp_path, pamap2.SMALL)
    source = wearables.open_source(f"pamap2:{tmp_path}", windows="published")
    wearables.check_counts(source, pamap2.SMALL)
    with pytest.raises(ValueError, match="subject 101: 58 windows, expected"):
        wearables.check_counts(source, pamap2.PEOPLE)


def test_the_works_are_those_of_the_table() -> None:
    assert list(WORKS) == ["A", "B", "C", "D", "E", "scaling"]


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_reading_for_training_is_measured(tmp_path: Path, dtype: str) -> None:
    pytest.importorskip("torch")
    training_read = import_module("benchmarks.training_read")
    rows = training_read.measure(tmp_path, 300, dtype, 1, training_read.images(20, 0))
    assert {"resident", "mapped, DataLoader", "decode all", "block shuffle"} <= {
        row.work for row in rows
    }
    assert all(row.ours > 0 and min(row.bounds.values()) > 0 for row in rows)
    assert "samples/s; " in str(rows[0])
    for command in (training_read.main, import_module("benchmarks.training_peers").main):
        assert CliRunner().invoke(command, ["--help"]).exit_code == 0


def test_peers_deliver_every_sample(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    peers = import_module("benchmarks.training_peers")
    drawn = peers.images(200, 0)
    installed = ("plain tensor", "ours, mapped, DataLoader", ".npy, memory-mapped", "zarr")
    for number, name in enumerate(installed):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert sorted(peers.PEERS[name][1](folder, drawn)()) == [72, 128], name


def test_the_cost_of_executors_is_told() -> None:
    options = ["--shards", "2", "--seconds", "0.01", "--rounds", "1", "--executor", "serial"]
    result = CliRunner().invoke(executors.main, options)
    assert result.exit_code == 0, result.output
    name, workers, *figures = result.output.splitlines()[-3].split()
    assert (name, workers) == ("serial", "1")
    assert float(figures[3]) >= 1 and float(figures[5]) >= float(figures[3]), "work is a part"


def test_serving_is_compared_with_nginx() -> None:
    pytest.importorskip("uvicorn")
    serving = import_module("benchmarks.serving")
    missing = [name for name in ("nginx", "wrk") if not serving.found(name)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    options = ["--seconds", "2", "--rounds", "1", "--shards", "1", "--readers", "2"]
    result = CliRunner().invoke(serving.main, options)
    assert result.exit_code == 0, result.output
    for work in serving.WORKS:
        for server in ("nginx", "pi-cache"):
            assert f"| {work} | {server} | " in result.output
