"""On what an experiment ran: releases, processor, cores, device, and the commit of the code."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from training.pinets.cores import cpu_name
from training.runs.record import device_name, versions

CODE = Path(__file__).resolve().parents[2]
"""The folder that holds the packages; a checkout, or where they were installed."""


def environment(device: str) -> dict[str, Any]:
    """All of it as plain values, the same in every call on one machine and one state of code."""
    return {
        "versions": versions(),
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": cpu_name(),
        "cores": os.cpu_count(),
        "device": device_name(device),
        "cuda": torch.version.cuda,
        "code": commit(),
    }


def commit() -> str | None:
    """The commit of the code, `+ changes` where files differ from it; None outside a checkout."""
    head = _git("rev-parse", "HEAD")
    if head is None or not (CODE / ".git").exists():
        return None
    return f"{head} + changes" if _git("status", "--porcelain", "-uno") else head


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(CODE), *words], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
