"""Processes compile kernels of images at once into one empty folder; one is killed meanwhile.

All draw what a process draws that is alone, and so does one that comes later and finds their code.

    python -m tests.faults.compiling PIXELS/DTYPE ...

draws images and prints their digests. Files take a while to get their names in it, as on a slow
disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from pi_cache.specs import ImageSpec
from pipeline.images import render
from tests.faults import Loop, demand, scratch

ROOT = Path(__file__).resolve().parents[2]
KINDS = [f"{pixels}/{dtype}" for pixels, dtype in product(range(4, 34), ("float64", "float32"))]
PROCESSES, EACH = 4, 3
SECONDS = 8.0
"""Until one is killed, at most: about as long as they take."""
HANGS = 300.0
PAUSE = 1.0
"""Seconds until a file has its name, at most."""


def drawn(kind: str) -> str:
    """The digest of images of a few points, of a kind such as `8/float32`."""
    pixels, dtype = kind.split("/")
    points = np.random.default_rng(0).random((60, 2)).cumsum(axis=1)
    images = render(points, np.array([0, 20, 20, 60]), ImageSpec(pixels=int(pixels), dtype=dtype))
    return hashlib.sha256(images.tobytes()).hexdigest()


alone = cache(drawn)
"""By this process, whose folder of machine code is the user's."""


def one(seed: int) -> str:
    """One round."""
    choose = random.Random(seed)
    kinds = [choose.sample(KINDS, EACH) for _ in range(PROCESSES)]
    kinds.append([kind for each in kinds for kind in each])  # of the one that comes later
    with scratch() as folder:
        begun = [start(each, folder) for each in kinds[:-1]]
        try:
            if choose.random() < 0.5:
                kill_after(begun[0], choose.uniform(0, SECONDS))
            ends = [said_by(process) for process in begun]
            begun.append(start(kinds[-1], folder))
            ends.append(said_by(begun[-1]))
        finally:
            for process in begun:
                process.kill()  # where one hangs
    demand(None not in ends[1:], "a process that nobody killed was killed")
    for number, (each, end) in enumerate(zip(kinds, ends, strict=True)):
        check(each, end, f"process {number} of {len(kinds)}, the last of which came later,")
    return f"{ends.count(None)} killed"


def start(kinds: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """A process that draws such images, whose machine code is in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.compiling", *kinds],
        cwd=ROOT,
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_after(process: subprocess.Popen[str], seconds: float) -> None:
    """Kill a process after so many seconds, unless it has ended."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()


def said_by(process: subprocess.Popen[str]) -> list[str] | None:
    """What a process drew; None where it was killed."""
    said, _ = process.communicate(timeout=HANGS)
    if process.returncode == -signal.SIGKILL:
        return None
    demand(process.returncode == 0, f"a process that nobody killed ended: {process.returncode}")
    found: list[str] = json.loads(said)
    return found


def check(kinds: Sequence[str], said: list[str] | None, who: str) -> None:
    """That a process which ended drew what this one draws."""
    if said is not None:
        wrong = [kind for kind, digest in zip(kinds, said, strict=True) if digest != alone(kind)]
        demand(not wrong, f"{who} draws other images of {', '.join(wrong)}")


LOOPS = {"compiling": Loop(one, ci=0, soak=1_000)}


def slowly(source: str, target: str) -> None:
    """What `os.replace` is in a process that draws."""
    time.sleep(random.uniform(0, PAUSE))
    replace(source, target)


if __name__ == "__main__":
    replace, os.replace = os.replace, slowly
    print(json.dumps([drawn(kind) for kind in sys.argv[1:]]))
