"""Bytes that are no honest HTTP, sent to a running service: nothing but right answers or none."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from tests.faults import Loop, demand
from tests.faults.http_lab import Running, lacking, running
from tests.faults.http_truth import CANARY, Response
from tests.faults.http_wire import exchange, responses

REFUSED = frozenset({400, 404, 405, 408, 413, 414, 431, 501, 505})
"""What may be answered to what is no HTTP."""
TOGETHER = 10
"""Connections of one round."""
FIRST = ("manifest.json",)
"""What is asked for by who asks for one file."""
FAR = 1 << 16
"""Bytes of a head that is too large by far."""


@dataclass(frozen=True)
class Case:
    """What is sent, and how much of it may be understood.

    most: answers that may come at most; of ambiguous bodies one, as what follows could be part of
    them. asked: files that an answer may hold, by name. least: right answers that must come.
    open_end: the service may wait for more, so that it has to be told that nothing will come.
    """

    parts: Sequence[bytes]
    most: int = 1
    asked: Sequence[str] = ()
    least: int = 0
    open_end: bool = False


Make = Callable[[Running, random.Random], Case]


def head(server: Running, *lines: bytes, target: bytes | None = None, close: bool = True) -> bytes:
    """A request for the manifest from one who may read it, with more header lines."""
    target = target or server.target("manifest.json")
    ends = [b"Connection: close"] * close
    fixed = [b"GET %s HTTP/1.1" % target, b"Host: 127.0.0.1", server.credential, *ends]
    return b"\r\n".join([*fixed, *lines, b"", b""])


def hidden(server: Running) -> bytes:
    """A second request that lies in what may be the body of the first."""
    return head(server, target=server.target("spec.json"))


def smuggled(server: Running, chance: random.Random) -> Case:
    """Two ways to say how long a body is: none, or the first alone, is answered."""
    inner = hidden(server)
    lines = chance.choice(
        [
            (b"Content-Length: 0", b"Content-Length: %d" % len(inner)),
            (b"Content-Length: %d" % (len(inner) + 5), b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
            (b"Transfer-Encoding: identity", b"Content-Length: 0"),
            (b"Transfer-Encoding: xchunked",),
            (b"Transfer-Encoding: chunked, identity",),
            (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
            (b"Transfer-Encoding : chunked",),
            (b"Transfer-Encoding:\x0bchunked",),
            (b"Content-Length: +0",),
            (b"Content-Length: -1",),
            (b"Content-Length: 0x0",),
            (b"Content-Length: 0, 1",),
            (b"Content-Length: 1_0",),
            (b"Content-Length : 0",),
            (b"Content-Length: \xb2",),
            (b"Content-Length: " + b"9" * 400,),
        ]
    )
    method = chance.choice([b"GET", b"POST"])
    first = head(server, *lines, close=False).replace(b"GET", method, 1)
    body = b"0\r\n\r\n" if b"chunked" in b"".join(lines) else b""
    return Case([first + body + inner], asked=FIRST, open_end=True)


def bare_lines(server: Running, chance: random.Random) -> Case:
    """Lines that end in LF or CR alone."""
    data = head(server)
    kind = chance.randrange(4)
    if kind == 0:
        data = data.replace(b"\r\n", b"\n")
    elif kind == 1:
        data = data.replace(b"\r\n", b"\r")
    elif kind == 2:
        data = data.replace(b"\r\n", b"\n", chance.randint(1, 3))
    else:
        data = data.replace(b"\r\n\r\n", b"\r\nX: a\rContent-Length: 7\r\n\r\n")
    return Case([data], asked=FIRST, open_end=True)


def folded(server: Running, chance: random.Random) -> Case:
    """Header lines that go on in the next one, or begin with a blank."""
    data = head(server, chance.choice([b"X: a\r\n b", b"X: a\r\n\tb", b" X: a", b"X:\r\n \r\n b"]))
    if chance.random() < 0.3:
        data = data.replace(b"Bearer ", b"Bearer\r\n ")
    return Case([data], asked=FIRST, open_end=True)


def mutated(server: Running, chance: random.Random) -> Case:
    """A good head in which some bytes are others, are gone, or are new."""
    data = bytearray(head(server, b"Range: bytes=0-99", b'If-None-Match: "a"'))
    for _ in range(chance.randint(1, 4)):
        at, odd = chance.randrange(len(data)), chance.choice(b'\0\r\n\t :;,/%?#"\\\x7f\x80\xffA0')
        if (kind := chance.randrange(3)) == 0:
            data[at] = odd
        elif kind == 1:
            data.insert(at, odd)
        else:
            del data[at]
    return Case([bytes(data)], 2, asked=FIRST, open_end=True)


def zeros(server: Running, chance: random.Random) -> Case:
    """NUL in a name, a value, the target, the method."""
    old = chance.choice([b"Host", b"127.0.0.1", b"manifest", b"GET", b"HTTP/1.1", b"close"])
    half = len(old) // 2
    return Case([head(server).replace(old, old[:half] + b"\0" + old[half:], 1)], open_end=True)


def huge(server: Running, chance: random.Random) -> Case:
    """Heads that are too large: one value, many lines, the target, a head without an end."""
    large = chance.choice(
        [
            head(server, b"X: " + b"a" * FAR),
            head(server, *[b"X-%d: a" % k for k in range(FAR // 8)]),
            head(server, target=b"/" + b"a" * FAR),
            head(server, target=server.target("manifest.json") + b"?" + b"a" * FAR),
            b"GET / HTTP/1.1\r\nX: " + b"a" * (8 * FAR),
            b"G" * (8 * FAR),
            b"\r\n" * FAR,
            head(server, b"X: " + b"a" * 20_000),
        ]
    )
    size = chance.choice([1000, 16_384, len(large)])
    return Case([large[k : k + size] for k in range(0, len(large), size)], open_end=True)


def pipelined(server: Running, chance: random.Random) -> Case:
    """Several requests at once: as many right answers, in their order."""
    names = [chance.choice(["manifest.json", "spec.json", "data.zarr/zarr.json"]) for _ in range(5)]
    asked = names[: chance.randint(2, 5)]
    sent = [head(server, target=server.target(n), close=n is asked[-1]) for n in asked]
    sent = [head(server, target=server.target(n), close=False) for n in asked[:-1]] + sent[-1:]
    return Case([b"".join(sent)], len(asked), asked, least=len(asked))


def absolute(server: Running, chance: random.Random) -> Case:
    """Targets with a scheme and an authority, or none of the usual."""
    path = server.target("manifest.json")
    targets = [
        b"http://127.0.0.1" + path, b"http://evil.example" + path, b"//evil.example" + path,
        b"*", b"127.0.0.1:80", b"file://" + path, b"http://", b"?" + path, path[1:], path + b"#x",
        b"http://127.0.0.1@evil.example" + path, b"http:" + path, path.replace(b"/", b"\\"),
    ]  # fmt: skip
    data = head(server, target=chance.choice(targets))
    return Case([data], asked=FIRST, open_end=True)


def hosts(server: Running, chance: random.Random) -> Case:
    """No Host, several, or one that is none: HTTP/1.1 has exactly one."""
    data = head(server)
    lines = [b"", b"Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n", b"Host: a\r\nHost: 127.0.0.1\r\n"]
    return Case([data.replace(b"Host: 127.0.0.1\r\n", chance.choice(lines))], open_end=True)


def versions(server: Running, chance: random.Random) -> Case:
    """Other versions of HTTP, and no HTTP at all."""
    data = chance.choice(
        [
            b"GET /\r\n",
            b"GET " + server.target("manifest.json") + b"\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
            head(server).replace(b"HTTP/1.1", b"HTTP/2.0"),
            head(server).replace(b"HTTP/1.1", b"HTTP/1.2"),
            head(server).replace(b"HTTP/1.1", b"HTTP/11"),
            head(server).replace(b"HTTP/1.1", b"http/1.1"),
            head(server).replace(b"HTTP/1.1", b"HTTP/1.1 "),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(508),
            chance.randbytes(chance.randint(1, 3000)),
            b"SSH-2.0-OpenSSH_9.2\r\n",
        ]
    )
    return Case([data], asked=FIRST, open_end=True)


def upgrades(server: Running, chance: random.Random) -> Case:
    """Another protocol is asked for: the answer is one of HTTP/1.1."""
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    lines = chance.choice(
        [
            (b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", key),
            (b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
        ]
    )
    data = head(server, *lines).replace(b"Connection: close", b"Connection: Upgrade, close")
    return Case([data], asked=FIRST, open_end=True)


def bodies(server: Running, chance: random.Random) -> Case:
    """Chunks whose sizes are none, bodies that end too soon; what is behind them is no request."""
    body = chance.choice(
        [
            b"zz\r\nabc\r\n0\r\n\r\n", b"-1\r\n\r\n", b"0x5\r\nabcde\r\n0\r\n\r\n", b"5\r\nabcdefg",
            b"f" * 40 + b"\r\n", b"5\r\nabcde", b"+5\r\nabcde\r\n0\r\n\r\n",
            b"5\r\nabcde\r\n0\r\nno header\r\n\r\n", b"\r\n5\r\nabcde\r\n0\r\n\r\n", b"5_0\r\n",
            b"5\r\nabcdeXX0\r\n\r\n",
        ]
    )  # fmt: skip
    return Case([*_chunked(server, chance), body + hidden(server)], asked=FIRST, open_end=True)


def odd_bodies(server: Running, chance: random.Random) -> Case:
    """Chunks that are odd and right: what follows them is a request of its own."""
    body = chance.choice(
        [
            b"5;a=b\r\nabcde\r\n0\r\n\r\n", b"5\r\nabcde\r\n0\r\nContent-Length: 5\r\n\r\n",
            b"0\r\n" + b"X: a\r\n" * (FAR // 6) + b"\r\n", b"0005\r\nabcde\r\n000\r\n\r\n",
            b"5;" + b"a" * FAR + b"\r\nabcde\r\n0\r\n\r\n",
        ]
    )  # fmt: skip
    parts = [*_chunked(server, chance), body + hidden(server)]
    return Case(parts, 2, asked=[*FIRST, "spec.json"], open_end=True)


def _chunked(server: Running, chance: random.Random) -> list[bytes]:
    """The head of a request whose body comes in chunks."""
    lines = (b"Transfer-Encoding: chunked", b"Content-Type: application/json")
    posted = (b"POST", b"/v1/requests")
    method, target = chance.choice([posted, (b"GET", server.target("manifest.json"))])
    return [head(server, *lines, target=target, close=False).replace(b"GET", method, 1)]


CASES: dict[str, Make] = {
    make.__name__: make
    for make in (
        smuggled, bare_lines, folded, mutated, zeros, huge, pipelined, absolute, hosts,
        versions, upgrades, bodies, odd_bodies,
    )
}  # fmt: skip


def one(seed: int) -> str:
    """Some connections at once; the kind of what was sent by the first, and how it was answered."""
    server = running()  # before threads ask for it
    with ThreadPoolExecutor(TOGETHER) as threads:
        seeds = range(seed * TOGETHER, (seed + 1) * TOGETHER)
        return next(iter(list(threads.map(partial(_connection, server), seeds))))


def _connection(server: Running, seed: int) -> str:
    chance = random.Random(seed)
    name = sorted(CASES)[seed % len(CASES)]
    case = CASES[name](server, chance)
    received = exchange(server.address, case.parts, open_end=case.open_end)
    try:
        statuses = check(server, case, received)
    except AssertionError as error:
        sent = b"".join(case.parts)
        raise AssertionError(f"{name}: {error}; sent {sent!r:.900}") from error
    return f"{name} {' '.join(map(str, statuses[:1])) or 'cut'}"


def check(server: Running, case: Case, received: bytes) -> list[int]:
    """Raise Violation unless all that came is right; the statuses."""
    demand(CANARY not in received, "a canary was sent")
    answers = list(responses(received))
    demand(len(answers) <= case.most, f"{len(answers)} answers: {received!r:.600}")
    right = [_is_right(server, case, k, answer) for k, answer in enumerate(answers)]
    demand(
        sum(right) >= case.least, f"{sum(right)} of {case.least} were answered: {received!r:.300}"
    )
    return [answer.status for answer in answers]


def _is_right(server: Running, case: Case, number: int, answer: Response) -> bool:
    """Whether a file was sent, which must be the one asked for."""
    if answer.status in (200, 206):
        names = case.asked if case.most < 3 else case.asked[number : number + 1]
        demand(any(_holds(server.content(n), answer) for n in names), f"sent: {answer!r:.600}")
        return True
    allowed = REFUSED | {401, 403, 412, 416, 421, 304}
    demand(answer.status in allowed, f"status {answer.status}: {answer!r:.300}")
    return False


def _holds(content: bytes, answer: Response) -> bool:
    """Whether a body is the file, or the part of it that it says it is."""
    if answer.status == 200:
        return answer.body == content[: len(answer.body)] and (
            len(answer.body) == len(content) or not answer.whole
        )
    said = answer.get(b"content-range") or b""
    start, _, rest = said.removeprefix(b"bytes ").partition(b"-")
    end = int(rest.partition(b"/")[0])
    return answer.body == content[int(start) : end + 1]


LOOPS = {"HTTP raw": Loop(one, ci=50, soak=10_000, lacking=lacking)}
