"""What is written of a run beside its settings: by which releases, on which machine, by whom."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import safetensors
import torch

OURS = "pi-cache"


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
