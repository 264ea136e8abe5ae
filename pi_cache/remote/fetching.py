"""One file from a transport to this disk: it gets its name when its digest agrees, never before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from pi_cache import files
from pi_cache.errors import AlreadyPublished, CorruptStore, RemoteFailed
from pi_cache.manifest import FileEntry
from pi_cache.remote.transport import Changed, Transport

ANEW = 2
"""How often a file is fetched again as a whole whose bytes were wrong."""
Met = Callable[[int], object]


class WrongBytes(Exception):
    """What came has another size or digest than the manifest says."""


def fetch(
    source: Transport,
    name: str,
    entry: FileEntry,
    place: Path,
    *,
    temporary: Path,
    met: Met = bool,
    aside: Path | None = None,
) -> None:
    """Have a file at `place` with the size and SHA-256 of its entry, durably.

    temporary: a folder of the same file system. met: told of the bytes of each block as it comes;
    what it raises ends the fetching. aside: where a file goes that is in the way; None raises.
    Raises CorruptStore where the server keeps sending other bytes, and as `Transport.blocks`.
    """
    problem = ""
    for _ in range(ANEW + 1):
        try:
            _publish(source, name, entry, place, temporary, met, aside)
            return
        except (WrongBytes, Changed) as error:
            problem = str(error)
    raise CorruptStore(
        f"{source.place(name)}: {problem}, {ANEW + 1} times; the copy on the server is damaged or"
        " another one: run pi-cache verify there"
    )


def _publish(
    source: Transport,
    name: str,
    entry: FileEntry,
    place: Path,
    temporary: Path,
    met: Met,
    aside: Path | None,
) -> None:
    for last in (False, True):
        try:
            files.publish_blocks(
                place, lambda: checked(source, name, entry, met), temporary=temporary
            )
            return
        except AlreadyPublished:
            if last or aside is None:
                raise
            files.move_aside(place, aside)


def checked(source: Transport, name: str, entry: FileEntry, met: Met = bool) -> Iterator[bytes]:
    """The blocks of a file. Raises WrongBytes after the last one unless they are those listed."""
    size, sha256 = 0, hashlib.sha256()
    for block in source.blocks(name, entry.size):
        size += len(block)
        if size > entry.size:
            raise WrongBytes(f"expected {entry.size} bytes, got more")
        sha256.update(block)
        met(len(block))
        yield block
    found = sha256.hexdigest()
    if size != entry.size:
        raise WrongBytes(f"expected {entry.size} bytes, got {size}")
    if found != entry.sha256:
        raise WrongBytes(f"expected SHA-256 {entry.sha256}, got {found}")


def document(source: Transport, name: str, most: int = files.LARGEST_DOCUMENT) -> bytes:
    """All bytes of a file whose size nobody knows. Raises RemoteFailed where there are too many."""
    parts, size = [], 0
    for block in source.blocks(name, None):
        size += len(block)
        if size > most:
            raise RemoteFailed(
                f"{source.place(name)}: the server sends more than {most} bytes; is a store there?"
            )
        parts.append(block)
    return b"".join(parts)
