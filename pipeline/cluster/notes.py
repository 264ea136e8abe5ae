"""What elements say of themselves while they work, and what failed: small files beside the plan.

Nothing depends on them but what `pipeline status` tells, how often and in which way a shard is
tried, and which of its samples are no longer read since they end processes.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pi_cache import files
from pi_cache.errors import CorruptStore, UnsupportedFormat
from pi_cache.ledger import now
from pi_cache.manifest import Document
from pipeline.claims import STALE, is_gone
from pipeline.cluster.workplan import Planned

Kind = TypeVar("Kind", bound=Document)

TRIES = 3
"""How often a shard is tried before it is left to people."""
NOTE = re.compile(r"([0-9]{4,})-([0-9a-f]{16})\.([0-9]{6,})\.json")
SHARD = re.compile(r"([0-9]{6,})\.[0-9a-f]{16}\.json")
"""What is noted of a shard."""
BATCH = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_ID", "SLURM_RESTART_COUNT")
NODES = ("SLURMD_NODENAME", "NODE_NAME")
"""What names the node, where the host name may not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementNote(Document):
    """An element at one moment.

    attempt: random, since a batch system may run the same element twice. state: `running`, `done`,
    `stopped` by a signal, or `failed`. working: shards that it computes now. shards, samples: that
    it has done. seconds: that its workers spent on them. elapsed: seconds since its start.
    """

    what = "note of an element"

    part: int
    parts: int
    attempt: str
    host: str
    node: str
    process: int
    batch: Mapping[str, str] = field(default_factory=dict)
    state: str = "running"
    reason: str = ""
    working: tuple[int, ...] = ()
    shards: int = 0
    samples: int = 0
    seconds: float = 0.0
    elapsed: float = 0.0
    started: str = ""
    at: str = ""

    @classmethod
    def _parse(cls, content: dict[str, Any]) -> dict[str, Any]:
        return content | {"working": tuple(int(k) for k in content["working"])}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(Document):
    """One attempt at a shard that failed. died: whether it ended its worker."""

    what = "record of a failure"

    shard: int
    error: str
    host: str
    node: str
    part: int
    attempt: str
    at: str
    died: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashes(Document):
    """What is known of a shard that ends the processes that compute it whole.

    samples: those that end a process, by position in the shard, and how it ended.
    """

    what = "record of crashes"

    shard: int
    samples: Mapping[str, str]


class Notebook:
    """The notes of one element; the newest one replaces the one before."""

    def __init__(self, planned: Planned, part: int, parts: int) -> None:
        self.planned = planned
        self.note = ElementNote(
            part=part,
            parts=parts,
            attempt=secrets.token_hex(8),
            host=socket.gethostname(),
            node=node_name(),
            process=os.getpid(),
            batch={name: os.environ[name] for name in BATCH if name in os.environ},
            started=now(),
        )
        self.numbers = self.written = 0

    def write(self, **changes: Any) -> None:
        """Say what has changed. A note that cannot be written is left out."""
        self.note = replace(self.note, **changes, at=now())
        self.numbers += 1  # no name twice: one that failed may be there all the same
        with suppress(OSError):
            self.planned.publish(self._place(self.numbers), self.note.to_bytes())
            files.remove(self.planned.folder / self._place(self.written))
            self.written = self.numbers

    def _place(self, number: int) -> str:
        return f"elements/{self.note.part:04d}-{self.note.attempt}.{number:06d}.json"

    def fail(self, shard: int, error: str, *, died: bool = False) -> None:
        """Record that a shard failed. died: so that its worker ended."""
        note = self.note
        failure = Failure(
            shard=shard,
            error=error,
            host=note.host,
            node=note.node,
            part=note.part,
            attempt=note.attempt,
            at=now(),
            died=died,
        )
        self.planned.publish(f"failures/{_shard_name(shard)}", failure.to_bytes())


def _shard_name(shard: int) -> str:
    return f"{shard:06d}.{secrets.token_hex(8)}.json"


