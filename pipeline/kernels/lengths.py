"""All lengths of a cloud or a matrix, as whole numbers that order as they do: bits of float32.

They are scaled by a power of two first, which is exact, to use all of float32's range.

Of a cloud, squares of lengths are summed in float64 and rounded: they need no root, and rounding is
monotone. Where a square leaves float32's range though its points differ (by less than about 2**-120
of the cloud's extent), the lengths themselves are rounded instead.

What may take long looks at `watch[1]` now and then, and returns early where it is set.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.kernels.jit import compiled, exact, inlined

PLAIN = 128
"""Exponent of the largest length of a matrix, so that no length that was a float32 loses a bit."""
LARGEST = float(np.finfo(np.float32).max)
SMALLEST_NORMAL = 0x00800000
"""Bits of the smallest float32 of full precision, 2**-126."""
TILE_VALUES = 2**15
"""Coordinates of a tile of points: they stay in the processor's cache."""


@exact
def scaled_cloud(cloud: np.ndarray, exponent: int) -> np.ndarray:
    """Coordinates (D, n) times 2**-exponent, or their differences to the first point's.

    Differences where the product would be out of range: the points are so near each other then,
    beside their distance from zero, that they are exact.
    """
    dimension, n = cloud.shape
    factor = math.ldexp(1.0, -exponent)
    scaled = np.empty((dimension, n))
    for k in range(dimension):
        from_zero = cloud[k]
        row = scaled[k]
        farthest = 0.0
        for j in range(n):
            row[j] = from_zero[j] * factor
            farthest = max(farthest, abs(row[j]))
        if farthest == math.inf:
            for j in range(n):
                row[j] = (from_zero[j] - from_zero[0]) * factor
    return scaled


