"""Which rows a reader was asked for, and the array that they go into."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pi_cache.errors import InvalidSpec


def parse_indices(indices: ArrayLike, count: int) -> NDArray[np.intp]:
    """(n,) rows from 0 of a store of `count`, for numbers from either end or a mask.

    Raises IndexError.
    """
    rows = np.asarray(indices)
    if rows.ndim != 1:
        raise IndexError(f"indices must be one-dimensional, got shape {rows.shape}")
    if rows.dtype == bool:
        if len(rows) != count:
            raise IndexError(f"a mask needs {count} values, got {len(rows)}")
        return np.flatnonzero(rows)
    if rows.size and rows.dtype.kind not in "iu":
        raise IndexError(f"indices must be whole numbers, got {rows.dtype}")
    if rows.size and (rows.min() < -count or rows.max() >= count):  # before they could wrap
        bad = rows[(rows < -count) | (rows >= count)][0]
        raise IndexError(f"sample {bad} is not in a store of {count} samples")
    rows = rows.astype(np.intp)
    return np.where(rows < 0, rows + count, rows)


def parse_output(
    out: NDArray[Any] | None, count: int, row_shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """(count, *row_shape): a new array, or `out`. Raises InvalidSpec where that does not fit."""
    if out is None:
        return np.empty((count, *row_shape), dtype)
    if out.shape != (count, *row_shape) or out.dtype != dtype or not out.flags.c_contiguous:
        raise InvalidSpec(
            f"out must be contiguous {dtype} {(count, *row_shape)}, got {out.dtype} {out.shape}"
        )
    if not out.flags.writeable:
        raise InvalidSpec("out must be writable, got a read-only array")
    return out


def runs(shards: NDArray[np.intp]) -> tuple[list[int], list[int]]:
    """The shard of each run of equal ones, and where the runs begin, with the end."""
    if not len(shards):
        return [], [0]
    starts = [0, *(np.flatnonzero(np.diff(shards)) + 1).tolist()]
    return shards[starts].tolist(), [*starts, len(shards)]


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The array, which from now on nobody can change: who holds it shares it with others."""
    array.flags.writeable = False
    return array
