"""Sub-level set persistence of images: H0 and H1 of cubical complexes, by two merge trees.

An image is filtered by its values. In the construction by cells a pixel is a square, which brings
its edges and corners along: pixels that share a corner are connected, so sub-level sets are
8-connected and their complements 4-connected. In the construction by vertices a pixel is a point,
edges and squares appear with the last of their pixels: sub-level sets are 4-connected, their
complements 8-connected. Outside of the image all is +inf.

H0. A component of {f <= t} is born at a local minimum and dies where it meets one that is older
(lower): the elder rule. This is the merge tree of the image.

H1. By Alexander duality in the plane a loop of {f <= t} is a bounded component of {f > t}, in the
other connectivity. Sweeping downwards, that component appears at a local maximum M and meets an
older (higher) one at s, the outside being the oldest: the class has birth f(s) and death f(M). This
is the merge tree of the negated image.

Pixels are ordered by value, equal ones by their place, so that all are different. The neighbours of
a pixel form a ring of eight. The lower ones among them fall into connected runs, and so do the
higher ones; there are as many of the former as of the latter, except around minima and maxima. With
one run nothing happens: any lower neighbour will do as the pixel's parent in a forest whose roots
are the minima, and any higher one as its parent in a forest whose roots are the maxima. A pixel
with k > 1 runs is a saddle, and every saddle of one tree is a saddle of the other. Adding it to the
sub-level set ends m components and starts k - 1 - m loops. So:

1. compare each pixel with its neighbours: one byte, a bit for each lower neighbour;
2. look up both parents, and whether the pixel is a saddle, in tables of 256 entries;
3. sort the saddles, which are few (a tenth of a photo, a quarter of noise, at most half);
4. unite minima at saddles upwards, then maxima downwards at those saddles that have loops to start.

References: Edelsbrunner and Harer, Computational Topology (2010), sections VI.3 and VII.1. Wagner,
Chen and Vuçini, Efficient computation of persistent homology for cubical data (2012). Garin, Heiss,
Maggs, Bleile and Robins, Duality in persistent homology of images (2020), arXiv:2005.04597.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels.jit import compiled

RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""Neighbours (row, column) of a pixel, clockwise: even ones share an edge, odd ones a corner."""


def _runs(ring: int, diagonal: bool) -> list[int]:
    """First neighbour of each connected run of those whose bit is set in `ring`."""
    present = [bool(ring >> r & 1) for r in range(8)]
    for r in (1, 3, 5, 7):
        beside = present[r - 1], present[(r + 1) % 8]
        # Diagonally connected neighbours need no corner between them; otherwise a corner counts
        # only with an edge beside it, as it does not touch the pixel.
        present[r] = present[r] or all(beside) if diagonal else present[r] and any(beside)
    return [r for r in range(8) if present[r] and not present[r - 1]]


def _packed(runs: list[int]) -> int:
    """The number of runs, and below it their first neighbours, in three bits each."""
    return len(runs) << 12 | sum(r << 3 * k for k, r in enumerate(runs))


def _parent(ring: int, diagonal: bool) -> int:
    """A neighbour whose bit is set in `ring`, or 8 if there is none."""
    order = (0, 2, 4, 6, 1, 3, 5, 7) if diagonal else (0, 2, 4, 6)
    return next((r for r in order if ring >> r & 1), 8)


RUNS = np.array([[_packed(_runs(ring, d)) for ring in range(256)] for d in (False, True)], np.int32)
PARENT = np.array([[_parent(ring, d) for ring in range(256)] for d in (False, True)], np.uint8)

INDEX = np.uint64(31)
PLACE = np.uint64(2**31 - 1)
"""The key of a saddle: its place in the lower 31 bits, and 32 bits of its value above them."""
WORD, LOWER_HALF, UPPER_HALF = np.uint64(2**32 - 1), np.uint64(0), np.uint64(32)
SIGN = np.int64(-(2**63))


