"""One Zarr v3 shard as bytes: `sharding_indexed` with the index at the end.

A shard is cut along its first axis only. Inner chunk: little-endian rows, optional Blosc (lz4,
level 5, byte shuffle), crc32c. Index: (offset, length) of each chunk as little-endian uint64,
crc32c. Chunks lie back to back and in order; those wholly beyond the last row are absent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import blosc
from numcodecs.vlen import VLenUTF8
from numpy.typing import NDArray

from pi_cache.errors import CorruptStore

ABSENT = 2**64 - 1
CHECKSUM = 4
RESIDUE = 0x48674BC7
"""CRC32C of any bytes followed by their own CRC32C: checks a chunk without cutting it."""

LZ4_LEVEL = 5
BLOSC_HEADER = 16
CODECS = ("blosc-lz4", "none")

# Blosc's own threads neither survive a fork nor help where every worker has one core.
blosc.use_threads = False


@dataclass(frozen=True, slots=True)
class ShardFormat:
    """Shape and codecs of the shards of one array.

    rows: length of the first axis of a full shard, a multiple of `chunk_rows`.
    row_shape: the other axes. fill: what pads the last chunk; None is NaN for floats, else 0.
    """

    rows: int
    chunk_rows: int
    row_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    codec: str = "blosc-lz4"
    fill: int | None = None

    @property
    def chunks(self) -> int:
        """Inner chunks of a full shard."""
        return self.rows // self.chunk_rows

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a decoded inner chunk."""
        return self.chunk_rows * self.dtype.itemsize * math.prod(self.row_shape)

    @property
    def index_bytes(self) -> int:
        """Bytes of the index with its checksum."""
        return 16 * self.chunks + CHECKSUM

    @property
    def fill_value(self) -> float | int:
        """The number that missing rows read as."""
        if self.fill is not None:
            return self.fill
        return float("nan") if self.dtype.kind == "f" else 0


def encode(rows: NDArray[Any], shard: ShardFormat) -> bytes:
    """The shard that holds `rows` (n, *row_shape), n <= shard.rows."""
    rows = np.ascontiguousarray(rows, dtype=shard.dtype.newbyteorder("<"))
    index = np.full((shard.chunks, 2), ABSENT, dtype="<u8")
    parts: list[bytes] = []
    position = 0
    for k, start in enumerate(range(0, len(rows), shard.chunk_rows)):
        chunk = _encode_chunk(_full_chunk(rows[start : start + shard.chunk_rows], shard), shard)
        size = sum(map(len, chunk))
        index[k] = position, size
        parts += chunk
        position += size
    packed = index.tobytes()
    return b"".join([*parts, packed, _checksum(packed)])


def parse_index(tail: bytes, shard: ShardFormat) -> NDArray[np.int64]:
    """(chunks, 2) offset and length of each chunk, -1 where absent; `tail` ends the shard.

    Raises CorruptStore when the checksum fails.
    """
    if len(tail) != shard.index_bytes or google_crc32c.value(tail) != RESIDUE:
        raise CorruptStore("the shard index is damaged (crc32c)")
    return np.frombuffer(tail[:-CHECKSUM], dtype="<u8").astype(np.int64).reshape(-1, 2)


def decode_chunk(data: bytes, shard: ShardFormat, out: NDArray[Any]) -> None:
    """Decode one inner chunk, checksum included, into the contiguous `out` (chunk_rows, ...).

    Raises CorruptStore when the checksum or the size is wrong.
    """
    if len(data) <= CHECKSUM or google_crc32c.value(data) != RESIDUE:
        raise CorruptStore("an inner chunk is damaged (crc32c)")
    payload = memoryview(data)[:-CHECKSUM]
    size = _unpacked_size(payload) if shard.codec == "blosc-lz4" else len(payload)
    if size != shard.chunk_bytes or out.nbytes != size:
        raise CorruptStore(f"an inner chunk holds {size} bytes, expected {shard.chunk_bytes}")
    target = out.reshape(-1).view(np.uint8)
    if shard.codec == "blosc-lz4":
        blosc.decompress(payload, target)
    else:
        target[:] = np.frombuffer(payload, dtype=np.uint8)


def decode(data: bytes, shard: ShardFormat, rows: int) -> NDArray[Any]:
    """The first `rows` rows of a whole shard; absent chunks read as fill."""
    if len(data) < shard.index_bytes:
        raise CorruptStore(f"a shard of {len(data)} bytes is shorter than its index")
    index = parse_index(data[len(data) - shard.index_bytes :], shard)
    chunks = -(-rows // shard.chunk_rows)
    out = np.full((chunks * shard.chunk_rows, *shard.row_shape), shard.fill_value, shard.dtype)
    for k, (offset, size) in enumerate(index[:chunks].tolist()):
        if offset >= 0:
            here = slice(k * shard.chunk_rows, (k + 1) * shard.chunk_rows)
            decode_chunk(data[offset : offset + size], shard, out[here])
    return out[:rows]


def _full_chunk(rows: NDArray[Any], shard: ShardFormat) -> NDArray[Any]:
    """The chunk padded with fill, as Zarr stores the edge of an array."""
    if len(rows) == shard.chunk_rows:
        return rows
    full = np.full((shard.chunk_rows, *shard.row_shape), shard.fill_value, rows.dtype)
    full[: len(rows)] = rows
    return full


def _encode_chunk(chunk: NDArray[Any], shard: ShardFormat) -> list[bytes]:
    if shard.codec == "blosc-lz4":
        data = blosc.compress(chunk.reshape(-1), b"lz4", LZ4_LEVEL, blosc.SHUFFLE)
    else:
        data = chunk.tobytes()
    return [data, _checksum(data)]


def _checksum(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(CHECKSUM, "little")


def decode_numbers(data: bytes) -> NDArray[np.int64]:
    """The labels of a table chunk. Raises CorruptStore."""
    return np.frombuffer(_unpack(data), dtype="<i8").astype(np.int64)


def decode_strings(data: bytes) -> NDArray[np.object_]:
    """The strings of a table chunk. Raises CorruptStore."""
    strings: NDArray[np.object_] = VLenUTF8().decode(_unpack(data))
    return strings


def _unpack(data: bytes) -> bytes:
    """A table chunk without Blosc and checksum."""
    if len(data) <= CHECKSUM or google_crc32c.value(data) != RESIDUE:
        raise CorruptStore("a table is damaged (crc32c)")
    payload = memoryview(data)[:-CHECKSUM]
    _unpacked_size(payload)
    return bytes(blosc.decompress(payload))


def _unpacked_size(payload: memoryview) -> int:
    """Decoded bytes of a Blosc block, whose header must say how long the block itself is.

    Blosc reads as many bytes as the header says, however few there are.
    """
    packed = int.from_bytes(payload[12:16], "little")
    if len(payload) < BLOSC_HEADER or packed != len(payload):
        raise CorruptStore(f"a Blosc block of {len(payload)} bytes says that it has {packed}")
    return int.from_bytes(payload[4:8], "little")
