"""Readers of samples that lie in one array (n, ...): in memory, or as Zarr; see also npyfile.

A reader of a file pickles as a path and a range. Whatever holds the array, the same values give
the same digest.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from pi_cache.errors import SourceError

DIGEST_BYTES = 8 * 2**20
"""Bytes read at a time for a fingerprint, so that it needs little memory."""


@dataclass(frozen=True, kw_only=True)
class ArrayReader:
    """Samples start..stop of an array of `shape` (all of it) and `dtype` (native byte order).

    lifted: a sample is given a last axis of 1, as the array has none for its one channel.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int = 0
    stop: int = -1
    lifted: bool = False

    def __post_init__(self) -> None:
        if self.stop < 0:
            object.__setattr__(self, "stop", self.shape[0])

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows of the whole array as stored, contiguous and of the native byte order."""
        raise NotImplementedError

    def samples(self, start: int, stop: int) -> np.ndarray:
        """Rows of the whole array, each with the axes of a sample."""
        rows = self.rows(start, stop)
        return rows[..., None] if self.lifted else rows

    def read(self, position: int) -> np.ndarray:
        """One sample."""
        return np.asarray(self.samples(self.start + position, self.start + position + 1)[0])

    def read_together(self) -> np.ndarray:
        """All samples (n, ...)."""
        return self.samples(self.start, self.stop)

    def slice(self, start: int, stop: int) -> Self:
        """The samples start..stop; nothing is copied."""
        stop = min(self.start + stop, self.stop)
        return replace(self, start=min(self.start + start, stop), stop=stop)

    def digests(self) -> Iterator[bytes]:
        """One SHA-256 of type, shape and values, read a few megabytes at a time."""
        shape = (self.stop - self.start, *self.shape[1:], *(1,) * self.lifted)
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
        array = np.ascontiguousarray(native(array))
        return cls(array=array, shape=array.shape, dtype=array.dtype)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """A view."""
        return self.array[start:stop]

    def slice(self, start: int, stop: int) -> Self:
        """The samples start..stop, as an array of their own."""
        array = self.array[start:stop]
        return replace(self, array=array, shape=array.shape, start=0, stop=len(array))


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
        except Exception as error:  # zarr and its codecs raise almost anything
            raise SourceError(
                f"{self.path}: samples {start}..{stop - 1} cannot be read ({error!r:.200}); "
                "expected whole chunks: write the array again"
            ) from error


def native(array: np.ndarray) -> np.ndarray:
    """The array in the byte order of this machine."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)
