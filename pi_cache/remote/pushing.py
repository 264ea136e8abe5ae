"""A finished store, put into a bucket: each object where there is none, the manifest last.

Two that push the same store at once put the same objects, and one of them each; a store is finished
there when its manifest is, as on a disk.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

from pi_cache import files
from pi_cache.catalogue import read_manifest
from pi_cache.errors import (
    AlreadyPublished,
    CorruptStore,
    InvalidSpec,
    RemoteFailed,
    StoreNotFound,
)
from pi_cache.manifest import MALFORMED, StoreManifest
from pi_cache.remote.address import is_remote, parse_address
from pi_cache.remote.fetching import document
from pi_cache.remote.pulling import Progress, Transfer, pull
from pi_cache.remote.reading import manifest_bytes
from pi_cache.remote.transport import FolderTransport, NotConditional, Target, transport
from pi_cache.shardfile import REMEDY
from pi_cache.specs import StoreSpec

JOBS = 4


def push(
    path: Path,
    target: str,
    *,
    jobs: int = JOBS,
    single_writer: bool = False,
    check_room: bool = True,
    progress: Progress | None = None,
) -> Transfer:
    """Have a finished store in a folder, which becomes a cache, or under a prefix in a bucket.

    single_writer: nobody else pushes there meanwhile, so that a server without conditional writes
    will do. Raises CorruptStore, AlreadyPublished where other bytes are there, AccessRefused,
    RemoteFailed, InvalidSpec for a service, which only reads.
    """
    if not is_remote(target):
        root = Path(target).expanduser()
        source = FolderTransport(path)
        return pull(source, str(path), root, jobs=jobs, check_room=check_room, progress=progress)
    address = parse_address(target)
    if address.scheme != "s3":
        raise InvalidSpec(
            f"{address}: a service only reads; pull from it, or push to s3://BUCKET/PREFIX or to a"
            " folder that it serves"
        )
    manifest = read_manifest(path)
    place = address.inside(manifest.key)
    bucket = cast(Target, transport(place))
    return _Pushing(path, manifest, bucket, str(place), progress).run(jobs, single_writer)


class _Pushing:
    """One store on its way into a bucket."""

    def __init__(
        self,
        path: Path,
        manifest: StoreManifest,
        target: Target,
        place: str,
        progress: Progress | None,
    ) -> None:
        self.path, self.manifest, self.target, self.place = path, manifest, target, place
        self.progress = progress
        self.conditional = True
        self.done, self.ended = 0, False
        self._lock = threading.Lock()

    def run(self, jobs: int, single_writer: bool) -> Transfer:
        """Put what is not there. Raises as `push`."""
        started = time.monotonic()
        found = self._is_there()
        moved: list[int] = []
        if not found:
            self._probe(single_writer)
            with ThreadPoolExecutor(jobs, thread_name_prefix="pi-cache push") as threads:
                moved = [size for size in threads.map(self._put, self.manifest.files) if size]
            self._put_spec()
            self._put_manifest()
        return Transfer(
            key=self.manifest.key,
            place=self.place,
            digest=self.manifest.digest,
            found=found,
            files=len(self.manifest.files),
            bytes=self.manifest.size,
            moved_files=len(moved),
            moved_bytes=sum(moved),
            seconds=time.monotonic() - started,
        )

    def _is_there(self) -> bool:
        """Whether this very store is finished there. Raises AlreadyPublished for another one."""
        try:
            there = StoreManifest.from_bytes(manifest_bytes(self.target, self.place))
        except StoreNotFound:
            return False
        if there.digest != self.manifest.digest:
            raise AlreadyPublished(
                f"{self.place}: a store of this key is there with other files"
                f" ({there.digest[:12]}, expected {self.manifest.digest[:12]}); push to another"
                " prefix, or remove what lies there"
            )
        return True

    def _probe(self, single_writer: bool) -> None:
        """Find out whether two that push at once can harm each other."""
        try:
            self.target.check_conditional(f".probe-{secrets.token_hex(8)}")
        except NotConditional as error:
            if not single_writer:
                raise RemoteFailed(
                    f"{self.place}: this server has no conditional writes ({error}), so two that"
                    " push the same store at once could mix it; if nobody else pushes it, say"
                    " --single-writer"
                ) from error
            self.conditional = False

    def _put(self, name: str) -> int:
        """Put a file that has its digest; its bytes, 0 where it was there."""
        if self.ended:
            return 0
        try:
            data = self._read(name)
            put = self._send(name, data)
        except BaseException:
            self.ended = True
            raise
        with self._lock:
            self.done += len(data)
            if self.progress is not None:
                self.progress(self.done, self.manifest.size)
        return len(data) if put else 0

    def _read(self, name: str) -> bytes:
        """A file of the store. Raises CorruptStore where it has not the listed digest."""
        place, entry = self.path / name, self.manifest.files[name]
        try:
            data = files.read_bytes(place, most=entry.size)
        except FileNotFoundError:
            raise CorruptStore(f"{place}: the file is missing; {REMEDY}") from None
        found = hashlib.sha256(data).hexdigest()
        if found != entry.sha256:
            raise CorruptStore(f"{place}: expected SHA-256 {entry.sha256}, got {found}; {REMEDY}")
        return data

    def _send(self, name: str, data: bytes) -> bool:
        sha256 = hashlib.sha256(data).hexdigest()
        return self.target.put(name, data, sha256, conditional=self.conditional)

    def _put_spec(self) -> None:
        """Put the spec, unless one of this key is there: where the samples lay may differ."""
        try:
            self._send("spec.json", self.manifest.spec.to_bytes())
        except AlreadyPublished:
            if self._key_there() != self.manifest.key:
                raise

    def _key_there(self) -> str | None:
        try:
            return StoreSpec.from_document(json.loads(document(self.target, "spec.json"))).key
        except MALFORMED:
            return None

    def _put_manifest(self) -> None:
        """Put the manifest, which finishes the store; another one of these files is as good."""
        try:
            self._send("manifest.json", files.read_bytes(self.path / "manifest.json"))
        except AlreadyPublished:
            if not self._is_there():
                raise
