"""How a store is built: executor, layout, limits. None of it changes a number in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pi_cache.errors import InvalidSpec
from pipeline.executors import EXECUTORS, granted_cores

SHORT_BUILD = 10.0
"""Seconds below which a pool of processes takes longer to start than it saves."""
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to build. None of it changes a number in the store.

    scheduler, scheduler_file: of Dask, its address or the file that it writes it into.
    time_limit: seconds a field (a channel) of a sample may take, 0 or None for any; a sample with
    one that takes longer has the status TIMEOUT. retry: compute shards again that hold such a
    sample, or one with the status CRASH. space_check: refuse before any work what the file system
    or the budget of the cache has no room for. notes: what a store that is begun says beside its
    spec, by name: plain JSON values, such as how the numbers of a spec were chosen.
    """

    executor: str | None = None
    workers: int | None = None
    scheduler: str | None = None
    scheduler_file: Path | None = None
    shard_samples: int | None = None
    chunk_samples: int | None = None
    with_inputs: bool = True
    mapped: bool = False
    space_check: bool = True
    time_limit: float | None = 600.0
    retry: bool = False
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.time_limit is not None and not 0 <= self.time_limit < float("inf"):
            raise InvalidSpec(f"time_limit must be seconds, or 0 for none, got {self.time_limit}")
        if self.executor is not None and self.executor not in EXECUTORS:
            raise InvalidSpec(f"executor must be one of {', '.join(EXECUTORS)}")
        for name in ("workers", "shard_samples", "chunk_samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidSpec(f"{name} must be at least 1, got {value}")
        if self.mapped and self.chunk_samples not in (None, 1):
            raise InvalidSpec("chunk_samples goes with compressed shards; mapped ones have 1")
        if self.scheduler_place is not None and self.executor != "dask":
            raise InvalidSpec("scheduler and scheduler_file go with executor dask")
        if self.scheduler is not None and self.scheduler_file is not None:
            raise InvalidSpec("scheduler and scheduler_file: give one of the two")

    @property
    def scheduler_place(self) -> str | Path | None:
        """The address of a Dask scheduler, or the file that holds it; None for one of our own."""
        return self.scheduler if self.scheduler_file is None else self.scheduler_file


def choose_executor(options: Options, seconds: float, shards: int) -> tuple[str, int]:
    """The executor asked for; else a pool where there is work for one, else this process.

    seconds: that the shards to be built take on one core, about.
    """
    workers = options.workers or granted_cores()
    useful = max(min(workers, shards), 1)
    if options.executor is not None:
        return options.executor, 1 if options.executor == "serial" else useful
    if useful == 1 or (options.workers is None and seconds < SHORT_BUILD):
        return "serial", 1
    return "joblib", useful
