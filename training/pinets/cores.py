"""This thread, and what it starts, on one core of the machine."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch

CPUS = Path("/proc/cpuinfo")
CAN_PIN = hasattr(os, "sched_setaffinity")


def first_core() -> int | None:
    """A core that this process may use; None where the system pins no process."""
    return min(os.sched_getaffinity(0)) if CAN_PIN else None


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Only this core, until the end of the block; None changes nothing."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """torch computes in this thread alone, until the end of the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cpu_name() -> str:
    """What the processor calls itself."""
    try:
        lines = CPUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def load() -> str:
    """How busy the machine was in the last minute: more than its cores, and times are too long."""
    busy = f"load {os.getloadavg()[0]:.1f} on " if hasattr(os, "getloadavg") else ""
    return f"{busy}{os.cpu_count()} cores"
