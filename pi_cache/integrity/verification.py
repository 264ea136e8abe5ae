"""Read a finished store and say what is wrong with it; writes nothing.

Three questions: whether each file has its digest, whether the documents agree with each other, and
what neither can tell, whether the arrays make sense together (see `consistency`).
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from pi_cache import files
from pi_cache.catalogue import check_home, read_manifest, read_spec
from pi_cache.errors import (
    CorruptStore,
    PiCacheError,
    StorageFailed,
    StoreNotFound,
    UnfinishedStore,
    UnsupportedFormat,
)
from pi_cache.integrity.consistency import contradictions
from pi_cache.integrity.salvage import salvaged_build
from pi_cache.ledger import Build, open_build, record_of, recorded_manifest
from pi_cache.manifest import (
    TABLE_SHARD,
    Blueprint,
    FileEntry,
    ShardRecord,
    StoreManifest,
    is_as_written,
)

KINDS = ("corrupt", "missing", "unreadable", "orphan", "differs")
"""What a finding can be; `differs` is one of `pi-cache verify --recompute`."""

UNCHECKED = {"tmp", "quarantine"}
"""Folders of leftovers: nothing reads them."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. kind: see KINDS. path: inside the store folder."""

    kind: str
    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind} {self.path}: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What is wrong with a store, by path, and how much of it was read to say so.

    manifest: what the store was measured by; where that is damaged, what its ledger says it was;
    None where neither can be read, and nothing else was looked at. files, bytes: of the whole
    store. files_read, bytes_read: those whose digests were computed. seed: of the share that was
    to be read, None for all; of all others only presence and size were looked at.
    """

    path: Path
    findings: list[Finding]
    manifest: StoreManifest | None
    files: int = 0
    bytes: int = 0
    files_read: int = 0
    bytes_read: int = 0
    seconds: float = 0.0
    seed: int | None = None

    @property
    def complete(self) -> bool:
        """Whether every byte that there is was read."""
        return self.manifest is not None and self.seed is None

    @property
    def whole(self) -> bool:
        """Whether every listed byte was read and nothing is wrong."""
        return self.complete and not self.findings

    @property
    def rate(self) -> float:
        """Bytes read a second."""
        return self.bytes_read / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputation:
    """What came of computing samples again from their source.

    samples: compared. left_out: not compared, since the store or this machine gave up on them
    (TIMEOUT, CRASH). slightly: images that differ in the last bit only, which another machine or
    library may do; largest: by how much at most. findings: of kind `differs`, by file.
    """

    samples: int
    left_out: int = 0
    slightly: int = 0
    largest: float = 0.0
    seed: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)


def verify(path: Path) -> list[Finding]:
    """Everything wrong with a finished store, by path; empty when it is whole. See `inspect`."""
    return inspect(path).findings


def inspect(
    path: Path,
    *,
    share: float = 1.0,
    seed: int | None = None,
    lost: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Everything wrong with a finished store, and how much was read to find it.

    corrupt: bytes or content differ from what the documents say. missing: a listed file is gone.
    unreadable: the file system fails. orphan: a file that no document lists.
    share: part of the bytes of the shards to read, in files chosen at random by `seed`; documents,
    tables and statuses are always read, presence and size of all others looked at. lost: a manifest
    that is not there is a finding too, where the ledger is complete. progress: called with the
    bytes read and to be read. Raises StoreNotFound, UnfinishedStore, UnsupportedFormat.
    """
    started = time.perf_counter()
    manifest, findings = _trusted(path, lost=lost)
    if manifest is None:
        return Verification(path=path, findings=findings, manifest=None)
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    chosen = set(manifest.files) if share >= 1 else _choose(manifest, share, seed)
    meter = _Meter(sum(manifest.files[name].size for name in chosen), progress)
    found = files.in_threads(
        lambda item: _check_file(path, *item, meter if item[0] in chosen else None),
        manifest.files.items(),
    )
    findings += [finding for finding in found if finding is not None]
    damaged = {finding.path for finding in findings}
    documents, records = _check_documents(path, manifest)
    findings += documents
    try:
        for name, text in contradictions(path, manifest, chosen - damaged, records):
            findings.append(Finding("corrupt", name, text))
    except StorageFailed as error:
        findings.append(_broken("data.zarr", error))
    findings += _orphans(path, manifest)
    return Verification(
        path=path,
        findings=sorted(findings, key=lambda finding: finding.path),
        manifest=manifest,
        files=len(manifest.files),
        bytes=manifest.size,
        files_read=meter.files,
        bytes_read=meter.done,
        seconds=time.perf_counter() - started,
        seed=seed if len(chosen) < len(manifest.files) else None,
    )