@exact
def fill_squares(scaled: np.ndarray, keys: np.ndarray, watch: np.ndarray) -> None:
    """Writes the squares of lengths of scaled coordinates (D, n) into keys (n, n) int32.

    The sum runs over the coordinates in their order. A tile of points at a time, those before it
    and itself with it; what is above the diagonal is written below it too.
    """
    dimension, n = scaled.shape
    lengths = keys.view(np.float32)
    tile = max(TILE_VALUES // dimension // 64 * 64, 64)
    total = np.empty(tile)
    for start in range(0, n, tile):
        stop = min(start + tile, n)
        for i in range(stop):
            row = lengths[i][start:stop]
            x = scaled[0][start:stop]
            a = scaled[0, i]
            if dimension == 3:  # one pass where it is worth it
                y = scaled[1][start:stop]
                z = scaled[2][start:stop]
                b = scaled[1, i]
                c = scaled[2, i]
                for j in range(stop - start):
                    u = x[j] - a
                    v = y[j] - b
                    w = z[j] - c
                    row[j] = np.float32(u * u + v * v + w * w)
                continue
            for j in range(stop - start):
                u = x[j] - a
                total[j] = u * u
            for k in range(1, dimension):
                x = scaled[k][start:stop]
                a = scaled[k, i]
                for j in range(stop - start):
                    u = x[j] - a
                    total[j] += u * u
            for j in range(stop - start):
                row[j] = np.float32(total[j])
        if watch[1]:
            return
    _mirror(keys, tile)


@inlined
def _mirror(keys: np.ndarray, tile: int) -> None:
    """Copies what lies right of the tiles on the diagonal to below them, block by block."""
    n = len(keys)
    for top in range(0, n, 32):
        for left in range(top // tile * tile + tile, n, 32):
            for i in range(top, min(top + 32, n)):
                for j in range(left, min(left + 32, n)):
                    keys[j, i] = keys[i, j]


@exact
def fill_lengths(scaled: np.ndarray, keys: np.ndarray, watch: np.ndarray) -> None:
    """As `fill_squares`, for the lengths themselves, no square of which leaves float64's range."""
    dimension, n = scaled.shape
    lengths = keys.view(np.float32)
    for i in range(n):
        if watch[1]:
            return
        for j in range(n):
            largest = 0.0
            for k in range(dimension):
                largest = max(largest, abs(scaled[k, j] - scaled[k, i]))
            total = 0.0
            if largest > 0:
                for k in range(dimension):
                    total += ((scaled[k, j] - scaled[k, i]) / largest) ** 2
            lengths[i, j] = np.float32(largest * math.sqrt(total))


@exact
def fill_rounded(matrix: np.ndarray, exponent: int, keys: np.ndarray) -> None:
    """As `fill_squares`, for given lengths (n * n,) float64, times 2**-exponent."""
    n = len(keys)
    factor = math.ldexp(1.0, -exponent)
    lengths = keys.view(np.float32)
    for i in range(n):
        row = matrix[i * n : i * n + n]
        for j in range(n):
            lengths[i, j] = np.float32(min(abs(row[j]) * factor, LARGEST))  # -0.0 has other bits


@compiled
def enclosing_and_small(keys: np.ndarray) -> tuple[int, bool]:
    """The enclosing radius, and whether some length between two points is zero or subnormal."""
    n = len(keys)
    enclosing = np.int32(0x7FFFFFFF)
    small = np.int64(0)
    for i in range(n):
        row = keys[i]
        farthest = np.int32(0)
        few = np.int32(0)
        for j in range(n):
            farthest = max(farthest, row[j])
            few += np.int32(row[j] < SMALLEST_NORMAL)
        enclosing = min(enclosing, farthest)
        small += few
    return int(enclosing), bool(small > n)


@compiled
def differ_though_small(cloud: np.ndarray, keys: np.ndarray) -> bool:
    """Whether two points (D, n) differ whose square of the length is zero or subnormal."""
    dimension, n = cloud.shape
    for i in range(n):
        for j in range(i + 1, n):
            if keys[i, j] < SMALLEST_NORMAL:
                for k in range(dimension):
                    if cloud[k, i] != cloud[k, j]:
                        return True
    return False


@compiled
def merge_repeated(keys: np.ndarray, watch: np.ndarray) -> int:
    """Number of points left when each has gone that has the same lengths as an earlier one.

    Theirs are the first rows and columns: keys.reshape(-1)[: m * m], as (m, m). A point at length
    zero from another one that has other lengths (where there is no metric) stays.
    """
    n = len(keys)
    kept = np.empty(n, np.int64)
    count = 0
    for j in range(n):
        if watch[1]:
            return n
        repeated = False
        for i in kept[:count]:
            if keys[i, j] == 0:
                k = 0
                while k < n and keys[i, k] == keys[j, k]:
                    k += 1
                if k == n:
                    repeated = True
                    break
        if not repeated:
            kept[count] = j
            count += 1
    flat = keys.reshape(-1)
    place = 0
    for i in kept[:count]:
        for j in kept[:count]:
            flat[place] = keys[i, j]
            place += 1
    return count


@compiled
def exponent_of(largest: float, wanted: int) -> int:
    """Such that 2**-exponent brings this to just below 2**wanted; 0 for 0."""
    exponent = math.frexp(largest)[1] - wanted if largest > 0 else 0
    return min(max(exponent, -1000), 1000)


@compiled
def exponent_of_cloud(cloud: np.ndarray) -> int:
    """Such that squares of lengths of a cloud (D, n) use float32's range and do not leave it.

    A coordinate's range is at most 2**(w + 1), so a square is at most D 2**(2 w + 2) < 2**127.
    """
    largest = 0.0
    for k in range(len(cloud)):
        row = cloud[k]
        low = row[0]
        high = row[0]
        for value in row:
            low = min(low, value)
            high = max(high, value)
        largest = max(largest, high / 2 - low / 2)  # halved lest it overflows
    bits = 0
    while len(cloud) >> bits:
        bits += 1
    return exponent_of(largest, (124 - bits) // 2)


@exact
def length_of(key: int, exponent: int, squared: bool) -> float:
    """The length that a key stands for, its root taken in float32."""
    number = np.int32(key).view(np.float32)
    return math.ldexp(np.float64(np.sqrt(number) if squared else number), exponent)


@exact
def last_key(longest: float, enclosing: int, exponent: int, squared: bool) -> int:
    """The largest key up to `enclosing` whose length is at most `longest`; -1 for none.

    Both are compared as float32, as they were rounded: a length of 0.1 is not over 0.1.
    """
    most = np.float32(min(longest * math.ldexp(1.0, -exponent), LARGEST))
    low = -1
    high = enclosing
    while low < high:
        middle = (low + high + 1) >> 1
        number = np.int32(middle).view(np.float32)
        if (np.sqrt(number) if squared else number) <= most:
            low = middle
        else:
            high = middle - 1
    return low
