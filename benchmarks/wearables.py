"""A set of the form and size of PAMAP2, from text files to a fold: time, bytes, files and memory.

    python -m benchmarks.wearables [--small] [--recipe tda-kd-pamap2] [--workers 2]

28,949 windows of 40 channels are made, listed, planned, built as bytes and opened as folds, in a
folder that is thrown away. Each figure stands beside what bounds it: reading beside the bare parser
of NumPy, building beside the kernels, bytes beside those of the images as float64, opening beside
hashing the shards that the first batch touches.
"""

from __future__ import annotations

import gc
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import click
import numpy as np

from benchmarks.build_rate import KERNELS
from benchmarks.machine import duration, heading
from benchmarks.pamap2 import PEOPLE, SMALL, Person, write_set
from pi_cache.quantities import bytes_text
from pi_cache.reader import Store, open_store
from pi_cache.sampling.folds import leave_one_group_out
from pi_cache.specs import ImageSpec, StoreSpec
from pipeline.build import BuildReport, build
from pipeline.buildoptions import Options
from pipeline.images import render
from pipeline.plan import Plan
from pipeline.planning import make_plan
from pipeline.recipes import find_recipe
from pipeline.sources import open_source
from pipeline.sources.base import Source

BATCH = 64
LOOKED_AT = 500
"""Windows at most whose images are looked at for pixels that are ever lit."""
PARSED = 20_000
"""Rows of text that NumPy's parser is timed on."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Wearables:
    """One run. written, listing, planning, building: seconds. text: bytes of the files."""

    text: int
    rows: int
    written: float
    parsing: float
    listing: float
    source: Source
    planning: float
    plan: Plan
    report: BuildReport


@dataclass(frozen=True)
class Opening:
    """Seconds to open the store and to make its folds, and to read a first batch of one.

    hashing: to hash the shards that the batch lies in, as a first touch does. again: to read the
    batch when they are known.
    """

    folds: int
    opening: float
    first: float
    hashing: float
    again: float


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds that it takes, and what it gives."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def measure(folder: Path, people: tuple[Person, ...], recipe: str, workers: int) -> Wearables:
    """Make the set, and build it. Raises ValueError where it has not the published windows."""
    written, text = timed(lambda: write_set(folder / "data", people))
    rows, parsing = parse_rate(folder / "data")
    listing, source = timed(lambda: open_source(f"pamap2:{folder / 'data'}", windows="published"))
    check_counts(source, people)
    chosen = find_recipe(recipe)
    image = chosen.image.replace(dtype="uint8")
    options = Options(executor="joblib", workers=workers)
    spec = StoreSpec(source=source.spec(), diagram=chosen.diagram, image=image)
    planning, plan = timed(lambda: make_plan(source, spec, options=options))
    report = build(source, chosen.diagram, image, root=folder / "cache", options=options)
    return Wearables(text, rows, written, parsing, listing, source, planning, plan, report)


def parse_rate(folder: Path) -> tuple[int, float]:
    """Lines of all files, and the seconds that NumPy's parser would take for their text alone."""
    files = sorted((folder / "Protocol").iterdir())
    with files[0].open("rb") as file:
        lines = [line for line, _ in zip(file, range(PARSED), strict=False)]
    seconds, _ = timed(lambda: np.loadtxt(io.BytesIO(b"".join(lines)), comments=None))
    rows = sum(chunk.count(b"\n") for path in files for chunk in _chunks(path))
    return rows, seconds / len(lines) * rows


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(1 << 22), b"")


def check_counts(source: Source, people: tuple[Person, ...]) -> None:
    """Raise ValueError unless each person has the published windows, by class where known."""
    groups = np.asarray(source.groups)
    for person in people:
        mine = source.labels[groups == str(person.subject)]
        counts = tuple(np.bincount(mine, minlength=12)[: len(person.counts)].tolist())
        if len(mine) != person.windows or counts != person.counts:
            raise ValueError(f"subject {person.subject}: {len(mine)} windows, expected {person}")


def open_folds(path: Path) -> Opening:
    """Open a store and its folds, and read the first batch of the first one's training part."""
    opening, store = timed(lambda: open_store(path))
    making, folds = timed(lambda: leave_one_group_out(store))
    choosing, fold = timed(lambda: folds[0])
    batch = np.random.default_rng(0).permutation(fold.train)[:BATCH]
    first, _ = timed(lambda: store.read("images", batch))
    again, _ = timed(lambda: store.read("images", batch))
    hashing, _ = timed(lambda: _hash_touched(store, batch))
    return Opening(len(folds), opening + making + choosing, first, hashing, again)


def ever_lit(store: Store, image: ImageSpec) -> float:
    """The share of pixels that some window lights as a byte, drawn by a spec from its diagrams."""
    samples = np.unique(np.linspace(0, len(store) - 1, LOOKED_AT).astype(np.int64))
    points, offsets = store.diagrams(samples)  # (P, 2), (n, channels + 1)
    ends = np.append(offsets[:, :-1], offsets[-1, -1])
    images = render(points, ends, image.replace(dtype="uint8"))
    return float(images.any(axis=0).mean())


