"""Files over HTTP: one connection pool a process, ranges, time limits and retries of our own."""

from __future__ import annotations

import email.utils
import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, SSLError
from urllib3.response import BaseHTTPResponse

from pi_cache.errors import AccessRefused, InvalidSpec, RemoteFailed
from pi_cache.manifest import MALFORMED
from pi_cache.remote.address import Address
from pi_cache.remote.fetching import document
from pi_cache.remote.transport import Changed, Patience, listed_keys
from pi_cache.root import STORES

BLOCK = 1 << 18
"""Bytes read at a time, at most."""
PROGRESS = 1 << 16
"""Bytes that an attempt must bring to count as none of those that bring nothing, and that must come
within the time in which a server may be silent."""
BUSY = {408, 425, 429, 500, 502, 503, 504}
"""Answers that can be another one next time; all other refusals are final."""
FINAL = (FileNotFoundError, AccessRefused, RemoteFailed)
UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
LONGEST_PAUSE = 60.0
CONNECTIONS = 16
RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)")
LARGEST_CATALOGUE = 1 << 26
QUOTED = 300
"""Characters of what a server says that a message repeats."""


class _Busy(Exception):
    """The server asks to come again; `wait` is for how many seconds, 0 where it does not say."""

    def __init__(self, reason: str, wait: float) -> None:
        super().__init__(reason)
        self.wait = wait


