"""What counting the values of signals costs a build, and the kernel for it beside NumPy.

    python -m benchmarks.count_rate [--windows 2000] [--repeat 5]

Windows of noise, in the shapes of SisFall (600 samples, 9 channels), PAMAP2 (100, 40) and of one
short signal, are built by a recipe and by the defaults in one process. The share is that of the
counting in all seconds of the shards of one run; the least of the repeats is printed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

from pi_cache.specs import DiagramSpec, ImageSpec
from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.kernels.extent import extent
from pipeline.recipes import find_recipe
from pipeline.sources.arrays import from_arrays

SHAPES = {"SisFall": (600, 9), "PAMAP2": (100, 40), "one channel": (100, 1)}


def count_share(signals: np.ndarray, diagram: DiagramSpec, image: ImageSpec) -> tuple[float, float]:
    """Share of the counting in the seconds of all shards of one build; those seconds."""
    with tempfile.TemporaryDirectory() as root:
        report = build(
            from_arrays(signals, sample="signal"),
            diagram,
            image,
            root=Path(root),
            options=Options(executor="serial"),
        )
    spent = {name: s for name, s in report.times.items() if name.startswith("core_")}
    return spent["core_count"] / sum(spent.values()), sum(spent.values())


def by_numpy(signals: np.ndarray) -> None:
    """What `extent` finds."""
    signals.min(axis=1), signals.max(axis=1), signals.mean(axis=1), signals.var(axis=1)


def nanoseconds(work: Callable[[np.ndarray], object], signals: np.ndarray, repeat: int) -> float:
    """The least time a value."""
    times = []
    for _ in range(repeat + 1):
        start = time.process_time()
        work(signals)
        times.append(time.process_time() - start)
    return min(times[1:]) / signals.size * 1e9


@click.command()
@click.option("--windows", default=2000, show_default=True)
@click.option("--repeat", default=5, show_default=True)
def main(windows: int, repeat: int) -> None:
    """Print the figures of each shape."""
    recipe = find_recipe("tda-kd-pamap2")
    for name, shape in SHAPES.items():
        signals = np.random.default_rng(0).random((windows, *shape))
        for what, diagram, image in (
            (recipe.name, recipe.diagram, recipe.image),
            ("defaults", DiagramSpec(), ImageSpec()),
        ):
            shares = [count_share(signals, diagram, image) for _ in range(repeat)]
            share, seconds = min(shares)
            click.echo(f"{name}, {what}: counting is {share:.2%} of {seconds:.2f} s")
        ours, theirs = (nanoseconds(work, signals, repeat) for work in (extent, by_numpy))
        click.echo(f"{name}: {ours:.1f} ns a value, NumPy {theirs:.1f} ns")


if __name__ == "__main__":
    main()
