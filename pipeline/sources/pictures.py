"""From the bytes of an image file to an array, without trusting the bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageFile

from pi_cache.errors import SampleError
from pi_cache.specs import Status

FORMATS = ("PNG", "JPEG")
"""The only decoders that are ever started: each further one is more to attack."""

SUFFIXES = (".png", ".jpg", ".jpeg")
MODES = {"rgb": "RGB", "grey": "L"}
LARGEST = 1 << 24
"""Pixels; a larger image is refused from its header, before anything is decoded."""


def decode(
    data: bytes, mode: str, size: tuple[int, int] | None = None, *, exact: bool = False
) -> np.ndarray:
    """The uint8 array (H, W, 3) of mode "RGB" or (H, W, 1) of mode "L" of a PNG or JPEG file.

    Palette, CMYK and greyscale images are converted, an alpha channel is dropped, EXIF rotation
    is not applied. size: (height, width) that is expected; None takes any. exact: refuse what
    would be converted: pixels are numbers then, and no colours.
    Raises SampleError: UNDECODABLE, EMPTY (no bytes), WRONG_SHAPE or TOO_LARGE.
    """
    with _opened(data) as image:
        _check_size((image.height, image.width), size)
        if exact and image.mode != mode and image.mode[0] not in "IF":
            raise SampleError(
                Status.WRONG_SHAPE,
                f"is a {image.mode} image, expected {mode}; save it as 8-bit grey or RGB without"
                " palette, alpha channel or colour map",
            )
        return _pixels(image, mode)


def mode_of(data: bytes) -> str:
    """The mode of a PNG or JPEG file, such as "L", as its header says. Raises SampleError."""
    with _opened(data) as image:
        return str(image.mode)


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """The image of a file, of which only the header is read. Raises SampleError."""
    if not data:
        raise SampleError(Status.EMPTY, "is a file of 0 bytes; replace it or leave it out")
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # another module may have changed it
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            yield image
    except SampleError:
        raise
    except (MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SampleError(Status.TOO_LARGE, f"is too large to decode ({error})") from error
    except Exception as error:  # decoders raise anything, from SyntaxError to struct.error
        reason = "no PNG or JPEG image" if "cannot identify" in str(error) else str(error)
        message = f"cannot be decoded ({reason}); replace it or leave it out"
        raise SampleError(Status.UNDECODABLE, message) from error


def _check_size(got: tuple[int, int], expected: tuple[int, int] | None) -> None:
    height, width = got
    if height * width > LARGEST:
        message = f"has {height} x {width} pixels, at most {LARGEST} are decoded; make it smaller"
        raise SampleError(Status.TOO_LARGE, message)
    if expected is not None and got != expected:
        raise SampleError(
            Status.WRONG_SHAPE,
            f"has {height} x {width} pixels, expected {expected[0]} x {expected[1]} as in the"
            " first image; resize all images to one size, or leave it out",
        )


def _pixels(image: Image.Image, mode: str) -> np.ndarray:
    if image.mode[0] in "IF":  # Pillow clips 16-bit values at 255 instead of scaling them
        raise SampleError(
            Status.UNDECODABLE,
            f"has 16 or more bits a value ({image.mode}), expected 8;"
            " save it with 8 bits, or all images as a float array and use array:FILE.npy",
        )
    if image.mode != mode:
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")  # straight to RGB, Pillow warns
        image = image.convert(mode)
    return np.asarray(image).reshape(image.height, image.width, -1)