class HttpTransport:
    """Files below an http or https address."""

    def __init__(self, address: Address, token: str | None, patience: Patience) -> None:
        self.address = address
        self.patience = patience
        self._token = token
        self._pools: tuple[int, urllib3.PoolManager] | None = None

    def __repr__(self) -> str:
        return f"<HttpTransport {self.address}>"

    def place(self, name: str) -> str:
        return f"{self.address}/{quote(name)}"

    def keys(self) -> list[str]:
        root = self.address.parent if self.address.name == STORES else self.address
        catalogue = HttpTransport(root, self._token, self.patience)
        data = document(catalogue, "v1/stores", LARGEST_CATALOGUE)
        try:
            return listed_keys(data)
        except MALFORMED as error:
            raise InvalidSpec(
                f"{catalogue.place('v1/stores')}: is no catalogue of stores; give the whole key"
            ) from error

    def blocks(self, name: str, size: int | None) -> Iterator[bytes]:
        done, tag, idle = 0, "", 0
        while True:
            before, wait = done, 0.0
            try:
                with self._reply(name, done, tag, size) as reply:
                    tag = tag or reply.headers.get("ETag", "")
                    skip = done if reply.status == 200 else 0
                    for block in self._arriving(reply):
                        fresh, skip = block[skip:], max(0, skip - len(block))
                        done += len(fresh)
                        if fresh:
                            yield fresh
                        if size is not None and done > size:
                            return  # whoever compares the size finds it too long
                if size is None or done >= size:
                    return
                problem = f"ends after {done} of {size} bytes"
            except _Busy as error:
                problem, wait = str(error), error.wait
            except (HTTPError, OSError, ValueError) as error:
                if isinstance(error, FINAL):
                    raise
                if isinstance(error, SSLError) and UNTRUSTED in str(error):
                    raise RemoteFailed(
                        f"{self.place(name)}: {self._quoted(error)}; give its certificate by"
                        " $SSL_CERT_FILE if you trust it"
                    ) from error
                problem = self._quoted(error)
            idle = 0 if done - before >= PROGRESS else idle + 1
            if idle >= self.patience.attempts:
                raise RemoteFailed(
                    f"{self.place(name)}: {problem}; {idle} attempts brought nothing: see whether"
                    " the server runs, and run the command again, which goes on where this one was"
                )
            self._pause(idle, wait)

    def _arriving(self, reply: BaseHTTPResponse) -> Iterator[bytes]:
        """The bytes of an answer as they come. Raises _Busy where hardly any do, and HTTPError."""
        came, until = 0, time.monotonic() + self.patience.stall
        while block := reply.read1(BLOCK, decode_content=False):
            yield block
            came += len(block)
            if came >= PROGRESS:
                came, until = 0, time.monotonic() + self.patience.stall
            elif time.monotonic() > until:
                raise _Busy(f"{came} bytes came in {self.patience.stall:g} seconds", 0.0)

    def _quoted(self, said: object) -> str:
        """What comes from a server, for a message: without a token that it sends back."""
        text = str(said)
        if self._token is not None:
            text = text.replace(self._token, "...")
        return text[:QUOTED]

    def _pause(self, idle: int, wait: float) -> None:
        """Wait before the next attempt, the longer the more of them brought nothing."""
        pause = self.patience.pause * 2.0 ** (idle - 1) if idle else 0.0
        time.sleep(min(max(wait, pause * random.uniform(0.5, 1.0)), LONGEST_PAUSE))

    @contextmanager
    def _reply(
        self, name: str, start: int, tag: str, size: int | None
    ) -> Iterator[BaseHTTPResponse]:
        """An answer that holds the bytes from `start` on. Raises as `blocks`, and HTTPError."""
        headers = {"Accept-Encoding": "identity"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        if start:
            headers["Range"] = f"bytes={start}-"
        if start and tag.startswith('"'):  # a weak one cannot say that bytes are the same
            headers["If-Match"] = tag
        reply = self._pool().request(
            "GET",
            self.place(name),
            headers=headers,
            redirect=False,
            retries=False,
            preload_content=False,
            timeout=urllib3.Timeout(connect=self.patience.connect, read=self.patience.stall),
        )
        try:
            self._check(name, reply, start, tag)
            _check_size(reply, size)
            yield reply
        finally:
            reply.close()

    def _check(self, name: str, reply: BaseHTTPResponse, start: int, tag: str) -> None:
        """Raise unless an answer is the file from `start` on, or all of it."""
        status, place = reply.status, self.place(name)
        if status in (200, 206):
            self._check_bytes(reply, start, tag)
        elif status in (404, 410):
            raise FileNotFoundError(f"{place}: the server knows no such file, or may not show it")
        elif status in (401, 403):
            raise AccessRefused(
                f"{place}: the server refuses this access ({status}); "
                + ("its token may have ended" if self._token else "set $PI_CACHE_TOKEN")
            )
        elif status in (412, 416):
            raise Changed(f"{place}: changed while it was read")
        elif status in BUSY:
            raise _Busy(f"the server answers {status}", _seconds(reply.headers.get("Retry-After")))
        elif 300 <= status < 400:
            target = self._quoted(reply.headers.get("Location", "nowhere"))
            raise RemoteFailed(f"{place}: leads to {target!r}; give the address it leads to")
        else:
            raise RemoteFailed(f"{place}: the server answers {status}")

    def _check_bytes(self, reply: BaseHTTPResponse, start: int, tag: str) -> None:
        """Raise where an answer holds other bytes than those that follow what is there."""
        now = reply.headers.get("ETag", "")
        if tag and now and now != tag:
            raise Changed("it has another ETag than before")
        if reply.headers.get("Content-Encoding", "identity") != "identity":
            raise RemoteFailed(f"{self.address}: the server changes what it sends (encoding)")
        if reply.status == 206:
            found = RANGE.fullmatch(reply.headers.get("Content-Range", ""))
            if found is None or int(found[1]) != start:
                raise _Busy("the server sends another range than it was asked for", 0.0)

    def _pool(self) -> urllib3.PoolManager:
        """The connections of this process: those of the one it was forked from are not ours."""
        if self._pools is None or self._pools[0] != os.getpid():
            self._pools = os.getpid(), self._made_pool()
        return self._pools[1]

    def _made_pool(self) -> urllib3.PoolManager:
        proxy = getproxies().get(self.address.scheme)
        if proxy and not self.address.is_loopback and not proxy_bypass(self.address.host):
            return urllib3.ProxyManager(proxy, maxsize=CONNECTIONS)
        return urllib3.PoolManager(maxsize=CONNECTIONS)


def _check_size(reply: BaseHTTPResponse, size: int | None) -> None:
    """Raise Changed where an answer says that the whole file has another size."""
    whole = reply.headers.get("Content-Length", "")
    if reply.status == 206:
        whole = reply.headers.get("Content-Range", "").rpartition("/")[2]
    if size is not None and whole.isdigit() and int(whole) != size:
        raise Changed(f"expected {size} bytes, the server has {whole}")


def _seconds(text: str | None) -> float:
    """Seconds that `Retry-After` says: a number, or a date."""
    if not text:
        return 0.0
    if text.isdecimal():
        return float(text[:6])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return 0.0
