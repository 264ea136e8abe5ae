"""Slow, greedy and malformed clients: cut in time, refused with a sentence, never in the way."""

from __future__ import annotations

import http.client
import json
import selectors
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pi_cache.errors import InvalidSpec
from pi_cache.layout import Layout
from pi_cache.serving.limits import REMEMBERED, Crowd, Limits, Rates, client_of
from tests.pi_cache.made import make_spec, make_store
from tests.serving.lab import PATIENCE, Answer, Served, serving

TIMEOUT = 1.0
SLACK = 30.0
"""Seconds by which a busy machine may be late; the default timeout alone would be another ten."""
MOST = 300 << 20


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    make_store(root, make_spec(4000), Layout(shard_samples=4000, chunk_samples=8))
    return root


@pytest.fixture(scope="module")
def served(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    words = ["--timeout", str(TIMEOUT), "--per-address", "40", "--keep-alive", "2"]
    with serving(root, tmp_path_factory.mktemp("log"), *words) as served:
        yield served


@pytest.fixture
def connection(served: Served) -> Iterator[socket.socket]:
    with connected(served) as connection:
        yield connection


def connected(served: Served) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
    connection.settimeout(PATIENCE)
    connection.connect(served.address)
    return connection


def large(root: Path) -> str:
    """The path of a file that no socket's buffers hold."""
    return f"/stores/{next((root / 'stores').iterdir()).name}/data.zarr/inputs/c.0.0.0.0"


def is_cut(connection: socket.socket) -> bool:
    """Whether the other side hangs up; what still comes before is thrown away."""
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def cuts(served: Served, reason: str) -> int:
    """How many were cut for a reason, by the metrics."""
    text = served.ask("/metrics").body.decode()
    line = f'pi_cache_cuts_total{{reason="{reason}"}} '
    return sum(int(float(found.split()[-1])) for found in text.splitlines() if line in found)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "head"),
        (b"G", "head"),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n", "head"),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he", "head"),
        (b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n12", "body"),
        (b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", "body"),
    ],
)
def test_who_does_not_send_is_cut(
    sent: bytes, reason: str, served: Served, connection: socket.socket
) -> None:
    before = cuts(served, reason)
    connection.sendall(sent)
    assert is_cut(connection)
    assert cuts(served, reason) == before + 1
    assert served.lines("cut")[-1]["reason"] == reason


def test_a_head_that_drips_is_cut(served: Served, connection: socket.socket) -> None:
    connection.sendall(b"GET /health HTTP/1.1\r\n")
    start = time.monotonic()
    with pytest.raises(OSError, match=r"reset|Broken"):
        while time.monotonic() - start < TIMEOUT + SLACK:
            connection.sendall(b"a: b\r\n")
            time.sleep(TIMEOUT / 20)


