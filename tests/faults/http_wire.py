"""HTTP on the bare wire: bytes sent as they are, and what comes back read by the letter."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time
from collections.abc import Iterator, Sequence

from tests.faults import Violation, demand
from tests.faults.http_truth import Response

PATIENCE = 60.0
"""Seconds without a byte after which a server counts as hanging; far above every deadline."""
QUIET = 0.1
"""Seconds of silence after which a server is taken to wait for more. Where it was only slow, a
round tries less than it could, and is right all the same."""
STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [\x20-\x7e]*")
HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): *([\x20-\x7e]*?) *")
BODILESS = {204, 304}

Address = tuple[str, int]


def connect(address: Address, source: str = "127.0.0.1", *, room: int = 0) -> socket.socket:
    """A connection from an address of this machine. room: bytes that it takes without reading."""
    made = socket.socket()
    if room:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    made.settimeout(PATIENCE)
    made.bind((source, 0))
    made.connect(address)
    return made


def exchange(
    address: Address, parts: Sequence[bytes], *, source: str = "127.0.0.1", open_end: bool = False
) -> bytes:
    """Everything that the server sends until it closes, while it is sent these parts.

    open_end: the server may wait for more; once it is QUIET, we say that nothing more will come.
    Raises Violation where the server is silent for PATIENCE.
    """
    received = bytearray()
    with contextlib.closing(connect(address, source)) as line:
        try:
            for part in parts:
                _send(line, part, received)
            if open_end:
                while select.select([line], [], [], QUIET)[0] and (block := line.recv(1 << 16)):
                    received += block
                line.shutdown(socket.SHUT_WR)
            while block := line.recv(1 << 16):
                received += block
        except TimeoutError:
            raise Violation(f"nothing for {PATIENCE:g} s after {received!r:.200}") from None
        except OSError:
            pass  # it was cut, which is an answer
    return bytes(received)


def _send(line: socket.socket, part: bytes, received: bytearray) -> None:
    """Send a part, reading meanwhile what comes, so that neither side waits for the other."""
    rest, stop = memoryview(part), time.monotonic() + PATIENCE
    while rest:
        readable, writable, _ = select.select([line], [line], [], PATIENCE)
        if readable:
            block = line.recv(1 << 16)
            if not block:
                raise ConnectionResetError
            received += block
        elif writable:
            rest = rest[line.send(rest[: 1 << 16]) :]
        demand(time.monotonic() < stop, "it neither reads nor writes")


def responses(received: bytes, methods: Sequence[bytes] = ()) -> Iterator[Response]:
    """The responses in what was received; the last one may have been cut.

    methods: those of the requests, as a HEAD has no body. Raises Violation where the bytes are
    no HTTP.
    """
    number = 0
    while received:
        head, end, rest = received.partition(b"\r\n\r\n")
        if not end:
            return  # cut in its head
        status, headers = _parse_head(head)
        if status < 200:
            received = rest
            continue
        one = Response(status, headers, b"")
        method = methods[number] if number < len(methods) else b"GET"
        body, whole, received = _body(one, rest, bodiless=method == b"HEAD")
        number += 1
        yield one._replace(body=body, whole=whole)


def _parse_head(head: bytes) -> tuple[int, tuple[tuple[bytes, bytes], ...]]:
    first, *lines = head.split(b"\r\n")
    status = STATUS.fullmatch(first)
    demand(status, f"no status line: {first!r:.200}")
    headers = []
    for line in lines:
        found = HEADER.fullmatch(line)
        demand(found, f"no header: {line!r:.200}")
        if found:
            headers.append((found[1].lower(), found[2]))
    return int(status[1]) if status else 0, tuple(headers)


def _body(one: Response, rest: bytes, *, bodiless: bool) -> tuple[bytes, bool, bytes]:
    """The body, whether it is whole, and what follows."""
    if bodiless or one.status in BODILESS:
        return b"", True, rest
    if one.get(b"transfer-encoding") == b"chunked":
        return _chunks(rest)
    length = one.get(b"content-length")
    if length is None:  # until the connection ends
        return rest, True, b""
    size = int(length)
    return rest[:size], len(rest) >= size, rest[size:]


def _chunks(rest: bytes) -> tuple[bytes, bool, bytes]:
    body = b""
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return body, False, b""
        size = int(line, 16)
        body += rest[:size]
        if len(rest) < size + 2:
            return body, False, b""
        rest = rest[size + 2 :]
        if not size:
            return body, True, rest
