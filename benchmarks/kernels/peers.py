"""Other libraries: how each is called, and its diagrams in one form.

What is timed is the bare call; its answer is put into pairs for comparison afterwards. Libraries
that hold lengths as float32 are given lengths that are float32 already, so that all diagrams can be
compared bit for bit; to compute the lengths is left to our kernel alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.machine import versions

PACKAGES = ("ripser", "giotto-ph", "giotto-tda", "gudhi", "cripser", "persim")
NEVER = 1e300
"""cripser writes the largest number for a class that never dies."""

Pairs = list[np.ndarray]


class Disagreement(Exception):
    """Two results that should be equal are not."""


class Peer(NamedTuple):
    """A library. compute: one field to its answer. pairs: that to (P, 2) a dimension of homology.

    essential: whether classes that never die are among them. single: the field is rounded to
    float32.
    """

    compute: Callable[[np.ndarray], Any]
    pairs: Callable[[Any], Pairs]
    essential: bool = True
    single: bool = False


def path_peers() -> dict[str, Peer]:
    """H0 of a signal (n,) float64."""
    makers = {
        "ripser": ("ripser", _ripser_path),
        "gudhi": ("gudhi", lambda: _gudhi("vertices", 1)),
        "giotto-tda": ("giotto-tda", lambda: _giotto_tda((0,))),
        "cripser": ("cripser", lambda: _cripser(cells=False, highest=0)),
    }
    return _installed(makers)


def cubical_peers(*, cells: bool) -> dict[str, Peer]:
    """H0 and H1 of an image (H, W) float64, its pixels cells or vertices."""
    name = "top_dimensional_cells" if cells else "vertices"
    makers = {
        "gudhi": ("gudhi", lambda: _gudhi(name, 2)),
        "cripser": ("cripser", lambda: _cripser(cells=cells, highest=1)),
    }
    if cells:
        makers["giotto-tda"] = ("giotto-tda", lambda: _giotto_tda((0, 1)))
    return _installed(makers)


def rips_peers() -> dict[str, Peer]:
    """H0 and H1 of a matrix (n, n) float32 of lengths."""
    makers = {
        "gudhi, edges collapsed": ("gudhi", _gudhi_rips),
        "giotto-ph": ("giotto-ph", _giotto_ph),
        "ripser": ("ripser", _ripser_rips),
    }
    return _installed(makers)


def _installed(makers: Mapping[str, tuple[str, Callable[[], Peer]]]) -> dict[str, Peer]:
    found = versions(PACKAGES)
    return {name: make() for name, (package, make) in makers.items() if package in found}


def _ripser_path() -> Peer:
    from ripser import ripser
    from scipy.sparse import coo_matrix

    def compute(signal: np.ndarray) -> Any:
        vertices = np.arange(len(signal))
        rows = np.concatenate([vertices, vertices[:-1]])
        columns = np.concatenate([vertices, vertices[1:]])
        values = np.concatenate([signal, np.maximum(signal[:-1], signal[1:])])
        graph = coo_matrix((values, (rows, columns)), shape=(len(signal),) * 2).tocsr()
        return ripser(graph, maxdim=0, distance_matrix=True)["dgms"]

    return Peer(compute, list, single=True)


def _gudhi(name: str, dimensions: int) -> Peer:
    from gudhi import CubicalComplex

    def compute(field: np.ndarray) -> Any:
        found = CubicalComplex(**{name: field})
        found.compute_persistence()
        return found

    def pairs(found: Any) -> Pairs:
        return [found.persistence_intervals_in_dimension(k) for k in range(dimensions)]

    return Peer(compute, pairs)


def _giotto_tda(dimensions: tuple[int, ...]) -> Peer:
    from gtda.homology import CubicalPersistence

    filtered = CubicalPersistence(homology_dimensions=dimensions, n_jobs=1)

    def pairs(found: Any) -> Pairs:
        return [found[0][found[0][:, 2] == k, :2] for k in dimensions]

    return Peer(lambda field: filtered.fit_transform(field[None]), pairs, essential=False)


def _cripser(*, cells: bool, highest: int) -> Peer:
    import cripser

    compute = cripser.tcripser.computePH if cells else cripser.computePH

    def pairs(found: Any) -> Pairs:
        found[found[:, 2] > NEVER, 2] = np.inf
        return [found[found[:, 0] == k, 1:3] for k in range(highest + 1)]

    return Peer(lambda field: compute(field, maxdim=highest), pairs)


def _gudhi_rips() -> Peer:
    """Several times as fast as a simplex tree by hand."""
    from gudhi.sklearn.rips_persistence import RipsPersistence

    filtered = RipsPersistence(
        homology_dimensions=[0, 1],
        num_collapses="auto",
        n_jobs=1,
        input_type="full distance matrix",
    )
    return Peer(lambda matrix: filtered.fit_transform([matrix])[0], list)


def _giotto_ph() -> Peer:
    from gph import ripser_parallel

    return Peer(
        lambda matrix: ripser_parallel(matrix, metric="precomputed", maxdim=1, n_threads=1)["dgms"],
        list,
    )


def _ripser_rips() -> Peer:
    from ripser import ripser

    return Peer(lambda matrix: ripser(matrix, maxdim=1, distance_matrix=True)["dgms"], list)


def rounded_lengths(cloud: np.ndarray) -> np.ndarray:
    """Lengths (n, n) float32 as the kernel has them: roots of squares that are rounded."""
    squares = np.zeros((len(cloud), len(cloud)))
    for coordinate in cloud.T:
        squares += (coordinate[:, None] - coordinate[None]) ** 2
    return np.sqrt(squares.astype(np.float32))


def check_diagrams(name: str, peer: Peer, field: np.ndarray, ours: Pairs) -> None:
    """Raise Disagreement where the peer's pairs of positive persistence are not ours.

    ours: (P, 2) a dimension of homology, of the field in the precision that is compared.
    """
    theirs = peer.pairs(peer.compute(field))
    for k, (own, other) in enumerate(zip(ours, theirs, strict=True)):
        if not np.array_equal(_sorted(own, peer.essential), _sorted(other, peer.essential)):
            raise Disagreement(
                f"{name} and our kernel differ in H{k} of a field of shape {field.shape}: "
                f"{len(other)} and {len(own)} pairs"
            )


def _sorted(pairs: np.ndarray, essential: bool) -> np.ndarray:
    pairs = np.asarray(pairs, np.float64).reshape(-1, 2)
    pairs = pairs[pairs[:, 1] > pairs[:, 0]]
    if not essential:
        pairs = pairs[np.isfinite(pairs[:, 1])]
    return pairs[np.lexsort(pairs.T[::-1])]


def split(points: np.ndarray, offsets: np.ndarray, each: int) -> list[Pairs]:
    """Our ragged diagrams as `each` arrays a field."""
    parts = [points[start:stop] for start, stop in itertools.pairwise(offsets)]
    return [parts[k : k + each] for k in range(0, len(parts), each)]
