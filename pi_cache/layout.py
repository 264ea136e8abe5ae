"""How a store is cut into files: samples a shard, samples a chunk, codec, and its columns.

None of it is part of the key: the numbers are the same, only the files differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pi_cache.axes import TIME_AXES, cell_edges, cell_width, missing_for, time_note
from pi_cache.errors import InvalidSpec, SourceError
from pi_cache.shards import CODECS, POINT_CODEC, ShardFormat
from pi_cache.specs import (
    DTYPES,
    VALUE_RANGE,
    GramianSpec,
    ImageSpec,
    Status,
    StoreSpec,
)

POINT_CHUNK = 16_384
SMALL_ROW = 512
"""A column with fewer bytes a sample is one inner chunk a shard; others have the layout's."""

COLUMN_DTYPES = (*DTYPES, "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "bool")

AXES = ("persistence", "birth")
"""Rows and columns of an image."""

POINTS_NOTE = (
    "points[s, offsets[i, c]:offsets[i, c + 1]] with s = i // {shard_samples} are the"
    " (birth, death) pairs of sample i, channel c; an infinite death marks an essential class."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Sizes of files and chunks.

    shard_samples: samples a shard, rounded up to whole chunks. chunk_samples: samples a chunk.
    codec: `blosc-lz4` or `none`. point_capacity: the most diagram points a shard can hold; costs
    16 bytes for every 16,384 points, so be generous.
    """

    shard_samples: int = 4096
    chunk_samples: int = 8
    codec: str = "blosc-lz4"
    point_capacity: int = 1 << 24

    def __post_init__(self) -> None:
        for name in ("shard_samples", "chunk_samples", "point_capacity"):
            if getattr(self, name) < 1:
                raise InvalidSpec(f"Layout: {name} must be at least 1, got {getattr(self, name)}")
        if self.codec not in CODECS:
            raise InvalidSpec(
                f"Layout: codec must be one of {', '.join(CODECS)}, got {self.codec!r}"
            )
        set_ = object.__setattr__
        set_(self, "shard_samples", _round_up(self.shard_samples, self.chunk_samples))
        set_(self, "point_capacity", _round_up(self.point_capacity, POINT_CHUNK))

    @classmethod
    def mapped(cls, **sizes: int) -> Self:
        """One uncompressed sample a chunk: shards can be memory-mapped."""
        return cls(chunk_samples=1, codec="none", **sizes)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One array of the store with a row for every sample, or the ragged diagram points.

    shape, dimensions: length and name of each axis after the sample axis. fill: what a missing
    row reads as; None is NaN for floats and 0 otherwise. ragged: rows are points, not samples.
    codec: of points `blosc-zstd`; "" where it follows from the layout, and of the points of older
    stores, which are `blosc-lz4`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    dimensions: tuple[str, ...]
    fill: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    ragged: bool = False
    codec: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "dimensions", tuple(self.dimensions))
        if not self.name.isidentifier():
            raise InvalidSpec(f"Column: name must be a plain word, got {self.name!r}")
        if not isinstance(self.fill, int | None) or not isinstance(self.ragged, bool):
            raise InvalidSpec(f"{self.name}: fill must be a whole number or None, ragged a bool")
        if self.codec not in ("", POINT_CODEC) or (self.codec and not self.ragged):
            raise InvalidSpec(f"{self.name}: codec must be {POINT_CODEC}, of points only")
        if not isinstance(self.attributes, Mapping):
            raise InvalidSpec(f"{self.name}: attributes must be names and values")
        if self.dtype not in COLUMN_DTYPES:
            raise InvalidSpec(
                f"{self.name}: dtype must be one of {', '.join(COLUMN_DTYPES)}, got {self.dtype!r}"
            )
        if len(self.shape) != len(self.dimensions) or min(self.shape, default=1) < 1:
            raise InvalidSpec(
                f"{self.name}: shape {self.shape} and dimensions {self.dimensions} must be of one"
                " length, and every length positive"
            )

    @property
    def row_bytes(self) -> int:
        """Bytes of one row before compression."""
        return np.dtype(self.dtype).itemsize * math.prod(self.shape)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values. No codec is left out, so that older digests stay as they are."""
        document = asdict(self) | {
            "shape": list(self.shape),
            "dimensions": list(self.dimensions),
            "attributes": dict(self.attributes),
        }
        if not self.codec:
            del document["codec"]
        return document

    def shard_format(self, layout: Layout) -> ShardFormat:
        """Shape and codecs of this column's shards. Raises InvalidSpec where they are too large."""
        rows, chunk, codec = layout.shard_samples, layout.chunk_samples, layout.codec
        if self.ragged:
            rows, chunk, codec = layout.point_capacity, POINT_CHUNK, self.codec or "blosc-lz4"
        elif self.row_bytes < SMALL_ROW:
            chunk, codec = rows, "blosc-lz4"
        try:
            return ShardFormat(rows, chunk, self.shape, np.dtype(self.dtype), codec, self.fill)
        except InvalidSpec as error:
            raise InvalidSpec(f"{self.name}: {error}") from None

    def shard_file(self, k: int) -> str:
        """Path of shard k inside the store folder."""
        rest = ".0.0" if self.ragged else ".0" * len(self.shape)
        return f"data.zarr/{self.name}/c.{k}{rest}"


def standard_columns(
    image: ImageSpec, channels: int, *, inputs: Column | None = None, points: str = "float64"
) -> tuple[Column, ...]:
    """`images`, `status`, `points`, `offsets`, and `inputs` when given.

    channels: persistence images a sample. points: dtype of the diagram points.
    """
    columns = (
        *_drawn_columns(image, channels, AXES),
        Column(
            name="points",
            shape=(2,),
            dtype=points,
            dimensions=("coordinate",),
            ragged=True,
            codec=POINT_CODEC,
        ),
        Column(name="offsets", shape=(channels + 1,), dtype="int64", dimensions=("end",), fill=-1),
    )
    return columns if inputs is None else (*columns, inputs)


def imported_columns(spec: StoreSpec, channels: int) -> tuple[Column, ...]:
    """`images` and `status`: all there is of images without diagrams; only axes that are known."""
    axes = [axis for axis in AXES if not missing_for(spec, axis)]
    return _drawn_columns(spec.image, channels, axes)


def _drawn_columns(image: ImageSpec, channels: int, axes: Sequence[str]) -> tuple[Column, ...]:
    """`images`, which say where the cells of these axes lie, and `status`."""
    note = {
        "lower_cell_edges": {name: cell_edges(image, name).tolist() for name in axes},
        "cell_width": {name: cell_width(image, name) for name in axes},
    }
    return (
        Column(
            name="images",
            shape=(channels, image.pixels, image.pixels),
            dtype=image.dtype,
            dimensions=("channel", *AXES),
            attributes=note if axes else {},
        ),
        _status_column(),
    )


def gramian_columns(
    gramian: GramianSpec,
    channels: int,
    *,
    extent: float,
    unit: str,
    inputs: Column | None = None,
) -> tuple[Column, ...]:
    """`images` and `status`, and `inputs` when given: a Gramian angular field has no diagram.

    channels: fields a sample. extent, unit: see `time_note`. Bytes say what they stand for.
    """
    size, note = gramian.pixels, time_note(gramian.pixels, extent, unit)
    if gramian.dtype == "uint8":
        note["byte_range"] = list(VALUE_RANGE)
    images = Column(
        name="images",
        shape=(channels, size, size),
        dtype=gramian.dtype,
        dimensions=("channel", *TIME_AXES),
        attributes=note,
    )
    return (images, _status_column()) if inputs is None else (images, _status_column(), inputs)


def _status_column() -> Column:
    return Column(
        name="status",
        shape=(),
        dtype="uint8",
        dimensions=(),
        fill=int(Status.NOT_COMPUTED),
        attributes={"codes": {status.name: int(status) for status in Status}},
    )


def array_problems(
    arrays: Mapping[str, NDArray[Any]], columns: Sequence[Column], rows: int, layout: Layout
) -> list[str]:
    """What is wrong with the arrays of a shard of so many samples, a phrase each."""
    known = {column.name: column for column in columns}
    problems = [f"{name} is missing" for name in known if name not in arrays]
    problems += [f"{name} is not an array of this store" for name in arrays if name not in known]
    for name in known.keys() & arrays.keys():
        column, array = known[name], arrays[name]
        length = array.shape[0] if column.ragged and array.ndim else rows
        if array.shape != (length, *column.shape) or array.dtype != np.dtype(column.dtype):
            problems.append(
                f"{name} is {array.dtype} {array.shape}, expected {column.dtype}"
                f" {(length, *column.shape)}"
            )
    if not problems and "points" in known:
        problems = list(_point_problems(arrays["points"], arrays["offsets"], layout))
    return problems


def _point_problems(
    points: NDArray[Any], offsets: NDArray[np.int64], layout: Layout
) -> Iterator[str]:
    ends = offsets.reshape(-1)
    if len(points) > layout.point_capacity:
        yield (
            f"{len(points)} points, the layout has room for {layout.point_capacity}; begin the"
            " store again with a larger point_capacity or fewer samples a shard"
        )
    if ends[0] != 0 or ends[-1] != len(points) or (np.diff(ends) < 0).any():
        yield f"offsets must rise from 0 to the {len(points)} points"
    if (offsets[1:, 0] != offsets[:-1, -1]).any():
        yield "offsets of a sample must start where those of the sample before end"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleTable:
    """Who the samples are: unique ids, a label each, and where known a group and a split."""

    ids: Sequence[str]
    labels: NDArray[np.int64]
    groups: Sequence[str] | None = None
    splits: Sequence[str] | None = None
    label_names: Sequence[str] = ()

    def __post_init__(self) -> None:
        count = len(self.ids)
        lengths = {
            name: len(value)
            for name in ("labels", "groups", "splits")
            if (value := getattr(self, name)) is not None
        }
        wrong = [f"{length} {name}" for name, length in lengths.items() if length != count]
        if wrong:
            raise SourceError(f"a table of {count} ids has {', '.join(wrong)}")
        if len(set(self.ids)) != count:
            raise SourceError("sample ids must be unique; give each sample one of its own")

    def __len__(self) -> int:
        return len(self.ids)


def _round_up(value: int, step: int) -> int:
    return -(-int(value) // int(step)) * int(step)
