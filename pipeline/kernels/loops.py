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
from pipeline.kernels.jit import compiled, inlined

FOREST = -1
"""Witness of a bare edge that joined two components."""
MOST_NUMBERED = 32766
"""Loops whose number fits beside the witnesses; later ones are looked up by their edge."""


MOST_BYTES = 2 * 2**30
"""Of the loops of one cloud and their relations."""
NEVER = -1
"""Death of a loop that is alive."""
BOUNDARY, DEATH, NO_ROOM = 0, 1, 2
"""What becomes of a relation: nothing new, the death of a loop, or it could not be kept."""


class Loops(NamedTuple):
    """Loops by number, in order of birth.

    births: (most,) int64, the edge that began each. deaths: (most,) int64, a key, or NEVER.
    starts: (most,) int64, where the reduced relation that ended loop q begins in relations: q // 64
    + 1 words. relations: (room,) uint64, the first used[0] of them taken. column: scratch.
    """

    births: np.ndarray
    deaths: np.ndarray
    starts: np.ndarray
    relations: np.ndarray
    used: np.ndarray
    column: np.ndarray


@compiled
def make_loops(most: int, room: int) -> Loops:
    """Room for so many loops, a multiple of 64, and words of relations."""
    return Loops(
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(room, np.uint64),
        np.zeros(1, np.int64),
        np.empty(most // 64, np.uint64),
    )


@compiled
def more_loops(loops: Loops, most: int, room: int) -> Loops:
    """The same loops with room for more."""
    more = make_loops(most, room)
    for q in range(len(loops.births)):
        more.births[q] = loops.births[q]
        more.deaths[q] = loops.deaths[q]
        more.starts[q] = loops.starts[q]
    more.used[0] = loops.used[0]
    for w in range(loops.used[0]):
        more.relations[w] = loops.relations[w]
    return more


@inlined
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
) -> int:
    """Make the cycle through four points a boundary from length `key` on; what becomes of it.

    Consecutive points of the square are joined by edges that are in. count: of loops so far. Where
    there is no room nothing has changed.
    """
    column = loops.column
    relations = loops.relations
    words = ((count - 1) >> 6) + 1
    if loops.used[0] + words > len(relations):
        return NO_ROOM
    column[:words] = ZERO
    _express(square, keys, witness, loops, count)
    word = words - 1
    while word >= 0:
        if column[word] == ZERO:
            word -= 1
            continue
        loop = word * 64 + last_bit(column[word])
        if loops.deaths[loop] == NEVER:
            start = loops.used[0]
            for w in range(word + 1):
                relations[start + w] = column[w]
            loops.starts[loop] = start
            loops.used[0] += word + 1
            loops.deaths[loop] = key
            return DEATH
        relation = relations[loops.starts[loop] :]
        for w in range(word + 1):
            column[w] ^= relation[w]
    return BOUNDARY


@compiled
def _express(
    square: tuple[int, int, int, int],
    keys: np.ndarray,
    witness: np.ndarray,
    loops: Loops,
    count: int,
) -> None:
    """Adds the coordinates of the cycle to the column; the heap has edges to be replaced."""
    heap = np.empty(64, np.int64)
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
                heap = _twice_as_long(heap)
            size = _push(heap, size, _edge(keys, a, z))
            size = _push(heap, size, _edge(keys, z, b))
        elif z < FOREST:
            loop = -2 - z
            if loop == MOST_NUMBERED:
                loop = _place_of(edge, loops.births, count)
            loops.column[loop >> 6] ^= ONE << np.uint64(loop & 63)


@inlined
def _twice_as_long(heap: np.ndarray) -> np.ndarray:
    longer = np.empty(2 * len(heap), np.int64)
    for place in range(len(heap)):
        longer[place] = heap[place]
    return longer


@inlined
def _place_of(edge: int, births: np.ndarray, count: int) -> int:
    """Its place among the first `count` of them, which are in order."""
    low = 0
    high = count - 1
    while low < high:
        middle = (low + high) >> 1
        if births[middle] < edge:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
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
