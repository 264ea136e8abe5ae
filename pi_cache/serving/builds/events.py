"""The events of a request, as a browser reads them (`text/event-stream`).

Each event holds the whole state, so that one that is missed is no loss, and the id of an event (a
client sends the last one again when it comes back) says nothing that is needed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from pi_cache.serving.builds.records import ENDED

LOOK = 0.5
"""Seconds between two looks."""
BEAT = 5.0
"""Seconds after which a comment says that the connection is alive."""
LONGEST = 3600.0
"""Seconds of a stream; its client comes back, with a token that still counts."""

Status = Callable[[], Awaitable[dict[str, Any]]]


async def event_stream(status: Status, over: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The state as an event whenever it changes, until it is one of ENDED.

    status: what is told at this moment. over: whether to end before, as the service does.
    """
    last: dict[str, Any] | None = None
    number, started = 0, time.monotonic()
    sent = started
    while not over() and time.monotonic() - started < LONGEST:
        found = await status()
        if found != last:
            number += 1
            yield event(_name(found, last), number, found)
            last, sent = found, time.monotonic()
        elif time.monotonic() - sent >= BEAT:
            yield b": still here\n\n"
            sent = time.monotonic()
        if found["state"] in ENDED:
            return
        await asyncio.sleep(LOOK)


def event(name: str, number: int, document: dict[str, Any]) -> bytes:
    """One event; JSON has no line breaks of its own."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    return f"event: {name}\nid: {number}\ndata: {text}\n\n".encode()


def _name(found: dict[str, Any], last: dict[str, Any] | None) -> str:
    """`state` where that is another one, else `progress`."""
    same = last is not None and found["state"] == last["state"]
    return "progress" if same else "state"
