"""Requests on disk: what was asked, what it means, how it ended; a sealed document each.

They lie under ROOT/requests. Nothing is rewritten: a request without an outcome is open, and taken
up again by the next service of that root. Of two services that write an outcome the first one wins.
"""

from __future__ import annotations

import datetime
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pi_cache import files
from pi_cache.errors import AlreadyPublished, CorruptStore, UnsupportedFormat
from pi_cache.manifest import Document
from pi_cache.root import TEMPORARY, ensure_root

FOLDER = "requests"
ID = re.compile(r"[0-9a-f]{32}")
NAMED = re.compile(r"([0-9a-f]{32})(\.resolved|\.spec|\.outcome)?\.json")
LARGEST = 1 << 20
"""Bytes of a document; a request has 64 KiB at most."""
ENDED = ("finished", "failed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord(Document):
    """What a token asked for. token: its name. document: what it sent. created: UTC."""

    what = "build request"

    id: str
    token: str
    document: Mapping[str, Any]
    created: str

    def _problems(self) -> Iterator[str]:
        if not ID.fullmatch(self.id):
            yield "its id"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionRecord(Document):
    """Which store a request means. source: the name of its data.

    stores: keys of the stores that are built, the last one `key`. estimate: what the build will
    take, as `pipeline plan --json` tells; empty where that is not known.
    """

    what = "resolved build request"

    id: str
    key: str
    source: str
    spec: Mapping[str, Any]
    stores: Mapping[str, int]
    estimate: Mapping[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """Samples of the store."""
        return int(self.spec["source"]["samples"])

    @property
    def adds(self) -> tuple[int, int]:
        """Bytes and files that the build adds to the cache, by its estimate.

        Without one a channel of images is counted, so that nothing of unknown size is too small.
        """
        if not self.estimate:
            return self.samples * _image_bytes(self.spec), 1
        adds = self.estimate.get("adds", {})
        return int(adds.get("bytes", 0)), int(adds.get("files", 0))

    @property
    def keys(self) -> list[str]:
        """The keys in the order in which they are built."""
        return sorted(self.stores, key=lambda key: self.stores[key])


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRecord(Document):
    """How a request ended. state: of ENDED. status: the code of HTTP that says so.

    error: a sentence for the client. details: the end of what the build said, for the
    administrator.
    """

    what = "outcome of a build request"

    id: str
    state: str
    status: int = 200
    error: str = ""
    details: str = ""
    ended: str = ""

    def _problems(self) -> Iterator[str]:
        if self.state not in ENDED:
            yield f"the state {self.state!r}"


Record = TypeVar("Record", RequestRecord, ResolutionRecord, OutcomeRecord)


class Book:
    """The requests of a cache root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / FOLDER

    def ids(self) -> list[str]:
        """The ids of all requests. Raises StorageFailed."""
        names = (NAMED.fullmatch(path.name) for path in files.listing(self.folder))
        return [name[1] for name in names if name is not None and name[2] is None]

    def request(self, id: str) -> RequestRecord | None:
        """What was asked, None where there is none, or it is damaged."""
        return self._read(RequestRecord, id)

    def resolution(self, id: str) -> ResolutionRecord | None:
        """What it means, None as long as that is not known."""
        return self._read(ResolutionRecord, id)

    def outcome(self, id: str) -> OutcomeRecord | None:
        """How it ended, None as long as it is open."""
        return self._read(OutcomeRecord, id)

    def publish(self, record: Record) -> Record:
        """The record that stands there in the end: this one, or one that was first.

        Raises StorageFull, StorageFailed; CorruptStore where the first one is damaged.
        """
        ensure_root(self.root)
        place = self._place(type(record), record.id)
        try:
            files.publish(place, record.to_bytes(), temporary=self.root / TEMPORARY)
            return record
        except AlreadyPublished:
            found = self._read(type(record), record.id)
        if found is None:
            raise CorruptStore(f"{place}: is damaged; move it away")
        return found

    def spec_file(self, found: ResolutionRecord) -> Path:
        """A file with the spec of the store that a request means, for a command to read."""
        place = self.folder / f"{found.id}.spec.json"
        body = json.dumps(dict(found.spec), indent=1, ensure_ascii=False).encode() + b"\n"
        files.publish(place, body, temporary=self.root / TEMPORARY)
        return place

    def remove(self, id: str) -> None:
        """Forget a request: first that there is one."""
        files.remove(self._place(RequestRecord, id))
        files.remove(self.folder / f"{id}.spec.json")
        for kind in (ResolutionRecord, OutcomeRecord):
            files.remove(self._place(kind, id))

    def sweep(self) -> None:
        """Remove what is left of requests whose removal was cut short."""
        found = files.listing(self.folder)
        known = set(self.ids())  # after what belongs to them: another service adds some meanwhile
        for path in found:
            name = NAMED.fullmatch(path.name)
            if name is not None and name[1] not in known:
                files.remove(path)

    def _read(self, kind: type[Record], id: str) -> Record | None:
        try:
            found = kind.from_bytes(files.read_bytes(self._place(kind, id), LARGEST))
        except (FileNotFoundError, CorruptStore, UnsupportedFormat):
            return None
        return found if found.id == id else None

    def _place(self, kind: type, id: str) -> Path:
        ending = {ResolutionRecord: ".resolved", OutcomeRecord: ".outcome"}.get(kind, "")
        return self.folder / f"{id}{ending}.json"


def _image_bytes(spec: Mapping[str, Any]) -> int:
    """Bytes of one channel of a sample of a store, uncompressed."""
    image = spec.get("image") or spec.get("gramian") or {}
    side = int(image.get("pixels") or image.get("size") or 0)
    return side * side * int(np.dtype(image.get("dtype", "float16")).itemsize)


def new_id() -> str:
    """An id that nobody can guess."""
    return secrets.token_hex(16)


def moment() -> str:
    """This moment, UTC, so that texts sort by time."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def seconds_since(text: str) -> float:
    """Seconds since a moment; 0 for what is none."""
    try:
        then = datetime.datetime.fromisoformat(text)
        return (datetime.datetime.now(datetime.UTC) - then).total_seconds()
    except (TypeError, ValueError):
        return 0.0
