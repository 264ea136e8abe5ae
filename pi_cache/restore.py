"""Ledger records from a manifest, which holds the sums of what they say.

The ledger is read again only to make a manifest of it. So records are restored such that all of
them together give the numbers that the manifest has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pi_cache.catalogue import read_manifest
from pi_cache.consistency import stored_counts
from pi_cache.errors import CorruptStore, StorageFailed, UnsupportedFormat
from pi_cache.ledger import Build, record_of
from pi_cache.manifest import TABLE_SHARD, FileEntry, ShardRecord, StoreManifest, merged

UNKNOWN = "unknown"
LIBRARIES = ("numpy", "zarr", "numcodecs", "python")


def restored_records(
    build: Build, manifest: StoreManifest, lost: Sequence[int]
) -> Iterator[ShardRecord]:
    """The records of these shards, whose files must be whole; that of the tables is one too.

    Statuses are counted in the store. All else that the other records do not account for is given
    to the first shard of these.
    """
    shards = [k for k in lost if k != TABLE_SHARD]
    others = list(_others(build, lost)) if shards else []
    for k in lost:
        samples = range(0) if k == TABLE_SHARD else build.sample_range(k)
        first = k in shards[:1]
        yield ShardRecord(
            key=manifest.key,
            blueprint=manifest.blueprint.digest,
            shard=k,
            start=samples.start,
            stop=samples.stop,
            files=_files_of(manifest, k),
            status={} if k == TABLE_SHARD else stored_counts(build.path, manifest, k),
            statistics=_left(manifest.statistics, [r.statistics for r in others]) if first else {},
            seconds=_left(manifest.seconds, [r.seconds for r in others]) if first else {},
        )


def versions_before(path: Path) -> dict[str, str]:
    """The libraries that computed a store whose manifest is to be replaced, as far as is known."""
    try:
        return dict(read_manifest(path).versions)
    except (FileNotFoundError, CorruptStore, StorageFailed, UnsupportedFormat):
        return dict.fromkeys(LIBRARIES, UNKNOWN) | {"restored by pi-cache": version("pi-cache")}


def remainder(total: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """What `merged` makes `total` of, beside `part`; the smallest and largest stay as they are."""
    return {
        name: _rest(name, value, part[name]) if name in part else value
        for name, value in total.items()
    }


def _rest(name: str, total: Any, part: Any) -> Any:
    if isinstance(total, Mapping):
        return remainder(total, part)
    if isinstance(total, list | tuple):
        return [_rest(name, a, b) for a, b in zip(total, part, strict=True)]
    if isinstance(total, str) or name[:3] in ("min", "max"):
        return total
    return total - part


def _left(total: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The remainder beside several parts, without texts that another has."""
    rest = remainder(total, merged(parts))
    if isinstance(rest.get("problems"), Mapping):
        named = {name for part in parts for name in part.get("problems", {})}
        rest["problems"] = {k: text for k, text in rest["problems"].items() if k not in named}
    return rest


def _others(build: Build, lost: Sequence[int]) -> Iterator[ShardRecord]:
    """The records of all other shards, as far as there are any."""
    for k in range(build.shards):
        if k not in lost:
            try:
                yield record_of(build, k)
            except (FileNotFoundError, CorruptStore, UnsupportedFormat):
                continue


def _files_of(manifest: StoreManifest, k: int) -> dict[str, FileEntry]:
    """The files of a shard; of the tables, all that belong to no shard."""
    columns = manifest.columns
    if k != TABLE_SHARD:
        return {name: manifest.files[name] for name in sorted(c.shard_file(k) for c in columns)}
    shards = {column.shard_file(k) for column in columns for k in range(manifest.shards)}
    return {name: entry for name, entry in manifest.files.items() if name not in shards}
