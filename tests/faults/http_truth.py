"""What a served root may answer: an obvious model, and stores with things beside them to be kept.

The model knows the bytes of every file, who may read which, and how RFC 9110 reads a condition and
a range. It knows nothing of the service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from pi_cache import files, open_store
from pi_cache.layout import Layout
from tests.faults import demand, lasting
from tests.pi_cache.made import begin_store, make_spec, make_store

CANARY = b"canary of what must never be sent"
DOCUMENTS = ("manifest.json", "spec.json")
"""What is served of a store beside the files of its manifest."""
NOWHERE = "0" * 64
"""The key of no store."""

Headers = tuple[tuple[bytes, bytes], ...]


class Response(NamedTuple):
    """What came back. headers: names in small letters. whole: the body is as long as was said."""

    status: int
    headers: Headers
    body: bytes
    whole: bool = True

    def get(self, name: bytes) -> bytes | None:
        """The value of a header that is there once, None where it is not there."""
        found = [value for key, value in self.headers if key == name]
        demand(len(found) < 2, f"header {name!r} is sent {len(found)} times")
        return found[0] if found else None

    @property
    def brief(self) -> str:
        """Its beginning, for a message."""
        return f"{self.status} {self.headers!r:.300} {self.body[:200]!r}"

    @property
    def said(self) -> tuple[int, Headers, bytes]:
        """All of it, without the time of day."""
        return self.status, tuple(h for h in self.headers if h[0] != b"date"), self.body


@dataclass(frozen=True)
class Truth:
    """A root, and the bytes of every file that may be sent, by store and path."""

    root: Path
    stores: Mapping[str, Mapping[str, bytes]]
    unfinished: str

    @property
    def keys(self) -> list[str]:
        """Of the finished stores: the one that everybody may read, and the other."""
        return list(self.stores)

    def file(self, path: bytes) -> tuple[str, bytes] | None:
        """Key and bytes of the file that a path names as it stands, None where it names none."""
        for key, listed in self.stores.items():
            start = f"/stores/{key}/".encode()
            if path.startswith(start):
                content = listed.get(path.removeprefix(start).decode("ascii", "replace"))
                return None if content is None else (key, content)
        return None

    def holds(self, body: bytes, keys: frozenset[str]) -> bool:
        """Whether a body is a whole file of one of these stores."""
        return any(body == content for key in keys for content in self.stores[key].values())


def make_truth(root: Path, samples: int = 20, shard_samples: int = 8) -> Truth:
    """A root with two finished stores, one that is not, and canaries in and beside them.

    samples, shard_samples: of the first store.
    """
    layouts = {samples: Layout(shard_samples=shard_samples), 9: Layout(shard_samples=8)}
    paths = [make_store(root, make_spec(n), layout) for n, layout in layouts.items()]
    unfinished = begin_store(root, make_spec(5)).path
    for path in (root, root / "stores", *paths, unfinished):
        for place in ("secret.json", "tmp/secret", "data.zarr/secret", "data.zarr/images/c.99.0"):
            (path / place).parent.mkdir(parents=True, exist_ok=True)
            (path / place).write_bytes(CANARY)
    (unfinished / "data.zarr/zarr.json").write_bytes(CANARY)
    return Truth(root, {path.name: _served(path) for path in paths}, unfinished.name)


@cache
def truth() -> Truth:
    """One for this process; nobody damages it. On a disk: no other file is answered at once."""
    return make_truth(lasting(in_memory=False))


def _served(path: Path) -> dict[str, bytes]:
    names = (*open_store(path).manifest.files, *DOCUMENTS)
    return {name: files.read_bytes(path / name) for name in names}


@dataclass(frozen=True)
class Asked:
    """What of a request decides its answer, apart from who asks.

    ranges, match, none_match, if_range: values of these headers, None where there is none.
    """

    method: bytes
    content: bytes
    ranges: bytes | None = None
    match: bytes | None = None
    none_match: bytes | None = None
    if_range: bytes | None = None

    @property
    def tag(self) -> bytes:
        """The strong entity tag of the file."""
        return _tag(self.content)

    def check(self, response: Response) -> str:
        """Raise Violation unless this is the answer; a word for it."""
        if self.match is not None and not self._names(self.match, weak=False):
            return self._empty(response, 412)
        if self.none_match is not None and self._names(self.none_match, weak=True):
            return self._empty(response, 304)
        whole = self.ranges is None or self.if_range not in (None, self.tag)
        if self.method == b"HEAD" or whole:
            return self._sent(response, 200, 0, len(self.content))
        return self._ranged(response, self.ranges or b"")

    def _names(self, value: bytes, *, weak: bool) -> bool:
        """Whether a list of tags has that of the file; `*` stands for any."""
        tags = [part.strip(b" \t") for part in value.split(b",")]
        return value.strip() == b"*" or self.tag in tags or (weak and b"W/" + self.tag in tags)

    def _empty(self, response: Response, status: int) -> str:
        demand(response.status == status, f"expected {status}, got {response.brief}")
        demand(CANARY not in response.body, "a canary was sent")
        if status == 304:
            demand(not response.body, f"304 has a body: {response.body!r:.100}")
            demand(response.get(b"etag") == self.tag, "304 without the tag of the file")
        return str(status)

    def _ranged(self, response: Response, ranges: bytes) -> str:
        size, found = len(self.content), re.fullmatch(rb"bytes=([0-9]*)-([0-9]*)", ranges)
        if response.status == 200:  # RFC 9110 14.2: a server may ignore any range
            demand(not found or not self._usable(*found.groups()), f"{ranges!r} was ignored")
            return self._sent(response, 200, 0, size)
        if response.status in (400, 416):
            demand(not found or not self._place(*found.groups()), f"{ranges!r} was refused")
            demand(response.get(b"content-range") == b"bytes */%d" % size, "416 without the size")
            return self._empty(response, response.status)
        demand(found, f"{ranges!r} is no single range, and is answered by {response.status}")
        place = found and self._place(*found.groups())
        demand(place, f"{ranges!r} holds no byte, and is answered by {response.status}")
        return self._sent(response, 206, *(place or (0, 0)))

    def _usable(self, first: bytes, last: bytes) -> bool:
        """Whether a range must be honoured: it is in no way wrong, and holds a byte."""
        return bool(self._place(first, last)) and max(len(first), len(last)) < 19

    def _place(self, first: bytes, last: bytes) -> tuple[int, int] | None:
        """Start and end of what a range holds, None where that is nothing."""
        size = len(self.content)
        if not first:
            start, end = size - min(size, int(last[:30] or 0)), size
        else:
            start, end = int(first[:30]), min(size, int(last[:30]) + 1) if last else size
        return (start, end) if start < end else None

    def _sent(self, response: Response, status: int, start: int, end: int) -> str:
        demand(response.status == status, f"expected {status}, got {response.brief}")
        expected = self.content[start:end] if self.method == b"GET" else b""
        demand(response.whole and response.body == expected, f"{status} with other bytes")
        length = response.get(b"content-length")
        demand(length == b"%d" % (end - start), f"length {length!r} of {end - start} bytes")
        demand(response.get(b"etag") == self.tag, "the tag is not that of the file")
        demand(response.get(b"accept-ranges") == b"bytes", "it does not say that it has ranges")
        if status == 206:
            said = b"bytes %d-%d/%d" % (start, end - 1, len(self.content))
            demand(response.get(b"content-range") == said, f"expected Content-Range {said!r}")
        return str(status)


@cache
def _tag(content: bytes) -> bytes:
    return b'"' + sha256(content).hexdigest().encode() + b'"'
