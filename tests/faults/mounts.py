"""File systems of our own: disks that can lose their power, and memory that runs full.

A disk is an empty ext4 or XFS (`disks/make.sh` makes them) in a sparse file, mounted by a loop
device. All of it needs root. What a killed run left mounted is unmounted by the next one.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.faults import MEMORY, lasting

REQUIRED = "PI_CACHE_REQUIRE_ROOT_TESTS"
"""Set in the one lane where a test that needs root fails rather than be skipped."""

KINDS = ("ext4", "xfs")
OPTIONS = {"ext4": "loop", "xfs": "loop,nouuid"}
"""All copies of a disk have the same UUID, which XFS would refuse."""

DISKS = Path(__file__).with_name("disks")
PREFIX = "faults.mount."

SHUTDOWN = 0x8004587D
"""The ioctl `_IOR('X', 125, u32)` of XFS, which ext4 knows too: the file system is dead at once."""
NO_LOG_FLUSH = 2
"""What the journal has not written yet is lost, as when the power goes."""


class Disk:
    """A mounted ext4 or XFS at `place`, in memory."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.image = folder / "image"
        self.place = folder / "disk"
        self.place.mkdir()
        _copy(_prepared(kind), self.image)
        self.mount()

    def mount(self) -> None:
        """Mount it, which replays the journal."""
        _mount("-t", self.kind, "-o", OPTIONS[self.kind], str(self.image), str(self.place))

    def unmount(self) -> None:
        """Unmount it."""
        _run("umount", str(self.place))


@contextmanager
def disk(kind: str) -> Iterator[Disk]:
    """An empty disk. Raises OSError with the words of `mount` where that is not possible."""
    with _folder() as folder:
        yield Disk(kind, folder)


@contextmanager
def memory(size: int, inodes: int = 0) -> Iterator[Path]:
    """An empty file system in memory of so many bytes and inodes (0 for any number)."""
    with _folder() as folder:
        place = folder / "memory"
        place.mkdir()
        _mount("-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes}", "tmpfs", str(place))
        yield place


def resize(place: Path, size: int, inodes: int = 0) -> None:
    """Give a file system in memory another size."""
    _mount("-o", f"remount,size={size},nr_inodes={inodes}", str(place))


def cut_power(place: Path) -> None:
    """Stop the file system that a folder lies on: what is not on its disk yet never will be."""
    handle = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    finally:
        os.close(handle)


@cache
def lacking(kind: str = "tmpfs") -> str:
    """Why no file system of this kind can be mounted here, "" where it can."""
    if os.geteuid():
        return "needs root, to mount file systems"
    try:
        with memory(1 << 20) if kind == "tmpfs" else disk(kind):
            return ""
    except OSError as error:
        return f"needs to mount {kind}: {error}"


def skip_without(reason: str) -> None:
    """Skip the running test for what is lacking here, or fail it where it may not be lacking."""
    if reason and os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, and this test {reason}")
    if reason:
        pytest.skip(reason)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder whose mounts are undone at the end."""
    _clear_left()
    base = MEMORY if MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}.", dir=base))
    try:
        yield folder
    finally:
        _clear(folder)


def _clear(folder: Path) -> None:
    for place in _mounted(folder):
        _run("umount", "--lazy", str(place))
    if not _mounted(folder):  # else what is mounted would be deleted
        shutil.rmtree(folder)


@cache
def _clear_left() -> None:
    """Undo what runs that were killed left mounted; once a process."""
    base = MEMORY if MEMORY.is_dir() else Path(tempfile.gettempdir())
    for folder in base.glob(f"{PREFIX}*"):
        process = re.match(r"\d+", folder.name.removeprefix(PREFIX))
        if process and not Path("/proc", process[0]).exists():
            _clear(folder)


def _mounted(folder: Path) -> list[Path]:
    """What is mounted below a folder."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    places = (Path(line.split()[1]) for line in lines)
    return [place for place in places if folder in place.parents]


@cache
def _prepared(kind: str) -> Path:
    """The empty disk, unpacked."""
    folder = lasting()
    with tarfile.open(DISKS / f"{kind}.tar.xz") as archive:
        archive.extract(kind, folder, filter="data")
    return folder / kind


def _copy(image: Path, to: Path) -> None:
    _run("cp", "--sparse=always", str(image), str(to))


def _mount(*arguments: str) -> None:
    _run("mount", *arguments)


def _run(*command: str) -> None:
    """Run a command. Raises OSError with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
