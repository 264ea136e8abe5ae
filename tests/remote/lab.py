"""A server of files that counts what it is asked for, and a line to it that fails on purpose."""

from __future__ import annotations

import hashlib
import random
import re
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pi_cache.remote.address import parse_address
from pi_cache.remote.http import HttpTransport
from pi_cache.remote.transport import Patience

SHORT = Patience(connect=5.0, stall=0.5, attempts=5, pause=0.01)
"""For lines that stall on purpose."""


class Server(ThreadingHTTPServer):
    """The files of a folder, with ranges and strong ETags.

    token: that every request must bring, None for none. answers: what requests of a path get
    instead, in turn: a status. asked: paths, with how often. seen: headers of each request.
    pause: seconds before each byte, 0 for all at once.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, token: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.token = folder, token
        self.asked: Counter[str] = Counter()
        self.seen: list[dict[str, str]] = []
        self.answers: dict[str, list[int]] = {}
        self.ranges = True
        self.pause = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is what these tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *words: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(self.path).lstrip("/")
        self.server.asked[path] += 1
        self.server.seen.append(dict(self.headers))
        if self.server.token and self.headers["Authorization"] != f"Bearer {self.server.token}":
            return self._refuse(401)
        if self.server.answers.get(path):
            return self._refuse(self.server.answers[path].pop(0))
        place = self.server.folder / path
        if not place.is_file():
            return self._refuse(404)
        data = place.read_bytes()
        tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        found = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        start = int(found[1]) if found and self.server.ranges else 0
        if self.headers["If-Match"] not in (None, tag):
            return self._refuse(412)
        if start >= len(data) > 0:
            return self._refuse(416)
        self.send_response(206 if start else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if not self.server.pause:
            self.wfile.write(data[start:])
            return
        for byte in data[start:]:
            time.sleep(self.server.pause)
            self.wfile.write(bytes([byte]))

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        if status in (301, 302):
            told = self.headers["Authorization"] or ""
            self.send_header("Location", f"http://127.0.0.1:9/elsewhere{told}")
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def running(server: socketserver.BaseServer) -> Iterator[Any]:
    """A server at work."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def served(folder: Path, token: str | None = None) -> Iterator[Server]:
    """The files of a folder, served."""
    with running(Server(folder, token)) as server:
        yield server


def source(url: str, token: str | None = None) -> HttpTransport:
    """A transport that waits for little."""
    return HttpTransport(parse_address(url), token, SHORT)


KINDS = ("cut", "stall", "flip")


class Line(socketserver.ThreadingTCPServer):
    """A line to a server that fails: at the nth byte that comes through it, all connections added.

    faults: places and kinds, in rising order. met: those that happened, by kind.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, port: int, faults: Sequence[tuple[int, str]]) -> None:
        super().__init__(("127.0.0.1", 0), Relay)
        self.port = port
        self.faults = list(faults)
        self.met: Counter[str] = Counter()
        self.passed = 0
        self.lock = threading.Lock()
        self.random = random.Random(1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass

    def next_fault(self, count: int) -> str:
        """What happens to the next bytes, "" for nothing."""
        with self.lock:
            self.passed += count
            if self.faults and self.faults[0][0] <= self.passed:
                kind = self.faults.pop(0)[1]
                self.met[kind] += 1
                return kind
        return ""


class Relay(socketserver.BaseRequestHandler):
    server: Line

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port)) as upstream:
            there = threading.Thread(target=self._forward, args=(upstream,), daemon=True)
            there.start()
            self._back(upstream)
            with suppress(OSError):
                upstream.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                self.request.shutdown(socket.SHUT_RDWR)
            there.join()

    def _forward(self, upstream: socket.socket) -> None:
        with suppress(OSError):
            while data := self.request.recv(1 << 16):
                upstream.sendall(data)
            upstream.shutdown(socket.SHUT_WR)

    def _back(self, upstream: socket.socket) -> None:
        with suppress(OSError):
            while data := upstream.recv(1 << 16):
                kind = self.server.next_fault(len(data))
                if kind == "cut":
                    self.request.sendall(data[: len(data) // 2])
                    return
                if kind == "stall":
                    while self.request.recv(1, socket.MSG_PEEK | socket.MSG_WAITALL):
                        pass
                    return
                if kind == "flip":
                    place = self.server.random.randrange(len(data) * 8)
                    changed = bytearray(data)
                    changed[place // 8] ^= 1 << place % 8
                    data = bytes(changed)
                self.request.sendall(data)


def scattered(count: int, size: int, seed: int) -> list[tuple[int, str]]:
    """So many faults somewhere in the first `size` bytes, of every kind alike."""
    chosen = random.Random(seed)
    places = sorted(chosen.randrange(size) for _ in range(count))
    kinds = [KINDS[k % len(KINDS)] for k in range(count)]
    chosen.shuffle(kinds)
    return list(zip(places, kinds, strict=True))
