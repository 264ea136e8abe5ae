"""Who builds one store: a process on this machine, or jobs of SLURM that a process submits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pi_cache.serving.builds.child import Child
from pi_cache.serving.builds.settings import BuildSettings

IMAGES, FIELDS = "build-pis", "build-gafs"
"""Commands that build a store of persistence images, and of Gramian angular fields."""
TOLD = (0, 1, 2)
"""Exit statuses with which a command has said how it went; all others ended it."""
INTERRUPTED = 130
"""Exit status of a command that a signal has stopped."""
ATTEMPTS = 3
"""How often a build is begun whose process is killed; each goes on from what is recorded."""
LOOK = 15.0
"""Seconds between two looks at the jobs of SLURM."""
OVER = 2
"""Looks in a row that find no job, after which there is none."""
DETAILS = 8_000
"""Characters of what a build said that are kept."""

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that is over; whether the store is finished, only the store says.

    sentence: what went wrong, "" where nothing is known to. details: the end of what was said.
    """

    sentence: str = ""
    details: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to build. command: of `pipeline`, for that kind of store. spec_file: of the store.

    shard_samples: of its shards, where nothing has settled them.
    """

    key: str
    command: str
    spec_file: Path
    root: Path
    settings: BuildSettings
    shard_samples: int

    def words(self, command: str) -> list[str]:
        """The words of a command on that spec, niceness first."""
        given = ["--spec", str(self.spec_file), "--cache", str(self.root), "--json"]
        return self.run(command, *given)

    def run(self, *words: str) -> list[str]:
        """The words of any command, niceness first."""
        return ["run", str(self.settings.niceness), *words]


class Run(Protocol):
    """A build that goes on; none of its methods waits but `stop` and `leave`."""

    def poll(self) -> Ended | None:
        """How it ended, None as long as it goes on."""
        ...

    def stop(self) -> None:
        """End it: nobody wants the store any more. What is done is kept."""
        ...

    def leave(self) -> None:
        """This program ends; whoever comes next goes on."""
        ...


class LocalRun:
    """`pipeline build-pis` as a child, which itself may compute on a pool or a Dask cluster."""

    def __init__(self, task: Task, note: Note) -> None:
        self._task, self._note = task, note
        self._begun = 0
        self._child = self._begin()

    def poll(self) -> Ended | None:
        """How it ended; a child that was killed is followed by another one first."""
        code = self._child.poll()
        if code is None:
            return None
        self._child.sweep()
        said = self._child.tail()
        self._child.close()
        if code not in TOLD and self._begun < ATTEMPTS:
            self._note(f"build {self._task.key[:12]}: its process ended by {_cause(code)}; again")
            self._child = self._begin()
            return None
        return Ended(_sentence(code, said), _details(said))

    def stop(self) -> None:
        """End the child and its workers, gently at first."""
        self._child.stop()
        self._child.close()

    leave = stop

    def _begin(self) -> Child:
        """A child; after one that was killed, one that computes in workers of its own.

        There a sample that ends whoever computes it is found and left out. Nothing is measured
        again, since that may be what ended the first one.
        """
        self._begun += 1
        task = self._task
        lacking = ("time_limit",) if task.command == FIELDS else ()
        words = [*task.words(task.command), *task.settings.words(*lacking)]
        if self._begun > 1:
            words += ["--shard-samples", str(task.shard_samples)]
            if task.settings.executor in (None, "serial"):
                words += ["--executor", "joblib"]
        return Child(words)


class SlurmRun:
    """Jobs of SLURM, watched; they go on without this program, and are found again."""

    def __init__(self, task: Task, note: Note) -> None:
        self._task, self._note = task, note
        self._child: Child | None = self._look()
        self._then: Callable[[int, str, Child], Ended | None] = self._found
        self._looked, self._empty = 0.0, 0

    def poll(self) -> Ended | None:
        """How the jobs ended, None as long as there are any."""
        if self._child is None:
            if time.monotonic() - self._looked >= LOOK:
                self._child, self._then = self._look(), self._seen
            return None
        code = self._child.poll()
        if code is None:
            return None
        child, self._child = self._child, None
        answer = child.answer()
        self._looked = time.monotonic()
        ended = self._then(code, answer, child)
        child.close()
        return ended

    def stop(self) -> None:
        """Cancel the jobs."""
        self.leave()
        child = Child(["cancel", str(self._task.root), self._task.key])
        child.wait()
        for line in child.tail():
            self._note(line)
        child.close()

    def leave(self) -> None:
        """Let the jobs go on."""
        if self._child is not None:
            self._child.stop()
            self._child.close()

    def _look(self) -> Child:
        task = self._task
        return Child(task.run("status", task.key, "--cache", str(task.root), "--json"))

    def _found(self, code: int, answer: str, child: Child) -> Ended | None:
        """After the first look: watch the jobs that there are, else submit some."""
        if code == 0 and json.loads(answer).get("jobs"):
            return None
        task, words = self._task, self._task.words("submit")
        if task.settings.profile is not None:
            words += ["--profile", str(task.settings.profile)]
        if task.settings.time_limit is not None:
            words += ["--time-limit", str(task.settings.time_limit)]
        self._child, self._then = Child(words), self._submitted
        return None

    def _submitted(self, code: int, answer: str, child: Child) -> Ended | None:
        if code:
            said = child.tail()
            return Ended(_sentence(code, said), _details(said))
        told = json.loads(answer)
        if told.get("found"):
            return Ended()
        self._note(f"build {self._task.key[:12]}: jobs {told['array']} and {told['finish']}")
        return None

    def _seen(self, code: int, answer: str, child: Child) -> Ended | None:
        """After another look; a look that fails says nothing of the jobs."""
        status: dict[str, Any] = json.loads(answer) if code == 0 else {}
        self._empty = self._empty + 1 if status.get("jobs") == {} else 0
        if status.get("finished"):
            return Ended()
        if self._empty < OVER:
            return None
        counts = status["shards"]
        lost = counts["failed"] + counts["missing"]
        return Ended(
            f"no job of it is left and {lost} shards are missing, {counts['given_up']} of them"
            f" after several tries; `pipeline logs {self._task.key[:12]} --failed` says why. Ask"
            " again to go on"
        )


def start_run(task: Task, note: Note) -> Run:
    """The run of a task, by the executor of its settings. note: told what happens to it.

    Gramian angular fields, which take no topology, are always computed here.
    """
    by_jobs = task.settings.executor == "slurm" and task.command != FIELDS
    return SlurmRun(task, note) if by_jobs else LocalRun(task, note)


def _cause(code: int) -> str:
    if code < 0:
        return f"signal {-code}"
    return "a signal" if code == INTERRUPTED else f"status {code}"


def _sentence(code: int, said: list[str]) -> str:
    """What went wrong, by what the command said last; "" where nothing did."""
    if code == 0:
        return ""
    if code not in TOLD:
        return (
            f"the process that builds was ended by {_cause(code)}, {ATTEMPTS} times in all; most"
            " often memory ran out. The shards that are done are kept: ask again to go on, or have"
            " the service started with fewer --workers"
        )
    named = [line.removeprefix("pipeline: ") for line in said if line.startswith("pipeline: ")]
    return named[-1] if named else f"the build ended with status {code}; its log says more"


def _details(said: list[str]) -> str:
    return "\n".join(said)[-DETAILS:]
