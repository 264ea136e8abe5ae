"""One shard on disk, opened and checked: rows by number, decoded or from the map."""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cache import files
from pi_cache.checked import Identity
from pi_cache.errors import CorruptStore, StorageFailed
from pi_cache.failures import failed
from pi_cache.manifest import FileEntry
from pi_cache.shards import (
    BLOSC_HEADER,
    CHECKSUM,
    ShardFormat,
    Stored,
    check_block,
    decode_chunk,
    parse_index,
)

BLOCK = 1 << 22
"""Bytes hashed at a time: many, as a thread beside a busy one waits for Python each time."""
CHANGES = 3
"""How often a file is hashed anew that changed while it was hashed."""

TOGETHER = 1 << 19
"""Bytes of chunks that lie back to back and are read by one call: few enough for a core's cache."""

OPEN_SHARDS = 256
"""Shards of a store that are kept open at most; `most_open` may say fewer."""
DESCRIPTORS = 2
"""Held by a shard: one to read it, and where it is mapped one of the map's own."""

REMEDY = "run pi-cache repair, which computes only the damaged shards again"


class OpenFile:
    """A file open for reading at any position; closed when nobody holds it any more.

    Positions are passed with every read, so that forked processes can share it.
    Raises CorruptStore when the file is missing or of another size than its entry says.
    """

    def __init__(self, path: Path, entry: FileEntry) -> None:
        self.path = path
        self.entry = entry
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # else a pipe would wait for a writer
        with typed(path):
            self.handle: int = files._call("open", path, path, flags)
        self.identity = self._identify()
        if self.identity.size != entry.size:
            raise CorruptStore(
                f"{path}: {self.identity.size} bytes, the manifest says {entry.size}; {REMEDY}"
            )

    def __del__(self, close: Any = os.close) -> None:
        if hasattr(self, "handle"):
            close(self.handle)

    def verify(self, step: Callable[[], object] = bool) -> None:
        """Raise CorruptStore unless the SHA-256 of the whole file is the entry's.

        Afterwards `identity` is that of the file which was hashed. step: called before each block;
        what it raises ends the hashing.
        """
        for _ in range(CHANGES):
            before = self._identify()
            found = self._sha256(step)
            self.identity = self._identify()
            if self.identity == before:
                break
        else:
            raise CorruptStore(f"{self.path}: changes while it is read; nothing may write there")
        if found != self.entry.sha256:
            raise CorruptStore(
                f"{self.path}: expected SHA-256 {self.entry.sha256}, got {found}; {REMEDY}"
            )

    def has_changed(self) -> bool:
        """Whether somebody has written to this file since it was opened or hashed."""
        before, now = self.identity, self._identify()
        return (now.size, now.modified) != (before.size, before.modified)

    def _identify(self) -> Identity:
        with typed(self.path):
            return Identity.of(files._call("fstat", self.path, self.handle))

    def _sha256(self, step: Callable[[], object]) -> str:
        sha256 = hashlib.sha256()
        for start in range(0, self.entry.size, BLOCK):
            step()
            sha256.update(self.read(start, min(BLOCK, self.entry.size - start)))
        return sha256.hexdigest()

    def read(self, start: int, size: int) -> bytes:
        """`size` bytes from position `start`. Raises CorruptStore when the file is shorter."""
        with typed(self.path):
            return self._read(start, size)

    def _read(self, start: int, size: int) -> bytes:
        data: bytes = files._call("pread", self.path, self.handle, size, start)
        while len(data) < size:
            place = start + len(data)
            more = files._call("pread", self.path, self.handle, size - len(data), place)
            if not more:
                raise CorruptStore(f"{self.path}: ends at byte {place}; {REMEDY}")
            data += more
        return data


class ShardFile:
    """Rows of one shard, of which the file has been checked as the caller wants."""

    def __init__(self, file: OpenFile, shard: ShardFormat) -> None:
        self.file = file
        self.shard = shard
        size = file.entry.size
        if size < shard.index_bytes:
            raise CorruptStore(f"{file.path}: {size} bytes are fewer than its index has")
        tail = file.read(size - shard.index_bytes, shard.index_bytes)
        with located(file.path):
            self.index = parse_index(tail, shard)
        self._check_index()
        self.chunk_places: list[list[int]] = self.index.tolist()
        self.view = self._map() if shard.codec == "none" and shard.chunk_rows == 1 else None

    def read_rows(
        self, rows: NDArray[np.intp], out: NDArray[Any], places: slice | NDArray[np.intp]
    ) -> None:
        """Put these rows at `places` of `out`; fastest when rows ascend and places is a slice."""
        if self.view is not None:
            self._check_present(int(rows.max(initial=-1)) + 1)
            out[places] = self.view[rows]
            return
        if isinstance(places, slice):
            self._decode_rows(rows, out[places], None)
        else:
            self._decode_rows(rows, out, places)

    def _decode_rows(
        self, rows: NDArray[np.intp], out: NDArray[Any], places: NDArray[np.intp] | None
    ) -> None:
        """Decode each chunk once, into `out` itself where its rows come there as they lie in it."""
        if not len(rows):
            return
        size = self.shard.chunk_rows
        if size == 1:
            spots = range(len(rows)) if places is None else places.tolist()
            for data, spot in zip(self._chunks(rows.tolist()), spots, strict=True):
                self._decode(data, out[spot : spot + 1])
            return
        chunks = rows // size
        cuts = [0, *(np.flatnonzero(np.diff(chunks)) + 1).tolist(), len(rows)]
        order = np.arange(len(rows)) if places is None else places
        whole = (np.diff(cuts) == size) & _each_rising(rows, cuts)
        direct = (whole & _each_rising(order, cuts)).tolist()
        inside, first = rows - chunks * size, order[cuts[:-1]].tolist()
        scratch = self._scratch()
        chunk, blocks = as_blocks(scratch), as_blocks(out)
        stored = self._chunks(chunks[cuts[:-1]].tolist())
        for part, (data, all_rows) in enumerate(zip(stored, whole.tolist(), strict=True)):
            a, b = cuts[part], cuts[part + 1]
            if direct[part]:
                self._decode(data, out[first[part] : first[part] + size])
                continue
            self._decode(data, scratch)
            blocks[order[a:b]] = chunk if all_rows else chunk[inside[a:b]]

    def read_range(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Fill `out` with rows start..stop."""
        if self.view is not None:
            self._check_present(stop)
            out[...] = self.view[start:stop]
            return
        size = self.shard.chunk_rows
        chunks = range(start // size, -(-stop // size))
        for k, data in zip(chunks, self._chunks(chunks), strict=True):
            first, last = max(start, k * size), min(stop, (k + 1) * size)
            target = out[first - start : last - start]
            if last - first == size:
                self._decode(data, target)
            else:
                scratch = self._scratch()
                self._decode(data, scratch)
                target[...] = scratch[first - k * size : last - k * size]

    def _scratch(self) -> NDArray[Any]:
        return np.empty((self.shard.chunk_rows, *self.shard.row_shape), self.shard.dtype)

    def _decode(self, data: Stored, out: NDArray[Any]) -> None:
        try:  # and no context manager, which would cost a tenth of a small chunk
            decode_chunk(data, self.shard, out)
        except (CorruptStore, RuntimeError, ValueError) as error:
            raise CorruptStore(f"{self.file.path}: {error}") from error

    def _chunks(self, numbers: Sequence[int]) -> Iterator[Stored]:
        """The stored bytes of these chunks, those that lie back to back read together."""
        places = [self.chunk_places[k] for k in numbers]
        done = 0
        with typed(self.file.path):
            while done < len(places):
                start, size = places[done]
                if start < 0:
                    raise CorruptStore(f"{self.file.path}: inner chunk {numbers[done]} is missing")
                end, ready = start + size, done + 1
                while ready < len(places) and places[ready][0] == end and end - start < TOGETHER:
                    end += places[ready][1]
                    ready += 1
                data = self.file._read(start, end - start)
                if ready == done + 1:
                    yield data
                else:
                    yield from _cut(data, places[done:ready])
                done = ready

    def _check_index(self) -> None:
        """Every chunk lies inside the file; so a damaged index reads no foreign bytes."""
        offset, size = self.index.T
        end = self.file.entry.size - self.shard.index_bytes
        present = offset != -1
        bad = (size != -1) ^ present
        bad |= present & ((offset < 0) | (size < CHECKSUM) | (offset > end - size))
        if bad.any():
            raise CorruptStore(f"{self.file.path}: the shard index points outside the shard")

    def check_blocks(self) -> None:
        """Raise CorruptStore unless all chunks say how long they are: other decoders trust them."""
        for offset, size in self.chunk_places:
            if offset >= 0:
                header = self.file.read(offset, min(size, BLOSC_HEADER))
                with located(self.file.path):
                    check_block(header, size, self.shard)

    def _map(self) -> NDArray[Any] | None:
        """(rows, ...) over the file itself, when its chunks lie back to back as we write them."""
        step = self.shard.chunk_bytes + CHECKSUM
        rows = int((self.index[:, 0] >= 0).sum())
        if not rows or not np.array_equal(
            self.index[:rows], np.stack([np.arange(rows) * step, np.full(rows, step)], axis=1)
        ):
            return None
        with typed(self.file.path):
            memory = mmap.mmap(self.file.handle, 0, access=mmap.ACCESS_READ)
        strides = (step, *np.empty((1, *self.shard.row_shape), self.shard.dtype).strides[1:])
        return np.ndarray(
            (rows, *self.shard.row_shape), self.shard.dtype, buffer=memory, strides=strides
        )

    def _check_present(self, rows: int) -> None:
        if self.view is not None and rows > len(self.view):
            raise CorruptStore(f"{self.file.path}: inner chunk {rows - 1} is missing")


def _each_rising(values: NDArray[np.intp], cuts: list[int]) -> NDArray[np.bool_]:
    """Of each part between two cuts, whether every value is one more than the one before."""
    breaks = np.concatenate(([0], np.cumsum(np.diff(values) != 1)))
    return np.asarray(breaks[np.array(cuts[1:]) - 1] == breaks[cuts[:-1]])


def _cut(data: bytes, places: list[list[int]]) -> Iterator[Stored]:
    """Parts of bytes that were read from the first place on; a memoryview has no crc32c."""
    array = np.frombuffer(data, np.uint8)
    start = places[0][0]
    for offset, size in places:
        yield array[offset - start : offset - start + size]


def as_blocks(rows: NDArray[Any]) -> NDArray[np.void]:
    """(n,) a view of rows (n, ...), each one block of bytes, which numpy moves much faster."""
    size = rows.dtype.itemsize * math.prod(rows.shape[1:])
    return np.ndarray((len(rows),), f"V{size}", buffer=rows, strides=(size,))


def most_open() -> int:
    """Shards to keep open: those of a store use at most half of the process's descriptors."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return OPEN_SHARDS
    return max(1, min(OPEN_SHARDS, limit // 2 // DESCRIPTORS))


@contextmanager
def typed(path: Path) -> Iterator[None]:
    """Turn a failed call into CorruptStore (the file is gone) or StorageFailed."""
    try:
        yield
    except (CorruptStore, StorageFailed):
        raise
    except FileNotFoundError:
        raise CorruptStore(f"{path}: the file is missing; {REMEDY}") from None
    except OSError as error:
        raise failed(error, "reading", path) from error


@contextmanager
def located(path: Path) -> Iterator[None]:
    """Put the path before what a decoder complains about."""
    try:
        yield
    except (CorruptStore, RuntimeError, ValueError) as error:
        raise CorruptStore(f"{path}: {error}") from error
