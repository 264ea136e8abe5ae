"""Asking a service for a store that it is to build: one small exchange of JSON at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from pi_cache.errors import AccessRefused, BuildFailed, InvalidSpec, RemoteFailed
from pi_cache.remote.address import Address, parse_address
from pi_cache.remote.tokens import token_for

REQUESTS = "v1/requests"
LARGEST = 8 << 20
"""Bytes of an answer."""
TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)
FIRST_LOOK, LAST_LOOK = 0.5, 5.0
"""Seconds between two looks at a build, which grow by a tenth each."""
GONE = 300.0
"""Seconds for which a service may not answer while a build is waited for: it may be restarted."""
ENDED = ("finished", "failed", "cancelled")
TOO_MANY = 429
BUSY = (TOO_MANY, 502, 503, 504)
"""Statuses after which the same is answered otherwise a little later."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What the service says. status: the code of HTTP."""

    status: int
    document: Document

    @property
    def said(self) -> str:
        """Why there is nothing else."""
        return str(self.document.get("error") or f"answers {self.status}")


def _service_address(url: str) -> Address:
    """The address of a service. Raises InvalidSpec for one of a bucket."""
    address = parse_address(url)
    if address.scheme not in ("http", "https"):
        raise InvalidSpec(f"{url}: give the address of a service, such as https://host:8642")
    return address


class Requests:
    """The requests of one token at one service. url: the service, such as https://host:8642."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.address = _service_address(url)
        self._token = token_for(self.address, token)
        self._pool = urllib3.PoolManager(timeout=TIMEOUT, retries=False)

    def ask(self, document: Mapping[str, Any]) -> Document:
        """What has become of a request with these words, which is new unless it is open.

        Raises BuildFailed where it is refused, AccessRefused, RemoteFailed.
        """
        answer = self._send("POST", REQUESTS, json.dumps(dict(document)).encode())
        if answer.status == TOO_MANY:  # a quota, for longer than anybody waits
            raise BuildFailed(f"{self.address}: {answer.said}")
        return self._request(answer)

    def listed(self) -> list[Document]:
        """The requests that this token may see, the newest first. Raises as `ask`."""
        found = self._checked(self._send("GET", REQUESTS)).get("requests")
        if not isinstance(found, list):
            raise self._no_service()
        return found

    def show(self, id: str) -> Document:
        """One request. Raises as `ask`."""
        return self._request(self._send("GET", f"{REQUESTS}/{id}"))

    def cancel(self, id: str) -> Document:
        """End a request; what it is then. Raises as `ask`."""
        return self._request(self._send("DELETE", f"{REQUESTS}/{id}"))

    def follow(
        self, found: Document, sleep: Callable[[float], object] = time.sleep
    ) -> Iterator[Document]:
        """The states of a request from this one on, until it has ended. Raises as `ask`.

        A service that is restarted meanwhile is waited for.
        """
        pause, heard = FIRST_LOOK, time.monotonic()
        yield found
        while found["state"] not in ENDED:
            sleep(pause)
            pause = min(pause * 1.1, LAST_LOOK)
            try:
                found, heard = self.show(found["id"]), time.monotonic()
            except RemoteFailed:
                if time.monotonic() - heard > GONE:
                    raise
                continue
            yield found

    def store(self, key: str) -> str:
        """The address of a store, as `open_store` and `pi-cache pull` take it."""
        return f"{self.address}/stores/{key}"

    def _send(self, method: str, path: str, body: bytes | None = None) -> Answer:
        headers = {"Accept-Encoding": "identity"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            reply = self._pool.request(
                method,
                f"{self.address}/{path}",
                body=body,
                headers=headers,
                redirect=False,
                preload_content=False,
            )
            with reply:
                data = reply.read(LARGEST)
        except (HTTPError, OSError) as error:
            raise RemoteFailed(
                f"{self.address}: does not answer ({error}); is it running?"
            ) from error
        return Answer(reply.status, self._parsed(data))

    def _parsed(self, data: bytes) -> Document:
        try:
            document = json.loads(data)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise self._no_service()
        return document

    def _no_service(self) -> RemoteFailed:
        return RemoteFailed(
            f"{self.address}: answers as no service of pi-cache does; is the address right?"
        )

    def _request(self, answer: Answer) -> Document:
        """The request in an answer. Raises as `_checked`, RemoteFailed where there is none."""
        document = self._checked(answer)
        state, id = document.get("state"), document.get("id")
        if not isinstance(state, str) or (state not in ENDED and not isinstance(id, str)):
            raise self._no_service()
        return document

    def _checked(self, answer: Answer) -> Document:
        """The document of an answer. Raises for one that says why there is none."""
        said = answer.said
        if answer.status == 401:
            raise AccessRefused(f"{self.address}: {said}; set $PI_CACHE_TOKEN")
        if answer.status == 403:
            raise AccessRefused(f"{self.address}: {said}")
        if answer.document.get("state") in ENDED or answer.status < 400:
            return answer.document
        if answer.status in BUSY:
            raise RemoteFailed(f"{self.address}: {said}")
        raise BuildFailed(f"{self.address}: {said}")
