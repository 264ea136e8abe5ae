"""How builds on demand are made, and how much a token may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pi_cache.errors import InvalidSpec
from pi_cache.serving.builds.sources import ListedSource

EXECUTORS = ("serial", "joblib", "dask", "slurm")
DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """How much may be asked for; 0 samples or bytes is no limit.

    open: requests of one token that have not ended. hourly: requests of one token within an hour.
    waiting: requests of all tokens that have not ended. samples, bytes: of one store, by the plan.
    """

    open: int = 8
    hourly: int = 60
    waiting: int = 256
    samples: int = 1_000_000
    bytes: int = 0

    def __post_init__(self) -> None:
        _check_positive(self, "open", "hourly", "waiting")
        if min(self.samples, self.bytes) < 0:
            raise InvalidSpec("samples and bytes must be 0 (no limit) or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """Who computes what is asked for.

    sources: the data that may be named, by name. executor, workers, scheduler, scheduler_file,
    time_limit: as for `pipeline build-pis`; None leaves the choice to it. executor `slurm` submits
    jobs, with the options in `profile`. engines: those that a client may name, besides the one that
    is usual for its filtration. builds, resolvers: at a time. niceness: of what computes.
    listeners: streams of events at a time. keep: seconds for which a request is remembered that
    failed or was cancelled, or whose store is gone.
    """

    sources: Mapping[str, ListedSource] = field(default_factory=dict)
    executor: str | None = None
    workers: int | None = None
    scheduler: str | None = None
    scheduler_file: Path | None = None
    time_limit: float | None = None
    profile: Path | None = None
    engines: tuple[str, ...] = ()
    builds: int = 1
    resolvers: int = 2
    niceness: int = 10
    listeners: int = 64
    keep: float = 30 * DAY
    quotas: Quotas = field(default_factory=Quotas)

    def __post_init__(self) -> None:
        _check_positive(self, "builds", "resolvers", "listeners")
        if self.executor not in (None, *EXECUTORS):
            raise InvalidSpec(f"executor must be one of {', '.join(EXECUTORS)}")
        if self.profile is not None and self.executor != "slurm":
            raise InvalidSpec("a profile goes with executor slurm only")
        if not 0 <= self.niceness <= 19:
            raise InvalidSpec(f"niceness must lie in 0..19, got {self.niceness}")

    def how(self) -> dict[str, Any]:
        """The build options that are given, as `pipeline.prepare.Options` names them."""
        given = {
            "executor": None if self.executor == "slurm" else self.executor,
            "workers": self.workers,
            "time_limit": self.time_limit,
        }
        return {name: value for name, value in given.items() if value is not None}

    def words(self, *without: str) -> list[str]:
        """The same as words of a command line, with where a scheduler is; but not these."""
        given = {**self.how(), "scheduler": self.scheduler, "scheduler-file": self.scheduler_file}
        words: list[str] = []
        for name, value in given.items():
            if value is not None and name not in without:
                words += [f"--{name.replace('_', '-')}", str(value)]
        return words


def _check_positive(settings: Any, *names: str) -> None:
    wrong = [name for name in names if getattr(settings, name) < 1]
    if wrong:
        raise InvalidSpec(f"{', '.join(wrong)} must be at least 1")
