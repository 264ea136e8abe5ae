"""Routes for looking at samples: an overview of a store, a page of samples, one sample."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pi_cache.errors import CorruptStore, InvalidSpec, StorageFailed, UnsupportedFormat
from pi_cache.reader import Store
from pi_cache.serving.access import access_of
from pi_cache.serving.answers import answer, missing, problem
from pi_cache.serving.overview import overview
from pi_cache.serving.pictures import MOST_BYTES, MOST_SAMPLES, Choice, drawn, sample_bytes
from pi_cache.serving.sending import damaged
from pi_cache.serving.service import Service
from pi_cache.specs import Status

KEPT = 256
"""Overviews that are kept, by digest of the store: its tables are read once."""
AT_ONCE = 2
"""Stores that are looked into at a time: a sample may be large, and so may its neighbours."""
LARGEST_NUMBER = 1 << 53
"""Numbers in a query are below it; more is no sample and no label."""
LONGEST_QUERY = 2048
BROKEN = "this store is damaged; the log of the service says more"

Look = Callable[[Store], dict[str, Any] | None]


def routes(service: Service) -> list[BaseRoute]:
    """`overview`, `samples` and `samples/N` of each store."""
    overviews: OrderedDict[str, dict[str, Any]] = OrderedDict()
    places = asyncio.Semaphore(AT_ONCE)

    async def look(request: Request, of_store: Look) -> Response:
        async with places:
            return await _look(service, request, of_store)

    async def show_overview(request: Request) -> Response:
        return await look(request, lambda store: _kept(overviews, store))

    async def show_samples(request: Request) -> Response:
        try:
            asked = parse_query(request.scope["query_string"])
        except InvalidSpec as error:
            return problem(400, str(error))
        return await look(request, lambda store: page(store, asked))

    async def show_sample(request: Request) -> Response:
        try:
            number = _whole("sample", request.path_params["sample"])
        except InvalidSpec:
            return missing()
        return await look(request, lambda store: one(store, number))

    return [
        Route("/v1/stores/{key}/overview", show_overview, methods=["GET"]),
        Route("/v1/stores/{key}/samples", show_samples, methods=["GET"]),
        Route("/v1/stores/{key}/samples/{sample}", show_sample, methods=["GET"]),
    ]


async def _look(service: Service, request: Request, look: Look) -> Response:
    """What a thread finds in the store of a request; 404 where it may not or cannot be seen."""
    key = request.path_params["key"]
    if not access_of(request).may_read(key):
        return missing()
    try:
        shelved = await service.find(key)
        if shelved is None:
            return missing()
        return await service.in_thread(lambda: _seen(look(shelved.store)))
    except InvalidSpec as error:
        return problem(400, str(error))
    except (CorruptStore, UnsupportedFormat, StorageFailed) as error:
        damaged(service, error)
        return problem(500, BROKEN)


def _seen(found: dict[str, Any] | None) -> Response:
    """The answer, written in the thread too: it may be megabytes."""
    return missing() if found is None else answer(found)


def _kept(overviews: OrderedDict[str, dict[str, Any]], store: Store) -> dict[str, Any]:
    digest = store.manifest.digest
    found = overviews.pop(digest, None) or overview(store)
    overviews[digest] = found  # last again: the first is the one asked for longest ago
    while len(overviews) > KEPT:
        overviews.popitem(last=False)
    return found


def parse_query(query: bytes) -> dict[str, Any]:
    """The values of NAME=VALUE pairs, with defaults. Raises InvalidSpec for any other."""
    if len(query) > LONGEST_QUERY:
        raise InvalidSpec(f"the query has {len(query)} bytes, expected at most {LONGEST_QUERY}")
    known: Mapping[str, Callable[[str, str], Any]] = {
        "label": _label,
        "status": _status,
        "each": _whole,
        "after": _whole,
        "limit": _whole,
        "channel": _whole,
    }
    found: dict[str, Any] = {"after": 0, "limit": MOST_SAMPLES // 4, "channel": 0}
    for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in known:
            raise InvalidSpec(f"unknown {name[:50]!r}; there are {', '.join(known)}")
        found[name] = known[name](name, text)
    return found


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) < LARGEST_NUMBER):
        raise InvalidSpec(f"{name} must be a whole number of 0 or more, got {text[:50]!r}")
    return int(text)


def _label(name: str, text: str) -> int:
    return -1 if text == "-1" else _whole(name, text)


def _status(name: str, text: str) -> str:
    if text not in Status.__members__:
        raise InvalidSpec(f"{name} must be one of {', '.join(Status.__members__)}")
    return text


def page(store: Store, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Some samples, each with what can be drawn of it for one channel.

    total: all that are chosen. next: the `after` that goes on, None at the end. At most
    MOST_SAMPLES, and no more than have MOST_BYTES of numbers, but always one.
    """
    channel = _channel(store, asked["channel"])
    choice = Choice(**{name: asked.get(name) for name in ("label", "status", "each")})
    rows = choice.rows(store)
    fitting = max(MOST_BYTES // max(sample_bytes(store, 1), 1), 1)
    start, most = asked["after"], min(asked["limit"], MOST_SAMPLES, fitting)
    few = rows[start : start + most].tolist()
    end = start + len(few)
    return {
        "key": store.key,
        "channel": channel,
        "total": len(rows),
        "next": end if few and end < len(rows) else None,
        "samples": [drawn(store, sample, [channel]) for sample in few],
    }


def _channel(store: Store, channel: int) -> int:
    if channel >= len(store.channels):
        raise InvalidSpec(f"channel must lie in 0..{len(store.channels) - 1}, got {channel}")
    return channel


def one(store: Store, sample: int) -> dict[str, Any] | None:
    """A sample with all of its channels, as many as an answer may hold; None beyond the last."""
    if sample >= len(store):
        return None
    without = sample_bytes(store, 0)
    fitting = (MOST_BYTES - without) // (sample_bytes(store, 1) - without)
    channels = range(min(len(store.channels), max(fitting, 1)))
    return {"key": store.key, **drawn(store, sample, channels)}
