"""Compute some samples of a store again from their source, and compare every number.

Digests say that a store is what was written. Whether what was written is what the source gives can
only be seen this way. Diagrams, statuses and inputs must be equal. An image may differ in the last
bit of the stored type, since exponentials differ so between machines and libraries; that is counted
by itself.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pi_cache.integrity.verification import Finding, Recomputation
from pi_cache.ledger import Build
from pi_cache.reader import Check, Store, open_store
from pi_cache.sampling.samples import listed
from pi_cache.specs import RETRIED, Status
from pipeline.executors import run_as_needed, single_threaded
from pipeline.measuring import joined
from pipeline.progress import Progress
from pipeline.shard import Clock, ShardTask, columns_from, warm
from pipeline.sources.base import Source, read_samples
from pipeline.stored import (
    check_computed_here,
    check_same,
    dataset_max_of,
    other_words,
    source_of,
    time_limit_of,
)

BATCH = 64
"""Samples computed together, and compared."""
EACH_STATUS = 2
"""Samples of every status that are among those chosen, if there are so many."""


@dataclass(frozen=True)
class Batch:
    """Samples to compute and compare. source: these samples, one after the other."""

    path: Path
    check: Check
    samples: tuple[int, ...]
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Difference:
    """An array of a sample that is not what its source gives. largest: by how much, in words."""

    sample: int
    array: str
    text: str


@dataclass(frozen=True)
class Compared:
    """What came of a batch; see `Recomputation`."""

    samples: int
    left_out: int
    slightly: int
    largest: float
    differences: tuple[Difference, ...]


def recompute(
    path: Path,
    wanted: int,
    *,
    seed: int,
    source: str | None = None,
    check: Check = "first-touch",
) -> Recomputation:
    """Compare so many samples, chosen at random by the seed, with what their source gives.

    The tables are compared too, all of them. source: where the samples are now, as for
    `source_of`. check: as for `open_store`. Raises SourceError where the source has changed, and
    InvalidSpec where this release computes other numbers.
    """
    started = time.perf_counter()
    store = open_store(path, check=check)
    check_computed_here(store.spec)
    data = source_of(store.spec.source, source)
    check_same(store, data)
    status = store.read_all("status")
    chosen = choose(status, wanted, np.random.default_rng(seed))
    tried = [i for i in chosen if status[i] not in RETRIED]
    found = list(_compared(store, data, tried))
    differences = [one for batch in found for one in batch.differences]
    return Recomputation(
        samples=sum(batch.samples for batch in found),
        left_out=len(chosen) - len(tried) + sum(batch.left_out for batch in found),
        slightly=sum(batch.slightly for batch in found),
        largest=max((batch.largest for batch in found), default=0.0),
        seed=seed,
        seconds=time.perf_counter() - started,
        findings=[*_other_tables(store, data), *_findings(store, differences)],
    )


def choose(status: np.ndarray, wanted: int, rng: np.random.Generator) -> list[int]:
    """So many samples at random, ascending, with a few of every status among them."""
    order = rng.permutation(len(status))
    few = [order[status[order] == code][:EACH_STATUS] for code in np.unique(status)]
    first = np.concatenate(few)
    rest = order[~np.isin(order, first)]
    chosen: list[int] = np.concatenate([first, rest])[: max(wanted, 1)].tolist()
    return sorted(chosen)


def _other_tables(store: Store, data: Source) -> Iterator[Finding]:
    """Tables that do not say what the source says."""
    for table, number, names in other_words(store, data):
        text = f"{number:,} samples have others in the source: {names}"
        yield Finding("differs", f"data.zarr/{table}/c.0", text)


def _compared(store: Store, data: Source, samples: Sequence[int]) -> Iterator[Compared]:
    """What comes of every batch, as it is done."""
    parts = [tuple(samples[k : k + BATCH]) for k in range(0, len(samples), BATCH)]
    batches = [
        Batch(store.path, store.check, part, tuple(data[i : i + 1] for i in part)) for part in parts
    ]
    with Progress() as progress:
        for count, done in enumerate(run_as_needed(compare, batches), start=1):
            progress(count, len(batches), done.samples, len(samples))
            yield done


def compare(batch: Batch) -> Compared:
    """Compute the samples of a batch, and compare every array that the store has of them."""
    store = open_store(batch.path, check=batch.check)
    with single_threaded():
        warm(store.spec)
        columns = _compute(store, batch)
    late = np.isin(columns["status"], RETRIED)  # this machine gave up on them, the other did not
    kept = np.flatnonzero(~late)
    samples = [batch.samples[k] for k in kept]
    columns = {name: rows if name == "points" else rows[kept] for name, rows in columns.items()}
    slight, drawn = _other_images(store, samples, columns["images"])
    differences = [
        *_other_rows(store, samples, columns),
        *_other_diagrams(store, samples, columns),
        *drawn,
    ]
    return Compared(
        samples=len(samples),
        left_out=int(late.sum()),
        slightly=len(slight),
        largest=max(slight, default=0.0),
        differences=tuple(differences),
    )


def _compute(store: Store, batch: Batch) -> dict[str, np.ndarray]:
    """The arrays of these samples, as a build computes them."""
    first = batch.sources[0]
    samples = joined([read_samples(source) for source in batch.sources])
    source = replace(
        first,  # only the reader is not that of all
        ids=[name for one in batch.sources for name in one.ids],
        labels=np.concatenate([one.labels for one in batch.sources]),
        groups=[name for one in batch.sources for name in one.groups],
        splits=[name for one in batch.sources for name in one.splits],
    )
    task = ShardTask(
        build=Build(store.path, store.spec, store.manifest.blueprint),
        shard=0,
        source=source,
        dataset_max=dataset_max_of(store.manifest),
        time_limit=time_limit_of(store.manifest.statistics),
    )
    columns, _ = columns_from(task, samples, Clock())
    if "inputs" in store.columns:
        columns["inputs"] = np.asarray(samples.arrays)
    return columns


def _other_rows(
    store: Store, samples: Sequence[int], columns: dict[str, np.ndarray]
) -> Iterator[Difference]:
    """Statuses and inputs that are not equal."""
    stored, computed = store.read("status", samples), columns["status"]
    for k in np.flatnonzero(stored != computed).tolist():
        names = Status(stored[k]).name, Status(computed[k]).name
        yield Difference(samples[k], "status", "{}, the source gives {}".format(*names))
    if "inputs" in columns:
        rows = zip(samples, store.read("inputs", samples), columns["inputs"], strict=True)
        for sample, mine, theirs in rows:
            if mine.tobytes() != theirs.tobytes():
                yield Difference(sample, "inputs", "other values than in the source")


def _other_diagrams(
    store: Store, samples: Sequence[int], columns: dict[str, np.ndarray]
) -> Iterator[Difference]:
    """Diagrams that are not equal, point by point and in their order."""
    if not {"points", "offsets"} <= {column.name for column in store.manifest.columns}:
        return
    points, offsets = store.diagrams(samples)
    for sample, stored_ends, ends in zip(samples, offsets, columns["offsets"], strict=True):
        for channel, name in enumerate(store.channels):
            mine = points[stored_ends[channel] : stored_ends[channel + 1]]
            theirs = columns["points"][ends[channel] : ends[channel + 1]]
            if mine.tobytes() != theirs.tobytes():
                yield Difference(sample, "points", f"{name}: {_other_points(mine, theirs)}")


def _other_points(mine: np.ndarray, theirs: np.ndarray) -> str:
    if len(mine) != len(theirs):
        return f"{len(mine)} points, the source gives {len(theirs)}"
    with np.errstate(invalid="ignore"):  # both never die
        return f"points differ by up to {np.nanmax(np.abs(mine - theirs)):.3g}"


def _other_images(
    store: Store, samples: Sequence[int], images: np.ndarray
) -> tuple[list[float], list[Difference]]:
    """By how much images differ slightly, each; and those that differ by more."""
    slight: list[float] = []
    found: list[Difference] = []
    for sample, mine, theirs in zip(samples, store.read("images", samples), images, strict=True):
        for channel, name in enumerate(store.channels):
            steps = steps_between(mine[channel], theirs[channel])
            if steps.any():
                apart = np.abs(mine[channel].astype(np.float64) - theirs[channel])
                if steps.max() <= 1:
                    slight.append(float(np.nanmax(apart)))
                else:
                    text = f"{name}: differs by up to {np.nanmax(apart):.3g}"
                    found.append(Difference(sample, "images", text))
    return slight, found


def steps_between(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """How many neighbouring values of their type numbers are apart; infinite beside one NaN."""
    one, other = _ranks(mine), _ranks(theirs)
    far = one.astype(np.float64) - other.astype(np.float64)
    near = np.abs(far) < 2**53  # where the difference of whole numbers cannot overflow
    steps: np.ndarray = np.abs(np.where(near, one - other, far))
    lost = np.isnan(mine), np.isnan(theirs)
    steps[lost[0] & lost[1]] = 0
    steps[lost[0] ^ lost[1]] = np.inf
    return steps


def _ranks(values: np.ndarray) -> np.ndarray:
    """Whole numbers that rise by 1 from each value of the type to the next one; 0 of both zeros."""
    if values.dtype.kind != "f":
        return values.astype(np.int64)
    bits = np.abs(values).view(f"i{values.dtype.itemsize}").astype(np.int64)
    ranks: np.ndarray = np.where(np.signbit(values), -bits, bits)
    return ranks


def _findings(store: Store, differences: Sequence[Difference]) -> Iterator[Finding]:
    """One finding for every file that holds something else."""
    by_file: dict[str, list[Difference]] = defaultdict(list)
    for one in differences:
        k = one.sample // store.manifest.layout.shard_samples
        by_file[store.column(one.array).shard_file(k)].append(one)
    for name in sorted(by_file):
        texts = [
            f"sample {one.sample} ({store.ids[one.sample]}) {one.text}" for one in by_file[name]
        ]
        yield Finding("differs", name, listed(texts, "; "))
