"""SLURM's own commands: submit a script, ask which jobs there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pi_cache.errors import PiCacheError

PATIENCE = 60.0
"""Seconds for an answer of a controller that is busy."""


class BatchFailed(PiCacheError, RuntimeError):
    """A command of the batch system that failed, or is not there; with what it said."""


def submit(script: Path, *options: str) -> str:
    """The id of the job that a script was submitted as. Raises BatchFailed."""
    said = _answer(["sbatch", "--parsable", *options, str(script)])
    found = re.search(r"^(\d+)(?:;\S+)?$", said, re.MULTILINE)
    if found is None:
        raise BatchFailed(f"sbatch said {said!r}, expected the id of a job")
    return found[1]


def submit_after(script: Path, job: str) -> str:
    """As `submit`, to be started when another job has ended, however it did."""
    return submit(script, *after(job))


def after(job: str) -> tuple[str, str]:
    """The options of a job that starts when another one has ended."""
    return f"--dependency=afterany:{job}", "--kill-on-invalid-dep=yes"


def cancel(jobs: Sequence[str]) -> None:
    """End jobs; those that have ended already are no error. Raises BatchFailed."""
    if jobs:
        _answer(["scancel", *jobs])


def job_states(jobs: Sequence[str]) -> Counter[str] | None:
    """How many jobs and elements there are in each state, such as PENDING; None if not known."""
    try:
        said = _answer(
            ["squeue", "--noheader", "--array", "--format=%T", f"--jobs={','.join(jobs)}"]
        )
    except BatchFailed as error:  # of jobs that ended long ago it says that they are invalid
        return Counter() if "Invalid job id" in str(error) else None
    return Counter(said.split())


def _answer(words: list[str]) -> str:
    """What a command prints. Raises BatchFailed."""
    if shutil.which(words[0]) is None:
        raise BatchFailed(
            f"{words[0]} is not installed here: run this where SLURM is, or see `pipeline submit "
            "--plan-only` for other schedulers"
        )
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BatchFailed(f"{words[0]} did not answer in {PATIENCE:g} s; try again") from None
    if done.returncode:
        raise BatchFailed(f"{words[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