@dataclass(frozen=True)
class Seen:
    """A note as it was found. age: seconds since it was written, by the file system's clock."""

    note: ElementNote
    age: float

    @property
    def is_alive(self) -> bool:
        """Whether the element works, as far as can be told from here."""
        note = self.note
        return note.state == "running" and self.age < STALE and not is_gone(note.host, note.process)

    @property
    def state(self) -> str:
        """As it said; `lost` where it says nothing any more."""
        return "lost" if self.note.state == "running" and not self.is_alive else self.note.state


def node_name() -> str:
    """The node by the name that the batch system gives it, else the host."""
    return next((os.environ[name] for name in NODES if os.environ.get(name)), socket.gethostname())


def notes_of(planned: Planned) -> list[Seen]:
    """The newest note of every attempt, by part and start."""
    folder = planned.folder / "elements"
    newest: dict[tuple[str, str], tuple[int, str]] = {}
    for path in files.listing(folder):
        if match := NOTE.fullmatch(path.name):
            place = (match[1], match[2])
            newest[place] = max(newest.get(place, (0, "")), (int(match[3]), path.name))
    present = _moment(folder) if newest else 0.0
    found = []
    for _, name in newest.values():
        with suppress(FileNotFoundError, CorruptStore, UnsupportedFormat):  # replaced just now
            note = ElementNote.from_bytes(files.read_bytes(folder / name))
            found.append(Seen(note, max(present - files.changed(folder / name), 0.0)))
    return sorted(found, key=lambda seen: (seen.note.part, seen.note.started))


def _moment(folder: Path) -> float:
    """Now, by the clock of the file system; by ours where we may only read: that may be skewed."""
    try:
        return files.clock(folder)
    except OSError:
        return time.time()


def count_failures(planned: Planned) -> Counter[int]:
    """How often each shard failed."""
    names = (path.name for path in files.listing(planned.folder / "failures"))
    return Counter(int(match[1]) for match in map(SHARD.fullmatch, names) if match)


def failures_of(planned: Planned, shard: int | None = None) -> Iterator[Failure]:
    """What failed, by shard and time. shard: that one alone."""
    found = _read(planned, "failures", Failure, shard)
    yield from sorted(found, key=lambda failure: (failure.shard, failure.at))


def has_died(planned: Planned, shard: int) -> bool:
    """Whether a shard has ended a worker."""
    return any(failure.died for failure in failures_of(planned, shard))


def crashes_of(planned: Planned, shard: int) -> dict[int, str] | None:
    """The samples of a shard that are known to end processes, by position, and how these ended.

    None where nothing is known, not even that the shard does so in a process of its own.
    """
    known = _read(planned, "crashes", Crashes, shard)
    if not known:
        return None
    return {int(position): how for each in known for position, how in each.samples.items()}


def keep_crashes(planned: Planned, shard: int, crashed: Mapping[int, str]) -> None:
    """Keep what is known of a shard, for whoever computes it next; what cannot be kept is lost."""
    samples = {str(position): how for position, how in crashed.items()}
    crashes = Crashes(shard=shard, samples=samples)
    with suppress(OSError):
        planned.publish(f"crashes/{_shard_name(shard)}", crashes.to_bytes())


def _read(planned: Planned, folder: str, kind: type[Kind], shard: int | None) -> list[Kind]:
    """The documents of a folder, those of one shard or all. One that cannot be read is left out."""
    found = []
    for path in files.listing(planned.folder / folder):
        match = SHARD.fullmatch(path.name)
        if match and shard in (None, int(match[1])):
            with suppress(FileNotFoundError, CorruptStore, UnsupportedFormat):
                found.append(kind.from_bytes(files.read_bytes(path)))
    return found


def forget_failures(planned: Planned) -> int:
    """Move all failures aside, so that their shards are tried again; how many there were.

    What is known of crashes too: more memory may prevent them.
    """
    failures, _ = (_forget(planned, folder) for folder in ("failures", "crashes"))
    return failures


def _forget(planned: Planned, folder: str) -> int:
    paths = files.listing(planned.folder / folder)
    named = [path for path in paths if SHARD.fullmatch(path.name)]
    moved = [files.move_aside(path, planned.folder / "forgotten") for path in named]
    return len(moved) - moved.count(None)
