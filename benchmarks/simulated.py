"""A plan of 1.28 million samples, without the days that its shards would take: what jobs cost then.

    python -m benchmarks.simulated [--samples 1280000]

The samples are tiny images that are made up as they are read. Two shards are really computed, the
first and the last one. Every other one is written with the encoded bytes of the first, through the
ledger as any builder does it, so that the store has all its files and records; its numbers are
wrong. Measured are planning, what a worker does before its first shard, status in the middle,
planning again from what is there, and finishing, each in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

from benchmarks.machine import heading
from pi_cache.ledger import Build, record_of, write_files
from pi_cache.specs import DiagramSpec, ImageSpec
from pipeline.buildoptions import Options
from pipeline.cluster.finishing import finish_plan
from pipeline.cluster.planning import Wish, plan_jobs
from pipeline.cluster.settings import Settings
from pipeline.cluster.status import status_of
from pipeline.cluster.workplan import Planned, find_plan
from pipeline.shard import build_shard
from pipeline.sources.base import Source
from pipeline.sources.kinds import KINDS, Kind

SIDE = 8
CLASSES = 1000
IMAGE = ImageSpec(pixels=8, sigma=0.1)
PHASES = ("plan", "open", "half", "status", "resume", "rest", "finish")
UNCOUNTED = ("half", "rest")
"""Phases that write shards: they stand for the work of the jobs."""


@dataclass(frozen=True)
class InventedReader:
    """Images (8, 8, 1) of noise that follows from the number of the sample."""

    samples: range

    def read(self, position: int) -> np.ndarray:
        """One image."""
        noise = np.random.default_rng(self.samples[position])
        return noise.integers(0, 256, (SIDE, SIDE, 1), dtype=np.uint8)

    def read_together(self) -> np.ndarray | None:
        """No: they are made one by one, as files are read."""
        return None

    def slice(self, start: int, stop: int) -> InventedReader:
        """Of these samples alone."""
        return replace(self, samples=self.samples[start:stop])

    def digests(self) -> Iterator[bytes]:
        """One for all: nothing is stored."""
        yield hashlib.sha256(repr(self.samples).encode()).digest()


def invented(samples: int) -> Source:
    """So many samples of a thousand classes."""
    return Source(
        kind="invented",
        location=str(samples),
        sample="image",
        shape=(SIDE, SIDE, 1),
        channels=("grey",),
        dtype=np.dtype(np.uint8),
        maximum=255,
        ids=[f"n{k % CLASSES:08d}/n{k % CLASSES:08d}_{k:07d}.JPEG" for k in range(samples)],
        labels=np.arange(samples) % CLASSES,
        reader=InventedReader(range(samples)),
        label_names=tuple(f"n{k:08d}" for k in range(CLASSES)),
    )


class InventedKind(Kind):
    """The kind of source, known to the processes of this benchmark alone."""

    def open(self, path: str, **options: object) -> Source:
        """`invented:SAMPLES`; the path has come absolute."""
        return invented(int(Path(path).name))


INVENTED = InventedKind(opener="", line="", layout="", labels="", path="SAMPLES")


def planned_of(root: Path) -> Planned:
    """The newest plan of the cache."""
    (store,) = (root / "stores").iterdir()
    return find_plan(store.name, root)


def plan(root: Path, samples: int) -> str:
    """Plan: open, identify, measure, begin the store, look for what is missing."""
    started = time.perf_counter()
    source = invented(samples)
    wish = Wish(
        source=source,
        diagram=DiagramSpec(),
        image=IMAGE,
        recipe="",
        root=root,
        options=Options(),
        settings=Settings(),
        opening=time.perf_counter() - started,
    )
    planned = plan_jobs(wish, lambda text: None)
    assert planned is not None
    return f"{len(planned.plan.numbers)} shards of {planned.plan.shard_samples}"


def open_plan(root: Path, samples: int) -> str:
    """What a worker does before its first shard."""
    planned = planned_of(root)
    planned.build()
    planned.check(planned.source(print))
    return ""


def write(planned: Planned, build: Build, shards: list[int]) -> None:
    """Shards as they would be, but for their numbers."""
    source = planned.source(print)
    build_shard(planned.task(build, source, 0))
    record = record_of(build, 0)
    last = build.shards - 1
    for k in shards:
        if k == last:
            build_shard(planned.task(build, source, k))
        elif k:
            data = {
                column.shard_file(k): (build.path / column.shard_file(0)).read_bytes()
                for column in build.blueprint.columns
            }
            write_files(build, k, data, record.status, record.statistics, record.seconds)


def half(root: Path, samples: int) -> str:
    """Write every other shard."""
    planned = planned_of(root)
    write(planned, planned.build(), planned.plan.numbers[::2])
    return ""


def rest(root: Path, samples: int) -> str:
    """Write the other shards."""
    planned = planned_of(root)
    write(planned, planned.build(), planned.plan.numbers)
    return ""


def status(root: Path, samples: int) -> str:
    """How far it is."""
    found = status_of(planned_of(root))
    return f"{len(found.done)} shards done, {len(found.missing)} missing"


def finish(root: Path, samples: int) -> str:
    """The manifest."""
    planned = planned_of(root)
    manifest = finish_plan(planned, print).manifest
    assert manifest is not None
    found = [path for path in planned.store().rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in found)
    return f"{len(found)} files, {size / 1e6:.0f} MB"


WORK: dict[str, Callable[[Path, int], str]] = {
    "plan": plan,
    "open": open_plan,
    "half": half,
    "status": status,
    "resume": plan,
    "rest": rest,
    "finish": finish,
}


def measured(phase: str, root: Path, samples: int) -> tuple[float, float, str]:
    """Seconds, peak GiB and what a phase says, in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.simulated", "--samples", str(samples)]
    done = subprocess.run(
        [*words, "--phase", phase, "--root", str(root)], stdout=subprocess.PIPE, check=True
    )
    seconds, peak, said = json.loads(done.stdout)
    return seconds, peak, said


@click.command()
@click.option("--samples", default=1_280_000, show_default=True)
@click.option("--phase", type=click.Choice(PHASES), hidden=True)
@click.option("--root", type=click.Path(path_type=Path), hidden=True)
def main(samples: int, phase: str | None, root: Path | None) -> None:
    """Print seconds and memory of every phase."""
    KINDS["invented"] = INVENTED
    if phase is not None and root is not None:
        started = time.perf_counter()
        said = WORK[phase](root, samples)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        click.echo(json.dumps([time.perf_counter() - started, peak, said]))
        return
    for line in heading(("numpy", "zarr")):
        click.echo(line)
    with tempfile.TemporaryDirectory() as place:
        for name in PHASES:
            seconds, peak, said = measured(name, Path(place) / "cache", samples)
            if name not in UNCOUNTED:
                click.echo(f"{name:<8} {seconds:6.1f} s  {peak:5.2f} GiB  {said}")


if __name__ == "__main__":
    main()
