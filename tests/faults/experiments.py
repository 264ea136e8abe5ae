"""An experiment that is killed at drawn instants and called again gives the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.faults import Loop, demand, scratch
from tests.shared import data_folder

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("torch", "numba", "matplotlib")


def one(seed: int) -> str:
    """Kill the experiment whose turn it is by the seed, and go on, until it comes to its end."""
    from training.experiments.catalogue import EXPERIMENTS

    name = list(EXPERIMENTS)[seed % len(EXPERIMENTS)]
    with scratch(in_memory=False) as folder:
        words = [str(data_folder()), str(folder), name, str(seed)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.training.killed_experiments", *words],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
            env={**os.environ, "TMPDIR": str(folder)},
        )
    demand(done.returncode == 0, f"{name}: {done.stderr[-2000:]}")
    [line] = [json.loads(text) for text in done.stdout.splitlines()]
    demand(line["killed"], f"{name} was never killed")
    demand(not line["differs"], f"{name}, killed at {line['killed']}: {line['differs']} differ")
    return f"{name} {len(line['killed'])} kills"


def lacking() -> str:
    """Why no experiment can be run here."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        return f"{', '.join(missing)} missing"
    found = data_folder()
    return "" if found.is_dir() else f"{found} does not exist; set PI_SHARED_DATA"


LOOPS = {"experiments": Loop(one, ci=0, soak=100, lacking=lacking)}
