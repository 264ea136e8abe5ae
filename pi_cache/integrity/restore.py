"""Ledger records from a manifest, which holds the sums of what they say.

The ledger is read again only to make a manifest of it. So records are restored such that all of
them together give the numbers that the manifest has; sums that are no whole numbers to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pi_cache.catalogue import read_manifest
from pi_cache.errors import CorruptStore, StorageFailed, UnsupportedFormat
from pi_cache.integrity.consistency import stored_counts
from pi_cache.ledger import Build, record_of
from pi_cache.manifest import (
    EXTREMES,
    MALFORMED,
    TABLE_SHARD,
    FileEntry,
    ShardRecord,
    StoreManifest,
    merged,
)

UNKNOWN = "unknown"
LIBRARIES = ("numpy", "zarr", "numcodecs", "python")


def restored_record(
    build: Build, manifest: StoreManifest, k: int, lost: Sequence[int]
) -> ShardRecord:
    """The record of shard k, whose files must be whole; that of the tables is one too.

    Statuses are counted in the store. lost: all whose records are. To the first shard of these is
    given what the other records do not account for. Raises CorruptStore.
    """
    table = k == TABLE_SHARD
    samples = range(0) if table else build.sample_range(k)
    first = k == min((shard for shard in lost if shard != TABLE_SHARD), default=None)
    statistics, seconds = _left(build, manifest, lost) if first else ({}, {})
    return ShardRecord(
        key=manifest.key,
        blueprint=manifest.blueprint.digest,
        shard=k,
        start=samples.start,
        stop=samples.stop,
        files=_files_of(manifest, k),
        status={} if table else stored_counts(build.path, manifest, k),
        statistics=statistics,
        seconds=seconds,
    )


def versions_before(path: Path) -> dict[str, str]:
    """The libraries that computed a store whose manifest is to be replaced, as far as is known."""
    try:
        return dict(read_manifest(path).versions)
    except (FileNotFoundError, CorruptStore, StorageFailed, UnsupportedFormat):
        return dict.fromkeys(LIBRARIES, UNKNOWN) | {"restored by pi-cache": version("pi-cache")}


def remainder(total: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """What `merged` makes `total` of, beside `part`; the smallest and largest stay as they are."""
    rest: dict[str, Any] = {}
    for name, value in total.items():
        if name not in part or name[:3] in ("min", "max"):
            rest[name] = value
        elif name in EXTREMES:
            rest[name] = [_rest_of_pair(a, b) for a, b in zip(value, part[name], strict=True)]
        elif isinstance(value, Mapping):
            rest[name] = remainder(value, part[name])
        elif isinstance(value, list | tuple):
            rest[name] = [a - b for a, b in zip(value, part[name], strict=True)]
        elif not isinstance(value, str):  # a text is that of one sample, which is in the part
            rest[name] = value - part[name]
    return rest


def _rest_of_pair(total: list[Any] | None, part: list[Any] | None) -> list[Any] | None:
    """What is left of an extreme value and its count; all of it where the part has another."""
    if total is None or part is None or part[0] != total[0]:
        return total
    return [total[0], total[1] - part[1]]


def _left(
    build: Build, manifest: StoreManifest, lost: Sequence[int]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Statistics and seconds beside those of the records that are not lost. Raises CorruptStore."""
    others = [record_of(build, k) for k in range(build.shards) if k not in lost]
    try:
        return (
            remainder(manifest.statistics, merged(record.statistics for record in others)),
            remainder(manifest.seconds, merged(record.seconds for record in others)),
        )
    except MALFORMED as error:
        raise CorruptStore(
            f"manifest and ledger count other things, so no record can be restored: {error}; remove"
            " the folder `ledger` and repair again: all of it is restored from the manifest"
        ) from error


def _files_of(manifest: StoreManifest, k: int) -> dict[str, FileEntry]:
    """The files of a shard; of the tables, all that belong to no shard."""
    columns = manifest.columns
    if k != TABLE_SHARD:
        return {name: manifest.files[name] for name in sorted(c.shard_file(k) for c in columns)}
    shards = {column.shard_file(k) for column in columns for k in range(manifest.shards)}
    return {name: entry for name, entry in manifest.files.items() if name not in shards}
