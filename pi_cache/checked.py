"""What this host remembers to have hashed: an empty file for each, whose name says everything.

A mark is named by the digest of where a file lies, its inode, its size, its times and the SHA-256
that it had, so that any change of the file means another name. All processes of a user on a host
share the marks. Losing one costs one more hashing: nothing here waits, locks or raises.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import platformdirs

from pi_cache import files

LASTS = 30 * 86_400.0
"""Seconds that a mark counts. Bytes that decay in their place are met after that at the latest,
and the marks of stores that are gone are swept then."""
SETTLED = 5.0
"""Seconds for which a file must have been left alone to be remembered: two changes within a tick
of the clock have the same times, and the clock of a file server may differ from ours."""
SMALL = 1 << 18
"""Bytes up to which a file is hashed as fast as its mark is found in a home across a network."""

FOLDER = re.compile(r"[0-9a-f]{32}")
MARK = re.compile(r"[0-9a-f]{64}")


class Identity(NamedTuple):
    """What changes with a file: another one of its name, or other bytes in it. Times in ns."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, found: os.stat_result) -> Identity:
        """From what `stat` or `fstat` says."""
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class Marks:
    """The marks of the files of one store."""

    def __init__(self, store: Path) -> None:
        self.folder = folder_of(store)
        self._trusted = False

    def holds(self, listed: str, sha256: str, identity: Identity) -> bool:
        """Whether this very file was hashed on this host and had this SHA-256.

        listed: its path in the store.
        """
        if self.folder is None or identity.size <= SMALL or not self._is_trusted(self.folder):
            return False
        found = _status(self.folder / _name(listed, sha256, identity))
        return found is not None and _is_ours(found) and abs(time.time() - found.st_mtime) < LASTS

    def add(self, listed: str, sha256: str, identity: Identity) -> None:
        """Remember that this file has just been hashed and had this SHA-256."""
        newest = max(identity.modified, identity.changed) / 1e9
        if self.folder is None or identity.size <= SMALL or time.time() - newest < SETTLED:
            return
        with suppress(OSError):
            if self._is_trusted(self.folder) or _made(self.folder):
                files.mark(self.folder / _name(listed, sha256, identity))

    def _is_trusted(self, folder: Path) -> bool:
        """Whether nobody else can have put a mark there."""
        if not self._trusted:
            found = [_status(folder.parent), _status(folder)]
            self._trusted = all(one is not None and _is_ours(one) for one in found)
        return self._trusted


def place() -> Path | None:
    """The folder of all marks: $PI_CACHE_CHECKED, else in the user's cache; None without a home."""
    named = os.environ.get("PI_CACHE_CHECKED")
    if named:
        return Path(named).absolute()
    home = platformdirs.user_cache_path("pi-cache", appauthor=False) / "checked"
    return home if home.is_absolute() else None


def folder_of(store: Path) -> Path | None:
    """Where the marks of a store lie, apart for each host: homes are shared between hosts."""
    above = place()
    where = os.fsencode(f"{os.uname().nodename}\0{os.path.realpath(store)}")
    return None if above is None else above / hashlib.sha256(where).hexdigest()[:32]


def forget(store: Path) -> None:
    """Drop the marks of a store that goes, or is gone."""
    folder = folder_of(store)
    if folder is not None:
        _drop(folder)


def _made(folder: Path) -> bool:
    """Make the folder of a store for this user alone; False where another user made one."""
    files.make_directory(folder.parent.parent)
    for path in (folder.parent, folder):
        with suppress(OSError):  # it is there
            files._call("mkdir", path, path, 0o700)
        found = _status(path)
        if found is None or not _is_ours(found):
            return False
    _sweep(folder.parent)
    return True


def _sweep(above: Path) -> None:
    """Drop the folders to which nothing was added for so long that no mark in them counts."""
    for folder in files.listing(above):
        found = _status(folder)
        if found is not None and time.time() - found.st_mtime > LASTS:
            _drop(folder)


def _drop(folder: Path) -> None:
    """Remove the marks in a folder, and the folder: nothing else, wherever a user has put it."""
    if not FOLDER.fullmatch(folder.name):
        return
    with suppress(OSError):
        for path in files.listing(folder):
            if MARK.fullmatch(path.name) and files.size(path) == 0:
                files._call("unlink", path, path)
        files._call("rmdir", folder, folder)


def _name(listed: str, sha256: str, identity: Identity) -> str:
    text = "\0".join((listed, sha256, *map(str, identity)))
    return hashlib.sha256(os.fsencode(text)).hexdigest()


def _status(path: Path) -> os.stat_result | None:
    try:
        found: os.stat_result = files._call("stat", path, path)
        return found
    except OSError:  # every error of the file layer is one
        return None


def _is_ours(found: os.stat_result) -> bool:
    """Whether only this user can have made or changed it."""
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
