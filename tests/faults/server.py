"""Processes to be killed: forked by a server that has imported everything and has no threads.

A new interpreter takes half a second to begin work, a fork of this server a few milliseconds.
"""

from __future__ import annotations

import atexit
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from pi_cache import files
from tests.faults import demand
from tests.faults.struck import Struck, killing

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
"""Seconds after which a process that was not killed counts as hanging."""


@dataclass(frozen=True)
class Job:
    """Work for a process of its own: a function of a module, with its arguments.

    It is called with `say`, which tells any plain value to who waits, and the arguments. call: the
    process is killed in this call to the file system. seconds: or after this time.
    """

    name: str
    arguments: tuple[Any, ...]
    call: int | None = None
    seconds: float | None = None
    module: str = "tests.faults.jobs"


@dataclass(frozen=True)
class End:
    """How a process ended: killed, or with what it had to say; `error` where it failed."""

    killed: bool
    said: list[Any]
    error: str
    seconds: float


def run(*jobs: Job) -> list[End]:
    """Run jobs of one module side by side, and wait for all. One that hangs is a Violation."""
    server = _server(jobs[0].module)
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(json.dumps([asdict(job) for job in jobs]) + "\n")
    server.stdin.flush()
    ends = [End(**document) for document in json.loads(server.stdout.readline())]
    for job, end in zip(jobs, ends, strict=True):
        demand(end.seconds < PATIENCE, f"{job} hangs")
    return ends


def ended(end: End) -> End:
    """The end of a job that must not fail; being killed is no failure."""
    demand(not end.error, f"a job failed: {end.error}")
    return end


@cache
def _server(module: str) -> subprocess.Popen[str]:
    """The server that has imported a module; it ends when its standard input is closed."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.server", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    atexit.register(_close, server)
    return server


def _close(server: subprocess.Popen[str]) -> None:
    server.communicate()


def serve(module: str) -> None:
    """Answer each line of jobs with a line of ends."""
    import_module(module)  # and so numpy, zarr, ...: once, before any fork
    for line in sys.stdin:
        print(json.dumps([asdict(end) for end in _run(json.loads(line))]), flush=True)


@dataclass
class _Child:
    process: int
    pipe: int
    kill_at: float
    started: float
    said: bytes = b""
    stopped: float = 0.0


def _run(jobs: list[dict[str, Any]]) -> list[End]:
    children = [_fork(job) for job in jobs]
    running = {child.pipe: child for child in children}
    while running:
        now = time.monotonic()
        wait = max(min(child.kill_at for child in running.values()) - now, 0.0)
        ready, _, _ = select.select(list(running), [], [], min(wait, 3600.0))
        for child in running.values():
            if time.monotonic() >= child.kill_at:
                os.kill(child.process, signal.SIGKILL)
                child.kill_at = float("inf")
        for pipe in ready:
            if data := os.read(pipe, 1 << 16):
                running[pipe].said += data
            else:
                running.pop(pipe).stopped = time.monotonic()
    return [_end(child) for child in children]


def _fork(job: dict[str, Any]) -> _Child:
    pipe, told = os.pipe()
    started = time.monotonic()
    process = os.fork()
    if not process:
        os.close(pipe)
        _work(job, told)
    os.close(told)
    seconds = PATIENCE if job["seconds"] is None else job["seconds"]
    return _Child(process, pipe, started + seconds, started)


def _work(job: dict[str, Any], told: int) -> NoReturn:
    """The life of a forked process."""

    def say(word: Any) -> None:
        os.write(told, json.dumps({"said": word}).encode() + b"\n")

    random.seed()
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        if job["call"] is not None:
            files.system = Struck(job["call"], killing)
        getattr(sys.modules[job["module"]], job["name"])(say, *job["arguments"])
    except BaseException:
        error = traceback.format_exc()
        os.write(told, json.dumps({"error": error}).encode() + b"\n")
    os._exit(0)


def _end(child: _Child) -> End:
    os.close(child.pipe)
    _, status = os.waitpid(child.process, 0)
    lines = [json.loads(line) for line in child.said.splitlines(keepends=True) if b"\n" in line]
    return End(
        killed=os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL,
        said=[line["said"] for line in lines if "said" in line],
        error="".join(line.get("error", "") for line in lines),
        seconds=child.stopped - child.started,
    )


if __name__ == "__main__":
    serve(sys.argv[1])
