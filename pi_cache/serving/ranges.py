"""Which bytes of a file a request asks for: one range, or all of it; RFC 9110, sections 13 and 14.

Several ranges, another unit, or a header that is malformed or too long count as no header at all,
as the RFC allows: what a client then gets is the whole file, and looking costs the same for any
header.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

LONGEST = 64
"""Bytes of a Range header that is looked at: two numbers of 19 digits take 45."""
SINGLE = re.compile(rb"bytes=([0-9]{0,19})-([0-9]{0,19})", re.IGNORECASE)
TAG = re.compile(rb'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


class Unsatisfiable(ValueError):
    """A range that begins after the end of the file."""


class Part(NamedTuple):
    """Bytes `start` to `stop` of a file, which is not in it."""

    start: int
    stop: int


def parse_range(headers: Sequence[bytes], size: int) -> Part | None:
    """The bytes that the Range headers of a request ask for, None for all. Raises Unsatisfiable."""
    if len(headers) != 1 or len(headers[0]) > LONGEST:
        return None
    found = SINGLE.fullmatch(headers[0])
    if found is None or found[1] == found[2] == b"":
        return None
    if not found[1]:
        return _last(int(found[2]), size)
    start = int(found[1])
    last = int(found[2]) if found[2] else max(size - 1, start)
    if last < start:
        return None
    if start >= size:
        raise Unsatisfiable(f"bytes {start} and after of {size}")
    return Part(start, min(last + 1, size))


def _last(count: int, size: int) -> Part | None:
    if not count:
        raise Unsatisfiable(f"the last 0 bytes of {size}")
    return Part(max(size - count, 0), size) if size else None


def matches(headers: Sequence[bytes], tag: bytes, *, strong: bool) -> bool:
    """Whether the list of an If-Match or If-None-Match header has this entity tag, or is `*`.

    tag: strong, with its quotes. strong: whether a weak one of the list counts not.
    """
    listed = b",".join(headers)
    if listed.strip() == b"*":
        return True
    return any(found[2] == tag and not (strong and found[1]) for found in TAG.finditer(listed))


class Asked(NamedTuple):
    """What a request for a file comes to: a status, and the bytes to send with 200 or 206."""

    status: int
    part: Part


def asked(headers: Sequence[tuple[bytes, bytes]], tag: bytes, size: int, method: str) -> Asked:
    """What GET or HEAD of a file asks for, by its conditions and its range, in that order.

    headers: names in lower case. tag: the strong entity tag, with quotes. size: bytes of the file.
    """
    given: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        given.setdefault(name, []).append(value)
    whole = Part(0, size)
    if b"if-match" in given and not matches(given[b"if-match"], tag, strong=True):
        return Asked(412, whole)
    if b"if-none-match" in given and matches(given[b"if-none-match"], tag, strong=False):
        return Asked(304, whole)
    if method != "GET" or given.get(b"if-range", [tag]) != [tag]:
        return Asked(200, whole)
    try:
        part = parse_range(given.get(b"range", ()), size)
    except Unsatisfiable:
        return Asked(416, whole)
    return Asked(200, whole) if part is None else Asked(206, part)
