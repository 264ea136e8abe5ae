"""How the store of a source is cut: its arrays, its tables, the size of its shards."""

from __future__ import annotations

from pi_cache.layout import Column, Layout, SampleTable, gramian_columns, standard_columns
from pi_cache.manifest import Blueprint
from pi_cache.specs import ImageSpec, StoreSpec
from pipeline.buildoptions import Options
from pipeline.fields import channel_names, points_at_most
from pipeline.gramian.axes import extent_of
from pipeline.gramian.shard import channel_names as gramian_channels
from pipeline.plan import Cost, choose_shard_samples
from pipeline.sources.base import Source, read_samples

MAPPED_ROWS = 512
"""Samples whose images fill whole memory pages, whatever their type."""


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


def raw_image(image: ImageSpec) -> ImageSpec:
    """The images as they are before they are divided by the largest value of all."""
    return image.replace(normalise="none", dtype="float32")


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
        capacity = rows * points_at_most(largest_shape(source), source, spec.diagram)
    if options.mapped:
        return Layout.mapped(shard_samples=rows, point_capacity=capacity)
    return Layout(shard_samples=rows, chunk_samples=chunk, point_capacity=capacity)


def largest_shape(source: Source) -> tuple[int, ...]:
    """The shape of a sample, where lengths vary that of the longest one."""
    if None not in source.shape:
        return tuple(size or 0 for size in source.shape)
    shapes = [array.shape for array in read_samples(source).arrays]
    return tuple(max(sizes) for sizes in zip(*shapes, strict=True))
