"""A finished store, copied into a cache: every file checked before it has its name, manifest last.

What is there with the right digest is not fetched again, so a pull that was cut or killed goes on.
The documents beside the data are made again from the manifest, which holds what they say.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from pi_cache import files
from pi_cache.catalogue import read_spec
from pi_cache.errors import AlreadyPublished, CorruptStore, StoreNotFound
from pi_cache.firsttouch import FirstTouch
from pi_cache.integrity.restore import restored_record
from pi_cache.keeping.space import Need, check_space
from pi_cache.ledger import Build, existing_manifest, finish, publish_or_replace
from pi_cache.manifest import TABLE_SHARD, Blueprint, FileEntry, StoreManifest
from pi_cache.remote.fetching import fetch
from pi_cache.remote.reading import manifest_bytes
from pi_cache.remote.transport import Transport
from pi_cache.root import STORES, ensure_root

JOBS = 4
DOCUMENTS = 1 << 16
"""Bytes that the documents of a store take at most, beside its manifest."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What came of a pull or a push. found: it was there; moved: files and bytes that went."""

    key: str
    place: str
    digest: str
    found: bool = False
    files: int = 0
    bytes: int = 0
    moved_files: int = 0
    moved_bytes: int = 0
    seconds: float = 0.0


class Ended(Exception):
    """Another thread has failed, and nobody needs this one's work any more."""


def pull(
    source: Transport,
    place: str,
    root: Path,
    *,
    jobs: int = JOBS,
    check_room: bool = True,
    progress: Progress | None = None,
) -> Transfer:
    """The store of a transport, in `root`/stores/KEY; whole, or not there.

    place: its address, for people. jobs: files at a time. progress: told of the bytes that are
    there and that there are to be. Raises StoreNotFound, CorruptStore, AlreadyPublished where a
    store of that key holds other files, StorageFull before anything is fetched, AccessRefused,
    RemoteFailed.
    """
    started = time.monotonic()
    manifest = StoreManifest.from_bytes(manifest_bytes(source, place))
    path = root.absolute() / STORES / manifest.key
    there = Transfer(
        key=manifest.key,
        place=str(path),
        digest=manifest.digest,
        found=True,
        files=len(manifest.files),
        bytes=manifest.size,
    )
    if _is_there(path, manifest):
        return there
    build = Build(path, manifest.spec, manifest.blueprint)
    _check_begun(build)
    lost = _lost(path, manifest)
    if check_room:
        check_space(root, _need(lost, manifest))
    ensure_root(root)
    files.sweep(build.temporary)
    _publish_begun(build)
    Fetching(source, build, manifest, lost, progress).run(jobs)
    _publish_ledger(build, manifest)
    finish(build, manifest=manifest)
    moved = sum(entry.size for entry in lost.values())
    spent = time.monotonic() - started
    return replace(there, found=False, moved_files=len(lost), moved_bytes=moved, seconds=spent)


def _is_there(path: Path, manifest: StoreManifest) -> bool:
    """Whether this store is there already, every file with its size."""
    existing = existing_manifest(path)
    if existing is None:
        return False
    if existing.digest != manifest.digest:
        raise AlreadyPublished(
            f"{path}: a store of this key is there with other files ({existing.digest[:12]},"
            f" expected {manifest.digest[:12]}); pull into another --cache, or remove it with"
            f" pi-cache rm {manifest.key[:12]}"
        )
    try:
        FirstTouch(path, manifest.files, "size").check_sizes()
    except CorruptStore:  # what it has lost is fetched
        return False
    return True


def _check_begun(build: Build) -> None:
    """Raise AlreadyPublished where a build of this store was begun with another layout."""
    try:
        begun = Blueprint.from_bytes(files.read_bytes(build.path / "blueprint.json"))
    except (FileNotFoundError, CorruptStore):
        return
    if begun.digest != build.blueprint.digest:
        raise AlreadyPublished(
            f"{build.path}: a build of this store was begun here with another layout; pull into"
            f" another --cache, or remove it with pi-cache rm {build.spec.key[:12]}"
        )


