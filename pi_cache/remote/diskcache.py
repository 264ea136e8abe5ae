"""Files of remote stores on this disk, within a bound: those used longest ago go first.

A folder is named by the digest of a store's files, so that another store of the same address is
another folder. A file that goes while somebody has it open or mapped can still be read by them.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import platformdirs

from pi_cache import files
from pi_cache.errors import InvalidSpec, StorageFailed, StorageFull
from pi_cache.manifest import FileEntry
from pi_cache.quantities import bytes_text, parse_bytes
from pi_cache.remote.fetching import Met, fetch
from pi_cache.remote.transport import Transport
from pi_cache.remote.turns import turn

PLACE_VARIABLE = "PI_REMOTE_CACHE"
SIZE_VARIABLE = "PI_REMOTE_CACHE_SIZE"
MOST = 20 * 1024**3
"""Bytes of all files, unless told; and no more than half of what they and free space have."""
FOLDER = 32
"""Characters of the digest that name a folder: no key, so that it is taken for no store."""
NAME = re.compile(f"[0-9a-f]{{{FOLDER}}}")
DATA, USED, TEMPORARY = "data.zarr", "used", "tmp"
RECOUNT = 30.0
"""Seconds after which the files of other processes are counted again, at the latest."""
COUNTING = 0.05
"""The part of the time that counting may take, where files come one after the other."""
RENEW = 60.0
"""Seconds after which another use of a file is noted."""


class Held(NamedTuple):
    """A file of the cache. used: when it was last used, by the clock of the file system.

    mark: the file that says so.
    """

    used: float
    size: int
    path: Path
    mark: Path


class DiskCache:
    """The files of all remote stores that this user has read.

    bound: bytes of all of them, None for the default.
    """

    def __init__(self, root: Path, bound: int | None = None) -> None:
        self.root = root
        self.bound = bound
        self._count_at = 0.0
        self._total: int | None = None
        self._room = MOST
        self._uses: dict[Path, float] = {}

    @property
    def most(self) -> int:
        """Bytes of all files at most."""
        if self.bound is not None:
            return self.bound
        if self._total is None:
            self._count()
        return self._room

    def folder(self, digest: str) -> Path:
        """Where the files of a store lie, as they lie in the store itself; made, and swept."""
        folder = self.root / digest[:FOLDER]
        if not files.is_folder(self.root):
            files.make_directory(self.root.parent)
            with suppress(OSError):  # another process has made it; else the next line says why not
                files._call("mkdir", self.root, self.root, 0o700)
        for inside in (USED, TEMPORARY):
            files.make_directory(folder / inside)
        with suppress(OSError):
            files.sweep(folder / TEMPORARY)
        return folder

    def bring(
        self, source: Transport, folder: Path, listed: str, entry: FileEntry, met: Met = bool
    ) -> bool:
        """Have a file of a store here, whole; whether it had to be fetched. Raises as `fetch`."""
        if self.has(folder, listed):
            return False
        place = folder / listed
        with turn(used_by(folder, listed), lambda: files.exists(place)) as beat:
            if files.exists(place):
                return False

            def step(count: int) -> None:
                beat()
                met(count)

            self._fetch(source, folder, listed, entry, step)
        return True

    def has(self, folder: Path, listed: str) -> bool:
        """Whether a file is here; if so, it is used now."""
        if not files.exists(folder / listed):
            return False
        self._use(folder, listed)
        return True

    def drop(self, path: Path) -> None:
        """Remove a file, which is fetched again when it is wanted."""
        files.remove(path)
        self._total = None

    def make_room(self, size: int) -> None:
        """Remove what was used longest ago until so many bytes more are within the bound."""
        old = self._total is None or time.monotonic() > self._count_at
        if old or (self._total or 0) + size > self.most:
            held = self._count()
            self._evict(held, (self._total or 0) + size - self.most)
        self._total = (self._total or 0) + size

    def _fetch(
        self, source: Transport, folder: Path, listed: str, entry: FileEntry, step: Met
    ) -> None:
        place, temporary = folder / listed, folder / TEMPORARY
        if entry.size > self.most:
            raise StorageFull(
                f"{source.place(listed)}: {bytes_text(entry.size)}, and the cache of remote stores"
                f" takes {bytes_text(self.most)}; raise ${SIZE_VARIABLE}, or pull the store"
            )
        self.make_room(entry.size)
        try:
            fetch(source, listed, entry, place, temporary=temporary, met=step)
            return
        except StorageFull as error:
            held = sorted(self._held())
            if not held:
                raise self._full(error) from error
            self._evict(held, 2 * entry.size)
        try:
            fetch(source, listed, entry, place, temporary=temporary, met=step)
        except StorageFull as error:
            raise self._full(error) from error

    def _full(self, error: StorageFull) -> StorageFull:
        text = f"{error}; or put the cache of remote stores elsewhere with ${PLACE_VARIABLE}"
        return files.failure(StorageFull, error.errno, text)

    def _use(self, folder: Path, listed: str) -> None:
        """Note that a file is used now."""
        mark, now = used_by(folder, listed), time.monotonic()
        if now - self._uses.get(mark, -RENEW) >= RENEW:
            self._uses[mark] = now
            with suppress(OSError):
                files.touch(mark)

    def _count(self) -> list[Held]:
        """Every file that is here, the one used longest ago first; what there is, and may be."""
        begun = time.monotonic()
        held = sorted(self._held())
        self._total, now = sum(one.size for one in held), time.monotonic()
        self._count_at = now + min(RECOUNT, (now - begun) / COUNTING)
        found = files._call("statvfs", self.root, self.root)
        free = found.f_bavail * found.f_frsize if found.f_blocks else 2 * MOST
        self._room = min(MOST, (self._total + free) // 2)
        return held

    def _held(self) -> Iterator[Held]:
        """Every file that is here, of all stores; none of folders that are not ours."""
        for folder in filter(_is_ours, files.listing(self.root)):
            for path in files.tree(folder / DATA):
                mark = used_by(folder, path.relative_to(folder).as_posix())
                with suppress(FileNotFoundError):
                    yield Held(_changed(mark), files.size(path), path, mark)

    def _evict(self, held: list[Held], excess: int) -> None:
        for one in held:
            if excess <= 0:
                return
            with suppress(StorageFailed):  # of another user, in a cache that several share
                if files.remove(one.path):
                    excess -= one.size
                    self._total = max(0, (self._total or 0) - one.size)
                    files._discard(one.mark)


def used_by(folder: Path, listed: str) -> Path:
    """The file whose time says when another one was last used; it is locked while that is fetched.

    Not the file's own time: whoever has it open takes a new time for new bytes.
    """
    return folder / USED / hashlib.sha256(os.fsencode(listed)).hexdigest()[:FOLDER]


def _is_ours(folder: Path) -> bool:
    """Whether `DiskCache.folder` made it: the root may be any folder of the user."""
    return NAME.fullmatch(folder.name) is not None and files.is_folder(folder / USED)


def _changed(path: Path) -> float:
    try:
        return files.changed(path)
    except FileNotFoundError:
        return 0.0


def default_cache() -> DiskCache:
    """The cache in $PI_REMOTE_CACHE, else in the user's cache folder, of $PI_REMOTE_CACHE_SIZE."""
    named, size = os.environ.get(PLACE_VARIABLE), os.environ.get(SIZE_VARIABLE)
    home = platformdirs.user_cache_path("pi-cache", appauthor=False)
    try:
        bound = parse_bytes(size) if size else None
    except ValueError as error:
        raise InvalidSpec(f"${SIZE_VARIABLE}: {error}") from error
    return DiskCache(Path(named).absolute() if named else home / "remote", bound)
