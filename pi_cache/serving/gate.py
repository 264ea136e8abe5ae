"""What every request passes: its limits, who sends it, from where; and what is noted of it.

Decided on the path as it was sent, `raw_path`: the routes behind see that and nothing decoded.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pi_cache.serving import answers
from pi_cache.serving.access import STATE
from pi_cache.serving.log import path_text
from pi_cache.serving.metrics import method_of, route_of
from pi_cache.serving.service import Service
from pi_cache.serving.tokens import FRESH

PLAIN = re.compile(rb"/(?:[A-Za-z0-9_~.-]+/)*[A-Za-z0-9_~.-]*")
"""Paths that anything can lie at: no percent signs, no empty parts."""
READS = ("GET", "HEAD")
LOOPBACK = ("localhost",)
SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
DEFAULTS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Sent where a route does not say otherwise."""


class Gate:
    """An ASGI application before the routes."""

    def __init__(self, service: Service, routes: ASGIApp) -> None:
        self.service = service
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.routes(scope, receive, send)
        if scope["type"] != "http":
            return
        scope[answers.ROOM] = self.service.room
        exchange = Exchange(self.service, scope, send)
        try:
            refusal = await self._refusal(scope, exchange)
            if refusal is not None:
                await refusal(scope, receive, exchange.send)
                return
            limited = _limited(receive, self.service.limits.body)
            await self.routes(scope, limited, exchange.send)
        finally:
            exchange.end()

    async def _refusal(self, scope: Scope, exchange: Exchange) -> Response | None:
        """The answer to a request that does not reach the routes; None for one that does."""
        service = self.service
        if service.tokens is None and not is_known_host(_values(scope, b"host"), service.hosts):
            return answers.problem(421, "this service has another name; see --allow-host")
        access = await service.access(_values(scope, b"authorization"))
        exchange.note.name = access.name if access else ""
        wait = service.rates.wait(access.id if access and access.id else address_of(scope))
        if wait:
            return answers.problem(429, "too many requests a second", retry(wait))
        if access is None:
            return unread() if service.tokens and service.tokens.unread else unauthorised()
        scope[STATE] = access
        if not PLAIN.fullmatch(scope["raw_path"]) or _climbs(scope["raw_path"]):
            return answers.missing()
        scope["path"] = scope["raw_path"].decode("ascii")
        return None if scope["method"] in READS else self._refusal_of_change(scope)

    def _refusal_of_change(self, scope: Scope) -> Response | None:
        """Of a request that may change something: none that a page of another site can send."""
        hosts, origins = _values(scope, b"host"), _values(scope, b"origin")
        if origins and [origin.partition(b"://")[2] for origin in origins] != hosts:
            return answers.problem(403, "this request comes from a page of another site")
        if _values(scope, b"sec-fetch-site") not in ([], [b"same-origin"], [b"none"]):
            return answers.problem(403, "this request comes from a page of another site")
        kinds = [
            value.partition(b";")[0].strip().lower() for value in _values(scope, b"content-type")
        ]
        if scope["method"] == "POST" and kinds != [b"application/json"]:
            return answers.problem(415, "the body must be JSON: Content-Type: application/json")
        most = self.service.limits.body
        lengths = _values(scope, b"content-length")
        if any(length.isdigit() and int(length[:20]) > most for length in lengths):
            return _too_large(most)
        return None


@dataclass(slots=True, kw_only=True)
class Note:
    """What is logged and counted of a request. name: of who asked. since: when, by the clock."""

    address: str
    method: str
    path: bytes
    since: float
    name: str = ""
    status: int = 0
    bytes: int = 0
    complete: bool = False

    def write(self, service: Service, now: float) -> None:
        """Log and count it."""
        seconds, path = now - self.since, path_text(self.path)
        route = route_of(path)
        method = method_of(self.method)
        service.metrics.count(route, method, self.status, sent=self.bytes, seconds=seconds)
        service.log.write(
            "request",
            address=self.address,
            token=self.name or None,
            method=self.method[:20],
            path=path,
            status=self.status,
            bytes=self.bytes,
            seconds=round(seconds, 6),
            complete=self.complete,
        )


class Exchange:
    """A request and what is answered, as far as it is noted."""

    def __init__(
        self,
        service: Service,
        scope: Scope,
        send: Send,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self.clock = clock
        self.note = Note(
            address=address_of(scope),
            method=scope["method"],
            path=scope["raw_path"],
            since=clock(),
        )
        self._send = send

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on."""
        if message["type"] == "http.response.start":
            self.note.status = message["status"]
            message["headers"] = with_defaults(message.get("headers", []))
        else:
            body = b"" if self.note.method == "HEAD" else message.get("body", b"")
            self.note.bytes += len(body)
            self.note.complete = not message.get("more_body", False)
        await self._send(message)

    def end(self) -> None:
        """Log and count it."""
        self.note.write(self.service, self.clock())


def unauthorised() -> Response:
    """The one answer to who has no valid token, whatever was asked for."""
    return answers.problem(
        401,
        "a valid token is needed: Authorization: Bearer TOKEN, or TOKEN as the password",
        {"www-authenticate": 'Basic realm="pi-cache"'},
    )


def unread() -> Response:
    """The one answer to everybody while the tokens cannot be read: nobody has a wrong one."""
    return answers.problem(503, "the tokens cannot be read now", retry(FRESH))


def retry(seconds: float) -> dict[str, str]:
    """The header that says when to come again."""
    return {"retry-after": str(max(1, -int(-seconds // 1)))}


def address_of(scope: Scope) -> str:
    """Where a request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def is_known_host(values: list[bytes], hosts: frozenset[str]) -> bool:
    """Whether a Host header names this service by a loopback name, an address, or one of `hosts`.

    A page of another site that has its own name lead here (DNS rebinding) sends that name; it
    cannot send an address.
    """
    if len(values) != 1:
        return False
    host = values[0].decode("latin-1").lower()
    name = re.sub(r":[0-9]{1,5}$", "", host)
    if name in LOOPBACK or name.endswith(".localhost") or name in hosts or host in hosts:
        return True
    return _is_address(name.removeprefix("[").removesuffix("]"))


@lru_cache(64)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _values(scope: Scope, name: bytes) -> list[bytes]:
    """The values of a header."""
    return [value for found, value in scope["headers"] if found == name]


def _climbs(path: bytes) -> bool:
    return any(part in (b".", b"..") for part in path.split(b"/"))


def with_defaults(given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, with those that every answer has."""
    headers = [(bytes(name).lower(), value) for name, value in given]
    named = {name for name, _ in headers}
    return [*headers, *SAFE, *(pair for pair in DEFAULTS if pair[0] not in named)]


def _limited(receive: Receive, most: int) -> Receive:
    """`receive`, which raises for a body that is larger, however it is sent."""
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise HTTPException(413, f"a body of at most {most} bytes is read")
        return message

    return limited


def _too_large(most: int) -> Response:
    return answers.problem(413, f"a body of at most {most} bytes is read")