def _lost(path: Path, manifest: StoreManifest) -> dict[str, FileEntry]:
    """The files that are not there, or have another digest."""

    def is_lost(item: tuple[str, FileEntry]) -> bool:
        name, entry = item
        try:
            return files.difference(path / name, *entry) is not None
        except FileNotFoundError:
            return True

    found = files.in_threads(is_lost, manifest.files.items())
    lost = zip(manifest.files.items(), found, strict=True)
    return {name: entry for (name, entry), missing in lost if missing}


def _need(lost: dict[str, FileEntry], manifest: StoreManifest) -> Need:
    """What a pull adds: files and folders, and the documents beside them."""
    folders = {name.rpartition("/")[0] for name in lost}
    documents = manifest.shards + 4
    size = sum(entry.size for entry in lost.values())
    return Need(bytes=size + DOCUMENTS, files=len(lost) + len(folders) + documents)


def _publish_begun(build: Build) -> None:
    """What a builder publishes first: spec and blueprint."""
    place = build.path / "spec.json"
    try:
        if read_spec(build.path).key != build.spec.key:
            publish_or_replace(build, {place: build.spec.to_bytes()})
    except (FileNotFoundError, CorruptStore):
        publish_or_replace(build, {place: build.spec.to_bytes()})
    publish_or_replace(build, {build.path / "blueprint.json": build.blueprint.to_bytes()})


def _publish_ledger(build: Build, manifest: StoreManifest) -> None:
    """The record of every shard, such that all together say what the manifest says."""
    numbers = range(TABLE_SHARD, build.shards)
    records = {k: restored_record(build, manifest, k, numbers) for k in numbers}
    publish_or_replace(
        build, {build.record_path(k): record.to_bytes() for k, record in records.items()}
    )


class Fetching:
    """Files of a store that are fetched at the same time; the first failure ends all."""

    def __init__(
        self,
        source: Transport,
        build: Build,
        manifest: StoreManifest,
        lost: dict[str, FileEntry],
        progress: Progress | None,
    ) -> None:
        self.source, self.build, self.lost, self.progress = source, build, lost, progress
        self.total = manifest.size
        self.done = manifest.size - sum(entry.size for entry in lost.values())
        self.ended = False
        self._lock = threading.Lock()

    def run(self, jobs: int) -> None:
        """Fetch all. Raises what the first failure was."""
        with ThreadPoolExecutor(jobs, thread_name_prefix="pi-cache pull") as threads:
            tasks = [threads.submit(self._fetch, name) for name in self.lost]
            try:
                wait(tasks, return_when=FIRST_EXCEPTION)
            finally:
                self.ended = any(task.done() and task.exception() for task in tasks)
                self.ended |= not all(task.done() for task in tasks)
                for task in tasks:
                    task.cancel()
        failures = [task.exception() for task in tasks if not task.cancelled()]
        for failure in failures:
            if failure is not None and not isinstance(failure, Ended):
                raise failure

    def _fetch(self, name: str) -> None:
        entry = self.lost[name]
        came = 0

        def met(count: int) -> None:
            nonlocal came
            if self.ended:
                raise Ended
            if came + count <= entry.size:  # what is fetched anew counts once
                came += count
                self._tell(count)

        try:
            fetch(
                self.source,
                name,
                entry,
                self.build.path / name,
                temporary=self.build.temporary,
                met=met,
                aside=self.build.quarantine,
            )
        except FileNotFoundError as error:
            raise StoreNotFound(
                f"{error}; the store has changed on the server or is no longer shown: run the same"
                " command again"
            ) from error

    def _tell(self, count: int) -> None:
        with self._lock:
            self.done += count
            if self.progress is not None:
                self.progress(self.done, self.total)
