"""Files damaged while they are served, between two requests and in the midst of one.

What arrives whole with 200 or 206 is right; else the answer is an error, or the connection breaks.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from pi_cache import files
from tests.faults import Loop, demand, lasting
from tests.faults.http_fuzz import Request
from tests.faults.http_lab import Lab, Who, lab_of, lacking, start
from tests.faults.http_truth import CANARY, Asked, Response, Truth, make_truth
from tests.faults.http_wire import connect, responses

LARGE = 900
"""Samples of a shard that takes many blocks to send."""
ROOM = 1 << 16
"""Bytes that a client takes at a time."""
LONG_AGO = 100 * 86_400.0
"""Seconds: a file that nobody has touched since is one whose digest is remembered."""


def flip(path: Path, content: bytes, chance: random.Random) -> None:
    """One bit, in the file as it lies."""
    at = chance.randrange(len(content))
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([content[at] ^ 1 << chance.randrange(8)]))


def truncate(path: Path, content: bytes, chance: random.Random) -> None:
    """Cut short."""
    os.truncate(path, chance.randrange(len(content)))


def extend(path: Path, content: bytes, chance: random.Random) -> None:
    """Longer than it was."""
    with path.open("ab") as file:
        file.write(CANARY * chance.randint(1, 9))


def swap(path: Path, content: bytes, chance: random.Random) -> None:
    """Another file of the same length in its place."""
    other = path.with_name("other")
    other.write_bytes(chance.randbytes(len(content)))
    os.utime(other, (path.stat().st_atime, path.stat().st_mtime))
    other.replace(path)


def zero(path: Path, content: bytes, chance: random.Random) -> None:
    """Zeros in a part of it, as a disk gives that lost a page."""
    at = chance.randrange(len(content))
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(min(4096, len(content) - at)))


def delete(path: Path, content: bytes, chance: random.Random) -> None:
    """Gone."""
    path.unlink()


DAMAGES: dict[str, Callable[[Path, bytes, random.Random], None]] = {
    one.__name__: one for one in (flip, truncate, extend, swap, zero, delete)
}


class Wire:
    """A service in a process of its own, asked through a connection that takes little at a time."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.address = start(truth.root, "--rate", "0")[1]
        self.people = [Who("anybody", ((b"host", b"localhost"),), frozenset(truth.stores))]

    def ask(self, request: Request, *, between: Callable[[], object] = bool) -> Response:
        """What the service sends until all has come, or it hangs up."""
        with contextlib.closing(connect(self.address, room=ROOM)) as line:
            line.sendall(request.head)
            received = bytearray()
            while not (found := list(responses(bytes(received)))) or not found[0].whole:
                between()
                block = line.recv(ROOM)
                if not block:
                    break
                received += block
        demand(found, "it hung up before it answered")
        return found[0]


@cache
def lab() -> Lab:
    """A service whose files are damaged and mended."""
    return lab_of(make_truth(lasting(), 2 * LARGE, LARGE))


@cache
def wire() -> Wire:
    """Another, on a disk, from where files are sent without h11 and the routes."""
    return Wire(make_truth(lasting(in_memory=False), 2 * LARGE, LARGE))


def one(seed: int) -> str:
    """Damage one file, ask for it, and mend it."""
    chance = random.Random(seed)
    where = wire() if seed % 3 == 0 else lab()
    key = where.truth.keys[0]
    name = chance.choice(sorted(n for n in where.truth.stores[key] if n.startswith("data.zarr/")))
    content, path = where.truth.stores[key][name], where.truth.root / "stores" / key / name
    what, midst = chance.choice(sorted(DAMAGES)), chance.random() < 0.5
    request, asked = _request(where, key, name, content, chance)
    if chance.random() < 0.7:  # so that the service has it open, and knows its digest
        demand(asked.check(where.ask(request)) in ("200", "206"), f"{name} before the damage")
    try:
        if midst:
            strike = Strike(lambda: DAMAGES[what](path, content, chance), chance.randrange(4))
            found = _check(where.ask(request, between=strike), asked)
            if not strike.done:
                strike.strike()
        else:
            DAMAGES[what](path, content, chance)
            found = "no midst"
        after = _check(where.ask(request), asked)
        demand(after in ("damaged", "broken"), f"{what} of {name}: {after} after the damage")
        return f"{what} {found if midst else after}"
    finally:
        _mend(path, content)


class Strike:
    """Damages a file after so many blocks have been sent."""

    def __init__(self, strike: Callable[[], None], after: int) -> None:
        self.strike, self.left, self.done = strike, after, False

    def __call__(self) -> None:
        if self.left == 0 and not self.done:
            self.strike()
            self.done = True
        self.left -= 1


def _request(
    where: Lab | Wire, key: str, name: str, content: bytes, chance: random.Random
) -> tuple[Request, Asked]:
    """For all of the file, or for a part of it that is large most of the time."""
    path = f"/stores/{key}/{name}".encode()
    if chance.random() < 0.6:
        return Request(b"GET", path, where.people[0]), Asked(b"GET", content)
    ranges = b"bytes=%d-" % chance.randrange(len(content))
    headers = ((b"range", ranges),)
    return Request(b"GET", path, where.people[0], headers), Asked(b"GET", content, ranges)


def _check(response: Response, asked: Asked) -> str:
    """Raise Violation where wrong bytes look right; a word for what came."""
    if response.status in (200, 206):
        if not response.whole:
            return "broken"
        return f"right {asked.check(response)}"
    demand(response.status in (404, 500, 503), f"status {response.status}")
    demand(CANARY not in response.body and len(response.body) < 1000, "an error that tells much")
    return "damaged"


def _mend(path: Path, content: bytes) -> None:
    """The file as it was, with a time long ago."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    then = time.time() - LONG_AGO
    os.utime(path, (then, then))
    demand(files.read_bytes(path) == content, "it is not mended")


LOOPS = {"HTTP damage": Loop(one, ci=300, soak=100_000, lacking=lacking)}
