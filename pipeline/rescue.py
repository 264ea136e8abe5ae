"""A shard that ends every process that computes it: its other samples are saved.

Samples that do so are looked for by halves, in a process that may die of them. Each has the status
CRASH then, as one of a library's crash has, and the shard is computed without reading it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from pi_cache.errors import SampleError
from pi_cache.specs import Status
from pipeline.executors.alone import Alone, ProcessDied, call_alone
from pipeline.executors.base import WorkersLost
from pipeline.shard import Clock, ShardResult, ShardTask, build_shard, compute, warm
from pipeline.sources.base import Reader

ROUNDS = 3
"""Times the samples of a shard are searched: what kills now and then may be missed."""
MOST = 64
"""Samples of a shard that may end processes; with more of them it is not the samples."""

Crashed = Mapping[int, str]
"""Positions in a shard of samples that ended a process, and how that ended."""
Tell = Callable[[Crashed], None]
"""Told of what is found as soon as it is, so that a search that is cut short is not lost."""


def keep_to_oneself(crashed: Crashed) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Sparing:
    """A reader of samples without touching those that crashed. crashed: how, by position."""

    reader: Reader
    crashed: Crashed

    def read(self, position: int) -> np.ndarray:
        """The raw array of one sample. Raises SampleError."""
        if position in self.crashed:
            how = self.crashed[position]
            raise SampleError(Status.CRASH, f"the process that computed it {how}")
        return self.reader.read(position)

    def read_together(self) -> np.ndarray | None:
        """None, so that each is read by itself."""
        return None

    def slice(self, start: int, stop: int) -> Sparing:
        """A reader of these samples alone."""
        inside = {k - start: how for k, how in self.crashed.items() if start <= k < stop}
        return Sparing(self.reader.slice(start, stop), inside)

    def digests(self) -> Iterable[bytes]:
        """As those of the samples."""
        return self.reader.digests()


def build_beside(
    task: ShardTask, known: Crashed | None = None, tell: Tell = keep_to_oneself
) -> ShardResult:
    """As `build_shard`, in a process of its own; what can be rescued of a shard that ends that.

    known: what an earlier call has told; None where it told nothing. Samples are searched once: who
    calls again goes on from there. Raises WorkersLost.
    """
    if known is None:
        try:
            return call_alone(build_shard, task)
        except ProcessDied:
            known = {}
            tell(known)
    return rescue_shard(task, known, tell, rounds=1)


def rescue_shard(
    task: ShardTask,
    known: Crashed = MappingProxyType({}),
    tell: Tell = keep_to_oneself,
    *,
    rounds: int = ROUNDS,
) -> ShardResult:
    """As `build_shard`, which ends its process. Raises WorkersLost where no sample does so.

    known: samples that are known to, which are looked for no more.
    """
    crashed = dict(known)
    with Alone() as process:
        _check_start(process, task)
        for search in range(0 if known else 1, rounds + 1):
            try:
                if search:
                    crashed |= _found(process, task, crashed, range(len(task.source)))
                    tell(crashed)
                return process.call(build_shard, spared(task, crashed))
            except ProcessDied as died:
                how = str(died)
    raise WorkersLost(
        f"shard {task.shard}: the process that computed it {how}, and none of its samples does so "
        "by itself; try smaller --shard-samples in another --cache, or more memory"
    )


def spared(task: ShardTask, crashed: Crashed) -> ShardTask:
    """The shard without some samples. What a donor has of them is not taken."""
    if not crashed:
        return task
    reader = Sparing(task.source.reader, crashed)
    return replace(task, donor=None, source=replace(task.source, reader=reader))


def try_samples(task: ShardTask) -> None:
    """Compute samples, and keep nothing."""
    compute(task, Clock())


def _check_start(process: Alone, task: ShardTask) -> None:
    """Raise WorkersLost where a process ends without any sample."""
    try:
        process.call(warm, task.build.spec)
    except ProcessDied as died:
        raise WorkersLost(
            f"shard {task.shard}: a process {died} before it read any sample; "
            "does its machine have memory enough, and the same installation?"
        ) from None


def _found(process: Alone, task: ShardTask, crashed: Crashed, samples: range) -> dict[int, str]:
    """Samples among these, which end a process together, that do so by themselves.

    Raises WorkersLost where they are too many.
    """
    middle = samples.start + len(samples) // 2
    halves = range(samples.start, middle), range(middle, samples.stop)
    found: dict[int, str] = {}
    for part in halves if len(samples) > 1 else (samples,):
        if not (how := _death(process, task, crashed, part)):
            continue
        if len(part) > 1:
            found |= _found(process, task, crashed, part)
        elif how := _death(process, task, crashed, part):  # others may have ended the first one
            found[part.start] = how
    if len(found) > MOST:
        raise WorkersLost(
            f"shard {task.shard}: over {MOST} of its samples end the process that computes them; "
            "does its machine have memory enough?"
        )
    return found


def _death(process: Alone, task: ShardTask, crashed: Crashed, samples: range) -> str:
    """How a process ends that computes some samples, in words; "" where it does not."""
    source = spared(task, crashed).source[samples.start : samples.stop]
    try:
        process.call(try_samples, replace(task, donor=None, source=source))
    except ProcessDied as died:
        return str(died)
    return ""
