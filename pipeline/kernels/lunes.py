"""Edges enter a flag complex one by one: what each does is read off its lune.

The lune of an edge (x, y) is the set of points joined to both ends by earlier edges; see
`pipeline.kernels.rips` for what follows from its pieces. Neighbours are kept as bits, so a lune is
the AND of two rows. Most edges are settled by one point of the lune that is joined to all others:
three rows, and nothing else is asked.

Such a point is guessed: the witness of the edge from y to the nearest neighbour of x, or from x to
that of y; else a point of the lune near the middle of (x, y) in the order of the data, which often
follows a curve through space or time. A few edges are guessed ahead of their turn, so that their
memory accesses overlap; where an end has been joined to something meanwhile, the guess is void.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels.bits import ONE, ZERO, bit, near_in_set, near_in_word
from pipeline.kernels.jit import compiled, inlined
from pipeline.kernels.loops import DEATH, FOREST, NEVER, NO_ROOM, Loops, mark, relate

AHEAD = 8
"""Edges that are guessed together."""
MERGES, LOOPS, ALIVE, LACK = 0, 1, 2, 3
"""Places in the counts of a graph."""
LOOP, RELATION = 1, 2
"""What there was no room for."""


class Graph(NamedTuple):
    """The edges that are in, among n points.

    keys: (n, n) int32, lengths. adjacent: (n, words) uint64, the neighbours of a point and itself.
    witness: (n, n) int16, above the diagonal: a point of the lune, or FOREST, or the mark of a
    loop. parent: (n,) int64, a union-find forest. merges: (n,) int64, lengths at which components
    met. counts: (4,) int64, of merges, loops, and loops alive; and what `enter` had no room for.
    """

    keys: np.ndarray
    adjacent: np.ndarray
    witness: np.ndarray
    parent: np.ndarray
    merges: np.ndarray
    counts: np.ndarray


class Scratch(NamedTuple):
    """Room to work in.

    lune, rest, front: (words,) uint64, sets of points. pieces: (n,) int64. guesses: (AHEAD,) int64.
    changed: (n,) int64, by point, when last it was joined to something.
    """

    lune: np.ndarray
    rest: np.ndarray
    front: np.ndarray
    pieces: np.ndarray
    guesses: np.ndarray
    changed: np.ndarray


@compiled
def make_scratch(n: int, words: int) -> Scratch:
    """Room for a graph of n points."""
    return Scratch(
        np.empty(words, np.uint64),
        np.empty(words, np.uint64),
        np.empty(words, np.uint64),
        np.empty(n, np.int64),
        np.empty(AHEAD, np.int64),
        np.empty(n, np.int64),
    )


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
    nearest: np.ndarray,
    graph: Graph,
    loops: Loops,
    scratch: Scratch,
    watch: np.ndarray,
) -> int:
    """Let edges[first:count], which are in order, enter the graph; the place where this stopped.

    It is `count` when all are in. It is less when no loop is alive and the next edge is longer
    than `horizon`, or when there is no room for what that edge brings (counts[LACK]: a LOOP or a
    RELATION). It is -1 when watch[1] is set. nearest: (n, ...) int64, nearest[x, 0] is best a point
    near x.
    """
    # A name a field: taking one from a tuple counts references, which takes longer than an edge.
    keys = graph.keys
    adjacent = graph.adjacent
    witness = graph.witness
    parent = graph.parent
    merges = graph.merges
    counts = graph.counts
    births = loops.births
    deaths = loops.deaths
    lune = scratch.lune
    rest = scratch.rest
    pieces = scratch.pieces
    guesses = scratch.guesses
    changed = scratch.changed
    changed[:] = -1
    counts[LACK] = 0
    guessed = first
    for e in range(first, count):
        if (e - first) & (AHEAD - 1) == 0:
            if watch[1]:
                return -1
            _guess(edges[e : min(e + AHEAD, count)], nearest, adjacent, witness, guesses)
            guessed = e
        edge = edges[e]
        key = edge >> 32
        x = (edge >> 16) & 0xFFFF
        y = edge & 0xFFFF
        if counts[ALIVE] == 0 and key > horizon:
            return e
        z = guesses[e - guessed]
        if z >= 0 and changed[x] != guessed and changed[y] != guessed:
            witness[x, y] = z
        else:
            middle = (x + y) >> 1
            z = _in_lune(x, y, adjacent, middle, lune)
            if z < 0:
                _enter_bare(edge, x, y, parent, merges, births, deaths, witness, counts)
            else:
                witness[x, y] = z
                if not _is_connected(x, y, z, adjacent, middle, lune, rest):
                    found = _find_pieces(x, y, adjacent, middle, scratch)
                    witness[x, y] = pieces[0]
                    _relate_pieces(x, y, key, found, pieces, keys, witness, loops, counts)
            if counts[LACK]:
                return e
        adjacent[x, y >> 6] |= bit(y)
        adjacent[y, x >> 6] |= bit(x)
        changed[x] = guessed
        changed[y] = guessed
    return count


@inlined
def _enter_bare(
    edge: int,
    x: int,
    y: int,
    parent: np.ndarray,
    merges: np.ndarray,
    births: np.ndarray,
    deaths: np.ndarray,
    witness: np.ndarray,
    counts: np.ndarray,
) -> None:
    """An edge with an empty lune joins two components, or begins a loop."""
    if _join(parent, x, y):
        merges[counts[MERGES]] = edge >> 32
        counts[MERGES] += 1
        witness[x, y] = FOREST
    elif counts[LOOPS] == len(births):
        counts[LACK] = LOOP
    else:
        births[counts[LOOPS]] = edge
        deaths[counts[LOOPS]] = NEVER
        witness[x, y] = mark(counts[LOOPS])
        counts[LOOPS] += 1
        counts[ALIVE] += 1


@inlined
def _relate_pieces(
    x: int,
    y: int,
    key: int,
    found: int,
    pieces: np.ndarray,
    keys: np.ndarray,
    witness: np.ndarray,
    loops: Loops,
    counts: np.ndarray,
) -> None:
    """The cycles x, piece, y, other piece become boundaries.

    Where one finds no room the edge comes again, and those that were related follow from them.
    """
    for k in range(1, found):
        if counts[ALIVE] and not counts[LACK]:
            square = (x, pieces[0], y, pieces[k])
            became = relate(square, key, keys, witness, loops, counts[LOOPS])
            counts[ALIVE] -= became == DEATH
            if became == NO_ROOM:
                counts[LACK] = RELATION


@inlined
def _guess(
    edges: np.ndarray,
    nearest: np.ndarray,
    adjacent: np.ndarray,
    witness: np.ndarray,
    guesses: np.ndarray,
) -> None:
    """For each edge a point of the lune that is joined to all of it, or -1 where none is found."""
    words = adjacent.shape[1]
    for t in range(len(edges)):
        x = (edges[t] >> 16) & 0xFFFF
        y = edges[t] & 0xFFFF
        middle = (x + y) >> 1
        word = adjacent[x, middle >> 6] & adjacent[y, middle >> 6]
        some = word if word != ZERO else ONE
        z = (middle & -64) + near_in_word(some, middle)
        z = z if word != ZERO else -1
        near = nearest[x, 0]
        other = int(witness[min(near, y), max(near, y)])
        z = other if _is_in_lune(other, x, y, adjacent) else z
        near = nearest[y, 0]
        other = int(witness[min(near, x), max(near, x)])
        z = other if _is_in_lune(other, x, y, adjacent) else z
        known = z if z >= 0 else x
        missing = ZERO
        for w in range(words):
            missing |= adjacent[x, w] & adjacent[y, w] & ~adjacent[known, w]
        guesses[t] = z if missing == ZERO else -1


@inlined
def _is_in_lune(z: int, x: int, y: int, adjacent: np.ndarray) -> bool:
    """Whether z, which may be any number, is a point of the lune."""
    is_point = (z >= 0) & (z < len(adjacent))
    point = z if is_point else 0
    word = adjacent[x, point >> 6] & adjacent[y, point >> 6]
    return is_point & ((word & bit(point)) != ZERO)  # type: ignore[no-any-return]


@compiled
def _in_lune(x: int, y: int, adjacent: np.ndarray, middle: int, lune: np.ndarray) -> int:
    """A point of the lune, close to that number; -1 where it is empty. Writes the lune."""
    some = ZERO
    for w in range(len(lune)):
        lune[w] = adjacent[x, w] & adjacent[y, w]
        some |= lune[w]
    return near_in_set(lune, middle) if some != ZERO else -1


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
    left = ZERO
    for w in range(words):
        rest[w] = lune[w] & ~adjacent[z, w]
        left |= rest[w]
    touching = ONE
    while left != ZERO and touching != ZERO:
        point = near_in_set(rest, middle)
        touching = ZERO
        left = ZERO
        for w in range(words):
            touching |= adjacent[point, w] & lune[w] & ~rest[w]
            rest[w] &= ~adjacent[point, w]
            left |= rest[w]
    return touching != ZERO  # type: ignore[no-any-return]


@compiled
def _find_pieces(x: int, y: int, adjacent: np.ndarray, middle: int, scratch: Scratch) -> int:
    """Number of pieces of the lune, and in scratch.pieces a point of each; breadth first."""
    rest = scratch.rest
    front = scratch.front
    pieces = scratch.pieces
    words = len(rest)
    left = ZERO
    for w in range(words):
        rest[w] = adjacent[x, w] & adjacent[y, w]
        front[w] = ZERO
        left |= rest[w]
    found = 0
    while left != ZERO:
        point = near_in_set(rest, middle)
        pieces[found] = point
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


@compiled
def _join(parent: np.ndarray, x: int, y: int) -> bool:
    """Whether two points were in different components; they are in one from now on."""
    a = _root(parent, x)
    b = _root(parent, y)
    parent[a] = b
    return a != b


@compiled
def _root(parent: np.ndarray, x: int) -> int:
    while parent[x] != x:
        parent[x] = parent[parent[x]]
        x = parent[x]
    return x
