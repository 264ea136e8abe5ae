"""How a stored sample becomes an image (H, W, C): axes, flattened rows, turned pictures."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pi_cache.errors import SourceError
from pipeline.sources.base import Reader

CHANNELS = ("first", "last")
"""Where the channel axis of an array can lie."""

SQUARE = (
    "a store has as many pixels of birth as of persistence: check --shape and the axes of the array"
)

TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda images: images,
    "flip-rows": lambda images: images[:, ::-1],
    "flip-columns": lambda images: images[:, :, ::-1],
    "rotate-180": lambda images: images[:, ::-1, ::-1],
    "transpose": lambda images: images.swapaxes(1, 2),
    "anti-transpose": lambda images: images[:, ::-1, ::-1].swapaxes(1, 2),
    "rotate-left": lambda images: np.rot90(images, 1, (1, 2)),
    "rotate-right": lambda images: np.rot90(images, -1, (1, 2)),
}
"""What can be done to images (n, H, W, ...) whose axes are not where they belong."""


@dataclass(frozen=True, kw_only=True)
class Axes:
    """From samples (n, ...) as stored to images (n, H, W, C).

    shape: (C, H, W) of a sample. stored: the axes that are not of length 1. last: whether those
    are (H, W, C); else they are (C, H, W), flattened or not.
    """

    shape: tuple[int, int, int]
    stored: tuple[int, ...]
    last: bool = False

    def __call__(self, arrays: np.ndarray) -> np.ndarray:
        """(n, H, W, C)."""
        channels, height, width = self.shape
        if self.last:
            return arrays.reshape(len(arrays), height, width, channels)
        return np.moveaxis(arrays.reshape(len(arrays), *self.shape), 1, -1)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Images (n, H, W, C) turned, with their channels in another order."""

    turn: str = "none"
    order: tuple[int, ...] = ()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Images of the same shape."""
        turned = TURNS[self.turn](images)
        return turned[..., list(self.order)] if self.order else turned


def parse_axes(
    sample: tuple[int, ...],
    *,
    shape: tuple[int, int, int] | None,
    channels: str | None,
    where: str,
) -> Axes:
    """The axes of samples of that stored shape.

    shape: (C, H, W) as stated; needed for a flattened image, unless it has one or three channels.
    channels: `first` or `last`, where squares do not tell. Raises SourceError.
    """
    stored = tuple(size for size in sample if size != 1)
    if shape is None and len(stored) == 1:
        shape = _unflattened(stored[0], where)
    if shape is not None:
        if math.prod(shape) != math.prod(sample):
            raise SourceError(
                f"{where} holds {math.prod(sample)} values a sample, and {shape} are "
                f"{math.prod(shape)}; give the --shape C,H,W of one image"
            )
        found = Axes(shape=shape, stored=stored)
    elif len(stored) == 2:
        found = Axes(shape=(1, stored[0], stored[1]), stored=stored)
    elif len(stored) == 3:
        last = _channels_last(stored, channels, where)
        one, two, three = stored
        size = (three, one, two) if last else (one, two, three)
        found = Axes(shape=size, stored=stored, last=last)
    else:
        raise SourceError(
            f"{where} holds samples of shape {sample}, expected (C, H, W), (H, W, C), (H, W) or a"
            " flattened one; reshape them"
        )
    check_square(found.shape[1:], where)
    return found


def check_square(size: tuple[int, ...], where: str) -> None:
    """Raise SourceError for images that are not square: the grid of a store is."""
    height, width = size
    if height != width:
        raise SourceError(f"{where} holds images of {height} x {width} pixels; {SQUARE}")


def _unflattened(length: int, where: str) -> tuple[int, int, int]:
    """(C, H, W) of a row of values: one square, or three; no number is both."""
    for channels in (1, 3):
        side = math.isqrt(length // channels)
        if channels * side * side == length:
            return channels, side, side
    raise SourceError(
        f"{where} holds {length} values a sample, neither one square image nor three; give the"
        " --shape C,H,W of one image"
    )


def _channels_last(stored: tuple[int, ...], channels: str | None, where: str) -> bool:
    first, last = stored[1] == stored[2], stored[0] == stored[1]
    if channels is not None:
        return channels == "last"
    if first != last:
        return last
    if not first:
        raise SourceError(
            f"{where} holds samples of shape {stored}, square images neither as (C, H, W) nor as"
            f" (H, W, C); {SQUARE}"
        )
    raise SourceError(
        f"{where} holds samples of shape {stored}: (C, H, W) or (H, W, C)? Say --channels first or"
        " --channels last"
    )


@dataclass(frozen=True)
class Changed:
    """The samples of another reader, each changed in the same way."""

    reader: Reader
    change: Axes | Turn

    def read(self, position: int) -> np.ndarray:
        """One sample (H, W, C)."""
        return np.asarray(self.change(self.reader.read(position)[None])[0])

    def read_together(self) -> np.ndarray | None:
        """All samples (n, H, W, C), where they lie together."""
        arrays = self.reader.read_together()
        return None if arrays is None else self.change(arrays)

    def slice(self, start: int, stop: int) -> Changed:
        """A reader of these samples alone."""
        return Changed(self.reader.slice(start, stop), self.change)

    def digests(self) -> Iterator[bytes]:
        """Those of the reader, and one of the change."""
        yield hashlib.sha256(repr(self.change).encode()).digest()
        yield from self.reader.digests()


@dataclass(frozen=True)
class Parts:
    """The samples of several readers, one after the other."""

    readers: tuple[Reader, ...]
    counts: tuple[int, ...]

    def read(self, position: int) -> np.ndarray:
        """One sample."""
        for reader, count in zip(self.readers, self.counts, strict=True):
            if position < count:
                return reader.read(position)
            position -= count
        raise IndexError(f"there is no sample {position} after the last")

    def read_together(self) -> np.ndarray | None:
        """All samples as one array, where each part is one."""
        arrays = [reader.read_together() for reader in self.readers]
        whole = [array for array in arrays if array is not None]
        return np.concatenate(whole) if len(whole) == len(arrays) else None

    def slice(self, start: int, stop: int) -> Parts:
        """A reader of these samples alone."""
        kept: list[tuple[Any, int]] = []
        first = 0
        for reader, count in zip(self.readers, self.counts, strict=True):
            low, high = max(start - first, 0), min(stop - first, count)
            if low < high:
                kept.append((reader.slice(low, high), high - low))
            first += count
        return Parts(tuple(reader for reader, _ in kept), tuple(count for _, count in kept))

    def digests(self) -> Iterator[bytes]:
        """Those of each part."""
        for reader in self.readers:
            yield from reader.digests()


@dataclass(frozen=True)
class Beside:
    """The channels of several readers of the same samples, one after the other."""

    readers: tuple[Reader, ...]

    def read(self, position: int) -> np.ndarray:
        """One sample (H, W, C). Raises SampleError where any part of it is not usable."""
        return np.concatenate([reader.read(position) for reader in self.readers], axis=-1)

    def read_together(self) -> None:
        """None: the samples are read one by one."""

    def slice(self, start: int, stop: int) -> Beside:
        """A reader of these samples alone."""
        return Beside(tuple(reader.slice(start, stop) for reader in self.readers))

    def digests(self) -> Iterator[bytes]:
        """Those of each reader."""
        for reader in self.readers:
            yield from reader.digests()
