"""Shards as bytes: what goes in comes out, and zarr-python agrees on every byte it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pi_cache.errors import CorruptStore, InvalidSpec
from pi_cache.layout import Column, standard_columns
from pi_cache.shards import (
    CHECKSUM,
    CHUNK_LIMIT,
    CODECS,
    MOST_CHUNKS,
    POINT_CODEC,
    RESIDUE,
    ShardFormat,
    decode,
    decode_chunk,
    decode_numbers,
    encode,
    google_crc32c,
    parse_index,
)
from pi_cache.store import begin
from tests.pi_cache.made import CHANNELS, make_spec, make_table

DTYPES = ["float16", "float32", "float64", "uint8", "int64"]


@st.composite
def shards(draw: st.DrawFn) -> tuple[ShardFormat, NDArray[Any]]:
    chunk = draw(st.integers(1, 5))
    shard = ShardFormat(
        rows=chunk * draw(st.integers(1, 5)),
        chunk_rows=chunk,
        row_shape=draw(st.sampled_from([(), (2,), (3, 4)])),
        dtype=np.dtype(draw(st.sampled_from(DTYPES))),
        codec=draw(st.sampled_from((*CODECS, POINT_CODEC))),
    )
    count = draw(st.integers(0, shard.rows))
    return shard, draw(hnp.arrays(shard.dtype, (count, *shard.row_shape)))


@settings(max_examples=200, deadline=None)
@given(shards())
def test_round_trip(case: tuple[ShardFormat, NDArray[Any]]) -> None:
    shard, rows = case
    data = encode(rows, shard)
    assert data == encode(rows.copy(), shard)
    np.testing.assert_array_equal(decode(data, shard, len(rows)), rows)
    index = parse_index(data[-shard.index_bytes :], shard)
    present = -(-len(rows) // shard.chunk_rows)
    assert (index[present:] == -1).all()
    starts, sizes = index[:present].T
    assert starts.tolist() == np.concatenate([[0], np.cumsum(sizes)])[:present].tolist()
    assert sizes.sum() + shard.index_bytes == len(data)


@settings(max_examples=200, deadline=None)
@given(case=shards(), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_raises(
    case: tuple[ShardFormat, NDArray[Any]], where: float, bit: int
) -> None:
    shard, rows = case
    data = bytearray(encode(rows, shard))
    data[int(where * len(data))] ^= 1 << bit
    with pytest.raises(CorruptStore, match=r"damaged|holds"):
        decode(bytes(data), shard, len(rows))


def test_byte_order_of_the_input_does_not_matter() -> None:
    shard = ShardFormat(8, 4, (), np.dtype("f4"))
    rows = np.arange(8, dtype="f4")
    assert encode(rows.astype(">f4"), shard) == encode(rows, shard)


def test_padding_is_fill_and_absent_rows_read_as_fill() -> None:
    shard = ShardFormat(8, 4, (), np.dtype("f4"))
    rows = decode(encode(np.ones(3, "f4"), shard), shard, 8)
    np.testing.assert_array_equal(rows, [1, 1, 1, *[np.nan] * 5])
    status = ShardFormat(8, 4, (), np.dtype("u1"), fill=255)
    assert decode(encode(np.ones(3, "u1"), status), status, 5).tolist() == [1, 1, 1, 255, 255]


def test_wrong_sizes_are_refused() -> None:
    shard = ShardFormat(8, 4, (), np.dtype("f4"))
    data = encode(np.ones(8, "f4"), shard)
    with pytest.raises(CorruptStore, match="shorter than its index"):
        decode(data[:5], shard, 8)
    with pytest.raises(CorruptStore, match="holds 16 bytes, expected 32"):
        decode(data, ShardFormat(8, 4, (), np.dtype("f8")), 8)


@pytest.mark.parametrize("claim", [0, 8, -1, 1, 2**31 - 1])
def test_a_blosc_header_that_lies_is_refused(claim: int) -> None:
    """Blosc itself would read beyond the chunk. -1 and 1: one byte fewer or more than there are."""
    shard = ShardFormat(64, 64, (9,), np.dtype("f4"))
    data = encode(np.arange(64 * 9, dtype="f4").reshape(64, 9), shard)
    chunk = bytearray(data[: -shard.index_bytes - CHECKSUM])
    size = claim if abs(claim) != 1 else len(chunk) + claim
    chunk[12:16] = size.to_bytes(4, "little")
    sealed = bytes(chunk) + google_crc32c.value(bytes(chunk)).to_bytes(CHECKSUM, "little")
    out = np.empty((64, 9), "f4")
    with pytest.raises(CorruptStore, match=f"says that it has {size}"):
        decode_chunk(sealed, shard, out)
    with pytest.raises(CorruptStore, match=f"says that it has {size}"):
        decode_numbers(sealed)


@pytest.mark.parametrize(
    ("rows", "chunk", "shape", "message"),
    [
        (8, 8, (1 << 28,), "rows .* of float32 has 8589934592 bytes, at most 1073741824"),
        (8, 1, (1 << 32, 1 << 32), "rows .* has 73786976294838206464 bytes"),
        (1 << 60, 1 << 60, (), "bytes, at most 1073741824 are read at once; take fewer samples"),
        (1 << 60, 1, (2,), "inner chunks, at most 4194304 are read; take fewer samples a shard"),
    ],
)
def test_what_no_reader_could_hold_is_refused(
    rows: int, chunk: int, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message):
        ShardFormat(rows, chunk, shape, np.dtype("f4"))


def test_the_largest_chunk_and_index() -> None:
    assert ShardFormat(1, 1, (1 << 28,), np.dtype("f4")).chunk_bytes == CHUNK_LIMIT
    assert ShardFormat(MOST_CHUNKS, 1, (), np.dtype("f4")).index_bytes == (64 << 20) + CHECKSUM


def test_a_column_too_large_is_named_before_anything_is_written(tmp_path: Path) -> None:
    spec = make_spec(3)
    wide = Column(name="inputs", shape=(1 << 40,), dtype="uint8", dimensions=("time",))
    columns = standard_columns(spec.image, CHANNELS, inputs=wide)
    with pytest.raises(InvalidSpec, match="inputs: an inner chunk of 8 rows"):
        begin(tmp_path, spec, make_table(3), columns)
    assert list(tmp_path.rglob("data.zarr")) == []
    assert not (tmp_path / "stores" / spec.key / "blueprint.json").exists()


def test_residue_is_what_any_checksum_gives() -> None:
    for data in (b"", b"a", bytes(1000)):
        checksum = google_crc32c.value(data).to_bytes(CHECKSUM, "little")
        assert google_crc32c.value(data + checksum) == RESIDUE


def test_points_that_repeat_take_little() -> None:
    """Births and deaths of 8-bit images: sixteen bytes a point become three or four."""
    levels = np.random.default_rng(0).integers(0, 256, (16_384, 2)) / 255
    points = np.sort(levels, axis=1)
    sizes = {}
    for codec in ("blosc-lz4", POINT_CODEC):
        shard = ShardFormat(16_384, 16_384, (2,), np.dtype("float64"), codec)
        data = encode(points, shard)
        np.testing.assert_array_equal(decode(data, shard, len(points)), points)
        sizes[codec] = len(data)
    assert sizes[POINT_CODEC] < 5 * len(points) < sizes["blosc-lz4"] / 2


def test_only_points_have_a_codec_of_their_own() -> None:
    for wrong in ({"codec": "zip", "ragged": True}, {"codec": POINT_CODEC}):
        with pytest.raises(InvalidSpec, match="codec must be blosc-zstd, of points only"):
            Column(name="x", shape=(2,), dtype="float64", dimensions=("d",), **wrong)  # type: ignore[arg-type]
    points = {c.name: c for c in standard_columns(make_spec().image, CHANNELS)}["points"]
    assert points.to_dict()["codec"] == POINT_CODEC
    older = Column(**{k: v for k, v in points.to_dict().items() if k != "codec"})
    assert "codec" not in older.to_dict(), "its digest stays as it was"
