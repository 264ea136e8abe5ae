"""Builds on demand for the tests: of the pipeline, or of a stand-in that takes no time."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pi_cache.integrity.verification import verify
from pi_cache.reader import open_store
from pi_cache.serving.builds import child
from pi_cache.serving.builds.asked import parse_asked
from pi_cache.serving.builds.builds import Builds
from pi_cache.serving.builds.runs import LocalRun
from pi_cache.serving.builds.settings import BuildSettings
from pi_cache.serving.builds.sources import parse_listed
from pi_cache.serving.builds.tickets import Ticket
from tests.pi_cache.made import make_spec, make_store

PATIENCE = 120.0
"""Seconds after which what is waited for will not come."""


REPOSITORY = Path(__file__).parents[2]


class StandIn:
    """What builds in place of the pipeline, see `stand_in`. marks: of shards that were begun.

    folder: of finished stores, by their numbers of samples.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marks = folder.with_name(f"{folder.name}.marks")
        self.marks.mkdir()
        self.wait(0)

    @property
    def environment(self) -> dict[str, str]:
        """With which a program finds it, and finds it first."""
        metadata = self.folder.with_name("installed") / "stand_in-1.dist-info"
        metadata.mkdir(parents=True, exist_ok=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stand-in\nVersion: 1\n")
        entry = f"[{child.GROUP}]\n{child.ENTRY} = tests.serving.stand_in:resolve\n"
        (metadata / "entry_points.txt").write_text(entry)
        path = os.pathsep.join([str(metadata.parent), str(REPOSITORY)])
        return {"PI_STAND_IN": str(self.folder), "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}

    def wait(self, seconds: float) -> None:
        """Each shard takes so long."""
        self.folder.with_name(f"{self.folder.name}.wait").write_text(str(seconds))

    def fail(self, sentence: str | None) -> None:
        """Builds fail, or do no more."""
        place = self.folder.with_name(f"{self.folder.name}.fails")
        place.unlink(missing_ok=True)
        if sentence is not None:
            place.write_text(sentence)


def made_stores(folder: Path) -> Path:
    """A folder with a finished store of 20 samples and one of 21, by their numbers."""
    for samples in (20, 21):
        shutil.move(make_store(folder / "root", make_spec(samples)), folder / str(samples))
    return folder


class Lab:
    """Builds of one root, or of several, which end with the test. notes: all that they said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.notes: list[str] = []
        self._running: list[Builds] = []

    def start(self, *sources: str, root: Path | None = None, **changes: Any) -> Builds:
        """Builds that run. sources: NAME=SOURCE words. changes: of the settings."""
        listed = parse_listed(sources or ["digits=digits"])
        settings = BuildSettings(**{"sources": listed, "niceness": 0, **changes})
        builds = Builds(root or self.root, settings, self.notes.append)
        builds.start()
        self._running.append(builds)
        return builds

    def stop(self) -> None:
        """End all of them."""
        for builds in self._running:
            builds.stop()

    def started(self) -> int:
        """How many builds were begun."""
        return sum("started for" in note for note in self.notes)


def lab(root: Path) -> Iterator[Lab]:
    """A laboratory, for a fixture."""
    found = Lab(root)
    yield found
    found.stop()


def ask(builds: Builds, document: dict[str, Any], owner: str = "alice") -> Ticket:
    """A request, as its body would have it."""
    return builds.ask(owner, parse_asked(json.dumps(document).encode()))


def wait(holds: Callable[[], object]) -> None:
    """Until something holds; an error where it never does."""
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def ended(builds: Builds, ticket: Ticket) -> dict[str, Any]:
    """What is told of a request once it has ended."""
    wait(lambda: not ticket.is_open)
    return builds.status(ticket)


def finished(builds: Builds, ticket: Ticket) -> str:
    """The key of a request that ends well."""
    told = ended(builds, ticket)
    assert told["state"] == "finished", told["error"]
    return str(told["key"])


def running(builds: Builds, ticket: Ticket) -> bool:
    """Whether its store is built at this moment."""
    return bool(builds.status(ticket)["state"] == "running")


def child_of(builds: Builds, ticket: Ticket) -> int:
    """The process that builds for a request."""
    wait(lambda: running(builds, ticket))
    run = builds._jobs[str(ticket.key)].run
    assert isinstance(run, LocalRun)
    return run._child._process.pid


def shards_done(builds: Builds, ticket: Ticket) -> int:
    """How many shards of its store are recorded; 0 before it runs."""
    progress = builds.status(ticket)["progress"]
    return int(progress["shards_done"]) if progress else 0


def check_store(builds: Builds, ticket: Ticket, samples: int) -> None:
    """The store of a request is whole, as if nothing had happened."""
    store = open_store(builds.root / "stores" / str(ticket.key))
    assert len(store) == samples
    assert [str(found) for found in verify(store.path)] == []


def is_gone(process: int) -> bool:
    """Whether a process has ended; one that nobody has waited for too."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def begun(marks: Path) -> list[int]:
    """The shards that were begun, once for each time."""
    return sorted(int(mark.name.partition(".")[0]) for mark in marks.iterdir())
