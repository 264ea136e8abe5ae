"""A source and two specs to a finished store: begin, build each missing shard, finish."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache import catalogue
from pi_cache.errors import CorruptStore, InvalidSpec, StoreNotFound, UnfinishedStore
from pi_cache.integrity import verify
from pi_cache.layout import Column, Layout, SampleTable, standard_columns
from pi_cache.ledger import Build, finish, missing_shards, open_build
from pi_cache.manifest import StoreManifest, merged
from pi_cache.reader import Store, open_store
from pi_cache.shards import encode
from pi_cache.specs import DiagramSpec, ImageSpec, StoreSpec
from pipeline.diagrams import engine_of
from pipeline.executors import EXECUTORS, granted_cores, single_threaded
from pipeline.fields import channel_names, points_at_most
from pipeline.plan import Cost, Plan, choose_shard_samples, spread
from pipeline.shard import (
    USABLE,
    Clock,
    ShardResult,
    ShardTask,
    build_shard,
    diagrams_of,
    images_of,
    warm,
)
from pipeline.sources.base import Source, read_samples

RAGGED_POINTS = 65_536
"""Room for the points of one diagram where lengths vary."""
MEASURED = 24
MEASURED_SECONDS = 3.0
"""A few samples are timed before a build: so many, or as many as these seconds allow."""
SHORT_BUILD = 10.0
"""Seconds below which a pool of processes takes longer to start than it saves."""
SCANNED = 1024
"""Samples held at a time while a data set is scanned."""
MAPPED_ROWS = 512
"""Samples whose images fill whole memory pages, whatever their type."""

Progress = Callable[[int, int, int], None]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to build. None of it changes a number in the store."""

    executor: str | None = None
    workers: int | None = None
    scheduler: str | None = None
    shard_samples: int | None = None
    with_inputs: bool = True
    mapped: bool = False

    def __post_init__(self) -> None:
        if self.executor is not None and self.executor not in EXECUTORS:
            raise InvalidSpec(f"executor must be one of {', '.join(EXECUTORS)}")
        for name in ("workers", "shard_samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidSpec(f"{name} must be at least 1, got {value}")
        if self.scheduler is not None and self.executor != "dask":
            raise InvalidSpec("scheduler goes with executor dask")


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What a build did.

    seconds: the work (identify, shards, finish) without start-up. times: seconds by part; those
    that begin with `core_` are added up over the workers. peak_memory: bytes, of one worker.
    """

    manifest: StoreManifest
    path: Path
    found: bool = False
    kept: int = 0
    built: int = 0
    reused_diagrams: bool = False
    seconds: float = 0.0
    times: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0
    executor: str = "serial"
    workers: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        manifest = self.manifest
        return {
            "key": manifest.key,
            "path": str(self.path),
            "samples": manifest.samples,
            "status": dict(manifest.status),
            "seconds": round(self.seconds, 3),
            "times": {name: round(value, 3) for name, value in self.times.items()},
            "digest": manifest.digest,
            "files": sum(1 for file in self.path.rglob("*") if file.is_file()),
            "bytes": manifest.size,
            "shards": manifest.shards,
            "kept": self.kept,
            "built": self.built,
            "found": self.found,
            "reused_diagrams": self.reused_diagrams,
            "executor": self.executor,
            "workers": self.workers,
            "peak_memory": self.peak_memory,
            "statistics": dict(manifest.statistics),
        }


def build(
    source: Source,
    diagram: DiagramSpec,
    image: ImageSpec,
    *,
    root: Path,
    options: Options | None = None,
    progress: Progress | None = None,
    say: Say = lambda text: None,
) -> BuildReport:
    """The finished store of these specs: found, gone on with, or built from the start.

    progress is called with the shards done, the shards in all and the samples just done; say with
    a line of talk. Raises any PiCacheError; what was finished is kept, and calling again goes on.
    """
    options = options or Options()
    clock = Clock()
    with clock("identify"):
        spec = StoreSpec(source=source.spec(), diagram=diagram, image=image)
        engine_of(spec.diagram)
        found = find_finished(root, spec, say)
    if found is not None:
        return BuildReport(manifest=found.manifest, path=found.path, found=True)
    dataset_max = None
    if image.normalise == "dataset-max":
        dataset_max = _dataset_max(source, diagram, image, root, options, progress, say)
    with clock("prepare"):
        donor = catalogue.with_diagrams(root, spec)
        begun = prepare(source, spec, root=root, options=options, say=say, measured=donor is None)
        tasks = _tasks(source, begun, donor, dataset_max)
    kept = begun.shards - len(tasks)
    if donor is not None:
        say(f"diagrams are taken from {donor}: no topology is computed")
    if kept:
        say(f"{kept} of {begun.shards} shards are kept from an earlier run")
    executor, workers = choose_executor(options, source, spec, tasks)
    with clock("running"):
        results = _run(tasks, spec, executor, workers, options.scheduler, kept, progress)
    with clock("finish"):
        manifest = finish(begun, versions=library_versions(spec.diagram.engine))
    if results:
        first, last = min(r.started for r in results), max(r.stopped for r in results)
        clock.seconds["shards"] = last - first
    clock.seconds["start_up"] = clock.seconds.pop("running") - clock.seconds.get("shards", 0.0)
    work = sum(clock.seconds.get(name, 0.0) for name in ("identify", "shards", "finish"))
    by_step = merged(r.seconds for r in results)
    return BuildReport(
        manifest=manifest,
        path=begun.path,
        kept=kept,
        built=len(results),
        reused_diagrams=donor is not None,
        seconds=work,
        times=clock.seconds | {f"core_{name}": spent for name, spent in by_step.items()},
        peak_memory=max((r.peak_memory for r in results), default=0),
        executor=executor,
        workers=workers,
    )


def find_finished(root: Path, spec: StoreSpec, say: Say = lambda text: None) -> Store | None:
    """The finished store of this spec with every byte as it was written, or None."""
    try:
        store = open_store(root / "stores" / spec.key)
    except (StoreNotFound, UnfinishedStore):
        return None
    except CorruptStore as error:
        say(f"damaged, and built again where it is: {error}")
        return None
    damage = [finding for finding in verify(store.path) if finding.kind != "orphan"]
    for finding in damage:
        say(f"damaged, and built again: {finding}")
    return None if damage else store


def prepare(
    source: Source,
    spec: StoreSpec,
    *,
    root: Path,
    options: Options,
    say: Say = lambda text: None,
    measured: bool = True,
) -> Build:
    """The store's folder with all but its shards: as an earlier run left it, or begun now.

    measured: whether a few samples are timed to choose the size of a shard.
    """
    from pi_cache.store import begin  # zarr: only who begins a store waits for its import

    before = find_begun(root, spec)
    if before is not None:
        shard_samples = before.layout.shard_samples
    elif options.shard_samples is not None:
        shard_samples = options.shard_samples
    else:
        seconds = measure(source, spec).seconds if measured else 0.0
        shard_samples = choose_shard_samples(len(source), seconds)
    if before is None:
        say(explain_miss(root, spec))
    table = SampleTable(
        ids=source.ids,
        labels=source.labels,
        groups=source.groups if any(source.groups) else None,
        splits=source.splits if any(source.splits) else None,
        label_names=source.label_names,
    )
    attributes = {
        "channels": channel_names(source, spec.diagram),
        "source": {name: getattr(source, name) for name in ("kind", "citation", "licence")},
    }
    columns = store_columns(source, spec, with_inputs=options.with_inputs)
    layout = _layout(source, spec, shard_samples, mapped=options.mapped)
    return begin(root, spec, table, columns, layout=layout, attributes=attributes)


def find_begun(root: Path, spec: StoreSpec) -> Build | None:
    """The store of this spec as an earlier run began it, or None."""
    try:
        return open_build(root / "stores" / spec.key)
    except StoreNotFound:
        return None


def explain_miss(root: Path, spec: StoreSpec) -> str:
    """Why no finished store serves: which fields differ from the nearest one."""
    nearest = catalogue.nearest(root, spec)
    if nearest is None:
        return f"no store under {root} yet"
    entry, changed = nearest
    listed = ", ".join(f"{name} {old!r} -> {new!r}" for name, (old, new) in changed.items())
    return f"not in the cache; the nearest store, {entry.key[:12]}, differs in {listed}"


def store_columns(source: Source, spec: StoreSpec, *, with_inputs: bool) -> tuple[Column, ...]:
    """The arrays of the store; inputs only where all samples have one shape."""
    inputs = None
    if with_inputs and None not in source.shape:
        dimensions = {
            "image": ("row", "column", "channel"),
            "signal": ("time", "channel"),
            "cloud": ("point", "coordinate"),
        }[source.sample]
        inputs = Column(
            name="inputs",
            shape=tuple(size or 0 for size in source.shape),
            dtype=str(source.dtype),
            dimensions=dimensions,
            attributes={} if source.maximum is None else {"maximum": source.maximum},
        )
    channels = len(channel_names(source, spec.diagram))
    return standard_columns(spec.image, channels, inputs=inputs, points=spec.diagram.precision)


def _layout(source: Source, spec: StoreSpec, shard_samples: int, *, mapped: bool) -> Layout:
    most = points_at_most(source, spec.diagram)
    if most is None:
        most = RAGGED_POINTS * len(channel_names(source, spec.diagram))
    if mapped:
        rows = -(-shard_samples // MAPPED_ROWS) * MAPPED_ROWS
        return Layout.mapped(shard_samples=rows, point_capacity=rows * most)
    return Layout(shard_samples=shard_samples, point_capacity=shard_samples * most)


def _tasks(
    source: Source, begun: Build, donor: Path | None, dataset_max: float | None
) -> list[ShardTask]:
    missing = missing_shards(begun)
    ranges = [begun.sample_range(k) for k in missing]
    return [
        ShardTask(begun, k, source[r.start : r.stop], donor, dataset_max)
        for k, r in zip(missing, ranges, strict=True)
    ]


def _run(
    tasks: list[ShardTask],
    spec: StoreSpec,
    executor: str,
    workers: int,
    scheduler: str | None,
    kept: int,
    progress: Progress | None,
) -> list[ShardResult]:
    """Every task, by the executor. Kernels are compiled here first: workers load them."""
    results: list[ShardResult] = []
    if not tasks:
        return results
    with single_threaded():
        warm(spec)
        run = EXECUTORS[executor]
        for result in run(build_shard, tasks, workers=workers, scheduler=scheduler):
            results.append(result)
            if progress is not None:
                progress(kept + len(results), kept + len(tasks), result.samples)
    return results


def choose_executor(
    options: Options, source: Source, spec: StoreSpec, tasks: list[ShardTask]
) -> tuple[str, int]:
    """The executor asked for; else a pool where there is work for one, else this process."""
    workers = options.workers or granted_cores()
    useful = max(min(workers, len(tasks)), 1)
    if options.executor is not None:
        return options.executor, 1 if options.executor == "serial" else useful
    if useful == 1 or (options.workers is None and _short(source, spec, tasks)):
        return "serial", 1
    return "joblib", useful


def _short(source: Source, spec: StoreSpec, tasks: list[ShardTask]) -> bool:
    samples = sum(len(task.source) for task in tasks)
    if tasks and tasks[0].donor is not None:
        return samples < SHORT_BUILD * 1000
    return samples * measure(source, spec).seconds < SHORT_BUILD


def _dataset_max(
    source: Source,
    diagram: DiagramSpec,
    image: ImageSpec,
    root: Path,
    options: Options,
    progress: Progress | None,
    say: Say,
) -> float:
    """The largest value of all raw images, from a store of them, which also has the diagrams."""
    say("dataset-max: first a store of the images as they are, to find their largest value")
    raw = image.replace(normalise="none", dtype="float32", rounding="nearest")
    report = build(source, diagram, raw, root=root, options=options, progress=progress, say=say)
    return float(report.manifest.statistics["max_value"])


def measure(source: Source, spec: StoreSpec) -> Cost:
    """Seconds and bytes of one sample, from a few that are spread over the source."""
    clock, stop = Clock(), time.perf_counter() + MEASURED_SECONDS
    images, points, count = [], 0, 0
    with single_threaded():
        warm(spec)
        for position in spread(len(source), MEASURED):
            one = source[position : position + 1]
            with clock("read"):
                samples = read_samples(one)
            diagrams, status, _ = diagrams_of(samples, one, spec.diagram, clock)
            image, _ = images_of(
                diagrams, status, spec.image, clock, 1.0 if _needs_max(spec.image) else None
            )
            images.append(image)
            points += len(diagrams.points)
            count += 1
            if time.perf_counter() > stop:
                break
    columns = store_columns(source, spec, with_inputs=True)
    form = columns[0].shard_format(Layout(shard_samples=count))
    with clock("encode"):
        encoded = len(encode(np.concatenate(images), form))
    inputs = sum(column.row_bytes for column in columns if column.name == "inputs")
    point_bytes = points / count * 2 * np.dtype(spec.diagram.precision).itemsize
    each = {name: seconds / count for name, seconds in clock.seconds.items()}
    return Cost(
        read=each.get("read", 0.0),
        diagrams=each.get("fields", 0.0) + each.get("diagrams", 0.0),
        images=each.get("images", 0.0),
        encode=each.get("encode", 0.0),
        points=points / count,
        stored=encoded / count + point_bytes + inputs,
        held=columns[0].row_bytes + 2 * point_bytes + 2 * inputs,
    )


def _needs_max(image: ImageSpec) -> bool:
    return image.normalise == "dataset-max"


def make_plan(source: Source, spec: StoreSpec, *, options: Options) -> Plan:
    """What `build` would do, measured on a few samples; writes nothing."""
    engine_of(spec.diagram)
    cost = measure(source, spec)
    columns = store_columns(source, spec, with_inputs=options.with_inputs)
    shard_samples = options.shard_samples or choose_shard_samples(len(source), cost.seconds)
    layout = _layout(source, spec, shard_samples, mapped=options.mapped)
    tables = 2 + any(source.groups) + any(source.splits)
    return Plan(
        spec=spec,
        samples=len(source),
        shard_samples=layout.shard_samples,
        shard_arrays=len(columns),
        tables=tables,
        cost=cost,
        workers=1 if options.executor == "serial" else options.workers or granted_cores(),
    )


def largest_magnitude(source: Source, *, centre: bool) -> float:
    """The largest |value| of all usable signals, each channel's mean subtracted first if asked.

    What `--scale dataset-max` stands for; a number in the spec from then on.
    """
    largest = 0.0
    for start in range(0, len(source), SCANNED):
        samples = read_samples(source[start : start + SCANNED])
        for position in np.flatnonzero(np.isin(samples.status, USABLE)):
            signal = np.asarray(samples.arrays[position], np.float64)  # (T, C)
            values = signal - signal.mean(axis=0) if centre else signal
            largest = max(largest, float(np.abs(values).max()))
    return largest


def library_versions(engine: str) -> dict[str, str]:
    """Versions of what computes, by name, for the record."""
    names = {"native": [], "ripser": ["ripser"], "gudhi": ["gudhi"], "giotto": ["giotto-tda"]}
    found = {}
    for name in ("pi-cache", "numba", "scipy", *names[engine]):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
