"""Reads windows of recordings: each recording when one of its windows is asked for."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import Recordings
from pipeline.windows import Scaling, Series, WindowSpec, make_series

KEPT_BYTES = 128 * 2**20
"""Of series that a process keeps, beside the last one, so that none is read for each window.

Shards come in the order of recordings, so older ones are not asked for again. And joblib starts a
worker anew that has grown by 300 MB between two tasks: with it all that is kept would be lost.
"""

STRETCH = 1 << 19
"""Samples that are read together of a recording of which parts can be read."""


Key = tuple[str, str, str, int]
"""Of what is kept: token, file and subject, and the number of a stretch, -1 for a whole series."""


class _Kept:
    """The series used last, by whom they were read for; and stretches (n, C) of some."""

    def __init__(self) -> None:
        self.series: OrderedDict[Key, Series | np.ndarray] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, key: Key) -> Series | np.ndarray | None:
        with self.lock:
            if key in self.series:
                self.series.move_to_end(key)
            return self.series.get(key)

    def put(self, key: Key, series: Series | np.ndarray) -> None:
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
    key = _key(recordings, position, token)
    series = _KEPT.get(key)
    if not isinstance(series, Series):
        series = make_series(recordings.read(position), spec, recordings.facts)
        _KEPT.put(key, series)
    return series


def forget_large(token: str) -> None:
    """Keep no whole series of one opening where they are larger than what is kept."""
    with _KEPT.lock:
        if _KEPT.nbytes > KEPT_BYTES:
            for key in [key for key in _KEPT.series if key[0] == token]:
                del _KEPT.series[key]


def _key(recordings: Recordings, position: int, token: str, stretch: int = -1) -> Key:
    entry = recordings.entries[position]
    return token, entry.file, entry.subject, stretch


def in_stretches(recordings: Recordings, spec: WindowSpec) -> bool:
    """Whether windows can be read without the rest of their recordings."""
    return recordings.read_rows is not None and spec.takes_rows_as_they_are


def window_of(values: np.ndarray, start: int, samples: int, scaling: Scaling | None) -> np.ndarray:
    """A window (T, C) of the values (K, C) of a series, scaled; a copy."""
    window = values[start : start + samples]
    return window.copy() if scaling is None else scaling(window)


def digest_of(window: np.ndarray) -> bytes:
    """SHA-256 of a window (T, C): of its shape and values."""
    little = np.ascontiguousarray(window, dtype="<f8")
    return hashlib.sha256(str(window.shape).encode() + little.tobytes()).digest()


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowReader:
    """Windows of `samples` values each, scaled.

    owners, starts: (n,) the entry of each, and its first value in the series of that. hashes:
    (n, 32) uint8, the digest of each when it was listed. token: see read_series. memory: bytes that
    reading takes at most, about. seconds: that reading each recording takes, about.
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
    seconds: np.ndarray

    def read(self, position: int) -> np.ndarray:
        """One window (T, C). Raises SourceError where it is another than was listed."""
        owner = int(self.owners[position])
        values, first = self._around(owner, int(self.starts[position]))
        window = window_of(values, first, self.samples, self.scaling)
        if digest_of(window) != self.hashes[position].tobytes():
            entry = self.recordings.entries[owner]
            raise SourceError(
                f"{self.recordings.root}/{entry.file} has changed since its windows were listed;"
                " run the command again, and what is built is of the new ones"
            )
        return window

    def _around(self, owner: int, start: int) -> tuple[np.ndarray, int]:
        """Values (n, C) of a recording that hold the window from `start` on, and where it is."""
        recordings, stretch = self.recordings, start // STRETCH
        whole = _KEPT.get(_key(recordings, owner, self.token))
        read_rows = recordings.read_rows
        if (
            isinstance(whole, Series)
            or read_rows is None
            or not in_stretches(recordings, self.spec)
        ):
            return read_series(recordings, owner, self.spec, self.token).values, start
        key, low = _key(recordings, owner, self.token, stretch), stretch * STRETCH
        values = _KEPT.get(key)
        if not isinstance(values, np.ndarray):
            entry, high = recordings.entries[owner], low + STRETCH + self.samples
            values = read_rows(Path(recordings.root), entry, low, high)
            _KEPT.put(key, values)
        return values, start - low

    def read_together(self) -> None:
        """Windows lie in several recordings."""

    def kept_from(self) -> int:
        """The first window from which on this process keeps all recordings; their number for none.

        Recordings are listed in order, and those that were listed last are kept.
        """
        used, first = np.unique(self.owners, return_index=True)
        kept = len(self.owners)
        for owner, position in zip(used[::-1].tolist(), first[::-1].tolist(), strict=True):
            if not isinstance(_KEPT.get(_key(self.recordings, owner, self.token)), Series):
                break
            kept = position
        return kept

    def seconds_of_workers(self, shard_windows: int, workers: int) -> float:
        """Seconds that workers take together to read the recordings of their shards, about.

        Each of them reads a recording once, as long as it has shards with windows of it: so many
        workers read a recording as it has shards, and at most all.
        """
        used, first, count = np.unique(self.owners, return_index=True, return_counts=True)
        shards = (first + count - 1) // shard_windows - first // shard_windows + 1
        return float((self.seconds[used] * np.minimum(shards, workers)).sum())

    def slice(self, start: int, stop: int) -> Self:
        """The windows start..stop, with their recordings alone."""
        used, owners = np.unique(self.owners[start:stop], return_inverse=True)
        recordings, seconds = self.recordings, self.seconds
        if len(used):
            entries = [recordings.entries[k] for k in used.tolist()]
            recordings = replace(recordings, entries=entries, notes=())
            seconds = seconds[used]
        return replace(
            self,
            recordings=recordings,
            seconds=seconds,
            owners=owners,
            starts=self.starts[start:stop],
            hashes=self.hashes[start:stop],
        )

    def digests(self) -> Iterator[bytes]:
        """One SHA-256 a window; nothing is read."""
        return map(np.ndarray.tobytes, self.hashes)
