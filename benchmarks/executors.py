"""What executors cost: the wall time of a build over the seconds of its shards by the workers.

    python -m benchmarks.executors [--workers 2] [--shards 8] [--seconds 5] [--rounds 3]

Every executor builds the same store of point clouds anew, of shards that take about so many
seconds each, and so in turns. Ideal is the seconds that all shards took in their workers, divided
by the workers; ratio 1 is no overhead at all. Start-up (imports, compiling, starting workers) is
left out in one figure and is part of the other. The median round counts. The machine must be idle:
whatever else runs takes a core from the workers.
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.machine import heading
from pi_cache.specs import DiagramSpec, ImageSpec, StoreSpec
from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.executors import EXECUTORS
from pipeline.measuring import measure
from pipeline.sources.arrays import from_arrays
from pipeline.sources.base import Source

DIAGRAM = DiagramSpec(filtration="rips")
IMAGE = ImageSpec(sigma=0.05, birth_range=(0, 1), persistence_range=(0, 1))
POINTS = 256
"""Points of a cloud: of a few milliseconds each."""


@dataclass(frozen=True)
class Figures:
    """Seconds of one build. work: of all shards in their workers. busy: wall time without start-up.

    whole: wall time with it.
    """

    executor: str
    workers: int
    shards: int
    work: float
    busy: float
    whole: float

    @property
    def ideal(self) -> float:
        """Seconds of wall time with no overhead."""
        return self.work / self.workers


def clouds(samples: int) -> Source:
    """Seeded clouds in the plane, all different."""
    rng = np.random.default_rng(0)
    return from_arrays(rng.random((samples, POINTS, 2)), sample="cloud")


def samples_of(seconds: float) -> int:
    """How many clouds take so long, in whole chunks of eight."""
    few = clouds(64)
    cost = measure(few, StoreSpec(source=few.spec(), diagram=DIAGRAM, image=IMAGE))
    return 8 * math.ceil(seconds / cost.seconds / 8)


def run(executor: str, source: Source, shard_samples: int, workers: int) -> Figures:
    """One build into a cache of its own, which is removed."""
    how = Options(
        executor=executor, workers=workers, shard_samples=shard_samples, space_check=False
    )
    with tempfile.TemporaryDirectory(prefix="executors-") as root:
        started = time.perf_counter()
        report = build(source, DIAGRAM, IMAGE, root=Path(root), options=how)
        whole = time.perf_counter() - started
    work = sum(spent for name, spent in report.times.items() if name.startswith("core_"))
    return Figures(executor, report.workers, report.built, work, report.seconds, whole)


def median(rounds: list[Figures]) -> Figures:
    """The build of the median ratio, start-up left out."""
    middle = statistics.median_low(each.busy / each.ideal for each in rounds)
    return next(each for each in rounds if each.busy / each.ideal == middle)


@click.command(help=__doc__.splitlines()[0])
@click.option("--workers", default=2, show_default=True)
@click.option("--shards", default=8, show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="Of a shard, about.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--executor", "executors", multiple=True, type=click.Choice(list(EXECUTORS)))
def main(
    workers: int, shards: int, seconds: float, rounds: int, executors: tuple[str, ...]
) -> None:
    """Print a line an executor."""
    for line in heading(("numpy", "numba", "joblib", "dask", "distributed")):
        click.echo(line)
    click.echo(f"load before: {os.getloadavg()[0]:.2f}; of an idle machine it is near 0\n")
    size = samples_of(seconds)
    source = clouds(shards * size)
    found: dict[str, list[Figures]] = {name: [] for name in executors or EXECUTORS}
    for _ in range(rounds):
        for name, figures in found.items():
            figures.append(run(name, source, size, workers))
    click.echo(f"{shards} shards of {size} clouds of {POINTS} points; seconds\n")
    click.echo("executor  workers  a shard   ideal    wall  ratio  with start-up  ratio")
    for name, figures in found.items():
        each = median(figures)
        click.echo(
            f"{name:<8}  {each.workers:>7}  {each.work / each.shards:>7.2f}  {each.ideal:>6.1f}  "
            f"{each.busy:>6.1f}  {each.busy / each.ideal:>5.3f}  {each.whole:>13.1f}  "
            f"{each.whole / each.ideal:>5.3f}"
        )
    click.echo(f"\nload after: {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
