"""Read a finished store: samples in any order, diagrams, tables. numpy and numcodecs only.

Rows are grouped by shard and inner chunk and decoded straight into the output, past zarr's
machinery for each chunk. Nothing is open before the first read, and nothing that is open
travels to another process. A file is hashed before its first bytes are returned: beside the
reading of others where a read needs several, and ahead of who reads in order.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pi_cache import catalogue
from pi_cache.axes import noted_edges, stored_edges
from pi_cache.errors import CorruptStore, InvalidSpec, StorageFailed
from pi_cache.failures import FULL
from pi_cache.firsttouch import Check as Check
from pi_cache.firsttouch import FirstTouch
from pi_cache.layout import Column
from pi_cache.manifest import StoreManifest
from pi_cache.mapping import Mapping as Mapped
from pi_cache.mapping import fits
from pi_cache.remote.address import is_remote
from pi_cache.rows import parse_indices, parse_output, read_only, runs
from pi_cache.shardfile import REMEDY, ShardFile, located, most_open
from pi_cache.shards import ShardFormat, decode_numbers, decode_strings
from pi_cache.specs import StoreSpec

Opened = TypeVar("Opened")

DENSE = 4
"""Diagram points are read as one range unless that is this many times what was asked for."""
AHEAD = 8
"""Shards hashed ahead of who reads in order, half of them at a time."""
UNWATCHED = 1.0
"""Seconds for which `take` does not look again at files that it has read."""
SCARCE = 8
"""Shards kept open where each of them takes room that others need."""
IN_ORDER = 3
"""Reads, each after the last row of the one before, that are no chance any more."""


def open_store(
    store: str | Path,
    *,
    root: str | Path | None = None,
    check: Check = "first-touch",
    token: str | None = None,
) -> Store:
    """A finished store, by its path, its key, the start of its key under `root`, or its address.

    An address is http(s)://HOST/stores/KEY of a service or s3://BUCKET/PREFIX/KEY; see `remote`.
    root: the cache; see `catalogue.default_root`. token: for a service, else $PI_CACHE_TOKEN or the
    file of tokens. check: when a file's SHA-256 is computed:
    never (`size`: presence and size only, now; of a mapped store nothing else is ever checked),
    before its first bytes are returned (`first-touch`: once on a host for as long as inode, size
    and times stay, see `checked`), or before every read (`always`).
    Raises StoreNotFound, UnfinishedStore, CorruptStore, UnsupportedFormat; of an address also
    AccessRefused, RemoteFailed, RemoteNotInstalled.
    """
    if is_remote(store):
        from pi_cache.remote.reading import open_remote

        return open_remote(str(store), check=check, token=token)
    path = catalogue.locate(store, root)
    manifest = _with_handles(lambda: catalogue.read_manifest(path))
    return Store(path, manifest, check)


class Store:
    """A finished store; `len` is its number of samples."""

    def __init__(
        self,
        path: Path,
        manifest: StoreManifest,
        check: Check,
        *,
        touch: FirstTouch | None = None,
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.check = check
        self._touch = touch or FirstTouch(path, manifest.files, check)
        self._columns = {column.name: column for column in manifest.columns}
        self._formats = {c.name: c.shard_format(manifest.layout) for c in manifest.columns}
        self._open: dict[str, ShardFile] = {}
        self._names: dict[str, list[str]] = {}
        self._mapped: dict[str, Mapped | None] = {}
        self._order: dict[str, tuple[int, int, int, int]] = {}
        fresh = range(manifest.shards if self._touch.works_ahead else 0)
        self._fresh = {name: set(fresh) for name in self._columns}
        self._touch.check_sizes()
        _stores.add(self)

    def __del__(self) -> None:
        if hasattr(self, "_touch"):
            self._touch.stopped = True  # ends the thread that hashes ahead

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
    def address(self) -> str:
        """Where it lies, as `open_store` takes it."""
        return str(self.path)

    def beside(self, key: str, *, check: Check = "first-touch") -> Store:
        """The store of another key in the same place. Raises as `open_store`."""
        return open_store(self.path.parent / key, check=check)

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
        """Lower cell edges along `birth` or `persistence`, in stored order and field units.

        Of Gramian angular fields along `time` or `other_time`, in the `unit` that the attributes of
        `images` name. Raises InvalidSpec where those of imported images are not known.
        """
        if self.spec.gramian is not None:
            return noted_edges(self.column("images").attributes, name)
        return stored_edges(self.spec, name)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(N,) labels; read-only, as are the other tables."""
        return self._table("labels", decode_numbers)

    @cached_property
    def ids(self) -> NDArray[np.object_]:
        """(N,) unique names of the samples."""
        return self._table("ids", decode_strings)

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
        return read_only(self.read_all("status"))

    def read(
        self, name: str, indices: ArrayLike | slice, *, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """(n, ...) rows of `images`, `inputs`, `status` or `offsets`, in the order asked for.

        indices: a slice, or samples in any order and number of times, negative from the end.
        out: filled and returned instead of a new array.
        Raises IndexError, InvalidSpec, CorruptStore.
        """
        shard = self._row_format(name)
        if isinstance(indices, slice):
            start, stop, step = indices.indices(len(self))
            if step == 1:
                out = parse_output(out, max(stop - start, 0), shard.row_shape, shard.dtype)
                self._read_range(name, start, out)
                self._follow(name, start, start + len(out))
                return out
            indices = np.arange(start, stop, step)
        rows = parse_indices(indices, len(self))
        if out is None and (mapped := self._placed(name, rows, watch=True)):
            return mapped.take(rows)
        out = parse_output(out, len(rows), shard.row_shape, shard.dtype)
        if (np.diff(rows) >= 0).all():
            self._read_rows(name, rows, out, None)
            if len(rows):
                self._follow(name, int(rows[0]), int(rows[-1]) + 1)
        else:
            order = np.argsort(rows, kind="stable")
            self._read_rows(name, rows[order], out, order)
        return out

    def take(self, name: str, rows: NDArray[np.intp]) -> NDArray[Any]:
        """(n, ...) rows 0..N-1 as `read` gives them, for who takes rows of one store all the time.

        Of a mapped store, who writes to a file that was read before goes unnoticed for a second:
        looking at every file for every batch would cost a quarter of the time.
        """
        mapped = self._placed(name, rows, watch=False)
        return self.read(name, rows) if mapped is None else mapped.take(rows)

    def ahead(self, name: str, rows: NDArray[np.intp]) -> None:
        """Ask the system for rows of a mapped store that `take` will soon come to."""
        mapped = self._placed(name, rows, watch=False)
        if mapped is not None:
            mapped.ahead(rows)

    def is_mapped(self, name: str) -> bool:
        """Whether `take` finds the rows of an array in memory or on disk as they are, undecoded."""
        self._row_format(name)
        return self._mapping(name) is not None

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

        Sample i, channel c has the points `points[offsets[i, c]:offsets[i, c + 1]]`. Raises
        InvalidSpec where there are none: imported images come without their diagrams.
        """
        if "points" not in self._columns:
            raise InvalidSpec(
                f"store {self.key[:12]} holds images without diagrams; build a store from the"
                " source of these images: pipeline build-pis SOURCE --recipe NAME"
            )
        rows = parse_indices(
            np.arange(len(self))[indices] if isinstance(indices, slice) else indices, len(self)
        )
        stored: NDArray[np.int64] = self.read("offsets", rows)
        _check_offsets(stored, self.manifest.layout.point_capacity, self.path)
        lengths = stored[:, -1] - stored[:, 0]
        ends = np.cumsum(lengths)
        shard = self._formats["points"]
        points = np.empty((int(ends[-1]) if len(ends) else 0, 2), shard.dtype)
        starts = ends - lengths
        shards, cuts = runs(rows // self.manifest.layout.shard_samples)
        parts = [
            (k, slice(a, b), points[starts[a] : ends[b - 1]])
            for k, (a, b) in zip(shards, pairwise(cuts), strict=True)
            if ends[b - 1] > starts[a]
        ]

        def read(place: int) -> None:
            k, samples, target = parts[place]
            self._read_points(k, stored[samples], target)

        self._each("points", [k for k, _, _ in parts], read)
        if len(rows) and (np.diff(rows) >= 0).all():
            self._follow("points", int(rows[0]), int(rows[-1]) + 1)
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
        size, stop = self.manifest.layout.shard_samples, start + len(out)

        shards = range(start // size, -(-stop // size))

        def read(place: int) -> None:
            k = shards[place]
            first, last = max(start, k * size), min(stop, (k + 1) * size)
            target = out[first - start : last - start]
            self._shard(name, k).read_range(first - k * size, last - k * size, target)

        self._each(name, shards, read)

    def _read_rows(
        self,
        name: str,
        rows: NDArray[np.intp],
        out: NDArray[Any],
        places: NDArray[np.intp] | None,
    ) -> None:
        """Put ascending rows into `out`, one after the other or at `places`."""
        size = self.manifest.layout.shard_samples
        if len(rows) and (k := rows[0] // size) == rows[-1] // size:
            here = slice(0, len(rows)) if places is None else places
            self._shard(name, int(k)).read_rows(rows - k * size, out, here)
            return
        shards, cuts = runs(rows // size)

        def read(place: int) -> None:
            a, b = cuts[place], cuts[place + 1]
            here = slice(a, b) if places is None else places[a:b]
            k = shards[place]
            self._shard(name, k).read_rows(rows[a:b] - k * size, out, here)

        self._each(name, shards, read)

    def _each(self, name: str, shards: Sequence[int], read: Callable[[int], None]) -> None:
        """Call `read` with the place of each of these shards, while the next ones are hashed."""
        if len(shards) == 1 or not self._fresh[name]:
            for place in range(len(shards)):
                read(place)
            return
        names = self._files(name)
        with self._touch.beside([names[k] for k in shards]) as order:
            for place in order:
                read(place)

    def _follow(self, name: str, start: int, stop: int) -> None:
        """After a read of rows start..stop: hash the next shards where reads go up in order."""
        if not self._fresh[name]:
            return
        size = self.manifest.layout.shard_samples
        since, last, reads, end = self._order.get(name, (start, start, 0, 0))
        if not last <= start <= last + size:
            since, reads, end = start, 0, 0
        k = -(-stop // size)
        if reads + 1 >= IN_ORDER and 2 * (stop - since) >= size and end - k < AHEAD // 2:
            names = self._files(name)[max(k, end) : k + AHEAD]
            end = k + AHEAD if self._touch.ahead(names) else end
        self._order[name] = since, stop, reads + 1, end

    def _mapping(self, name: str) -> Mapped | None:
        """The shards of an array as one in memory, None where they cannot be that."""
        if name not in self._mapped:
            form = self._row_format(name)
            whole = fits(form, len(self)) and not self._touch.is_scarce
            self._mapped[name] = Mapped(form, len(self)) if whole else None
        return self._mapped[name]

    def _placed(self, name: str, rows: NDArray[np.intp], *, watch: bool) -> Mapped | None:
        """The mapping with the shards of these rows in it; None where there is none.

        watch: look whether their files have changed, however short a time ago that was done.
        """
        mapped = self._mapping(name)
        if mapped is None:
            return None
        if self.check == "always":
            watch = True
        elif not watch and time.monotonic() - mapped.seen > UNWATCHED:
            if not all(self._place(name, k, mapped) for k in self._changed(name, mapped)):
                return None
            mapped.seen = time.monotonic()
        if mapped.whole and not watch:
            return mapped
        touched = np.flatnonzero(np.bincount(rows // self.manifest.layout.shard_samples))
        wanted = (k for k in touched.tolist() if watch or not mapped.holds(k))
        return mapped if all(self._place(name, k, mapped) for k in wanted) else None

    def _place(self, name: str, k: int, mapped: Mapped) -> bool:
        """Have shard k in the mapping; False where it cannot be, and then none ever is."""
        file = self._shard(name, k)
        if mapped.holds(k, file.file) or mapped.place(k, file):
            return True
        self._mapped[name] = None
        return False

    def _changed(self, name: str, mapped: Mapped) -> list[int]:
        """Shards in the mapping of which the file is another one now, or has been written to."""
        paths = (self.path / listed for listed in self._files(name))
        return [k for k, path in enumerate(paths) if mapped.holds(k) and mapped.is_old(k, path)]

    def _row_format(self, name: str) -> ShardFormat:
        """The format of an array that has a row for every sample. Raises InvalidSpec for others."""
        if name in self.manifest.blueprint.tables:
            raise InvalidSpec(f"{name} is a table, which is read whole: take .{name}")
        if self.column(name).ragged:
            raise InvalidSpec(f"{name} has a row for every point, not sample: take .diagrams(...)")
        return self._formats[name]

    def _files(self, name: str) -> list[str]:
        """The paths of the shards of an array."""
        names = self._names.get(name)
        if names is None:
            column = self._columns[name]
            names = [column.shard_file(k) for k in range(self.manifest.shards)]
            self._names[name] = names
        return names

    def _shard(self, name: str, k: int) -> ShardFile:
        """The open shard, its digest checked as `check` says."""
        # Threads share the dict: every step on it is one that no other thread can interrupt, and
        # a shard that another thread has taken out for a moment is merely opened twice.
        listed = self._files(name)[k]
        shard = self._open.pop(listed, None)
        if shard is not None and not shard.file.has_changed():
            self._open[listed] = shard  # last again: the first is the one used longest ago
            if self.check == "always":
                shard.file.verify()
            return shard
        form = self._formats[name]
        shard = _with_handles(lambda: ShardFile(self._touch.open(listed), form))
        if not self._touch.forgets:
            self._fresh[name].discard(k)
        self._open[listed] = shard
        kept = SCARCE if self._touch.is_scarce else most_open()
        for oldest in list(self._open)[:-kept]:
            self._open.pop(oldest, None)
        return shard

    def _optional(self, name: str) -> NDArray[np.object_] | None:
        present = name in self.manifest.blueprint.tables
        return self._table(name, decode_strings) if present else None

    def _table(self, name: str, decode: Callable[[bytes, int], NDArray[Any]]) -> NDArray[Any]:
        file = _with_handles(lambda: self._touch.open(f"data.zarr/{name}/c.0"))
        data = file.read(0, file.entry.size)
        with located(file.path):
            return read_only(decode(data, len(self)))


_stores: WeakSet[Store] = WeakSet()
"""The open stores of this process, which share its descriptors."""


def _with_handles(work: Callable[[], Opened]) -> Opened:
    """What `work` opens; where no descriptor is left for it, all stores let go of theirs.

    Or no room on the disk: a file of a cache that goes keeps its room while somebody has it open.
    """
    try:
        return work()
    except StorageFailed as error:
        if error.errno not in {errno.EMFILE, *FULL}:
            raise
    for store in list(_stores):
        store._open.clear()
    return work()


def _reopen(path: Path, check: Check, digest: str) -> Store:
    store = open_store(path, check=check)
    if store.manifest.digest != digest:
        raise CorruptStore(f"{path}: another store lies here than when this one was sent")
    return store


def _check_offsets(offsets: NDArray[np.int64], points: int, path: Path) -> None:
    """Raise CorruptStore for offsets (n, channels + 1) that no diagrams in a shard can have."""
    low, high = offsets.min(initial=0), offsets.max(initial=0)
    if low < 0 or high > points or (np.diff(offsets, axis=1) < 0).any():
        raise CorruptStore(
            f"{path}: offsets of diagrams run from {low} to {high}, expected them to rise from 0 to"
            f" {points} at most; {REMEDY}"
        )
