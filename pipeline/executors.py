"""Who runs the shards: this process, a pool of processes, or a Dask cluster.

All do the same: map one function over tasks that know everything they need, and yield each small
result as it comes, in any order. The truth is in the store: a task that is run twice, or again
after a loss, ends with the same files.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from pi_cache.errors import PiCacheError

Task = TypeVar("Task")
Result = TypeVar("Result")

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class WorkersLost(PiCacheError, RuntimeError):
    """Workers died; what they had finished is kept, and the same command goes on."""


def granted_cores() -> int:
    """Cores this process may use: affinity, control groups and the batch system counted in."""
    from joblib import cpu_count

    cores = int(cpu_count())
    batch = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(cores, int(batch)) if batch.isdigit() and int(batch) else cores


@contextmanager
def single_threaded() -> Iterator[None]:
    """One BLAS and one OpenMP thread in this process: workers are the parallelism."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


def run_serial(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    scheduler: str | None,
) -> Iterator[Result]:
    """One task after the other in this process."""
    yield from map(function, tasks)


def run_joblib(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    scheduler: str | None,
) -> Iterator[Result]:
    """joblib's loky processes. Raises WorkersLost where one is killed."""
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    with _environment(dict.fromkeys(THREAD_VARIABLES, "1")), parallel_config(backend="loky"):
        parallel = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
        try:
            yield from parallel(delayed(function)(task) for task in tasks)
        except TerminatedWorkerError:
            raise WorkersLost(
                "a worker was killed, most often for want of memory; run the same command again, "
                "with fewer --workers or smaller --shard-samples"
            ) from None


def run_dask(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    scheduler: str | None,
) -> Iterator[Result]:
    """The Dask scheduler at that address, or a cluster of processes of our own.

    Results are small, taken at once and released. Raises WorkersLost where Dask gives up on one.
    """
    try:
        from distributed import Client, LocalCluster, as_completed
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise PiCacheError(
            f'executor dask needs distributed ({error}); pip install "pi-cache[cluster]"'
        ) from None
    if scheduler is None:
        with _environment(dict.fromkeys(THREAD_VARIABLES, "1")):
            cluster = LocalCluster(  # loopback only: its port runs any code it is sent
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=":0",
                silence_logs=logging.ERROR,
            )
    with Client(cluster if scheduler is None else scheduler) as client:
        try:
            futures = client.map(function, tasks, pure=False)
            completed = as_completed(futures, with_results=True)
            del futures
            for future, result in completed:
                future.release()
                yield result
        except (KilledWorker, FutureCancelledError) as error:
            raise WorkersLost(
                f"the Dask cluster lost its workers ({type(error).__name__}); "
                "run the same command again to go on"
            ) from None
        finally:
            if scheduler is None:
                cluster.close()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables, for what is started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


EXECUTORS = {"serial": run_serial, "joblib": run_joblib, "dask": run_dask}

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
