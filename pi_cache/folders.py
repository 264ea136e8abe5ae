"""A folder held open: what lies in it is measured, moved and deleted without following a link.

Names are looked up in the open folder and never by a path, so that nobody can lead a removal
elsewhere by exchanging a folder for a link while it runs.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pi_cache import files
from pi_cache.errors import StorageFailed

FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
DEEPEST = 32
"""Folders inside folders; a store has four."""
CLOSED = (errno.EACCES, errno.EPERM)
"""What a file system says of a folder that this account may not read."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What a file or a folder with all it holds takes.

    bytes: of the files, as `ls -l` counts. files: with the folders, an inode each. written: when a
    file in it was last written; changed: when a name or a file was. Seconds by the clock of the
    file system. closed: folders that this account may not read; what they hold is not counted.
    """

    bytes: int = 0
    files: int = 0
    written: float = 0.0
    changed: float = 0.0
    closed: int = 0

    def __add__(self, other: Extent) -> Extent:
        return Extent(
            self.bytes + other.bytes,
            self.files + other.files,
            max(self.written, other.written),
            max(self.changed, other.changed),
            self.closed + other.closed,
        )


class Gone(StorageFailed):
    """There is nothing of that name, or no more: another removal was faster."""


class Folder:
    """A folder that is open; see `opened`."""

    def __init__(self, handle: int, path: Path, device: int, depth: int) -> None:
        self.handle = handle
        self.path = path
        self.device = device
        self.depth = depth

    def names(self) -> list[str]:
        """What it holds, sorted."""
        return sorted(files._call("listdir", self.path, self.handle))

    def kind(self, name: str) -> str:
        """`folder`, `link`, `file`, or `absent`."""
        found = self._stat(name)
        if found is None:
            return "absent"
        if stat.S_ISLNK(found.st_mode):
            return "link"
        return "folder" if stat.S_ISDIR(found.st_mode) else "file"

    @contextmanager
    def inner(self, name: str) -> Iterator[Folder]:
        """A folder in it, open. Raises StorageFailed where there is none, or a link or a file."""
        path = self.path / name
        if self.depth == DEEPEST:
            raise StorageFailed(f"{path}: folders lie too deep for a store; remove them by hand")
        try:
            handle = files._call("open_in", path, self.handle, name, FLAGS)
        except StorageFailed as error:
            if error.errno not in files.ABSENT:
                raise
            raise files.failure(Gone, error.errno, str(error)) from error
        with _held(path, handle, self.depth + 1) as folder:
            yield folder

    def extent(self, name: str) -> Extent:
        """What an entry takes; nothing where there is none. Links are counted, never followed.

        In a cache that people share, a folder that one of them keeps closed stops nobody else.
        """
        found = self._stat(name)
        if found is None:
            return Extent()
        if not stat.S_ISDIR(found.st_mode):
            return Extent(found.st_size, 1, found.st_mtime, found.st_mtime)
        extent = Extent(0, 1, 0.0, found.st_mtime)
        try:
            with suppress(Gone), self.inner(name) as folder:
                return sum((folder.extent(inside) for inside in folder.names()), extent)
        except StorageFailed as error:
            if error.errno not in CLOSED:
                raise
            return replace(extent, closed=1)
        return extent

    def move(self, name: str, to: Folder, new: str) -> None:
        """Rename an entry into another folder, durably; never onto a file or a full folder.

        Raises Gone where there is none.
        """
        try:
            files._call("rename_in", self.path / name, self.handle, name, to.handle, new)
        except StorageFailed as error:
            if self.kind(name) != "absent":
                raise
            if to.kind(new) == "absent":  # else it was moved, and only the reply was lost
                raise files.failure(Gone, error.errno, str(error)) from error
        to.sync()
        self.sync()

    def delete(self, name: str, *, first: str = "") -> None:
        """Delete an entry with all it holds; of a link the link. What is gone already is no error.

        first: what goes before all else that it holds. Raises StorageFailed where another file
        system is mounted inside.
        """
        found = self._stat(name)
        if found is None:
            return
        if stat.S_ISDIR(found.st_mode):
            with suppress(Gone), self.inner(name) as folder:
                if folder.device != self.device:
                    raise StorageFailed(f"{folder.path}: another file system lies here; unmount it")
                for inside in sorted(folder.names(), key=lambda inside: inside != first):
                    folder.delete(inside)
        self._unlink("rmdir_in" if stat.S_ISDIR(found.st_mode) else "unlink_in", name)

    def sync(self) -> None:
        """Make its names durable."""
        files.sync_directory(self.path)

    def _unlink(self, call: str, name: str) -> None:
        try:
            files._call(call, self.path / name, self.handle, name)
        except StorageFailed:
            if self._stat(name) is not None:  # else another removal was faster
                raise

    def _stat(self, name: str) -> os.stat_result | None:
        try:
            found: os.stat_result = files._call("stat_in", self.path / name, self.handle, name)
            return found
        except FileNotFoundError:
            return None


def extent_of(path: Path) -> Extent:
    """What lies in a folder, which may be a link; nothing where there is none."""
    if not files.is_folder(path):
        return Extent()
    with opened(path) as folder:
        return sum((folder.extent(name) for name in folder.names()), Extent())


@contextmanager
def opened(path: Path) -> Iterator[Folder]:
    """A folder by its path, which may lead over links. Raises StorageFailed."""
    with _held(path, files._call("open", path, path, FLAGS), 0) as folder:
        yield folder


@contextmanager
def _held(path: Path, handle: int, depth: int) -> Iterator[Folder]:
    """The open folder of a handle, which is closed at the end."""
    try:
        yield Folder(handle, path, files._call("stat", path, handle).st_dev, depth)
    finally:
        files.close_quietly(handle)
