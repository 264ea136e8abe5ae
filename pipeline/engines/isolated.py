"""A library in a child process: its time is limited, and its crash costs one field.

C++ cannot be interrupted, may hold the interpreter, and may take the process with it. So a process
that computes has a child, which is kept between fields, ended where one takes too long, and started
again. It is a plain subprocess: so it works where worker processes may have no children of their
own kind, and it ends with its parent (see `child`).
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pi_cache.errors import SampleError
from pi_cache.specs import DiagramSpec, Status
from pipeline.engines.child import peak_of
from pipeline.engines.common import out_of_time
from pipeline.engines.frames import Closed, read_message, write_message
from pipeline.executors import THREAD_VARIABLES
from pipeline.executors.alone import last_words, told_end
from pipeline.executors.signals import held_back

START_SECONDS = 120.0
"""To start the interpreter and import a library, from a slow file system."""
GRACE = 5.0
LONGEST_WAIT = 2**31 - 1
"""Milliseconds that can be waited for; 25 days."""
ROOT = Path(__file__).resolve().parents[2]
"""Where the child finds this package, however its parent did."""


class Child:
    """A running child process."""

    def __init__(self) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        leash, self.leash = os.pipe()
        self.errors: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115
        fcntl.fcntl(self.errors, fcntl.F_SETFL, os.O_APPEND)  # so that it can be emptied
        with held_back():
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.engines.child", str(leash)],
                pass_fds=[leash],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), "PYTHONPATH": path},
            )
        os.close(leash)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.requests: BinaryIO = self.process.stdin  # type: ignore[assignment]
        self.answers: BinaryIO = self.process.stdout  # type: ignore[assignment]
        self.peak = 0
        self.loaded: set[str] = set()
        self.poll = select.poll()
        self.poll.register(self.answers, select.POLLIN)

    def pairs(
        self, module: str, field: np.ndarray, spec: DiagramSpec, limit: float
    ) -> list[np.ndarray]:
        """The diagrams of a field, by a module with `pairs`. Raises SampleError.

        limit: seconds for the computation alone, without start and import.
        """
        try:
            if module not in self.loaded:
                self._ask({"load": module}, (), START_SECONDS)
                self.loaded.add(module)
            asked = {"module": module, "spec": json.dumps(spec.to_dict())}
            header, found = self._ask(asked, (field,), limit)
        except TimeoutError:
            self.peak = max(self.peak, peak_of(self.process.pid))
            self.close()
            if module not in self.loaded:
                raise SampleError(Status.CRASH, f"engine {spec.engine} did not start") from None
            raise SampleError(Status.TIMEOUT, out_of_time(field, spec, limit)) from None
        except (Closed, OSError):
            raise SampleError(Status.CRASH, f"engine {spec.engine} {self._death()}") from None
        self.peak = max(self.peak, header["peak"])
        if "status" in header:
            raise SampleError(header["status"], header["message"])
        return found

    def _ask(
        self, header: dict[str, Any], arrays: Sequence[np.ndarray], seconds: float
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        """The answer to a message. Raises TimeoutError where it does not begin in time."""
        os.ftruncate(self.errors.fileno(), 0)  # what is written from now on is of this message
        write_message(self.requests, header, arrays)
        if not self.poll.poll(min(1000 * seconds, LONGEST_WAIT)):
            raise TimeoutError
        return read_message(self.answers)

    def _death(self) -> str:
        """How the child ended, in words; nothing of it is left."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE)  # it has closed its output, and is about to end
        words = last_words(self.errors)
        self.close()
        return told_end(self.process.returncode) + words

    def close(self) -> None:
        """End it, and leave nothing of it."""
        self.process.kill()
        self.process.wait()
        self.let_go()

    def let_go(self) -> None:
        """Close this side of all pipes."""
        for stream in (self.requests, self.answers, self.errors):
            with suppress(OSError):
                stream.close()
        if self.leash >= 0:
            os.close(self.leash)
            self.leash = -1

    def alive(self) -> bool:
        """Whether it can be asked again."""
        return self.process.poll() is None


_idle: list[Child] = []
_lock = threading.Lock()
_peak = 0


def pairs(module: str, field: np.ndarray, spec: DiagramSpec, limit: float) -> list[np.ndarray]:
    """As `Child.pairs`, by an idle child of this process or a new one."""
    global _peak
    child = _taken()
    try:
        return child.pairs(module, field, spec, limit)
    except SampleError:
        raise
    except BaseException:  # an answer that nobody waits for any more
        child.close()
        raise
    finally:
        _peak = max(_peak, child.peak)
        if child.alive():
            with _lock:
                _idle.append(child)


def peak_memory() -> int:
    """Bytes that a child of this process has held at most.

    One that took too long is counted; one that died is not, from its last answer on.
    """
    return _peak


def _taken() -> Child:
    """An idle child, else a new one; a dead one is cleared away."""
    while True:
        with _lock:
            child = _idle.pop() if _idle else None
        if child is None:
            return Child()
        if child.alive():
            return child
        child.close()


def close() -> None:
    """End all children of this process that are idle."""
    with _lock:
        children, _idle[:] = list(_idle), []
    for child in children:
        child.close()


def _forget() -> None:
    """In a forked process: the children are its parent's."""
    global _lock
    _lock = threading.Lock()
    for child in _idle:
        child.process.returncode = 0  # nothing to wait for
        child.let_go()
    _idle.clear()


atexit.register(close)
os.register_at_fork(after_in_child=_forget)
