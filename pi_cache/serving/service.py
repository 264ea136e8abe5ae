"""What one running service knows: made once, handed to every route."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Container
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pi_cache.serving.access import EVERYBODY, Access
from pi_cache.serving.builds.builds import Builds
from pi_cache.serving.hashing import Hashing
from pi_cache.serving.limits import Crowd, Limits, Rates, Room
from pi_cache.serving.log import Log
from pi_cache.serving.metrics import Metrics
from pi_cache.serving.shelf import Shelf, Shelved
from pi_cache.serving.tokens import TokenFolder, secret_of

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

READERS = 8
"""Threads that read blocks of files, and look at what lies under the root."""


@dataclass(kw_only=True, eq=False)
class Service:
    """A root, who may read it, and what is counted.

    tokens: None where everybody may read. hosts: names beside loopback ones and addresses that
    a request may give as Host where there are no tokens. everybody: what may be
    done there. builds: what makes stores on demand, None where nothing does.
    parts: entered when the server starts and left when it ends, such as what runs builds.
    stopping: True once the service ends; what waits for events then ends its answer.
    """

    root: Path
    limits: Limits = field(default_factory=Limits)
    tokens: TokenFolder | None = None
    hosts: frozenset[str] = frozenset()
    log: Log = field(default_factory=Log)
    everybody: Access = EVERYBODY
    builds: Builds | None = None
    parts: list[AbstractAsyncContextManager[Any]] = field(default_factory=list)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.root)
        self.metrics = Metrics()
        self.crowd = Crowd(self.limits)
        self.room = Room()
        self.rates = Rates(self.limits.rate, self.limits.burst)
        self.readers = ThreadPoolExecutor(READERS, "pi-cache reading")
        self.hashing = Hashing(self.metrics.checks.inc)

    async def in_thread(
        self,
        function: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Result:
        """What a function returns that waits for a disk; other requests go on meanwhile."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.readers, lambda: function(*arguments, **named))

    async def find(self, key: str) -> Shelved | None:
        """The finished store of a key; see `Shelf.get`. Who may read it is asked before."""
        return self.shelf.at_hand(key) or await self.in_thread(self.shelf.get, key)

    async def access(self, authorization: list[bytes]) -> Access | None:
        """What the Authorization headers of a request allow; None without a valid token."""
        if self.tokens is not None and not self.tokens.is_fresh():
            await self.in_thread(self.tokens.refresh, self.tell_unread)
        return self.access_at_hand(authorization)

    def tell_unread(self, problem: str) -> None:
        """Log what cannot be read, and so is left out."""
        self.log.write("unread", problem=problem)

    def access_at_hand(self, authorization: list[bytes]) -> Access | None:
        """As `access`, by the tokens as they were last read."""
        if self.tokens is None:
            return self.everybody
        secret = secret_of(authorization)
        token = None if secret is None else self.tokens.find(secret)
        return None if token is None else token.access(self._granted(token.name))

    def _granted(self, name: str) -> Container[str]:
        """Keys that the tokens of a name may read besides, as they asked for these stores."""
        return frozenset() if self.builds is None else self.builds.granted(name)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """What runs beside the requests, for as long as the server does."""
        async with AsyncExitStack() as stack:
            for part in self.parts:
                await stack.enter_async_context(part)
            yield

    def close(self) -> None:
        """Let the threads go."""
        self.stopping = True
        self.shelf.close()
        for threads in (self.readers, self.hashing.threads):
            threads.shutdown(wait=False, cancel_futures=True)
