"""Services to be strained: one in this process, one in a process of its own, and who asks them."""

from __future__ import annotations

import asyncio
import atexit
import base64
import importlib.util
import os
import re
import select
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults import Violation, demand, lasting
from tests.faults.http_truth import NOWHERE, Headers, Response, Truth, make_truth, truth
from tests.faults.server import PATIENCE, ROOT

if TYPE_CHECKING:
    from pi_cache.serving.quick import Answer, Quick
    from pi_cache.serving.service import Service
    from tests.faults.http_fuzz import Request

LONG = 86_400.0
"""Seconds for which a token is good that is good for the whole test."""
SAMPLES = 2_000
"""Of the large store, whose largest file takes more than a system keeps for a connection."""


def lacking() -> str:
    """Why no service can be strained here, "" where it can."""
    missing = [n for n in ("starlette", "uvicorn", "h11") if importlib.util.find_spec(n) is None]
    if missing:
        return f"{', '.join(missing)} not installed: pip install 'pi-cache[serve]'"
    return "" if Path("/proc/self/status").exists() else "no /proc"


@dataclass(frozen=True)
class Who:
    """One who asks: the headers that say so, and the stores that they may read, None for no one."""

    name: str
    headers: Headers
    keys: frozenset[str] | None


@dataclass(frozen=True)
class Lab:
    """A service in this process."""

    truth: Truth
    service: Service
    people: list[Who]

    @cached_property
    def application(self) -> Any:
        """The service as it is called."""
        from pi_cache.serving.app import application

        return application(self.service)

    @cached_property
    def quick(self) -> Quick:
        """What answers the plainest requests at once."""
        from pi_cache.serving.quick import Quick

        return Quick(self.service)

    def ask(self, request: Request, *, between: Callable[[], object] = bool) -> Response:
        """What the service answers."""
        from tests.faults.http_fuzz import answer

        return _loop().run(answer(self.application, request, between=between))

    def at_once(self, head: bytes) -> Answer | None:
        """The answer without h11 and the routes, where there is one."""

        async def found() -> Answer | None:
            return self.quick.answer(head, "127.0.0.1", [])

        return _loop().run(found())

    @cached_property
    def refusal(self) -> Response:
        """The one answer to all who may nothing."""
        from tests.faults.http_fuzz import Request

        nobody = next(who for who in self.people if who.keys is None)
        found = self.ask(Request(b"GET", b"/", nobody))
        demand(found.status in (401, 421), f"a refusal is {found.said!r}")
        return found


@cache
def _loop() -> asyncio.Runner:
    """One for all requests, as the threads of a service belong to it."""
    runner = asyncio.Runner()
    atexit.register(runner.close)
    return runner


@cache
def guarded() -> Lab:
    """A service with tokens."""
    return lab_of(truth())


@cache
def open_lab() -> Lab:
    """A service without tokens, for everybody on this machine."""
    local = [b"127.0.0.1:8000", b"localhost", b"LOCALHOST:1", b"[::1]:8000", b"127.0.0.1"]
    foreign = [b"evil.example", b"evil.example:8000", b"127.0.0.1.evil.example", b"localhost.evil"]
    foreign += [b"", b"127.0.0.1@evil.example", b"evil.example/127.0.0.1", b"localhost\x00.evil"]
    every = frozenset(truth().stores)
    people = [Who(f"host {h!r}", ((b"host", h),), every) for h in local]
    people += [Who(f"host {h!r}", ((b"host", h),), None) for h in foreign]
    people.append(Who("no host", (), None))
    people.append(Who("two hosts", ((b"host", local[0]), (b"host", foreign[0])), None))
    return Lab(truth(), _service(truth().root), people)


def lab_of(served: Truth) -> Lab:
    """A service with tokens over a root; the first of its people may read everything."""
    from pi_cache.serving.tokens import TokenFolder

    folder = lasting() / "tokens"
    people = _people(folder, served)
    return Lab(served, _service(served.root, tokens=TokenFolder(folder)), people)


def _service(root: Path, **more: Any) -> Service:
    """A service that limits no rate and writes its log to nowhere."""
    from pi_cache.serving.limits import Limits
    from pi_cache.serving.log import Log
    from pi_cache.serving.service import Service

    log = Log(Path(os.devnull))
    return Service(root=root, limits=Limits(rate=0, connections=0, per_address=0), log=log, **more)