def _hash_touched(store: Store, batch: np.ndarray) -> None:
    """Hash the image shards of some samples, as reading them first does."""
    shard = store.manifest.layout.shard_samples
    column = store.column("images")
    for k in np.unique(np.asarray(batch) // shard).tolist():
        sha256((store.path / column.shard_file(k)).read_bytes())


def bytes_of(path: Path) -> dict[str, int]:
    """Bytes on disk by the parts of a store: each array of its data, and all else."""
    found: dict[str, int] = {}
    for file in path.rglob("*"):
        if file.is_file():
            parts = file.relative_to(path).parts
            name = parts[1] if parts[0] == "data.zarr" and len(parts) > 2 else "other"
            found[name] = found.get(name, 0) + file.stat().st_size
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def lines_of(run: Wearables, opened: Opening, lit: Mapping[str, float]) -> Iterator[str]:
    """The figures, a line each. lit: shares of pixels that are ever lit, by recipe."""
    report, plan = run.report, run.plan
    samples, channels = len(run.source), len(run.source.channels)
    image = plan.spec.image
    yield (
        f"set       {bytes_text(run.text)} of text, {run.rows:,} rows, written in"
        f" {duration(run.written)}; {samples:,} windows of {channels} channels, counts as published"
    )
    yield (
        f"listing   {duration(run.listing)}, {run.listing / run.parsing:.2f} times the bare parser"
        f" ({duration(run.parsing)}); {samples / run.listing:,.0f} windows/s"
    )
    said = plan.to_dict()
    yield (
        f"plan      in {duration(run.planning)}: {duration(said['seconds'])},"
        f" {bytes_text(said['bytes'])}, {said['files']} files,"
        f" {bytes_text(said['memory_per_worker'])} a worker"
    )
    busy = sum(value for name, value in report.times.items() if name.startswith("core_"))
    kernels = sum(report.times.get(name, 0.0) for name in KERNELS)
    yield (
        f"build     {duration(report.seconds)} with {report.workers} workers,"
        f" {report.seconds / said['seconds']:.2f} times the plan;"
        f" {samples / report.seconds:,.0f} windows/s,"
        f" {samples * channels / report.seconds:,.0f} images/s"
    )
    shares = ", ".join(
        f"{name.removeprefix('core_')} {duration(value)}"
        for name, value in report.times.items()
        if name.startswith("core_")
    )
    yield (
        f"workers   {report.seconds * report.workers / kernels:.2f} times the kernels"
        f" ({duration(kernels)} of {duration(busy)} busy: {shares})"
    )
    size = report.to_dict()["bytes"]
    wide = samples * channels * image.pixels**2 * 8
    parts = ", ".join(f"{name} {bytes_text(n)}" for name, n in bytes_of(report.path).items())
    yield (
        f"bytes     {bytes_text(size)}, {size / said['bytes']:.2f} times the plan, in"
        f" {report.to_dict()['files']} files; the images as float64 are {bytes_text(wide)}, so"
        f" {wide / size:.1f} times as many ({parts})"
    )
    yield (
        f"memory    {bytes_text(report.peak_memory)} at most in a worker,"
        f" {report.peak_memory / said['memory_per_worker']:.2f} times the plan"
    )
    shown = ", ".join(f"{share:.0%} by {name}" for name, share in lit.items())
    yield f"pixels    lit in some image of {min(LOOKED_AT, samples)} windows: {shown}"
    yield (
        f"fold      one of {opened.folds} opened in {duration(opened.opening)}; its first batch of"
        f" {BATCH} in {duration(opened.first)}, {opened.first / opened.hashing:.2f} times hashing"
        f" the shards it lies in; again in {duration(opened.again)}"
    )


@click.command(help=__doc__.splitlines()[0])
@click.option("--small", is_flag=True, help="Two people of minutes, for a quick look.")
@click.option("--recipe", default="tda-kd-pamap2", show_default=True)
@click.option("--workers", default=2, show_default=True)
def main(small: bool, recipe: str, workers: int) -> None:
    """Print the figures."""
    for line in heading(("numpy", "numba", "zarr")):
        click.echo(line)
    with tempfile.TemporaryDirectory() as place:
        run = measure(Path(place), SMALL if small else PEOPLE, recipe, workers)
        gc.collect()
        opened = open_folds(run.report.path)
        store, chosen = open_store(run.report.path), find_recipe(recipe)
        names = [name for name in (recipe, chosen.corrected) if name]
        lit = {name: ever_lit(store, find_recipe(name).image) for name in names}
        for line in lines_of(run, opened, lit):
            click.echo(line)


if __name__ == "__main__":
    main()
