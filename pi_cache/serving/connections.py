"""One connection: uvicorn's, with deadlines, a limit for the head, and a place in the crowd."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from pi_cache.serving.quick import Delivery, Quick
from pi_cache.serving.service import Service

LEAST = 4096
"""Bytes that a client has to take within the timeout, of as many as wait for it."""
LINGER = 1.0
"""Seconds for which what comes after a refusal is thrown away: closing at once would take the
refusal back from who still sends."""
LOOKS = 10
"""How often within the timeout a connection is looked at."""
HINTS = {
    431: "the head of this request is too large",
    505: "this service speaks HTTP/1.1 and HTTP/1.0",
}
MALFORMED = "this is no request of HTTP/1.1"


class Conversation(h11.Connection):
    """A conversation that knows why it was refused, and refuses what h11 lets pass.

    h11 limits only a head of which the end has not come yet, takes any version for its own, and
    reads a body that has two lengths.
    """

    def __init__(self, most: int) -> None:
        super().__init__(h11.SERVER, most)
        self.most = most
        self.hint = 400

    def next_event(self) -> Any:
        """The next event, as of `h11.Connection`. Raises RemoteProtocolError."""
        try:
            event = super().next_event()
            if isinstance(event, h11.Request) and (status := _fault(event, self.most)):
                raise h11.RemoteProtocolError(HINTS.get(status, MALFORMED), status)
        except h11.RemoteProtocolError as error:
            self.hint = error.error_status_hint
            raise
        return event


class Connection(H11Protocol):
    """A connection that is cut when its client does not send, or does not take, in time."""

    def __init__(self, service: Service, quick: Quick | None = None, **given: Any) -> None:
        super().__init__(**given)
        self.service = service
        self.quick = quick
        self._delivery: Delivery | None = None
        self.conn: Conversation = Conversation(service.limits.head)
        self.patience = service.limits.timeout * (LOOKS - 1) / LOOKS
        self._refused = ""
        self._receiving: float | None = None
        self._waiting = 0
        self._taken = 0.0
        self._watch: asyncio.TimerHandle | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._refused = self.service.crowd.enter(self._address)
        self.service.metrics.connections.set(self.service.crowd.total)
        if self._refused and self.service.crowd.is_flood():
            transport.abort()
            return
        self._receiving = self._taken = self.loop.time()
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._delivery is not None:
            self._delivery.end(complete=False)
        super().connection_lost(exc)
        if self._watch is not None:
            self._watch.cancel()
        self.service.crowd.leave(self._address, refused=bool(self._refused))
        self.service.metrics.connections.set(self.service.crowd.total)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing() or self._lingers:
            return
        if self._refused:
            self._refuse(503, self._refused, "crowd")
            return
        if self._delivers(data):
            return
        before = self.conn.their_state
        super().data_received(data)
        if self.conn.their_state is not before:
            self._receiving = None
        self._mark()

    def eof_received(self) -> None:
        """Close at the end of what a client sends once it was refused, as asyncio does then."""

    # Answers that need neither h11 nor the routes.

    def _delivers(self, data: bytes) -> bool:
        """Whether these bytes are a whole request that is answered at once."""
        if self.quick is None or not self._rests():
            return False
        defaults = self.server_state.default_headers
        answer = self.quick.answer(data, self._address, defaults)
        if answer is None:
            return False
        self._unset_keepalive_if_required()
        self._receiving = None
        if self._delivery is None:
            self._delivery = Delivery(self.quick, self.transport, self._delivered)
        self._delivery.start(answer)
        if self._delivery.answer is not None:
            self.flow.pause_reading()  # what comes meanwhile is a request of its own
        return True

    def _rests(self) -> bool:
        """Whether nothing is under way, so that what comes begins a request."""
        idle = self.conn.our_state is h11.IDLE and self.conn.their_state is h11.IDLE
        return idle and not self._answers and not self.conn.trailing_data[0] and not self._ends

    def _delivered(self, complete: bool) -> None:
        """Wait for the next request, if all went well."""
        if complete and self._ends:
            self.transport.close()
        elif complete:
            self.on_response_complete()

    def shutdown(self) -> None:
        self._ends = True
        if self._delivery is None or self._delivery.answer is None:
            super().shutdown()

    # What uvicorn calls.

    def on_response_complete(self) -> None:
        self._receiving = None
        super().on_response_complete()
        self._mark()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection without requests; not while the last answer is still being taken."""
        if self.transport.get_write_buffer_size():
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        self._refuse(self.conn.hint, HINTS.get(self.conn.hint, MALFORMED), "malformed")

    # Deadlines.

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def _mark(self) -> None:
        """Note since when a request is being received; nothing while none is."""
        inside = self.conn.their_state is h11.SEND_BODY or (
            self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        )
        if not inside:
            self._receiving = None
        elif self._receiving is None:
            self._receiving = self.loop.time()

    def _look_later(self) -> None:
        self._watch = self.loop.call_later(self.service.limits.timeout / LOOKS / 2, self._look)

    def _look(self) -> None:
        reason = self._overdue(self.loop.time())
        if reason:
            self._cut(reason)
        else:
            self._look_later()

    def _overdue(self, now: float) -> str:
        """What a client has not done in time, "" where it has."""
        waiting = self.transport.get_write_buffer_size()
        if not waiting or not self._waiting or waiting <= self._waiting - LEAST:
            self._waiting, self._taken = waiting, now
        if self._lingers:
            return "linger" if now - self._since > LINGER else ""
        if waiting and now - self._taken > self.patience:
            return "reader"
        if self._receiving is not None and now - self._receiving > self.patience:
            return "body" if self.conn.their_state is h11.SEND_BODY else "head"
        return ""

    def resume_writing(self) -> None:
        super().resume_writing()
        self._waiting = 0  # most of what waited has been taken
        if self._delivery is not None:
            self._delivery.go_on()

    def _cut(self, reason: str) -> None:
        if reason != "linger":
            self.service.metrics.cuts.labels(reason).inc()
            self.service.log.write("cut", address=self._address, reason=reason)
        self.transport.abort()

    # Refusals that no route sees.

    _lingers = _ends = False
    _since = 0.0

    def _refuse(self, status: int, sentence: str, reason: str) -> None:
        """Answer and hang up, if no answer is under way already."""
        self.service.metrics.refused.labels(reason).inc()
        self.service.log.write("refused", address=self._address, status=status, reason=sentence)
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE) or self._answers:
            self.transport.close()
            return
        self.transport.write(_refusal(status, sentence))
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self._lingers, self._since = True, self.loop.time()

    @property
    def _answers(self) -> bool:
        """Whether a route is about to answer: its answer would follow the refusal."""
        return self.cycle is not None and not self.cycle.response_complete


def _fault(request: h11.Request, most: int) -> int:
    """The status of a head that is refused, 0 for one that is not. most: bytes of a head.

    A body with a length and in chunks, or in chunks of HTTP/1.0, ends elsewhere for some proxies:
    what follows could be another's request (RFC 9112, 6.1).
    """
    if _size(request) > most:
        return 431
    if request.http_version not in (b"1.1", b"1.0"):
        return 505
    framed = {name for name, _ in request.headers} & {b"content-length", b"transfer-encoding"}
    old = request.http_version == b"1.0" and b"transfer-encoding" in framed
    return 400 if len(framed) > 1 or old else 0


def _size(request: h11.Request) -> int:
    """Bytes of a head."""
    fields = sum(len(name) + len(value) + 4 for name, value in request.headers.raw_items())
    return len(request.method) + len(request.target) + 14 + fields


def _refusal(status: int, sentence: str) -> bytes:
    body = json.dumps({"error": sentence}).encode() + b"\n"
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "x-content-type-options: nosniff",
        *(["retry-after: 1"] if status == 503 else []),
        "connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
