"""What a scheduler is given, and when it is given up, without any Dask cluster."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.executors import WorkersLost, submission
from pipeline.executors.submission import Submission

pytest.importorskip("distributed", reason="distributed is not installed")

from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker


class FakeFuture:
    """A future that has ended when its client says so."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        failed = isinstance(outcome, KilledWorker | MemoryError)
        self.status = "error" if failed else "finished"
        self.released = False

    def add_done_callback(self, function: Callable[[Any], None]) -> None:
        function(self)

    def exception(self) -> Any:
        return self.outcome

    def result(self) -> Any:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome

    def release(self) -> None:
        self.released = True


class FakeClient:
    """Computes at once, by a function of the task; counts what the scheduler holds at most."""

    scheduler = SimpleNamespace(address="tcp://nowhere")

    def __init__(self, outcome: Callable[[Any], Any], threads: int = 1) -> None:
        self.outcome, self.threads = outcome, threads
        self.futures: list[FakeFuture] = []
        self.most = 0

    def submit(self, function: Any, *arguments: Any, key: str, pure: bool) -> FakeFuture:
        self.futures.append(FakeFuture(self.outcome((function, *arguments))))
        self.most = max(self.most, sum(not future.released for future in self.futures))
        return self.futures[-1]

    def scheduler_info(self, n_workers: int) -> dict[str, int]:
        return {"total_threads": self.threads}

    def close(self, timeout: float) -> None:
        pass


def submitted(monkeypatch: pytest.MonkeyPatch, *clients: FakeClient, tasks: int = 1) -> Submission:
    """Tasks for clients, one after the other where one is lost."""
    waiting = list(clients)
    monkeypatch.setattr(submission, "connect", lambda address: waiting.pop(0))
    return Submission(abs, list(range(tasks)), lambda: "tcp://nowhere", None, lambda text: None)


def test_a_scheduler_holds_a_window_of_many_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient(lambda call: call[-1])
    run = submitted(monkeypatch, client, tasks=2000)
    assert sorted(run.results()) == list(range(2000))
    assert client.most == submission.LEAST_WINDOW
    assert len(client.futures) == 2000, "each task is submitted once"


def test_more_threads_are_given_more_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "LOOK", 0.0)
    client = FakeClient(lambda call: call[-1], threads=50)
    assert len(list(submitted(monkeypatch, client, tasks=300).results())) == 300
    assert client.most == 50 * submission.WINDOW


def lost(call: Any) -> FutureCancelledError:
    return FutureCancelledError("key", "scheduler-connection-lost")


def test_a_scheduler_that_is_lost_again_and_again_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients = [FakeClient(lost) for _ in range(submission.LOSSES + 1)]
    with pytest.raises(WorkersLost, match=r"lost 11 times without .*scheduler-connection-lost"):
        list(submitted(monkeypatch, *clients).results())


def test_what_is_missing_is_submitted_to_the_next_client(monkeypatch: pytest.MonkeyPatch) -> None:
    first = FakeClient(lambda call: lost(call) if call[-1] == 3 else call[-1])
    second = FakeClient(lambda call: call[-1])
    assert sorted(submitted(monkeypatch, first, second, tasks=5).results()) == list(range(5))
    assert len(second.futures) == 2, "3, and 4 that was not taken yet"


def test_a_task_that_is_lost_with_every_worker_is_named_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = SimpleNamespace(address="tcp://w")
    client = FakeClient(lambda call: KilledWorker("k", worker, 3) if call[-1] == 1 else call[-1])
    run = submitted(monkeypatch, client, tasks=4)
    assert sorted(run.results()) == [0, 2, 3]
    assert run.problems == ["a task was lost with every worker that computed it"]
    alone = [future for future in client.futures if isinstance(future.outcome, KilledWorker)]
    assert len(alone) == submission.DEATHS + 1


def test_a_task_without_room_in_memory_is_tried_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient(lambda call: MemoryError("no room") if call[:2] == (abs, 1) else call[-1])
    said: list[str] = []
    run = submitted(monkeypatch, client, tasks=3)
    run.say = said.append
    assert sorted(run.results()) == [0, 1, 2]
    assert said == ["a task ran out of memory: it is computed in a process of its own"]


def test_a_scheduler_without_workers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "LOOK", 0.0)
    monkeypatch.setattr(submission, "PATIENCE", 0.0)
    run = submitted(monkeypatch, FakeClient(lambda call: call[-1], threads=0))
    with pytest.raises(WorkersLost, match=r"tcp://nowhere had no worker for 0 s; start some"):
        list(run.results())


def test_a_scheduler_that_does_not_come_back_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "RETURN", 0.0)
    client = FakeClient(lost)
    run = submitted(monkeypatch, client)
    results = run.results()

    def gone(address: str) -> Any:
        if client.futures:
            raise submission.PiCacheError("no answer")
        return client

    monkeypatch.setattr(submission, "connect", gone)
    with pytest.raises(WorkersLost, match=r"did not come back within 0 s \(no answer\)"):
        list(results)
