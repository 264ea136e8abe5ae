"""The samples that end processes are found, exactly; all others are stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pi_cache.ledger import finish
from pi_cache.reader import open_store
from pi_cache.specs import DiagramSpec, ImageSpec, Status, StoreSpec
from pipeline import rescue
from pipeline.buildoptions import Options
from pipeline.executors import WorkersLost
from pipeline.executors.alone import ProcessDied, memory_limit
from pipeline.prepare import prepare
from pipeline.rescue import Sparing, rescue_shard, spared, try_samples
from pipeline.shard import ShardTask, build_shard
from pipeline.sources.base import Source, read_samples
from tests.cluster.hard_source import SHARD, hard_source, signal_of

IMAGE = ImageSpec(pixels=8, sigma=0.2, birth_range=(-3, 3), persistence_range=(0, 5))


def begun(source: Source, root: Path, samples: int) -> ShardTask:
    """A store of one shard of so many samples, begun."""
    spec = StoreSpec(source=source.spec(), diagram=DiagramSpec(), image=IMAGE)
    build = prepare(source, spec, None, root=root, options=Options(shard_samples=samples))
    return ShardTask(build, 0, source)


class FakeProcess:
    """Runs in this process, and dies where `deadly` says so of a function and its task."""

    deadly: Callable[[Any, ShardTask], bool] = lambda function, task: False
    deaths = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *caught: object) -> None:
        pass

    def call(self, function: Any, argument: Any) -> Any:
        if isinstance(argument, ShardTask) and type(self).deadly(function, argument):
            type(self).deaths += 1
            raise ProcessDied("ended with exit status 3")
        return function(argument)


def touched(task: ShardTask) -> set[str]:
    """The ids of the samples that a task reads."""
    reader = task.source.reader
    crashed = reader.crashed if isinstance(reader, Sparing) else {}
    return {name for k, name in enumerate(task.source.ids) if k not in crashed}


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(guilty=st.sets(st.integers(0, 4 * SHARD - 1), max_size=5))
def test_exactly_the_guilty_are_lost(
    guilty: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("rescue")
    task = begun(hard_source(root, 4), root, 4 * SHARD)
    names = {f"s{k}" for k in guilty}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rescue, "Alone", FakeProcess)
        patch.setattr(FakeProcess, "deadly", lambda function, task: bool(touched(task) & names))
        patch.setattr(FakeProcess, "deaths", 0)
        result = rescue_shard(task)
        assert FakeProcess.deaths <= 7 * max(len(guilty), 1), "halves: five levels, and once more"
    store = open_store(task.build.path) if finish(task.build) and result else None
    assert store is not None
    assert set(np.flatnonzero(store.status == Status.CRASH)) == guilty
    assert set(np.flatnonzero(store.status == Status.OK)) == set(range(4 * SHARD)) - guilty
    assert set(store.manifest.statistics["problems"]) == names


def test_what_is_known_of_a_shard_is_not_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch job may end after each step; the next one goes on with what was told."""
    task = begun(hard_source(tmp_path, 1), tmp_path, SHARD)
    told: list[dict[int, str]] = []
    calls: list[Any] = []

    def deadly(function: Any, task: ShardTask) -> bool:
        calls.append(function)
        return "s5" in touched(task)

    def beside(known: Any) -> None:
        calls.clear()
        rescue.build_beside(task, known, lambda crashed: told.append(dict(crashed)))

    monkeypatch.setattr(rescue, "Alone", FakeProcess)
    monkeypatch.setattr(rescue, "call_alone", FakeProcess().call)
    monkeypatch.setattr(FakeProcess, "deadly", deadly)
    beside(None)
    assert told == [{}, {5: "ended with exit status 3"}]
    assert calls[0] is build_shard and try_samples in calls, "whole, then by halves"
    beside(told[0])
    assert calls[0] is try_samples, "not whole again"
    beside(told[1])
    assert calls == [build_shard] and len(told) == 3, "and then without it"


def fail(function: Any, patch: pytest.MonkeyPatch, root: Path) -> None:
    """Rescue a shard that dies as a function says."""
    patch.setattr(rescue, "Alone", FakeProcess)
    patch.setattr(FakeProcess, "deadly", function)
    rescue_shard(begun(hard_source(root, 1), root, SHARD))


def test_a_shard_that_dies_of_no_sample_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WorkersLost, match=r"shard 0: .* none of its samples does so by itself"):
        fail(lambda function, task: function is build_shard, monkeypatch, tmp_path)
    assert not list(tmp_path.glob("stores/*/ledger/0*.json"))


def test_a_shard_of_which_all_samples_die_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescue, "MOST", 3)
    with pytest.raises(WorkersLost, match="over 3 of its samples end the process"):
        fail(lambda function, task: bool(touched(task)), monkeypatch, tmp_path)


def test_a_process_that_cannot_start_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(self: FakeProcess, function: Any, argument: Any) -> Any:
        raise ProcessDied("was ended by SIGKILL")

    monkeypatch.setattr(FakeProcess, "call", dead)
    with pytest.raises(WorkersLost, match="was ended by SIGKILL before it read any sample"):
        fail(lambda function, task: True, monkeypatch, tmp_path)


def test_what_is_spared_is_not_read(tmp_path: Path) -> None:
    source = hard_source(tmp_path / "root", 1)
    task = spared(ShardTask(None, 0, source, donor=tmp_path), {2: "ended with exit status 3"})  # type: ignore[arg-type]
    assert task.donor is None, "which may hold what is lost here"
    samples = read_samples(task.source[1:5])
    assert samples.status.tolist() == [0, Status.CRASH, 0, 0]
    assert samples.problems == {1: "the process that computed it ended with exit status 3"}
    assert not samples.arrays[1].any()
    np.testing.assert_array_equal(samples.arrays[2], signal_of(3))
    assert list(task.source.reader.digests()) == list(source.reader.digests())


def test_a_sample_that_needs_too_much_memory_costs_itself(tmp_path: Path) -> None:
    root = tmp_path / "root"
    task = begun(hard_source(root, 1, traps={5: "hoards"}), root, SHARD)
    with memory_limit(700 * 2**20):
        rescue_shard(task)
    finish(task.build)
    store = open_store(task.build.path)
    assert np.flatnonzero(store.status == Status.CRASH).tolist() == [5]
    assert "bytes of memory, and 734,003,200 are" in store.manifest.statistics["problems"]["s5"]
