"""Diagrams by this project's own kernels, all fields of a batch together.

Vietoris-Rips holds lengths as float32; all else is exact in the spec's precision.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from pi_cache.errors import SampleError
from pi_cache.specs import DiagramSpec, Status
from pipeline.engines.common import Ragged, check_lengths, lengths, out_of_time
from pipeline.engines.interrupt import heeding_signals, interrupted
from pipeline.engines.watchdog import watched
from pipeline.fields import Fields
from pipeline.kernels.path import path_h0, path_h0_ragged

MATRIX_BYTES = 64 * 2**20
"""Distance matrices held at a time, where they are not computed by the kernel."""


def compute(fields: Fields, spec: DiagramSpec, time_limit: float | None) -> Ragged:
    """The diagrams of all fields.

    time_limit: seconds a cloud; a path or an image ends within a few, whatever it holds. Raises
    SampleError with the number of a cloud that takes longer (TIMEOUT), needs too much memory
    (TOO_LARGE) or has lengths beyond the spec's precision (INF), and KeyboardInterrupt.
    """
    try:
        if spec.filtration == "rips":
            return _rips(fields, spec, time_limit)
        return _cubical(fields, spec) if spec.filtration == "cubical" else _path(fields, spec)
    except SystemError as error:  # numba's, where a handler raised when the kernel had returned
        if interrupted(error):
            raise KeyboardInterrupt from None
        raise


def _path(fields: Fields, spec: DiagramSpec) -> Ragged:
    sign = -1 if spec.filtration == "superlevel" else 1
    if isinstance(fields.values, np.ndarray):
        points, offsets = path_h0(sign * fields.values, spec.min_persistence)
    else:
        flat = np.concatenate([np.zeros(0, spec.precision), *fields])
        points, offsets = path_h0_ragged(sign * flat, _starts(fields), spec.min_persistence)
    return sign * points, offsets


def _cubical(fields: Fields, spec: DiagramSpec) -> Ragged:
    from pipeline.kernels.cubical import cubical_h01  # only who needs it waits for its import

    cells = spec.construction == "cells"
    parts = [
        cubical_h01(images, cells=cells, min_persistence=spec.min_persistence)
        for images in _of_one_shape(fields)
    ]
    points, offsets = _joined(parts, spec)
    return _of_dimensions(points, offsets, spec, np.ones(len(points), bool))


def _of_one_shape(fields: Fields) -> Iterator[np.ndarray]:
    """Fields in their order, as arrays of neighbours that have one shape."""
    if isinstance(fields.values, np.ndarray):
        yield fields.values
        return
    for _, group in itertools.groupby(fields.values, key=np.shape):
        yield np.stack(list(group))


def _rips(fields: Fields, spec: DiagramSpec, time_limit: float | None) -> Ragged:
    """H0 and H1 of all clouds; those asked for are kept, of sufficient persistence."""
    check_lengths(fields, spec)
    parts = None
    while parts is None:
        parts = _rips_parts(fields, spec, time_limit)
    points, offsets = _joined(parts, spec)
    with np.errstate(over="ignore"):
        lasting = np.diff(points, axis=1)[:, 0] > spec.min_persistence
    return _of_dimensions(points, offsets, spec, lasting | np.isinf(points[:, 1]))


def _rips_parts(fields: Fields, spec: DiagramSpec, time_limit: float | None) -> list[Ragged] | None:
    """Diagrams of all clouds, some at a time; None after a signal whose handler did not raise."""
    from pipeline.kernels.rips import Stopped, TooManyLoops

    parts: list[Ragged] = []
    done = 0
    with watched(time_limit) as limited:
        watch = np.array([-1, 0, 0], np.int64) if limited is None else limited
        with heeding_signals(watch) as told:
            for some in _batches(fields, spec):
                watch[2] += 1
                try:
                    parts.append(_rips_of(some, spec, watch))
                except Stopped as stopped:
                    if told.is_set():
                        return None
                    number = done + stopped.item
                    text = out_of_time(fields.values[number], spec, time_limit)
                    raise SampleError(Status.TIMEOUT, text, number) from None
                except TooManyLoops as many:
                    number = done + many.item
                    raise _too_many_loops(fields.values[number], number) from None
                except SampleError as error:
                    raise SampleError(error.status, str(error), done + (error.field or 0)) from None
                done += len(some)
    return parts


def _too_many_loops(cloud: np.ndarray, number: int) -> SampleError:
    return SampleError(
        Status.TOO_LARGE,
        f"a cloud of {len(cloud):,} points has more loops than there is memory for; use a smaller "
        "--max-length, fewer points or another engine",
        number,
    )


def _batches(fields: Fields, spec: DiagramSpec) -> Iterator[list[np.ndarray]]:
    """Clouds to be computed together: all, or as many as have room for their matrices."""
    if spec.metric == "euclidean":
        yield list(fields)
        return
    batch: list[np.ndarray] = []
    held = 0
    for field in fields:
        needed = 8 * len(field) ** 2
        if batch and held + needed > MATRIX_BYTES:
            yield batch
            batch, held = [], 0
        batch.append(field)
        held += needed
    yield batch


def _rips_of(clouds: list[np.ndarray], spec: DiagramSpec, watch: np.ndarray | None) -> Ragged:
    from pipeline.kernels.rips import rips_h01, rips_h01_of_distances

    longest = np.inf if spec.max_length is None else spec.max_length
    starts = np.cumsum([0, *(len(cloud) for cloud in clouds)])
    if spec.metric == "euclidean":
        flat = np.concatenate(clouds).astype(np.float64) if clouds else np.empty((0, 1))
        return rips_h01(flat, starts, longest=longest, watch=watch)
    held = np.empty(int(sum(len(cloud) ** 2 for cloud in clouds)))
    end = 0
    for number, cloud in enumerate(clouds):
        matrix = _numbered(cloud, spec.metric, number).reshape(-1)
        held[end : end + len(matrix)] = matrix
        end += len(matrix)
    return rips_h01_of_distances(held, starts, longest=longest, watch=watch)


def _numbered(cloud: np.ndarray, metric: str, number: int) -> np.ndarray:
    """The distance matrix of a cloud; an error carries the number of the cloud."""
    try:
        return lengths(cloud, metric)
    except SampleError as error:
        raise SampleError(error.status, str(error), number) from None


def _starts(fields: Fields) -> np.ndarray:
    return np.cumsum([0, *(len(field) for field in fields)])


def _joined(parts: list[Ragged], spec: DiagramSpec) -> Ragged:
    """Diagrams one after the other, in the spec's precision."""
    points = [found for found, _ in parts]
    lengths_of = [np.diff(offsets) for _, offsets in parts]
    return (
        np.concatenate([*points, np.empty((0, 2), np.float32)]).astype(spec.precision, copy=False),
        np.concatenate([[0], np.cumsum(np.concatenate([*lengths_of, np.zeros(0, np.int64)]))]),
    )


def _of_dimensions(
    points: np.ndarray, offsets: np.ndarray, spec: DiagramSpec, wanted: np.ndarray
) -> Ragged:
    """Of diagrams in H0, H1, H0, H1, ... those of the spec's dimensions; of their points, some.

    wanted: (P,) whether a point is kept.
    """
    counts = np.diff(offsets)
    asked = np.isin(np.arange(len(counts)) % 2, spec.homology)
    owner = np.repeat(np.arange(len(counts)), counts)
    taken = wanted & asked[owner]
    kept = np.bincount(owner[taken], minlength=len(counts))[asked]
    return points[taken], np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
