"""What a first use costs: compiling every kernel, and loading it again; an import compiles nothing.

    python -m benchmarks.start_up

Kernels are compiled in a fresh process with an empty cache folder, one after the other, and then
loaded in another one: what two of them share is counted with the first. Image kernels are compiled
for each size of image. The command fails where an import compiles.

Times are those of the processor, so that other work on the machine counts less.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.machine import ROOT, duration, heading, single_threaded

IMPORTS = ("pipeline", "pipeline.cli", "pipeline.build", "pipeline.kernels.rips")
WIDE, NARROW = {"pixels": 50, "sigma": 0.05}, {"pixels": 128, "sigma": 0.01}
"""Images of which one is drawn eight points at a time, one point by point."""


def kernels() -> dict[str, Callable[[], object]]:
    """Something small for each kernel to do, by name."""
    from pi_cache.specs import ImageSpec
    from pipeline.images import draw, select
    from pipeline.kernels.cubical import cubical_h01
    from pipeline.kernels.half import to_half
    from pipeline.kernels.path import path_h0
    from pipeline.kernels.rips import rips_h01, rips_h01_of_distances

    cloud, starts = np.random.default_rng(0).random((9, 3)), np.array([0, 9])
    lengths = np.sqrt(((cloud[:, None] - cloud) ** 2).sum(axis=2))
    signals = np.random.default_rng(0).random((2, 9))
    points, offsets = np.array([[0.2, 0.7], [0.1, np.inf]]), np.array([0, 2])

    def image(precision: str, grid: dict[str, Any]) -> Callable[[], object]:
        spec = ImageSpec(precision=precision, **grid)
        return lambda: draw(select(points, offsets, spec), spec)

    works: dict[str, Callable[[], object]] = {}
    for kind in ("float64", "float32"):
        works[f"path, {kind}"] = lambda kind=kind: path_h0(signals.astype(kind), 0.0)
        works[f"image, 50 x 50, {kind}"] = image(kind, WIDE)
        works[f"image, 128 x 128, {kind}"] = image(kind, NARROW)
        works[f"half, {kind}"] = lambda kind=kind: to_half(signals.astype(kind))
        works[f"cubical, {kind}"] = lambda kind=kind: cubical_h01(
            signals[None].astype(kind), cells=True
        )
    works["rips, points"] = lambda: rips_h01(cloud, starts)
    works["rips, lengths"] = lambda: rips_h01_of_distances(lengths, starts)
    return works


def measure() -> dict[str, float]:
    """Seconds of the imports, and of the first call of each kernel, in this process."""
    start = time.process_time()
    works = kernels()
    found = {"imports": time.process_time() - start}
    for name, work in works.items():
        start = time.process_time()
        work()
        found[name] = time.process_time() - start
    return found


def measure_apart(cache: Path) -> dict[str, float]:
    """As `measure`, in a fresh process with this cache folder."""
    text = _child("-m", "benchmarks.start_up", "--child", cache=cache)
    return {name: float(seconds) for name, seconds in json.loads(text).items()}


def _child(*arguments: str, cache: Path) -> str:
    command = [sys.executable, *arguments]
    environment = single_threaded(NUMBA_CACHE_DIR=str(cache))
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


COUNTING = """
import sys, time
start = time.perf_counter()
import {module}
seconds, loaded = time.perf_counter() - start, "numba" in sys.modules
compiled = 0
if loaded:
    from numba.core.dispatcher import Dispatcher
    import gc
    ours = [o for o in gc.get_objects() if isinstance(o, Dispatcher)]
    compiled = sum(len(o.overloads) for o in ours if o.__module__.startswith("pipeline"))
print(seconds, int(loaded), compiled)
"""
"""Imports a module and prints the seconds, whether numba came along, and kernels compiled."""


def import_apart(module: str) -> tuple[float, bool, int]:
    """Seconds of an import in a fresh process, whether it loads numba, and what it compiles."""
    with tempfile.TemporaryDirectory() as cache:
        text = _child("-c", COUNTING.format(module=module), cache=Path(cache))
        seconds, loaded, compiled = text.split()
        kept = sum(1 for path in Path(cache).rglob("*.nb*") if path.is_file())
    return float(seconds), loaded == "1", int(compiled) + kept


@click.command(help=__doc__.splitlines()[0])
@click.option("--child", is_flag=True, hidden=True)
def main(child: bool) -> None:
    """Print a line a kernel."""
    if child:
        click.echo(json.dumps(measure()))
        return
    for line in heading(("numpy", "numba", "llvmlite")):
        click.echo(line)
    with tempfile.TemporaryDirectory() as cache:
        cold, warm = (measure_apart(Path(cache)) for _ in range(2))
    click.echo(f"\n{'kernel':<26}  {'compiled':>9}  {'loaded':>9}")
    for found in (cold, warm):
        found["all kernels"] = sum(spent for name, spent in found.items() if name != "imports")
    for name in cold:
        click.echo(f"{name:<26}  {duration(cold[name]):>9}  {duration(warm[name]):>9}")
    click.echo()
    if sum([_tell(module) for module in IMPORTS]):
        sys.exit("error: an import compiles")


def _tell(module: str) -> int:
    """Prints what an import does; how many kernels it compiled."""
    seconds, loaded, compiled = import_apart(module)
    numba = "with" if loaded else "without"
    click.echo(f"import {module}: {duration(seconds)}, {numba} numba, {compiled} kernels compiled")
    return compiled


if __name__ == "__main__":
    main()
