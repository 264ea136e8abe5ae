"""The edges of a complete graph in the order of their lengths, a range of lengths at a time.

A length is a whole number, its key: the bits of a non-negative float32, which order as the numbers
do. An edge (i, j), i < j, is one int64, `key << 32 | i << 16 | j`, so that comparing edges compares
lengths first and breaks ties by i and j: a total order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.kernels.jit import compiled

BLOCK = 64
SAMPLED_ROWS = 24
DIGIT = 11
"""Bits of a radix digit at most: their counters stay in the first-level cache."""


@compiled
def collect(keys: np.ndarray, low: int, high: int, edges: np.ndarray) -> int:
    """Number of edges with low < key <= high, written to `edges` by rows.

    keys: (n, n) int32, symmetric. -1 where `edges` might be too short for a row.
    """
    n = len(keys)
    above: Any = np.int32(low)  # of the same type, or the comparisons would widen
    up_to: Any = np.int32(high)
    count = 0
    for i in range(n - 1):
        row = keys[i][i + 1 :]
        if count + len(row) > len(edges):
            return -1
        first = (i << 16) | (i + 1)
        whole = len(row) // BLOCK * BLOCK
        for start in range(0, whole, BLOCK):
            block = row[start : start + BLOCK]
            some = np.int32(0)
            for j in range(BLOCK):
                some += np.int32((block[j] <= up_to) & (block[j] > above))
            if some:
                for j in range(BLOCK):
                    edges[count] = (np.int64(block[j]) << 32) | (first + start + j)
                    count += (block[j] <= up_to) & (block[j] > above)
        for j in range(whole, len(row)):
            edges[count] = (np.int64(row[j]) << 32) | (first + j)
            count += (row[j] <= up_to) & (row[j] > above)
    return count


@compiled
def sort(edges: np.ndarray, scratch: np.ndarray, count: int) -> np.ndarray:
    """The one of the two arrays that now holds the first `count` edges in order.

    A radix sort by the keys, lowest digits first. It is stable, and edges of one key come by rows.
    """
    if count < 2:
        return edges
    lowest = edges[0] >> 32
    highest = lowest
    for e in range(count):
        key = edges[e] >> 32
        lowest = min(lowest, key)
        highest = max(highest, key)
    bits = 0
    while (highest - lowest) >> bits:
        bits += 1
    passes = (bits + DIGIT - 1) // DIGIT
    width = (bits + passes - 1) // passes if passes else 0
    mask = (1 << width) - 1
    starts = np.zeros((3, 1 << DIGIT), np.int32)
    for e in range(count):
        key = (edges[e] >> 32) - lowest
        starts[0, key & mask] += 1
        starts[1, (key >> width) & mask] += 1
        starts[2, (key >> 2 * width) & mask] += 1
    for digit in range(passes):
        shift = 32 + digit * width
        place = starts[digit]
        total = np.int32(0)
        for value in range(mask + 1):
            here = place[value]
            place[value] = total
            total += here
        base = lowest << 32
        for e in range(count):
            edge = edges[e]
            value = ((edge - base) >> shift) & mask
            scratch[place[value]] = edge
            place[value] += 1
        edges, scratch = scratch, edges
    return edges


@compiled
def quantile(keys: np.ndarray, wanted: float, highest: int) -> int:
    """A key below which about `wanted` edges lie, `highest` at most; from a sample of rows.

    Counted in 32 steps an octave.
    """
    n = len(keys)
    rows = min(n, SAMPLED_ROWS)
    counts = np.zeros((highest >> 18) + 2, np.int64)
    for r in range(rows):
        row = keys[r * n // rows]
        for j in range(n):
            counts[min(row[j] >> 18, len(counts) - 1)] += 1
    counts[0] -= rows  # a point's distance to itself
    below = 0
    for step in range(len(counts)):
        below += counts[step]
        if below * n >= 2 * wanted * rows:
            return min(((step + 1) << 18) - 1, highest)
    return highest
