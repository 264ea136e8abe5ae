"""Readers of samples that lie in one array (n, ...): in memory, `.npy`, `.npz` or Zarr.

A reader of a file pickles as a path and a range. Whatever holds the array, the same values give
the same digest.
"""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from pi_cache.errors import SourceError

DIGEST_BYTES = 8 * 2**20
NUMBERS = "iuf"
"""Kinds of NumPy types that samples may have: integers and real numbers."""


@dataclass(frozen=True, kw_only=True)
class ArrayReader:
    """Rows start..stop of an array of `shape` (all of it) and `dtype` (native byte order)."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int = 0
    stop: int = field(default=-1)

    def __post_init__(self) -> None:
        if self.stop < 0:
            object.__setattr__(self, "stop", self.shape[0])

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows of the whole array, contiguous and of the native byte order."""
        raise NotImplementedError

    def read(self, position: int) -> np.ndarray:
        """One sample."""
        return np.asarray(self.rows(self.start + position, self.start + position + 1)[0])

    def read_together(self) -> np.ndarray:
        """All samples (n, ...)."""
        return self.rows(self.start, self.stop)

    def slice(self, start: int, stop: int) -> Self:
        """The samples start..stop; nothing is copied."""
        stop = min(self.start + stop, self.stop)
        return replace(self, start=min(self.start + start, stop), stop=stop)

    def digests(self) -> Iterator[bytes]:
        """One SHA-256 of type, shape and values, read a few megabytes at a time."""
        shape = (self.stop - self.start, *self.shape[1:])
        digest = hashlib.sha256(f"{self.dtype.str}{shape}".encode())
        step = max(DIGEST_BYTES // max(math.prod(shape[1:]) * self.dtype.itemsize, 1), 1)
        for start in range(self.start, self.stop, step):
            block = self.rows(start, min(start + step, self.stop))
            digest.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
        yield digest.digest()


@dataclass(frozen=True, kw_only=True)
class MemoryReader(ArrayReader):
    """Rows of an array in memory; a slice pickles its own rows only."""

    array: np.ndarray

    @classmethod
    def of(cls, array: np.ndarray) -> Self:
        """The reader of all rows."""
        array = native(array)
        return cls(array=array, shape=array.shape, dtype=array.dtype)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """A view."""
        return self.array[start:stop]

    def slice(self, start: int, stop: int) -> Self:
        """The samples start..stop, as an array of their own."""
        return self.of(self.array[start:stop])


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
        if self.fortran:
            mapped = np.memmap(
                self.path, self.stored, "r", self.offset, shape=self.shape, order="F"
            )
            return native(np.array(mapped[start:stop], order="C"))
        each = math.prod(self.shape[1:])
        offset = self.offset + start * each * self.stored.itemsize
        values = np.fromfile(self.path, self.stored, (stop - start) * each, offset=offset)
        if len(values) != (stop - start) * each:
            raise SourceError(f"{self.path} ends too early; was it changed after it was opened?")
        return native(values.reshape(stop - start, *self.shape[1:]))


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
    array = native(read_member(Path(path), member))
    array.flags.writeable = False
    return array


@dataclass(frozen=True, kw_only=True)
class ZarrReader(ArrayReader):
    """Rows of a Zarr array, which is opened when it is read.

    As Zarr has it, a chunk without a file reads as the fill value: it may have been lost.
    """

    path: str

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop, decoded now."""
        from pi_cache.store import open_zarr_array  # zarr: only who reads one waits for its import

        try:
            return native(np.asarray(open_zarr_array(self.path)[start:stop]))
        except SourceError:
            raise
        except (OSError, RuntimeError, ValueError) as error:
            raise SourceError(
                f"{self.path}: samples {start}..{stop - 1} cannot be read ({error}); "
                "expected whole chunks: write the array again"
            ) from error


def native(array: np.ndarray) -> np.ndarray:
    """The array in the byte order of this machine."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def stamp_of(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds."""
    try:
        found = path.stat()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}; check the path") from error
    return found.st_size, found.st_mtime_ns


def open_npy(path: Path) -> NpyReader:
    """The rows of an `.npy`; its size is checked against its header first. Raises SourceError."""
    stamp = stamp_of(path)
    try:
        with path.open("rb") as stream:
            shape, fortran, dtype = _read_header(stream, str(path))
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


def open_npz(path: Path, member: str) -> NpzReader:
    """The rows of one member (named without `.npy`). Raises SourceError."""
    stamp = stamp_of(path)
    with _member(path, member) as (stream, size):
        shape, _, dtype = _read_header(stream, f"{path}[{member}]")
        _check_size(f"{path}[{member}]", size - stream.tell(), shape, dtype)
    return NpzReader(
        path=str(path),
        shape=shape,
        dtype=dtype.newbyteorder("="),
        stored=dtype,
        stamp=stamp,
        member=member,
    )
