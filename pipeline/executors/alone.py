"""A function in a process of its own, which may die of it: the process that asks does not.

It is a plain subprocess, since workers of Dask may have no children of multiprocessing's kind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from multiprocessing import Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

from pi_cache.errors import PiCacheError
from pipeline.executors.signals import held_back
from pipeline.executors.threads import THREAD_VARIABLES

Result = TypeVar("Result")

GRACE = 5.0
"""Seconds for a process that has closed its pipe to end."""
LOOK = 0.1
"""Seconds between two looks at the memory of a process that has a limit."""
LAST_WORDS = 300
"""Characters of what a process wrote before it died that are told."""
ROOT = Path(__file__).resolve().parents[2]
"""Where the process finds this package, even where its parent ran in that folder."""

_memory: ContextVar[int | None] = ContextVar("memory", default=None)


class ProcessDied(PiCacheError, RuntimeError):
    """The process that ran a function ended, or ran out of memory, before it answered; says how."""


@contextmanager
def memory_limit(most: int | None) -> Iterator[None]:
    """Processes that are started meanwhile are ended where they hold more bytes; None: any."""
    token = _memory.set(most)
    try:
        yield
    finally:
        _memory.reset(token)


class Alone:
    """A process that calls functions for this one, started when needed and kept between calls."""

    def __init__(self) -> None:
        self.most = _memory.get()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """function(*arguments), computed there. Raises what it raises, and ProcessDied."""
        if self.process is None:
            self._start()
        try:
            self.pipe.send((function, arguments))
            self._wait()
            raised, answer = self.pipe.recv()
        except (EOFError, OSError):
            raise ProcessDied(self._end()) from None
        except BaseException:  # an answer that nobody waits for any more
            self.close()
            raise
        if isinstance(answer, MemoryError):
            self.close()  # it may still hold much
            raise ProcessDied(f"ran out of memory ({answer})")
        if raised:
            raise answer
        return answer  # type: ignore[no-any-return]

    def _start(self) -> None:
        self.pipe, there = Pipe()
        leash, self.leash = os.pipe()
        path = os.pathsep.join(dict.fromkeys(filter(None, [*sys.path, str(ROOT)])))
        given = [there.fileno(), leash]
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        with held_back():
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.executors.answering", *map(str, given)],
                pass_fds=given,
                stdin=subprocess.DEVNULL,
                stderr=self.errors,
                env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), "PYTHONPATH": path},
            )
        there.close()
        os.close(leash)

    def _wait(self) -> None:
        """Until there is an answer. Raises ProcessDied where more memory is held than allowed."""
        assert self.process is not None
        while self.most is not None and not self.pipe.poll(LOOK):
            held = resident(self.process.pid)
            if held > self.most:
                self.close()
                raise ProcessDied(f"held {held:,} bytes of memory, and {self.most:,} are allowed")

    def _end(self) -> str:
        """How the process ended, in words; nothing of it is left."""
        assert self.process is not None
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE)
        words, process = last_words(self.errors), self.process
        self.close()
        return told_end(process.returncode) + words

    def close(self) -> None:
        """End it, and leave nothing of it."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.process = None
        self.pipe.close()
        self.errors.close()
        os.close(self.leash)


def call_alone(function: Callable[..., Result], *arguments: Any) -> Result:
    """function(*arguments) in a process of its own. Raises what it raises, and ProcessDied."""
    with Alone() as process:
        return process.call(function, *arguments)


def told_end(code: int) -> str:
    """The exit code of a process, negative for a signal, in words."""
    if code >= 0:
        return f"ended with exit status {code}"
    hint = ", most often for want of memory" if code == -signal.SIGKILL else ""
    known = -code in set(signal.Signals)
    return f"was ended by {signal.Signals(-code).name if known else f'signal {-code}'}{hint}"


def last_words(errors: BinaryIO) -> str:
    """The last lines of what a process, or a library in it, has written, after a colon; or ""."""
    errors.seek(max(errors.seek(0, os.SEEK_END) - LAST_WORDS, 0))
    lines = errors.read(LAST_WORDS).decode(errors="replace").splitlines()
    words = "; ".join([line.strip() for line in lines if line.strip()][-2:])
    return f": {words}" if words else ""


def resident(process: int) -> int:
    """Bytes of memory that a running process holds, 0 where the system does not say."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0
