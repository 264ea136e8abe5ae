"""Libraries in a child process: limits, crashes, and nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pi_cache.errors import SampleError
from pi_cache.reader import open_store
from pi_cache.specs import DiagramSpec, ImageSpec, Status
from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.diagrams import compute_diagrams
from pipeline.engines import installed, isolated, native
from pipeline.engines.watchdog import watched
from pipeline.fields import Fields
from pipeline.shard import Clock, diagrams_of
from pipeline.sources.arrays import from_arrays
from pipeline.sources.base import Samples
from tests.pipeline import fake_engine
from tests.pipeline.fake_engine import (
    ENDLESS,
    EXITS,
    GOOD,
    GREEDY,
    HELD,
    KILLED,
    LARGE,
    PRINTS,
    RAISES,
    TALKS,
)

FAKE = fake_engine.__name__
SPEC = DiagramSpec(filtration="cubical", engine="gudhi")
IMAGE = ImageSpec(pixels=6)


@pytest.fixture(autouse=True)
def no_children_left() -> Iterator[None]:
    isolated.close()
    yield
    isolated.close()


def ask(trouble: int, limit: float = 30.0) -> list[np.ndarray]:
    return isolated.pairs(FAKE, np.full((2, 2), float(trouble)), SPEC, limit)


def pid() -> int:
    """Of the one idle child."""
    (child,) = isolated._idle
    return child.process.pid


def running(number: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_child_serves_field_after_field() -> None:
    first = ask(GOOD)
    one = pid()
    np.testing.assert_array_equal(first[1], [[1, np.inf]])
    ask(GOOD)
    assert pid() == one
    assert isolated.peak_memory() > 2**20


def test_what_a_library_prints_is_no_answer() -> None:
    assert len(ask(PRINTS)) == 2


def test_an_endless_field_ends_with_the_limit_and_leaves_nothing() -> None:
    ask(GOOD)
    one, start = pid(), time.perf_counter()
    with pytest.raises(SampleError, match=r"over the time limit of 0.3 s; raise --time-limit"):
        ask(ENDLESS, 0.3)
    assert 0.3 < time.perf_counter() - start < 5
    assert not Path(f"/proc/{one}").exists(), "waited for, so no zombie"
    assert len(ask(GOOD)) == 2 and pid() != one


def test_starting_takes_none_of_the_limit() -> None:
    assert len(ask(GOOD, 0.05)) == 2


def test_any_limit_can_be_waited_for() -> None:
    assert len(ask(GOOD, 1e12)) == 2


def test_the_memory_of_a_child_is_its_own_and_counted_where_it_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolated, "_peak", 0)
    held = np.ones(2**28, np.uint8)  # by this process, before the child is started
    ask(GOOD)
    alone = isolated.peak_memory()
    assert 2**20 < alone < len(held)
    with pytest.raises(SampleError, match="over the time limit"):
        ask(LARGE, 2.0)
    slow = HELD // 16  # of what it is to hold, on a machine that has others to serve
    assert alone + slow < isolated.peak_memory() < 2 * HELD


def test_last_words_are_those_of_the_field_that_failed() -> None:
    with pytest.raises(SampleError) as caught:
        ask(TALKS)
    last = "by SIGABRT: terminate called after throwing 'length_error'; what(): too long"
    assert str(caught.value).endswith(last)
    ask(PRINTS)  # goes to the same place
    with pytest.raises(SampleError) as caught:
        ask(EXITS)
    assert str(caught.value).endswith("ended with exit status 3")


def test_a_library_that_cannot_be_imported_says_why() -> None:
    with pytest.raises(SampleError, match=r"exit status 1: .*No module named 'no_such_library'"):
        isolated.pairs("no_such_library", np.zeros((2, 2)), SPEC, 30.0)


@pytest.mark.parametrize(
    ("trouble", "status", "message"),
    [
        (EXITS, Status.CRASH, "engine gudhi ended with exit status 3"),
        (KILLED, Status.CRASH, "engine gudhi was ended by SIGKILL, most often for want of memory"),
        (RAISES, Status.CRASH, "ArithmeticError: did not converge"),
        (GREEDY, Status.TOO_LARGE, "more than the 8 GiB that a sample may take"),
    ],
)
def test_a_crash_is_told_and_the_next_field_is_served(
    trouble: int, status: Status, message: str
) -> None:
    with pytest.raises(SampleError, match=message) as caught:
        ask(trouble)
    assert caught.value.status == status
    assert len(ask(GOOD)) == 2


def test_a_child_that_dies_while_idle_is_replaced() -> None:
    ask(GOOD)
    one = pid()
    os.kill(one, 9)
    time.sleep(0.1)
    assert len(ask(GOOD)) == 2
    assert pid() != one


SCRIPT = """
import os, sys, threading, time
import numpy as np
from tests.pipeline.test_isolated import ask, pid
ask(0)
print(pid(), flush=True)
if sys.argv[1] == "busy":
    threading.Thread(target=ask, args=(1, 600.0), daemon=True).start()
    time.sleep(0.5)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_a_child_ends_with_its_parent(state: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, state], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert parent.stdout.readline() == "ready\n"
        assert running(child)
        parent.kill()
    until = time.monotonic() + 20
    while running(child) and time.monotonic() < until:
        time.sleep(0.02)
    assert not running(child)


