"""The cache root: the folder under which stores lie, and the record that says it is one.

Builds make the record; nothing is removed below a folder that has none. Reading needs none, but
refuses a root that a newer release has made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pi_cache import files
from pi_cache.errors import AlreadyPublished, CorruptStore, RemovalRefused, UnsupportedFormat
from pi_cache.manifest import Document

RECORD = "pi-cache.json"
STORES = "stores"
PINS = "pins"
TRASH = "trash"
TEMPORARY = "tmp"

KIND = "cache root"
ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RootRecord(Document):
    """That a folder is a cache root. All records of a format version are alike."""

    what = "cache root"

    kind: str = KIND

    def _problems(self) -> Iterator[str]:
        if self.kind != KIND:
            yield f"it is the record of a {self.kind}"


def read_record(root: Path) -> RootRecord | None:
    """The record of a root, None where it has none. Raises CorruptStore, UnsupportedFormat."""
    place = root / RECORD
    try:
        return RootRecord.from_bytes(files.read_bytes(place))
    except FileNotFoundError:
        return None
    except (CorruptStore, UnsupportedFormat) as error:
        raise type(error)(f"{place}: {error}") from error


def check_root(root: Path) -> None:
    """Raise UnsupportedFormat where a newer release has made this root.

    A record that is absent or damaged says nothing of the stores: each is checked by itself.
    """
    with suppress(CorruptStore):
        read_record(root)


def ensure_root(root: Path) -> None:
    """Make a folder a cache root, durably, if it is none. Raises UnsupportedFormat.

    The trash is made too, while there is room for it: a removal has to work on a full disk.
    """
    for _ in range(ATTEMPTS):
        try:
            if read_record(root) is None:
                record = RootRecord().to_bytes()
                files.publish(root / RECORD, record, temporary=root / TEMPORARY)
            return files.make_directory(root / TRASH)
        except CorruptStore:
            files.move_aside(root / RECORD, root / TRASH)
        except AlreadyPublished:
            continue
    raise CorruptStore(f"{root / RECORD}: other builders keep changing it")


def require_root(root: Path) -> None:
    """Raise RemovalRefused unless a folder is known to be a cache root."""
    remedy = "run any build there, which writes it (pipeline build-pis)"
    try:
        found = read_record(root)
    except CorruptStore as error:
        raise RemovalRefused(f"{error}; {remedy}") from error
    if found is None:
        raise RemovalRefused(
            f"{root}: nothing is removed here: it has no {RECORD}, so it may be no cache; {remedy}"
        )
