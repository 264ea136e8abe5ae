"""Routes of raw bytes: `/stores/KEY/PATH` for every file of a finished store.

A key is looked up among the folders of the root and a path among the files that the manifest
lists; neither is ever joined to a path.
"""

from __future__ import annotations

from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from pi_cache.errors import CorruptStore, StorageFailed, UnsupportedFormat
from pi_cache.manifest import FileEntry
from pi_cache.serving import answers
from pi_cache.serving.access import access_of
from pi_cache.serving.ranges import Asked, Part, asked
from pi_cache.serving.sending import Sending, damaged, opened
from pi_cache.serving.service import Service
from pi_cache.serving.shelf import Shelved

METHODS = ("GET", "HEAD")
BYTES = "application/octet-stream"
DAMAGED = "this file is damaged and is not sent; the log of the service says more"
BROKEN = "this store is damaged; the log of the service says more"
UNREAD = "this file cannot be read now; the log of the service says why"


def routes(service: Service) -> list[BaseRoute]:
    """The raw bytes of stores."""
    return [Mount("/stores", app=Files(service))]


class Files:
    """Answers `/stores/KEY/PATH`."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(scope)
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope) -> ASGIApp:
        if scope["method"] not in METHODS:
            return answers.problem(405, "stores are read only", {"allow": ", ".join(METHODS)})
        _, _, key, *rest = scope["path"].split("/", 3)
        if not rest or not access_of(scope).may_read(key):
            return answers.missing()
        try:
            shelved = await self.service.find(key)
        except (CorruptStore, UnsupportedFormat, StorageFailed) as error:
            damaged(self.service, error)
            return answers.problem(500, BROKEN)
        entry = None if shelved is None else shelved.entries.get(rest[0])
        if shelved is None or entry is None:
            return answers.missing()
        return await self._file(scope, shelved, rest[0], entry)

    async def _file(self, scope: Scope, shelved: Shelved, listed: str, entry: FileEntry) -> ASGIApp:
        wanted = asked(scope["headers"], f'"{entry.sha256}"'.encode(), entry.size, scope["method"])
        headers = file_headers(listed, entry, wanted)
        if wanted.status not in (200, 206):
            return _without_bytes(wanted, headers)
        part = Part(0, 0) if scope["method"] == "HEAD" else wanted.part
        try:
            source = await opened(self.service, shelved, listed, part)
        except (CorruptStore, StorageFailed) as error:
            return await self._unsendable(scope, shelved, error)
        return Sending(self.service, wanted.status, headers, source, part)

    async def _unsendable(self, scope: Scope, shelved: Shelved, error: Exception) -> ASGIApp:
        """The answer for a file that is damaged, or whose store has just been removed."""
        if await self.service.in_thread(self.service.shelf.is_over, shelved):
            return await self._answer(scope)
        damaged(self.service, error)
        if isinstance(error, CorruptStore):
            return answers.problem(500, DAMAGED)
        return answers.problem(503, UNREAD, {"retry-after": "5"})


def file_headers(listed: str, entry: FileEntry, wanted: Asked) -> dict[str, str]:
    """The headers of an answer with a file, or with a part of it."""
    start, stop = wanted.part
    headers = {
        "etag": f'"{entry.sha256}"',
        "accept-ranges": "bytes",
        # What a key holds never changes, but who may read it does.
        "cache-control": "private, no-cache",
        "content-type": answers.JSON if listed.endswith(".json") else BYTES,
        "content-length": str(stop - start),
    }
    if wanted.status == 206:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{entry.size}"
    return headers


def _without_bytes(wanted: Asked, headers: dict[str, str]) -> ASGIApp:
    """304, 412 or 416."""
    del headers["content-length"]
    if wanted.status == 304:
        return answers.empty(304, headers)
    if wanted.status == 412:
        return answers.problem(412, "the file is another one than If-Match names")
    size = wanted.part.stop
    sentence = f"the range begins after the end of the file, which has {size} bytes"
    return answers.problem(416, sentence, {"content-range": f"bytes */{size}"})
