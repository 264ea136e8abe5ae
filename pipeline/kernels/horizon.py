"""Up to which length edges may have an empty lune: beyond it nothing is born and nothing joins.

An edge (x, y) with an empty lune is one of the relative neighbourhood graph: no point is nearer to
both ends than they are to each other. So it is not one if a near neighbour of x is nearer to y than
x is. That settles nearly all edges, whole rows of lengths at a time; the others are looked at one
by one. Nothing is assumed of the lengths but symmetry.

Reference: Toussaint, The relative neighbourhood graph of a finite planar set, Pattern Recognition
12 (1980).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels.jit import compiled, inlined

NEIGHBOURS = 8
BLOCK = 64


class Near(NamedTuple):
    """The first neighbours of each point. of: (n, 8) int64. known: (n,) int64, how many are.

    open: (n,) int32, scratch.
    """

    of: np.ndarray
    known: np.ndarray
    open: np.ndarray


@compiled
def find_near(edges: np.ndarray, count: int, low: int, near: Near) -> None:
    """Read the nearest neighbours off those of the first `count` edges whose key is at most low."""
    of = near.of
    known = near.known
    known[:] = 0
    lacking = len(known)
    for e in range(count):
        x = (edges[e] >> 16) & 0xFFFF
        y = edges[e] & 0xFFFF
        if edges[e] >> 32 > low:
            break
        if known[x] < NEIGHBOURS:
            of[x, known[x]] = y
            known[x] += 1
            lacking -= known[x] == NEIGHBOURS
        if known[y] < NEIGHBOURS:
            of[y, known[y]] = x
            known[y] += 1
            lacking -= known[y] == NEIGHBOURS
        if lacking == 0:
            break


@inlined
def complete_near(keys: np.ndarray, near: Near) -> None:
    """Find the neighbours of points with few from all lengths: those far from all others."""
    of = near.of
    known = near.known
    for x in range(len(keys)):
        if known[x] < NEIGHBOURS:
            count = 0
            for y in range(len(keys)):
                if y != x and (count < NEIGHBOURS or keys[x, y] < keys[x, of[x, count - 1]]):
                    count = min(count + 1, NEIGHBOURS)
                    place = count - 1
                    while place > 0 and keys[x, of[x, place - 1]] > keys[x, y]:
                        of[x, place] = of[x, place - 1]
                        place -= 1
                    of[x, place] = y
            known[x] = count


@compiled
def longest_bare(keys: np.ndarray, low: int, high: int, near: Near, watch: np.ndarray) -> int:
    """A key that no edge with an empty lune exceeds, of those with low < key <= high; or -1.

    keys: (n, n) int32, symmetric, n at least 2. Of no meaning where watch[1] is set.
    """
    longest = -1
    for x in range(len(keys) - 1):
        if watch[1]:
            return longest
        row = keys[x][x + 1 :]
        open_ = near.open[: len(row)]
        _mark_open(keys, x, near, open_)
        for start in range(0, len(row), BLOCK):
            block = open_[start : start + BLOCK]
            some = np.int32(0)
            for j in range(len(block)):
                some += block[j]
            if some == 0:
                continue
            for j in range(len(block)):
                key = row[start + j]
                if block[j] and key > longest and low < key <= high:
                    y = x + 1 + start + j
                    if _may_be_bare(keys, x, y, near):
                        longest = key
    return longest


@inlined
def _mark_open(keys: np.ndarray, x: int, near: Near, open_: np.ndarray) -> None:
    """open_[j] = 0 where a near neighbour of x is nearer to y = x + 1 + j than x is, else 1.

    Neighbours are nearer to x than y is, or else the edge is left open. Eight rows at once, so that
    each is read once and nothing is written in between; missing neighbours repeat others.
    """
    known = near.known[x]
    farthest = keys[x, near.of[x, known - 1]]
    row = keys[x][x + 1 :]
    a = keys[near.of[x, 0]][x + 1 :]
    b = keys[near.of[x, 1 % known]][x + 1 :]
    c = keys[near.of[x, 2 % known]][x + 1 :]
    d = keys[near.of[x, 3 % known]][x + 1 :]
    e = keys[near.of[x, 4 % known]][x + 1 :]
    f = keys[near.of[x, 5 % known]][x + 1 :]
    g = keys[near.of[x, 6 % known]][x + 1 :]
    h = keys[near.of[x, 7 % known]][x + 1 :]
    for j in range(len(open_)):
        one = min(min(a[j], b[j]), min(c[j], d[j]))
        two = min(min(e[j], f[j]), min(g[j], h[j]))
        open_[j] = np.int32((min(one, two) >= row[j]) | (row[j] <= farthest))


@compiled
def _may_be_bare(keys: np.ndarray, x: int, y: int, near: Near) -> bool:
    """Whether no point is strictly nearer to both ends; near neighbours of y are tried first."""
    key = keys[x, y]
    for t in range(near.known[y]):
        z = near.of[y, t]
        if keys[z, x] < key and keys[z, y] < key:
            return False
    of_x = keys[x]
    of_y = keys[y]
    inside = np.int32(0)
    for z in range(len(of_x)):
        inside += np.int32((of_x[z] < key) & (of_y[z] < key))
    return bool(inside == 0)
