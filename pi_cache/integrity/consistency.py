"""What digests cannot tell: whether what a store lists makes sense.

A digest says that a file is the one that was listed. A store that was put together by a program
with a fault, or by hand, has the right digests and may still contradict itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cache import files
from pi_cache.errors import CorruptStore, PiCacheError, StorageFailed
from pi_cache.layout import POINT_CHUNK
from pi_cache.manifest import ShardRecord, StoreManifest
from pi_cache.metadata import metadata_problems
from pi_cache.shardfile import OpenFile, ShardFile
from pi_cache.shards import decode_numbers, decode_strings
from pi_cache.specs import Status

MANIFEST = "manifest.json"
CODES = {int(status) for status in Status} - {int(Status.NOT_COMPUTED)}

Problem = tuple[str, str]
"""A file of the store, and what is wrong with it."""


def contradictions(
    path: Path, manifest: StoreManifest, whole: set[str], records: Mapping[int, ShardRecord]
) -> Iterator[Problem]:
    """Everything in a store that contradicts something else in it.

    whole: the files that have the digests that the manifest lists; only these are looked into.
    records: those that can be read, by shard. Raises StorageFailed where a file cannot be read now.
    """
    yield from ((MANIFEST, text) for text in (*_spec_problems(manifest), *_foreign(manifest)))
    yield from metadata_problems(path, manifest, whole)
    yield from _table_problems(path, manifest, whole)
    shards = files.in_threads(lambda k: _Shard(path, manifest, k, whole), range(manifest.shards))
    for shard in shards:
        yield from shard.problems
    yield from _status_problems(manifest, [shard.counts for shard in shards], records)


def stored_counts(path: Path, manifest: StoreManifest, k: int) -> dict[str, int]:
    """Samples by the name of their status, as stored. Raises CorruptStore."""
    name = manifest.blueprint.column("status").shard_file(k)
    shard = _Shard(path, manifest, k, {name})
    if shard.counts is None:
        raise CorruptStore(f"{path / name}: {shard.problems}; its record cannot be restored")
    return _named(shard.counts)


def _spec_problems(manifest: StoreManifest) -> Iterator[str]:
    """Whether the arrays are of the types and sizes that the spec asks for."""
    spec = manifest.spec
    side = spec.drawn.pixels
    wanted = {
        "images": (spec.drawn.dtype, (side, side)),
        "points": (spec.diagram.precision, (2,)),
        "status": ("uint8", ()),
    }
    for column in manifest.columns:
        dtype, shape = wanted.get(column.name, (column.dtype, column.shape))
        if column.dtype != dtype or column.shape[len(column.shape) - len(shape) :] != shape:
            yield f"{column.name}: {column.dtype} {column.shape}, the spec says {dtype} {shape}"


def _foreign(manifest: StoreManifest) -> Iterator[str]:
    """Files that are listed and belong to no array."""
    blueprint = manifest.blueprint
    known = {c.shard_file(k) for c in manifest.columns for k in range(manifest.shards)}
    known |= {f"data.zarr/{name}/c.0" for name in blueprint.tables}
    arrays = (*(column.name for column in manifest.columns), *blueprint.tables)
    known |= {"data.zarr/zarr.json", *(f"data.zarr/{name}/zarr.json" for name in arrays)}
    for name in sorted(manifest.files.keys() - known):
        yield f"lists {name}, which belongs to no array of this store"


def _table_problems(path: Path, manifest: StoreManifest, whole: set[str]) -> Iterator[Problem]:
    """Whether every table has a value for each sample, and one that it may have."""
    for table in manifest.blueprint.tables:
        name = f"data.zarr/{table}/c.0"
        if name in whole:
            try:
                data = files.read_bytes(path / name, most=manifest.files[name].size)
                decode = decode_numbers if table == "labels" else decode_strings
                values: NDArray[Any] = decode(data, manifest.samples)
            except StorageFailed:
                raise
            except (PiCacheError, RuntimeError, ValueError) as error:
                yield name, str(error)
                continue
            yield from ((name, text) for text in _value_problems(table, values, manifest))


def _value_problems(table: str, values: NDArray[Any], manifest: StoreManifest) -> Iterator[str]:
    if table == "ids" and len(set(values.tolist())) != len(values):
        yield "ids are not unique"
    named = len(manifest.blueprint.label_names)
    if table == "labels" and len(values):
        low, high = int(values.min()), int(values.max())
        if low < -1 or (named and high >= named):
            yield f"labels lie in {low}..{high}, and there are names for 0..{named - 1}"


class _Shard:
    """What contradicts itself in one shard: its index, the statuses, the ends of its diagrams.

    counts: samples by status, None where these cannot be read.
    """

    def __init__(self, path: Path, manifest: StoreManifest, k: int, whole: set[str]) -> None:
        self.path, self.manifest, self.k, self.whole = path, manifest, k, whole
        self.problems: list[Problem] = []
        self.counts: Counter[int] | None = None
        self.rows = len(manifest.blueprint.sample_range(k))
        self.names = {c.name: c.shard_file(k) for c in manifest.columns if not c.ragged}
        for name in self.names.keys() - {"status", "offsets"}:
            self._opened(name, self.rows)
        status, offsets = (self._read(name) for name in ("status", "offsets"))
        if status is not None:
            self._count(status)
        if offsets is not None:
            self._check_offsets(offsets)

    def _say(self, name: str, text: str) -> None:
        column = self.manifest.blueprint.column(name)
        self.problems.append((column.shard_file(self.k), text))

    def _opened(self, name: str, rows: int) -> ShardFile | None:
        """A shard whose index holds; None, and a problem, where a chunk of its rows is lost."""
        column = self.manifest.blueprint.column(name)
        listed = column.shard_file(self.k)
        if listed not in self.whole:
            return None
        form = column.shard_format(self.manifest.layout)
        try:
            file = ShardFile(OpenFile(self.path / listed, self.manifest.files[listed]), form)
        except StorageFailed:
            raise
        except PiCacheError as error:
            self._say(name, str(error))
            return None
        there, wanted = np.flatnonzero(file.index[:, 0] >= 0), -(-rows // form.chunk_rows)
        if np.array_equal(there, np.arange(wanted)):
            return file
        self._say(name, f"{len(there)} inner chunks, expected the first {wanted}")
        return None

    def _read(self, name: str) -> NDArray[Any] | None:
        """All rows of a small array, None where there is no such array or it cannot be decoded."""
        file = self._opened(name, self.rows) if name in self.names else None
        return None if file is None else self._decoded(name, file, 0, self.rows)

    def _decoded(self, name: str, file: ShardFile, start: int, stop: int) -> NDArray[Any] | None:
        rows = np.empty((stop - start, *file.shard.row_shape), file.shard.dtype)
        try:
            file.read_range(start, stop, rows)
        except StorageFailed:
            raise
        except PiCacheError as error:
            self._say(name, str(error))
            return None
        return rows

    def _count(self, status: NDArray[np.uint8]) -> None:
        self.counts = Counter(status.tolist())
        unknown = sorted(self.counts.keys() - CODES)
        if unknown:
            self._say("status", f"holds {unknown}, which no sample of a finished store has")
            self.counts = None

    def _check_offsets(self, offsets: NDArray[np.int64]) -> None:
        """Whether diagrams follow one another, and end where the points do."""
        ends = offsets.reshape(-1)
        if ends[0] != 0 or (np.diff(ends) < 0).any() or (offsets[1:, 0] != offsets[:-1, -1]).any():
            self._say("offsets", "do not rise from 0, each sample from the end of the one before")
            return
        count = int(ends[-1])
        file = self._opened("points", count)
        last = count - count % POINT_CHUNK  # what follows the points in the last chunk is fill
        if file is not None and last < count:
            rows = self._decoded("points", file, last, last + POINT_CHUNK)
            if rows is not None and not np.array_equal(
                np.isnan(rows).any(axis=1), np.arange(last, last + POINT_CHUNK) >= count
            ):
                self._say("points", f"are not the {count} that offsets say, or some are NaN")


def _status_problems(
    manifest: StoreManifest,
    counts: Sequence[Counter[int] | None],
    records: Mapping[int, ShardRecord],
) -> Iterator[Problem]:
    """Whether manifest and ledger count the statuses that are stored."""
    for k, count in enumerate(counts):
        if count is not None and k in records and dict(records[k].status) != _named(count):
            yield (
                f"ledger/{k:06d}.json",
                f"status {dict(records[k].status)}, stored {_named(count)}",
            )
    known = [count for count in counts if count is not None]
    if known and len(known) == len(counts):
        stored = _named(sum(known, Counter[int]()))
        if stored != dict(manifest.status):
            yield MANIFEST, f"status {dict(manifest.status)}, stored {stored}"


def _named(counts: Counter[int]) -> dict[str, int]:
    return {Status(code).name: count for code, count in sorted(counts.items())}
