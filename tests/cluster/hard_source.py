"""Signals that take a while to read, and some that end the process that reads them.

Whoever begins to read a shard leaves a mark, which says whether that shard was recorded already.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipeline.sources.base import Source
from pipeline.sources.kinds import Kind

SHARD = 8
"""Samples a shard."""
LONG = 60.0
"""Seconds after which one that waits to be ended gives up."""


def exits(mark: Path) -> None:
    """End the process, each time."""
    os._exit(3)


def exits_in_jobs(mark: Path) -> None:
    """End the process, each time, where it belongs to a job."""
    if "PI_TEST_MARKS" in os.environ:
        exits(mark)


def exits_once(mark: Path) -> None:
    """End the process, the first time."""
    if _first(mark):
        os._exit(4)


def lacks(mark: Path) -> None:
    """Find no room in memory, each time."""
    raise MemoryError("no room for an array")


def hoards(mark: Path) -> None:
    """Hold memory until the process is ended for it, each time."""
    held = np.ones(1_200 * 2**20, np.uint8)
    until = time.monotonic() + LONG
    while time.monotonic() < until:
        held[:: 2**12] += 1
    raise AssertionError("nobody minds")


def hoards_once(mark: Path) -> None:
    """Hold memory until the process is ended for it, the first time."""
    if _first(mark):
        hoards(mark)


def _first(mark: Path) -> bool:
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


TRAPS = {
    "exits": exits,
    "exits in jobs": exits_in_jobs,
    "exits once": exits_once,
    "lacks": lacks,
    "hoards": hoards,
    "hoards once": hoards_once,
}


@dataclass(frozen=True)
class HardReader:
    """Seeded signals. marks: the folder of marks. ledger: of the store, by its cache root.

    seconds: that the first sample of each shard takes. traps: what samples do, by position.
    """

    marks: Path
    root: Path
    samples: range
    seconds: float = 0.0
    traps: Mapping[int, str] = field(default_factory=dict)

    def read(self, position: int) -> np.ndarray:
        number = self.samples[position]
        if number % SHARD == 0:
            self._mark(number // SHARD)
            time.sleep(self.seconds)
        if number in self.traps:
            TRAPS[self.traps[number]](self.marks / f"once.{number}")
        return signal_of(number)

    def read_together(self) -> None:
        return None

    def slice(self, start: int, stop: int) -> HardReader:
        return replace(self, samples=self.samples[start:stop])

    def digests(self) -> Iterator[bytes]:
        for number in self.samples:
            yield signal_of(number).tobytes()

    def _mark(self, shard: int) -> None:
        recorded = any(self.root.glob(f"stores/*/ledger/{shard:06d}.json"))
        name = f"{'again' if recorded else 'new'}.{shard}.{os.getpid()}.{uuid.uuid4().hex}"
        (self.marks / name).touch()


def signal_of(number: int) -> np.ndarray:
    """One signal (40, 1), by its number."""
    return np.random.default_rng(number).normal(size=(40, 1))


def hard_source(
    root: Path,
    shards: int,
    seconds: float = 0.0,
    traps: Mapping[int, str] | None = None,
    location: str = "here",
) -> Source:
    """A source of so many whole shards. root: of the cache that it is built into."""
    marks = root.with_name(f"{root.name}.marks")
    marks.mkdir(parents=True, exist_ok=True)
    count = shards * SHARD
    return Source(
        kind="hard",
        location=location,
        sample="signal",
        shape=(40, 1),
        channels=("x",),
        dtype=np.dtype(np.float64),
        maximum=None,
        ids=[f"s{k}" for k in range(count)],
        labels=np.zeros(count),
        reader=HardReader(marks, root, range(count), seconds, traps or {}),
    )


def marks_of(source: Source, kind: str) -> list[int]:
    """The shards that were begun: `new`, or `again` after they were recorded."""
    reader = source.reader
    assert isinstance(reader, HardReader)
    return sorted(int(path.name.split(".")[1]) for path in reader.marks.glob(f"{kind}.*"))


def newest(source: Source) -> int:
    """The process that began a shard last."""
    reader = source.reader
    assert isinstance(reader, HardReader)
    last = max(reader.marks.glob("new.*"), key=lambda path: path.stat().st_mtime_ns)
    return int(last.name.split(".")[2])


def write_hard(path: Path, root: Path, shards: int, traps: Mapping[int, str]) -> str:
    """The file that says what a source is, and how a command names it."""
    named = {str(number): trap for number, trap in traps.items()}
    path.write_text(json.dumps({"root": str(root), "shards": shards, "traps": named}))
    return f"hard:{path}"


class HardKind(Kind):
    """The kind of source, known to these tests and to the jobs that they start."""

    def open(self, path: str, **options: object) -> Source:
        """The source that a file says."""
        told = json.loads(Path(path).read_text())
        traps = {int(number): trap for number, trap in told["traps"].items()}
        return hard_source(Path(told["root"]), told["shards"], traps=traps, location=path)


HARD = HardKind(opener="", line="", layout="", labels="", path="FILE")
