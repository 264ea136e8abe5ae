"""Files in a bucket, by obstore; credentials and endpoint are those of the AWS_* variables.

The runtime under obstore does not survive a fork: a process that was forked from one that has used
it would wait forever. There a new process reads instead, see `alone`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from pi_cache.errors import AccessRefused, AlreadyPublished, RemoteFailed, StorageFailed
from pi_cache.remote.address import Address
from pi_cache.remote.alone import blocks_alone
from pi_cache.remote.transport import NotConditional, Patience

RANGE = 1 << 23
"""Bytes of a request: what a broken one costs."""
LARGEST = 5 * 1024**3
"""Bytes of an object that is put by one request, which alone can be conditional."""
LONGEST = timedelta(seconds=300)
"""That a request may take, whatever comes."""
DIGEST = "sha256"
"""Metadata of each object: the SHA-256 of its bytes."""
CHUNK = 1 << 20
RETRIES = 2

_used = 0
"""The process that has used obstore first; 0 while none has."""


def is_usable() -> bool:
    """Whether obstore works in this process; where it was forked from a user of it, it hangs."""
    return _used in (0, os.getpid())


class S3Transport:
    """Files below an s3 address."""

    def __init__(self, address: Address, patience: Patience) -> None:
        self.address = address
        self.patience = patience
        self._stores: tuple[int, Any] | None = None

    def __repr__(self) -> str:
        return f"<S3Transport {self.address}>"

    def place(self, name: str) -> str:
        return f"{self.address}/{name}"

    def keys(self) -> list[str]:
        try:
            found = obstore.list_with_delimiter(self._store())
        except (BaseError, OSError) as error:
            if " 404 " in str(error):
                raise FileNotFoundError(f"there is no bucket {self.address.host}") from error
            raise self._failure("", error) from error
        return [str(prefix).rpartition("/")[2] for prefix in found["common_prefixes"]]

    def blocks(self, name: str, size: int | None) -> Iterator[bytes]:
        if not is_usable():
            yield from blocks_alone(self.address, name, size)
            return
        start, idle = 0, 0
        size = self._size(name) if size is None else size
        while start < size:
            stop = min(start + RANGE, size)
            try:
                data = bytes(obstore.get_range(self._store(), name, start=start, end=stop))
            except (BaseError, OSError) as error:
                failure, idle = self._failure(name, error), idle + 1
                if not isinstance(failure, RemoteFailed) or idle >= self.patience.attempts:
                    raise failure from error
                self._pause(idle)
                continue
            yield data
            if len(data) < stop - start:
                return  # whoever compares the size finds it too short
            start, idle = stop, 0

    def put(self, name: str, data: bytes, sha256: str, *, conditional: bool = True) -> bool:
        if len(data) > LARGEST:
            raise RemoteFailed(
                f"{self.place(name)}: {len(data)} bytes, {LARGEST} at most are put at once; build"
                " the store with fewer samples a shard"
            )
        if not conditional and self._exists(name):
            self._check_same(name, sha256)
            return False
        for attempt in range(1, self.patience.attempts + 1):
            try:
                self._put_once(name, data, sha256, conditional=conditional)
                return True
            except AlreadyExistsError:  # perhaps that of an attempt whose answer was lost
                self._check_same(name, sha256)
                return False
            except (BaseError, OSError) as error:
                failure = self._refusal(name, error)
                if not isinstance(failure, RemoteFailed) or attempt == self.patience.attempts:
                    raise failure from error
            self._pause(attempt)
        raise AssertionError("unreachable")

    def _put_once(self, name: str, data: bytes, sha256: str, *, conditional: bool) -> None:
        obstore.put(
            self._store(),
            name,
            data,
            attributes={DIGEST: sha256},
            mode="create" if conditional else "overwrite",
            use_multipart=False,
        )

    def check_conditional(self, name: str) -> None:
        try:
            obstore.put(self._store(), name, b"1", mode="create", use_multipart=False)
        except NotSupportedError as error:
            raise NotConditional(_first_line(error)) from error
        except (BaseError, OSError) as error:
            if " 501 " in str(error):
                raise NotConditional(_first_line(error)) from error
            raise self._refusal(name, error) from error
        try:
            obstore.put(self._store(), name, b"2", mode="create", use_multipart=False)
        except AlreadyExistsError:
            return
        except (BaseError, OSError) as error:
            raise self._refusal(name, error) from error
        finally:
            self.remove(name)
        raise NotConditional("a second object of one name took the place of the first")

    def remove(self, name: str) -> None:
        """Remove an object; of one that stays nothing depends."""
        try:
            obstore.delete(self._store(), name)
        except (BaseError, OSError):
            return

    def _pause(self, attempts: int) -> None:
        """Wait before the next attempt, the longer the more of them failed."""
        time.sleep(self.patience.pause * 2 ** (attempts - 1))

    def _exists(self, name: str) -> bool:
        try:
            self._size(name)
        except FileNotFoundError:
            return False
        return True

    def _size(self, name: str) -> int:
        try:
            return int(obstore.head(self._store(), name)["size"])
        except (BaseError, OSError) as error:
            raise self._failure(name, error) from error

    def _check_same(self, name: str, sha256: str) -> None:
        """Raise AlreadyPublished unless an object has these bytes, by what it was put with."""
        try:
            found = obstore.get(self._store(), name, options={"head": True}).attributes
        except (BaseError, OSError) as error:
            raise self._failure(name, error) from error
        there = {str(key).lower(): value for key, value in found.items()}.get(DIGEST)
        if there != sha256:
            raise AlreadyPublished(
                f"{self.place(name)}: an object is there, SHA-256 {there or 'not known'}, expected"
                f" {sha256}; push to another prefix, or remove what lies there"
            )

    def _refusal(self, name: str, error: Exception) -> Exception:
        """The typed error of an object that could not be put."""
        if isinstance(error, FileNotFoundError):
            return RemoteFailed(f"{self.place(name)}: there is no bucket {self.address.host}")
        return self._failure(name, error)

    def _failure(self, name: str, error: Exception) -> Exception:
        """The typed error of a failed request."""
        if isinstance(error, FileNotFoundError):
            return FileNotFoundError(f"{self.place(name)}: there is no such object")
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            return AccessRefused(
                f"{self.place(name)}: the server refuses these credentials ({_first_line(error)});"
                " check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        if isinstance(error, StorageFailed):
            return error
        return RemoteFailed(f"{self.place(name)}: {_first_line(error)}; run the command again")

    def _store(self) -> Any:
        """The client of this process."""
        global _used
        if not is_usable():
            raise RemoteFailed(f"{self.address}: obstore does not work in a forked process")
        if self._stores is None or self._stores[0] != os.getpid():
            _used = os.getpid()
            self._stores = os.getpid(), self._made_store()
        return self._stores[1]

    def _made_store(self) -> S3Store:
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        # Servers of one's own are seldom known by a name for each bucket.
        config: Any = {"endpoint": endpoint, "virtual_hosted_style_request": False}
        try:
            return S3Store(
                self.address.host,
                prefix=self.address.path or None,
                config=config if endpoint else None,
                client_options={
                    "connect_timeout": timedelta(seconds=self.patience.connect),
                    "read_timeout": timedelta(seconds=self.patience.stall),
                    "timeout": LONGEST,
                    "allow_http": (endpoint or "").startswith("http://"),
                },
                retry_config={"max_retries": RETRIES, "retry_timeout": LONGEST},
            )
        except (BaseError, ValueError) as error:
            raise RemoteFailed(f"{self.address}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """What an error of obstore says, without the document of the server and the debug part."""
    return str(error).partition("\n")[0].partition(": <?xml")[0]
