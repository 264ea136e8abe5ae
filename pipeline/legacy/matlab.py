"""One numeric array of a MATLAB file of version 5 to 7, whole; nothing but numbers is ever read.

A parser of our own, since that of SciPy crashes the process on some damaged files. The file is a
header of 128 bytes, then elements: a tag (type, size) and data padded to 8 bytes. A matrix is an
element of elements: flags, dimensions, name, values by columns; or its zlib stream.
Reference: MathWorks, MAT-File Format, chapter 1, level 5.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from pi_cache.errors import SourceError

HEADER = 128
MATRIX, COMPRESSED = 14, 15
STORED = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
"""Types of stored values."""
CLASSES = {
    6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8",
}  # fmt: skip
"""Classes of arrays that are read, with the type of their values."""
OTHERS = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 16: "function", 17: "opaque"}
IS_COMPLEX = 0x0800
LARGEST = 1 << 31
"""Bytes of an array: more does not fit into these versions of the format."""
HEAD = 1 << 14
"""Bytes of a compressed matrix that are looked at to learn its name and size."""
HDF5 = (b"MATLAB 7.3", b"\x89HDF")


class _Broken(ValueError):
    """Bytes that are no such file."""


@dataclass(frozen=True)
class _Element:
    """A matrix in a file. body: its elements, or the zlib stream that holds it."""

    name: str
    shape: tuple[int, ...]
    kind: int
    complex: bool
    body: memoryview
    compressed: bool

    def __str__(self) -> str:
        kind = OTHERS.get(self.kind, "?")
        if self.kind in CLASSES:
            kind = "complex" if self.complex else np.dtype(CLASSES[self.kind]).name
        return f"{self.name} {kind}{list(self.shape)}"

    @property
    def is_numeric(self) -> bool:
        """Whether its values are real numbers."""
        return self.kind in CLASSES and not self.complex

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * np.dtype(CLASSES[self.kind]).itemsize


def read_mat(data: bytes, key: str | None, where: str) -> np.ndarray:
    """The array of that name, or the only one of at least two values. Raises SourceError."""
    if data.startswith(HDF5):
        raise SourceError(
            f"{where} is a MATLAB 7.3 file, which is HDF5 and is not read;"
            " save it again in MATLAB with save(..., '-v7'), or as .npy"
        )
    try:
        order = _byte_order(data)
        chosen = _choose(list(_matrices(memoryview(data)[HEADER:], order)), key, where)
        return _values(chosen, order)
    except (_Broken, ValueError, UnicodeDecodeError, zlib.error) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(
            f"{where} cannot be read as a MATLAB file ({error}); save it again with '-v7'"
        ) from error


def _byte_order(data: bytes) -> str:
    mark = data[HEADER - 2 : HEADER]
    if len(data) <= HEADER or mark not in (b"IM", b"MI"):
        raise _Broken("it has no header of version 5")
    return "<" if mark == b"IM" else ">"


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and data of each element."""
    at = 0
    while at + 8 <= len(data):
        kind, size = (int(n) for n in np.frombuffer(data[at : at + 8], f"{order}u4"))
        start, step = at + 8, size if kind == COMPRESSED else -(-size // 8) * 8
        if kind >> 16:  # a small one: its size beside its type, its data in the tag
            kind, size, start, step = kind & 0xFFFF, kind >> 16, at + 4, 0
            if size > 4:
                raise _Broken(f"a small element says that it has {size} bytes")
        if start + size > len(data):
            raise _Broken(f"it is cut short: {size} bytes at {start} of {len(data)}")
        yield kind, data[start : start + size]
        at = (at + 8) + step


def _matrices(data: memoryview, order: str) -> Iterator[_Element]:
    """Every matrix of a file, by what its first bytes say."""
    for kind, body in _elements(data, order):
        if kind == MATRIX:
            yield _head(body, body, order, compressed=False)
        elif kind == COMPRESSED:
            start = zlib.decompressobj().decompress(body, HEAD)
            if len(start) < 8 or np.frombuffer(start[:4], f"{order}u4")[0] != MATRIX:
                raise _Broken("a compressed element holds no matrix")
            yield _head(memoryview(start)[8:], body, order, compressed=True)


def _head(start: memoryview, body: memoryview, order: str, *, compressed: bool) -> _Element:
    found = [data for _, data in islice(_elements(start, order), 3)]
    if len(found) != 3:
        raise _Broken("a matrix has no name")
    flags, sizes, name = found
    if len(flags) != 8 or len(sizes) % 4:
        raise _Broken("a matrix has no flags or no size")
    word = int(np.frombuffer(flags[:4], f"{order}u4")[0])
    shape = tuple(int(n) for n in np.frombuffer(sizes, f"{order}i4"))
    if min(shape, default=-1) < 0 or len(shape) > 32:
        raise _Broken(f"a matrix has the size {shape}")
    text = bytes(name).decode("ascii")
    return _Element(text, shape, word & 0xFF, bool(word & IS_COMPLEX), body, compressed)


def _choose(found: list[_Element], key: str | None, where: str) -> _Element:
    """The matrix to read. Raises SourceError for none, several and large ones."""
    fitting = [
        one
        for one in found
        if one.is_numeric and (one.name == key or (key is None and math.prod(one.shape) > 1))
    ]
    if len(fitting) != 1:
        wanted = f"an array of real numbers named {key!r}" if key else "one array of real numbers"
        listed = ", ".join(map(str, found)) or "nothing"
        raise SourceError(f"{where} holds {listed}, expected {wanted}; name it with --key")
    if fitting[0].size > LARGEST:
        raise SourceError(
            f"{where}[{fitting[0].name}] says that it has {fitting[0].size} bytes, at most"
            f" {LARGEST} are read; save it as .npy, of which only the rows needed are read"
        )
    return fitting[0]


def _values(chosen: _Element, order: str) -> np.ndarray:
    """The values of a matrix, which may be stored as a smaller type than they are of."""
    body = chosen.body
    if chosen.compressed:
        # A value has no more bytes stored than it is of, so that a bomb is cut off.
        most = chosen.size + HEAD
        body = memoryview(zlib.decompressobj().decompress(body, most))[8:]
    kind, data = next(islice(_elements(body, order), 3, None), (0, memoryview(b"")))
    if kind not in STORED:
        raise _Broken(f"{chosen.name} has values of type {kind}")
    values = np.frombuffer(data, order + STORED[kind])
    if len(values) != math.prod(chosen.shape):
        raise _Broken(f"{chosen.name} has {len(values)} values, expected {list(chosen.shape)}")
    with np.errstate(invalid="ignore"):
        native = values.astype(CLASSES[chosen.kind])
    return np.ascontiguousarray(native.reshape(chosen.shape, order="F"))
