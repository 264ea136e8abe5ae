"""Edges enter a flag complex one by one: what each does is read off its lune.

The lune of an edge (x, y) is the set of points joined to both ends by earlier edges; see
`pipeline.kernels.rips` for what follows from its pieces. Neighbours are kept as bits, so a lune is
the AND of two rows. Most edges are settled by one point of the lune that is joined to all others:
three rows, no branch. Points near the middle of (x, y) in the order of the data are tried first,
since that order usually follows some curve through space or time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels.bits import ZERO, bit, near_in_set, near_in_word
from pipeline.kernels.jit import compiled, inlined
from pipeline.kernels.loops import FOREST, Loops, mark, relate

MERGES, LOOPS, ALIVE = 0, 1, 2
"""Places in the counts of a graph."""


class Graph(NamedTuple):
    """The edges that are in, among n points.

    keys: (n, n) int32, lengths. adjacent: (n, words) uint64, the neighbours of a point and itself.
    witness: (n, n) int16, above the diagonal: a point of the lune, or FOREST, or the mark of a
    loop. parent: (n,) int64, a union-find forest. merges: (n,) int64, lengths at which components
    met. counts: (3,) int64, of merges, loops, and loops alive.
    """

    keys: np.ndarray
    adjacent: np.ndarray
    witness: np.ndarray
    parent: np.ndarray
    merges: np.ndarray
    counts: np.ndarray


class Sets(NamedTuple):
    """Scratch: sets of points as bits, (words,) each; pieces (n,) int64."""

    lune: np.ndarray
    rest: np.ndarray
    front: np.ndarray
    pieces: np.ndarray


@compiled
def clear(graph: Graph) -> None:
    """No edge is in."""
    graph.counts[:] = 0
    graph.adjacent[:] = ZERO
    for x in range(len(graph.keys)):
        graph.adjacent[x, x >> 6] = bit(x)
        graph.parent[x] = x


@compiled
def enter(
    edges: np.ndarray,
    first: int,
    count: int,
    horizon: int,
    graph: Graph,
    loops: Loops,
    sets: Sets,
    watch: np.ndarray,
) -> int:
    """Let edges[first:count], which are in order, enter the graph; the place where this stopped.

    It is `count` when all are in. It is less when no loop is alive and the next edge is longer
    than `horizon`, or when there is no room for another loop. It is -1 when watch[1] is set.
    """
    # A name a field: taking one from a tuple counts references, which takes longer than an edge.
    adjacent = graph.adjacent
    witness = graph.witness
    keys = graph.keys
    parent = graph.parent
    merges = graph.merges
    counts = graph.counts
    births = loops.births
    deaths = loops.deaths
    lune = sets.lune
    rest = sets.rest
    pieces = sets.pieces
    words = adjacent.shape[1]
    for e in range(first, count):
        edge = edges[e]
        key = edge >> 32
        x = (edge >> 16) & 0xFFFF
        y = edge & 0xFFFF
        if counts[ALIVE] == 0 and key > horizon:
            return e
        if e & 1023 == 0 and watch[1]:
            return -1
        middle = (x + y) >> 1
        z = -1
        word = adjacent[x, middle >> 6] & adjacent[y, middle >> 6]
        if word != ZERO:
            z = (middle & -64) + near_in_word(word, middle)
        else:
            some = ZERO
            for w in range(words):
                lune[w] = adjacent[x, w] & adjacent[y, w]
                some |= lune[w]
            if some != ZERO:
                z = near_in_set(lune, middle)
        if z < 0:
            a = _root(parent, x)
            b = _root(parent, y)
            if a != b:
                parent[a] = b
                merges[counts[MERGES]] = key
                counts[MERGES] += 1
                witness[x, y] = FOREST
            else:
                if counts[LOOPS] == len(births):
                    return e
                births[counts[LOOPS]] = edge
                deaths[counts[LOOPS]] = -1
                witness[x, y] = mark(counts[LOOPS])
                counts[LOOPS] += 1
                counts[ALIVE] += 1
        else:
            witness[x, y] = z
            some = ZERO
            for w in range(words):
                some |= adjacent[x, w] & adjacent[y, w] & ~adjacent[z, w]
            if some != ZERO and not _is_connected(x, y, z, adjacent, middle, lune, rest):
                found = _find_pieces(x, y, adjacent, middle, sets)
                witness[x, y] = pieces[0]
                for k in range(1, found):
                    square = (x, pieces[0], y, pieces[k])
                    if counts[ALIVE] and relate(square, key, keys, witness, loops, counts[LOOPS]):
                        counts[ALIVE] -= 1
        adjacent[x, y >> 6] |= bit(y)
        adjacent[y, x >> 6] |= bit(x)
    return count


@compiled
def _root(parent: np.ndarray, x: int) -> int:
    while parent[x] != x:
        parent[x] = parent[parent[x]]
        x = parent[x]
    return x


@inlined
def _is_connected(
    x: int,
    y: int,
    z: int,
    adjacent: np.ndarray,
    middle: int,
    lune: np.ndarray,
    rest: np.ndarray,
) -> bool:
    """Whether the lune is seen to be connected: z and a few points near it reach all of it.

    False is no answer: a search must decide.
    """
    words = len(lune)
    for w in range(words):
        lune[w] = adjacent[x, w] & adjacent[y, w]
        rest[w] = lune[w] & ~adjacent[z, w]
    touching = ONE_AT_LEAST
    left = ONE_AT_LEAST
    while touching != ZERO and left != ZERO:
        point = near_in_set(rest, middle)
        touching = ZERO
        left = ZERO
        for w in range(words):
            touching |= adjacent[point, w] & lune[w] & ~rest[w]
            rest[w] &= ~adjacent[point, w]
            left |= rest[w]
    return touching != ZERO


ONE_AT_LEAST = ~ZERO


@compiled
def _find_pieces(x: int, y: int, adjacent: np.ndarray, middle: int, sets: Sets) -> int:
    """Number of pieces of the lune, and in sets.pieces a point of each; breadth first."""
    rest = sets.rest
    front = sets.front
    words = len(rest)
    left = ZERO
    for w in range(words):
        rest[w] = adjacent[x, w] & adjacent[y, w]
        front[w] = ZERO
        left |= rest[w]
    found = 0
    while left != ZERO:
        point = near_in_set(rest, middle)
        sets.pieces[found] = point
        found += 1
        rest[point >> 6] &= ~bit(point)
        while point >= 0:
            front[point >> 6] &= ~bit(point)
            left = ZERO
            for w in range(words):
                front[w] |= rest[w] & adjacent[point, w]
                rest[w] &= ~adjacent[point, w]
                left |= rest[w]
            point = near_in_set(front, middle) if left != ZERO else -1
    return found
