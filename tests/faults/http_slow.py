"""Clients that never come to an end: all are cut, and who is honest is served beside them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.faults import Loop, demand
from tests.faults.http_lab import Running, lacking, running
from tests.faults.http_raw import head
from tests.faults.http_wire import connect, responses

CLIENTS = 100
"""Slow ones at a time, of `EACH` an address."""
EACH = 10
DEADLINE, SLACK = 10.0, 15.0
"""Seconds within which a slow client is cut, and for machines that are busy."""
BLOCK = 256 << 10
"""Bytes that are sent at once."""
LARGE = "data.zarr/inputs/c.0.0.0.0"
"""A file larger than what a system keeps for one connection."""

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Slow = Callable[[Running, Line], Awaitable[None]]


async def _drip(line: Line, data: bytes) -> None:
    """Send a byte now and then until it is refused."""
    for k in range(len(data)):
        line[1].write(data[k : k + 1])
        await line[1].drain()
        await asyncio.sleep(0.1)


async def silent(server: Running, line: Line) -> None:
    """Says nothing."""


async def head_in_bytes(server: Running, line: Line) -> None:
    """A head that comes byte by byte and never ends."""
    await _drip(line, head(server, b"X: " + b"a" * 9000))


async def head_in_lines(server: Running, line: Line) -> None:
    """A head that gets another line now and then."""
    line[1].write(head(server)[:-2])
    await _drip(line, b"\n" * 9000)


async def half_a_head(server: Running, line: Line) -> None:
    """Half a head, and then nothing."""
    line[1].write(head(server)[:-9])


async def no_body(server: Running, line: Line) -> None:
    """A body is announced and never sent."""
    line[1].write(_posted(server, b"Content-Length: 100"))


async def body_in_bytes(server: Running, line: Line) -> None:
    """A body that comes byte by byte."""
    line[1].write(_posted(server, b"Content-Length: 9000"))
    await _drip(line, b"a" * 9000)


async def chunks_in_bytes(server: Running, line: Line) -> None:
    """Chunks of one byte, and never the last one."""
    line[1].write(_posted(server, b"Transfer-Encoding: chunked"))
    await _drip(line, b"1\r\na\r\n" * 1500)


async def idle(server: Running, line: Line) -> None:
    """Asks once, and keeps the connection."""
    line[1].write(head(server, close=False))


SLOW: list[Slow] = [
    silent, head_in_bytes, head_in_lines, half_a_head, no_body, body_in_bytes, chunks_in_bytes,
    idle,
]  # fmt: skip


def _posted(server: Running, line: bytes) -> bytes:
    lines = (b"Content-Type: application/json", line)
    return head(server, *lines, target=b"/v1/requests", close=False).replace(b"GET", b"POST", 1)


def one(seed: int) -> str:
    """Many slow clients at once, and an honest one beside them."""
    return asyncio.run(_round(running(), random.Random(seed)))


async def _round(server: Running, chance: random.Random) -> str:
    await _known(server)
    first = chance.randrange(1, 200)
    done = asyncio.Event()
    honest = asyncio.create_task(_honest(server, f"127.1.{first}.1", done))
    slow = [
        _timed(server, f"127.2.{first}.{1 + k // EACH}", [*SLOW, None][k % (len(SLOW) + 1)])
        for k in range(CLIENTS)
    ]
    try:
        seconds = await asyncio.gather(*slow)
    finally:
        done.set()
    served = await honest
    late = {name: f"{spent:.1f} s" for name, spent in seconds if spent > DEADLINE + SLACK}
    demand(not late, f"not cut after {DEADLINE:g} s: {late}")
    demand(served, "nobody was served beside the slow clients")
    return "all cut"


async def _known(server: Running) -> None:
    """Have the large file hashed, so that it is sent at once from then on."""
    done = asyncio.Event()
    done.set()
    await _honest(server, "127.1.0.1", done, LARGE)


async def _timed(server: Running, source: str, slow: Slow | None) -> tuple[str, float]:
    """How long a slow client was suffered, in seconds; None never reads what it asked for."""
    started = time.monotonic()
    held = _reads_never(server, source) if slow is None else _suffered(server, source, slow)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(held, DEADLINE + 2 * SLACK)
    return slow.__name__ if slow else "reads never", time.monotonic() - started


async def _suffered(server: Running, source: str, slow: Slow) -> None:
    line = await asyncio.open_connection(*server.address, local_addr=(source, 0))
    talk = asyncio.create_task(slow(server, line))
    try:
        while await line[0].read(1 << 16):
            pass
    except ConnectionError:
        pass
    finally:
        talk.cancel()
        await asyncio.gather(talk, return_exceptions=True)
        line[1].transport.abort()


async def _reads_never(server: Running, source: str) -> None:
    """Ask for much and read nothing; the cut is looked up in the system, as nobody tells of it."""
    line = connect(server.address, source, room=4096)
    try:
        line.sendall(head(server, target=server.target(LARGE), close=False))
        while _is_held(line):
            await asyncio.sleep(0.2)
    finally:
        line.close()


def _is_held(line: socket.socket) -> bool:
    """Whether the other end, a process of this machine, has this connection open still."""
    return (_place(line.getpeername()), _place(line.getsockname())) in _held()


def _held() -> set[tuple[str, str]]:
    """The connections that a process of this machine has open: its end, and the other."""
    rows = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
    return {(words[1], words[2]) for words in map(str.split, rows) if words[9] != "0"}


def _place(address: tuple[str, int]) -> str:
    """An address as the system writes it."""
    return f"{int.from_bytes(socket.inet_aton(address[0]), 'little'):08X}:{address[1]:04X}"


async def _honest(
    server: Running, source: str, done: asyncio.Event, name: str = "manifest.json"
) -> Counter[int]:
    """How often who asks as he should was answered, until the others are done."""
    served: Counter[int] = Counter()
    while not served or not done.is_set():
        line = await asyncio.open_connection(*server.address, local_addr=(source, 0))
        line[1].write(head(server, target=server.target(name)))
        received = await line[0].read(-1)
        line[1].close()
        (answer,) = responses(received)
        demand(answer.body == server.content(name), f"honest: {answer!r:.300}")
        served[answer.status] += 1
        await asyncio.sleep(0.05)
    return served


def crowd(server: Running, count: int) -> int:
    """Open connections from one address, as many as it is let; another one is served all the same.

    Returns how many were held.
    """
    lines = [connect(server.address, "127.3.0.1") for _ in range(count)]
    try:
        served = asyncio.run(_once(server))
        demand(served, "one address shuts all others out")
        held = _held()
        return sum((_place(one.getpeername()), _place(one.getsockname())) in held for one in lines)
    finally:
        for line in lines:
            line.close()


def asks_on(server: Running, count: int) -> None:
    """Ask so often for a block of a large file, each time in its own packet, and read nothing."""
    asyncio.run(_known(server))
    line = connect(server.address, "127.5.0.1", room=4096)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    block = b"Range: bytes=0-%d" % (BLOCK - 1)
    asked = head(server, block, target=server.target(LARGE), close=False)
    try:
        with contextlib.suppress(ConnectionError):  # it may be cut
            for _ in range(count):
                line.sendall(asked)
                time.sleep(0.002)
    finally:
        line.close()


async def _once(server: Running) -> Counter[int]:
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(0.5, done.set)
    return await _honest(server, "127.3.0.2", done)


LOOPS = {"HTTP slow": Loop(one, ci=1, soak=20, lacking=lacking)}
