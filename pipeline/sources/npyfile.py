"""Rows of an `.npy` file, or of an array in an `.npz`: found from the header, read when asked.

Nothing is ever unpickled, and no size is believed before it is compared with the file.
"""

from __future__ import annotations

import math
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npformat

from pi_cache.errors import SourceError
from pipeline.sources.readers import ArrayReader, native

LOCAL_HEADER = 30
"""Bytes before the name of a zip member."""

LARGEST_COLUMN = 1 << 30
"""Bytes of labels or ids; what claims more is refused before it is read."""

LARGEST_PACKED, LARGEST_RATIO = 1 << 30, 100
"""A compressed member above so many bytes and so many times its size is taken for a bomb."""

BROKEN = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, RuntimeError)
"""What NumPy and zipfile raise for broken files (RuntimeError: an encrypted member)."""


@dataclass(frozen=True, kw_only=True)
class FileReader(ArrayReader):
    """Rows of an array in a file that must not change: stamp is its size and time when opened."""

    path: str
    stored: np.dtype[Any]
    stamp: tuple[int, int]

    def check_same(self) -> None:
        """Raise SourceError when the file is not the one that was opened."""
        if stamp_of(Path(self.path)) != self.stamp:
            raise SourceError(
                f"{self.path} was changed after it was opened; run the same command again"
            )


@dataclass(frozen=True, kw_only=True)
class NpyReader(FileReader):
    """Rows of an `.npy` file, read from where they lie.

    Plain reads, no map: a file that shrinks meanwhile raises, and does not kill the process.
    """

    offset: int
    fortran: bool

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop, read now."""
        self.check_same()
        try:
            values = self._mapped(start, stop) if self.fortran else self._read(start, stop)
        except (OSError, ValueError) as error:
            raise SourceError(
                f"{self.path} could be read before and now cannot ({error});"
                " look at the disk and run again"
            ) from error
        return native(values)

    def _read(self, start: int, stop: int) -> np.ndarray:
        each = math.prod(self.shape[1:])
        offset = self.offset + start * each * self.stored.itemsize
        values = np.fromfile(self.path, self.stored, (stop - start) * each, offset=offset)
        return values.reshape(stop - start, *self.shape[1:])

    def _mapped(self, start: int, stop: int) -> np.ndarray:
        """Fortran order, as MATLAB writes: a sample lies all over the file."""
        mapped = np.memmap(self.path, self.stored, "r", self.offset, shape=self.shape, order="F")
        return np.array(mapped[start:stop], order="C")


@dataclass(frozen=True, kw_only=True)
class NpzReader(FileReader):
    """Rows of a member of an `.npz`: compressed, so each process holds the whole member once."""

    member: str

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop of the member, which stays in memory."""
        self.check_same()
        return _held(self.path, self.member, self.stamp)[start:stop]


@lru_cache(maxsize=1)
def _held(path: str, member: str, stamp: tuple[int, int]) -> np.ndarray:
    array = np.ascontiguousarray(native(_read_member(Path(path), member, column=False)))
    array.flags.writeable = False
    return array


