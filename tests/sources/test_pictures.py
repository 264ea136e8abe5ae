"""Image files are decoded exactly, and hostile or broken ones are named, never guessed at."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from pi_cache.errors import SampleError
from pi_cache.specs import Status
from pipeline.sources.pictures import LARGEST, decode
from tests.sources.trees import encode, pixels


def refused(data: bytes, status: Status, match: str, **options: tuple[int, int]) -> None:
    with pytest.raises(SampleError, match=match) as caught:
        decode(data, "RGB", **options)
    assert caught.value.status == status


def test_png_is_exact() -> None:
    image = pixels(0)
    assert np.array_equal(decode(encode(image), "RGB", (6, 5)), image)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    array = decode(encode(pixels(1), mode=mode), "RGB")
    assert array.shape == (6, 5, 3)
    assert array.dtype == np.uint8


def test_cmyk_jpeg_becomes_rgb() -> None:
    assert decode(encode(pixels(1, (16, 16)), "jpg", "CMYK"), "RGB").shape == (16, 16, 3)


def test_grey_keeps_one_channel_exactly() -> None:
    image = pixels(2)[:, :, 0]
    assert np.array_equal(decode(encode(image), "L"), image[..., None])


def test_palette_with_transparency_warns_nobody() -> None:
    image = Image.fromarray(pixels(3)).quantize(4)
    stream = io.BytesIO()
    image.save(stream, "PNG", transparency=bytes([0, 128, 255, 255]))
    assert decode(stream.getvalue(), "RGB").shape == (6, 5, 3)


def test_a_truncated_file_is_undecodable_whatever_others_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for suffix in ("png", "jpg"):
        whole = encode(pixels(4, (32, 32)), suffix)
        refused(whole[: len(whole) * 3 // 4], Status.UNDECODABLE, "cannot be decoded")


def test_no_bytes_are_empty() -> None:
    refused(b"", Status.EMPTY, "0 bytes")


@pytest.mark.parametrize("data", [b"hello", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(50)])
def test_other_bytes_are_no_image(data: bytes) -> None:
    refused(data, Status.UNDECODABLE, "cannot be decoded .*; replace it")


def test_other_formats_are_not_even_tried() -> None:
    stream = io.BytesIO()
    Image.fromarray(pixels(5)).save(stream, "TIFF")
    refused(stream.getvalue(), Status.UNDECODABLE, "no PNG or JPEG image")


def test_sixteen_bits_are_refused_and_not_clipped() -> None:
    deep = np.linspace(0, 65535, 30).reshape(6, 5).astype(np.uint16)
    refused(encode(deep), Status.UNDECODABLE, "16 or more bits .* expected 8")


def test_another_size_is_refused_with_the_remedy() -> None:
    refused(encode(pixels(6)), Status.WRONG_SHAPE, "6 x 5 .* expected 8 x 8 .* resize", size=(8, 8))


@pytest.mark.parametrize("side", [5000, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_from_its_header(side: int) -> None:
    assert side * side > LARGEST
    refused(_png_header(side), Status.TOO_LARGE, "pixels|too large")


def _png_header(side: int) -> bytes:
    """A PNG that claims a square of `side` pixels in a few bytes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )
