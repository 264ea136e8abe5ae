"""Cores and threads: workers are the parallelism, so that each of them has one thread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


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


@contextmanager
def single_threaded_children() -> Iterator[None]:
    """The same, by the environment, for processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
