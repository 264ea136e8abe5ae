"""Who computes which shard at this moment: empty files beside the temporaries of a store.

They save work and protect nothing. A claim is renewed while its shard is computed; one that was not
renewed for long, or whose process is gone, counts no more. Where a claim is lost, seen late (as on
a network file system) or cannot be written, two builders compute the same shard, and the store is
the same. Sweeping the temporaries removes what is left of them.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pi_cache import files
from pi_cache.ledger import Build

BEAT = 20.0
"""Seconds after which a claim is renewed."""
STALE = 100.0
"""Seconds after which a claim counts no more: network file systems show times up to a minute late.
"""
NAME = re.compile(r"claim-([0-9]{6,})@(.+)\.([0-9]+)\.([0-9a-f]{16})")

_held: set[str] = set()
"""Names of the claims of this process: a file of ours that is not among them was left behind."""


def is_recorded(build: Build, shard: int) -> bool:
    """Whether a shard has a record, by its name alone: `finish` looks at what it says."""
    return files.exists(build.record_path(shard))


def recorded_shards(build: Build) -> set[int]:
    """The shards that have a record, by the names in the ledger."""
    names = (path.stem for path in files.listing(build.path / "ledger"))
    return {int(name) for name in names if name.isdigit()}


def new_run() -> str:
    """A name that nobody else has, for the claims of one command."""
    return secrets.token_hex(8)


@dataclass(frozen=True)
class Claim:
    """That a shard is computed by this process.

    run: a name, see `new_run`, for all processes that compute for one command. That command alone
    decides which of them computes a shard, and when another one does: so they do not heed the
    claims of each other, which may be those of a worker that is lost on another host.
    """

    build: Build
    shard: int
    run: str = field(default_factory=new_run)
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        name = f"claim-{self.shard:06d}@{_here()}.{self.run}"
        object.__setattr__(self, "path", self.build.temporary / name)

    def take(self) -> bool:
        """Whether the shard is ours now; not where it is recorded, or another one computes it.

        Of two that claim it at the same instant, the one whose name comes first has it.
        """
        if self.shard in claims_of(self.build, but=self.run):
            return False
        _held.add(self.path.name)
        with suppress(OSError):  # without a claim the work is done all the same
            files.make_directory(self.build.temporary)
            files.mark(self.path)
        others = claims_of(self.build, but=self.run).get(self.shard, [])
        if min(others, default=self.path.name) < self.path.name or is_recorded(
            self.build, self.shard
        ):
            self.release()
            return False
        return True

    def renew(self) -> None:
        """Say that it is still so."""
        with suppress(OSError):
            files.touch(self.path)

    def release(self) -> None:
        """The shard is computed here no more."""
        _held.discard(self.path.name)
        with suppress(OSError):
            files.system.unlink(self.path)


@contextmanager
def claiming(build: Build, shard: int, run: str | None = None) -> Iterator[bool]:
    """Whether a shard is ours to compute; as long as this lasts, others know that it is.

    run: as that of `Claim`.
    """
    claim, over = Claim(build, shard, run or new_run()), threading.Event()
    if not claim.take():
        yield False
        return
    threading.Thread(target=_renew, args=(claim, over), daemon=True).start()
    try:
        yield True
    finally:
        over.set()
        claim.release()


def _renew(claim: Claim, over: threading.Event) -> None:
    while not over.wait(BEAT):
        claim.renew()


def claims_of(build: Build, *, but: str = "") -> dict[int, list[str]]:
    """The names of the claims that count, by shard; nothing where they cannot be read.

    but: the run whose claims are left out.
    """
    found: dict[int, list[str]] = defaultdict(list)
    with suppress(OSError):
        named = [(path, NAME.fullmatch(path.name)) for path in files.listing(build.temporary)]
        claims = [(path, match) for path, match in named if match is not None]
        now = files.clock(build.temporary) if claims else 0.0
        for path, match in claims:
            if match[4] == but:
                continue
            ours = f"{match[2]}.{match[3]}" == _here()
            if path.name not in _held if ours else is_gone(match[2], int(match[3])):
                continue
            with suppress(OSError):  # it may end at any moment
                if now - files.changed(path) < STALE:
                    found[int(match[1])].append(path.name)
    return dict(found)


def builders_of(build: Build) -> set[str]:
    """The other processes that compute shards of a store, `host.process` each."""
    claims = (name for names in claims_of(build).values() for name in names)
    return {name.partition("@")[2].rpartition(".")[0] for name in claims} - {_here()}


def _here() -> str:
    """This process among those of all hosts."""
    return f"{socket.gethostname()}.{os.getpid()}"


def is_gone(host: str, process: int) -> bool:
    """Whether a process was one of this host and has ended; one that nobody waits for too."""
    if host != socket.gethostname():
        return False
    try:
        os.kill(process, 0)  # signal 0 only asks
    except ProcessLookupError:
        return True
    except OSError:
        return False
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:  # no such folder on this system, or it ends just now
        return False
    return status.rpartition(")")[2].split()[0] == "Z"