INTERRUPTED = """
import signal, sys
from tests.pipeline.fake_engine import SLOW
from tests.pipeline.test_isolated import ask, pid
seen = []
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
if sys.argv[1] == "goes on":
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
ask(0)
print(pid(), flush=True)
try:
    print(len(ask(SLOW)), len(seen))
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize(("manner", "answer"), [("goes on", "2 1\n"), ("stops", "stopped\n")])
def test_an_interrupt_is_for_the_parent(manner: str, answer: str) -> None:
    """Ctrl-C goes to both, since they share a terminal: the parent decides what becomes of both."""
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, manner],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert os.getpgid(child) == parent.pid
        time.sleep(0.5)  # the library computes
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.stdout.readline() == answer
        assert parent.wait(20) == 0
    assert not running(child)


def test_a_daemonic_worker_has_a_child_too() -> None:
    """As Dask's workers are, which may have no children of multiprocessing's own kind."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(isolated.pairs, (FAKE, np.zeros((2, 2)), SPEC, 30.0))
    assert len(found) == 2


def test_a_forked_process_has_children_of_its_own() -> None:
    ask(GOOD)
    one = pid()
    fork = os.fork()
    if fork == 0:
        os._exit(len(isolated._idle))
    assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == 0
    assert len(ask(GOOD)) == 2 and pid() == one


def test_trouble_costs_its_sample_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not installed("gudhi"):
        pytest.skip("engine gudhi is not installed here")
    monkeypatch.setattr("pipeline.diagrams.module_of", lambda engine: fake_engine)
    images = np.random.default_rng(0).random((6, 4, 4, 1)) + 10
    images[:, 0, 0, 0] = [GOOD, ENDLESS, GOOD, EXITS, RAISES, GOOD]
    how = Options(executor="serial", shard_samples=8, time_limit=0.3)
    report = build(from_arrays(images), SPEC, IMAGE, root=tmp_path, options=how)
    status = open_store(report.path).status
    assert [Status(int(code)).name for code in status] == [
        "OK", "TIMEOUT", "OK", "CRASH", "CRASH", "OK",
    ]  # fmt: skip
    problems = report.manifest.statistics["problems"]
    assert "--time-limit" in problems["000001"] and "exit status 3" in problems["000003"]
    assert problems["000004"] == "ArithmeticError: did not converge"


@pytest.mark.parametrize("executor", ["joblib", "dask"])
def test_workers_have_children(executor: str, tmp_path: Path, rng: np.random.Generator) -> None:
    if executor == "dask":
        pytest.importorskip("distributed")
    clouds = from_arrays(rng.random((16, 12, 2)), sample="cloud")
    spec = DiagramSpec(filtration="rips", engine="ripser")

    def built(name: str, **options: object) -> object:
        how = Options(shard_samples=8, **options)  # type: ignore[arg-type]
        return build(clouds, spec, IMAGE, root=tmp_path / name, options=how).manifest.files

    alone = built("alone", executor="serial", time_limit=0)
    assert not isolated._idle, "without a limit, the library runs in this process"
    assert built("pool", executor=executor, workers=2, time_limit=60) == alone


def test_a_watch_stops_the_item_that_takes_too_long() -> None:
    with watched(0.2) as watch:
        assert watch is not None
        for item in range(4):  # each is quick, together they are not
            watch[0] = item
            time.sleep(0.1)
        assert not watch[1]
        start = time.monotonic()
        while not watch[1]:
            time.sleep(0.01)
            assert time.monotonic() - start < 5


def test_a_watch_tells_calls_apart() -> None:
    """Each begins again at item 0, and may do so before anybody looks."""
    with watched(0.3) as watch:
        assert watch is not None
        for _ in range(6):
            watch[2] += 1
            watch[0] = 0
            time.sleep(0.1)
        assert not watch[1]


def test_native_counts_its_calls(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    calls: list[int] = []
    compute = native._rips_of

    def counted(clouds: list[np.ndarray], spec: DiagramSpec, watch: np.ndarray) -> native.Ragged:
        calls.append(int(watch[2]))
        return compute(clouds, spec, watch)

    monkeypatch.setattr(native, "MATRIX_BYTES", 1)
    monkeypatch.setattr(native, "_rips_of", counted)
    spec = DiagramSpec(filtration="rips", metric="manhattan")
    native.compute(Fields(rng.random((3, 8, 2))), spec, 60.0)
    assert calls == [1, 2, 3]


def test_a_native_cloud_that_takes_too_long_costs_its_sample_only(tmp_path: Path) -> None:
    """In one block with others, which are computed all the same."""
    rng = np.random.default_rng(0)
    angles = rng.random(3000) * 2 * np.pi
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1) + rng.normal(size=(3000, 2)) / 20
    clouds = [rng.random((20, 2)), circle, rng.random((20, 2)), circle + 1, rng.random((30, 2))]
    spec = DiagramSpec(filtration="rips")
    expected = compute_diagrams(Fields([clouds[0], clouds[2], clouds[4]]), spec)
    source = from_arrays(rng.random((5, 20, 2)), sample="cloud")
    samples = Samples(clouds, np.zeros(5, np.uint8), {})
    found, status, problems = diagrams_of(samples, source, spec, Clock(), time_limit=0.02)
    assert [Status(int(code)).name for code in status] == ["OK", "TIMEOUT", "OK", "TIMEOUT", "OK"]
    assert "a field of shape (3000, 2) took engine native over" in problems["000001"]
    assert "--max-length" in problems["000003"]
    np.testing.assert_array_equal(found.points, expected.points)


def test_without_a_limit_there_is_no_watch() -> None:
    for limit in (None, 0):
        with watched(limit) as watch:
            assert watch is None
