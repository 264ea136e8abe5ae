"""Samples of a shard to the arrays of a store of Gramian angular fields, and to what was seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pi_cache.specs import GramianSpec, Status
from pipeline.gramian.fields import gramian_fields, outside, real_values
from pipeline.sources.base import Samples, Source
from pipeline.statistics import USABLE

if TYPE_CHECKING:
    from pipeline.shard import Clock

BLOCK_BYTES = 2**20
"""Field values, of float64, computed at a time: they stay in the processor's cache."""

Block = tuple[np.ndarray, np.ndarray]
"""Positions (n,) of samples, and their signals (n, C, T)."""


def channel_names(source: Source, spec: GramianSpec) -> list[str]:
    """One name an image channel of the store, such as `chest_x/GASF`."""
    return [f"{channel}/{spec.name}" for channel in source.channels]


def fields_of(
    samples: Samples, source: Source, spec: GramianSpec, clock: Clock
) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[int, str]]:
    """`images` (n, C, size, size) and `status` (n,) of a shard; what was seen; problems.

    Images are NaN (0 for uint8) where a sample is not usable. A window that is shorter than the
    size has the status WRONG_SHAPE. values: those of usable samples; clipped_values,
    clipped_samples: those outside a range of two numbers, and the samples that have one.
    """
    status, problems = _checked(samples, spec)
    empty = 0 if spec.dtype == "uint8" else np.nan
    shape = (len(status), len(source.channels), spec.pixels, spec.pixels)
    images = np.full(shape, empty, spec.dtype)
    seen = {"values": 0, "clipped_values": 0, "clipped_samples": 0}
    with clock("images"):
        for where, values in _blocks(samples, source, status):
            images[where] = drawn(values, spec)
            seen["values"] += values.size
            if isinstance(spec.range, tuple):
                beyond = outside(values, spec.range).sum(axis=(1, 2))
                seen["clipped_values"] += int(beyond.sum())
                seen["clipped_samples"] += int(np.count_nonzero(beyond))
    return {"images": images, "status": status}, seen, problems


def drawn(values: np.ndarray, spec: GramianSpec) -> np.ndarray:
    """Fields (n, C, size, size) of signals (n, C, T), some at a time."""
    signals = values.reshape(-1, values.shape[-1])
    fields = np.empty((len(signals), spec.pixels, spec.pixels), spec.dtype)
    step = max(BLOCK_BYTES // (spec.pixels**2 * 8), 1)
    for start in range(0, len(signals), step):
        fields[start : start + step] = gramian_fields(signals[start : start + step], spec)
    return fields.reshape(*values.shape[:2], spec.pixels, spec.pixels)


def block_memory(spec: GramianSpec) -> float:
    """Bytes that the fields of a block take while they are computed: a few arrays of its size."""
    return 4.0 * max(BLOCK_BYTES, spec.pixels**2 * 8)


def _checked(samples: Samples, spec: GramianSpec) -> tuple[np.ndarray, dict[int, str]]:
    """The status of each sample, and a message for each that is not OK."""
    status, problems = samples.status.copy(), dict(samples.problems)
    for position in np.flatnonzero(np.isin(status, USABLE)).tolist():
        length = len(samples.arrays[position])
        if length < spec.pixels:
            status[position] = Status.WRONG_SHAPE
            problems[position] = (
                f"has {length} samples, and its field {spec.pixels} a side; use a smaller --size"
            )
    return status, problems


def _blocks(samples: Samples, source: Source, status: np.ndarray) -> Iterator[Block]:
    """The usable signals, a few megabytes at a time; those of other lengths one by one."""
    usable, arrays = np.flatnonzero(np.isin(status, USABLE)), samples.arrays
    together = isinstance(arrays, np.ndarray)
    step = max(BLOCK_BYTES // max(np.size(arrays[0]) * 8, 1), 1) if together else 1
    for start in range(0, len(usable), step):
        where = usable[start : start + step]
        signals = arrays[where] if isinstance(arrays, np.ndarray) else arrays[where[0]][None]
        yield where, real_values(signals, source.maximum)  # of (n, T, C)
