"""A build in progress: publish shards with their records, say what is missing, finish.

Order: shards, one ledger record a shard, every file hashed again from disk, manifest. A store is
finished exactly when its manifest exists. Nothing here needs zarr, nor do the workers.
"""

from __future__ import annotations

import datetime
import errno
import hashlib
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pi_cache import files
from pi_cache.catalogue import check_home, read_spec
from pi_cache.errors import (
    AlreadyPublished,
    CorruptStore,
    InvalidSpec,
    StorageFailed,
    StoreNotFound,
    UnfinishedStore,
    UnsupportedFormat,
)
from pi_cache.layout import Layout, array_problems
from pi_cache.manifest import (
    TABLE_SHARD,
    Blueprint,
    FileEntry,
    ShardRecord,
    StoreManifest,
    files_digest,
    is_as_written,
    merged,
)
from pi_cache.shards import encode
from pi_cache.specs import Status, StoreSpec

REWRITES = 5
"""How often a shard is written again when other builders touch it at the same time."""


@dataclass(frozen=True, slots=True)
class Build:
    """A store that was begun: plain values, so it travels to workers."""

    path: Path
    spec: StoreSpec
    blueprint: Blueprint

    @property
    def layout(self) -> Layout:
        """The layout that holds, which is that of the first builder."""
        return self.blueprint.layout

    @property
    def shards(self) -> int:
        """Number of shards."""
        return self.blueprint.shards

    def sample_range(self, k: int) -> range:
        """The samples of shard k."""
        return self.blueprint.sample_range(k)

    @property
    def temporary(self) -> Path:
        """Where files are written before they appear."""
        return self.path / "tmp"

    @property
    def quarantine(self) -> Path:
        """Where damaged files go."""
        return self.path / "quarantine"

    def record_path(self, k: int) -> Path:
        """The ledger record of shard k."""
        name = "table" if k == TABLE_SHARD else f"{k:06d}"
        return self.path / "ledger" / f"{name}.json"

    def publish(self, path: Path, data: bytes) -> None:
        """Publish one file of this store."""
        files.publish(path, data, temporary=self.temporary)


def open_build(path: Path) -> Build:
    """A build begun elsewhere, for a worker that has only its path.

    What a finished store has lost is taken from its manifest. Raises StoreNotFound, CorruptStore.
    """
    try:
        spec = read_spec(path)
        blueprint = Blueprint.from_bytes(files.read_bytes(path / "blueprint.json"))
    except (FileNotFoundError, CorruptStore) as error:
        manifest = existing_manifest(path)
        if manifest is not None:
            return Build(path, manifest.spec, manifest.blueprint)
        if isinstance(error, CorruptStore):
            raise
        raise StoreNotFound(f"no store was begun in {path}") from None
    return Build(path, spec, blueprint)


def write_shard(
    build: Build,
    k: int,
    columns: Mapping[str, NDArray[Any]],
    *,
    statistics: Mapping[str, Any] | None = None,
    seconds: Mapping[str, float] | None = None,
) -> ShardRecord:
    """Encode and publish shard k and its record; the record of another builder if it was faster.

    columns: an array for every column of the build, first axis the samples of the shard;
    `points` is (P, 2) and `offsets` counts from the start of the shard.
    """
    _check_columns(build, k, columns)
    data = {
        column.shard_file(k): encode(columns[column.name], column.shard_format(build.layout))
        for column in build.blueprint.columns
    }
    codes = Counter(columns["status"].tolist()) if "status" in columns else Counter()
    status = {Status(code).name: count for code, count in sorted(codes.items())}
    return write_files(build, k, data, status, statistics or {}, seconds or {})


def missing_shards(build: Build) -> list[int]:
    """Shards to compute: those without a valid record whose files all have their digests.

    A record that does not hold is moved to quarantine. Its files stay until `write_shard` meets
    them, since another builder may be writing them at this moment.
    """
    shards = range(build.shards)
    held = files.in_threads(lambda k: holds(build, k), shards)
    return [k for k, holding in zip(shards, held, strict=True) if not holding]


def take_back(build: Build, unwanted: Callable[[ShardRecord], bool]) -> list[int]:
    """Make shards missing whose record is unwanted, and the store an unfinished one; which shards.

    The manifest goes first and the files stay, so that the store is whole or unfinished at every
    instant: `write_shard` and `finish` go on from there.
    """
    records = {k: _record(build, k) for k in range(build.shards)}
    taken = [k for k, record in records.items() if record is not None and unwanted(record)]
    if taken or None in records.values():  # what has no record is built again too
        files.move_aside(build.path / "manifest.json", build.quarantine)
    for k in taken:
        files.move_aside(build.record_path(k), build.quarantine)
    return taken


def records_of(build: Build) -> list[ShardRecord]:
    """The records that there are, of any shards but the table."""
    found = (_record(build, k) for k in range(build.shards))
    return [record for record in found if record is not None]


