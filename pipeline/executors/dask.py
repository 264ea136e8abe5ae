"""Tasks by a Dask cluster: one of our own, or one whose scheduler runs elsewhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pi_cache import files
from pi_cache.errors import PiCacheError
from pipeline.executors.base import Result, Say, Task, lost, silent
from pipeline.executors.submission import Submission
from pipeline.executors.threads import single_threaded_children

SETTINGS = {
    "distributed.scheduler.allowed-failures": 2,  # a task then runs alone, which is no failure
    "distributed.comm.timeouts.tcp": "30s",  # under 11 s a cluster of 2026 hangs
    "distributed.admin.large-graph-warning-threshold": "1GiB",  # samples in memory are sent
}
LOGGERS = ("distributed", "distributed.client", "distributed.core", "distributed.nanny")


def run_dask(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    scheduler: str | Path | None,
    rescue: Callable[[Task], Result] | None = None,
    say: Say = silent,
) -> Iterator[Result]:
    """The scheduler at an address or in a file, or a cluster of processes of our own."""
    _check_installed()
    with _configured(), _address(scheduler, workers) as address:
        submission = Submission(function, tasks, address, rescue, say)
        yield from submission.results()
    if submission.problems:
        raise lost(submission.problems)


def _check_installed() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise PiCacheError(
            f'executor dask needs distributed ({error}); pip install "pi-cache[cluster]"'
        ) from None


@contextmanager
def _configured() -> Iterator[None]:
    """Our settings and silence: what the client of a lost scheduler logs is said in our words."""
    import dask

    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with dask.config.set(SETTINGS):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _address(scheduler: str | Path | None, workers: int) -> Iterator[Callable[[], str]]:
    """What says where the scheduler is at the moment it is asked."""
    if isinstance(scheduler, Path):
        yield lambda: read_address(scheduler)
        return
    if scheduler is not None:
        yield lambda: scheduler
        return
    from distributed import LocalCluster

    with single_threaded_children():
        cluster = LocalCluster(  # loopback only: its port runs any code it is sent
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        )
    with cluster:
        yield lambda: str(cluster.scheduler_address)


def read_address(path: Path) -> str:
    """The address in a scheduler file. Raises PiCacheError where there is none."""
    try:
        return str(json.loads(files.read_bytes(path))["address"])
    except FileNotFoundError:
        raise PiCacheError(
            f"{path}: no scheduler file; start one with: dask scheduler --scheduler-file {path}"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise PiCacheError(
            f"{path}: not a scheduler file, which is JSON with an address; "
            "give that of dask scheduler --scheduler-file"
        ) from None
