"""Builds by Dask over loopback TCP, with separate processes that are killed meanwhile."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pi_cache.errors import InvalidSpec, PiCacheError
from pi_cache.integrity.verification import verify
from pi_cache.reader import open_store
from pi_cache.specs import DiagramSpec, ImageSpec, Status
from pipeline.build import BuildReport, build
from pipeline.buildoptions import Options
from pipeline.executors import submission
from pipeline.sources.base import Source
from tests.cluster.hard_source import SHARD, hard_source, marks_of, newest

pytest.importorskip("distributed", reason="distributed is not installed")

from tests.cluster.dask_lab import Lab, cluster, wait

IMAGE = ImageSpec(pixels=8, sigma=0.2, birth_range=(-3, 3), persistence_range=(0, 5))


def built(source: Source, root: Path, said: list[str] | None = None, **options: Any) -> BuildReport:
    """The store of a source, by an executor."""
    how = Options(**{"executor": "dask", "shard_samples": SHARD, **options})
    say = print if said is None else said.append
    return build(source, DiagramSpec(), IMAGE, root=root, options=how, say=say)


def serial_digest(folder: Path, shards: int) -> str:
    """Of the store of the same samples, without any trap, by this process."""
    root = folder / "serial"
    return built(hard_source(root, shards), root, executor="serial").manifest.digest


def check(report: BuildReport, source: Source, folder: Path, lost: int | None = None) -> None:
    """The store is whole and that of a serial build; nothing that was recorded was computed again.

    lost: how many times a shard was begun in vain, at most; None for any.
    """
    shards = len(source) // SHARD
    assert report.manifest.digest == serial_digest(folder, shards)
    assert verify(report.path) == []
    begun = Counter(marks_of(source, "new"))
    assert marks_of(source, "again") == []
    assert sorted(begun) == list(range(shards))
    if lost is not None:
        assert begun.total() - shards <= lost


def records(root: Path) -> int:
    """Shards that are recorded."""
    return len(list(root.glob("stores/*/ledger/0*.json")))


class Meanwhile:
    """Something that is done beside a build, in a thread; its error is raised at the end."""

    def __init__(self, function: Any) -> None:
        self.function, self.error = function, None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.function()
        except BaseException as error:
            self.error = error

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *caught: object) -> None:
        self.thread.join()
        if self.error is not None:
            raise self.error


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with cluster(tmp_path / "lab") as found:
        yield found


def test_a_worker_is_killed_every_two_seconds(tmp_path: Path, lab: Lab) -> None:
    """The one that began a shard last, if any was recorded since the last time."""
    root, over, kills = tmp_path / "root", threading.Event(), [0]
    source = hard_source(root, 12, 0.6)

    def kill() -> None:
        while not over.wait(2.0):
            if records(root) > kills[-1]:
                kills.append(records(root))
                with suppress(ProcessLookupError):
                    os.kill(newest(source), signal.SIGKILL)

    with Meanwhile(kill):
        try:
            report = built(source, root, scheduler_file=lab.file)
        finally:
            over.set()
    assert len(kills) > 2
    check(report, source, tmp_path)


def test_the_scheduler_is_killed_and_started_again(tmp_path: Path, lab: Lab) -> None:
    root, said = tmp_path / "root", list[str]()
    source = hard_source(root, 6, 0.5)

    def restart() -> None:
        wait(lambda: records(root) >= 2)
        lab.kill("scheduler")
        lab.scheduler()
        for name in ("w2", "w3"):
            lab.worker(name)

    with Meanwhile(restart):
        report = built(source, root, said, scheduler_file=lab.file)
    assert any("the Dask scheduler was lost" in line for line in said)
    assert any("the Dask scheduler is back" in line for line in said)
    check(report, source, tmp_path)


def test_short_lives_are_survived(tmp_path: Path) -> None:
    """A worker that leaves after six seconds, and takes along what is not taken from it."""
    source = hard_source(tmp_path / "root", 8, 0.9)
    with cluster(tmp_path / "lab", workers=0) as lab:
        lab.worker("w0", "--lifetime", "6s", "--lifetime-restart")
        report = built(source, tmp_path / "root", scheduler_file=lab.file)
    check(report, source, tmp_path)


FEW = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}


def test_memory_limits_cost_a_worker_and_poison_costs_a_sample(tmp_path: Path) -> None:
    traps = {1: "hoards once", 2 * SHARD + 3: "exits"}
    source, said = hard_source(tmp_path / "root", 4, traps=traps), list[str]()
    with cluster(tmp_path / "lab", memory="1GiB", **FEW) as lab:
        report = built(source, tmp_path / "root", said, scheduler_file=lab.file)
    store = open_store(report.path)
    assert store.status.tolist().count(Status.CRASH) == 1
    assert store.status[2 * SHARD + 3] == Status.CRASH
    problem = report.manifest.statistics["problems"][f"s{2 * SHARD + 3}"]
    assert problem == "the process that computed it ended with exit status 3"
    assert verify(report.path) == []
    assert any("shard 2 was lost with several workers" in line for line in said)
    clean = hard_source(tmp_path / "root", 4)
    again = built(clean, tmp_path / "root", executor="serial", retry=True)
    assert again.manifest.digest == serial_digest(tmp_path, 4)


def test_a_client_that_cannot_begin_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a very busy machine distributed asserts that its thread has begun, and it has not."""

    def busy(*_given: object, **_named: object) -> None:
        raise AssertionError

    monkeypatch.setattr("distributed.Client", busy)
    with pytest.raises(PiCacheError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9 "):
        submission.connect("tcp://127.0.0.1:9")


def test_a_wrong_address_is_an_error_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "CONNECT", 1.0)
    source = hard_source(tmp_path / "root", 1)
    with pytest.raises(PiCacheError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9 "):
        built(source, tmp_path / "root", scheduler="tcp://127.0.0.1:9")
    with pytest.raises(PiCacheError, match=r"nowhere.json: no scheduler file; start one with"):
        built(source, tmp_path / "root", scheduler_file=tmp_path / "nowhere.json")
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(PiCacheError, match=r"other.json: not a scheduler file"):
        built(source, tmp_path / "root", scheduler_file=tmp_path / "other.json")
    with pytest.raises(InvalidSpec, match="give one of the two"):
        Options(executor="dask", scheduler="tcp://a:1", scheduler_file=tmp_path / "other.json")
    with pytest.raises(InvalidSpec, match="go with executor dask"):
        Options(executor="joblib", scheduler_file=tmp_path / "other.json")
