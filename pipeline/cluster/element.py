"""One element of an array: its own shards first, then those that others have not begun.

It computes nothing itself: its workers do, so that it hears signals at once, outlives a worker that
crashes, and can abandon a shard. It stops taking shards when it is told to, or when another one
would not end within its time. What it has not done, others do.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from pi_cache.errors import PiCacheError
from pipeline.claims import BEAT, Claim
from pipeline.cluster.notes import Notebook, has_died
from pipeline.cluster.queue import ShardQueue
from pipeline.cluster.worker import Worker, ready_of
from pipeline.cluster.workplan import Planned
from pipeline.executors.signals import STOPPING

GRACE = 5.0
"""Seconds that a shard may still take after a signal, before it is abandoned."""
LOOK = 0.5
"""Seconds between two looks at signals and the clock."""
STARTS = 3
"""How often workers may end before they are ready."""
LONGER = 1.25
"""How much longer than any before the next shard may take."""

Progress = Callable[[int, int, int, int], None]
Say = Callable[[str], None]


class ElementFailed(PiCacheError, RuntimeError):
    """An element that cannot go on: its workers cannot begin, or cannot store what they compute."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What an element is to do: part 1, 2, ... of so many.

    seconds: it takes no shard that is likely to end later than that.
    """

    part: int
    parts: int
    workers: int = 1
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an element has done, and what is left of the plan.

    state: `done`, `stopped` by a signal, `out of time`, or `failed`. seconds: that workers spent on
    shards. missing: shards without a record, which others may be at. given_up: those of them
    that failed too often.
    """

    state: str
    reason: str
    shards: int
    samples: int
    seconds: float
    missing: tuple[int, ...]
    given_up: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class Element:
    """An element at work."""

    def __init__(
        self, planned: Planned, work: Work, say: Say, progress: Progress | None = None
    ) -> None:
        self.planned, self.work, self.say, self.progress = planned, work, say, progress
        self.book = Notebook(planned, work.part, work.parts)
        self.queue = ShardQueue(planned, planned.build(), work.part, work.parts)
        self.claims: dict[Worker, Claim] = {}
        self.workers: list[Worker] = []
        self.started = self.told = time.monotonic()
        self.longest, self.false_starts = 0.0, 0
        self.wanted = self.left = planned.plan.samples_of(self.queue.missing())
        self.signal: signal.Signals | None = None
        self.state, self.reason, self.stopped = "done", "", 0.0

    def run(self) -> Outcome:
        """Work until nothing is left that nobody does, or until told to stop."""
        self._tell()
        try:
            with self._heeding_signals():
                for _ in self.queue.free()[: self.work.workers]:
                    self.workers.append(Worker(self.planned.folder))
                while self.workers:
                    self._step()
        except BaseException as error:
            self._tell(state="failed", reason=str(error) or type(error).__name__)
            raise
        finally:
            for worker in self.workers:
                self._let_go(worker)
        return self._outcome()

    @contextmanager
    def _heeding_signals(self) -> Iterator[None]:
        heard = [n for n in STOPPING if signal.getsignal(n) != signal.SIG_IGN]  # by nohup
        before = {number: signal.signal(number, self._hear_signal) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear_signal(self, number: int, frame: object) -> None:
        self.signal = signal.Signals(number)

    def _step(self) -> None:
        """Hand out shards, hear what workers say, and look at signals and the clock."""
        if self.signal is not None and not self.stopped:  # also where only its time was over
            self._stop()
        for worker in [worker for worker in self.workers if worker not in self.claims]:
            if self.state != "done" or (worker.ready and not self._hand(worker)):
                self.workers.remove(worker)
                worker.close()
        for worker in ready_of(self.workers, LOOK) if self.workers else ():
            self._hear(worker, worker.answer())
        if self.stopped and time.monotonic() - self.stopped > GRACE:
            for worker in list(self.workers):
                self.workers.remove(worker)
                self._let_go(worker)
        if time.monotonic() - self.told > BEAT:
            for claim in self.claims.values():
                claim.renew()
            self._tell()

    def _stop(self) -> None:
        assert self.signal is not None
        self.state, self.reason = "stopped", f"{self.signal.name} came"
        self.stopped = time.monotonic()
        working = ", ".join(str(claim.shard) for claim in self.claims.values())
        left = f"; what is not done in {GRACE:g} s is abandoned: shard {working}" * bool(working)
        self.say(f"{self.reason}: no more shards are taken{left}")

    def _hand(self, worker: Worker) -> bool:
        """Whether there was a shard for a worker that waits."""
        elapsed, limit = time.monotonic() - self.started, self.work.seconds
        if limit is not None and elapsed + LONGER * self.longest > limit:
            if self.queue.free():
                self.state, self.reason = (
                    "out of time",
                    f"{elapsed:.0f} s of {limit:.0f} s are over",
                )
            return False
        claim = self.queue.take()
        if claim is None:
            return False
        self.claims[worker] = claim
        beside = has_died(self.planned, claim.shard)
        if beside:
            self.say(f"shard {claim.shard} has ended a worker: it runs in a process of its own")
        worker.give(claim.shard, beside=beside)
        self._tell()
        return True

    def _hear(self, worker: Worker, answer: dict[str, Any]) -> None:
        if "ready" in answer:
            worker.ready = True
            return
        if "unable" in answer:
            raise ElementFailed(answer["unable"])
        if "ended" in answer:
            self.workers.remove(worker)
            self._count_false_start(answer["ended"], was_ready=worker.ready)
            if self.state == "done":
                self.workers.append(Worker(self.planned.folder))
        claim = self.claims.pop(worker, None)
        if claim is not None:
            claim.release()
            self.longest = max(self.longest, time.monotonic() - worker.since)
            self._close(claim.shard, answer)

    def _count_false_start(self, why: str, *, was_ready: bool) -> None:
        self.false_starts += not was_ready
        if self.false_starts == STARTS:
            raise ElementFailed(f"{STARTS} workers ended before they were ready: {why}")

    def _close(self, shard: int, answer: dict[str, Any]) -> None:
        """A shard is done, or failed."""
        if "samples" in answer:
            self._count(answer)
            return
        error = answer.get("failed") or answer["ended"]
        if answer.get("final"):
            raise ElementFailed(error)
        self.say(f"shard {shard} failed: {error}")
        self.book.fail(shard, error, died="ended" in answer)
        self._tell()

    def _count(self, answer: dict[str, Any]) -> None:
        note = self.book.note
        self._tell(
            shards=note.shards + 1,
            samples=note.samples + answer["samples"],
            seconds=note.seconds + answer["seconds"],
        )
        if self.progress is not None:
            plan, missing = self.planned.plan, self.queue.missing()
            before, self.left = self.left, plan.samples_of(missing)
            done = len(plan.numbers) - len(missing)
            self.progress(done, len(plan.numbers), before - self.left, self.wanted)

    def _tell(self, **changes: Any) -> None:
        self.told = time.monotonic()
        working = tuple(sorted(claim.shard for claim in self.claims.values()))
        self.book.write(working=working, elapsed=self.told - self.started, **changes)

    def _let_go(self, worker: Worker) -> None:
        """End a worker; its shard is as if it had not been begun."""
        worker.close()
        claim = self.claims.pop(worker, None)
        if claim is not None:
            claim.release()

    def _outcome(self) -> Outcome:
        given_up = tuple(self.queue.given_up())
        if self.state == "done" and given_up:
            self.state = "failed"
            self.reason = f"{len(given_up)} shards failed too often"
        self._tell(state=self.state, reason=self.reason)
        note = self.book.note
        return Outcome(
            state=self.state,
            reason=self.reason,
            shards=note.shards,
            samples=note.samples,
            seconds=note.seconds,
            missing=tuple(self.queue.missing()),
            given_up=given_up,
        )
