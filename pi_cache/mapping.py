"""All shards of a mapped array as one array in memory, though each is a file of its own.

An uncompressed shard of 4,096 samples is a whole number of memory pages, and its index comes after
them. So the files can be mapped one behind the other into one range of addresses, each over the
index of the one before. Rows in any order are then one indexing of one array: twice as fast as
shard by shard.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cache import files
from pi_cache.checked import Identity
from pi_cache.errors import StorageFailed
from pi_cache.failures import failure
from pi_cache.shardfile import OpenFile, ShardFile
from pi_cache.shards import CHECKSUM, ShardFormat

NOTHING = 0
"""No access: who touches a page of no file ends, instead of reading zeros."""
FIXED = 0x10
"""MAP_FIXED of Linux and macOS, which Python's mmap does not name."""
FAILED = ctypes.c_void_p(-1).value


def fits(shard: ShardFormat, samples: int) -> bool:
    """Whether shards of this form can be mapped one behind the other."""
    if shard.codec != "none" or shard.chunk_rows != 1 or sys.platform not in ("linux", "darwin"):
        return False
    step = shard.chunk_bytes + CHECKSUM
    whole = shard.rows * step % mmap.ALLOCATIONGRANULARITY == 0
    return samples > 0 and (whole or samples <= shard.rows) and step % shard.dtype.alignment == 0


class Mapping:
    """The rows of a mapped array; a shard is in memory from when it is placed.

    samples: N. Views stay valid for as long as anybody holds one. whole: every shard is placed.
    seen: when somebody last looked for files that have changed.
    """

    def __init__(self, shard: ShardFormat, samples: int) -> None:
        self.step = shard.chunk_bytes + CHECKSUM
        self.span = shard.rows * self.step
        self.samples = samples
        count = -(-samples // shard.rows)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        # Owned by Python: unmapped, files and all, when the last view is gone.
        memory = mmap.mmap(-1, count * self.span + shard.index_bytes, flags=flags, prot=NOTHING)
        size = shard.dtype.itemsize * math.prod(shard.row_shape)
        self.blocks = np.ndarray((samples,), f"V{size}", buffer=memory, strides=(self.step,))
        self.blocks.flags.writeable = False
        self.whole, self.seen = False, 0.0
        self._address = np.frombuffer(memory, np.uint8).ctypes.data
        self._shape, self._dtype = shard.row_shape, shard.dtype
        self._placed: list[Identity | None] = [None] * count
        self._random = False

    def place(self, k: int, file: ShardFile) -> bool:
        """Map shard k; False when its rows do not lie in it as they should.

        Raises StorageFailed.
        """
        first = k * (self.span // self.step)
        wanted = min(self.samples - first, self.span // self.step)
        if file.view is None or len(file.view) < wanted:
            return False
        address, size = self._address + k * self.span, wanted * self.step
        _call("mmap", address, size, mmap.PROT_READ, mmap.MAP_SHARED | FIXED, file.file.handle, 0)
        self._advise(k, mmap.MADV_RANDOM if self._random else mmap.MADV_NORMAL)
        self._placed[k] = file.file.identity
        self.whole = None not in self._placed
        return True

    def holds(self, k: int, file: OpenFile | None = None) -> bool:
        """Whether shard k is placed, and from this file as it is now."""
        placed = self._placed[k]
        return placed is not None and (file is None or placed == file.identity)

    def is_old(self, k: int, path: Path) -> bool:
        """Whether the file of a placed shard is another one now, or has been written to."""
        with suppress(FileNotFoundError):  # what is mapped stays as it was
            return Identity.of(files._call("stat", path, path)) != self._placed[k]
        return False

    def ahead(self, rows: NDArray[np.intp]) -> None:
        """Ask the system to read rows of placed shards that will be taken soon.

        From then on it reads nothing else ahead: for rows at random that would be fifteen times
        too much where the data is larger than memory.
        """
        if not self._random:
            self._random = True
            for k in range(len(self._placed)):
                if self.holds(k):
                    self._advise(k, mmap.MADV_RANDOM)
        starts = self._address + np.sort(rows) * self.step
        pages = starts // mmap.PAGESIZE * mmap.PAGESIZE
        for page, length in zip(pages.tolist(), (starts - pages + self.step).tolist(), strict=True):
            _advise(page, length, mmap.MADV_WILLNEED)

    def _advise(self, k: int, advice: int) -> None:
        first = k * (self.span // self.step)
        size = min(self.samples - first, self.span // self.step) * self.step
        _advise(self._address + k * self.span, size, advice)

    def take(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """(n, ...) a copy of rows of shards that are placed, in any order."""
        taken: NDArray[Any] = self.blocks[rows]
        return taken.view(self._dtype).reshape(len(rows), *self._shape)


def _advise(address: int, size: int, advice: int) -> None:
    """Advice: rows are the same whether the system takes it or has no room for it."""
    _functions()["madvise"](address, size, advice)


def _call(name: str, address: int, size: int, *arguments: int) -> None:
    """A call of the C library, which lets other threads of Python run meanwhile."""
    if _functions()[name](address, size, *arguments) in (None, FAILED, -1):
        number = ctypes.get_errno()
        message = f"{name} of {size} bytes failed: {os.strerror(number)}"
        raise failure(StorageFailed, number, message)


@cache
def _functions() -> dict[str, Any]:
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    integers = [ctypes.c_int] * 3
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *integers, ctypes.c_long]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return {"mmap": library.mmap, "madvise": library.madvise}
