"""What jobs cost: the wall time of a SLURM array over the seconds of its shards by the nodes.

    python -m benchmarks.cluster [--shards 8] [--seconds 5] [--rounds 1]

A real SLURM of two nodes with a core each runs on this machine meanwhile (Debian: slurm-wlm,
munge). The build is that of `benchmarks.executors`, whose figures stand beside these: the same
clouds, about so many seconds a shard. Ideal is the seconds that all shards took, divided by the
nodes. In `wall` start-up is left out, as there: it is from the first shard's start to the last
one's end. `with start-up` is from `pipeline submit` to the end of the job that finishes the store.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.executors import POINTS, clouds, samples_of
from benchmarks.machine import heading
from pi_cache.ledger import Build, records_of
from pipeline.cluster.notes import notes_of
from pipeline.cluster.workplan import read_plan
from tests.cluster.slurm_lab import SlurmLab

NODES = 2


@dataclass(frozen=True)
class Figures:
    """Seconds of one build. work: of all shards in their workers. busy: wall time without start-up.

    whole: wall time with it.
    """

    work: float
    busy: float
    whole: float

    @property
    def ideal(self) -> float:
        """Seconds of wall time with no overhead."""
        return self.work / NODES


def run(lab: SlurmLab, data: Path, size: int, folder: Path) -> Figures:
    """One build by an array of two elements, into a cache of its own."""
    words = [
        *("submit", f"array:{data}", "--sample", "cloud", "--filtration", "rips"),
        *("--sigma", "0.05", "--birth-range", "0,1", "--persistence-range", "0,1"),
        *("--shard-samples", str(size), "--elements", str(NODES), "--no-space-check"),
        *("--cache", str(folder), "--json"),
    ]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *words],
        env=lab.environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    told = json.loads(done.stdout)
    lab.wait(told["array"], told["finish"], seconds=3600)
    whole = time.perf_counter() - started
    planned = read_plan(Path(told["plan"]))
    work = {r.shard: sum(r.seconds.values()) for r in records_of(planned.build())}
    spent = sum(seen.note.seconds for seen in notes_of(planned))
    return Figures(sum(work.values()), span(planned.build(), work, spent), whole)


def span(build: Build, work: dict[int, float], spent: float) -> float:
    """Seconds from the first shard's start to the last one's end, by its record's file.

    spent: by the workers on all shards, publishing and waiting for a core too: a shard began so
    much longer before its end.
    """
    stretch = spent / sum(work.values())
    ends = {k: build.record_path(k).stat().st_mtime for k in work}
    return max(ends.values()) - min(ends[k] - seconds * stretch for k, seconds in work.items())


@click.command(help=__doc__.splitlines()[0])
@click.option("--shards", default=8, show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="Of a shard, about.")
@click.option("--rounds", default=3, show_default=True)
def main(shards: int, seconds: float, rounds: int) -> None:
    """Print a line for SLURM."""
    for line in heading(("numpy", "numba")):
        click.echo(line)
    click.echo(f"load before: {os.getloadavg()[0]:.2f}; of an idle machine it is near 0\n")
    size = samples_of(seconds)
    with tempfile.TemporaryDirectory(prefix="cluster-") as place:
        data, lab = Path(place) / "clouds.npz", SlurmLab(Path(place) / "slurm", NODES)
        source = clouds(shards * size)
        np.savez(data, data=np.stack([source.reader.read(k) for k in range(len(source))]))
        lab.start()
        try:
            found = [run(lab, data, size, Path(place) / str(k)) for k in range(rounds)]
        finally:
            lab.stop()
    middle = statistics.median_low(each.busy / each.ideal for each in found)
    each = next(each for each in found if each.busy / each.ideal == middle)
    click.echo(f"{shards} shards of {size} clouds of {POINTS} points; seconds\n")
    click.echo("executor  workers  a shard   ideal    wall  ratio  with start-up  ratio")
    click.echo(
        f"slurm     {NODES:>7}  {each.work / shards:>7.2f}  {each.ideal:>6.1f}  {each.busy:>6.1f}  "
        f"{each.busy / each.ideal:>5.3f}  {each.whole:>13.1f}  {each.whole / each.ideal:>5.3f}"
    )
    click.echo(f"\nload after: {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