class Tree(NamedTuple):
    """A merge tree under construction, of the image or of the negated image.

    parents: (N,) uint32, a forest of pixels. step: (256,) uint32, from a pixel to its first parent,
    and runs: (256,) int32, a row of `RUNS`: both by the bits of the pixel's lower neighbours.
    upwards: the tree of the image itself.
    """

    parents: np.ndarray
    step: np.ndarray
    runs: np.ndarray
    upwards: bool


class Space(NamedTuple):
    """Room for one image at a time, with a border of one pixel: N = (H + 2) * (W + 2) pixels.

    values: (N,), the border is inf. bits: the same memory, as integers. below: (N,) uint8, bits of
    the lower neighbours. saddles, spare: (N // 2 + 1,) uint64. ring: (8,) uint32, steps from a
    pixel to its neighbours, modulo 2**32: indices are unsigned, since numba looks at every other
    one for whether it is negative.
    """

    values: np.ndarray
    bits: np.ndarray
    below: np.ndarray
    saddles: np.ndarray
    spare: np.ndarray
    ring: np.ndarray


def cubical_h01(
    images: np.ndarray, *, cells: bool, min_persistence: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Diagrams of images of one size: points (P, 2) as (birth, death), offsets (2 * S + 1,).

    images: (S, H, W) float64 or float32, finite, H and W at least 1, (H + 2) * (W + 2) < 2**31. Not
    checked here: with a NaN this may never return.
    cells: pixels are squares, as gudhi's `top_dimensional_cells`; otherwise `vertices`.
    min_persistence: pairs are kept when death - birth, in the type of the images, is greater; at
    least 0.

    The H0 diagram of image s is points[offsets[2 * s]:offsets[2 * s + 1]]: its finite pairs by
    ascending death, then the essential class (birth, inf) as its last row. The H1 diagram is the
    next slot, by descending birth; it has no essential class. Points have the type of the images,
    and are values of theirs, bit for bit; -0.0 counts as 0.0.

    Needs at most 21 bytes a pixel of one image (25 in float64), 15 to 18 (19 to 22) of photos and
    noise, beside the images and at most twice the points.
    """
    # Read-only, unaligned or strided arrays would each be compiled for again.
    images = np.require(images, requirements=["C", "A", "W"])
    count, rows, columns = images.shape
    least = images.dtype.type(min_persistence)
    space, lower, upper = _space(rows, columns, images.dtype, cells)
    points = np.empty((count * (rows * columns // 8 + 2), 2), images.dtype)
    offsets = np.zeros(2 * count + 1, np.int64)
    done = 0
    while (done := _diagrams(images, done, least, space, lower, upper, points, offsets)) < count:
        points.resize((2 * len(points) + 64, 2), refcheck=False)
    points.resize((int(offsets[-1]), 2), refcheck=False)  # gives the unused tail back, no copy
    return points, offsets


def _space(rows: int, columns: int, dtype: np.dtype, cells: bool) -> tuple[Space, Tree, Tree]:
    """Room for images of that size, and for their two trees; the outside is pixel 0 of both."""
    pixels = (rows + 2) * (columns + 2)
    values = np.full(pixels, np.inf, dtype)
    bits = values.view(f"i{dtype.itemsize}")
    below = np.empty(pixels, np.uint8)
    saddles, spare = np.empty((2, pixels // 2 + 1), np.uint64)
    steps = np.array([r * (columns + 2) + c for r, c in (*RING, (0, 0))]).astype(np.uint32)
    trees = []
    for diagonal, upwards in ((cells, True), (not cells, False)):
        parents = np.zeros(pixels, np.uint32)
        step, runs = steps[PARENT[int(diagonal)]], RUNS[int(diagonal)]
        if not upwards:  # the higher neighbours are the complement: bits 255 - b
            step, runs = step[::-1].copy(), runs[::-1].copy()
        trees.append(Tree(parents, step, runs, upwards))
    return Space(values, bits, below, saddles, spare, steps[:8]), trees[0], trees[1]


@compiled
def _diagrams(
    images: np.ndarray,
    first: int,
    min_persistence: float,
    space: Space,
    lower: Tree,
    upper: Tree,
    points: np.ndarray,
    offsets: np.ndarray,
) -> int:
    """Diagrams of images first, first + 1, ..., while there is room for all points of the next.

    Returns the number of the first image that is not done.
    """
    _, rows, columns = images.shape
    starts = np.empty(256, np.uint32)
    for s in range(first, len(images)):
        _pad(images[s], space.values)
        _compare(space.values, columns + 2, space.below)
        saddles = _plant(space.below, rows, columns, lower, upper, space.saddles)
        end = offsets[2 * s]
        if end + 3 * saddles + 2 > len(points):
            return s
        _sort(space, saddles, starts)
        pairs, saddles = _unite(space, lower, saddles, min_persistence, points[end:])
        end += pairs
        points[end, 0] = space.values[_root(lower.parents, np.uint32(columns + 3))]
        points[end, 1] = np.inf
        end += 1
        offsets[2 * s + 1] = end
        pairs, saddles = _unite(space, upper, saddles, min_persistence, points[end:])
        offsets[2 * s + 2] = end + pairs
    return len(images)


@compiled
def _pad(image: np.ndarray, values: np.ndarray) -> None:
    """Copies an image into its border; adding 0 turns -0.0, which has other bits, into 0.0."""
    rows, columns = image.shape
    zero = image.dtype.type(0)
    for i in range(rows):
        source = image[i]
        target = values[(i + 1) * (columns + 2) + 1 :]
        for j in range(columns):
            target[j] = source[j] + zero


@compiled
def _compare(values: np.ndarray, stride: int, below: np.ndarray) -> None:
    """Bits of the lower neighbours; an equal one is lower when it comes before.

    One flat run over all rows, border between them included: short loops cost their set-up.
    Slices, and a loop from 0: an index that might be negative would not become vector code.
    """
    n = values[1:]
    ne = values[2:]
    e = values[stride + 2 :]
    se = values[2 * stride + 2 :]
    s = values[2 * stride + 1 :]
    sw = values[2 * stride :]
    w = values[stride:]
    pixel = values[stride + 1 :]
    bits = below[stride + 1 :]
    none = np.uint8(0)
    for i in range(len(values) - 2 * stride - 2):
        value = pixel[i]
        ring = np.uint8(1) if n[i] <= value else none
        ring |= np.uint8(2) if ne[i] <= value else none
        ring |= np.uint8(4) if e[i] < value else none
        ring |= np.uint8(8) if se[i] < value else none
        ring |= np.uint8(16) if s[i] < value else none
        ring |= np.uint8(32) if sw[i] < value else none
        ring |= np.uint8(64) if w[i] <= value else none
        ring |= np.uint8(128) if values[i] <= value else none
        bits[i] = ring


@compiled
def _plant(
    below: np.ndarray, rows: int, columns: int, lower: Tree, upper: Tree, saddles: np.ndarray
) -> int:
    """First parents in both trees; returns the number of saddles, and writes their places."""
    count = 0
    for i in range(rows):
        start = (i + 1) * (columns + 2) + 1
        bits = below[start:]
        lower_parents = lower.parents[start:]
        upper_parents = upper.parents[start:]
        for j in range(columns):
            ring = bits[j]
            lower_parents[j] = np.uint32(start + j + lower.step[ring])
            upper_parents[j] = np.uint32(start + j + upper.step[ring])
            saddles[count] = start + j
            count += lower.runs[ring] >= 2 << 12
    return count


@compiled
def _sort(space: Space, count: int, starts: np.ndarray) -> None:
    """Sorts saddles[:count], places in ascending order, by value, stably.

    The upper half of float64 nearly does it. What is left is exchanged one by one, unless it is
    too much: then the lower half is sorted first.
    """
    _key(space, count, UPPER_HALF)
    _sort_keys(space.saddles, space.spare, count, starts)
    if space.bits.itemsize == 8 and not _settle(space.values, space.saddles, count):
        for half in (LOWER_HALF, UPPER_HALF):
            _key(space, count, half)
            _sort_keys(space.saddles, space.spare, count, starts)


@compiled
def _key(space: Space, count: int, half: np.uint64) -> None:
    """Puts 32 bits of the value, from bit `half` of 64 on, above the place of each saddle.

    Bits of floats are in order, as unsigned integers, once all bits of negative ones and the sign
    of the others are flipped.
    """
    bits = space.bits
    saddles = space.saddles
    missing = 64 - 8 * bits.itemsize
    for k in range(count):
        place = saddles[k] & PLACE
        value = np.int64(bits[place]) << missing
        word = np.uint64(value ^ (value >> 63 | SIGN)) >> half & WORD
        saddles[k] = word << INDEX | place


@compiled
def _settle(values: np.ndarray, saddles: np.ndarray, count: int) -> bool:
    """Sorts by exact value, by insertion; gives up, and returns False, after `count` exchanges."""
    exchanges = 0
    for k in range(1, count):
        key = saddles[k]
        value = values[key & PLACE]
        hole = k
        while hole > 0 and values[saddles[hole - 1] & PLACE] > value:
            saddles[hole] = saddles[hole - 1]
            hole -= 1
        saddles[hole] = key
        exchanges += k - hole
        if exchanges > count:
            return False
    return True


@compiled
def _sort_keys(keys: np.ndarray, spare: np.ndarray, count: int, starts: np.ndarray) -> None:
    """Sorts keys[:count] by their bits above INDEX: radix sort, eight bits at a time.

    Bits that all keys have in common are left out.
    """
    varied = np.uint64(0)
    for k in range(count):
        varied |= keys[k] ^ keys[0]
    varied = varied >> INDEX << INDEX
    source = keys
    target = spare
    shift = INDEX
    swapped = False
    while varied:
        while not (varied >> shift) & np.uint64(1):
            shift += np.uint64(1)
        for d in range(256):
            starts[d] = 0
        for k in range(count):
            starts[(source[k] >> shift) & np.uint64(255)] += np.uint32(1)
        before = np.uint32(0)
        for d in range(256):
            here = starts[d]
            starts[d] = before
            before += here
        for k in range(count):
            key = source[k]
            digit = (key >> shift) & np.uint64(255)
            position = starts[digit]
            target[position] = key
            starts[digit] = position + np.uint32(1)
        source, target = target, source
        swapped = not swapped
        varied &= ~(np.uint64(255) << shift)
    if swapped:
        for k in range(count):
            keys[k] = spare[k]


@compiled
def _root(parents: np.ndarray, pixel: np.uint32) -> np.uint32:
    """The root of a pixel's tree, which becomes its parent.

    Three steps without a question, as few trees are deeper: a branch would be mispredicted.
    """
    place: np.uint32 = parents[parents[parents[pixel]]]
    parent = parents[place]
    while parent != place:
        grandparent = parents[parent]
        parents[place] = grandparent
        place = grandparent
        parent = parents[place]
    parents[pixel] = place
    return place


@compiled
def _unite(
    space: Space, tree: Tree, count: int, min_persistence: float, points: np.ndarray
) -> tuple[int, int]:
    """Writes the pairs of one tree; returns their number, and that of the saddles to come back to.

    Those are the saddles, moved to the front on the way upwards, with runs that were connected
    already. A point that is no pair is written too, and overwritten by the next: no branch depends
    on whether two runs were connected.
    """
    values = space.values
    saddles = space.saddles
    ring = space.ring
    upwards = tree.upwards
    born = 0 if upwards else 1
    kept = 0
    left = 0
    for k in range(count):
        key = saddles[k if upwards else count - 1 - k]
        saddle = np.uint32(key & PLACE)
        packed = tree.runs[space.below[saddle]]
        runs = packed >> 12
        older = _root(tree.parents, np.uint32(saddle + ring[packed & 7]))
        merged = 1
        for _ in range(1, runs):
            packed >>= 3
            other = _root(tree.parents, np.uint32(saddle + ring[packed & 7]))
            apart = older != other
            swap = (values[older] < values[other]) != upwards
            younger = older if swap else other
            older = other if swap else older
            tree.parents[younger] = older
            points[kept, born] = values[younger]
            points[kept, 1 - born] = values[saddle]
            kept += apart & (abs(values[saddle] - values[younger]) > min_persistence)
            merged += apart
        if upwards:
            saddles[left] = key
            left += merged < runs
    return kept, left
