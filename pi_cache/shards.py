"""One Zarr v3 shard as bytes: `sharding_indexed` with the index at the end.

A shard is cut along its first axis only. Inner chunk: little-endian rows, optional Blosc (lz4,
level 5, byte shuffle), crc32c. Index: (offset, length) of each chunk as little-endian uint64,
crc32c. Chunks lie back to back and in order; those wholly beyond the last row are absent.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import blosc
from numcodecs.vlen import VLenUTF8
from numpy.typing import NDArray

from pi_cache.errors import CorruptStore, InvalidSpec
from pi_cache.unpacking import unpack

ABSENT = 2**64 - 1
CHECKSUM = 4
RESIDUE = 0x48674BC7
"""CRC32C of any bytes followed by their own CRC32C: checks a chunk without cutting it."""

LZ4_LEVEL = 5
BLOSC_HEADER = 16
SIZES = struct.Struct("<3I")
"""Bytes 4 to 15 of a Blosc header: decoded bytes, bytes of an inner block, encoded bytes."""
NUMBER = 8
"""Bytes of a label."""
STRING_PREFIX = 4
"""Bytes of the number before all strings of a table, and of the length before each."""
Stored = bytes | NDArray[np.uint8]
"""Bytes of a chunk as they lie in a file, or a part of them without a copy."""
CODECS = ("blosc-lz4", "none")
POINT_CODEC = "blosc-zstd"
"""Of diagram points: their numbers repeat whole, which lz4 with its bytes shuffled cannot see."""
ZSTD_LEVEL = 1

CHUNK_LIMIT = 1 << 30
"""Bytes that an inner chunk has at most, decoded: what reading one sample can cost in memory."""
MOST_CHUNKS = 1 << 22
"""Inner chunks of a shard at most, whose index then has 64 MiB."""

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

    def __post_init__(self) -> None:
        if self.chunk_bytes > CHUNK_LIMIT:
            raise InvalidSpec(
                f"an inner chunk of {self.chunk_rows} rows {self.row_shape} of {self.dtype} has"
                f" {self.chunk_bytes} bytes, at most {CHUNK_LIMIT} are read at once; take fewer"
                " samples a chunk, or a shard where rows are small"
            )
        if self.chunks > MOST_CHUNKS:
            raise InvalidSpec(
                f"a shard of {self.rows} rows has {self.chunks} inner chunks, at most"
                f" {MOST_CHUNKS} are read; take fewer samples a shard, or more a chunk"
            )

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


def decode_chunk(data: Stored, shard: ShardFormat, out: NDArray[Any]) -> None:
    """Decode one inner chunk, checksum included, into the contiguous `out` (chunk_rows, ...).

    Raises CorruptStore when the checksum or the size is wrong.
    """
    if len(data) <= CHECKSUM or google_crc32c.value(data) != RESIDUE:
        raise CorruptStore("an inner chunk is damaged (crc32c)")
    size, packed = len(data) - CHECKSUM, shard.codec != "none"
    if packed:
        size = _unpacked_size(data, size)
    if size != out.nbytes:
        raise CorruptStore(f"an inner chunk holds {size} bytes, expected {out.nbytes}")
    if packed:
        unpack(data, out)
    else:
        out.reshape(-1).view(np.uint8)[:] = np.frombuffer(data, np.uint8, size)


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
    elif shard.codec == POINT_CODEC:
        data = blosc.compress(chunk.reshape(-1), b"zstd", ZSTD_LEVEL, blosc.BITSHUFFLE)
    else:
        data = chunk.tobytes()
    return [data, _checksum(data)]


def _checksum(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(CHECKSUM, "little")


def decode_numbers(data: bytes, count: int | None = None) -> NDArray[np.int64]:
    """The labels of a table chunk. Raises CorruptStore, also when there are not `count`."""
    packed = _unpack(data)
    _check_count(len(packed) / NUMBER, count)
    return np.frombuffer(packed, dtype="<i8").astype(np.int64)


def decode_strings(data: bytes, count: int | None = None) -> NDArray[np.object_]:
    """The strings of a table chunk. Raises as `decode_numbers`."""
    strings: NDArray[np.object_] = VLenUTF8().decode(_packed_strings(data, count))
    return strings


def check_table(data: bytes, count: int, *, numbers: bool) -> None:
    """Raise CorruptStore unless any decoder makes `count` entries of a table chunk, or fails."""
    if numbers:
        decode_numbers(data, count)
    else:
        _packed_strings(data, count)


def check_block(header: bytes, size: int, shard: ShardFormat) -> None:
    """Raise CorruptStore unless an inner chunk of `size` bytes, checksum included, fits its shard.

    header: its first bytes. Blosc reads and writes as many bytes as its header says.
    """
    size -= CHECKSUM
    unpacked = size if shard.codec == "none" else _unpacked_size(header, size)
    if unpacked != shard.chunk_bytes:
        raise CorruptStore(f"an inner chunk holds {unpacked} bytes, expected {shard.chunk_bytes}")


def _packed_strings(data: bytes, count: int | None) -> bytes:
    packed = _unpack(data)
    found = int.from_bytes(packed[:STRING_PREFIX], "little")
    if len(packed) < STRING_PREFIX * (found + 1):  # before room is made for so many
        raise CorruptStore(f"a table of {len(packed)} bytes says that it has {found} strings")
    _check_count(found, count)
    return packed


def _check_count(found: float, count: int | None) -> None:
    if count is not None and found != count:
        raise CorruptStore(f"a table has {found:g} entries, the store {count} samples")


def _unpack(data: bytes) -> bytes:
    """A table chunk without Blosc and checksum."""
    if len(data) <= CHECKSUM or google_crc32c.value(data) != RESIDUE:
        raise CorruptStore("a table is damaged (crc32c)")
    payload = memoryview(data)[:-CHECKSUM]
    _unpacked_size(payload, len(payload))
    return bytes(blosc.decompress(payload))


def _unpacked_size(header: Stored | memoryview, size: int) -> int:
    """Decoded bytes of a Blosc block of `size` bytes, which its header must say too."""
    known = len(header) >= BLOSC_HEADER
    unpacked, _, packed = SIZES.unpack_from(header, 4) if known else (0, 0, 0)  # type: ignore[arg-type]
    if size < BLOSC_HEADER or packed != size:
        raise CorruptStore(f"a Blosc block of {size} bytes says that it has {packed}")
    return int(unpacked)
