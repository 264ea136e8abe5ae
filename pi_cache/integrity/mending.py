"""Mend what needs no computing: documents from each other, files of which a copy lies about.

Metadata are made again from the blueprint. A copy is any file of the same digest: one in the wrong
place or in quarantine, or one of another store (those of one source share ids, labels and inputs,
those of one diagram spec share diagrams). What is damaged goes to quarantine when its replacement
is there.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pi_cache import catalogue, files
from pi_cache.errors import CorruptStore, PiCacheError, StorageFailed
from pi_cache.integrity.restore import restored_record, versions_before
from pi_cache.integrity.verification import Finding
from pi_cache.layout import SampleTable
from pi_cache.ledger import Build, finish, publish_or_replace, recorded_manifest
from pi_cache.manifest import TABLE_SHARD, FileEntry, StoreManifest, is_as_written
from pi_cache.root import STORES

Say = Callable[[str], None]

LISTED_SO = (
    "cannot be repaired, since it is what was listed: this store was never right; remove it with"
    " pi-cache rm, and build it again"
)

HARMED = {
    *("EIO", "EUCLEAN", "EBADMSG", "EREMOTEIO", "ENXIO", "ENODEV"),  # a failing disk
    *("EISDIR", "ELOOP", "EINVAL"),  # no file, but a folder, a link to itself, a pipe
}
"""What a file that is damaged says when it is read. All else is no fault of its own: permissions,
too many open files, a network that does not answer."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """How a repair is done. source, workers, dry_run, say: as for `pi_cache.repair.repair`."""

    source: str | None = None
    workers: int | None = None
    dry_run: bool = False
    say: Say = lambda line: None

    def do(self, line: str, action: Callable[..., object], *arguments: object) -> None:
        """Do a thing and tell it; a dry run only tells."""
        if not self.dry_run:
            action(*arguments)
        self.say(line)


def check_allowed(places: Iterable[Path]) -> None:
    """Raise StorageFailed where a file cannot be read for a reason that is none of its own."""
    for place in places:
        error = _unreadable(place)
        if error is not None and not _is_harm(error):
            raise error


def put(build: Build, name: str, data: bytes) -> None:
    """Publish a file of a store; whatever lies in its place goes to quarantine."""
    place = build.path / name
    try:
        publish_or_replace(build, {place: data})
    except StorageFailed:
        error = _unreadable(place)
        if error is None or not _is_harm(error):  # so it is not in the way: the disk may be full
            raise
        files.move_aside(place, build.quarantine)
        publish_or_replace(build, {place: data})


def _unreadable(place: Path) -> StorageFailed | None:
    """Why something cannot be read; None where it can, or is not there."""
    try:
        files.digest(place)
    except FileNotFoundError:
        return None
    except StorageFailed as error:
        return error
    return None


def _is_harm(error: StorageFailed) -> bool:
    return errno.errorcode.get(error.errno or 0) in HARMED


def entry_of(data: bytes) -> FileEntry:
    """Size and SHA-256 of some bytes."""
    return FileEntry(len(data), hashlib.sha256(data).hexdigest())


class Mending:
    """One store, what is wrong with it, and how it is mended.

    manifest: what the store is to be again.
    """

    def __init__(
        self, path: Path, manifest: StoreManifest, findings: Sequence[Finding], work: Work
    ) -> None:
        self.build = Build(path, manifest.spec, manifest.blueprint)
        self.manifest, self.findings, self.work = manifest, findings, work
        self._seen: dict[Path, FileEntry | None] = {}

    def mend_files(self) -> list[Finding]:
        """Mend all but ledger and manifest. What is returned has to be computed."""
        if not self.work.dry_run:
            files.sweep(self.build.temporary)
        left = []
        for finding in sorted(self.findings, key=lambda one: one.kind != "orphan"):
            name = finding.path
            if finding.kind == "orphan":
                line = f"{name}: to quarantine, since no document lists it"
                place = self.build.path / name
                self.work.do(line, files.move_aside, place, self.build.quarantine)
            elif name == "spec.json":
                self._put(name, self.manifest.spec.to_bytes(), "from the manifest")
            elif name == "blueprint.json":
                self._put(name, self.manifest.blueprint.to_bytes(), "from the manifest")
            elif name not in self.manifest.files:
                continue
            elif self._is_listed(name):
                if finding.kind != "unreadable":  # else it can be read again by now
                    self.work.say(f"{name}: {LISTED_SO}")
            elif not self._mend_listed(name):
                left.append(finding)
        return left

    def mend_ledger(self) -> None:
        """Mend records and manifest, once all files are there that they speak of."""
        broken = {finding.path for finding in self.findings if finding.kind != "orphan"}
        numbers = range(TABLE_SHARD, self.build.shards)
        names = {k: f"ledger/{self.build.record_path(k).name}" for k in numbers}
        lost = [k for k, name in names.items() if name in broken]
        for k in lost:
            self.work.do(f"{names[k]}: from the manifest", self._restore, k, lost)
        if "manifest.json" in broken:
            self._mend_manifest()

    def _restore(self, k: int, lost: Sequence[int]) -> None:
        record = restored_record(self.build, self.manifest, k, lost)
        put(self.build, f"ledger/{self.build.record_path(k).name}", record.to_bytes())

    def _mend_manifest(self) -> None:
        build, place = self.build, self.build.path / "manifest.json"
        if self.work.dry_run:
            self.work.say("manifest.json: from the ledger")
            return
        recorded = recorded_manifest(build)
        if recorded.digest != self.manifest.digest:
            raise CorruptStore(
                f"{place}: digest {self.manifest.digest}, the ledger says {recorded.digest}; it was"
                " left as it is: build the store again"
            )
        if _says_the_same(place, recorded):
            self.work.say(f"manifest.json: {LISTED_SO}")
            return
        versions = versions_before(build.path)
        if files.exists(place):
            files.move_aside(place, build.quarantine)
        finish(build, versions=versions)
        self.work.say("manifest.json: from the ledger")

    def _put(self, name: str, data: bytes, whence: str) -> None:
        self.work.do(f"{name}: {whence}", put, self.build, name, data)
        self._seen.pop(self.build.path / name, None)

    def _is_listed(self, name: str) -> bool:
        """Whether a file that is found fault with is the one that was listed."""
        try:
            return files.difference(self.build.path / name, *self.manifest.files[name]) is None
        except (FileNotFoundError, StorageFailed):
            return False

    def _mend_listed(self, name: str) -> bool:
        """Whether a file of data could be had without computing it."""
        entry = self.manifest.files[name]
        made = self._metadata.get(name) if name.endswith("zarr.json") else None
        if made is not None and entry_of(made) == entry:
            self._put(name, made, "from the blueprint")
            return True
        for place in self._copies(entry):
            data = _read(place, entry)
            if data is not None:
                self._put(name, data, f"a copy of {place}")
                return True
        return False

    @cached_property
    def _metadata(self) -> dict[str, bytes]:
        """The metadata of all arrays; that of a table does not depend on what it holds."""
        from pi_cache.store import metadata  # zarr: only who mends metadata waits for its import

        names = [str(i) for i in range(self.manifest.samples)]
        tables = self.manifest.blueprint.tables
        table = SampleTable(
            ids=names,
            labels=np.zeros(len(names), np.int64),
            groups=names if "groups" in tables else None,
            splits=names if "splits" in tables else None,
        )
        return metadata(self.build, table)

    def _copies(self, entry: FileEntry) -> Iterator[Path]:
        """Where a file of that digest may lie: misplaced in this store, or in another one."""
        near = [self.build.path / one.path for one in self.findings if one.kind != "missing"]
        near += files.listing(self.build.quarantine)
        yield from (place for place in near if self._seen_at(place) == entry)
        yield from self._elsewhere.get(entry, ())

    def _seen_at(self, place: Path) -> FileEntry | None:
        """Size and digest of a file of a size that is looked for; each file is read once only."""
        if place not in self._seen:
            self._seen[place] = _found_at(place, self._sizes)
        return self._seen[place]

    @cached_property
    def _sizes(self) -> set[int]:
        """Sizes of the listed files that something is wrong with."""
        listed = (self.manifest.files.get(finding.path) for finding in self.findings)
        return {entry.size for entry in listed if entry is not None}

    @cached_property
    def _elsewhere(self) -> dict[FileEntry, list[Path]]:
        """Files of the other stores of this cache that have a digest which is looked for."""
        found: dict[FileEntry, list[Path]] = {}
        folder = self.build.path.parent
        if folder.name != STORES:
            return found
        wanted = {self.manifest.files.get(finding.path) for finding in self.findings}
        for other in catalogue.stores(folder.parent):
            if other.manifest is not None and other.path != self.build.path:
                for name, entry in other.manifest.files.items():
                    if entry in wanted:
                        found.setdefault(entry, []).append(other.path / name)
        return found


def _found_at(place: Path, sizes: Set[int]) -> FileEntry | None:
    """Size and digest of a file that has one of these sizes."""
    try:
        if files.is_folder(place) or files.size(place) not in sizes:
            return None
        return FileEntry(*files.digest(place))
    except (FileNotFoundError, PiCacheError):
        return None


def _read(place: Path, entry: FileEntry) -> bytes | None:
    """A file if it has that size and digest."""
    try:
        data = files.read_bytes(place, most=entry.size)
    except (FileNotFoundError, PiCacheError):
        return None
    return data if entry_of(data) == entry else None


def _says_the_same(place: Path, recorded: StoreManifest) -> bool:
    """Whether a manifest is whole and says what the ledger says, so that nothing can mend it."""
    try:
        data = files.read_bytes(place)
        found = StoreManifest.from_bytes(data)
    except (FileNotFoundError, PiCacheError):
        return False
    said = ("files", "status", "blueprint")
    same = all(getattr(found, name) == getattr(recorded, name) for name in said)
    return same and is_as_written(data)
