"""A remote store that reads like a local one: each file is fetched whole before it is opened."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

from pi_cache import catalogue, files
from pi_cache.checked import Identity
from pi_cache.errors import CorruptStore, InvalidSpec, PiCacheError, StorageFull, StoreNotFound
from pi_cache.firsttouch import THREADS, Check, FirstTouch
from pi_cache.manifest import StoreManifest
from pi_cache.reader import Store
from pi_cache.remote.address import Address, parse_address
from pi_cache.remote.diskcache import SIZE_VARIABLE, DiskCache, default_cache
from pi_cache.remote.fetching import ANEW, document
from pi_cache.remote.transport import Changed, Transport, transport
from pi_cache.shardfile import OpenFile

TRIES = 3
"""How often a file is brought that is damaged when it is opened."""
GONE = 30
"""How often a file is brought that others have removed again before it is opened."""
SHARE = 4
"""A part of the bound of the cache: what is fetched before it is asked for takes no more."""
SEEN = 5.0
"""Seconds for which a file that was here is taken to be here when others are fetched ahead."""


def open_remote(url: str, *, check: Check = "first-touch", token: str | None = None) -> RemoteStore:
    """The finished store at an address; see `reader.open_store`.

    Raises StoreNotFound, CorruptStore, UnsupportedFormat, AccessRefused, RemoteFailed.
    """
    address = parse_address(url)
    if not address.path:
        raise InvalidSpec(f"{address}: name a store, such as {address}/stores/KEY")
    source = transport(address, token)
    manifest = StoreManifest.from_bytes(manifest_bytes(source, str(address)))
    return RemoteStore(address, source, manifest, check, token=token)


def manifest_bytes(source: Transport, place: str) -> bytes:
    """The manifest of a store as it lies there, which can be read. Raises as `open_remote`."""
    for again in range(ANEW, -1, -1):
        try:
            data = document(source, "manifest.json")
            key = StoreManifest.from_bytes(data).key
        except (CorruptStore, Changed) as error:
            if not again:
                raise CorruptStore(f"{place}: {error}") from error
            continue
        except FileNotFoundError as error:
            raise StoreNotFound(f"no store at {place}, or none that you may read") from error
        catalogue.check_home(Path(place.rpartition("/")[2]), key)
        return data
    raise AssertionError("unreachable")


class RemoteStore(Store):
    """A finished store elsewhere. Pickled, it is an address: each process opens it for itself.

    A token that was given travels with it; one of the environment or of the file of tokens does
    not, and is read again.
    """

    def __init__(
        self,
        address: Address,
        source: Transport,
        manifest: StoreManifest,
        check: Check,
        *,
        token: str | None = None,
        cache: DiskCache | None = None,
    ) -> None:
        self._address = address
        self._token = token
        touch = Fetched(source, manifest, check, cache or default_cache(), str(address))
        super().__init__(touch.store, manifest, check, touch=touch)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.address, self.check, self.manifest.digest, self._token)

    @property
    def address(self) -> str:
        """Where it lies."""
        return str(self._address)

    def beside(self, key: str, *, check: Check = "first-touch") -> Store:
        """The store of another key in the same place. Raises as `open_remote`."""
        place = self._address.parent.inside(key)
        return open_remote(str(place), check=check, token=self._token)


def _reopen(url: str, check: Check, digest: str, token: str | None) -> RemoteStore:
    store = open_remote(url, check=check, token=token)
    if store.manifest.digest != digest:
        raise CorruptStore(f"{url}: another store lies there than when this one was sent")
    return store


class Fetched(FirstTouch):
    """Opens the files of a remote store; those that are not on this disk are fetched before.

    What others are to read next is fetched in the threads that would hash it.
    """

    forgets = True

    def __init__(
        self,
        source: Transport,
        manifest: StoreManifest,
        check: Check,
        cache: DiskCache,
        address: str,
    ) -> None:
        super().__init__(cache.folder(manifest.digest), manifest.files, check)
        self.source = source
        self.digest = manifest.digest
        self.cache = cache
        self.address = address
        self.is_scarce = manifest.size > cache.most // 2
        self._seen: dict[str, float] = {}

    @property
    def works_ahead(self) -> bool:
        """Always: to fetch is to check."""
        return True

    def check_sizes(self) -> None:
        """Nothing: each file is compared with the manifest when it comes."""

    def open(self, listed: str) -> OpenFile:
        """A file by its path in the store.

        Raises as FirstTouch, AccessRefused, RemoteFailed, StorageFull where it never stays here.
        """
        damaged = 0
        for _ in range(GONE):
            self._bring(listed)
            try:
                return super().open(listed)
            except CorruptStore as error:
                if not files.exists(self.store / listed):  # removed at this moment
                    continue
                damaged += 1
                self.cache.drop(self.store / listed)
                if damaged == TRIES:
                    raise CorruptStore(f"{self.address}: {error}") from error
        raise StorageFull(
            f"{self.address}: {listed} makes room for what others read before it is opened; raise"
            f" ${SIZE_VARIABLE}, read with fewer workers, or pull the store"
        )

    def _bring(self, listed: str) -> None:
        entry = self.entry(listed)
        try:
            fetched = self.cache.bring(self.source, self.store, listed, entry, self._step)
        except (CorruptStore, FileNotFoundError) as error:
            self._check_same()
            raise CorruptStore(f"{self.address}: {listed}: {error}") from error
        if fetched:  # and read back after it got its name
            with suppress(FileNotFoundError):
                place = self.store / listed
                self._agreed[listed] = Identity.of(files._call("stat", place, place))

    def _step(self, count: int) -> None:
        self._go_on()

    def _check_same(self) -> None:
        """Raise CorruptStore where another store lies there by now."""
        try:
            now = StoreManifest.from_bytes(manifest_bytes(self.source, self.address))
        except PiCacheError as error:
            raise CorruptStore(f"{self.address}: is there no more: {error}") from error
        if now.digest != self.digest:
            raise CorruptStore(
                f"{self.address}: another store lies there than when it was opened (files"
                f" {now.digest[:12]}, expected {self.digest[:12]}); open it again"
            )

    def _threads(self) -> int:
        """Files of one read that are fetched at a time: a network keeps no core busy."""
        return THREADS

    def _unchecked(self, names: Sequence[str]) -> list[int]:
        """Positions of files that are not here, or not hashed: as many as the cache can hold."""
        there = [k for k, name in enumerate(names) if self._is_here(name)]
        unhashed = super()._unchecked([names[k] for k in there])
        found = sorted(set(range(len(names))) - set(there) | {there[k] for k in unhashed})
        sizes = accumulate(self.entry(names[k]).size for k in found)
        return [k for k, size in zip(found, sizes, strict=True) if size <= self.cache.most // SHARE]

    def _is_here(self, name: str) -> bool:
        """Whether a file was on this disk within the last seconds: a look costs more than a read.

        One that went since then is fetched by who opens it.
        """
        now = time.monotonic()
        if now - self._seen.get(name, -SEEN) < SEEN:
            return True
        if not files.exists(self.store / name):
            return False
        self._seen[name] = now
        return True