def test_who_does_not_read_is_cut(root: Path, served: Served, connection: socket.socket) -> None:
    before = cuts(served, "reader")
    connection.sendall(f"GET {large(root)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    end = time.monotonic() + TIMEOUT + SLACK
    while cuts(served, "reader") == before and time.monotonic() < end:
        time.sleep(TIMEOUT / 10)
    assert cuts(served, "reader") == before + 1


def test_who_reads_slowly_but_reads_is_served(
    root: Path, served: Served, connection: socket.socket
) -> None:
    connection.sendall(f"GET {large(root)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    data = bytearray()
    while block := reply.read(1 << 19):
        data += block
        time.sleep(TIMEOUT / 5)  # in all several times the timeout
    assert len(data) == int(reply.headers["content-length"])


def test_an_idle_connection_stays_for_its_time_and_is_closed(
    served: Served, connection: socket.socket
) -> None:
    before = cuts(served, "head")
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    time.sleep(TIMEOUT * 1.5)
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert is_cut(connection), "after two seconds without another request"
    assert cuts(served, "head") == before, "closed, not cut"
    assert len([line for line in served.lines() if line["path"] == "/health"]) >= 2


def refusal(connection: socket.socket) -> Answer:
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    named = {name.lower(): value for name, value in reply.getheaders()}
    return Answer(reply.status, named, reply.read())


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("size", [17_000, 200_000, 3_000_000])
def test_a_large_head_is_refused(
    size: int, ended: bool, served: Served, connection: socket.socket
) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * size
    try:
        connection.sendall(head + (b"\r\n\r\n" if ended else b""))
    except OSError:
        assert size > 1 << 20, "the rest of a very large one is not waited for"
        return
    answer = refusal(connection)
    assert answer.status == 431 and "too large" in answer.json["error"]
    assert answer.headers["connection"] == "close"
    assert is_cut(connection)


@pytest.mark.parametrize("head", [
    b"\r\n\r\n\r\n", b"GET /health\r\n\r\n", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01\x00",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n a: folded\r\nb : c\r\n\r\n",
    b"GET /\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
])  # fmt: skip
def test_what_is_no_request_is_refused(
    head: bytes, served: Served, connection: socket.socket
) -> None:
    connection.sendall(head)
    answer = refusal(connection)
    assert answer.status in (400, 501, 505) and answer.json["error"]
    assert is_cut(connection)


def test_a_body_that_is_too_large_is_not_read(served: Served) -> None:
    kind = {"Content-Type": "application/json"}
    assert served.ask("/v1/stores", "POST", {**kind, "Content-Length": "9000000"}).status == 413


def test_one_address_has_so_many_connections(served: Served) -> None:
    held = [connected(served) for _ in range(60)]
    try:
        waiting = selectors.DefaultSelector()
        for one in held:
            one.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            waiting.register(one, selectors.EVENT_READ)
        answers = [refusal(one) for one in held]
        refused = [answer for answer in answers if answer.status == 503]
        assert 15 <= len(refused) <= 25 and len(answers) - len(refused) >= 35
        assert {answer.headers["retry-after"] for answer in refused} == {"1"}
        assert "this address has 40 connections" in refused[0].json["error"]
    finally:
        waiting.close()
        for one in held:
            one.close()
    end = time.monotonic() + SLACK
    while served.ask("/health").status != 200 and time.monotonic() < end:
        time.sleep(0.1)
    assert served.ask("/health").status == 200, "the others are gone"


def test_requests_a_second_are_counted(root: Path, tmp_path: Path) -> None:
    with serving(root, tmp_path, "--rate", "0.05", "--burst", "5") as served:
        answers = [served.ask("/health") for _ in range(8)]
        assert [answer.status for answer in answers] == [200] * 5 + [429] * 3
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 20


def test_memory_stays_bounded(root: Path, served: Served) -> None:
    """Forty clients that ask for a large file and do not read."""
    held = [connected(served) for _ in range(38)]
    try:
        for one in held:
            one.sendall(f"GET {large(root)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        most = 0
        for one in held:
            one.recv(1)
            most = max(most, served.memory())
        assert most < MOST
    finally:
        for one in held:
            one.close()


def test_rates_are_those_of_a_bucket() -> None:
    now = [0.0]
    rates = Rates(2.0, 3, lambda: now[0])
    assert [rates.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert rates.wait("b") == 0, "each client has its own"
    now[0] += 0.5
    assert [rates.wait("a"), rates.wait("a")] == [0, 0.5]
    now[0] += 100
    assert [rates.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    for number in range(REMEMBERED + 10):
        rates.wait(str(number))
    assert len(rates._buckets) == REMEMBERED
    assert Rates(0, 1).wait("a") == Rates(0, 1).wait("a") == 0


def test_a_crowd_counts_addresses() -> None:
    crowd = Crowd(Limits(connections=3, per_address=2))
    assert [crowd.enter("a"), crowd.enter("a")] == ["", ""]
    assert "this address has 2" in crowd.enter("a")
    assert crowd.enter("b") == "", "who was refused takes no place"
    assert "3 connections are open" in crowd.enter("b")
    assert (crowd.total, crowd.refused, crowd.is_flood()) == (3, 2, False)
    assert crowd.enter("a") and crowd.enter("a") and crowd.is_flood()
    for _ in range(4):
        crowd.leave("a", refused=True)
    for address in ("a", "a", "b"):
        crowd.leave(address, refused=False)
    assert (crowd.total, crowd.refused, len(crowd._by_address)) == (0, 0, 0)


def test_a_host_of_ipv6_is_one_client_however_many_addresses_it_has() -> None:
    crowd, rates = Crowd(Limits(per_address=1)), Rates(1.0, 1, lambda: 0.0)
    one, two, other = "2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"
    assert [bool(crowd.enter(address)) for address in (one, two, other)] == [False, True, False]
    assert [rates.wait(address) for address in (one, two, other)] == [0, 1, 0]
    crowd.leave(two, refused=True)
    crowd.leave(one, refused=False)
    assert crowd.enter(two) == ""
    assert client_of("fe80::1%eth0") == client_of("fe80::2")
    assert client_of("::ffff:192.0.2.1") == "192.0.2.1" != client_of("::ffff:192.0.2.2")
    assert client_of("") == "" and client_of("0123456789abcdef") == "0123456789abcdef"


def test_limits_that_are_none() -> None:
    with pytest.raises(InvalidSpec, match=r"timeout must be positive.*rate must be 0 or more"):
        Limits(timeout=0, rate=-1)
    with pytest.raises(InvalidSpec, match="timeout must be positive, got nan"):
        Limits(timeout=float("nan"))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate with its key for localhost, signed by itself."""
    place = tmp_path / "both.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    try:
        subprocess.run(
            ["openssl", *words, *subject, "-keyout", str(place), "-out", str(tmp_path / "c.pem")],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    place.write_bytes(place.read_bytes() + (tmp_path / "c.pem").read_bytes())
    return place


def test_tls_and_its_deadline(root: Path, tmp_path: Path, certificate: Path) -> None:
    words = ["--certificate", str(certificate), "--timeout", str(TIMEOUT)]
    with serving(root, tmp_path, *words) as served:
        assert served.url.startswith("https://")
        trusted = ssl.create_default_context(cafile=str(certificate))
        client = http.client.HTTPSConnection(*served.address, timeout=PATIENCE, context=trusted)
        client.request("GET", "/health")
        assert json.loads(client.getresponse().read())["status"] == "ok"
        assert client.sock.version() in ("TLSv1.2", "TLSv1.3")
        client.close()
        with connected(served) as silent:
            assert is_cut(silent), "who does not agree on TLS in time"
        with connected(served) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert is_cut(plain)
