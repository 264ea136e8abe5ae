"""Reads windows of recordings: each recording when one of its windows is asked for."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import Recordings
from pipeline.windows import Scaling, Series, WindowSpec, make_series

KEPT_BYTES = 256 * 2**20
"""Of series that a process keeps, beside the last one, so that none is read for each window."""


class _Kept:
    """The series used last, by whom they were read for."""

    def __init__(self) -> None:
        self.series: OrderedDict[tuple[str, str, str], Series] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, key: tuple[str, str, str]) -> Series | None:
        with self.lock:
            if key in self.series:
                self.series.move_to_end(key)
            return self.series.get(key)

    def put(self, key: tuple[str, str, str], series: Series) -> None:
        with self.lock:
            self.series[key] = series
            while len(self.series) > 1 and self.nbytes > KEPT_BYTES:
                self.series.popitem(last=False)

    @property
    def nbytes(self) -> int:
        return sum(series.nbytes for series in self.series.values())


_KEPT = _Kept()


def read_series(recordings: Recordings, position: int, spec: WindowSpec, token: str) -> Series:
    """The series of one recording, read once as long as it is kept.

    token: of one opening of the source; another opening reads anew. Raises SourceError.
    """
    entry = recordings.entries[position]
    key = (token, entry.file, entry.subject)
    series = _KEPT.get(key)
    if series is None:
        series = make_series(recordings.read(position), spec, recordings.facts)
        _KEPT.put(key, series)
    return series


def window_of(series: Series, start: int, samples: int, scaling: Scaling | None) -> np.ndarray:
    """The values (T, C) of a window, scaled; a copy."""
    values = series.values[start : start + samples]
    return values.copy() if scaling is None else scaling(values)


def digest_of(window: np.ndarray) -> bytes:
    """SHA-256 of a window (T, C): of its shape and values."""
    little = np.ascontiguousarray(window, dtype="<f8")
    return hashlib.sha256(str(window.shape).encode() + little.tobytes()).digest()


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowReader:
    """Windows of `samples` values each, scaled.

    owners, starts: (n,) the entry of each, and its first value in the series of that. hashes:
    (n, 32) uint8, the digest of each when it was listed. token: see read_series. memory: bytes that
    reading takes at most, about.
    """

    recordings: Recordings
    spec: WindowSpec
    scaling: Scaling | None
    samples: int
    owners: np.ndarray
    starts: np.ndarray
    hashes: np.ndarray
    token: str
    memory: int

    def read(self, position: int) -> np.ndarray:
        """One window (T, C). Raises SourceError where it is another than was listed."""
        owner = int(self.owners[position])
        series = read_series(self.recordings, owner, self.spec, self.token)
        start = int(self.starts[position])
        window = window_of(series, start, self.samples, self.scaling)
        if digest_of(window) != self.hashes[position].tobytes():
            entry = self.recordings.entries[owner]
            raise SourceError(
                f"{self.recordings.root}/{entry.file} has changed since its windows were listed;"
                " run the command again, and what is built is of the new ones"
            )
        return window

    def read_together(self) -> None:
        """Windows lie in several recordings."""

    def slice(self, start: int, stop: int) -> Self:
        """The windows start..stop, with their recordings alone."""
        used, owners = np.unique(self.owners[start:stop], return_inverse=True)
        recordings = self.recordings
        if len(used):
            entries = [recordings.entries[k] for k in used.tolist()]
            recordings = replace(recordings, entries=entries, notes=())
        return replace(
            self,
            recordings=recordings,
            owners=owners,
            starts=self.starts[start:stop],
            hashes=self.hashes[start:stop],
        )

    def digests(self) -> Iterator[bytes]:
        """One SHA-256 a window; nothing is read."""
        return map(np.ndarray.tobytes, self.hashes)
