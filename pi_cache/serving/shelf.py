"""The finished stores under a root, by key: read once, and again when a manifest changes.

Keys and paths of a request are looked up here and never joined to a path: the paths are those of
folders that were listed and of files that a manifest names.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from pi_cache import catalogue, files
from pi_cache.checked import Identity
from pi_cache.errors import CorruptStore, StorageFailed, UnsupportedFormat
from pi_cache.firsttouch import FirstTouch
from pi_cache.manifest import FileEntry, StoreManifest
from pi_cache.reader import Store
from pi_cache.serving.tokens import KEY

FRESH = 1.0
"""Seconds for which what was seen on the disk is not looked at again."""
MANIFEST = "manifest.json"
BESIDE = (MANIFEST, "spec.json")
"""Files beside the data that are served, by the digest they had when the manifest was read."""


class Shelved:
    """A finished store. entries: size and SHA-256 of every file that is served, by its path."""

    def __init__(self, path: Path, manifest: StoreManifest, beside: dict[str, FileEntry]) -> None:
        self.path = path
        self.manifest = manifest
        self.entries = {**manifest.files, **beside}
        self.touch = FirstTouch(path, self.entries, "first-touch")

    def __del__(self) -> None:
        if hasattr(self, "touch"):
            self.touch.stopped = True

    @property
    def key(self) -> str:
        """The key of its spec."""
        return self.manifest.key

    @cached_property
    def store(self) -> Store:
        """The store, opened for reading. Raises CorruptStore where a file is missing."""
        return Store(self.path, self.manifest, "first-touch")


class Shelf:
    """The finished stores under a root. Its methods wait for the disk, but for `at_hand`."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.root = root
        self.clock = clock
        self._lock = threading.Lock()
        self._folders: dict[str, Path] = {}
        self._listed = float("-inf")
        self._known: dict[str, tuple[Shelved, Identity, float]] = {}
        self._told: dict[str, str] = {}

    def at_hand(self, key: str) -> Shelved | None:
        """The store where it was looked at a moment ago; None where `get` has to be asked."""
        found = self._known.get(key)
        return found[0] if found and self.clock() - found[2] < FRESH else None

    def get(self, key: str) -> Shelved | None:
        """The store of this key, None where there is no finished one.

        Raises CorruptStore, UnsupportedFormat, StorageFailed where there is one and it is broken.
        """
        with self._lock:
            found = self.at_hand(key)
            if found is not None:
                return found
            folder = self._list().get(key)
            return None if folder is None else self._look(key, folder)

    def stores(
        self, wanted: Callable[[str], bool] = bool, unread: Callable[[str], object] = bool
    ) -> list[Shelved]:
        """Every finished store of a wanted key that can be read. Raises StorageFailed.

        unread: told what is wrong with each of the others, once as long as that stays.
        """
        found = []
        for key in filter(wanted, self._keys()):
            try:
                found.append(self.get(key))
            except (CorruptStore, UnsupportedFormat, StorageFailed) as error:
                if self._told.get(key) != str(error):
                    self._told[key] = str(error)
                    unread(str(error))
            else:
                self._told.pop(key, None)
        return [store for store in found if store is not None]

    def finished(self) -> list[str]:
        """The keys of all finished stores, read or not. Raises StorageFailed for the root."""
        folders = self._keys()
        return [key for key, folder in folders.items() if files.exists(folder / MANIFEST)]

    def _keys(self) -> dict[str, Path]:
        if not files.is_folder(self.root):
            raise StorageFailed(f"{self.root}: no such folder")
        with self._lock:
            return self._list()

    def is_over(self, shelved: Shelved) -> bool:
        """Whether a store has been removed, or another one put in its place; `get` then knows."""
        place, known = shelved.path / MANIFEST, self._known.get(shelved.key)
        identity = None
        with suppress(FileNotFoundError):
            identity = Identity.of(files._call("stat", place, place))
        if known is not None and known[0] is shelved and known[1] == identity:
            return False
        if known is not None and known[0] is shelved:
            self._known.pop(shelved.key, None)
        return True

    def close(self) -> None:
        """End what hashes files of these stores."""
        for shelved, _, _ in list(self._known.values()):
            shelved.touch.stopped = True

    def _list(self) -> dict[str, Path]:
        if self.clock() - self._listed >= FRESH:
            found = catalogue.folders(self.root)
            self._folders = {path.name: path for path in found if KEY.fullmatch(path.name)}
            self._listed = self.clock()
            for key in self._known.keys() - self._folders.keys():
                self._known.pop(key, None)
        return self._folders

    def _look(self, key: str, folder: Path) -> Shelved | None:
        """The store in a folder: the one that is known as long as its manifest is the same file."""
        place = folder / MANIFEST
        try:
            identity = Identity.of(files._call("stat", place, place))
        except FileNotFoundError:
            self._known.pop(key, None)
            return None
        known = self._known.get(key)
        if known is None or known[1] != identity:
            self._known.pop(key, None)
            shelved = read_shelved(folder)
        else:
            shelved = known[0]
        self._known[key] = (shelved, identity, self.clock())
        return shelved


def read_shelved(folder: Path) -> Shelved:
    """The finished store in a folder. Raises CorruptStore, UnsupportedFormat, StorageFailed."""
    try:
        documents = {name: files.read_bytes(folder / name) for name in BESIDE}
    except FileNotFoundError as error:
        raise CorruptStore(f"{folder}: a finished store without its documents: {error}") from error
    try:
        manifest = StoreManifest.from_bytes(documents[MANIFEST])
        catalogue.check_home(folder, manifest.key)
    except (CorruptStore, UnsupportedFormat) as error:
        raise type(error)(f"{folder / MANIFEST}: {error}") from error
    beside = {
        name: FileEntry(len(data), hashlib.sha256(data).hexdigest())
        for name, data in documents.items()
    }
    return Shelved(folder, manifest, beside)
