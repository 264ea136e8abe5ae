"""What a build would do, measured on a few samples: shards, bytes, memory, time."""

from __future__ import annotations

from pathlib import Path

from pi_cache import catalogue
from pi_cache.errors import InvalidSpec
from pi_cache.root import STORES
from pi_cache.specs import DiagramSpec, ImageSpec, StoreSpec
from pipeline.buildoptions import Options, Say, choose_executor
from pipeline.cutting import choose_layout, largest_shape, raw_image, store_columns
from pipeline.engines import engine_of
from pipeline.engines.libraries import LONG
from pipeline.engines.limits import count_edges, estimate, pairs_of, refusal
from pipeline.fields import field_size, short_for_embedding
from pipeline.gramian.shard import block_memory
from pipeline.growth import growth_of
from pipeline.measuring import few_fields, measure
from pipeline.plan import CHILD_MEMORY, Cost, Plan
from pipeline.prepare import columns_of, find_begun
from pipeline.sources.base import Source
from pipeline.sources.windowreader import WindowReader


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
        also=columns_of(first, source, spec, options),
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


def check_size(source: Source, spec: StoreSpec) -> None:
    """Raise InvalidSpec where every sample is of one shape, and too large for the engine.

    So too where it is too short for a delay embedding.
    Where a longest edge is given, the number of edges is not known yet, and each sample is looked
    at by itself.
    """
    if None in source.shape or spec.gramian is not None:
        return
    diagram, shape = spec.diagram, largest_shape(source)
    if diagram.embedding_dimension is not None and diagram.embedding_delay is not None:
        short = short_for_embedding(shape[0], diagram.embedding_dimension, diagram.embedding_delay)
        if short:
            raise InvalidSpec(f"no sample can be used: {short}")
    size = field_size(shape, diagram)
    why = refusal(diagram, size, None if diagram.max_length is None else 0.0)
    if why is not None:
        raise InvalidSpec(f"every sample is too large: {why}")


def _raw_image_to_build(root: Path, spec: StoreSpec) -> ImageSpec | None:
    """The raw images that are built before this store, where they are not in the cache."""
    if spec.image.normalise != "dataset-max":
        return None
    raw = spec.replace(image=raw_image(spec.image))
    entry = catalogue.read_entry(root / STORES / raw.key)
    return None if entry.state == "finished" else raw.image


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
    size, edges = field_size(largest_shape(source), spec), None
    if spec.max_length is not None:
        shares = [
            count_edges(cloud, spec) / max(pairs_of(len(cloud)), 1)
            for cloud in few_fields(source, spec)
        ]
        edges = max(shares, default=1.0) * pairs_of(size)
    child = spec.engine != "native" and spec.filtration in LONG and bool(time_limit)
    return estimate(spec, size, edges).memory + (CHILD_MEMORY if child else 0)
