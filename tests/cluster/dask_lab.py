"""A Dask cluster to be broken: scheduler and workers as processes of their own, on loopback TCP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from pipeline.executors import THREAD_VARIABLES
from pipeline.executors.dask import read_address

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
"""Seconds that anything here may take before it counts as hung."""


class Lab:
    """Processes by name, all of whose files are in one folder."""

    def __init__(self, folder: Path, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.file = folder, folder / "scheduler.json"
        one = dict.fromkeys(THREAD_VARIABLES, "1")
        self.environment = {**os.environ, **one, "PYTHONPATH": str(ROOT), **settings}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *words: str) -> None:
        """Start `dask words` under a name."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "dask", *words],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environment,
            )

    def scheduler(self, port: int = 0, *words: str) -> str:
        """Start a scheduler; its address, once it has written that into its file."""
        self.file.unlink(missing_ok=True)
        where = ("--host", "127.0.0.1", "--port", str(port), "--scheduler-file", str(self.file))
        self.start("scheduler", "scheduler", *where, "--no-dashboard", *words)
        wait(self.file.exists)
        return read_address(self.file)

    def worker(self, name: str, *words: str, memory: str = "2GiB") -> None:
        """Start a worker of one thread, beside a nanny that starts it again."""
        self.start(
            name, "worker", "--scheduler-file", str(self.file), "--host", "127.0.0.1",
            "--nthreads", "1", "--memory-limit", memory, "--no-dashboard", "--name", name,
            "--local-directory", str(self.folder), "--death-timeout", "60", *words,
        )  # fmt: skip

    def kill(self, name: str) -> None:
        """End a process as a lost node does: at once."""
        self.processes[name].kill()
        self.processes[name].wait()

    def close(self) -> None:
        """End all processes and what they have started."""
        for process in self.processes.values():
            with suppress(psutil.Error):
                family = psutil.Process(process.pid).children(recursive=True)
                for member in family:
                    with suppress(psutil.Error):
                        member.send_signal(signal.SIGKILL)
            process.kill()
            process.wait()


@contextmanager
def cluster(folder: Path, workers: int = 2, memory: str = "2GiB", **settings: str) -> Iterator[Lab]:
    """A scheduler and workers, ended afterwards. settings: of Dask, as environment variables."""
    lab = Lab(folder, **settings)
    try:
        lab.scheduler()
        for number in range(workers):
            lab.worker(f"w{number}", memory=memory)
        yield lab
    finally:
        lab.close()


def wait(condition: Callable[[], object]) -> None:
    """Until something is so. Raises TimeoutError."""
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("waited in vain")
        time.sleep(0.05)
