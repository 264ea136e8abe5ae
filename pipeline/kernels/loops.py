"""Loops of a growing flag complex, and the relations that end them: linear algebra over F2.

Let edges enter one by one. One that finds no common neighbour of its ends (an empty lune, see
`pipeline.kernels.rips`) joins two components or begins a loop; call these bare. Any other edge
(a, b) has a witness z, adjacent to both ends beforehand: the triangle makes it homologous to the
path a, z, b of two earlier edges. Replaced so again and again, latest edge first, a cycle becomes
a sum of bare edges. Those that joined components form a forest, which holds no cycle; so the bare
edges that began loops are coordinates of the first homology: one bit each, the latest is highest.

A relation is such a sum that is a boundary from now on. Reduced by the earlier relations, its
highest bit is the loop that dies (the elder rule); none is left where it followed from them.
Latest first means that an edge met twice is met twice in a row and cancels, so a relation takes
at most one step an edge, however entangled the witnesses are.

Reference: Edelsbrunner and Harer, Computational Topology (2010), sections IV.2 and VII.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels.bits import ONE, ZERO, last_bit
from pipeline.kernels.jit import compiled

FOREST = -1
"""Witness of a bare edge that joined two components."""
MOST_NUMBERED = 32766
"""Loops whose number fits beside the witnesses; later ones are looked up by their edge."""


class Loops(NamedTuple):
    """Loops by number, in order of birth.

    births: (most,) int64, the edge that began each. deaths: (most,) int64, a key, -1 while alive.
    relations: (most, words) uint64; row q is the reduced relation that ended loop q.
    column, heap: scratch.
    """

    births: np.ndarray
    deaths: np.ndarray
    relations: np.ndarray
    column: np.ndarray
    heap: np.ndarray


@compiled
def make_loops(most: int) -> Loops:
    """Room for so many loops, a multiple of 64."""
    return Loops(
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty((most, most // 64), np.uint64),
        np.empty(most // 64, np.uint64),
        np.empty(4096, np.int64),
    )


@compiled
def more_loops(loops: Loops) -> Loops:
    """The same loops with room for twice as many."""
    most, words = loops.relations.shape
    more = make_loops(2 * most)
    for q in range(most):
        more.births[q] = loops.births[q]
        more.deaths[q] = loops.deaths[q]
        for w in range(words):
            more.relations[q, w] = loops.relations[q, w]
    return more


@compiled
def mark(number: int) -> int:
    """What stands in place of a witness for the bare edge that began loop `number`."""
    return -2 - min(number, MOST_NUMBERED)


@compiled
def relate(
    square: tuple[int, int, int, int],
    key: int,
    keys: np.ndarray,
    witness: np.ndarray,
    loops: Loops,
    count: int,
) -> bool:
    """Make the cycle through four points a boundary from length `key` on; whether a loop dies.

    Consecutive points of the square are joined by edges that are in. count: of loops so far.
    """
    words = ((count - 1) >> 6) + 1
    column = loops.column
    column[:words] = ZERO
    _express(square, keys, witness, loops, count)
    word = words - 1
    while word >= 0:
        if column[word] == ZERO:
            word -= 1
            continue
        loop = word * 64 + last_bit(column[word])
        relation = loops.relations[loop]
        if loops.deaths[loop] < 0:
            for w in range(word + 1):
                relation[w] = column[w]
            loops.deaths[loop] = key
            return True
        for w in range(word + 1):
            column[w] ^= relation[w]
    return False


@compiled
def _express(
    square: tuple[int, int, int, int],
    keys: np.ndarray,
    witness: np.ndarray,
    loops: Loops,
    count: int,
) -> None:
    """Adds the coordinates of the cycle to the column; the heap has edges to be replaced."""
    heap = loops.heap
    size = 0
    for corner in range(4):
        size = _push(heap, size, _edge(keys, square[corner], square[(corner + 1) & 3]))
    while size:
        edge = heap[0]
        size = _pop(heap, size)
        if size and heap[0] == edge:
            size = _pop(heap, size)
            continue
        a = (edge >> 16) & 0xFFFF
        b = edge & 0xFFFF
        z = int(witness[a, b])
        if z >= 0:
            if size + 2 > len(heap):
                heap = np.append(heap, heap)
            size = _push(heap, size, _edge(keys, a, z))
            size = _push(heap, size, _edge(keys, z, b))
        elif z < FOREST:
            loop = -2 - z
            if loop == MOST_NUMBERED:
                loop = np.searchsorted(loops.births[:count], edge)
            loops.column[loop >> 6] ^= ONE << np.uint64(loop & 63)


@compiled
def _edge(keys: np.ndarray, a: int, b: int) -> int:
    low = min(a, b)
    high = max(a, b)
    return (int(keys[low, high]) << 32) | (low << 16) | high


@compiled
def _push(heap: np.ndarray, size: int, edge: int) -> int:
    place = size
    while place > 0:
        above = (place - 1) >> 1
        if heap[above] >= edge:
            break
        heap[place] = heap[above]
        place = above
    heap[place] = edge
    return size + 1


@compiled
def _pop(heap: np.ndarray, size: int) -> int:
    size -= 1
    edge = heap[size]
    place = 0
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        if below + 1 < size and heap[below + 1] > heap[below]:
            below += 1
        if heap[below] <= edge:
            break
        heap[place] = heap[below]
        place = below
    heap[place] = edge
    return size
