"""What the engines share: lengths between points, which pairs are kept, diagrams put together."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from types import ModuleType

import numpy as np

from pi_cache.errors import SampleError
from pi_cache.specs import METRICS, PRECOMPUTED, DiagramSpec, Status
from pipeline.engines import holds_single

NORMS = {"euclidean": 2, "manhattan": 1, "chebyshev": np.inf}
COMFORTABLE = (-40, 100)
"""Exponents of largest values that leave room in float32, and for squares in float64."""
SCIPY_METRICS = {name: name for name in METRICS} | {"manhattan": "cityblock"}
"""What SciPy calls a metric."""
Ragged = tuple[np.ndarray, np.ndarray]
"""Points (P, 2) of diagrams one after the other, and their offsets (S+1,) int64."""


def lengths(field: np.ndarray, metric: str) -> np.ndarray:
    """The distance matrix (n, n) float64 of a cloud (n, D), or of one that is given as such.

    Every engine gets the same numbers: differences of coordinates, and no expanded squares, which
    lose all digits of a small cloud far from zero. Raises SampleError for a direction of no length.
    """
    from scipy.spatial.distance import pdist, squareform

    if metric == PRECOMPUTED:
        return np.asarray(field, np.float64)
    cloud = np.asarray(field, np.float64)
    if metric == "cosine" and not cloud.any(axis=1).all():
        raise SampleError(
            Status.NAN, "has a point at 0, which has no cosine distance; use another --metric"
        )
    if metric == "cosine":  # of directions alone: no square may overflow or vanish
        cloud = np.ldexp(cloud, -np.frexp(np.abs(cloud).max(axis=1))[1][:, None])
    condensed = pdist(cloud, SCIPY_METRICS[metric])
    matrix: np.ndarray = squareform(np.maximum(condensed, 0.0), checks=False)  # 1 - cos may be -eps
    return matrix


def pairs_by(library: ModuleType, field: np.ndarray, spec: DiagramSpec) -> list[np.ndarray]:
    """The diagrams of one field by a module of a library: one (P, 2) float64 a dimension asked for.

    Super-level sets are sub-level sets of the negated signal. Values beyond a library's range are
    scaled by a power of two, and the pairs back, which is exact. Raises SampleError.
    """
    sign = -1 if spec.filtration == "superlevel" else 1
    if spec.filtration == "rips":
        check_lengths([field], spec)
    exponent = _exponent(field, spec)
    if not exponent:
        return [sign * kept(found, spec) for found in library.pairs(sign * field, spec)]
    scaled = sign * np.ldexp(np.asarray(field, np.float64), exponent)
    pairs = library.pairs(scaled, _scaled(spec, exponent))
    return [sign * kept(_scaled_back(found, exponent), spec) for found in pairs]


def check_lengths(fields: Iterable[np.ndarray], spec: DiagramSpec) -> None:
    """Raise SampleError with the number of a cloud whose lengths may leave the spec's precision."""
    if spec.metric in (PRECOMPUTED, "cosine"):
        return
    most = float(np.finfo(spec.precision).max)
    for number, cloud in enumerate(fields):
        if float(np.abs(cloud).max(initial=0)) < most / 2 / cloud.shape[1]:
            continue
        with np.errstate(over="ignore"):
            sides = np.ptp(np.asarray(cloud, np.float64), axis=0)
            longest = float(np.linalg.norm(sides / most, NORMS[spec.metric]))
        if longest > 1:
            text = f"has lengths that may be beyond {spec.precision}; scale the data"
            raise SampleError(Status.INF, text, number)


def _exponent(field: np.ndarray, spec: DiagramSpec) -> int:
    """Of a power of two that brings a field into the range of its engine; 0 for most."""
    rips = spec.filtration == "rips"
    if spec.metric == "cosine" or not (rips or holds_single(spec)):
        return 0
    values = np.asarray(field, np.float64)
    largest = float(np.abs(values).max(initial=0))
    cloud = rips and spec.metric != PRECOMPUTED
    extent = float(np.ptp(values, axis=0).max(initial=0)) if cloud else largest
    exponent = math.frexp(extent)[1]
    if not extent or COMFORTABLE[0] < exponent < COMFORTABLE[1]:
        return 0
    return min(-exponent, sys.float_info.max_exp - 2 - math.frexp(largest)[1])


def _scaled_back(pairs: np.ndarray, exponent: int) -> np.ndarray:
    """Pairs as they were; what float32 has rounded up beyond all numbers is the largest one."""
    with np.errstate(over="ignore"):
        values = np.ldexp(np.asarray(pairs, np.float64), -exponent)
    most = sys.float_info.max
    found: np.ndarray = np.where(np.isfinite(pairs), np.clip(values, -most, most), values)
    return found


def _scaled(spec: DiagramSpec, exponent: int) -> DiagramSpec:
    """The spec for scaled values. The least persistence is looked at when they are scaled back."""
    if spec.max_length is None:
        return spec
    try:
        longest = math.ldexp(spec.max_length, exponent)
    except OverflowError:
        return spec.replace(max_length=None)
    return spec.replace(max_length=max(longest, sys.float_info.min))


def kept(pairs: np.ndarray, spec: DiagramSpec) -> np.ndarray:
    """Pairs of sufficient persistence, essential classes last."""
    pairs = np.asarray(pairs, np.float64).reshape(-1, 2)
    finite = np.isfinite(pairs[:, 1])
    with np.errstate(over="ignore", invalid="ignore"):
        lasting = pairs[:, 1] - pairs[:, 0] > spec.min_persistence
    return np.concatenate([pairs[finite & lasting], pairs[~finite]])


def gathered(diagrams: Iterable[list[np.ndarray]], spec: DiagramSpec) -> Ragged:
    """Diagrams one after the other, in the spec's precision."""
    parts = [part for field in diagrams for part in field]
    offsets = np.cumsum([0, *(len(part) for part in parts)]).astype(np.int64)
    return np.concatenate([*parts, np.empty((0, 2))]).astype(spec.precision), offsets


def out_of_time(field: np.ndarray, spec: DiagramSpec, limit: float | None) -> str:
    """The message for a field that took too long, with the remedy."""
    remedies = ["--time-limit and run again with --retry"]
    if spec.filtration == "rips":
        remedies.append("a --max-length, fewer points" if not spec.max_length else "fewer points")
    return (
        f"a field of shape {field.shape} took engine {spec.engine} over the time limit of "
        f"{limit:g} s; raise {', or use '.join(remedies)} or another engine"
    )
