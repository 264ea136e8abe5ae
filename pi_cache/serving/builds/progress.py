"""How far a build is, by the ledger of its store: so for every executor, and after a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pi_cache import files
from pi_cache.errors import PiCacheError
from pi_cache.ledger import Build, open_build
from pi_cache.root import STORES

FRESH = 0.5
"""Seconds for which what was read of the disk is not read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A build at one moment. shards, samples: of all stores that are built for it.

    phase: `starting`, `computing`, `finishing` (every shard is there and is checked), `done`.
    rate: samples a second since the build was taken up; seconds_left: None where not known.
    """

    phase: str
    shards_done: int
    shards: int
    samples_done: int
    samples: int
    rate: float | None = None
    seconds_left: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Counts:
    """What of one store is done; shards are 0 as long as it is not begun."""

    shards_done: int
    shards: int
    samples_done: int
    finished: bool


def counts_of(root: Path, key: str, samples: int) -> Counts:
    """What the ledger of a store says, by the names of its records. Never raises for its state."""
    folder = root / STORES / key
    try:
        build = open_build(folder)
        shards = build.shards
        if files.exists(folder / "manifest.json"):
            return Counts(shards, shards, samples, True)
        done = _recorded(build)
    except (PiCacheError, OSError):
        return Counts(0, 0, 0, False)
    return Counts(len(done), shards, sum(len(build.sample_range(k)) for k in done), False)


def _recorded(build: Build) -> list[int]:
    """The shards that have a record."""
    names = (path.stem for path in files.listing(build.path / "ledger"))
    return [int(name) for name in names if name.isdigit() and int(name) < build.shards]


class Meter:
    """Reads how far a build is, and how fast it goes while this program watches it.

    keys: of the stores that are built for it, in order. samples: of each. estimate: of the plan.
    """

    def __init__(
        self,
        root: Path,
        keys: Sequence[str],
        samples: int,
        estimate: Mapping[str, Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.root, self.keys, self.samples, self.estimate = root, list(keys), samples, estimate
        self._clock = clock
        self._lock = threading.Lock()
        self._first: tuple[float, int] | None = None
        self._last: tuple[float, int] | None = None
        self._read: tuple[float, Progress] | None = None

    def start(self) -> None:
        """From now on it goes on: the rate is counted from here."""
        with self._lock:
            self._first = self._last = self._read = None
        self.read()

    def read(self) -> Progress:
        """How far it is at this moment."""
        with self._lock:
            now = self._clock()
            if self._read is None or now - self._read[0] >= FRESH:
                self._read = now, self._look(now)
            return self._read[1]

    def _look(self, now: float) -> Progress:
        found = [counts_of(self.root, key, self.samples) for key in self.keys]
        done = sum(counts.samples_done for counts in found)
        expected = int(self.estimate.get("shards", 0))
        rate = self._rate(now, done)
        left = self.samples * len(self.keys) - done
        return Progress(
            phase=_phase(found),
            shards_done=sum(counts.shards_done for counts in found),
            shards=sum(counts.shards or expected for counts in found),
            samples_done=done,
            samples=self.samples * len(self.keys),
            rate=rate,
            seconds_left=left / rate if rate else self._planned(left),
        )

    def _rate(self, now: float, done: int) -> float | None:
        """Samples a second from the first look to the last shard that came."""
        if self._first is None:
            self._first = self._last = now, done
        assert self._last is not None
        if done != self._last[1]:
            self._last = now, done
        spent, more = self._last[0] - self._first[0], self._last[1] - self._first[1]
        return more / spent if more > 0 and spent > 0 else None

    def _planned(self, left: int) -> float | None:
        """Seconds for so many samples, by the plan."""
        seconds = self.estimate.get("seconds")
        return None if seconds is None else float(seconds) * left / max(self.samples, 1)


def _phase(found: Sequence[Counts]) -> str:
    if all(counts.finished for counts in found):
        return "done"
    if all(counts.shards and counts.shards_done == counts.shards for counts in found):
        return "finishing"
    return "computing" if any(counts.shards for counts in found) else "starting"