def _people(folder: Path, served: Truth) -> list[Who]:
    """All kinds of tokens, and what only looks like one."""
    from pi_cache.serving.tokens import new_token, revoke

    every, first = frozenset(served.stores), served.keys[:1]

    def token(name: str, *may: str, stores: list[str] | None = None, seconds: float = LONG) -> str:
        return new_token(folder, name, may=may, stores=stores, seconds=seconds)[0]

    whole, one = token("all", "read"), token("one", "read", stores=first)
    may_all, nothing = token("everything", "read", "build", "watch"), frozenset[str]()
    good = {
        "all": (_bearer(whole), every),
        "everything": (_bearer(may_all), every),
        "one": (_bearer(one), frozenset(first)),
        "one by password": (_basic(f"anybody:{one}"), frozenset(first)),
        "small letters": ((b"authorization", b"bearer " + one.encode()), frozenset(first)),
        "watcher": (_bearer(token("watcher", "watch")), nothing),
        "reader of nothing": (_bearer(token("nowhere", "read", stores=[NOWHERE])), nothing),
    }
    dead = token("gone", "read")
    revoke(folder, "gone")
    other = one[:-1] + ("A" if one[-1] != "A" else "B")
    mixed = whole[: len("pic_") + 16] + one[len("pic_") + 16 :]
    bad: dict[str, Headers] = {
        "nobody": (),
        "expired": (_bearer(token("late", "read", seconds=-1.0)),),
        "revoked": (_bearer(dead),),
        "one letter off": (_bearer(other),),
        "number of one, secret of another": (_bearer(mixed),),
        "longer": (_bearer(one + "A"),),
        "shorter": (_bearer(one[:-1]),),
        "secret alone": (_bearer(one[len("pic_") + 17 :]),),
        "number alone": (_bearer(one[: len("pic_") + 16]),),
        "empty": ((b"authorization", b""),),
        "bearer alone": ((b"authorization", b"Bearer "),),
        "another scheme": ((b"authorization", b"Digest " + one.encode()),),
        "no scheme": ((b"authorization", one.encode()),),
        "as user": (_basic(f"{one}:"),),
        "basic without colon": (_basic(one),),
        "no base64": ((b"authorization", b"Basic !!!" + one.encode()),),
        "odd letters": ((b"authorization", b"Bearer \xff\x00" + one.encode()),),
        "very long": (_bearer("A" * 10_000),),
        "twice": (_bearer(one), _bearer(whole)),
        "with a wrong one": (_bearer(one), _bearer(other)),
        "in a cookie": ((b"cookie", b"authorization=Bearer " + one.encode()),),
        "of a proxy": ((b"proxy-authorization", b"Bearer " + one.encode()),),
        "in upper case": (_bearer(one.upper()),),
    }
    host = (b"host", b"127.0.0.1:8000")
    found = [Who(name, (header, host), keys) for name, (header, keys) in good.items()]
    return found + [Who(name, (*headers, host), None) for name, headers in bad.items()]


def _bearer(token: str) -> tuple[bytes, bytes]:
    return b"authorization", b"Bearer " + token.encode()


def _basic(words: str) -> tuple[bytes, bytes]:
    return b"authorization", b"Basic " + base64.b64encode(words.encode())


def close() -> None:
    """End every service that this process has started."""
    running.cache_clear()
    while _STARTED:
        _end(_STARTED.pop())


_STARTED: list[subprocess.Popen[str]] = []
atexit.register(close)


@dataclass(frozen=True)
class Running:
    """A service in a process of its own. token: of one who may read all."""

    address: tuple[str, int]
    process: int
    token: str
    key: str
    content_of: Mapping[str, bytes]

    @property
    def credential(self) -> bytes:
        """The header line of who may read."""
        return b"Authorization: Bearer " + self.token.encode()

    @property
    def names(self) -> list[str]:
        """The files of the store."""
        return sorted(self.content_of)

    def target(self, name: str) -> bytes:
        """The path of a file."""
        return f"/stores/{self.key}/{name}".encode()

    def content(self, name: str) -> bytes:
        """The bytes of a file."""
        return self.content_of[name]

    def peak(self) -> int:
        """Bytes that its processes have held at most."""
        return sum(_peak(process) for process in (self.process, *_children(self.process)))


@cache
def running() -> Running:
    """`pi-cache serve` over a root with a large store; it ends with this process."""
    from pi_cache.serving.tokens import new_token

    root, folder = lasting(in_memory=False), lasting() / "tokens"
    served = make_truth(root, SAMPLES, SAMPLES)
    token, _ = new_token(folder, "strain", may=["read"], stores=None, seconds=LONG)
    process, address = start(root, "--tokens", str(folder), "--rate", "0")
    key = served.keys[0]
    return Running(address, process, token, key, served.stores[key])


def start(root: Path, *options: str) -> tuple[int, tuple[str, int]]:
    """Start a service on a free port of this machine; its process and its address."""
    line = [sys.executable, "-m", "pi_cache.cli", "serve", str(root), "--port", "0", *options]
    process = subprocess.Popen(
        [*line, "--log", os.devnull], cwd=ROOT, stdout=subprocess.PIPE, stderr=sys.stderr, text=True
    )
    _STARTED.append(process)
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], PATIENCE)[0]:
        raise Violation(f"a service says nothing for {PATIENCE:g} s")
    said = process.stdout.readline()
    found = re.fullmatch(r"http://([0-9.]+):([0-9]+)\n", said)
    if found is None:
        raise Violation(f"a service does not start, it says {said!r}")
    return process.pid, (found[1], int(found[2]))


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text("ascii")
    return [c for one in map(int, text.split()) for c in (one, *_children(one))]


def _peak(process: int) -> int:
    text = Path(f"/proc/{process}/status").read_text("ascii")
    found = re.search(r"VmHWM:\s+([0-9]+) kB", text)
    return int(found[1]) << 10 if found else 0
