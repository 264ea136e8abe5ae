"""On what an experiment ran: releases, processor, cores, device, and the commit of the code."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from training.pinets.cores import cpu_name
from training.runs.ledger import RUN, read_json
from training.runs.record import commit, device_name, versions


def environment(device: str, runs: Iterable[Path] = ()) -> dict[str, Any]:
    """All of it as plain values, the same in every call on one machine and one state of code.

    runs: folders; how many of them each commit began is counted under `runs`.
    """
    made = [read_json(folder / RUN) or {} for folder in runs]
    commits = [each.get("record", {}).get("provenance", {}).get("code") for each in made]
    return {
        "versions": versions(),
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": cpu_name(),
        "cores": os.cpu_count(),
        "device": device_name(device),
        "cuda": torch.version.cuda,
        "code": commit(),
        "runs": {str(each): commits.count(each) for each in dict.fromkeys(commits)},
    }
