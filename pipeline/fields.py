"""What is filtered: from raw samples to signals, images or clouds of real values, by channel.

| filtration            | image (H, W, C)             | signal (T, C)           | cloud (P, D) |
| --------------------- | --------------------------- | ----------------------- | ------------ |
| sublevel, superlevel  | rows and/or columns, (HW,)  | (T,)                    |              |
| cubical               | (H, W)                      |                         |              |
| rips                  | (x, y, intensity), (HW, 3)  | delay embedding (M, m)  | (P, D)       |

Distance matrices (P, P) are filtered as they are, by rips.

The fields of a sample are ordered by scan, then channel; each gives one diagram a dimension of
homology, lowest first. `channel_names` spells that order out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pi_cache.errors import SampleError
from pi_cache.specs import DiagramSpec, Status
from pipeline.sources.base import Samples, Source

LOOPS_A_POINT = 128
"""Loops and voids of a cloud that there is room for. Clouds in space have a few; n points with
lengths drawn at random about n**1.5 / 2. Room costs a store one byte for a thousand pairs."""


@dataclass(frozen=True)
class Fields:
    """Values to filter, of `count` fields in sample-then-channel order.

    values: (count, ...) where all have one shape, else a list of one array a field; of the
    spec's precision, finite, contiguous.
    """

    values: np.ndarray | list[np.ndarray]

    def __len__(self) -> int:
        return len(self.values)

    def finite(self) -> bool:
        """Whether every value is."""
        values = self.values if isinstance(self.values, list) else [self.values]
        return all(bool(np.isfinite(part).all()) for part in values)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.values)


def make_fields(samples: Samples, source: Source, spec: DiagramSpec) -> Fields:
    """The fields of all samples of a batch."""
    if isinstance(samples.arrays, np.ndarray):
        values = _fields_of(samples.arrays, source, spec)  # (n, F, ...)
        return Fields(values.reshape(-1, *values.shape[2:]))
    each = [_fields_of(array[None], source, spec)[0] for array in samples.arrays]  # (F, ...) each
    return Fields([np.ascontiguousarray(field) for sample in each for field in sample])


def finite_fields(samples: Samples, source: Source, spec: DiagramSpec) -> Fields:
    """As `make_fields`. Raises SampleError (INF) where values leave the spec's precision.

    Whole numbers do not, unless they are divided by a scale.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        fields = make_fields(samples, source, spec)
    if (source.dtype.kind == "f" or spec.scale != 1.0) and not fields.finite():
        raise SampleError(
            Status.INF,
            f"has values beyond {spec.precision}, or whose differences are; scale the data",
        )
    return fields


def field_names(source: Source, spec: DiagramSpec) -> list[str]:
    """One name a field of a sample, such as `rows/red`."""
    scans = _scans(spec)
    return [
        f"{scan}/{channel}" if scan else channel for scan in scans for channel in source.channels
    ]


def channel_names(source: Source, spec: DiagramSpec) -> list[str]:
    """One name an image channel of the store, such as `rows/red/H0`."""
    return [f"{name}/H{k}" for name in field_names(source, spec) for k in spec.homology]


def field_size(shape: tuple[int, ...], spec: DiagramSpec) -> int:
    """Values of a signal, pixels of an image or points of a cloud that a sample's shape gives."""
    size = int(np.prod(shape[:-1]))
    if spec.embedding_dimension is not None:
        size = max(size - (spec.embedding_dimension - 1) * (spec.embedding_delay or 1), 1)
    return size


