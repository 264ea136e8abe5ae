"""Hashing beside reading: in threads, ahead, and never a byte before its own hash has agreed."""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pi_cache import Store, checked, firsttouch, open_store
from pi_cache.errors import CorruptStore
from pi_cache.layout import Layout
from pi_cache.shardfile import OpenFile
from tests.pi_cache.hashing import Hashings, flip, hashing_threads
from tests.pi_cache.made import make_columns, make_spec, make_store

SAMPLES = 80
SHARDS = 20
PATIENCE = 60.0
"""Seconds after which a thread that should have ended is a failure."""


@pytest.fixture(
    scope="module",
    params=[Layout(shard_samples=4, chunk_samples=2), Layout.mapped(shard_samples=4)],
    ids=["chunked", "mapped"],
)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("cache"), make_spec(SAMPLES), request.param)


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    """A store that the test may damage."""
    return shutil.copytree(made, tmp_path / made.name)


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is worth a thread, and there are cores; nothing is remembered."""
    monkeypatch.setattr(checked, "SMALL", 0)
    monkeypatch.setattr(firsttouch, "_cores", lambda: 4)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """No thread of ours ends in an exception or prints."""
    failures: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    yield
    wait_for_threads()
    assert not failures
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def hashings(monkeypatch: pytest.MonkeyPatch) -> Hashings:
    return Hashings(monkeypatch)


def wait_for_threads() -> None:
    for thread in hashing_threads():
        thread.join(PATIENCE)
    assert hashing_threads() == []


def wait_until(condition: Callable[[], bool]) -> None:
    """Until what threads do has come about."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def shard(k: int) -> str:
    return f"c.{k}.0.0.0"


def truth(name: str = "images") -> np.ndarray:
    return make_columns(make_spec(SAMPLES))[name]


def in_order(store: Store, stop: int, name: str = "images", step: int = 2) -> None:
    """Read rows as an epoch does, a few at a time."""
    for start in range(0, stop, step):
        rows = np.arange(start, min(start + step, stop))
        np.testing.assert_array_equal(store.read(name, rows), truth(name)[rows])


# Within one read


READS: dict[str, Callable[[Store], Any]] = {
    "whole": lambda store: store.read_all("images"),
    "rows in order": lambda store: store.read("images", np.arange(SAMPLES)),
    "rows at random": lambda store: store.read("images", np.random.default_rng(1).permutation(80)),
}


@pytest.mark.parametrize("how", READS)
def test_a_read_of_many_shards_hashes_each_once_in_threads(
    path: Path, hashings: Hashings, how: str
) -> None:
    store = open_store(path)
    rows = READS[how](store)
    order = np.random.default_rng(1).permutation(80) if "random" in how else np.arange(SAMPLES)
    np.testing.assert_array_equal(rows, truth()[order])
    assert hashings.names == sorted(shard(k) for k in range(SHARDS))
    READS[how](store)
    assert len(hashings.made) == SHARDS
    wait_for_threads()


def test_diagrams_of_many_shards(path: Path, hashings: Hashings) -> None:
    points, offsets = open_store(path).diagrams(slice(None))
    np.testing.assert_array_equal(points, truth("points"))
    assert offsets[-1, -1] == len(points)
    assert len(hashings.made) == 2 * SHARDS


