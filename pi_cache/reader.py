"""Read a finished store: samples in any order, diagrams, tables. numpy and numcodecs only.

Rows are grouped by shard and inner chunk and decoded straight into the output, past zarr's
machinery for each chunk. Nothing is open before the first read, and nothing that is open
travels to another process.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pi_cache import catalogue, files
from pi_cache.axes import cell_edges
from pi_cache.errors import CorruptStore, InvalidSpec
from pi_cache.layout import Column
from pi_cache.manifest import FileEntry, StoreManifest
from pi_cache.shardfile import OpenFile, ShardFile, located, most_open
from pi_cache.shards import decode_numbers, decode_strings
from pi_cache.specs import StoreSpec

Check = Literal["size", "first-touch", "always"]

DENSE = 4
"""Diagram points are read as one range unless that is this many times what was asked for."""


def open_store(
    store: str | Path, *, root: str | Path | None = None, check: Check = "first-touch"
) -> Store:
    """A finished store, by its path, its key, or the start of its key under `root`.

    root: the cache; see `catalogue.default_root`. check: when a file's SHA-256 is computed:
    never (`size`: presence and size only, now), once in each process before its first bytes are
    returned, or before every read.
    Raises StoreNotFound, UnfinishedStore, CorruptStore, UnsupportedFormat.
    """
    if check not in get_args(Check):
        raise InvalidSpec(f"check must be one of {', '.join(get_args(Check))}, got {check!r}")
    path = catalogue.locate(store, root)
    manifest = catalogue.read_manifest(path)
    _check_files(path, manifest.files)
    return Store(path, manifest, check)


class Store:
    """A finished store; `len` is its number of samples."""

    def __init__(self, path: Path, manifest: StoreManifest, check: Check) -> None:
        self.path = path
        self.manifest = manifest
        self.check = check
        self._columns = {column.name: column for column in manifest.columns}
        self._formats = {c.name: c.shard_format(manifest.layout) for c in manifest.columns}
        self._open: dict[str, ShardFile] = {}
        self._verified: set[str] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.check, self.manifest.digest)

    def __len__(self) -> int:
        return self.manifest.samples

    def __repr__(self) -> str:
        arrays = ", ".join(f"{c.name} {c.dtype}{list(c.shape)}" for c in self.manifest.columns)
        return f"<Store {self.key[:12]}: {len(self)} samples, {arrays}>"

    @property
    def key(self) -> str:
        """The key of the spec."""
        return self.manifest.key

    @property
    def spec(self) -> StoreSpec:
        """What was computed, from what."""
        return self.manifest.spec

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.manifest.samples

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What the builder noted about the store."""
        return self.manifest.blueprint.attributes

    @property
    def label_names(self) -> tuple[str, ...]:
        """Name of each label, empty when there are none."""
        return self.manifest.blueprint.label_names

    @property
    def channels(self) -> tuple[str, ...]:
        """Name of each channel of the images."""
        named = self.attributes.get("channels")
        count = self.column("images").shape[0]
        return tuple(named) if named else tuple(f"channel {c}" for c in range(count))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the arrays with a row for every sample."""
        return tuple(c.name for c in self.manifest.columns if not c.ragged)

    def column(self, name: str) -> Column:
        """Shape, dtype and dimension names. Raises InvalidSpec with the known names."""
        return self.manifest.blueprint.column(name)

    def axis(self, name: str) -> NDArray[np.float64]:
        """Lower cell edges along `birth` or `persistence`, in stored order and field units."""
        return cell_edges(self.spec.image, name)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(N,) labels; read-only, as are the other tables."""
        return _read_only(decode_numbers(self._table("labels")))

    @cached_property
    def ids(self) -> NDArray[np.object_]:
        """(N,) unique names of the samples."""
        return _read_only(decode_strings(self._table("ids")))

    @cached_property
    def groups(self) -> NDArray[np.object_] | None:
        """(N,) group (such as the subject) of each sample, None when there are none."""
        return self._optional("groups")

    @cached_property
    def splits(self) -> NDArray[np.object_] | None:
        """(N,) split (such as `train`) of each sample, None when there are none."""
        return self._optional("splits")

    @cached_property
    def status(self) -> NDArray[np.uint8]:
        """(N,) `specs.Status` of each sample.

        Rows of CONSTANT samples hold the images of what little there is; of the others only those
        that are OK hold data.
        """
        return _read_only(self.read_all("status"))

    def read(
        self, name: str, indices: ArrayLike | slice, *, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """(n, ...) rows of `images`, `inputs`, `status` or `offsets`, in the order asked for.

        indices: a slice, or samples in any order and number of times, negative from the end.
        out: filled and returned instead of a new array. Raises IndexError, CorruptStore.
        """
        shard = self._format(name)
        if isinstance(indices, slice):
            start, stop, step = indices.indices(len(self))
            if step == 1:
                out = _output(out, max(stop - start, 0), shard.row_shape, shard.dtype)
                self._read_range(name, start, out)
                return out
            indices = np.arange(start, stop, step)
        rows = _parse_indices(indices, len(self))
        out = _output(out, len(rows), shard.row_shape, shard.dtype)
        if (np.diff(rows) >= 0).all():
            self._read_rows(name, rows, out, None)
        else:
            order = np.argsort(rows, kind="stable")
            self._read_rows(name, rows[order], out, order)
        return out

    def read_all(self, name: str, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """(N, ...) every row."""
        return self.read(name, slice(None), out=out)

    def diagram(self, sample: int, channel: int) -> NDArray[Any]:
        """(P, 2) birth and death of each class; an infinite death marks an essential one."""
        points, offsets = self.diagrams([sample])
        if not 0 <= channel < offsets.shape[1] - 1:
            raise IndexError(f"channel {channel} is not in 0..{offsets.shape[1] - 2}")
        return points[offsets[0, channel] : offsets[0, channel + 1]]

    def diagrams(self, indices: ArrayLike | slice) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Points (P, 2) and offsets (n, channels + 1) of several samples.

        Sample i, channel c has the points `points[offsets[i, c]:offsets[i, c + 1]]`.
        """
        rows = _parse_indices(
            np.arange(len(self))[indices] if isinstance(indices, slice) else indices, len(self)
        )
        stored: NDArray[np.int64] = self.read("offsets", rows)
        lengths = stored[:, -1] - stored[:, 0]
        ends = np.cumsum(lengths)
        shard = self._format("points")
        points = np.empty((int(ends[-1]) if len(ends) else 0, 2), shard.dtype)
        shards = rows // self.manifest.layout.shard_samples
        starts = ends - lengths
        cuts = [0, *(np.flatnonzero(np.diff(shards)) + 1).tolist(), len(rows)]
        for a, b in pairwise(cuts):
            if b > a and ends[b - 1] > starts[a]:
                target = points[starts[a] : ends[b - 1]]
                self._read_points(int(shards[a]), stored[a:b], target)
        return points, stored - stored[:, :1] + starts[:, None]

    def _read_points(self, k: int, offsets: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Fill `out` with the points of consecutive wanted samples of shard k."""
        first, last = offsets[:, 0], offsets[:, -1]
        low, high = int(first.min()), int(last.max())
        file = self._shard("points", k)
        if (first[1:] == last[:-1]).all():
            file.read_range(low, high, out)
            return
        dense = high - low <= DENSE * len(out)
        block = np.empty((high - low if dense else 0, 2), out.dtype)
        if dense:
            file.read_range(low, high, block)
        place = 0
        for start, stop in zip(first.tolist(), last.tolist(), strict=True):
            target = out[place : place + stop - start]
            if dense:
                target[...] = block[start - low : stop - low]
            elif stop > start:
                file.read_range(start, stop, target)
            place += stop - start

    def _read_range(self, name: str, start: int, out: NDArray[Any]) -> None:
        size, done = self.manifest.layout.shard_samples, 0
        while done < len(out):
            k, first = divmod(start + done, size)
            count = min(size - first, len(out) - done)
            self._shard(name, k).read_range(first, first + count, out[done : done + count])
            done += count

    def _read_rows(
        self,
        name: str,
        rows: NDArray[np.intp],
        out: NDArray[Any],
        places: NDArray[np.intp] | None,
    ) -> None:
        """Put ascending rows into `out`, one after the other or at `places`."""
        size = self.manifest.layout.shard_samples
        shards = rows // size
        cuts = [0, *(np.flatnonzero(np.diff(shards)) + 1).tolist(), len(rows)]
        for a, b in pairwise(cuts):
            if b > a:
                k = int(shards[a])
                here = slice(a, b) if places is None else places[a:b]
                self._shard(name, k).read_rows(rows[a:b] - k * size, out, here)

    def _format(self, name: str) -> Any:
        self.column(name)
        return self._formats[name]

    def _shard(self, name: str, k: int) -> ShardFile:
        """The open shard, its digest checked as `check` says."""
        # Threads share the dict: every step on it is one that no other thread can interrupt, and
        # a shard that another thread has taken out for a moment is merely opened twice.
        listed = self._columns[name].shard_file(k)
        shard = self._open.pop(listed, None)
        if shard is not None:
            self._open[listed] = shard  # last again: the first is the one used longest ago
            if self.check == "always":
                shard.file.verify(shard.entry)
            return shard
        verify = self.check == "always" or (self.check != "size" and listed not in self._verified)
        entry = self._entry(listed)
        shard = ShardFile(self.path / listed, self._formats[name], entry, verify=verify)
        self._verified.add(listed)
        self._open[listed] = shard
        for oldest in list(self._open)[: -most_open()]:
            self._open.pop(oldest, None)
        return shard

    def _entry(self, listed: str) -> FileEntry:
        try:
            return self.manifest.files[listed]
        except KeyError:
            raise CorruptStore(f"{self.path}: the manifest does not list {listed}") from None

    def _optional(self, name: str) -> NDArray[np.object_] | None:
        present = name in self.manifest.blueprint.tables
        return _read_only(decode_strings(self._table(name))) if present else None

    def _table(self, name: str) -> bytes:
        listed = f"data.zarr/{name}/c.0"
        path, entry = self.path / listed, self._entry(listed)
        with located(path):
            return OpenFile(path, entry, verify=self.check != "size").read(0, entry.size)


def _reopen(path: Path, check: Check, digest: str) -> Store:
    store = open_store(path, check=check)
    if store.manifest.digest != digest:
        raise CorruptStore(f"{path}: another store lies here than when this one was sent")
    return store


def _check_files(path: Path, entries: Mapping[str, FileEntry]) -> None:
    """Raise CorruptStore that names every file which is missing or of another size."""
    problems = []
    for name, entry in entries.items():
        try:
            size = files.size(path / name)
        except FileNotFoundError:
            problems.append(f"{name} is missing")
            continue
        if size != entry.size:
            problems.append(f"{name} has {size} bytes, expected {entry.size}")
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CorruptStore(
            f"{path}: {'; '.join(problems[:5])}{more}; build the store again, only damaged shards"
            " are computed"
        )


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The array, which the store keeps: who changes it would change it for all."""
    array.flags.writeable = False
    return array


def _parse_indices(indices: ArrayLike, count: int) -> NDArray[np.intp]:
    rows = np.asarray(indices)
    if rows.ndim != 1:
        raise IndexError(f"indices must be one-dimensional, got shape {rows.shape}")
    if rows.dtype == bool:
        if len(rows) != count:
            raise IndexError(f"a mask needs {count} values, got {len(rows)}")
        return np.flatnonzero(rows)
    if rows.size and rows.dtype.kind not in "iu":
        raise IndexError(f"indices must be whole numbers, got {rows.dtype}")
    rows = rows.astype(np.intp)
    if rows.size and (rows.min() < -count or rows.max() >= count):
        bad = rows[(rows < -count) | (rows >= count)][0]
        raise IndexError(f"sample {bad} is not in a store of {count} samples")
    return np.where(rows < 0, rows + count, rows)


def _output(
    out: NDArray[Any] | None, count: int, row_shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    if out is None:
        return np.empty((count, *row_shape), dtype)
    if out.shape != (count, *row_shape) or out.dtype != dtype or not out.flags.c_contiguous:
        raise InvalidSpec(
            f"out must be contiguous {dtype} {(count, *row_shape)}, got {out.dtype} {out.shape}"
        )
    return out
