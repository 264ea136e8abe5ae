"""The process that runs a library for another one, which can end it: `isolated` starts it.

It answers one message at a time until its input ends. A second pipe, on which nothing is ever sent,
is its leash: the kernel ends it as soon as the other end closes, whatever it computes, so that it
never outlives its parent.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import select
import signal
import sys
import warnings
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pi_cache.errors import SampleError
from pi_cache.specs import DiagramSpec, Status
from pipeline.engines.common import pairs_by
from pipeline.engines.frames import Closed, read_message, write_message
from pipeline.engines.limits import BUDGET
from pipeline.executors.signals import leave_to_parent

INTERPRETER = 2**30
"""Bytes that libraries take before their first field, at most."""


def main() -> None:
    """Serve on standard input and output until the input ends. Argument: the leash's descriptor."""
    leave_to_parent()
    end_with_parent(int(sys.argv[1]))
    _limit_memory(BUDGET + INTERPRETER)
    # What a library prints must not mix with the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    with contextlib.suppress(Closed, BrokenPipeError):
        while True:
            serve(*read_message(requests), answers)


def serve(header: dict[str, Any], arrays: list[np.ndarray], answers: BinaryIO) -> None:
    """Answer one message: a library to load, or a field whose diagrams are asked for."""
    if "load" in header:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_module(header["load"])
        write_message(answers, {})
        return
    answer: dict[str, Any] = {}
    found: list[np.ndarray] = []
    try:
        spec = spec_of(header["spec"])
        found = pairs_by(sys.modules[header["module"]], arrays[0], spec)
    except SampleError as error:
        answer = {"status": int(error.status), "message": str(error)}
    except MemoryError:
        text = f"needs more than the {BUDGET / 2**30:.0f} GiB that a sample may take"
        answer = {"status": int(Status.TOO_LARGE), "message": text}
    except Exception as error:
        answer = {"status": int(Status.CRASH), "message": f"{type(error).__name__}: {error}"}
    write_message(answers, {**answer, "peak": peak_of(os.getpid())}, found)


def peak_of(process: int) -> int:
    """Bytes that a running process has held at most, 0 where the system does not say.

    Not `ru_maxrss`: on Linux that begins with what the parent held when it started the process.
    """
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if process == os.getpid() and sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 0


@lru_cache
def spec_of(text: str) -> DiagramSpec:
    """The spec of a JSON text; most often the same one as before."""
    return DiagramSpec.from_dict(json.loads(text))


def end_with_parent(descriptor: int) -> None:
    """Have this process ended when the other end of a pipe closes.

    A library may hold the interpreter for hours, so no thread here could look: the kernel sends
    SIGIO, which ends a process that has no handler for it.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if poll.poll(0):  # it has closed before
        sys.exit()


def _limit_memory(most: int) -> None:
    """So that a field that needs more ends itself and not the machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    known = [value for value in (soft, hard) if value != resource.RLIM_INFINITY]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (min([most, *known]), hard))


if __name__ == "__main__":
    main()
