"""On what an experiment ran: releases, processor, cores, device, and the commit of the code."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch

from training.pinets.cores import cpu_name
from training.runs.record import commit, device_name, versions


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
