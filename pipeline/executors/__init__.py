"""Who runs the shards: this process, a pool of processes, or a Dask cluster.

All do the same: map one function over tasks that know everything they need, and yield each small
result as it comes, in any order (see `base.Run`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from pipeline.executors.base import Result, Run, Task, WorkersLost
from pipeline.executors.dask import run_dask
from pipeline.executors.here import run_serial
from pipeline.executors.pool import run_joblib
from pipeline.executors.threads import THREAD_VARIABLES, granted_cores, single_threaded

__all__ = [
    "EXECUTORS",
    "SHORT",
    "THREAD_VARIABLES",
    "WorkersLost",
    "granted_cores",
    "run_as_needed",
    "run_dask",
    "run_joblib",
    "run_serial",
    "single_threaded",
]

EXECUTORS: dict[str, Run] = {"serial": run_serial, "joblib": run_joblib, "dask": run_dask}

SHORT = 10.0
"""Seconds below which a pool of processes takes longer to start than it saves."""


def run_as_needed(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int | None = None
) -> Iterator[Result]:
    """The first task in this process, and by the time that it takes the others here or in a pool.

    workers: processes; None for a pool of all granted cores, if that is worth it.
    """
    started = time.perf_counter()
    yield from map(function, tasks[:1])
    rest = tasks[1:]
    left = (time.perf_counter() - started) * len(rest)
    useful = min(workers or granted_cores(), len(rest))
    pool = useful > 1 and (workers is not None or left > SHORT)
    run = EXECUTORS["joblib" if pool else "serial"]
    yield from run(function, rest, workers=max(useful, 1), scheduler=None)
