"""A process that resolves or builds, started with this program's own interpreter.

It ends when this program does, however that ends: see `pipeline.ondemand`. What it says is kept up
to a bound.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import IO

from pi_cache.builders import GROUP
from pi_cache.errors import BuilderNotInstalled

ENTRY = "find-store"
"""What the pipeline offers as an entry point; its module runs as a child."""
KEPT_LINES = 200
LONGEST_LINE = 4_000
LONGEST_ANSWER = 4 << 20
"""Characters of a line of its standard output."""
MOST_ANSWERS = 16
GRACE = 20.0
"""Seconds to end after SIGTERM: workers end, and what is written is made durable."""


def builder_module() -> str:
    """The module that builds, found by name. Raises BuilderNotInstalled."""
    for entry in entry_points(group=GROUP, name=ENTRY):
        return entry.module
    raise BuilderNotInstalled(
        'this needs what builds stores: pip install "pi-cache[pipeline]" where the service runs'
    )


class Child:
    """A running child. line: what it reads first."""

    def __init__(self, words: Sequence[str], line: str = "") -> None:
        self._said: deque[str] = deque(maxlen=KEPT_LINES)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", builder_module(), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # a Ctrl-C here is not one there, and its workers end with it
        )
        self._answers: queue.Queue[str] = queue.Queue()
        self._threads = [
            threading.Thread(target=listen, daemon=True) for listen in (self._hear, self._listen)
        ]
        for thread in self._threads:
            thread.start()
        if line:
            with contextlib.suppress(OSError):  # it ended already, and its status says why
                self._input.write(line + "\n")
                self._input.flush()

    @property
    def _input(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    def answer(self, seconds: float | None = None) -> str:
        """The next line of its standard output, "" when there is none. Raises TimeoutError."""
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"no answer within {seconds:g} seconds") from None
        if not line:
            self._answers.put("")  # there will be no other one
        return line

    def poll(self) -> int | None:
        """How it ended, negative for a signal; None as long as it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """How it ended."""
        return self._process.wait()

    def tail(self) -> list[str]:
        """The last lines that it said."""
        if self.poll() is not None:
            self._threads[1].join(1.0)
        return list(self._said)

    def stop(self, grace: float = GRACE) -> int:
        """End it and all that it started, gently at first; how it ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        self.sweep()
        return self._process.wait()

    def sweep(self) -> None:
        """End what is left of it: workers of a child that was killed."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Give back its pipes, once it has ended."""
        self._process.wait()
        for thread in self._threads:
            thread.join(1.0)
        with contextlib.suppress(OSError):
            self._input.close()

    def _hear(self) -> None:
        """Take every line, so that it never waits for a reader."""
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            while line := pipe.readline(LONGEST_ANSWER):
                if self._answers.qsize() < MOST_ANSWERS:
                    self._answers.put(line)
        self._answers.put("")

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            while line := pipe.readline(LONGEST_LINE):
                self._said.append(line.rstrip())
