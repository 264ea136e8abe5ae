"""Blosc called past numcodecs gives the same bytes, and touches no others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numcodecs import blosc

from pi_cache import unpacking
from pi_cache.unpacking import unpack

KINDS = st.sampled_from(["u1", "<f2", "<f4", "<i8"])
FILLED = 0xA5


@pytest.fixture(params=["direct", "by numcodecs"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "by numcodecs":
        monkeypatch.setattr(unpacking, "_function", lambda: None)
    elif unpacking._function() is None:
        pytest.skip("this numcodecs does not show the functions of C-Blosc")
    return str(request.param)


def packed(rows: np.ndarray, codec: bytes = b"lz4") -> bytes:
    return bytes(blosc.compress(np.ascontiguousarray(rows).reshape(-1), codec, 5, blosc.SHUFFLE))


@given(KINDS.flatmap(lambda kind: arrays.arrays(kind, (3, 40), elements={"min_value": 0})))
def test_what_was_packed_comes_back(rows: np.ndarray) -> None:
    """From bytes or an array, with a checksum behind; into the middle of other memory."""
    for codec in (b"lz4", b"zstd"):
        data = packed(rows, codec) + b"four"
        for block in (
            data,
            np.frombuffer(data, np.uint8),
            np.frombuffer(b"x" + data, np.uint8)[1:],
        ):
            whole = np.full((5, rows.nbytes), FILLED, np.uint8)
            target = whole[1:4].reshape(-1)[: rows.nbytes].view(rows.dtype).reshape(rows.shape)
            unpack(block, target)
            np.testing.assert_array_equal(target.view(np.uint8), rows.view(np.uint8))
            rest = np.concatenate([whole[0], whole[1:].reshape(-1)[rows.nbytes :]])
            assert (rest == FILLED).all(), "other memory was written to"


def test_both_ways_give_the_same(way: str) -> None:
    rows = np.random.default_rng(0).normal(size=(8, 3, 50, 50)).astype(np.float16)
    found = np.zeros_like(rows)
    unpack(packed(rows), found)
    np.testing.assert_array_equal(found, rows)


def test_memory_that_cannot_be_filled_is_refused() -> None:
    """numcodecs writes into read-only memory."""
    if unpacking._function() is None:
        pytest.skip("this numcodecs does not show the functions of C-Blosc")
    rows = np.arange(100, dtype=np.float32).reshape(10, 10)
    sealed = np.zeros_like(rows)
    sealed.flags.writeable = False
    for out in (np.zeros((10, 20), np.float32)[:, ::2], sealed):
        with pytest.raises(TypeError, match=r"not C contiguous|not writable"):
            unpack(packed(rows), out)
        assert not out.any()


def test_a_block_of_another_size_is_refused(way: str) -> None:
    block = packed(np.arange(100, dtype=np.float32))
    with pytest.raises((RuntimeError, ValueError), match=r"Blosc decoded -1|too small"):
        unpack(block, np.zeros(99, np.float32))


def test_a_damaged_block_is_refused(way: str) -> None:
    block = bytearray(packed(np.repeat(np.arange(64, dtype=np.float32), 64)))
    block[20:40] = b"\xff" * 20
    with pytest.raises(RuntimeError, match=r"[Bb]losc dec"):
        unpack(bytes(block), np.zeros(64 * 64, np.float32))
