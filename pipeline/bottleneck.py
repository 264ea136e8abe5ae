"""The bottleneck distance of two persistence diagrams, exactly.

It is the least t for which every point can be matched to one of the other diagram, or to the
diagonal, no coordinate moving by more than t. A point of persistence p is p / 2 from the diagonal.
So t is enough when some matching of points within t covers those of both sides with p > 2 t; and by
the theorem of Mendelsohn and Dulmage there is one if each side alone can be covered.

References: Edelsbrunner and Harer, Computational Topology (2010), section VIII.4; Mendelsohn and
Dulmage, Some generalizations of the problem of distinct representatives, Canad. J. Math. 10 (1958).
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import cKDTree

START = 1e-9
"""The first distance tried, as a part of the largest value; then four times as much, and so on."""
SMALLEST = float(np.finfo(np.float64).tiny)
"""The first distance is not smaller: a part of values near it would be 0, and stay so."""


def bottleneck(one: np.ndarray, other: np.ndarray) -> float:
    """The bottleneck distance of diagrams (P, 2) and (Q, 2), essential classes included.

    Essential classes match each other in the order of their births; inf where their numbers differ.
    NaN where a birth is not finite, or a death is NaN: these are no diagrams.
    """
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if not all(np.isfinite(d[:, 0]).all() and not np.isnan(d[:, 1]).any() for d in (one, other)):
        return np.nan
    return max(_essential(one, other), _finite(*(d[np.isfinite(d[:, 1])] for d in (one, other))))


def _essential(one: np.ndarray, other: np.ndarray) -> float:
    births = [np.sort(d[np.isinf(d[:, 1]), 0]) for d in (one, other)]
    if len(births[0]) != len(births[1]):
        return np.inf
    return float(np.abs(births[0] - births[1]).max(initial=0.0))


def _finite(one: np.ndarray, other: np.ndarray) -> float:
    """The least distance that is enough, among all that can be: between points, or to the diagonal.

    Only those up to a distance that is known to be enough are looked at, so that diagrams that
    are nearly the same have few.
    """
    one, other = (d[np.lexsort(d.T)] for d in (one, other))
    if one.shape == other.shape and (one == other).all():
        return 0.0
    halves = [np.abs(d[:, 1] - d[:, 0]) / 2 for d in (one, other)]
    most = float(max(h.max(initial=0.0) for h in halves))  # all to the diagonal
    largest = max(float(np.abs(d).max(initial=0.0)) for d in (one, other))
    enough = min(max(START * largest, SMALLEST), most)
    near = _near(one, other, enough)
    while enough < most and not _is_enough(enough, near, halves):
        enough = min(4 * enough, most)
        near = _near(one, other, enough)
    tried = np.unique(np.concatenate([near[2], *halves, [0.0, enough]]))
    tried = tried[tried <= enough]
    low, high = 0, len(tried) - 1  # tried[high] is enough
    while low < high:
        middle = (low + high) // 2
        if _is_enough(tried[middle], near, halves):
            high = middle
        else:
            low = middle + 1
    return float(tried[high])


Near = tuple[np.ndarray, np.ndarray, np.ndarray]


def _near(one: np.ndarray, other: np.ndarray, radius: float) -> Near:
    """Positions in both of points within a radius of each other, and their distances."""
    if not len(one) or not len(other):
        nothing = np.empty(0, np.int64)
        return nothing, nothing, np.empty(0)
    found = cKDTree(one).sparse_distance_matrix(
        cKDTree(other), radius, p=np.inf, output_type="ndarray"
    )
    return found["i"], found["j"], found["v"]


def _is_enough(distance: float, near: Near, halves: list[np.ndarray]) -> bool:
    i, j, apart = near
    close = apart <= distance
    shape = (len(halves[0]), len(halves[1]))
    links = coo_matrix((np.ones(int(close.sum()), np.int8), (i[close], j[close])), shape).tocsr()
    sides = ((links, halves[0]), (links.T.tocsr(), halves[1]))
    return all(_covers(side[half > distance]) for side, half in sides)


def _covers(links: object) -> bool:
    """Whether all rows can be matched to columns."""
    rows, columns = links.shape  # type: ignore[attr-defined]
    if not rows or not columns:
        return not rows
    matched = np.asarray(maximum_bipartite_matching(links, perm_type="column"))
    return int(np.count_nonzero(matched >= 0)) == int(rows)
