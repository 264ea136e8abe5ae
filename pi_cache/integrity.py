"""Read every byte of a finished store and say what is wrong; writes nothing.

To repair, run the build again: `ledger.missing_shards` names exactly the damaged shards.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pi_cache import files
from pi_cache.catalogue import read_manifest, read_spec
from pi_cache.errors import CorruptStore, PiCacheError, StorageFailed, UnsupportedFormat
from pi_cache.manifest import Blueprint, FileEntry, ShardRecord, StoreManifest

KINDS = ("corrupt", "missing", "unreadable", "orphan")

UNCHECKED = {"tmp", "quarantine"}
"""Folders of leftovers: nothing reads them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. kind: see KINDS. path: inside the store folder."""

    kind: str
    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind} {self.path}: {self.detail}"


def verify(path: Path) -> list[Finding]:
    """Everything wrong with a finished store, by path; empty when it is whole.

    corrupt: bytes differ from the manifest. missing: a listed file is gone. unreadable: the file
    system fails. orphan: a file that no document lists.
    Raises StoreNotFound, UnfinishedStore, UnsupportedFormat.
    """
    try:
        manifest = read_manifest(path)
    except UnsupportedFormat:
        raise
    except CorruptStore as error:
        return [Finding("corrupt", "manifest.json", str(error))]
    checked = files.in_threads(lambda item: _check_file(path, *item), manifest.files.items())
    found = [finding for finding in checked if finding is not None]
    found += _check_documents(path, manifest)
    found += _orphans(path, manifest)
    return sorted(found, key=lambda finding: finding.path)


def _check_file(path: Path, name: str, entry: FileEntry) -> Finding | None:
    try:
        problem = files.difference(path / name, *entry)
    except FileNotFoundError:
        return Finding("missing", name, f"expected {entry.size} bytes")
    except PiCacheError as error:
        return Finding("unreadable", name, str(error))
    return None if problem is None else Finding("corrupt", name, problem)


def _check_documents(path: Path, manifest: StoreManifest) -> Iterator[Finding]:
    """The small JSON files beside the data; a store can live without its ledger."""
    try:
        spec = read_spec(path)
        if spec.key != manifest.key:
            yield Finding("corrupt", "spec.json", f"key {spec.key}, expected {manifest.key}")
    except FileNotFoundError:
        yield Finding("missing", "spec.json", "the manifest has a copy of it")
    except PiCacheError as error:
        yield _broken("spec.json", error)
    try:
        records = files.listing(path / "ledger")
    except PiCacheError as error:
        yield _broken("ledger", error)
        records = []
    for place in [path / "blueprint.json", *records]:
        name = place.relative_to(path).as_posix()
        try:
            _check_document(place, manifest)
        except FileNotFoundError:
            yield Finding("missing", name, "the manifest has a copy of it")
        except PiCacheError as error:
            yield _broken(name, error)


def _broken(name: str, error: PiCacheError) -> Finding:
    """Beside a manifest that we read, a document of another format version is damage too."""
    kind = "unreadable" if isinstance(error, StorageFailed) else "corrupt"
    return Finding(kind, name, str(error))


def _check_document(place: Path, manifest: StoreManifest) -> None:
    """Raise CorruptStore when a blueprint or a record disagrees with the manifest."""
    data = files.read_bytes(place)
    if place.name == "blueprint.json":
        blueprint = Blueprint.from_bytes(data)
        agrees = replace(blueprint, created=manifest.blueprint.created) == manifest.blueprint
    else:
        record = ShardRecord.from_bytes(data)
        agrees = record.files.items() <= manifest.files.items()
    if not agrees:
        raise CorruptStore("disagrees with the manifest")


def _orphans(path: Path, manifest: StoreManifest) -> Iterator[Finding]:
    known = {"manifest.json", "spec.json", "blueprint.json", *manifest.files}
    for folder, folders, names in os.walk(path):
        if Path(folder) == path:
            folders[:] = [name for name in folders if name not in UNCHECKED | {"ledger"}]
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in (*names, *links):
            relative = (Path(folder) / name).relative_to(path).as_posix()
            if relative not in known:
                yield Finding("orphan", relative, "no document lists it; delete it")
