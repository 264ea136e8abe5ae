"""Before the first shard: what a sample costs, how a store is cut, its folder begun."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache import catalogue
from pi_cache.errors import CorruptStore, InvalidSpec, SampleError, SourceError, StoreNotFound
from pi_cache.keeping.space import check_space, room_of, shortages
from pi_cache.layout import Column, Layout, SampleTable, gramian_columns, standard_columns
from pi_cache.ledger import Build, open_build
from pi_cache.manifest import Blueprint
from pi_cache.quantities import value_text
from pi_cache.root import STORES
from pi_cache.shards import encode
from pi_cache.specs import DiagramSpec, ImageSpec, Status, StoreSpec
from pipeline.diagrams import compute_diagrams, tiny_fields
from pipeline.engines import engine_of
from pipeline.engines.libraries import LONG
from pipeline.engines.limits import (
    coordinates_of,
    count_edges,
    estimate,
    overtime,
    pairs_of,
    refusal,
    size_of,
)
from pipeline.executors import EXECUTORS, granted_cores, single_threaded
from pipeline.fields import (
    channel_names,
    field_size,
    make_fields,
    points_at_most,
    short_for_embedding,
)
from pipeline.gramian.axes import extent_of
from pipeline.gramian.shard import block_memory, fields_of
from pipeline.gramian.shard import channel_names as gramian_channels
from pipeline.growth import growth_of
from pipeline.plan import CHILD_MEMORY, Cost, Plan, choose_shard_samples
from pipeline.shard import Clock, diagrams_of, images_of, warm
from pipeline.sources.base import Samples, Source, read_samples
from pipeline.sources.windowreader import WindowReader
from pipeline.statistics import USABLE

PLACES = 12
"""A few samples are computed before a build, from so many places of the source..."""
MEASURED_SECONDS = 0.1
"""...as many as take about so long, and one a place..."""
LONGEST_MEASURED = 3.0
"""...unless these take longer than that..."""
MOST_MEASURED = 512
"""...and at most so many."""
MEASURING_LIMIT = 20.0
"""Seconds a field may take while it is measured; one that takes longer counts as long as that."""
ANNOUNCED = 5.0
"""Seconds of measuring that are announced before they pass."""
START_LIMIT = 120.0
"""Seconds for a first, tiny field, whatever the limit of others: an engine is started by it."""
WRITE_RATE = 3e8
"""Bytes a second that a worker hashes, writes and reads back, about."""
SCANNED = 1024
"""Samples held at a time while a data set is scanned."""
MAPPED_ROWS = 512
"""Samples whose images fill whole memory pages, whatever their type."""

SHORT_BUILD = 10.0
"""Seconds below which a pool of processes takes longer to start than it saves."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to build. None of it changes a number in the store.

    scheduler, scheduler_file: of Dask, its address or the file that it writes it into.
    time_limit: seconds a field (a channel) of a sample may take, 0 or None for any; a sample with
    one that takes longer has the status TIMEOUT. retry: compute shards again that hold such a
    sample, or one with the status CRASH. space_check: refuse before any work what the file system
    or the budget of the cache has no room for. notes: what a store that is begun says beside its
    spec, by name: plain JSON values, such as how the numbers of a spec were chosen.
    """

    executor: str | None = None
    workers: int | None = None
    scheduler: str | None = None
    scheduler_file: Path | None = None
    shard_samples: int | None = None
    chunk_samples: int | None = None
    with_inputs: bool = True
    mapped: bool = False
    space_check: bool = True
    time_limit: float | None = 600.0
    retry: bool = False
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.time_limit is not None and not 0 <= self.time_limit < float("inf"):
            raise InvalidSpec(f"time_limit must be seconds, or 0 for none, got {self.time_limit}")
        if self.executor is not None and self.executor not in EXECUTORS:
            raise InvalidSpec(f"executor must be one of {', '.join(EXECUTORS)}")
        for name in ("workers", "shard_samples", "chunk_samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidSpec(f"{name} must be at least 1, got {value}")
        if self.mapped and self.chunk_samples not in (None, 1):
            raise InvalidSpec("chunk_samples goes with compressed shards; mapped ones have 1")
        if self.scheduler_place is not None and self.executor != "dask":
            raise InvalidSpec("scheduler and scheduler_file go with executor dask")
        if self.scheduler is not None and self.scheduler_file is not None:
            raise InvalidSpec("scheduler and scheduler_file: give one of the two")

    @property
    def scheduler_place(self) -> str | Path | None:
        """The address of a Dask scheduler, or the file that holds it; None for one of our own."""
        return self.scheduler if self.scheduler_file is None else self.scheduler_file


def prepare(
    source: Source,
    spec: StoreSpec,
    cost: Cost | None,
    *,
    root: Path,
    options: Options,
    donor: Path | None = None,
    following: ImageSpec | None = None,
    say: Say = lambda text: None,
) -> Build:
    """The store's folder with all but its shards: as an earlier run left it, or begun now.

    cost: of a sample, to choose the size of a shard by; None where that is settled or cheap.
    donor: a store with the same diagrams. following: another image of these diagrams, whose store
    is to be built next, and for which there must be room too.
    Raises StorageFull where there is too little of it, before anything is written.
    """
    from pi_cache.store import begin  # zarr: only who begins a store waits for its import

    before = find_begun(root, spec)
    attributes = {
        "channels": image_channels(source, spec),
        "source": {name: getattr(source, name) for name in ("kind", "citation", "licence")},
        "inputs": {name: list(getattr(source, name)) for name in ("channels", "units")},
    }
    if source.id_form:
        attributes["ids"] = source.id_form
    attributes |= options.notes
    if before is not None:
        columns, layout = before.blueprint.columns, before.layout
        for line in differing_layout(before.blueprint, options):
            say(line)
    else:
        say(explain_miss(root, spec))
        columns = store_columns(source, spec, with_inputs=options.with_inputs)
        layout = choose_layout(source, spec, cost, options)
    if options.space_check:
        also = _columns_of(following, source, spec, options)
        grows = growth_of(
            source, columns, layout, before=before, donor=donor, also=also, retry=options.retry
        )
        if cost is None and not grows.is_known and shortages(room_of(root), grows.need()):
            # As large as that only where nothing is compressed: better to measure than to refuse.
            cost = measure(source, spec, time_limit=options.time_limit, say=say)
        check_space(root, grows.need(cost))
    return begin(root, spec, table_of(source), columns, layout=layout, attributes=attributes)


def image_channels(source: Source, spec: StoreSpec) -> list[str]:
    """One name an image channel of the store."""
    if spec.gramian is not None:
        return gramian_channels(source, spec.gramian)
    return channel_names(source, spec.diagram)


def table_of(source: Source) -> SampleTable:
    """Who the samples of a source are, as a store keeps it."""
    return SampleTable(
        ids=source.ids,
        labels=source.labels,
        groups=source.groups if any(source.groups) else None,
        splits=source.splits if any(source.splits) else None,
        label_names=source.label_names,
    )


def _columns_of(
    image: ImageSpec | None, source: Source, spec: StoreSpec, options: Options
) -> tuple[Column, ...]:
    """The arrays of a store of another image; none without one."""
    if image is None:
        return ()
    return store_columns(source, spec.replace(image=image), with_inputs=options.with_inputs)


def raw_image(image: ImageSpec) -> ImageSpec:
    """The images as they are before they are divided by the largest value of all."""
    return image.replace(normalise="none", dtype="float32")


def _raw_image_to_build(root: Path, spec: StoreSpec) -> ImageSpec | None:
    """The raw images that are built before this store, where they are not in the cache."""
    if spec.image.normalise != "dataset-max":
        return None
    raw = spec.replace(image=raw_image(spec.image))
    entry = catalogue.read_entry(root / STORES / raw.key)
    return None if entry.state == "finished" else raw.image


def differing_layout(blueprint: Blueprint, options: Options) -> list[str]:
    """A line for every option that a store, once begun, no longer follows."""
    layout, columns = blueprint.layout, {column.name for column in blueprint.columns}
    lines = []
    wanted = options.shard_samples
    if wanted is not None and -(-wanted // layout.chunk_samples) * layout.chunk_samples != (
        layout.shard_samples
    ):
        lines.append(f"shard-samples {wanted}: this store has {layout.shard_samples} a shard")
    if options.chunk_samples not in (None, layout.chunk_samples):
        chunk = layout.chunk_samples
        lines.append(f"chunk-samples {options.chunk_samples}: this store has {chunk} a chunk")
    if options.mapped and layout.codec != "none":
        lines.append("mapped: this store is compressed")
    if not options.with_inputs and "inputs" in columns:
        lines.append("no-inputs: this store holds the inputs")
    return [f"{line}, and keeps it; use another --cache for another layout" for line in lines]


def find_begun(root: Path, spec: StoreSpec) -> Build | None:
    """The store of this spec as an earlier run began it, or None."""
    try:
        return open_build(root / "stores" / spec.key)
    except (StoreNotFound, CorruptStore):  # `begin` mends what is damaged
        return None


def explain_miss(root: Path, spec: StoreSpec) -> str:
    """Why no finished store serves: which fields differ from the nearest one."""
    nearest = catalogue.nearest(root, spec)
    if nearest is None:
        return f"no store under {root} yet"
    entry, changed = nearest
    listed = ", ".join(
        f"{name} {value_text(a)} -> {value_text(b)}" for name, (a, b) in changed.items()
    )
    return f"not in the cache; the nearest store, {entry.key[:12]}, differs in {listed}"


def store_columns(source: Source, spec: StoreSpec, *, with_inputs: bool) -> tuple[Column, ...]:
    """The arrays of the store; inputs only where all samples have one shape."""
    inputs = None
    if with_inputs and None not in source.shape:
        dimensions = {
            "image": ("row", "column", "channel"),
            "signal": ("time", "channel"),
            "cloud": ("point", "coordinate"),
            "distances": ("point", "other_point"),
        }[source.sample]
        inputs = Column(
            name="inputs",
            shape=tuple(size or 0 for size in source.shape),
            dtype=str(source.dtype),
            dimensions=dimensions,
            attributes={} if source.maximum is None else {"maximum": source.maximum},
        )
    channels = len(image_channels(source, spec))
    if spec.gramian is not None:
        extent, unit = extent_of(source)
        return gramian_columns(spec.gramian, channels, extent=extent, unit=unit, inputs=inputs)
    return standard_columns(spec.image, channels, inputs=inputs, points=spec.diagram.precision)


def choose_layout(source: Source, spec: StoreSpec, cost: Cost | None, options: Options) -> Layout:
    """How the store is cut into files. cost: of a sample, where the size of a shard follows it."""
    columns = store_columns(source, spec, with_inputs=options.with_inputs)
    held = sum(column.row_bytes for column in columns if not column.ragged)
    rows = options.shard_samples or choose_shard_samples(
        len(source), cost.seconds if cost else 0.0, cost.held if cost else held
    )
    if options.mapped:
        rows = -(-rows // MAPPED_ROWS) * MAPPED_ROWS
    chunk = options.chunk_samples or Layout().chunk_samples
    rows = Layout(shard_samples=rows, chunk_samples=chunk).shard_samples  # whole chunks
    capacity = 1  # of no effect where there are no diagrams
    if spec.gramian is None:
        capacity = rows * points_at_most(_largest_shape(source), source, spec.diagram)
    if options.mapped:
        return Layout.mapped(shard_samples=rows, point_capacity=capacity)
    return Layout(shard_samples=rows, chunk_samples=chunk, point_capacity=capacity)


def _largest_shape(source: Source) -> tuple[int, ...]:
    """The shape of a sample, where lengths vary that of the longest one."""
    if None not in source.shape:
        return tuple(size or 0 for size in source.shape)
    shapes = [array.shape for array in read_samples(source).arrays]
    return tuple(max(sizes) for sizes in zip(*shapes, strict=True))


def check_size(source: Source, spec: StoreSpec) -> None:
    """Raise InvalidSpec where every sample is of one shape, and too large for the engine.

    So too where it is too short for a delay embedding.
    Where a longest edge is given, the number of edges is not known yet, and each sample is looked
    at by itself.
    """
    if None in source.shape or spec.gramian is not None:
        return
    diagram, shape = spec.diagram, _largest_shape(source)
    if diagram.embedding_dimension is not None and diagram.embedding_delay is not None:
        short = short_for_embedding(shape[0], diagram.embedding_dimension, diagram.embedding_delay)
        if short:
            raise InvalidSpec(f"no sample can be used: {short}")
    size = field_size(shape, diagram)
    why = refusal(diagram, size, None if diagram.max_length is None else 0.0)
    if why is not None:
        raise InvalidSpec(f"every sample is too large: {why}")


def measure(
    source: Source,
    spec: StoreSpec,
    *,
    with_inputs: bool = True,
    time_limit: float | None = None,
    say: Say = lambda text: None,
) -> Cost:
    """Seconds and bytes of one sample, from a few that are spread over the source.

    time_limit: as that of a build. say: told beforehand where this takes long, or the limit is
    likely to be too short, and afterwards where a sample takes longer than measuring allows.
    """
    if spec.gramian is None:
        for line in expectations(source, spec.diagram, time_limit):
            say(line)
    limit = min(time_limit or MEASURING_LIMIT, MEASURING_LIMIT)
    if spec.image.normalise == "dataset-max":  # as much work, and no maximum is known yet
        spec = spec.replace(image=spec.image.replace(normalise="own-max"))
    with single_threaded():
        warm(spec)
        if spec.gramian is None:
            start_engine(spec.diagram, limit)
        count, wanted, near = 0, 1, at_hand(source)
        while wanted > 2 * count:  # too few for their time to be that of one among many
            clock, parts = Clock(), places(near, wanted)
            samples, drawn, points, late = _compute(parts, spec, clock, limit)
            count = len(drawn)
            wanted = _affordable(clock.total() / count, len(near))
    if late and limit != time_limit:
        say(f"{late} of {count} measured samples took over {limit:g} s: all may take longer")
    columns = {c.name: c for c in store_columns(source, spec, with_inputs=with_inputs)}
    layout = Layout(shard_samples=count)
    with clock("encode"):
        stored = len(encode(drawn, columns["images"].shard_format(layout)))
        if "inputs" in columns:
            inputs = np.asarray(samples.arrays)
            stored += len(encode(inputs, columns["inputs"].shard_format(layout)))
    point_bytes = points / count * 2 * np.dtype(spec.diagram.precision).itemsize
    each = {name: seconds / count for name, seconds in clock.seconds.items()}
    if isinstance(source.reader, WindowReader) and source.reader.kept_from() == len(source):
        # Of each recording that was read for it, one window was measured.
        once = source.reader.seconds_of_workers(len(source), 1) / len(source)
        each["read"] = min(each["read"], once)
    return Cost(
        read=each.get("read", 0.0),
        diagrams=each.get("fields", 0.0) + each.get("diagrams", 0.0),
        images=each.get("images", 0.0),
        encode=each.get("encode", 0.0) + (stored / count + point_bytes) / WRITE_RATE,
        points=points / count,
        stored=stored / count + point_bytes,
        held=sum(c.row_bytes for c in columns.values() if not c.ragged) + 2 * point_bytes,
    )


def _affordable(seconds: float, samples: int) -> int:
    """How many of so many samples to compute, where one takes so long."""
    longest = max(PLACES * seconds, MEASURED_SECONDS)
    return min(int(min(longest, LONGEST_MEASURED) / seconds), MOST_MEASURED, samples)


def _compute(
    parts: list[Source],
    spec: StoreSpec,
    clock: Clock,
    time_limit: float | None,
) -> tuple[Samples, np.ndarray, int, int]:
    """The samples of all parts, their images, and the numbers of points and of late samples.

    They are computed together, as in a shard: the first cloud of a call takes longer than others.
    """
    with clock("read"):
        samples = joined([read_samples(part) for part in parts])
    source = replace(
        parts[0],  # only the reader is not that of all parts
        ids=[name for part in parts for name in part.ids],
        labels=np.concatenate([part.labels for part in parts]),
        groups=[name for part in parts for name in part.groups],
        splits=[name for part in parts for name in part.splits],
    )
    if spec.gramian is not None:
        columns, _, _ = fields_of(samples, source, spec.gramian, clock)
        return samples, columns["images"], 0, 0
    diagrams, status, _ = diagrams_of(samples, source, spec.diagram, clock, time_limit=time_limit)
    late = int(np.count_nonzero(status == Status.TIMEOUT))
    drawn, _, _ = images_of(diagrams, status, spec.image, clock)
    return samples, drawn, len(diagrams.points), late


def start_engine(spec: DiagramSpec, time_limit: float | None) -> None:
    """Compile it, or start its child process and import its library. Raises SampleError.

    time_limit: as that of the fields to come, which says where the engine runs.
    """
    compute_diagrams(tiny_fields(spec), spec, time_limit=START_LIMIT if time_limit else None)


def expectations(source: Source, spec: DiagramSpec, time_limit: float | None) -> list[str]:
    """Lines to say before measuring: that it takes long, and that fields may take too long."""
    if spec.filtration not in LONG:
        return []
    fields = _few_fields(source, spec)
    sizes = [size_of(field, spec) for field in fields]
    edges = [None if spec.max_length is None else count_edges(field, spec) for field in fields]
    needs = [
        estimate(spec, size, count, coordinates=coordinates_of(field, spec))
        for field, size, count in zip(fields, sizes, edges, strict=True)
    ]
    lines = []
    slowest = max(range(len(needs)), key=lambda k: needs[k].seconds, default=None)
    if slowest is not None:
        why = overtime(spec, sizes[slowest], needs[slowest], time_limit)
        lines += [] if why is None else [f"warning: {why}"]
    if sum(min(need.seconds, MEASURING_LIMIT) for need in needs) > ANNOUNCED:
        each = f"each field of them at most {MEASURING_LIMIT:g} s"
        lines.append(f"first a few samples are computed, to see how long one takes; {each}")
    return lines


def _few_fields(source: Source, spec: DiagramSpec) -> list[np.ndarray]:
    """The fields of a few usable samples, from all over the source."""
    found: list[np.ndarray] = []
    near = at_hand(source)
    for part in places(near, min(PLACES, len(near))):
        samples = read_samples(part)
        if samples.status[0] not in USABLE:
            continue
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                fields = make_fields(samples, part, spec)
        except SampleError:
            continue
        if fields.finite():
            found += list(fields)
    return found


def at_hand(source: Source) -> Source:
    """The samples that are read at once: of recordings those that are kept, else all.

    So that no whole recording is read again for the few windows that are measured.
    """
    first = source.reader.kept_from() if isinstance(source.reader, WindowReader) else 0
    return source[first:] if 0 < first < len(source) else source


def places(source: Source, wanted: int) -> list[Source]:
    """About so many samples, in runs from all over the source."""
    count = min(PLACES, wanted)
    run = wanted // count
    starts = (k * len(source) // count for k in range(count))
    return [source[start : start + run] for start in starts]


def joined(parts: list[Samples]) -> Samples:
    """Samples one after the other."""
    arrays: list[np.ndarray] = []
    problems: dict[int, str] = {}
    for part in parts:
        problems |= {len(arrays) + position: text for position, text in part.problems.items()}
        arrays += list(part.arrays)
    together = len({array.shape for array in arrays}) == 1
    status = np.concatenate([part.status for part in parts])
    return Samples(np.stack(arrays) if together else arrays, status, problems)


def make_plan(
    source: Source,
    spec: StoreSpec,
    *,
    options: Options,
    root: Path | None = None,
    say: Say = lambda text: None,
) -> Plan:
    """What `build` would do, measured on a few samples; writes nothing.

    root: where a store that was begun before has settled its layout. say: as for `measure`.
    """
    if spec.gramian is None:
        engine_of(spec.diagram)
    check_size(source, spec)
    cost = measure(
        source, spec, with_inputs=options.with_inputs, time_limit=options.time_limit, say=say
    )
    before = None if root is None else find_begun(root, spec)
    columns = store_columns(source, spec, with_inputs=options.with_inputs)
    layout = choose_layout(source, spec, cost, options) if before is None else before.layout
    columns = columns if before is None else before.blueprint.columns
    first = None if root is None else _raw_image_to_build(root, spec)
    grows = growth_of(
        source,
        columns,
        layout,
        before=before,
        also=_columns_of(first, source, spec, options),
        retry=options.retry,
    )
    shards = -(-len(source) // layout.shard_samples)
    executor, workers = choose_executor(options, len(source) * cost.seconds, shards)
    return Plan(
        spec=spec,
        samples=len(source),
        shard_samples=layout.shard_samples,
        shard_arrays=len(columns),
        tables=grows.tables,
        cost=cost,
        adds=grows.need(cost),
        workers=workers,
        reading_again=_reading_again(source, cost, layout.shard_samples, executor, workers),
        field_memory=_field_memory(source, spec, options.time_limit),
        reader_memory=getattr(source.reader, "memory", 0),
    )


def choose_executor(options: Options, seconds: float, shards: int) -> tuple[str, int]:
    """The executor asked for; else a pool where there is work for one, else this process.

    seconds: that the shards to be built take on one core, about.
    """
    workers = options.workers or granted_cores()
    useful = max(min(workers, shards), 1)
    if options.executor is not None:
        return options.executor, 1 if options.executor == "serial" else useful
    if useful == 1 or (options.workers is None and seconds < SHORT_BUILD):
        return "serial", 1
    return "joblib", useful


def _reading_again(
    source: Source, cost: Cost, shard_samples: int, executor: str, workers: int
) -> float:
    """Seconds that workers take together, beside the cost of samples, to read recordings anew.

    They have nothing of what this process keeps, and windows of one recording lie in the shards of
    several of them. This process reads again where it does not keep all.
    """
    reader = source.reader
    if not isinstance(reader, WindowReader) or (executor == "serial" and reader.kept_from() == 0):
        return 0.0
    spent = reader.seconds_of_workers(shard_samples, workers)
    if reader.kept_from() == len(source):  # then it is in the cost of a sample, once
        spent -= cost.read * len(source)
    return max(spent, 0.0)


def _field_memory(source: Source, spec: StoreSpec, time_limit: float | None) -> float:
    """Bytes that the computation of the largest field takes, with those of a child process."""
    if spec.gramian is not None:
        return block_memory(spec.gramian)
    return _diagram_memory(source, spec.diagram, time_limit)


def _diagram_memory(source: Source, spec: DiagramSpec, time_limit: float | None) -> float:
    """Bytes that the diagram of the largest field takes, with those of a child process.

    Where a longest edge is given, a cloud is taken to have the share of edges of the densest one of
    a few.
    """
    size, edges = field_size(_largest_shape(source), spec), None
    if spec.max_length is not None:
        shares = [
            count_edges(cloud, spec) / max(pairs_of(len(cloud)), 1)
            for cloud in _few_fields(source, spec)
        ]
        edges = max(shares, default=1.0) * pairs_of(size)
    child = spec.engine != "native" and spec.filtration in LONG and bool(time_limit)
    return estimate(spec, size, edges).memory + (CHILD_MEMORY if child else 0)


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
    if not 0 < largest < np.inf:
        raise SourceError(
            f"{source.location}: no scale, since no sample is usable or all are constant or huge"
        )
    return largest
