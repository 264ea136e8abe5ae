"""Archives of other people, unpacked without trusting them: member by member, below one folder.

Nothing but files and folders is made, names cannot leave the folder, and what is written is
counted while it is written, whatever the archive says of its sizes.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self

from pi_cache.errors import SourceError, StorageFailed, StorageFull

BLOCK = 2**20
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
OPENERS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
EXTENDED = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
"""Kinds of tar header that carry names and attributes of the next member."""

DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    UnicodeDecodeError,  # a name in a zip that is not what it says
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an archive may become. ratio: unpacked bytes per byte of the archive."""

    size: int = 16 * 2**30
    ratio: int = 100
    members: int = 2_000_000


DEFAULT_LIMITS = Limits()


@dataclass
class _Budget:
    """What is left to write; raises SourceError when it is spent."""

    archive: Path
    limits: Limits
    written: int = 0
    members: int = 0

    def add_member(self) -> None:
        self.members += 1
        if self.members > self.limits.members:
            raise self._spent(f"more than {self.limits.members} members")

    def add_bytes(self, count: int) -> None:
        self.written += count
        if self.written > self.limits.size:
            raise self._spent(f"more than {self.limits.size} bytes")
        if self.written > self.limits.ratio * self.archive.stat().st_size:
            raise self._spent(f"more than {self.limits.ratio} times its size")

    def _spent(self, what: str) -> SourceError:
        return SourceError(
            f"{self.archive} unpacks to {what}, which looks like a bomb; if you trust it, unpack "
            "it yourself and give the folder"
        )


def unpack(archive: Path, folder: Path, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int]:
    """Files and bytes written below `folder` (made if absent) from a zip or tar archive.

    Tar archives may be compressed by gzip, bzip2 or xz. A failure leaves in the folder what was
    written until then, so give a temporary one.
    Raises SourceError for links, devices, names outside the folder, names twice, encryption, spent
    limits and damage; StorageFull and StorageFailed where the files cannot be written.
    """
    budget = _Budget(archive, limits)
    files = 0
    with _typed(archive, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in _members(archive):
            budget.add_member()
            path = folder / _relative(name, archive)
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            _copy(content, path, budget)
            files += 1
    return files, budget.written


def _copy(content: IO[bytes], path: Path, budget: _Budget) -> None:
    with path.open("xb") as file:  # exclusive: a name twice is an error, and no link is followed
        while block := content.read(BLOCK):
            budget.add_bytes(len(block))
            file.write(block)


def _relative(name: str, archive: Path) -> Path:
    """The member's path below the folder. Raises SourceError for one that leaves it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or any(letter in name for letter in "\\:\0"):
        raise SourceError(
            f"{archive} has a member {name!r}, whose name could leave the folder; it is refused: "
            "get the archive from its publisher"
        )
    return Path(*path.parts)


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Name and content of each member, in order; None for a folder."""
    with archive.open("rb") as file:
        start = file.read(4)
    return _zip_members(archive) if start[:2] == b"PK" else _tar_members(archive)


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where no Unix mode was kept
            if not info.filename:
                raise _refused(archive, "", "without a name")
            if info.is_dir():
                yield info.filename, None
            elif kind not in (0, stat.S_IFREG):
                raise _refused(archive, info.filename, "a link or device")
            elif info.flag_bits & 1:
                raise _refused(archive, info.filename, "encrypted")
            else:
                with opened.open(info) as content:
                    yield info.filename, content


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with archive.open("rb") as file:
        start = file.read(6)
    opener = next((opener for magic, opener in OPENERS.items() if start.startswith(magic)), open)
    # Not tarfile's own decompression: that leaves the checksum of a gzip file unread.
    with opener(archive, "rb") as stream:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as opened:
            for info in opened:
                if not (info.isdir() or info.isreg()):
                    raise _refused(archive, info.name, "a link or device")
                yield info.name, opened.extractfile(info)  # None for a folder
                # The list of past members only grows, and a stream cannot go back to them.
                opened.members = []  # type: ignore[attr-defined]
        while stream.read(BLOCK):
            pass  # to the checksum at the end


class _Header(tarfile.TarInfo):
    """A header whose long names and attributes, which are read at once, have a limit."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """As in TarInfo. Raises ReadError for an extended header above a megabyte."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in EXTENDED and header.size > BLOCK:
            raise tarfile.ReadError(f"a header of {header.size} bytes, expected up to {BLOCK}")
        return header


def _refused(archive: Path, name: str, what: str) -> SourceError:
    return SourceError(
        f"{archive} has a member {name!r} that is {what}, expected files and folders only; get the "
        "archive from its publisher"
    )


@contextmanager
def _typed(archive: Path, folder: Path) -> Iterator[None]:
    """Turns what the archive modules and the file system raise into errors of this project."""
    try:
        yield
    except FileExistsError as error:
        raise SourceError(f"{archive} holds {error.filename} twice; it is refused") from None
    except (*DAMAGED, NotImplementedError) as error:
        raise SourceError(
            f"{archive} is damaged or no zip or tar archive ({error}); download it again"
        ) from None
    except OSError as error:
        if error.errno is None:  # gzip reports damage so
            raise SourceError(f"{archive} is damaged ({error}); download it again") from None
        if error.errno in FULL:
            free = shutil.disk_usage(folder.parent).free
            raise StorageFull(
                error.errno,
                f"{folder}: the disk is full ({free} bytes free) while unpacking {archive.name}; "
                "free some space and run the command again",
            ) from None
        raise StorageFailed(error.errno, f"{folder}: unpacking failed: {error}") from None
