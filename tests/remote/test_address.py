"""What an address is, whose token goes where, and what a server can answer."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from pi_cache.errors import AccessRefused, InvalidSpec, RemoteFailed
from pi_cache.remote import http
from pi_cache.remote.address import Address, is_remote, parse_address
from pi_cache.remote.fetching import document
from pi_cache.remote.http import HttpTransport
from pi_cache.remote.tokens import token_for
from pi_cache.remote.transport import Changed, Patience
from tests.remote.lab import Server, served, source


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        ("http://host/stores/ab", True),
        ("S3://bucket/x", True),
        ("gs://bucket/x", True),
        ("3f2a9c", False),
        ("/data/pi/stores/3f2a", False),
        ("a:/b", False),
        ("", False),
    ],
)
def test_what_is_an_address(text: str, remote: bool) -> None:
    assert is_remote(text) is remote
    assert not is_remote(Path(text))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("http://Host:80/stores/ab/", Address("http", "host:80", "stores/ab")),
        ("https://host/%ED%95%9C%EA%B8%80", Address("https", "host", "한글")),
        ("http://[::1]:8642/x", Address("http", "[::1]:8642", "x")),
        ("https://host", Address("https", "host", "")),
        ("s3://Bucket/a/b", Address("s3", "Bucket", "a/b")),
    ],
)
def test_addresses_are_parsed(text: str, parsed: Address) -> None:
    found = parse_address(text)
    assert found == parsed
    assert parse_address(str(found)) == found
    assert found.inside("x").parent == found and found.inside("x").name == "x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gs://bucket/x", "begins with one of http://, https://, s3://"),
        ("http://user:pass@host/x", "a name or password in an address"),
        ("http://host/x?token=1", "no query"),
        ("http://host/x#a", "no fragment"),
        ("http://host/a b", "no white space"),
        ("http://host/a\r\nX: y", "no white space"),
        ("http:///x", "names a host"),
        ("http://host:port/x", "(?i)port"),
        ("http://host/a//b", r"no part of an address is empty, \. or \.\."),
        ("http://host/a/../b", r"no part of an address is empty, \. or \.\."),
        ("http://host/a/%2e%2e/b", r"no part of an address is empty, \. or \.\."),
    ],
)
def test_what_is_no_address(text: str, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message) as caught:
        parse_address(text)
    assert "pass" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("http://localhost:1/x", True),
        ("http://127.9.9.9/x", True),
        ("http://[::1]/x", True),
        ("http://10.0.0.1/x", False),
        ("http://localhost.evil.org/x", False),
        ("http://127.0.0.1.evil.org/x", False),
    ],
)
def test_a_token_does_not_travel_in_the_clear(
    text: str, loopback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = parse_address(text)
    assert address.is_loopback is loopback
    assert token_for(address) is None, "without a token there is nothing to hide"
    if loopback:
        assert token_for(address, "secret") == "secret"
        return
    with pytest.raises(AccessRefused, match="everybody on the way can read it") as caught:
        token_for(address, "secret")
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("PI_CACHE_INSECURE", "1")
    assert token_for(address, "secret") == "secret"
    assert token_for(parse_address("s3://bucket/x"), "secret") is None


def test_a_token_makes_no_header() -> None:
    with pytest.raises(InvalidSpec, match="one word of plain characters"):
        token_for(parse_address("https://host/x"), "a\r\nX-Other: b")


@pytest.fixture
def server(tmp_path: Path) -> object:
    (tmp_path / "a").write_bytes(bytes(range(256)) * 4096)
    with served(tmp_path) as found:
        yield found


def whole(server: Server, size: int | None = 1 << 20) -> bytes:
    return b"".join(source(server.url).blocks("a", size))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(server: Server, status: int) -> None:
    server.answers["a"] = [status, status]
    assert len(whole(server)) == 1 << 20 and server.asked["a"] == 3


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RemoteFailed),
        (401, AccessRefused),
        (403, AccessRefused),
        (404, FileNotFoundError),
        (410, FileNotFoundError),
        (412, Changed),
        (421, RemoteFailed),
    ],
)
def test_what_stays_so_is_not_tried_again(
    server: Server, status: int, kind: type[Exception]
) -> None:
    server.answers["a"] = [status] * 9
    with pytest.raises(kind, match=r"http://127\.0\.0\.1.*/a"):
        whole(server)
    assert server.asked["a"] == 1


def test_attempts_end(server: Server) -> None:
    server.answers["a"] = [503] * 99
    with pytest.raises(RemoteFailed, match="5 attempts brought nothing"):
        whole(server)
    assert server.asked["a"] == 5


def test_a_server_that_hardly_sends_keeps_nobody_waiting(server: Server) -> None:
    """A byte now and then is no silence, and no progress."""
    (server.folder / "b").write_bytes(bytes(200))
    server.pause = 0.01
    patience = Patience(stall=0.1, attempts=2, pause=0.01)
    slow = HttpTransport(parse_address(server.url), None, patience)
    with pytest.raises(RemoteFailed, match=r"bytes came in 0\.1 seconds; 2 attempts"):
        b"".join(slow.blocks("b", 200))


def test_a_document_has_an_end(server: Server) -> None:
    with pytest.raises(RemoteFailed, match="sends more than 1000 bytes"):
        document(source(server.url), "a", 1000)


def test_no_redirect_is_followed(server: Server) -> None:
    """It could lead a token to another host."""
    server.answers["a"] = [302]
    with pytest.raises(RemoteFailed, match=r"leads to 'http://127\.0\.0\.1:9/elsewhere'"):
        whole(server)
    server.answers["a"] = [302]
    with pytest.raises(RemoteFailed, match=r"elsewhereBearer \.\.\.'"):
        b"".join(source(server.url, "s3cret-token").blocks("a", None))


def test_a_server_without_ranges_serves(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there already is read past."""
    server.ranges = False
    numbers = itertools.count()
    read1 = http.urllib3.HTTPResponse.read1

    def cut(self: Any, amount: int, decode_content: bool) -> bytes:
        if next(numbers) == 2:
            raise http.urllib3.exceptions.ProtocolError("cut")
        return read1(self, 1 << 16, decode_content)[: 1 << 16]

    monkeypatch.setattr(http.urllib3.HTTPResponse, "read1", cut)
    assert whole(server) == bytes(range(256)) * 4096
    first, again = (headers.get("Range") for headers in server.seen)
    assert first is None and 0 < int(again.removeprefix("bytes=").rstrip("-")) <= 1 << 17
    assert server.seen[1]["If-Match"].startswith('"')


def test_a_wait_that_the_server_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(http.time, "sleep", waits.append)
    transport = HttpTransport(parse_address("http://127.0.0.1/x"), None, Patience())
    for idle, wait in ((1, 0.0), (4, 0.0), (1, 7.0), (1, 1e9)):
        transport._pause(idle, wait)
    assert 0.25 <= waits[0] <= 0.5 and 2.0 <= waits[1] <= 4.0 and waits[2:] == [7.0, 60.0]
    assert http._seconds("12") == 12.0 and http._seconds("soon") == 0.0
    assert http._seconds("Fri, 27 Nov 2020 00:00:00 GMT") == 0.0
