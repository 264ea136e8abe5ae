"""Tasks given to a Dask scheduler, and their results as they come, whatever is lost meanwhile.

Workers die, are retired and come back; the scheduler may too. Each result is taken at once, and
what is missing is submitted again to whatever is there. Dask itself runs the tasks of a dead worker
on another one, some times; then a task runs in a process of its own, beside a worker, which so
survives it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from queue import Empty, Queue
from typing import Any, Generic

from pi_cache.errors import PiCacheError
from pipeline.executors.alone import ProcessDied, call_alone, memory_limit
from pipeline.executors.base import Result, Say, Task, WorkersLost, name_of

CONNECT = 10.0
"""Seconds a scheduler may take to answer."""
RETURN = 300.0
"""Seconds a scheduler that was lost may take to come back..."""
RETRY = 1.0
"""...and between two looks whether it has."""
LOSSES = 10
"""Times a scheduler may be lost without one result in between."""
DEATHS = 5
"""Times that Dask may give up on a task; from the first time on it runs alone."""
LEAST_WINDOW = 100
"""Tasks that the scheduler has at a time, at least: enough for it to ask for workers..."""
WINDOW = 4
"""...and for each thread that it has."""
LOOK = 5.0
"""Seconds between two looks whether there are workers."""
PATIENCE = 600.0
"""Seconds without any worker, unless Dask's no-workers-timeout says otherwise."""
START_WORKERS = (
    "start some, or wait longer for them by DASK_DISTRIBUTED__SCHEDULER__NO_WORKERS_TIMEOUT=2h; "
    "the same command goes on"
)


class SchedulerLost(Exception):
    """The scheduler does not answer any more; says why."""


class Submission(Generic[Task, Result]):
    """Tasks that are left, by number, and how often Dask gave up on each."""

    def __init__(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        address: Callable[[], str],
        rescue: Callable[[Task], Result] | None,
        say: Say,
    ) -> None:
        self.function, self.rescue, self.address, self.say = function, rescue, address, say
        self.left = dict(enumerate(tasks))
        self.deaths: Counter[int] = Counter()
        self.problems: list[str] = []
        self.losses = 0

    def results(self) -> Iterator[Result]:
        """Of every task, through as many clients as it takes."""
        client = connect(self.address())
        try:
            while self.left:
                try:
                    yield from self._through(client)
                except SchedulerLost as why:
                    self._count_loss(why)
                    close(client)
                    client = self._reconnected()
        finally:
            close(client)

    def _through(self, client: Any) -> Iterator[Result]:
        """Results by one client. Raises SchedulerLost."""
        waiting, window = deque(self.left), _Window(client, self.say)
        running: dict[Any, int] = {}  # by future
        done: Queue[Any] = Queue()
        while waiting or running:
            window.look()
            while waiting and len(running) < window.size:
                number = waiting.popleft()
                future = self._submitted(client, number)
                running[future] = number
                future.add_done_callback(done.put)
            try:
                future = done.get(timeout=LOOK)
            except Empty:
                continue
            number = running.pop(future)
            yield from self._outcome(future, number)
            future.release()
            if number in self.left:
                waiting.appendleft(number)

    def _submitted(self, client: Any, number: int) -> Any:
        """The future of a task; one that Dask has given up on runs alone."""
        task = self.left[number]
        key = f"{name_of(task).replace(' ', '-')}-{uuid.uuid4().hex}"
        try:
            if self.deaths[number]:
                return client.submit(
                    run_beside, self.function, self.rescue, task, key=key, pure=False
                )
            return client.submit(self.function, task, key=key, pure=False)
        except (OSError, RuntimeError) as error:
            raise SchedulerLost(f"{type(error).__name__}: {error}") from None

    def _outcome(self, future: Any, number: int) -> Iterator[Result]:
        """The result of a task that has ended, and then it is no longer left; else none.

        Raises SchedulerLost, and what the task raised.
        """
        if future.status == "error":
            self._failed(future.exception(), number)
            return
        try:
            result = future.result()
        except (CancelledError, asyncio.CancelledError, OSError) as error:
            reason = getattr(error, "reason", "") or f"{type(error).__name__}: {error}"
            raise SchedulerLost(reason) from None
        del self.left[number]
        self.losses = 0
        yield result

    def _failed(self, error: BaseException, number: int) -> None:
        """What is done about a task that raised. Raises what is no matter of that task alone."""
        from distributed.scheduler import KilledWorker, NoWorkerError

        if isinstance(error, KilledWorker):
            self._count_death(number, "was lost with several workers")
        elif isinstance(error, MemoryError):
            self._count_death(number, "ran out of memory")
        elif isinstance(error, WorkersLost):
            self._give_up(number, str(error))
        elif isinstance(error, NoWorkerError):
            raise WorkersLost(f"no worker ({error}); {START_WORKERS}") from None
        elif _is_unreadable(error):
            raise PiCacheError(
                f"the Dask cluster cannot read its tasks ({type(error).__name__}: "
                f"{error.__cause__ or error}); its scheduler and workers need "
                "pi-cache[pipeline,cluster] of this version"
            ) from None
        else:
            raise error

    def _count_death(self, number: int, how: str) -> None:
        self.deaths[number] += 1
        name = name_of(self.left[number])
        if self.deaths[number] > DEATHS:
            self._give_up(number, f"{name} was lost with every worker that computed it")
        elif self.deaths[number] == 1:
            self.say(f"{name} {how}: it is computed in a process of its own")

    def _give_up(self, number: int, problem: str) -> None:
        del self.left[number]
        self.problems.append(problem)

    def _count_loss(self, why: SchedulerLost) -> None:
        self.losses += 1
        if self.losses > LOSSES:
            raise WorkersLost(
                f"the Dask scheduler was lost {self.losses} times without a result in between "
                f"({why}); see why, and run the same command again to go on"
            ) from None
        self.say(f"the Dask scheduler was lost ({why}): waiting for it to come back")

    def _reconnected(self) -> Any:
        """A client of the scheduler once that is back. Raises WorkersLost."""
        until = time.monotonic() + RETURN
        while True:
            try:
                client = connect(self.address())
            except PiCacheError as error:
                if time.monotonic() > until:
                    raise WorkersLost(
                        f"the Dask scheduler did not come back within {RETURN:g} s ({error}); "
                        "run the same command again to go on"
                    ) from None
                time.sleep(RETRY)
            else:
                self.say(f"the Dask scheduler is back: {len(self.left)} shards are submitted again")
                return client