def _trusted(path: Path, *, lost: bool) -> tuple[StoreManifest | None, list[Finding]]:
    """What to measure a store by: its manifest, or what the ledger says it was."""
    try:
        manifest = read_manifest(path)
        try:
            _check_written(path / "manifest.json")
        except CorruptStore as error:
            return manifest, [_broken("manifest.json", error)]
        return manifest, []
    except UnsupportedFormat:
        raise
    except (StoreNotFound, UnfinishedStore) as error:
        recorded = _recorded(path) if lost else None
        if recorded is not None:
            text = "every shard has its record, so this store was finished or about to be"
            return recorded, [Finding("missing", "manifest.json", text)]
        if lost or isinstance(error, StoreNotFound):
            raise
        text = f"{error}, or pi-cache repair if its manifest was lost"
        raise UnfinishedStore(text) from error
    except (CorruptStore, StorageFailed) as error:
        return _recorded(path), [_broken("manifest.json", error)]


def _recorded(path: Path) -> StoreManifest | None:
    """What the ledger says the manifest was, None where a record is gone or damaged."""
    try:
        build = _settled(path)
        check_home(path, build.spec.key)
        return recorded_manifest(build)
    except (FileNotFoundError, CorruptStore, StorageFailed, UnsupportedFormat):
        return None


def _settled(path: Path) -> Build:
    """The build that a store was, by its documents or, where these are lost, by its metadata."""
    try:
        return open_build(path)
    except (CorruptStore, StoreNotFound):
        return salvaged_build(path)


def _choose(manifest: StoreManifest, share: float, seed: int) -> set[str]:
    """Names of the files to read: some of the shards, and all that is small."""
    large = {
        column.shard_file(k)
        for column in manifest.columns
        if column.name != "status"
        for k in range(manifest.shards)
    }
    order = sorted(large)
    random.Random(seed).shuffle(order)
    left = share * sum(manifest.files[name].size for name in order)
    chosen = set(manifest.files) - large
    for name in order:
        if left <= 0:
            break
        chosen.add(name)
        left -= manifest.files[name].size
    return chosen


