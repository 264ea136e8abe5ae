"""A function in a process of its own, which tells over a pipe, and can be limited or killed.

Children come from a fork server, which has imported what they need.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import resource
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.faults import Violation, demand

PATIENCE = 30.0
"""Seconds without a word after which a child hangs."""

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.faults.preload"])

END = "end of child"
"""The last word of a child that returned."""


class Child:
    """A running function."""

    def __init__(self, target: Callable[..., None], *arguments: Any, memory: int | None = None):
        self.pipe, theirs = SERVER.Pipe()
        start = (theirs, memory, target, arguments)
        self.process = SERVER.Process(target=_enter, args=start, daemon=True)
        self.process.start()
        theirs.close()
        self.pipe.send("go")  # not before: to start takes longer here than there

    def hear(self) -> Any:
        """What the child says next; END when it returned, None when it died.

        Raises Violation when it says nothing for too long.
        """
        demand(self.pipe.poll(PATIENCE), f"the child hangs: nothing heard for {PATIENCE:g} s")
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionResetError):
            return None

    def words(self) -> Iterator[Any]:
        """All that the child says until it ends. Raises Violation when it dies or hangs."""
        while (word := self.hear()) != END:
            if word is None:
                raise Violation(f"the child died: {self.exit_code()}")
            yield word

    def exit_code(self) -> int | None:
        """How it ended, negative for a signal."""
        self.process.join(PATIENCE)
        return self.process.exitcode

    def kill(self) -> None:
        """End it now."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


@contextlib.contextmanager
def child(
    target: Callable[..., None], *arguments: Any, memory: int | None = None
) -> Iterator[Child]:
    """A child that runs `target(pipe, *arguments)`, killed at the end if it still runs.

    memory: bytes that it may have for itself beyond what it begins with.
    """
    started = Child(target, *arguments, memory=memory)
    try:
        yield started
    finally:
        started.kill()


def _enter(
    pipe: Connection,
    memory: int | None,
    target: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    # Locks that libraries make have no names then, so a child that is killed leaves none behind.
    multiprocessing.set_start_method("fork", force=True)
    if memory is not None:
        most = _data() + memory
        # Not of the address space, of which each thread reserves some that it never uses.
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    pipe.recv()
    target(pipe, *arguments)
    pipe.send(END)
    sys.stdout.flush()


def _data() -> int:
    """Bytes of memory that this process has for itself."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
