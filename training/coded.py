"""Points of diagrams in as few bytes as hold them exactly.

The births of 8-bit images are a few hundred distinct numbers, and those of a sensor of twelve bits
a few thousand: a code of one or two bytes stands for each. Where there are more, points
are held as float32, if that changes none of them, and else as float64.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MOST = 2**16
"""Distinct numbers that codes can stand for."""

Points = NDArray[np.float64]


class CodedPoints(NamedTuple):
    """Points (N, 2), one array on one device.

    held: codes (uint8, or int16 from -32768 on), or the points themselves. books: (2, K) float64
    numbers of the codes of births and of deaths, None where points are held as they are.
    """

    held: Tensor
    books: Tensor | None

    @property
    def bytes(self) -> int:
        """Bytes of memory."""
        books = 0 if self.books is None else self.books.nbytes
        return self.held.nbytes + books

    @property
    def form(self) -> str:
        """How points are held, in words."""
        if self.books is None:
            return str(self.held.dtype).removeprefix("torch.")
        distinct = self.books.shape[1]
        return f"codes of {self.held.element_size()} B for at most {distinct:,} distinct numbers"

    def take(self, numbers: Tensor) -> Tensor:
        """(n, 2) points of these numbers (n,), as they were given."""
        found = self.held.index_select(0, numbers)
        if self.books is None:
            return found
        codes = found.to(torch.int64)
        if self.held.dtype == torch.int16:
            codes += MOST // 2
        codes[:, 1] += self.books.shape[1]
        return self.books.ravel().index_select(0, codes.ravel()).view(-1, 2)


def code_points(blocks: Iterable[Points], device: torch.device) -> CodedPoints:
    """All points of some blocks (n, 2), coded block after block.

    Births and deaths have a book each: those of 8-bit images have 256 numbers at most, of which
    the largest is no birth and the smallest no death, but infinity is one.
    """
    books, coded = (Codebook(), Codebook()), True
    held: list[NDArray[Any]] = []
    for block in blocks:
        codes = _encode(block, books) if coded else None
        if coded and codes is None:
            coded, held = False, [_decode(known, books) for known in held]
        held.append(block if codes is None else codes)
    values = np.concatenate(held) if held else np.empty((0, 2), np.uint16)
    held.clear()
    if coded:
        return CodedPoints(_codes(values, books).to(device), _both(books).to(device))
    with np.errstate(over="ignore"):  # then they are not the same
        narrow = values.astype(np.float32)
    exact = bool((narrow == values).all()) or device.type == "mps"  # which has no float64
    return CodedPoints(torch.from_numpy(narrow if exact else values).to(device), None)


def _encode(points: Points, books: tuple[Codebook, Codebook]) -> NDArray[np.uint16] | None:
    """(n, 2) codes, None where there are too many."""
    births, deaths = (book.encode(points[:, k]) for k, book in enumerate(books))
    return None if births is None or deaths is None else np.column_stack([births, deaths])


def _decode(codes: NDArray[np.uint16], books: tuple[Codebook, Codebook]) -> Points:
    return np.column_stack([book.values[codes[:, k]] for k, book in enumerate(books)])


def _both(books: tuple[Codebook, Codebook]) -> Tensor:
    """(2, K) float64, the shorter book with zeros after it."""
    both = np.zeros((2, max(len(book.values) for book in books)))
    for row, book in zip(both, books, strict=True):
        row[: len(book.values)] = book.values
    return torch.from_numpy(both)


def _codes(codes: NDArray[np.uint16], books: tuple[Codebook, Codebook]) -> Tensor:
    if max(len(book.values) for book in books) <= 256:
        return torch.from_numpy(codes.astype(np.uint8))
    return torch.from_numpy((codes.astype(np.int32) - MOST // 2).astype(np.int16))


class Codebook:
    """The distinct numbers met so far, in that order; a code is a place among them."""

    def __init__(self) -> None:
        self.values: Points = np.empty(0)
        self._order: NDArray[np.intp] = np.empty(0, np.intp)

    def encode(self, values: Points) -> NDArray[np.uint16] | None:
        """(n,) the code of each value; None where there would be more codes than MOST."""
        codes, known = self._find(values)
        if known.all():
            return codes
        new = np.unique(values[~known])
        if len(self.values) + len(new) > MOST:
            return None
        self.values = np.concatenate([self.values, new])
        self._order = np.argsort(self.values, kind="stable")
        return self._find(values)[0]

    def _find(self, values: Points) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
        if not len(self.values):
            return np.zeros(len(values), np.uint16), np.zeros(len(values), np.bool_)
        place = np.searchsorted(self.values, values, sorter=self._order)
        codes = self._order[np.minimum(place, len(self._order) - 1)]
        return codes.astype(np.uint16), self.values[codes] == values
