"""What reads and writes files at an address, by its scheme; each library is loaded at first use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pi_cache import catalogue, files
from pi_cache.errors import InvalidSpec, RemoteNotInstalled, StoreNotFound
from pi_cache.remote.address import Address, is_remote, parse_address
from pi_cache.remote.tokens import token_for
from pi_cache.root import STORES

REMEDY = 'pip install "pi-cache[remote]"'


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server may take.

    connect, stall: seconds to answer a connection, and in which nothing comes. attempts: in a row
    that bring nothing. pause: seconds before the second of them, twice as many before each next.
    """

    connect: float = 10.0
    stall: float = 30.0
    attempts: int = 5
    pause: float = 0.5


class Changed(Exception):
    """A file is another one than when its first bytes came."""


class NotConditional(Exception):
    """The server puts an object whether one of that name is there or not."""


class Transport(Protocol):
    """Files below an address, in threads and in forked processes alike."""

    def place(self, name: str) -> str:
        """The address of a file, for people; without secrets."""

    def blocks(self, name: str, size: int | None) -> Iterator[bytes]:
        """The bytes of a file, taken up again where the connection breaks.

        size: its bytes, None where they are not known. Unchecked: whoever asks compares digests.
        Raises FileNotFoundError, Changed, AccessRefused, RemoteFailed.
        """

    def keys(self) -> list[str]:
        """The names of the stores below. Raises as `blocks`."""


class Target(Transport, Protocol):
    """What files can be put in, too."""

    def put(self, name: str, data: bytes, sha256: str, *, conditional: bool = True) -> bool:
        """Put a file where there is none; whether this is what put it.

        One that is there and has the same bytes is as good. conditional: by the server, in one
        step; else it is looked up before. Raises AlreadyPublished where other bytes are there,
        AccessRefused, RemoteFailed.
        """

    def check_conditional(self, name: str) -> None:
        """Raise NotConditional unless a file is refused where one is; leaves nothing behind."""


class FolderTransport:
    """A folder of this machine, such as one of a file server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, name: str) -> str:
        return str(self.folder / name)

    def blocks(self, name: str, size: int | None) -> Iterator[bytes]:
        return files._blocks(self.folder / name)

    def keys(self) -> list[str]:
        return [path.name for path in files.listing(self.folder) if files.is_folder(path)]


def transport(address: Address, token: str | None = None) -> Transport:
    """What reaches an address. Raises RemoteNotInstalled, InvalidSpec, AccessRefused."""
    return TRANSPORTS[address.scheme](address, token)


def _http(address: Address, token: str | None) -> Transport:
    try:
        from pi_cache.remote.http import HttpTransport
    except ImportError as error:
        raise RemoteNotInstalled(f"{address} needs urllib3: {REMEDY}") from error
    return HttpTransport(address, token_for(address, token), Patience())


def _s3(address: Address, token: str | None) -> Transport:
    try:
        from pi_cache.remote.s3 import S3Transport
    except ImportError as error:
        raise RemoteNotInstalled(f"{address} needs obstore: {REMEDY}") from error
    return S3Transport(address, Patience())


TRANSPORTS: dict[str, Callable[[Address, str | None], Transport]] = {
    "http": _http,
    "https": _http,
    "s3": _s3,
}
"""By scheme; what has none is a folder."""


def store_transport(
    place: str, key: str | None = None, *, token: str | None = None
) -> tuple[Transport, str]:
    """What reads a store, and its address or path.

    place: of the store, or of what holds stores where a key (or the start of one) is given: a
    service, a prefix in a bucket, a cache root, a folder of stores. Raises StoreNotFound.
    """
    if not is_remote(place):
        folder = _store_folder(Path(place).expanduser(), key)
        return FolderTransport(folder), str(folder)
    address = parse_address(place)
    if key is not None:
        address = _store_address(address, key, token)
    if not address.path:
        raise InvalidSpec(
            f"{address}: name a store: {address}/stores/KEY, or give its KEY after it"
        )
    return transport(address, token), str(address)


def _store_address(address: Address, key: str, token: str | None) -> Address:
    stores = address
    if address.scheme != "s3" and address.name != STORES:
        stores = address.inside(STORES)
    if len(key) == catalogue.KEY_LENGTH:
        return stores.inside(key.lower())
    try:
        keys = transport(stores, token).keys()
    except FileNotFoundError as error:
        raise StoreNotFound(
            f"{stores}: nothing there says which stores there are ({error}); check the address, or"
            " give the whole key"
        ) from error
    found = catalogue.unique(key, keys)
    if found is None:
        raise StoreNotFound(f"no store {key!r} in {stores}")
    return stores.inside(found)


def _store_folder(folder: Path, key: str | None) -> Path:
    if key is None:
        return folder.absolute()
    stores = folder / STORES if files.is_folder(folder / STORES) else folder
    found = catalogue.unique(key, FolderTransport(stores).keys())
    if found is None:
        raise StoreNotFound(f"no store {key!r} in {stores}")
    return (stores / found).absolute()


def listed_keys(data: bytes) -> list[str]:
    """The keys in the catalogue of a service. Raises ValueError, KeyError, TypeError."""
    document = json.loads(data)
    stores = document["stores"] if isinstance(document, dict) else document
    return [str(store["key"]) for store in stores]
