"""A pool whose workers are killed: the build goes on, and one sample is lost at most."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pi_cache.reader import open_store
from pi_cache.specs import DiagramSpec, ImageSpec, Status
from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.executors import WorkersLost, run_joblib
from pipeline.executors.alone import Alone, ProcessDied, call_alone, memory_limit, told_end
from tests.cluster.hard_source import (
    SHARD,
    exits,
    exits_once,
    hard_source,
    hoards,
    lacks,
    marks_of,
)

IMAGE = ImageSpec(pixels=8, sigma=0.2, birth_range=(-3, 3), persistence_range=(0, 5))


def built(source: Any, root: Path, executor: str, said: list[str], workers: int = 2) -> Any:
    """A build whose lines of talk are kept."""
    how = Options(executor=executor, workers=workers, shard_samples=SHARD)
    return build(source, DiagramSpec(), IMAGE, root=root, options=how, say=said.append)


def test_a_worker_that_is_killed_once_costs_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    source = hard_source(tmp_path / "root", 6, traps={9: "exits once"})
    report = built(source, tmp_path / "root", "joblib", said)
    clean = built(hard_source(tmp_path / "serial", 6), tmp_path / "serial", "serial", [])
    assert report.manifest.digest == clean.manifest.digest
    assert marks_of(source, "again") == []
    assert any("computed again, one by one" in line for line in said)


@pytest.mark.parametrize(
    ("workers", "trap", "how"),
    [
        (1, "lacks", "ran out of memory (no room for an array)"),
        (2, "exits", "ended with exit status 3"),
    ],
)
def test_a_sample_that_kills_costs_itself(
    tmp_path: Path, workers: int, trap: str, how: str
) -> None:
    said: list[str] = []
    source = hard_source(tmp_path / "root", 4, traps={13: trap})
    report = built(source, tmp_path / "root", "joblib", said, workers)
    assert any(f"shard 1: the process that computed it {how}" in line for line in said)
    status = open_store(report.path).status.tolist()
    assert status.index(Status.CRASH) == 13 and Counter(status)[Status.CRASH] == 1
    problem = report.manifest.statistics["problems"]["s13"]
    assert problem == f"the process that computed it {how}"
    assert marks_of(source, "again") == []


def kill(task: tuple[int, Path]) -> int:
    """The number of a task; the process ends at the third one."""
    number, mark = task
    if number == 2:
        exits(mark)
    return number


def lack(task: tuple[int, Path]) -> int:
    """The number of a task; there is no room in memory for the third one."""
    number, mark = task
    if number == 2:
        lacks(mark)
    return number


def kill_once(task: tuple[int, Path]) -> int:
    """The number of a task; the process ends the first time at the third one."""
    number, mark = task
    if number == 2:
        exits_once(mark)
    return number


def numbers(function: Any, folder: Path, said: list[str], workers: int) -> list[int]:
    """What the pool gives for twelve tasks."""
    tasks = [(k, folder / "mark") for k in range(12)]
    run = run_joblib(function, tasks, workers=workers, scheduler=None, say=said.append)
    found: list[int] = []
    try:
        found.extend(run)
    except WorkersLost as error:
        said.append(f"lost: {error}")
    return sorted(found)


def test_half_the_workers_go_on(tmp_path: Path) -> None:
    said: list[str] = []
    assert numbers(kill_once, tmp_path, said, 4) == list(range(12))
    assert len(said) == 1 and said[0].endswith("what is missing is computed again, with 2 workers")


@pytest.mark.parametrize(
    ("function", "how"), [(kill, "ended with exit status 3"), (lack, "ran out of memory")]
)
def test_a_task_that_nothing_rescues_is_named_once_all_others_are_done(
    tmp_path: Path, function: Any, how: str
) -> None:
    said: list[str] = []
    assert numbers(function, tmp_path, said, 2) == [0, 1, *range(3, 12)]
    assert said[-1].startswith(f"lost: a task: the process that computed it {how}")


def test_a_process_is_kept_and_replaced_when_it_dies(tmp_path: Path) -> None:
    with Alone() as process:
        assert process.call(kill, (1, tmp_path)) == 1
        assert process.process is not None
        first = process.process.pid
        assert process.call(kill, (3, tmp_path)) == 3 and process.process.pid == first
        with pytest.raises(ProcessDied, match="ended with exit status 3"):
            process.call(kill, (2, tmp_path))
        assert process.call(kill, (4, tmp_path)) == 4 and process.process.pid != first
        with pytest.raises(ProcessDied, match=r"ran out of memory \(no room for an array\)"):
            process.call(lack, (2, tmp_path))
        assert process.process is None, "which may still hold much"
        with pytest.raises(RuntimeError, match="ZeroDivisionError: integer div"):
            process.call(divmod, 1, 0)


def test_a_process_that_holds_too_much_is_ended(tmp_path: Path) -> None:
    with memory_limit(500 * 2**20), pytest.raises(ProcessDied, match=r"and 524,288,000 are allo"):
        call_alone(hoards, tmp_path)


def test_any_signal_is_told() -> None:
    assert told_end(-9) == "was ended by SIGKILL, most often for want of memory"
    assert told_end(-37) == "was ended by signal 37", "which has no name"
