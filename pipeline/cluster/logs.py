"""What the jobs of a plan have said: their log files, and what is recorded of failures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pi_cache import files
from pipeline.cluster.jobs import rounds_of
from pipeline.cluster.notes import Seen, failures_of, notes_of
from pipeline.cluster.workplan import Planned

LAST_LINES = 20
NAME = re.compile(r"(\d+)_(\d+)\.out")


def log_lines(
    planned: Planned, *, failed: bool, element: int | None, lines: int = LAST_LINES
) -> Iterator[str]:
    """The last lines of log files, each under its name; and before them what failed.

    failed: only of elements that failed, were stopped or lost, and of the jobs after them.
    element: only of that number.
    """
    if element is None:
        for failure in failures_of(planned):
            yield (
                f"shard {failure.shard} failed at {failure.at} on {failure.node} (element "
                f"{failure.part}): {failure.error}"
            )
    chosen = _unsuccessful(planned) if failed else None
    for path in _files(planned, element):
        if chosen is None or _job(path) in chosen or path.name.startswith("finish"):
            yield f"==> {path} <=="
            yield from _last(path, lines)


def _last(path: Path, lines: int) -> list[str]:
    """The last lines of a log, or why it cannot be read: the others still can."""
    try:
        text = files.read_bytes(path).decode(errors="replace")
    except OSError as error:
        return [f"(not read: {error})"]
    return text.splitlines()[-lines:]


def _files(planned: Planned, element: int | None) -> list[Path]:
    """Log files in the order of rounds and elements."""
    order = {record.array: record.round for record in rounds_of(planned)}
    found = []
    for path in files.listing(planned.logs):
        match = NAME.fullmatch(path.name)
        number = int(match[2]) if match else 0
        if element is None or number == element:
            found.append((order.get(match[1], 0) if match else 0, number, path))
    return [path for _, _, path in sorted(found)]


def _job(path: Path) -> tuple[str, str]:
    """Array and element of a log file."""
    match = NAME.fullmatch(path.name)
    return (match[1], match[2]) if match else ("", "")


def _unsuccessful(planned: Planned) -> set[tuple[str, str]]:
    """Array and element of what has not ended well; those that said nothing at all too."""
    notes = notes_of(planned)
    well = {_named(seen) for seen in notes if seen.state in ("done", "running", "out of time")}
    ran = {_job(path) for path in files.listing(planned.logs)}
    return ran - well


def _named(seen: Seen) -> tuple[str, str]:
    batch = seen.note.batch
    return batch.get("SLURM_ARRAY_JOB_ID", ""), batch.get("SLURM_ARRAY_TASK_ID", "")
