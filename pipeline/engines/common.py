"""What the engines share: lengths between points, which pairs are kept, diagrams put together."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

import numpy as np

from pi_cache.errors import SampleError
from pi_cache.specs import PRECOMPUTED, DiagramSpec, Status

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
    condensed = pdist(cloud, {"manhattan": "cityblock"}.get(metric, metric))
    matrix: np.ndarray = squareform(np.maximum(condensed, 0.0), checks=False)  # 1 - cos may be -eps
    return matrix


def pairs_by(library: ModuleType, field: np.ndarray, spec: DiagramSpec) -> list[np.ndarray]:
    """The diagrams of one field by a module of a library: one (P, 2) float64 a dimension asked for.

    Super-level sets are sub-level sets of the negated signal.
    """
    sign = -1 if spec.filtration == "superlevel" else 1
    return [sign * kept(found, spec) for found in library.pairs(sign * field, spec)]


def kept(pairs: np.ndarray, spec: DiagramSpec) -> np.ndarray:
    """Pairs of sufficient persistence, essential classes last."""
    pairs = np.asarray(pairs, np.float64).reshape(-1, 2)
    finite = np.isfinite(pairs[:, 1])
    lasting = pairs[:, 1] - pairs[:, 0] > spec.min_persistence
    return np.concatenate([pairs[finite & lasting], pairs[~finite]])


def gathered(diagrams: Iterable[list[np.ndarray]], spec: DiagramSpec) -> Ragged:
    """Diagrams one after the other, in the spec's precision."""
    parts = [part for field in diagrams for part in field]
    offsets = np.cumsum([0, *(len(part) for part in parts)]).astype(np.int64)
    return np.concatenate([*parts, np.empty((0, 2))]).astype(spec.precision), offsets


def out_of_time(field: np.ndarray, spec: DiagramSpec, limit: float | None) -> str:
    """The message for a field that took too long, with the remedy."""
    remedies = ["--time-limit"]
    if spec.filtration == "rips":
        remedies.append("a --max-length, fewer points" if not spec.max_length else "fewer points")
    return (
        f"a field of shape {field.shape} took engine {spec.engine} over the time limit of "
        f"{limit:g} s; raise {', or use '.join(remedies)} or another engine"
    )
