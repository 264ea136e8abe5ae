"""Routes of `/v1/requests`: ask for a store, see how far it is, cancel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from pi_cache.errors import PiCacheError
from pi_cache.serving import answers
from pi_cache.serving.access import Access, access_of
from pi_cache.serving.builds.asked import parse_asked
from pi_cache.serving.builds.builds import Builds, refusal_status
from pi_cache.serving.builds.events import event_stream
from pi_cache.serving.builds.refusals import FORBIDDEN, TOO_MANY
from pi_cache.serving.builds.tickets import Ticket
from pi_cache.serving.service import Service

ANSWER_WITHIN = 8.0
"""Seconds that an answer waits for the key of a store to be known."""
LOOK = 0.05
MOST_LISTED = 200
"""Requests in a list, the newest ones."""
EVENTS = "text/event-stream"
AGAIN = {"retry-after": "60"}


def routes(service: Service) -> list[BaseRoute]:
    """Requests of builds; none where nothing is built on demand."""
    if service.builds is None:
        return [
            Route("/v1/requests", _nothing_built, methods=["GET", "POST"]),
            Route("/v1/requests/{rest:path}", _nothing_built, methods=["GET", "DELETE"]),
        ]
    asking = Asking(service, service.builds)
    one = "/v1/requests/{id}"
    return [
        Route("/v1/requests", asking.listed, methods=["GET"]),
        Route("/v1/requests", asking.create, methods=["POST"]),
        Route(one, asking.show, methods=["GET"]),
        Route(one, asking.cancel, methods=["DELETE"]),
        Route(f"{one}/events", asking.events, methods=["GET"]),
    ]


async def _nothing_built(request: Request) -> Response:
    return answers.problem(
        501, "nothing is built on demand here; pi-cache serve --source NAME=SOURCE offers data"
    )


def may_see(access: Access, ticket: Ticket) -> bool:
    """Whether a request is of this token, or the token may read every store."""
    everything = access.stores is None and "read" in access.may
    return everything or (ticket.owner == access.name and "build" in access.may)


class Asking:
    """Answers what is asked of the builds of a service."""

    def __init__(self, service: Service, builds: Builds) -> None:
        self.service, self.builds = service, builds
        self._listeners = 0

    async def create(self, request: Request) -> Response:
        """Ask for a store: 200 with one that is finished, else 202 with the request."""
        access = access_of(request)
        if "build" not in access.may:
            return answers.problem(FORBIDDEN, "this token may not ask for builds")
        try:
            asked = parse_asked(await request.body())
            if asked.key and access.may_read(asked.key) and await self._is_served(asked.key):
                return answers.answer(_finished(asked.key))
            ticket = await self.service.in_thread(self.builds.ask, access.name, asked)
        except (PiCacheError, OSError) as error:
            return self._refused(error)
        await self._wait(ticket)
        return await self._answer(ticket)

    async def listed(self, request: Request) -> Response:
        """The requests that this token may see, the newest first."""
        access = access_of(request)
        tickets = await self.service.in_thread(self.builds.desk.tickets)
        seen = [ticket for ticket in reversed(tickets) if may_see(access, ticket)][:MOST_LISTED]
        documents = [await self.service.in_thread(self.builds.status, t) for t in seen]
        return answers.answer({"requests": documents})

    async def show(self, request: Request) -> Response:
        """One request."""
        ticket = await self._find(request)
        if ticket is None:
            return answers.missing()
        return answers.answer(await self.service.in_thread(self.builds.status, ticket))

    async def cancel(self, request: Request) -> Response:
        """End one's own request."""
        ticket = await self._find(request)
        if ticket is None:
            return answers.missing()
        access = access_of(request)
        if ticket.owner != access.name or "build" not in access.may:
            return answers.problem(FORBIDDEN, "only the token that asked may cancel a request")
        await self.service.in_thread(self.builds.desk.cancel, ticket)
        return answers.answer(await self.service.in_thread(self.builds.status, ticket))

    async def events(self, request: Request) -> Response:
        """What happens to one request, until it has ended."""
        ticket = await self._find(request)
        if ticket is None:
            return answers.missing()
        if self._listeners >= self.builds.settings.listeners:
            sentence = "as many listen already as may; ask for the request itself now and then"
            return answers.problem(TOO_MANY, sentence, AGAIN)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        if request.method == "HEAD":
            return Response(None, 200, headers, EVENTS)
        given = [value for name, value in request.scope["headers"] if name == b"authorization"]
        stream = self._stream(ticket, given)
        return StreamingResponse(stream, headers=headers, media_type=EVENTS)

    async def _stream(self, ticket: Ticket, given: list[bytes]) -> AsyncIterator[bytes]:
        """The events of a request, as long as the token that asked for them counts."""

        async def status() -> dict[str, Any]:
            await self.service.access(given)  # reads the tokens again, if they changed
            return await self.service.in_thread(self.builds.status, ticket)

        def is_over() -> bool:
            access = self.service.access_at_hand(given)
            return self.service.stopping or access is None or not may_see(access, ticket)

        self._listeners += 1
        try:
            async for part in event_stream(status, is_over):
                yield part
        finally:
            self._listeners -= 1

    async def _find(self, request: Request) -> Ticket | None:
        """The request of a path, None where there is none that the token may see."""
        ticket = await self.service.in_thread(self.builds.desk.find, request.path_params["id"])
        return ticket if ticket and may_see(access_of(request), ticket) else None

    async def _is_served(self, key: str) -> bool:
        try:
            return await self.service.find(key) is not None
        except (PiCacheError, OSError):
            return False

    async def _wait(self, ticket: Ticket) -> None:
        """Until the key is known and it is queued, or it has ended; not for long."""
        until = time.monotonic() + ANSWER_WITHIN
        while ticket.is_open and not self.builds.is_queued(ticket) and time.monotonic() < until:
            if self.service.stopping:
                return
            await asyncio.sleep(LOOK)

    async def _answer(self, ticket: Ticket) -> Response:
        document = await self.service.in_thread(self.builds.status, ticket)
        if ticket.outcome is None:
            return answers.answer(document, 202, {"location": document["url"]})
        return answers.answer(document, ticket.outcome.status)

    def _refused(self, error: Exception) -> Response:
        """The answer to a request that was not taken."""
        status = refusal_status(error)
        headers = AGAIN if status == TOO_MANY else None
        return answers.problem(status, self.builds.desk.told(str(error)), headers)


def _finished(key: str) -> dict[str, str]:
    """What is told of a finished store that needs no request."""
    return {"state": "finished", "key": key, "store": f"/stores/{key}"}
