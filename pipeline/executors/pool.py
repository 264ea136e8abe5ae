"""Tasks by a pool of processes on this machine.

Where one of them is killed, or runs out of memory, the whole pool is lost with the tasks that it
had. They are run again with half the workers, since memory may have been short; then one by one, to
find the one that kills.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic

from pipeline.executors.alone import Alone, ProcessDied
from pipeline.executors.base import Result, Say, Task, WorkersLost, lost, name_of, silent
from pipeline.executors.threads import single_threaded_children


def run_joblib(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    scheduler: str | Path | None,
    rescue: Callable[[Task], Result] | None = None,
    say: Say = silent,
) -> Iterator[Result]:
    """joblib's loky processes; one kept process for one worker, and no pool."""
    pool = _Pool(function, tasks, workers, rescue, say)
    yield from pool.one_by_one(list(pool.left)) if workers == 1 else pool.results()
    if pool.problems:
        raise lost(pool.problems)


class _Pool(Generic[Task, Result]):
    """Tasks that are left, and what has become of the workers.

    size: workers at this time. killers: tasks that ended a process of their own.
    """

    def __init__(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        workers: int,
        rescue: Callable[[Task], Result] | None,
        say: Say,
    ) -> None:
        self.function, self.rescue, self.say = function, rescue, say
        self.left = dict(enumerate(tasks))
        self.workers = self.size = workers
        self.killers = 0
        self.problems: list[str] = []

    def results(self) -> Iterator[Result]:
        """Of every task, as often as it takes."""
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        while self.left:
            taken: list[int] = []
            try:
                yield from self._pooled(taken)
            except (TerminatedWorkerError, MemoryError) as error:
                short = isinstance(error, MemoryError)
                how = "ran out" if short else "was killed, most often for want"
                had = [number for number in taken if number in self.left]
                yield from self._after_loss(f"a worker {how} of memory: ", had)

    def _pooled(self, taken: list[int]) -> Iterator[Result]:
        """Of the tasks that are left, by a pool; the numbers of those that it took are added."""
        from joblib import Parallel, delayed, parallel_config

        def calls() -> Iterator[object]:
            for number, task in list(self.left.items()):
                taken.append(number)
                yield delayed(_numbered)(self.function, number, task)

        with single_threaded_children(), parallel_config(backend="loky"):
            run = Parallel(n_jobs=self.size, return_as="generator_unordered", batch_size=1)
            for number, result in run(calls()):
                del self.left[number]
                yield result

    def _after_loss(self, what: str, had: list[int]) -> Iterator[Result]:
        """Halve the workers; where none would be left, run what the pool had one by one."""
        self.size //= 2
        if self.size > 1:
            self.say(f"{what}what is missing is computed again, with {self.size} workers")
            return
        self.say(f"{what}the {len(had)} shards at work are computed again, one by one")
        before = self.killers
        yield from self.one_by_one(had)
        self.size = self.workers if self.killers > before else 2

    def one_by_one(self, numbers: list[int]) -> Iterator[Result]:
        """Of these tasks, each in a process of its own; it is kept while it lives."""
        with Alone() as process:
            for number in numbers:
                task = self.left.pop(number)
                try:
                    result = process.call(self.function, task)
                except ProcessDied as died:
                    yield from self._rescued(task, died)
                else:
                    yield result

    def _rescued(self, task: Task, died: ProcessDied) -> Iterator[Result]:
        """What can be computed of a task that ends its process."""
        self.killers += 1
        self.say(f"{name_of(task)}: the process that computed it {died}")
        if self.rescue is None:
            self.problems.append(f"{name_of(task)}: the process that computed it {died}")
            return
        try:
            result = self.rescue(task)
        except WorkersLost as error:
            self.problems.append(str(error))
        else:
            yield result


def _numbered(function: Callable[[Task], Result], number: int, task: Task) -> tuple[int, Result]:
    return number, function(task)
