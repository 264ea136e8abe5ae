"""Before the first shard: what a sample costs, how a store is cut, its folder begun."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pi_cache import catalogue
from pi_cache.errors import InvalidSpec, StoreNotFound
from pi_cache.layout import Column, Layout, SampleTable, standard_columns
from pi_cache.ledger import Build, open_build
from pi_cache.shards import encode
from pi_cache.specs import ImageSpec, StoreSpec
from pipeline.diagrams import engine_of
from pipeline.executors import EXECUTORS, granted_cores, single_threaded
from pipeline.fields import channel_names, points_at_most
from pipeline.plan import Cost, Plan, choose_shard_samples, spread
from pipeline.shard import USABLE, Clock, diagrams_of, images_of, warm
from pipeline.sources.base import Source, read_samples

RAGGED_POINTS = 65_536
"""Room for the points of one diagram where lengths vary."""
MEASURED = 24
MEASURED_SECONDS = 3.0
"""A few samples are timed before a build: so many, or as many as these seconds allow."""
SCANNED = 1024
"""Samples held at a time while a data set is scanned."""
MAPPED_ROWS = 512
"""Samples whose images fill whole memory pages, whatever their type."""

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
    listed = ", ".join(f"{name} {_short(a)} -> {_short(b)}" for name, (a, b) in changed.items())
    return f"not in the cache; the nearest store, {entry.key[:12]}, differs in {listed}"


def _short(value: object) -> str:
    """A value for a message; of a digest, its start."""
    return value[:12] if isinstance(value, str) and len(value) == 64 else repr(value)


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