def points_at_most(shape: tuple[int, ...], source: Source, spec: DiagramSpec) -> int:
    """Upper bound of the points of the diagrams of a sample of this shape.

    A path of n vertices has at most (n + 1) / 2 minima; an image of n pixels at most n components
    and n holes; a cloud of n points has n components. A loop of a cloud begins with an edge that
    joins nothing, so there are at most (n - 1) (n - 2) / 2. That many need room only where the
    cloud is small: a sample of more points than this says is refused when it is computed.
    """
    size = field_size(shape, spec)
    most = LOOPS_A_POINT * size
    per_dimension = {
        "sublevel": {0: size // 2 + 1},
        "superlevel": {0: size // 2 + 1},
        "cubical": {0: size, 1: size},
        "rips": {0: size, 1: min((size - 1) * (size - 2) // 2, most), 2: most},
    }[spec.filtration]
    per_field = sum(per_dimension[k] for k in spec.homology)
    return per_field * len(field_names(source, spec))


def _fields_of(arrays: np.ndarray, source: Source, spec: DiagramSpec) -> np.ndarray:
    """Fields (n, F, ...) of samples (n, ...) of one shape."""
    if source.sample == "image":
        return _of_images(arrays, source.maximum, spec)
    if source.sample == "signal":
        return _of_signals(arrays, source.maximum, spec)
    return _scaled(arrays, source.maximum, spec.precision)[:, None]  # (n, 1, P, D) or (n, 1, P, P)


def _of_images(images: np.ndarray, maximum: float | None, spec: DiagramSpec) -> np.ndarray:
    planes = np.moveaxis(images, -1, 1)  # (n, C, H, W)
    if spec.filtration == "cubical":
        return _scaled(planes, maximum, spec.precision)
    if spec.filtration == "rips":
        return image_clouds(_scaled(planes, maximum, spec.precision))
    orders = [planes if scan == "rows" else planes.swapaxes(2, 3) for scan in _scans(spec)]
    flat = [order.reshape(*order.shape[:2], -1) for order in orders]  # (n, C, H * W) each
    return _scaled(np.concatenate(flat, axis=1), maximum, spec.precision)


def image_clouds(planes: np.ndarray) -> np.ndarray:
    """The points (x, y, intensity) of image channels: (n, C, H, W) -> (n, C, H * W, 3).

    x runs along a row and y along a column, both from 0 to 1.
    """
    *_, height, width = planes.shape
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    clouds = np.empty((*planes.shape, 3), planes.dtype)
    clouds[..., 0], clouds[..., 1], clouds[..., 2] = x, y, planes
    return clouds.reshape(*planes.shape[:2], height * width, 3)


def _of_signals(signals: np.ndarray, maximum: float | None, spec: DiagramSpec) -> np.ndarray:
    values = _scaled(np.swapaxes(signals, 1, 2), maximum, "float64")  # (n, C, T)
    if spec.centre:
        values = values - values.mean(axis=2, keepdims=True)
    if spec.scale != 1.0:
        values = values / spec.scale
    values = np.ascontiguousarray(values, dtype=spec.precision)
    if spec.embedding_dimension is None or spec.embedding_delay is None:
        return values
    return delay_embedding(values, spec.embedding_dimension, spec.embedding_delay)


def short_for_embedding(samples: int, dimension: int, delay: int) -> str:
    """Why a signal of so many samples has no delay embedding; "" where it has one."""
    needed = (dimension - 1) * delay + 1
    if samples >= needed:
        return ""
    return (
        f"a signal of {samples} samples is too short for an embedding of dimension {dimension} and"
        f" delay {delay}; it needs {needed}"
    )


def delay_embedding(values: np.ndarray, dimension: int, delay: int) -> np.ndarray:
    """Takens clouds (n, C, M, dimension) of signals (n, C, T), M = T - (dimension - 1) * delay.

    Point i is (x[i], x[i + delay], ...). Raises SampleError where a signal is too short.
    """
    why = short_for_embedding(values.shape[-1], dimension, delay)
    if why:
        raise SampleError(Status.WRONG_SHAPE, why)
    points = values.shape[-1] - (dimension - 1) * delay
    shifts = [values[..., k * delay : k * delay + points] for k in range(dimension)]
    return np.stack(shifts, axis=-1)


def _scans(spec: DiagramSpec) -> tuple[str, ...]:
    if spec.scan is None:
        return ("",)
    return ("rows", "columns") if spec.scan == "both" else (spec.scan,)


def _scaled(values: np.ndarray, maximum: float | None, precision: str) -> np.ndarray:
    """Integers divided by `maximum` in float64, then rounded to the precision; contiguous.

    A byte has 256 values, so these are divided once and looked up.
    """
    if maximum is not None and values.dtype == np.uint8:
        levels = (np.arange(256) / maximum).astype(precision)
        looked_up: np.ndarray = levels.take(values)  # twice as fast as levels[values]
        return looked_up
    if maximum is not None:
        values = values / maximum
    scaled: np.ndarray = np.ascontiguousarray(values, dtype=precision)
    return scaled
