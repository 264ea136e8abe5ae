"""An experiment that is killed at drawn instants and called again gives the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.faults import Loop, demand, scratch
from tests.shared import data_folder

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("torch", "numba", "matplotlib")


def one(seed: int) -> str:
    """Kill the experiment whose turn it is by the seed, and go on, until it comes to its end."""
    from training.experiments.catalogue import EXPERIMENTS

    name = list(EXPERIMENTS)[seed % len(EXPERIMENTS)]
    with scratch(in_memory=False) as folder:
        [line] = killed_lines(data_folder(), folder, name, str(seed))
    demand(line["killed"], f"{name} was never killed")
    demand(not line["differs"], f"{name}, killed at {line['killed']}: {line['differs']} differ")
    return f"{name} {len(line['killed'])} kills"


def killed_lines(data: Path, folder: Path, *named: str) -> list[dict[str, Any]]:
    """What `tests.training.killed_experiments` printed of a folder. named: NAME and SEED."""
    words = [sys.executable, "-m", "tests.training.killed_experiments", str(data), str(folder)]
    own = {**os.environ, "TMPDIR": str(folder)}  # a killed process leaves what is temporary
    done = subprocess.run(
        [*words, *named], capture_output=True, text=True, cwd=ROOT, check=False, env=own
    )
    demand(done.returncode == 0, f"{' '.join(named)}: {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def lacking() -> str:
    """Why no experiment can be run here."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        return f"{', '.join(missing)} missing"
    found = data_folder()
    return "" if found.is_dir() else f"{found} does not exist; set PI_SHARED_DATA"


LOOPS = {"experiments": Loop(one, ci=0, soak=100, lacking=lacking)}
