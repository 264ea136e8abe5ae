"""Tasks in this process, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipeline.executors.base import Result, Say, Task, silent


def run_serial(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    scheduler: str | Path | None,
    rescue: Callable[[Task], Result] | None = None,
    say: Say = silent,
) -> Iterator[Result]:
    """One task after the other in this process, which ends if one of them ends it."""
    yield from map(function, tasks)
