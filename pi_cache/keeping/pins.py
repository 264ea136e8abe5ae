"""Pins: small files beside the stores that keep a store from ever being removed."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from pathlib import Path

from pi_cache import files
from pi_cache.catalogue import find, unique
from pi_cache.errors import (
    AlreadyPublished,
    CorruptStore,
    StorageFailed,
    StoreNotFound,
    UnsupportedFormat,
)
from pi_cache.ledger import now
from pi_cache.manifest import Document
from pi_cache.root import PINS, TEMPORARY

UNREADABLE = "(its file cannot be read; it holds all the same)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin(Document):
    """Who pinned a store, when, and why."""

    what = "pin"

    key: str
    who: str = ""
    note: str = ""
    created: str = ""

    def __str__(self) -> str:
        by = f" by {self.who}" if self.who else ""
        return f"pinned{by}" + (f": {self.note}" if self.note else "")


def pin_path(root: Path, key: str) -> Path:
    """Where the pin of a store lies, if it has one."""
    return root / PINS / f"{key}.json"


def read_pins(root: Path) -> dict[str, Pin]:
    """The pin of each pinned store, by key; one that is damaged holds too."""
    places = (place for place in files.listing(root / PINS) if place.suffix == ".json")
    return {place.stem: _read_pin(place) for place in places}


def is_pinned(root: Path, key: str) -> bool:
    """Whether a store is pinned at this moment."""
    return files.exists(pin_path(root, key))


def pin(root: Path, store: str, note: str = "") -> Pin:
    """Pin the store of a key, or of the start of one, durably; the pin that it has now.

    Raises StoreNotFound, AlreadyPublished where somebody else pinned it, or for another reason.
    """
    path = find(root, store)
    made = Pin(key=path.name, who=_user(), note=note, created=now())
    place = pin_path(root, path.name)
    try:
        files.publish(place, made.to_bytes(), temporary=root / TEMPORARY)
    except AlreadyPublished as error:
        old = _read_pin(place)
        if (old.who, old.note) == (made.who, note):
            return old
        raise AlreadyPublished(
            f"{path.name[:12]} is {old} already, since {old.created}; unpin it first to change that"
        ) from error
    if not files.exists(path):  # removed since it was found; a removal looks for pins once more
        files.remove(place)
        raise StoreNotFound(f"{path}: removed while it was being pinned")
    return made


def unpin(root: Path, store: str) -> str | None:
    """Take the pin of a store away; its key, None where it has none.

    store: a key or the start of one, of a store or of a pin whose store is gone.
    """
    pinned = read_pins(root)
    key = unique(store, pinned)
    if key is None:
        key = find(root, store).name
    return key if files.remove(pin_path(root, key)) else None


def _read_pin(place: Path) -> Pin:
    try:
        return Pin.from_bytes(files.read_bytes(place))
    except (CorruptStore, UnsupportedFormat, StorageFailed, FileNotFoundError):
        return Pin(key=place.stem, note=UNREADABLE)


def _user() -> str:
    """The name of this account, its number where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