def test_helpers_work_beside_the_reader(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's first hash ends only when another thread has hashed too."""
    store, here, helped = open_store(path), threading.current_thread(), threading.Event()
    real = OpenFile._sha256

    def hashed(file: OpenFile, step: Any) -> str:
        if threading.current_thread() is here:
            assert helped.wait(PATIENCE)
        helped.set()
        return real(file, step)

    monkeypatch.setattr(OpenFile, "_sha256", hashed)
    np.testing.assert_array_equal(store.read_all("images"), truth())


def test_helpers_keep_close_to_the_reader(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is hashed long before it is read has left the page cache by then."""
    monkeypatch.setattr(firsttouch, "ROOM", 3)
    store, reached, made, early = open_store(path), [0], [], []
    here, real = threading.current_thread(), OpenFile._sha256

    def hashed(file: OpenFile, step: Any) -> str:
        if threading.current_thread() is not here:
            made.append(file.path.name)
            if len(made) > 3 + 1 + reached[0]:
                early.append(file.path.name)
        return real(file, step)

    monkeypatch.setattr(OpenFile, "_sha256", hashed)
    with store._touch.beside(store._files("images")) as order:
        for _ in order:
            reached[0] += 1
            wait_until(lambda: len(made) >= 3)
    wait_for_threads()
    assert not early
    assert len(made) < SHARDS


def test_processes_begin_at_different_shards(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    firsts = set()
    for process in range(1000, 1008):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        store = open_store(path)
        with store._touch.beside(store._files("images")) as order:
            places = list(order)
        firsts.add(places[0])
        assert sorted(places) == list(range(SHARDS))
    assert len(firsts) == 8


@pytest.mark.parametrize("how", READS)
@pytest.mark.parametrize("damaged", [0, 7, SHARDS - 1])
def test_damage_is_raised_by_the_reader(path: Path, how: str, damaged: int) -> None:
    flip(path / "data.zarr/images" / shard(damaged), 5)
    store = open_store(path)
    for _ in range(2):
        with pytest.raises(CorruptStore, match=rf"c.{damaged}.0.0.0: expected SHA-256 \w+, got"):
            READS[how](store)
    good = [row for row in range(SAMPLES) if row // 4 != damaged]
    np.testing.assert_array_equal(store.read("images", good), truth()[good])


def test_no_more_threads_is_no_fault(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    store = open_store(path)
    np.testing.assert_array_equal(store.read_all("images"), truth())
    in_order(open_store(path), SAMPLES)


@pytest.mark.parametrize("check", ["size", "always"])
def test_other_levels_have_no_threads(path: Path, hashings: Hashings, check: Any) -> None:
    store = open_store(path, check=check)
    store.read_all("images")
    in_order(store, SAMPLES)
    assert hashings.beside == []
    assert bool(hashings.made) is (check == "always")


# Ahead of who reads in order


@pytest.mark.parametrize("name", ["images", "inputs"])
def test_the_next_shards_are_hashed_ahead(path: Path, hashings: Hashings, name: str) -> None:
    store = open_store(path)
    in_order(store, 8, name)
    wait_for_threads()
    assert set(hashings.beside) == {shard(k) for k in range(2, 2 + 8)}
    in_order(store, SAMPLES, name)
    wait_for_threads()
    assert hashings.names == sorted(shard(k) for k in range(SHARDS))


def test_workers_hash_ahead_from_different_shards(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[list[str]] = []
    monkeypatch.setattr(firsttouch, "_start", lambda _, names, __: orders.append(names))
    for process in range(1000, 1004):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        in_order(open_store(path), 8)
    assert len({order[0] for order in orders}) == len(orders) == 4
    assert len({frozenset(order) for order in orders}) == 1


def test_one_thread_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, go_on = open_store(path), threading.Event()
    real = OpenFile._sha256

    def hashed(file: OpenFile, step: Any) -> str:
        if threading.current_thread() is not threading.main_thread():
            assert go_on.wait(PATIENCE)
        return real(file, step)

    monkeypatch.setattr(OpenFile, "_sha256", hashed)
    in_order(store, 8)
    in_order(store, 8, "inputs")
    assert len(hashing_threads()) == 1
    go_on.set()
    in_order(store, SAMPLES)


def test_looking_around_starts_no_thread(path: Path, hashings: Hashings) -> None:
    store = open_store(path)
    store.read("images", [0])
    store.read("images", slice(0, 3))
    store.diagram(0, 0)
    for row in (70, 30, 31, 2, 9, 50):
        store.read("images", [row])
    wait_for_threads()
    assert hashings.beside == []


def test_damage_ahead_is_raised_when_it_is_read(path: Path) -> None:
    flip(path / "data.zarr/images" / shard(4), 5)
    store = open_store(path)
    in_order(store, 16)
    wait_for_threads()
    for _ in range(2):
        with pytest.raises(CorruptStore, match=r"c.4.0.0.0: expected SHA-256 \w+, got"):
            store.read("images", [16, 17])
    np.testing.assert_array_equal(store.read("images", [20, 79]), truth()[[20, 79]])


def busy_until_stopped(file: OpenFile, step: Callable[[], object]) -> str:
    """Hash for long, as a very large file would."""
    wait_until(lambda: step() is not None)
    raise AssertionError("unreachable")


def test_the_thread_ends_with_the_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(path)
    store.read("images", np.arange(8))
    wait_for_threads()  # one that helped may not have ended yet
    monkeypatch.setattr(OpenFile, "_sha256", busy_until_stopped)
    in_order(store, 8)
    (thread,) = hashing_threads()
    gone = weakref.ref(store)
    del store
    gc.collect()
    assert gone() is None
    thread.join(PATIENCE)
    assert not thread.is_alive()


# Several at once


def test_readers_share_one_hashing(path: Path, hashings: Hashings) -> None:
    store, wrong = open_store(path), []
    barrier = threading.Barrier(6)

    def read() -> None:
        barrier.wait(PATIENCE)
        if store.read_all("images").tobytes() != truth().tobytes():
            wrong.append("rows")

    readers = [threading.Thread(target=read) for _ in range(6)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(PATIENCE)
    assert not wrong
    assert hashings.names == sorted(shard(k) for k in range(SHARDS))


def test_a_reader_waits_for_the_hashing_of_another(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And hashes for itself where that one failed."""
    store, begun, go_on = open_store(path), threading.Event(), threading.Event()
    real, calls = OpenFile._sha256, []

    def hashed(file: OpenFile, step: Any) -> str:
        calls.append(threading.current_thread())
        if len(calls) == 1:
            begun.set()
            assert go_on.wait(PATIENCE)
            raise MemoryError
        return real(file, step)

    monkeypatch.setattr(OpenFile, "_sha256", hashed)
    first = threading.Thread(target=store._touch._try, args=(store._files("images")[0],))
    first.start()
    assert begun.wait(PATIENCE)
    rows: list[np.ndarray] = []
    second = threading.Thread(target=lambda: rows.append(store.read("images", [0])))
    second.start()
    assert not rows
    go_on.set()
    for thread in (first, second):
        thread.join(PATIENCE)
    np.testing.assert_array_equal(rows[0], truth()[[0]])
    assert calls == [first, second]


def answer(store: Store, answers: Any) -> None:
    assert hashing_threads() == []
    answers.put(store.read_all("images").tobytes())


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_fork_waits_for_no_thread_of_its_parent(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forked while a thread hashes shard 2 and holds whatever it holds."""
    store, begun, go_on = open_store(path), threading.Event(), threading.Event()
    real, parent = OpenFile._sha256, os.getpid()

    def hashed(file: OpenFile, step: Any) -> str:
        here = threading.current_thread() is threading.main_thread()
        if not here and os.getpid() == parent:
            begun.set()
            assert go_on.wait(PATIENCE)
        return real(file, step)

    monkeypatch.setattr(OpenFile, "_sha256", hashed)
    in_order(store, 8)
    assert begun.wait(PATIENCE)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    children = [context.Process(target=answer, args=(store, answers)) for _ in range(2)]
    for child in children:
        child.start()
    assert [answers.get(timeout=PATIENCE) for _ in children] == [truth().tobytes()] * 2
    for child in children:
        child.join(PATIENCE)
        assert child.exitcode == 0
    go_on.set()
    in_order(store, SAMPLES)


# A file that changes


@pytest.mark.parametrize("often", [1, 2])
def test_a_file_that_changes_while_it_is_hashed_is_hashed_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, often: int
) -> None:
    real, calls = OpenFile._sha256, []

    def hashed(file: OpenFile, step: Any) -> str:
        digest = real(file, step)
        if len(calls) < often:
            os.utime(file.path, (len(calls), len(calls)))
        calls.append(digest)
        return digest

    monkeypatch.setattr(OpenFile, "_sha256", hashed)
    np.testing.assert_array_equal(open_store(path).read("images", [0]), truth()[[0]])
    assert len(calls) == often + 1


def test_a_file_that_keeps_changing_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, times = OpenFile._sha256, iter(range(100))

    def hashed(file: OpenFile, step: Any) -> str:
        os.utime(file.path, (0, next(times)))
        return real(file, step)

    monkeypatch.setattr(OpenFile, "_sha256", hashed)
    with pytest.raises(CorruptStore, match=r"c.0.0.0.0: changes while it is read"):
        open_store(path).read("images", [0])


def test_a_file_exchanged_after_it_was_closed_is_hashed_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pi_cache.shardfile.OPEN_SHARDS", 1)
    store = open_store(path)
    for row in (0, 40):  # which closes the first shard again
        store.read("images", [row])
    flip(path / "data.zarr/images" / shard(0), 5)
    with pytest.raises(CorruptStore, match=r"c.0.0.0.0: expected SHA-256"):
        store.read("images", [0])
