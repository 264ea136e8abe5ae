"""How time and memory grow with size, one fresh process a size; and what is refused beyond.

python -m benchmarks.kernels.scaling NAME SIZE     # one line of JSON, for the command itself
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.kernels import inputs
from benchmarks.kernels.inputs import Sizes
from benchmarks.kernels.peers import (
    Peer,
    cubical_peers,
    path_peers,
    rips_peers,
    rounded_lengths,
)
from benchmarks.kernels.table import Section
from benchmarks.kernels.timing import Contender, best_times
from benchmarks.machine import ROOT, duration, single_threaded, three_digits
from pi_cache.specs import DiagramSpec
from pipeline.engines import ENGINES
from pipeline.engines.limits import refusal
from pipeline.fields import image_clouds
from pipeline.kernels.cubical import cubical_h01
from pipeline.kernels.path import path_h0
from pipeline.kernels.rips import rips_h01

MIB = 2**20
ROUNDS = 5
AT_ONCE = 2**20
"""Pairs, pixels or samples that are computed in one call, about..."""
MOST = 500
"""...of at most so many fields."""
FEW = 5
"""Fields that the others are given, at most."""
CLOUDS = (256, 576, 1024, 2025, 4096, 8100)
SIDES = (32, 64, 128, 224, 512, 1024)
SIGNALS = (100, 1_000, 10_000, 100_000, 1_000_000)
LARGEST = {
    "rips": {"ripser": 1024, "giotto-ph": 1024, "gudhi, edges collapsed": 2025},
    "cubical": {"gudhi": 1024, "cripser": 1024, "giotto-tda": 224},
    "path": {"ripser": 10_000, "gudhi": 1_000_000, "cripser": 1_000_000, "giotto-tda": 100_000},
}
"""The largest size that each library is given: it would take minutes, or too much memory."""


def _photos(side: int, count: int) -> np.ndarray:
    return np.stack([inputs.enlarged(c, side) for c in inputs.photographs(MOST)[0][:count]]) / 255


def _cubes(points: int, count: int) -> np.ndarray:
    return np.random.default_rng(points).random((count, points, 3))


def _image_clouds(points: int, count: int) -> np.ndarray:
    return image_clouds(_photos(round(points**0.5), count)[:, None])[:, 0]


def _white(length: int, count: int) -> np.ndarray:
    return np.random.default_rng(length).normal(size=(count, length))


FIELDS: dict[str, tuple[str, Callable[[int, int], np.ndarray], tuple[int, ...]]] = {
    "image cloud": ("rips", _image_clouds, CLOUDS),
    "cube in R^3": ("rips", _cubes, CLOUDS),
    "photo": ("cubical", _photos, SIDES),
    "noise": ("cubical", lambda side, count: inputs.noise(count, side), SIDES),
    "white noise": ("path", _white, SIGNALS),
    "random walk": ("path", lambda *shape: _white(*shape).cumsum(axis=1), SIGNALS),
}
"""By name: the work, what makes fields of a size, and the sizes."""


def _rips(clouds: np.ndarray) -> Any:
    count, points, dimension = clouds.shape
    return rips_h01(clouds.reshape(-1, dimension), np.arange(count + 1) * points)


KERNELS: dict[str, Callable[[np.ndarray], Any]] = {
    "rips": _rips,
    "cubical": lambda images: cubical_h01(images, cells=True),
    "path": lambda signals: path_h0(signals, 0.0),
}
ITEMS: dict[str, tuple[str, Callable[[int], int]]] = {
    "rips": ("pair", lambda points: points * (points - 1) // 2),
    "cubical": ("pixel", lambda side: side**2),
    "path": ("sample", lambda length: length),
}
PEERS: dict[str, Callable[[], dict[str, Peer]]] = {
    "rips": rips_peers,
    "cubical": lambda: cubical_peers(cells=True),
    "path": path_peers,
}
UNITS = {"rips": "{:,} points", "cubical": "{0} x {0} pixels", "path": "{:,} samples"}


def measure(name: str, size: int) -> dict[str, Any]:
    """Seconds of each, and bytes of this process before and at most while our kernel computes.

    Small fields are computed many in a call, as a build does; the others get the first few of them.
    """
    work, make, _ = FIELDS[name]
    kernel = KERNELS[work]
    kernel(make(16, 1))  # compiled, or loaded
    count = min(max(AT_ONCE // ITEMS[work][1](size), 1), MOST)
    fields = make(size, count)
    before, most = _peak_of(lambda: kernel(fields))
    peers = {n: p for n, p in PEERS[work]().items() if size <= LARGEST[work][n]}
    few = [rounded_lengths(f) if work == "rips" and peers else f for f in fields[:FEW]]
    contenders = [Contender(name="ours", runs=[lambda: kernel(fields)], items=count)]
    contenders += [
        Contender(name=n, runs=[lambda f=f, p=peer: p.compute(f) for f in few])
        for n, peer in peers.items()
    ]
    best = best_times(contenders, ROUNDS)
    return {
        "count": count,
        "before": before,
        "peak": most,
        "seconds": {n: float(times.mean()) for n, times in best.items()},
    }


def _peak_of(run: Callable[[], object]) -> tuple[int, int]:
    """Bytes in memory before a call, and at most up to its end."""
    before = _memory("VmRSS")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
    run()
    return before, _memory("VmHWM")


def _memory(name: str) -> int:
    """Of this process, in bytes; the peak so far where the system tells no more."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def measure_apart(name: str, size: int) -> dict[str, Any]:
    """As `measure`, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.kernels.scaling", name, str(size)]
    done = subprocess.run(
        command, cwd=ROOT, env=single_threaded(), check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


def scaling(sizes: Sizes) -> Section:
    """The table, up to sizes.scale times the largest sizes."""
    rows = []
    for name, (work, _, all_sizes) in FIELDS.items():
        for size in all_sizes:
            if size > sizes.scale * all_sizes[-1]:
                continue
            rows.append(_row(work, name, size, measure_apart(name, size)))
    lines = [
        "a fresh process each; in brackets, how many distinct fields are computed in one call; "
        "memory: the peak of the process, and what of it came with that call",
        *(f"refused: {text}" for text in refused()),
    ]
    titles = ("work", "field", "size", "ours", "an item", "peak", "of it", "best peer", "others")
    return Section(title="Scaling", lines=lines, titles=titles, rows=rows)


def _row(work: str, name: str, size: int, found: dict[str, Any]) -> tuple[str, ...]:
    seconds = dict(found["seconds"])
    ours = seconds.pop("ours")
    item, items = ITEMS[work]
    ranked = [f"{n} {three_digits(seconds[n] / ours)}" for n in sorted(seconds, key=seconds.get)]
    return (
        work,
        f"{name} ({found['count']})",
        UNITS[work].format(size),
        duration(ours),
        f"{1e9 * ours / items(size):.2f} ns a {item}",
        f"{found['peak'] / MIB:.0f} MiB",
        f"{max(found['peak'] - found['before'], 0) / MIB:.1f} MiB",
        ranked[0] if ranked else "-",
        ", ".join(ranked[1:]) or "-",
    )


def refused() -> list[str]:
    """What happens beyond the largest sizes."""
    covers = ENGINES["native"].covers
    specs = [DiagramSpec(filtration=name) for name in ("rips", "cubical", "sublevel")]
    found = (refusal(spec, covers[spec.filtration].largest + 1) for spec in specs)
    return [text for text in found if text is not None]


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of the other libraries
    with threadpool_limits(1):
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