def record_of(build: Build, k: int) -> ShardRecord:
    """The record of shard k, whatever became of its files.

    Raises FileNotFoundError, UnsupportedFormat, CorruptStore where it is damaged or that of another
    store, layout or shard.
    """
    record = ShardRecord.from_bytes(files.read_bytes(build.record_path(k)))
    if not _record_fits(build, k, record):
        raise CorruptStore("this shard record is of another store, layout or shard")
    return record


def recorded_manifest(build: Build) -> StoreManifest:
    """What `finish` would write if every file were as the records say. Raises as `record_of`."""
    numbers = range(TABLE_SHARD, build.shards)
    return _manifest(build, files.in_threads(lambda k: record_of(build, k), numbers), {})


def _record(build: Build, shard: int) -> ShardRecord | None:
    try:
        return ShardRecord.from_bytes(files.read_bytes(build.record_path(shard)))
    except (FileNotFoundError, CorruptStore, UnsupportedFormat):  # missing as it is
        return None


def finish(
    build: Build,
    *,
    versions: Mapping[str, str] | None = None,
    manifest: StoreManifest | None = None,
) -> StoreManifest:
    """The manifest, after every file was hashed again from disk; all of it durable.

    Every name is durable before that of the manifest, so that cut power leaves no manifest of files
    that are not there; then the folders up to that of the cache root.

    versions: of the libraries that computed, by name. manifest: that of the store of which this one
    is a copy, instead of a new one. Raises UnfinishedStore when shards are missing. Builders that
    finish at the same time return the same manifest.
    """
    numbers = range(TABLE_SHARD, build.shards)
    records = files.in_threads(lambda k: _valid_record(build, k), numbers)
    missing = [k for k, record in enumerate(records, start=TABLE_SHARD) if record is None]
    if missing:
        raise UnfinishedStore(
            f"{build.path}: {len(missing)} of {build.shards} shards are missing, the first is"
            f" {missing[0]}; run the same build again"
        )
    held = [record for record in records if record is not None]
    _clear(build, held)
    for folder in _inner_folders(build.path):
        files.sync_directory(folder)  # another builder may have named a file and been killed then
    manifest = _publish_manifest(build, manifest or _manifest(build, held, versions or {}))
    root = build.path.absolute().parent.parent  # of a relative path not all are in it
    for folder in (build.path, build.path.parent, root):
        files.sync_directory(folder)
    _sync_above(root.parent)
    return manifest


def _publish_manifest(build: Build, manifest: StoreManifest) -> StoreManifest:
    """The manifest that stands there in the end: this one, or that of a builder as fast."""
    path = build.path / "manifest.json"
    for _ in range(REWRITES):
        try:
            build.publish(path, manifest.to_bytes())
            return manifest
        except AlreadyPublished:
            existing = existing_manifest(build.path)
            same = existing is not None and existing.files == manifest.files
            if existing is not None and same and _is_as_written(path):
                return existing
            files.move_aside(path, build.quarantine)
    raise CorruptStore(f"{path}: other builders keep changing it; run one build at a time")


def _is_as_written(path: Path) -> bool:
    try:
        return is_as_written(files.read_bytes(path))
    except FileNotFoundError:
        return False


def _clear(build: Build, records: Sequence[ShardRecord]) -> None:
    """Move to quarantine what no record lists: the leftovers of another layout.

    A link may stand for a folder of files that are listed.
    """
    known = {build.record_path(k) for k in range(TABLE_SHARD, build.shards)}
    known |= {build.path / name for record in records for name in record.files}
    folders = {path.parent for path in known}
    for folder in ("ledger", "data.zarr"):
        for path in files.tree(build.path / folder):
            if path not in known and not (path in folders and files.is_folder(path)):
                files.move_aside(path, build.quarantine)


def write_files(
    build: Build,
    k: int,
    data: Mapping[str, bytes],
    status: Mapping[str, int] | None = None,
    statistics: Mapping[str, Any] | None = None,
    seconds: Mapping[str, float] | None = None,
) -> ShardRecord:
    """Publish files, then their record; adopt a record that another builder put there."""
    samples = range(0) if k == TABLE_SHARD else build.sample_range(k)
    record = ShardRecord(
        key=build.spec.key,
        blueprint=build.blueprint.digest,
        shard=k,
        start=samples.start,
        stop=samples.stop,
        files={name: _entry(content) for name, content in sorted(data.items())},
        status=status or {},
        statistics=statistics or {},
        seconds=seconds or {},
    )
    place = build.record_path(k)
    for _ in range(REWRITES):
        publish_or_replace(build, {build.path / name: body for name, body in data.items()})
        try:
            build.publish(place, record.to_bytes())
            return record
        except AlreadyPublished:
            existing = _valid_record(build, k)
            if existing is not None:
                return existing
    raise CorruptStore(f"{place}: other builders keep changing shard {k}; run one build at a time")


