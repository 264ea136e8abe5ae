"""An .npz file as a stream of bytes, so that memory need not hold its arrays.

The same arrays are the same bytes: no date goes into the file.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """An array that comes in blocks of rows. shape: of all. blocks: called when it is written."""

    shape: tuple[int, ...]
    dtype: DTypeLike
    blocks: Callable[[], Iterator[NDArray[np.generic]]]


class _Sink:
    """A file that is only written to; zipfile needs no more to write one that it cannot seek."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def write(self, data: bytes | memoryview) -> int:
        self.kept.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def drain(self) -> Iterator[bytes]:
        """What was written since the last time."""
        kept, self.kept = self.kept, []
        yield from kept


def npz_blocks(arrays: Mapping[str, NDArray[np.generic] | Streamed]) -> Iterator[bytes]:
    """The bytes of an .npz file of these arrays, block by block."""
    sink = _Sink()
    with zipfile.ZipFile(cast(IO[bytes], sink), "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                for block in _npy_blocks(array):
                    member.write(block)
                    yield from sink.drain()
    yield from sink.drain()


def _npy_blocks(array: NDArray[np.generic] | Streamed) -> Iterator[bytes]:
    """A header of NumPy's format 1.0, then rows in C order."""
    header = _Sink()
    described = {
        "descr": npy.dtype_to_descr(np.dtype(array.dtype)),
        "fortran_order": False,
        "shape": array.shape,
    }
    npy.write_array_header_1_0(cast(IO[bytes], header), described)
    yield b"".join(header.drain())
    if not isinstance(array, Streamed):
        yield array.tobytes()
        return
    for block in array.blocks():
        yield block.astype(array.dtype).tobytes()
