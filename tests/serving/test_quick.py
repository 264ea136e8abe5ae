"""What is answered at once is what the long way answers, and nothing else is answered so."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import h11
import pytest

from pi_cache.layout import Layout
from pi_cache.serving.limits import Limits
from pi_cache.serving.log import Log
from pi_cache.serving.quick import Quick, parse
from pi_cache.serving.service import Service
from tests.faults import http_lab
from tests.faults.http_wire import connect, responses
from tests.pi_cache.made import make_spec, make_store

KEY = "a" * 64
MOST = 16 << 10
PLAIN = (
    b"GET /stores/%s/data.zarr/images/c.0.0.0.0 HTTP/1.1\r\n"
    b"Host: 127.0.0.1:80\r\nRange: bytes=0-9\r\nConnection: keep-alive\r\n\r\n" % KEY.encode()
)
MUTATED = 4000
ODD = b'\0\r\n\t :;,/%?#"~.-aZ9\x7f\x80\xff'


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A folder of a file system that can tell what lies in memory."""
    place = tmp_path / "probe"
    place.write_bytes(b"a")
    with place.open("rb") as file:
        try:
            os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
        except OSError as error:
            pytest.skip(f"the file system of {tmp_path} cannot tell what lies in memory: {error}")
    return tmp_path


def test_a_head_is_taken_apart() -> None:
    head = parse(PLAIN, MOST)
    assert head is not None
    assert (head.key, head.listed) == (KEY, "data.zarr/images/c.0.0.0.0")
    assert head.values(b"range") == [b"bytes=0-9"] and head.values(b"if-match") == []
    assert parse(PLAIN, len(PLAIN)) is not None and parse(PLAIN, len(PLAIN) - 1) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"GET", b"HEAD"),
        (b"GET", b"get"),
        (b"1.1", b"1.0"),
        (b"\r\n\r\n", b"\r\n"),
        (b"\r\n\r\n", b"\r\n\r\nGET"),
        (b"\r\n", b"\n"),
        (b"keep-alive", b"close"),
        (b"keep-alive", b"Upgrade"),
        (b"Host: 127.0.0.1:80\r\n", b""),
        (b"Range", b"Host"),
        (b"Range", b"Content-Length"),
        (b"Range", b"Transfer-Encoding"),
        (b"Range", b"Expect"),
        (b"Range", b"X-Other"),
        (b"Range:", b"Range :"),
        (b"Range: ", b"Range:"),
        (b"Range: ", b"Range:  "),
        (b"0-9", b"0-9 "),
        (b"0-9", b"0-9\r\n 5"),
        (b"0-9", b"\x00"),
        (b"0-9", b"\xff"),
        (b"/stores", b"http://127.0.0.1/stores"),
        (b"/stores", b"//stores"),
        (b"c.0", b"c%2e0"),
        (b"c.0", b"c.0?a=b"),
        (KEY.encode(), KEY.upper().encode()),
        (KEY.encode(), KEY[:-1].encode()),
    ],
)
def test_what_is_odd_goes_the_long_way(old: bytes, new: bytes) -> None:
    assert old in PLAIN
    assert parse(PLAIN.replace(old, new), MOST) is None


def test_what_is_taken_is_what_h11_reads() -> None:
    taken = 0
    for seed in range(MUTATED):
        chance = random.Random(seed)
        data = _mutated(PLAIN, chance)
        head = parse(data, MOST)
        if head is None:
            continue
        taken += 1
        conversation = h11.Connection(h11.SERVER)
        conversation.receive_data(data)
        request, end = conversation.next_event(), conversation.next_event()
        assert isinstance(request, h11.Request) and isinstance(end, h11.EndOfMessage), data
        assert (request.method, request.target, request.http_version) == (b"GET", head.path, b"1.1")
        assert list(request.headers) == head.headers, data
        assert conversation.trailing_data == (b"", False), "nothing comes after it"
        assert conversation.their_state is h11.DONE, "the connection is kept"
    assert MUTATED / 100 < taken < MUTATED, "some are taken, and some are not"


def _mutated(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at, odd = (
            chance.randrange(len(changed)),
            chance.choice(b'\0\r\n\t :;,/%?#"~.-aZ9\x7f\x80\xff'),
        )
        if (kind := chance.randrange(3)) == 0:
            changed[at] = odd
        elif kind == 1:
            changed.insert(at, odd)
        else:
            del changed[at]
    return bytes(changed)


@pytest.fixture
def service(disk: Path) -> Iterator[Service]:
    made = Service(root=disk, limits=Limits(rate=1.0, burst=2), log=Log(disk / "log"))
    yield made
    made.close()
    made.log.handler.close()


def test_a_file_is_answered_once_it_is_known(service: Service) -> None:
    asyncio.run(_known(service))


async def _known(service: Service) -> None:
    path = make_store(service.root)
    quick, listed = Quick(service), "data.zarr/images/c.0.0.0.0"
    data = PLAIN.replace(KEY.encode(), path.name.encode())
    assert quick.answer(data, "", []) is None, "nothing is known of the store"
    shelved = service.shelf.get(path.name)
    assert shelved is not None
    assert quick.answer(data, "", []) is None, "the file was never hashed"
    shelved.touch.open(listed)
    answer = quick.answer(data, "", [(b"date", b"now")])
    assert answer is not None
    assert bytes(answer.first) == (path / listed).read_bytes()[:10]
    (found,) = responses(answer.head + bytes(answer.first))
    assert (found.status, found.get(b"date"), found.whole) == (206, b"now", True)
    assert quick.answer(data.replace(b"127.0.0.1:80", b"evil.example"), "", []) is None
    assert quick.answer(data.replace(b"0-9", b"999999-"), "", []) is None, "416 is for the routes"
    assert quick.answer(data.replace(b"c.0.0", b"c.9.0"), "", []) is None, "it is not listed"
    assert quick.answer(data, "", []) is not None
    assert quick.answer(data, "", []) is None, "the rate is used up, and that is for the routes"
    (path / listed).write_bytes((path / listed).read_bytes())
    assert quick.answer(data, "another", []) is None, "it was written to, and has to be hashed"


def test_what_is_being_sent_is_finished_when_the_service_ends(disk: Path) -> None:
    path = make_store(disk, make_spec(2000), Layout(shard_samples=2000))
    listed = "data.zarr/inputs/c.0.0.0.0"
    content = (path / listed).read_bytes()
    process, address = http_lab.start(disk)
    data = PLAIN.replace(KEY.encode(), path.name.encode()).replace(b"Range: bytes=0-9\r\n", b"")
    data = data.replace(b"images", b"inputs")
    try:
        with contextlib.closing(connect(address, room=1 << 16)) as line:
            line.sendall(data)  # the long way
            assert _read(line, len(content)) == content
            line.sendall(data)  # and at once
            received = line.recv(1000)
            os.kill(process, signal.SIGTERM)
            while block := line.recv(1 << 16):
                received += block
        (answer,) = responses(received)
        assert answer.body == content
    finally:
        http_lab.close()


def _read(line: socket.socket, size: int) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received or len(received.partition(b"\r\n\r\n")[2]) < size:
        received += line.recv(1 << 16)
    (answer,) = responses(received)
    return answer.body
