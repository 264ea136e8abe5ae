"""A store as NumPy arrays: `images.npy` and what belongs to its rows, for any program."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pi_cache import files
from pi_cache.errors import InvalidSpec
from pi_cache.export import Blocks, File, Selected, text_file


def npy_files(selected: Selected) -> Iterator[File]:
    """`images.npy`, `labels.npy`, `samples.npy` (numbers in the store), and texts, a line a row.

    Raises InvalidSpec for a text with a line break, which would be two lines.
    """
    for name in selected.arrays:
        header = npy_header(selected.shape(name), selected.dtype(name))
        size = int(np.prod(selected.shape(name))) * selected.dtype(name).itemsize
        yield File(name=f"{name}.npy", size=len(header) + size, blocks=_blocks(selected, name))
    yield text_file("labels.npy", _npy(selected.store.labels[selected.samples]))
    yield text_file("samples.npy", _npy(selected.samples))
    for name in ("ids", "groups", "splits"):
        texts = selected.texts(name)
        if texts is not None:
            yield text_file(f"{name}.txt", _lines(name, texts))


def npy_header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """What stands before the values of an array in a `.npy` file, version 1.0."""
    described = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue()


def _blocks(selected: Selected, name: str) -> Blocks:
    def blocks() -> Iterator[files.Buffer]:
        yield npy_header(selected.shape(name), selected.dtype(name))
        for rows in selected.rows(name):
            yield rows.tobytes()

    return blocks


def _npy(array: NDArray[np.int64]) -> bytes:
    array = np.ascontiguousarray(array, "<i8")
    return npy_header(array.shape, array.dtype) + array.tobytes()


def _lines(name: str, texts: list[str]) -> bytes:
    broken = [text for text in texts if text.splitlines() not in ([], [text])]
    if broken:
        raise InvalidSpec(
            f"{name}.txt has a line a sample, and {broken[0]!r:.80} is several; export with"
            " --webdataset, whose JSON holds any text"
        )
    return "".join(f"{text}\n" for text in texts).encode()