def stamp_of(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds."""
    try:
        found = path.stat()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}; check the path") from error
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):  # reading could never end
        raise SourceError(f"{path} is no file but a pipe, a socket or a device; copy it to a file")
    return found.st_size, found.st_mtime_ns


def open_npy(path: Path) -> NpyReader:
    """The rows of an `.npy`; its size is checked against its header first. Raises SourceError."""
    stamp = stamp_of(path)
    try:
        with path.open("rb") as stream:
            shape, fortran, dtype = read_header(stream, str(path))
            offset = stream.tell()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}; check the file") from error
    _check_size(str(path), stamp[0] - offset, shape, dtype)
    return NpyReader(
        path=str(path),
        shape=shape,
        dtype=dtype.newbyteorder("="),
        stored=dtype,
        stamp=stamp,
        offset=offset,
        fortran=fortran,
    )


def open_npz(path: Path, member: str) -> NpyReader | NpzReader:
    """The rows of one member (named without `.npy`), read in place when it is not compressed.

    Raises SourceError.
    """
    stamp = stamp_of(path)
    where = f"{path}[{member}]"
    with _member(path, member) as (stream, info):
        shape, fortran, dtype = read_header(stream, where)
        head = stream.tell()
    _check_size(where, info.file_size - head, shape, dtype)
    known: dict[str, Any] = {
        "path": str(path),
        "shape": shape,
        "dtype": dtype.newbyteorder("="),
        "stored": dtype,
        "stamp": stamp,
    }
    if info.compress_type != zipfile.ZIP_STORED:
        _check_ratio(where, info)
        return NpzReader(member=member, **known)
    return NpyReader(offset=_member_start(path, info) + head, fortran=fortran, **known)


def read_members(path: Path, names: Sequence[str]) -> tuple[list[str], dict[str, np.ndarray]]:
    """The names of all other members, and these members as arrays. Raises SourceError."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name.removesuffix(".npy") for name in archive.namelist()]
    except BROKEN as error:
        raise SourceError(
            f"{path} is no readable .npz ({error}); write it again with numpy.savez"
        ) from error
    others = [name for name in members if name not in names]
    return others, {name: _read_member(path, name) for name in members if name in names}


def read_column(path: Path) -> np.ndarray:
    """A small `.npy`, whole. Raises SourceError."""
    reader = open_npy(path)
    _check_column(str(path), reader.shape, reader.stored)
    return reader.read_together()


def read_header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and type of an `.npy`. Raises SourceError, also for objects."""
    readers = {
        (1, 0): npformat.read_array_header_1_0,
        (2, 0): npformat.read_array_header_2_0,
    }
    try:
        shape, fortran, dtype = readers[npformat.read_magic(stream)](stream)
    except (zipfile.BadZipFile, zlib.error):  # of the archive, and no matter of the header
        raise
    except Exception as error:  # NumPy's parser of headers raises almost anything
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise SourceError(
            f"{where} is no NumPy array ({reason}); write it with numpy.save"
        ) from error
    if dtype.hasobject:
        raise SourceError(
            f"{where} holds Python objects ({dtype}), which are never read as they can run code;"
            " save numbers or text: pad rows of different lengths, or use UCR .ts files"
        )
    if not shape or min(shape) < 0 or not dtype.itemsize:
        raise SourceError(f"{where} has shape {shape} of {dtype}, expected one row a sample")
    return shape, fortran, dtype


def _check_size(where: str, size: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse a size that the header does not tell, before anything is allocated."""
    expected = math.prod(shape) * dtype.itemsize
    if size != expected:
        state = "it is cut short" if size < expected else "something follows the array"
        raise SourceError(
            f"{where} has {size} bytes of values, expected {expected} for shape {shape} of {dtype}:"
            f" {state}; copy or write it again"
        )


def _check_ratio(where: str, info: zipfile.ZipInfo) -> None:
    """Refuse what would fill the memory of every process with next to nothing."""
    size, ratio = info.file_size, info.file_size // max(info.compress_size, 1)
    if size > LARGEST_PACKED and ratio > LARGEST_RATIO:
        raise SourceError(
            f"{where} unpacks to {size} bytes, {ratio} times its size, which looks like a bomb; if"
            " you trust it, save it with numpy.savez, which does not compress"
        )


def _check_column(where: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    size = math.prod(shape) * dtype.itemsize
    if size > LARGEST_COLUMN:
        raise SourceError(
            f"{where} is {size} bytes, expected one value a sample, {LARGEST_COLUMN} bytes at most"
        )


@contextmanager
def _member(path: Path, member: str) -> Iterator[tuple[IO[bytes], zipfile.ZipInfo]]:
    """The stream of a member, and what the archive says of it. Raises SourceError."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            info = archive.getinfo(member if member in names else f"{member}.npy")
            with archive.open(info) as stream:
                yield stream, info
    except SourceError:
        raise
    except BROKEN as error:
        raise SourceError(
            f"{path}[{member}] cannot be read ({error}); write it again with numpy.savez"
        ) from error


def _member_start(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a stored member begin: its local header has lengths of its own."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(LOCAL_HEADER)
    name, extra = (int.from_bytes(local[at : at + 2], "little") for at in (26, 28))
    return info.header_offset + LOCAL_HEADER + name + extra


def _read_member(path: Path, member: str, *, column: bool = True) -> np.ndarray:
    """A member, whole; its size is checked against its header first."""
    where = f"{path}[{member}]"
    with _member(path, member) as (stream, info):
        shape, fortran, dtype = read_header(stream, where)
        _check_size(where, info.file_size - stream.tell(), shape, dtype)
        if column:
            _check_column(where, shape, dtype)
        try:
            data = stream.read()  # to its end, where zipfile compares the CRC
        except MemoryError as error:
            raise SourceError(
                f"{where} has {info.file_size} bytes when unpacked, more than there is memory for;"
                " save it with numpy.savez, which does not compress"
            ) from error
    values = np.frombuffer(data, dtype)
    return values.reshape(shape, order="F" if fortran else "C")
