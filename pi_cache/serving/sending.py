"""Sends a part of a file: checked before its first byte, read in blocks by threads.

A file that is damaged is answered with an error and none of its bytes. One that changes while it is
sent ends with a broken connection: fewer bytes than the answer announced.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress

from starlette.types import Message, Receive, Scope, Send

from pi_cache import files
from pi_cache.checked import Identity
from pi_cache.errors import CorruptStore, StorageFailed
from pi_cache.serving.ranges import Part
from pi_cache.serving.service import Service
from pi_cache.serving.shelf import Shelved
from pi_cache.shardfile import OpenFile

NO_WAIT = getattr(os, "RWF_NOWAIT", -1)
"""Reads only what lies in memory; of Linux, elsewhere every such read fails."""
CHANGES = 3
"""How often a file is hashed anew that changed since it was hashed."""
BLOCK = 256 << 10
"""Bytes read at a time, and so what a connection takes in memory, twice or three times."""


class Checked:
    """A file whose digest has agreed, as long as it stays the same."""

    def __init__(self, file: OpenFile) -> None:
        self.file = file
        self.identity: Identity = file.identity

    def block(self, part: Part) -> bytes:
        """The first bytes of a part, at most BLOCK. Raises CorruptStore once the file changed.

        Asked after reading: what was written before is seen in the times, and what is written
        later was not read.
        """
        data = self.file.read(part.start, min(BLOCK, part.stop - part.start))
        self._check_same()
        return data

    def at_hand(self, part: Part, into: memoryview) -> memoryview | None:
        """As `block`, put into a buffer, of bytes that lie in memory; None where a disk would be
        asked. Takes no longer than copying, so that no thread is needed.
        """
        block = into[: min(len(into), part.stop - part.start)]
        try:
            count = files.system.preadv(self.file.handle, [block], part.start, NO_WAIT)
        except OSError:  # it would wait, or the file system cannot tell
            return None
        if count < len(block):
            return None
        self._check_same()
        return block

    def _check_same(self) -> None:
        if self.file._identify() != self.identity:
            raise CorruptStore(f"{self.file.path}: changed while it was sent")


def open_known(shelved: Shelved, listed: str, part: Part) -> tuple[Checked, bytes] | None:
    """A file and the first block of a part; None where it must be hashed first."""
    file = shelved.touch.known(listed)
    if file is None:
        return None
    checked = Checked(file)
    return checked, checked.block(part)


async def opened(
    service: Service, shelved: Shelved, listed: str, part: Part
) -> tuple[Checked, bytes]:
    """A checked file and the first block of a part. Raises CorruptStore, StorageFailed."""
    for _ in range(CHANGES):
        found = await service.in_thread(open_known, shelved, listed, part)
        if found is not None:
            return found
        await service.hashing.check(shelved, listed)
    raise CorruptStore(f"{shelved.path / listed}: changes again and again; nothing may write there")


class Sending:
    """An answer with a part of a file, of which the first block has been read."""

    def __init__(
        self,
        service: Service,
        status: int,
        headers: Mapping[str, str],
        source: tuple[Checked, bytes],
        part: Part,
    ) -> None:
        self.service = service
        self.status = status
        self.headers = headers
        self.checked, self.first = source
        self.part = part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        place = self.part.start + len(self.first)
        await send(_body(self.first, place < self.part.stop))
        if place < self.part.stop:
            gone = asyncio.ensure_future(_gone(receive))
            try:
                await self._rest(place, gone, send)
            finally:
                gone.cancel()
                with suppress(asyncio.CancelledError):
                    await gone

    async def _rest(self, place: int, gone: asyncio.Future[None], send: Send) -> None:
        """Send what follows the first block, as long as the client is there."""
        while place < self.part.stop and not gone.done():
            try:
                part = Part(place, self.part.stop)
                block = await self.service.in_thread(self.checked.block, part)
            except (CorruptStore, StorageFailed) as error:
                damaged(self.service, error)
                return  # less than was announced: the server breaks the connection
            place += len(block)
            await send(_body(block, place < self.part.stop))


def damaged(service: Service, error: BaseException) -> None:
    """Log and count a file that cannot be sent."""
    service.metrics.damaged.inc()
    service.log.write("damaged", problem=str(error))


def _body(data: bytes, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def _gone(receive: Receive) -> None:
    """Return once the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
