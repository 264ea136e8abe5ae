"""Many readers at once, every byte compared, and how long they wait."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

import numpy as np

from tests.faults import Loop, demand
from tests.faults.http_lab import Running, lacking, running
from tests.faults.http_raw import head
from tests.faults.http_truth import Asked, Response
from tests.faults.http_wire import responses

READERS = 32
TURN = 1.0
"""Seconds of a round of the soak."""
MEMORY = 300 << 20
"""Bytes that the processes of a service may hold at most."""
RANGE = 64 << 10


@dataclass(frozen=True)
class Load:
    """What readers had. waits: seconds of each request. peak: bytes that the service ever held."""

    waits: np.ndarray
    size: int
    seconds: float
    peak: int

    def __str__(self) -> str:
        p50, p99 = np.percentile(self.waits * 1e3, [50, 99])
        return (
            f"{len(self.waits) / self.seconds:,.0f} requests/s,"
            f" {self.size / self.seconds / 1e6:,.0f} MB/s,"
            f" p50 {p50:.1f} ms, p99 {p99:.1f} ms, peak {self.peak >> 20} MiB"
        )


def load(server: Running, seed: int, *, readers: int = READERS, seconds: float = 20.0) -> Load:
    """So many readers for so long. Raises Violation for a wrong byte, and for too much memory."""
    found = asyncio.run(_load(server, seed, readers, seconds))
    demand(found.peak <= MEMORY, f"the service held {found.peak >> 20} MiB")
    return found


async def _load(server: Running, seed: int, readers: int, seconds: float) -> Load:
    stop = time.monotonic() + seconds
    work = [_reader(server, random.Random(seed + k), k, stop) for k in range(readers)]
    had = await asyncio.gather(*work)
    waits = np.concatenate([waits for waits, _ in had])
    return Load(waits, sum(size for _, size in had), seconds, server.peak())


async def _reader(
    server: Running, chance: random.Random, number: int, stop: float
) -> tuple[np.ndarray, int]:
    source = f"127.4.0.{1 + number % 250}"
    reader, writer = await asyncio.open_connection(*server.address, local_addr=(source, 0))
    waits, size = [], 0
    while time.monotonic() < stop:
        name, asked, data = _draw(server, chance)
        start = time.monotonic()
        writer.write(data)
        answer = await _answer(reader)
        waits.append(time.monotonic() - start)
        demand(asked.check(answer) in ("200", "206"), f"{name}: {answer.status}")
        size += len(answer.body)
    writer.close()
    return np.array(waits), size


def _draw(server: Running, chance: random.Random) -> tuple[str, Asked, bytes]:
    """A file, half of the time a part of it."""
    name = chance.choice(server.names)
    content = server.content(name)
    if chance.random() < 0.5:
        return name, Asked(b"GET", content), head(server, target=server.target(name), close=False)
    start = chance.randrange(len(content))
    ranges = b"bytes=%d-%d" % (start, start + chance.randrange(1, RANGE))
    line = b"Range: " + ranges
    sent = head(server, line, target=server.target(name), close=False)
    return name, Asked(b"GET", content, ranges), sent


async def _answer(reader: asyncio.StreamReader) -> Response:
    start = await reader.readuntil(b"\r\n\r\n")
    (answer,) = responses(start)
    body = await reader.readexactly(int(answer.get(b"content-length") or 0))
    return answer._replace(body=body, whole=True)


def one(seed: int) -> str:
    """Eight times as many readers as the tests have, for a while."""
    load(running(), seed, readers=8 * READERS, seconds=TURN)
    return "right"


LOOPS = {"HTTP load": Loop(one, ci=1, soak=28_800, lacking=lacking)}
