"""Runs the service: binds, refuses what would be open to strangers, ends when told."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import uvicorn

from pi_cache.errors import ServiceRefused
from pi_cache.serving.app import application
from pi_cache.serving.connections import Connection
from pi_cache.serving.quick import Quick
from pi_cache.serving.service import Service
from pi_cache.serving.tokens import check_safe

BACKLOG = 512


def serve(
    service: Service,
    host: str,
    port: int,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    insecure: bool = False,
    ready: Callable[[str], object] = bool,
) -> None:
    """Serve until SIGTERM or SIGINT; what is being sent is finished within the time of grace.

    ready: told the address once connections are taken. Raises ServiceRefused, UnsafeTokens,
    OSError.
    """
    check_open(service, host, insecure=insecure)
    context = None if certificate is None else tls(certificate, key)
    with bound(host, port) as listening:
        config = uvicorn.Config(
            application(service),
            http=cast(Any, functools.partial(Connection, service, Quick(service))),
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=cast(int, service.limits.keep_alive),
            timeout_graceful_shutdown=cast(int, service.limits.grace),
            ssl_context_factory=None if context is None else lambda *_: context,
        )
        service.log.take_over()
        server = Server(config, service, lambda: ready(url_of(listening, context is not None)))
        try:
            with asyncio.Runner(loop_factory=functools.partial(Loop, service)) as runner:
                runner.run(server.serve([listening]))
        finally:
            service.close()


class Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready and ends with status 0 when told to end."""

    def __init__(
        self, config: uvicorn.Config, service: Service, ready: Callable[[], object]
    ) -> None:
        super().__init__(config)
        self.service = service
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            raise ServiceRefused("the service did not start; its log says why") from None
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does; what is still being sent after the time of grace is cut and logged."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # for what asyncio then calls

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn does, but without raising the signals again afterwards."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        yield

    def _end(self) -> None:
        self.force_exit = self.should_exit  # told twice
        self.service.stopping = self.should_exit = True


class Loop(asyncio.SelectorEventLoop):
    """A loop whose servers give a client as long to agree on TLS as to send a request."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self.service = service

    async def create_server(self, *arguments: Any, **named: Any) -> Any:
        """A server, as of `asyncio`."""
        if named.get("ssl") is not None:
            named["ssl_handshake_timeout"] = self.service.limits.timeout
            named["ssl_shutdown_timeout"] = self.service.limits.timeout
        return await super().create_server(*arguments, **named)


def check_open(service: Service, host: str, *, insecure: bool) -> None:
    """Raise ServiceRefused where anybody on the network could read without a token."""
    if service.tokens is not None:
        check_safe(service.tokens.path)
    elif not insecure and not is_loopback(host):
        raise ServiceRefused(
            f"everybody who reaches {host} could read these stores; give --tokens FOLDER (pi-cache"
            " token new), or --insecure where that is meant"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it. Raises ServiceRefused for a name that is not known."""
    found = (str(place[4][0]).partition("%")[0] for place in _addresses(host))
    return all(ipaddress.ip_address(address).is_loopback for address in found)


def bound(host: str, port: int) -> socket.socket:
    """A socket on the first address of a host; port 0 is any free one. Raises ServiceRefused."""
    family, _, _, _, place = _addresses(host, port)[0]
    try:
        return socket.create_server((str(place[0]), port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = f"{error.strerror or error}; give another --port or --host"
        raise ServiceRefused(f"cannot listen on {host} port {port}: {reason}") from error


def _addresses(host: str, port: int = 0) -> list[Any]:
    try:
        return socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ServiceRefused(f"{host} is no address of this machine: {error.strerror}") from error


def url_of(listening: socket.socket, secure: bool) -> str:
    """The address of the service."""
    host, port = listening.getsockname()[:2]
    named = f"[{host}]" if ":" in host else host
    return f"{'https' if secure else 'http'}://{named}:{port}"


def tls(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """TLS 1.2 and later, HTTP/1.1 only. Raises ServiceRefused for files of no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])

    def refuse() -> str:  # OpenSSL would ask a terminal
        raise ServiceRefused(
            f"{key or certificate}: the key is encrypted, and nobody is there to type its password;"
            " decrypt it: openssl pkey -in KEY -out PLAIN, which only the service may read"
        )

    try:
        context.load_cert_chain(certificate, key, refuse)
    except OSError as error:  # of ssl as well
        raise ServiceRefused(
            f"{certificate}: no certificate with its key as PEM: {error}; see --key"
        ) from error
    return context
