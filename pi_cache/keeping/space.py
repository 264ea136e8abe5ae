"""How much a cache root can still take: free space, free inodes, and the budget of the root.

A quota of a user or a project is not among them: `statvfs` knows nothing of quotas, so a build that
meets one ends with StorageFull, keeps what it has, and goes on when there is room.
"""

from __future__ import annotations

import errno
import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pi_cache import files
from pi_cache.errors import AlreadyPublished, CorruptStore, StorageFull, UnsupportedFormat
from pi_cache.folders import Extent, extent_of
from pi_cache.manifest import Document
from pi_cache.quantities import bytes_text
from pi_cache.root import STORES, TEMPORARY, TRASH, ensure_root

BUDGET = "budget"
NUMBERED = re.compile(r"[0-9]{6,}\.json")
ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget(Document):
    """The bytes that the stores of a root may take together.

    It lies in `budget/NUMBER.json`, of which the largest number holds, so that a budget is changed
    without a moment in which there is none.
    """

    what = "budget"

    bytes: int

    def _problems(self) -> Iterator[str]:
        if self.bytes < 0:
            yield "a negative number of bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a build adds. files: with the folders, an inode each."""

    bytes: int
    files: int

    def __add__(self, other: Need) -> Need:
        return Need(bytes=self.bytes + other.bytes, files=self.files + other.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a root can take. None: nothing limits it, or the file system does not say.

    block: bytes that a file system gives a file at a time. used: bytes under the root, where it has
    a budget. closed: folders that this account may not read, which are not counted among them.
    """

    free_bytes: int | None
    free_files: int | None
    block: int
    budget: int | None
    used: int | None
    closed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def on_disk(self, need: Need) -> int:
        """Bytes that a need takes where every file fills up its last block."""
        return need.bytes + need.files * self.block


def room_of(root: Path) -> Room:
    """What a root can take at this moment; it need not be there yet."""
    found, budget = _file_system(root), read_budget(root)
    used = Extent() if budget is None else used_by(root)
    return Room(
        free_bytes=found.f_bavail * found.f_frsize if found.f_blocks else None,
        free_files=found.f_favail if found.f_files else None,
        block=found.f_frsize,
        budget=budget,
        used=None if budget is None else used.bytes,
        closed=used.closed,
    )


def used_by(root: Path) -> Extent:
    """What all files under a root take: of finished stores, unfinished ones, and the trash."""
    return extent_of(root / STORES) + extent_of(root / TRASH)


def used_bytes(root: Path) -> int:
    """The bytes of `used_by`."""
    return used_by(root).bytes


def closed_text(closed: int) -> str:
    """What is not counted among the bytes that are used; "" where all is."""
    return f"not counted: {closed} folder{'s' * (closed > 1)} that may not be read" * bool(closed)


def free_text(room: Room) -> str:
    """Free space and inodes in words."""
    space = "unknown" if room.free_bytes is None else bytes_text(room.free_bytes)
    return space if room.free_files is None else f"{space}, {room.free_files:,} inodes"


def shortages(room: Room, need: Need) -> list[str]:
    """What there is too little of, a phrase each; nothing where nothing is added."""
    found = []
    needed = room.on_disk(need)
    if room.free_bytes is not None and needed > room.free_bytes:
        free = bytes_text(room.free_bytes)
        found.append(f"it needs about {bytes_text(needed)} and its file system has {free} free")
    if room.free_files is not None and need.files > room.free_files:
        found.append(f"it needs {need.files:,} inodes and {room.free_files:,} are free")
    if _over_budget(room, need) > 0:
        found.append(
            f"it needs about {bytes_text(need.bytes)}, {bytes_text(room.used or 0)} are used, and"
            f" the budget of this root is {bytes_text(room.budget or 0)}"
            + f" ({closed_text(room.closed)})"
            * bool(room.closed)
        )
    return found if need.files else []


def _over_budget(room: Room, need: Need) -> int:
    return 0 if room.budget is None else (room.used or 0) + need.bytes - room.budget


def check_space(root: Path, need: Need) -> None:
    """Raise StorageFull, with the remedy, where a root cannot take a build."""
    room = room_of(root)
    found = shortages(room, need)
    if found:
        message = f"{root}: too little room for this build: {'; '.join(found)}"
        remedies = remedy(root, room, need)
        raise files.failure(StorageFull, errno.ENOSPC, f"{message}; {remedies}")


def remedy(root: Path, room: Room, need: Need) -> str:
    """How to make room for a build."""
    used = used_bytes(root)
    lacking = 0 if room.free_bytes is None else room.on_disk(need) - room.free_bytes
    missing = max(lacking, _over_budget(room, need), 0)
    ways = ["give another --cache", "insist with --no-space-check"]
    if room.budget is not None:
        ways.insert(0, "raise the budget with pi-cache budget")
    if missing < used:
        unit, size = ("MB", 10**6) if used - missing > 10**8 else ("kB", 1000)
        limit = f"--max-bytes {(used - missing) // size}{unit}" if missing else "--older-than 30d"
        command = f"pi-cache gc {limit} --cache {shlex.quote(str(root))}"
        ways.insert(0, f"see what could go with {command}")
    return ", or ".join(ways)


def read_budget(root: Path) -> int | None:
    """The byte budget of a root, None where it has none.

    Raises CorruptStore for one that cannot be read: it is not taken for none.
    """
    places = _budgets(root)
    if not places:
        return None
    try:
        return Budget.from_bytes(files.read_bytes(places[-1])).bytes
    except FileNotFoundError:  # another one was set at this moment
        return read_budget(root)
    except (CorruptStore, UnsupportedFormat) as error:
        raise type(error)(f"{places[-1]}: {error}; pi-cache budget SIZE sets it anew") from error


def set_budget(root: Path, size: int | None) -> None:
    """Give a root a byte budget, or take it away (None), durably."""
    ensure_root(root)
    for _ in range(ATTEMPTS):
        old = _budgets(root)
        if size is not None:
            number = int(old[-1].stem) + 1 if old else 1
            place = root / BUDGET / f"{number:06d}.json"
            try:
                files.publish(place, Budget(bytes=size).to_bytes(), temporary=root / TEMPORARY)
            except AlreadyPublished:  # somebody else sets it too: the last one holds
                continue
        for place in old:
            files.remove(place)
        return
    raise CorruptStore(f"{root / BUDGET}: others keep changing it; run one command at a time")


def _budgets(root: Path) -> list[Path]:
    """The files of budgets, the largest number last."""
    found = [place for place in files.listing(root / BUDGET) if NUMBERED.fullmatch(place.name)]
    return sorted(found, key=lambda place: int(place.stem))


def _file_system(root: Path) -> Any:
    """What `statvfs` says of the file system on which stores of a root lie, or would lie."""
    place = root.absolute() / STORES
    for folder in (place, *place.parents):
        try:
            return files._call("statvfs", folder, folder)
        except FileNotFoundError:
            continue
    raise AssertionError("the topmost folder is always there")