class _Window:
    """How many tasks the scheduler is given at a time, by its threads. Looks whether it has any."""

    def __init__(self, client: Any, say: Say) -> None:
        import dask
        from dask.utils import parse_timedelta

        self.client, self.say, self.size = client, say, LEAST_WINDOW
        given = dask.config.get("distributed.scheduler.no-workers-timeout", None)
        self.patience = PATIENCE if given is None else parse_timedelta(given)
        self.seen = self.looked = time.monotonic()
        self.told = False

    def look(self) -> None:
        """Count threads, unless that was done a moment ago. Raises WorkersLost, SchedulerLost."""
        now = time.monotonic()
        if now - self.looked < LOOK:
            return
        self.looked = now
        threads = threads_of(self.client)
        self.size = max(LEAST_WINDOW, WINDOW * threads)
        if threads:
            self.seen, self.told = now, False
            return
        address = self.client.scheduler.address
        waited = now - self.seen
        if waited > self.patience:
            raise WorkersLost(f"{address} had no worker for {waited:.0f} s; {START_WORKERS}")
        if not self.told:
            self.say(f"the Dask scheduler at {address} has no worker: waiting for one")
            self.told = True


def connect(address: str) -> Any:
    """A client of the scheduler at an address. Raises PiCacheError where it does not answer."""
    from distributed import Client

    try:
        return Client(address, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError, AssertionError) as error:
        # AssertionError: a machine so busy that distributed's own thread had not begun in 10 s.
        raise PiCacheError(
            f"no Dask scheduler answers at {address} within {CONNECT:g} s "
            f"({type(error).__name__}: {error}); is it running, and can this machine reach it?"
        ) from None


def close(client: Any) -> None:
    """End a client, also one of a scheduler that is gone."""
    with suppress(OSError, asyncio.CancelledError, CancelledError):
        client.close(timeout=CONNECT)


def threads_of(client: Any) -> int:
    """Threads of all workers. Raises SchedulerLost."""
    try:
        return int(client.scheduler_info(n_workers=0)["total_threads"])
    except (OSError, RuntimeError) as error:
        raise SchedulerLost(f"{type(error).__name__}: {error}") from None


def _is_unreadable(error: BaseException) -> bool:
    """Whether a scheduler or worker has not the modules that a task is of."""
    if isinstance(error, PiCacheError):
        return False
    return isinstance(error, ImportError) or "deserialization of the task" in str(error)


def run_beside(
    function: Callable[[Task], Result], rescue: Callable[[Task], Result] | None, task: Task
) -> Result:
    """On a worker: a task in another process, and what can be rescued of one that ends that.

    That process may hold what Dask allows its worker. Raises WorkersLost.
    """
    with memory_limit(_allowed()):
        try:
            return call_alone(function, task)
        except ProcessDied as died:
            if rescue is None:
                raise WorkersLost(f"{name_of(task)}: the process that computed it {died}") from None
            return rescue(task)


def _allowed() -> int | None:
    """Bytes at which Dask ends this worker."""
    from dask.config import get
    from distributed import get_worker

    limit = get_worker().memory_manager.memory_limit
    share = get("distributed.worker.memory.terminate")
    return int(limit * share) if limit and share else None
