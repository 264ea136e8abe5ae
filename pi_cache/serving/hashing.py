"""Files hashed before they are sent: once, however many clients wait for it.

A file that failed is not hashed again as long as it stays the same: who asks for it over and over
would keep the disk busy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from pi_cache import files
from pi_cache.checked import Identity
from pi_cache.errors import CorruptStore
from pi_cache.serving.shelf import Shelved

HASHERS = 4
"""Threads that hash files; others read, so that a file being hashed holds up nobody else's."""


class Hashing:
    """The files that are being hashed, and those that failed. counted: called for each hashing."""

    def __init__(self, counted: Callable[[], object]) -> None:
        self.counted = counted
        self.threads = ThreadPoolExecutor(HASHERS, "pi-cache hashing")
        self._running: dict[tuple[int, str], asyncio.Future[None]] = {}
        self._failed: dict[tuple[int, str], tuple[Shelved, Identity, str]] = {}

    async def check(self, shelved: Shelved, listed: str) -> None:
        """Return once the digest of a file has agreed. Raises CorruptStore, StorageFailed."""
        name = (id(shelved), listed)
        running = self._running.get(name)
        if running is None:
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self.threads, self._hash, shelved, listed)
            self._running[name] = running
            running.add_done_callback(lambda ended: self._end(name, ended))
        await asyncio.shield(running)  # who goes away takes it from nobody else

    def _end(self, name: tuple[int, str], ended: asyncio.Future[None]) -> None:
        del self._running[name]
        if not ended.cancelled():
            ended.exception()  # told to who still waits; where nobody does, it is no error

    def _hash(self, shelved: Shelved, listed: str) -> None:
        name, place = (id(shelved), listed), shelved.path / listed
        identity = None
        with suppress(FileNotFoundError):  # which opening it says better
            identity = Identity.of(files._call("stat", place, place))
        known = self._failed.get(name)
        if known is not None and known[1] == identity:
            raise CorruptStore(known[2])
        self._failed.pop(name, None)
        try:
            self.counted()
            shelved.touch.open(listed)
        except CorruptStore as error:
            if identity is not None:
                # The store is held too, so that no other one takes its number.
                self._failed[name] = (shelved, identity, str(error))
            raise
