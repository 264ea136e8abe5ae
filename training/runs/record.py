"""What is written of a run beside its settings: by which releases, on which machine, by whom."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch

OURS = "pi-cache"
CODE = Path(__file__).resolve().parents[2]
"""The folder that holds the packages; a checkout, or where they were installed."""
OF_CALLER = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
"""Variables that hooks of git set: with them it would tell of the caller's checkout."""


def provenance(device: str, command: Sequence[str] | None = None) -> dict[str, Any]:
    """Releases, machine and device of this process, as plain values.

    command: the words that it was called with, None from Python.
    """
    return {
        "command": None if command is None else shlex.join(command),
        "versions": versions(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "code": commit(),
    }


def versions() -> dict[str, str]:
    """Releases that decide numbers, by package."""
    found = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "safetensors": safetensors.__version__,
    }
    try:
        return {OURS: version(OURS), **found}
    except PackageNotFoundError:  # run from its source, which was never installed
        return found


def device_name(device: str) -> str:
    """The device as it calls itself, such as `NVIDIA H100`; of the CPU its kind."""
    if torch.device(device).type == "cuda" and torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    return f"{device} ({platform.processor() or platform.machine()})"


@cache
def commit() -> str | None:
    """The commit of the code; None outside a checkout.

    `+ changes` follows where files differ from it, or where git cannot tell.
    """
    head = _git("rev-parse", "HEAD")
    if head is None or not (CODE / ".git").exists():
        return None
    changed = _git("status", "--porcelain", "-uno")
    return head if changed == "" else f"{head} + changes"


def _git(*words: str) -> str | None:
    surroundings = {name: v for name, v in os.environ.items() if name not in OF_CALLER}
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(CODE), *words],
            capture_output=True,
            text=True,
            timeout=60,
            env=surroundings,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