class _Meter:
    """Files and bytes that all threads have read."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.files, self.done, self.total, self.progress = 0, 0, total, progress
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.files += 1
            self.done += count
            if self.progress is not None:
                self.progress(self.done, self.total)


def _check_file(path: Path, name: str, entry: FileEntry, meter: _Meter | None) -> Finding | None:
    """What is wrong with one file; only its size is looked at where there is no meter."""
    try:
        if meter is None:
            size = files.size(path / name)
            problem = None if size == entry.size else f"expected {entry.size} bytes, got {size}"
        else:
            problem = files.difference(path / name, *entry)
            meter.add(entry.size)
    except FileNotFoundError:
        return Finding("missing", name, f"expected {entry.size} bytes")
    except PiCacheError as error:
        return Finding("unreadable", name, str(error))
    return None if problem is None else Finding("corrupt", name, problem)


def _check_documents(
    path: Path, manifest: StoreManifest
) -> tuple[list[Finding], dict[int, ShardRecord]]:
    """What is wrong with the small JSON files beside the data, and the records that hold.

    A store can be read without its ledger, but only that can tell what a damaged manifest was.
    """
    findings = []
    for name, check in (("spec.json", _check_spec), ("blueprint.json", _check_blueprint)):
        try:
            check(path, manifest)
        except FileNotFoundError:
            findings.append(Finding("missing", name, "the manifest has a copy of it"))
        except PiCacheError as error:
            findings.append(_broken(name, error))
    build = Build(path, manifest.spec, manifest.blueprint)
    records = {}
    try:
        there = {place.name for place in files.listing(path / "ledger")}
    except PiCacheError as error:
        findings.append(_broken("ledger", error))
        there = set()
    for k in range(TABLE_SHARD, manifest.shards):
        place = build.record_path(k)
        name = f"ledger/{place.name}"
        try:
            records[k] = _check_record(build, k, manifest)
        except FileNotFoundError:
            findings.append(Finding("missing", name, "the manifest has what it says"))
        except PiCacheError as error:
            findings.append(_broken(name, error))
    if len(records) > manifest.shards:  # all of them, and of those of shards the names are known
        listed = {name for record in records.values() for name in record.files}
        if left := manifest.files.keys() - listed:
            text = f"lists {len(left)} files less than the manifest, such as {min(left)}"
            findings.append(Finding("corrupt", "ledger/table.json", text))
    there -= {build.record_path(k).name for k in range(TABLE_SHARD, manifest.shards)}
    findings += [_orphan(f"ledger/{name}") for name in sorted(there)]
    return findings, records


def _broken(name: str, error: PiCacheError) -> Finding:
    """Beside a manifest that we read, a document of another format version is damage too."""
    kind = "unreadable" if isinstance(error, StorageFailed) else "corrupt"
    return Finding(kind, name, str(error))


def _check_spec(path: Path, manifest: StoreManifest) -> None:
    spec = read_spec(path)
    if spec.key != manifest.key:
        raise CorruptStore(f"key {spec.key}, expected {manifest.key}")
    _check_written(path / "spec.json")


def _check_blueprint(path: Path, manifest: StoreManifest) -> None:
    blueprint = Blueprint.from_bytes(files.read_bytes(path / "blueprint.json"))
    if replace(blueprint, created=manifest.blueprint.created) != manifest.blueprint:
        raise CorruptStore("disagrees with the manifest")
    _check_written(path / "blueprint.json")


def _check_record(build: Build, k: int, manifest: StoreManifest) -> ShardRecord:
    record = record_of(build, k)
    if not record.files.items() <= manifest.files.items():
        raise CorruptStore("disagrees with the manifest")
    _check_written(build.record_path(k))
    return record


def _check_written(place: Path) -> None:
    """Raise CorruptStore where a document that can be read has other bytes than were written."""
    if not is_as_written(files.read_bytes(place)):
        raise CorruptStore("can be read, but has other bytes than were written for what it says")


def _orphans(path: Path, manifest: StoreManifest) -> Iterator[Finding]:
    """Files, and links, that no document lists; a link may stand for a folder of listed files."""
    known = {"manifest.json", "spec.json", "blueprint.json", *manifest.files}
    folders = {str(folder) for name in manifest.files for folder in PurePosixPath(name).parents}
    for top in files.listing(path):
        if top.name in UNCHECKED | {"ledger"} and files.is_folder(top):
            continue
        within = files.is_folder(top) and not top.is_symlink()
        try:
            places = list(files.tree(top)) if within else [top]
        except PiCacheError as error:
            yield Finding("unreadable", top.name, str(error))
            continue
        for place in places:
            name = place.relative_to(path).as_posix()
            if name not in known and not (name in folders and files.is_folder(place)):
                yield _orphan(name)


def _orphan(name: str) -> Finding:
    return Finding("orphan", name, "no document lists it; pi-cache repair moves it to quarantine")
