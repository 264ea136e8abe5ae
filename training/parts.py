"""What datasets are made of: arrays of stores that are read by position in the dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pi_cache.reader import Store
from pi_cache.sampling.samples import Arrays
from training.widen import PLAIN, Scale, scale_of_bytes

BLOCK = 4096
"""Samples that are decoded at a time, as many as a shard has."""

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Part:
    """One array of a store, or of one's own, of which position i is row `rows[i]`.

    channels: those of axis 1 that are delivered, None for all. scale: what its numbers stand for.
    """

    source: Store | Arrays
    array: str
    rows: Rows
    channels: tuple[int, ...] | None = None
    scale: Scale = PLAIN

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        whole = self._stored[0]
        return whole if self.channels is None else (len(self.channels), *whole[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored."""
        return self._stored[1]

    @property
    def bytes(self) -> int:
        """Of all samples, decoded."""
        return len(self) * math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_real(self) -> bool:
        """Whether its numbers stand for real ones, and are widened on the device."""
        return self.scale.maximum is not None or self.dtype.kind == "f"

    @property
    def chunk(self) -> int:
        """Samples that are decoded to read one; 1 where nothing is decoded."""
        if not isinstance(self.source, Store) or self.is_mapped:
            return 1
        column = self.source.column(self.array)
        return column.shard_format(self.source.manifest.layout).chunk_rows

    @property
    def is_mapped(self) -> bool:
        """Whether any row is found on disk as it is."""
        return isinstance(self.source, Store) and self.source.is_mapped(self.array)

    @property
    def is_coded(self) -> bool:
        """Whether it comes from a store in which rows must be decoded."""
        return isinstance(self.source, Store) and not self.is_mapped

    def take(self, positions: Rows) -> NDArray[Any]:
        """(n, ...) a new array of the samples at positions, in any order. Raises CorruptStore."""
        rows = self.rows[positions]
        if isinstance(self.source, Store):
            taken = self.source.take(self.array, rows)
        else:
            taken = self.source.read(self.array, rows)
        return taken if self.channels is None else np.take(taken, self.channels, axis=1)

    def fill(self, positions: Rows, out: NDArray[Any]) -> None:
        """Put the samples at positions into `out` (n, ...): decoded there, where that is possible.

        Raises CorruptStore.
        """
        direct = isinstance(self.source, Store) and self.channels is None and not self.is_mapped
        if direct and isinstance(self.source, Store):
            self.source.read(self.array, self.rows[positions], out=out)
        else:
            out[...] = self.take(positions)

    def ahead(self, positions: Rows) -> None:
        """Ask the system to read what `take` will soon come to."""
        if isinstance(self.source, Store):
            self.source.ahead(self.array, self.rows[positions])

    def blocks(self) -> Iterator[Rows]:
        """All positions, in the order in which rows lie on disk, a block at a time."""
        if not len(self):
            return
        order = np.argsort(self.rows, kind="stable") if self._is_shuffled else None
        rows = self.rows if order is None else self.rows[order]
        cuts = np.flatnonzero(np.diff(rows // BLOCK)) + 1
        for start, stop in zip([0, *cuts.tolist()], [*cuts.tolist(), len(rows)], strict=True):
            yield np.arange(start, stop) if order is None else order[start:stop]

    @property
    def _is_shuffled(self) -> bool:
        return bool((np.diff(self.rows) < 0).any())

    @property
    def _stored(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        if isinstance(self.source, Store):
            column = self.source.column(self.array)
            return column.shape, np.dtype(column.dtype)
        array = self.source.arrays[self.array]
        return array.shape[1:], array.dtype


class Table(Protocol):
    """What can be held and loaded: named parts, and numbers that are known of each sample."""

    def __len__(self) -> int: ...

    @property
    def parts(self) -> Mapping[str, Part]: ...

    @property
    def numbers(self) -> Mapping[str, NDArray[np.int64]]: ...


def image_part(store: Store, rows: Rows, channels: tuple[int, ...] | None = None) -> Part:
    """The images of a store."""
    column = store.column("images")
    scale = PLAIN
    if column.dtype == "uint8":
        scale = scale_of_bytes(*column.attributes.get("byte_range", (0.0, 1.0)))
    return Part(store, "images", rows, channels, scale)


def input_part(store: Store, rows: Rows) -> Part:
    """The raw samples of a store."""
    maximum = store.column("inputs").attributes.get("maximum")
    return Part(store, "inputs", rows, scale=Scale(maximum))


def total_bytes(table: Table) -> int:
    """Of all parts, decoded."""
    return sum(part.bytes for part in table.parts.values())


def scales_of(table: Table) -> dict[str, Scale]:
    """By name, what stored numbers stand for: those of parts that are widened on the device."""
    return {name: part.scale for name, part in table.parts.items() if part.is_real}