def publish_or_replace(build: Build, data: Mapping[Path, bytes]) -> None:
    """Publish; a file of that name with other bytes is no part of a valid shard: move it aside."""
    for _ in range(REWRITES):
        try:
            files.publish_many(data, temporary=build.temporary)
            return
        except AlreadyPublished as error:
            for path in error.paths:
                files.move_aside(path, build.quarantine)
    raise CorruptStore(f"{build.path}: other builders keep changing {sorted(data)[0]}")


def holds(build: Build, k: int) -> bool:
    return _valid_record(build, k) is not None


def _valid_record(build: Build, k: int) -> ShardRecord | None:
    """The record of shard k if it and all of its files hold; else it goes to quarantine."""
    place = build.record_path(k)
    try:
        judged = files.read_bytes(place)
    except FileNotFoundError:
        return None
    try:
        record = ShardRecord.from_bytes(judged)
        whole = is_as_written(judged) and _record_fits(build, k, record)
        if whole and _files_hold(build.path, record.files):
            return record
    except (CorruptStore, UnsupportedFormat):  # beside a blueprint that we read
        pass
    _retract(build, place, judged)
    return None


def _retract(build: Build, place: Path, judged: bytes) -> None:
    """Move a record aside, unless another builder has put a new one there since it was judged."""
    aside = files.move_aside(place, build.quarantine)
    if aside is not None and files.read_bytes(aside) != judged:
        files.put_back(aside, place)


def _record_fits(build: Build, k: int, record: ShardRecord) -> bool:
    """Whether a record is of this store, this layout and these samples."""
    samples = range(0) if k == TABLE_SHARD else build.sample_range(k)
    names = {column.shard_file(k) for column in build.blueprint.columns}
    wanted = (build.spec.key, build.blueprint.digest, k, samples.start, samples.stop)
    found = (record.key, record.blueprint, record.shard, record.start, record.stop)
    return found == wanted and (k == TABLE_SHARD or set(record.files) == names)


def _files_hold(path: Path, entries: Mapping[str, FileEntry]) -> bool:
    try:
        return all(
            not files.is_folder(path / name) and files.difference(path / name, *entry) is None
            for name, entry in entries.items()
        )
    except FileNotFoundError:
        return False


def _manifest(
    build: Build, records: Sequence[ShardRecord], versions: Mapping[str, str]
) -> StoreManifest:
    entries = {name: entry for record in records for name, entry in record.files.items()}
    return StoreManifest(
        key=build.spec.key,
        diagram_key=build.spec.diagram_key,
        spec=build.spec,
        blueprint=build.blueprint,
        samples=build.blueprint.samples,
        shards=build.shards,
        files=dict(sorted(entries.items())),
        digest=files_digest(entries),
        status=merged(record.status for record in records),
        statistics=merged(record.statistics for record in records),
        seconds=merged(record.seconds for record in records),
        versions={
            **{name: _version(name) for name in ("numpy", "zarr", "numcodecs")},
            "python": platform.python_version(),
            **versions,
        },
        created=now(),
    )


@cache
def _version(library: str) -> str:
    """The version installed, looked up once: it is read from a file of the library."""
    return version(library)


def _check_columns(build: Build, k: int, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raises InvalidSpec with every problem of the arrays of a shard."""
    rows, blueprint = len(build.sample_range(k)), build.blueprint
    problems = array_problems(arrays, blueprint.columns, rows, blueprint.layout)
    if problems:
        raise InvalidSpec(f"shard {k}: " + "; ".join(problems))


def now() -> str:
    """This moment, for people; no decision depends on it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def existing_manifest(path: Path) -> StoreManifest | None:
    """The manifest of a store folder, None when it is gone or damaged.

    Raises CorruptStore when it is that of another store.
    """
    try:
        manifest = StoreManifest.from_bytes(files.read_bytes(path / "manifest.json"))
    except (FileNotFoundError, CorruptStore):
        return None
    check_home(path, manifest.key)
    return manifest


def _entry(data: bytes) -> FileEntry:
    return FileEntry(len(data), hashlib.sha256(data).hexdigest())


def _sync_above(folder: Path) -> None:
    """Make the name of the cache root durable, which a builder that was killed may have made."""
    try:
        files.sync_directory(folder)
    except StorageFailed as error:
        # Where we may not look, the root is not of our making.
        if error.errno not in (errno.EACCES, errno.EPERM):
            raise


def _inner_folders(store: Path) -> list[Path]:
    """Every folder that holds what a manifest is about."""
    arrays = [folder for folder in files.listing(store / "data.zarr") if files.is_folder(folder)]
    return [*arrays, store / "data.zarr", store / "ledger"]
