"""Disks that run full in mid-build: a clear error, nothing harmed, and the build goes on later.

A finished store lies on a small file system in memory; beside it another one is built, for which
there is too little room, too few inodes, or a limit on the size of files.
"""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pi_cache.errors import StorageFull
from tests.faults import Loop, demand, scratch
from tests.faults.mounts import lacking, memory, resize
from tests.faults.small import Small, check_left, check_resumed, check_whole, records_of

FIRST, SMALL = Small(12, 8), Small(40, 8)
PAGE = resource.getpagesize()
ROOMY, MANY = 64 << 20, 10_000
"""Bytes and inodes that are enough for all."""

ADVICE = {
    "bytes": "bytes are free there: free some space",
    "inodes": "has no inodes left: free some space by removing files",
    "file limit": "raise the limit, ulimit -f",
}


class Need(NamedTuple):
    """What a build takes of a file system."""

    bytes: int
    inodes: int


def full_round(seed: int) -> str:
    """Build with too little room; what there was too little of, and what was left."""
    chance = random.Random(seed)
    with memory(ROOMY, MANY) as place:
        FIRST.build(place)
        used, wanted = _used(place), need()
        if chance.random() < 0.5:
            what, room = "bytes", chance.randrange(0, wanted.bytes, PAGE)
            resize(place, used.bytes + room, MANY)
        else:
            what, room = "inodes", chance.randrange(wanted.inodes)
            resize(place, ROOMY, used.inodes + room)
        state = _build_too_large(place, ADVICE[what])
        resize(place, ROOMY, MANY)
        _go_on(place)
    return f"{what}: {state}"


def limit_round(seed: int) -> str:
    """Build with a limit on the size of a file; what was left."""
    limit = random.Random(seed).randrange(largest_file())
    with scratch() as root:
        FIRST.build(root)
        with _file_limit(limit):
            state = _build_too_large(root, ADVICE["file limit"])
        _go_on(root)
    return state


def _build_too_large(root: Path, advice: str) -> str:
    """Build; what was left. Raises Violation unless the error says where, and what to do."""
    try:
        SMALL.build(root)
    except StorageFull as error:
        message = str(error)
        demand(str(root) in message, f"no path in {message!r}")
        demand(advice in message, f"{advice!r} is not in {message!r}")
    else:
        return "finished"
    return check_left(SMALL, root)


def _go_on(root: Path) -> None:
    """Raise Violation unless what was whole is whole, and the build goes on from its records."""
    check_whole(FIRST, FIRST.path(root))
    check_resumed(SMALL, root, records_of(SMALL, root))


@contextmanager
def _file_limit(size: int) -> Iterator[None]:
    """The limit of `ulimit -f`, in bytes; Python ignores the signal that goes with it."""
    before, hardest = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hardest))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hardest))


@cache
def need() -> Need:
    """What the build takes that nothing disturbs."""
    with memory(ROOMY, MANY) as place:
        FIRST.build(place)
        before = _used(place)
        SMALL.build(place)
        after = _used(place)
        return Need(after.bytes - before.bytes, after.inodes - before.inodes)


@cache
def largest_file() -> int:
    """Bytes of the largest file of the build."""
    with scratch() as root:
        SMALL.build(root)
        return max(path.stat().st_size for path in root.rglob("*") if path.is_file())


def _used(place: Path) -> Need:
    found = os.statvfs(place)
    taken = (found.f_blocks - found.f_bfree) * found.f_frsize
    return Need(taken, found.f_files - found.f_ffree)


LOOPS = {
    "full disk": Loop(full_round, 40, 2_000, lacking),
    "file limit": Loop(limit_round, 10, 2_000),
}
