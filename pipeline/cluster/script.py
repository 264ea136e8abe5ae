"""The scripts that `sbatch` is given, as text: to be read, and changed by hand where need be."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pi_cache.errors import InvalidSpec
from pipeline.cluster.settings import MOST_ELEMENTS, Settings, time_seconds, time_text
from pipeline.cluster.workplan import WorkPlan
from pipeline.plan import BASE_MEMORY

ELEMENT_SECONDS = 180.0
"""What an element is to take: long beside its start, short beside a queue."""
SLACK = 3.0
"""How much longer it may take: nodes differ, samples too, and it may take shards of others."""
STARTING = 120.0
"""Seconds for interpreter, libraries and compilation, from a slow file system."""
WARNING = 120
"""Seconds before its end that an element is told of it; a fifth of its time where that is short."""
FINISHING = 600.0
"""Seconds that the last job may take at least."""
FINISHING_MEMORY, TABLE_MEMORY = 2**30, 2**10
"""Bytes that it takes, and of them for the id and label of a sample, generously."""
ELEMENT_MEMORY = 2**27 + BASE_MEMORY
"""Bytes of an element beside its workers: also of one that waits while another process computes the
shard that ended it."""
HASHED = 2e8
"""Bytes a second of a store that are hashed again, on a slow file system."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """An array over what is missing, and the job after it. left: rounds that may follow."""

    plan: WorkPlan
    settings: Settings
    folder: Path
    missing: int
    left: int

    @property
    def elements(self) -> int:
        """How many there are: by the measured cost, no more than shards."""
        if self.settings.elements is not None:
            return min(self.settings.elements, max(self.missing, 1))
        wanted = math.ceil(self._work / (ELEMENT_SECONDS * self.settings.cpus))
        return max(min(wanted, self.missing, MOST_ELEMENTS), 1)

    @property
    def _work(self) -> float:
        """Seconds of all that is missing, on one core."""
        return self.missing * self.plan.shard_samples * self.plan.cost["seconds"]

    @property
    def element_seconds(self) -> float:
        """What one element takes for its own shards, about, with its start."""
        shards = math.ceil(self.missing / self.elements / self.settings.cpus)
        work = shards * self.plan.shard_samples * self.plan.cost["seconds"]
        return work + self.plan.cost["opening"]

    @property
    def time(self) -> str:
        """The time limit of an element."""
        if self.settings.time is not None:
            return self.settings.time
        return time_text(SLACK * self.element_seconds + STARTING)

    @property
    def warning(self) -> int:
        """Seconds before that limit at which an element is told of it."""
        return max(min(WARNING, time_seconds(self.time) // 5), 10)

    @property
    def memory(self) -> str:
        """Of an element."""
        if self.settings.memory is not None:
            return self.settings.memory
        each = 1.25 * self.plan.cost["memory"]
        return f"{math.ceil((ELEMENT_MEMORY + self.settings.cpus * each) / 2**20)}M"

    @property
    def array(self) -> str:
        """The numbers of the elements, as `--array` takes them."""
        limit = self.settings.array_limit
        return f"1-{self.elements}" + (f"%{limit}" if limit else "")


def array_script(round: Round) -> str:
    """The script of the array: each element runs `pipeline work`."""
    seconds = time_seconds(round.time) - round.warning
    lines = [
        f"--job-name={_quoted(_name(round))}",
        f"--array={round.array}",
        f"--time={round.time}",
        f"--cpus-per-task={round.settings.cpus}",
        f"--mem={round.memory}",
        f"--signal=B:USR1@{round.warning}",
        "--requeue",
        "--open-mode=append",
        _output(round, "%A_%a"),
    ]
    words = [*_command(round, "work"), f"--workers={round.settings.cpus}", f"--seconds={seconds}"]
    part = f'--part "$SLURM_ARRAY_TASK_ID/{round.elements}"'
    return _script(round, lines, f"exec {shlex.join(words)} {part}")


def finish_script(round: Round) -> str:
    """The script of the job after the array: `pipeline finish`, or the next round."""
    cost, plan = round.plan.cost, round.plan
    hashed = plan.samples * cost["stored"] / HASHED
    seconds = max(FINISHING, SLACK * (cost["reading"] + cost["opening"] + hashed))
    lines = [
        f"--job-name={_quoted(_name(round) + '-finish')}",
        f"--time={time_text(seconds)}",
        "--cpus-per-task=1",
        f"--mem={math.ceil((FINISHING_MEMORY + TABLE_MEMORY * plan.samples) / 2**20)}M",
        "--requeue",
        "--open-mode=append",
        _output(round, "finish-%j"),
    ]
    words = [*_command(round, "finish"), f"--resubmit={round.left}"]
    return _script(round, lines, f"exec {shlex.join(words)}")


def _name(round: Round) -> str:
    return f"pi-{round.folder.name}"


def _output(round: Round, name: str) -> str:
    """Where a job writes what it says; a percent sign of the path is written twice.

    Raises InvalidSpec where SLURM could write nothing there, and the job would just fail.
    """
    folder = str(round.folder / "logs").replace("%", "%%")
    if re.search(r"[\\\n]", folder):
        raise InvalidSpec(
            f"SLURM takes no backslash and no line break in the path of a log, got {folder!r}; "
            "use another --cache"
        )
    return f"--output={_quoted(f'{folder}/{name}.out')}"


def _quoted(text: str) -> str:
    """A text as `#SBATCH` reads it."""
    return '"' + text.replace('"', r"\"") + '"'


def _command(round: Round, command: str) -> list[str]:
    return [round.settings.python, "-m", "pipeline.cli", command, str(round.folder)]


def _script(round: Round, lines: Iterable[str], command: str) -> str:
    settings = round.settings
    asked = {"partition": settings.partition, "account": settings.account}
    chosen = [f"--{name}={value}" for name, value in asked.items() if value is not None]
    head = [f"#SBATCH {line}" for line in (*lines, *chosen)]
    more = [line if line.startswith("#SBATCH") else f"#SBATCH {line}"
            for line in settings.sbatch_lines]  # fmt: skip
    parts = ["#!/bin/bash", *head, *more, "", *settings.setup, command]
    return "\n".join(parts) + "\n"
