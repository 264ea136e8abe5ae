"""Answers in JSON; an error is a sentence under `error`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

JSON = "application/json"
ROOM = "pi_cache.room"
"""Where a scope says what all large answers share; see `limits.Room`."""
PIECE = 64 << 10
"""Bytes of an answer that are handed over at a time; smaller answers need no room."""


class Answer(Response):
    """A document that goes out in pieces, each once most of those before it are taken.

    So what is not taken yet lies here, where it is counted, and not with the connection. One
    that finds no room is answered with 503.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = len(self.body)
        if size <= PIECE:
            await super().__call__(scope, receive, send)
        elif scope[ROOM].fits(size):
            with scope[ROOM].hold(size):
                await self._send(send)
        else:
            await busy()(scope, receive, send)

    async def _send(self, send: Send) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        for place in range(0, len(self.body), PIECE):
            await send(_piece(bytes(self.body[place : place + PIECE]), more=True))
        await send(_piece(b"", more=False))  # waits for room too, and so for the last of them


def _piece(data: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def answer(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON document. Raises ValueError for NaN and infinity, which JSON has not."""
    body = json.dumps(document, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    return Answer(body, status, headers, JSON)


def problem(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """What went wrong, as a sentence without paths of the server."""
    return answer({"error": sentence}, status, headers)


def missing() -> Response:
    """What does not exist, or what this token may not see: nobody can tell which."""
    return problem(404, "there is nothing of that name here, or this token may not read it")


def busy() -> Response:
    """To who asks for a large answer while too many wait for slow readers."""
    sentence = "too many answers wait for slow readers; try again in a moment"
    return problem(503, sentence, {"retry-after": "1"})


def empty(status: int, headers: Mapping[str, str]) -> Response:
    """An answer without a body, such as 304."""
    response = Response(status_code=status, headers=headers)
    response.raw_headers = [pair for pair in response.raw_headers if pair[0] != b"content-length"]
    return response
