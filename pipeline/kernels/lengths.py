"""All lengths of a cloud or a matrix, as whole numbers that order as they do: bits of float32.

They are scaled by a power of two first, which is exact, to use all of float32's range.

Squares of lengths need no root, and rounding them is as monotone. Where one leaves that range
though its points differ (by less than 2**-118 of the cloud's extent), the lengths themselves are
rounded instead.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.kernels.jit import compiled, exact

SQUARED, PLAIN = 55, 128
"""Exponents of the largest extent of a cloud (its square, times 2**15 coordinates, fits), and of
the largest length of a matrix (so that no length that was a float32 loses a bit)."""
LARGEST = float(np.finfo(np.float32).max)
SMALLEST_NORMAL = 0x00800000
"""Bits of the smallest float32 of full precision, 2**-126."""


@exact
def fill_squares(cloud: np.ndarray, exponent: int, keys: np.ndarray) -> tuple[int, bool]:
    """Writes the squares of lengths times 2**-exponent; see `enclosing_and_small`.

    cloud: (D, n) float64. keys: (n, n) int32. The sum runs over the coordinates in their order.
    """
    dimension, n = cloud.shape
    scaled = cloud * math.ldexp(1.0, -exponent)
    total = np.empty(n)
    lengths = keys.view(np.float32)
    for i in range(n):
        x = scaled[0]
        a = x[i]
        row = lengths[i]
        if dimension == 3:  # one pass where it is worth it
            y = scaled[1]
            z = scaled[2]
            b = y[i]
            c = z[i]
            for j in range(n):
                u = x[j] - a
                v = y[j] - b
                w = z[j] - c
                row[j] = np.float32(u * u + v * v + w * w)
            continue
        for j in range(n):
            u = x[j] - a
            total[j] = u * u
        for k in range(1, dimension):
            x = scaled[k]
            a = x[i]
            for j in range(n):
                u = x[j] - a
                total[j] += u * u
        for j in range(n):
            row[j] = np.float32(total[j])
    return enclosing_and_small(keys)


@exact
def fill_lengths(cloud: np.ndarray, exponent: int, keys: np.ndarray) -> tuple[int, bool]:
    """As `fill_squares` for the lengths themselves, with no square out of range: slow, exact."""
    dimension, n = cloud.shape
    scaled = cloud * math.ldexp(1.0, -exponent)
    lengths = keys.view(np.float32)
    for i in range(n):
        for j in range(n):
            largest = 0.0
            for k in range(dimension):
                largest = max(largest, abs(scaled[k, j] - scaled[k, i]))
            total = 0.0
            if largest > 0:
                for k in range(dimension):
                    total += ((scaled[k, j] - scaled[k, i]) / largest) ** 2
            lengths[i, j] = np.float32(largest * math.sqrt(total))
    return enclosing_and_small(keys)


@exact
def fill_rounded(matrix: np.ndarray, exponent: int, keys: np.ndarray) -> tuple[int, bool]:
    """As `fill_squares` for given lengths: matrix (n * n,) float64."""
    n = len(keys)
    factor = math.ldexp(1.0, -exponent)
    lengths = keys.view(np.float32)
    for i in range(n):
        row = matrix[i * n : i * n + n]
        for j in range(n):
            lengths[i, j] = np.float32(min(row[j] * factor, LARGEST))
    return enclosing_and_small(keys)


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
    """Whether two points differ whose square of the length is zero or subnormal."""
    dimension, n = cloud.shape
    for i in range(n):
        for j in range(i + 1, n):
            if keys[i, j] < SMALLEST_NORMAL:
                for k in range(dimension):
                    if cloud[k, i] != cloud[k, j]:
                        return True
    return False


@compiled
def merge_repeated(keys: np.ndarray) -> int:
    """Number of points left when each has gone that has the same lengths as an earlier one.

    Theirs are the first rows and columns: keys.reshape(-1)[: m * m], as (m, m). A point at length
    zero from another one that has other lengths (where there is no metric) stays.
    """
    n = len(keys)
    kept = np.empty(n, np.int64)
    count = 0
    for j in range(n):
        repeated = False
        for i in kept[:count]:
            if keys[i, j] == 0:
                same = True
                for k in range(n):
                    same &= keys[i, k] == keys[j, k]
                if same:
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
    """Such that 2**-exponent brings this to about 2**wanted (below it); 0 for 0."""
    exponent = math.frexp(largest)[1] - wanted if largest > 0 else 0
    return min(max(exponent, -1000), 1000)


@compiled
def range_of(cloud: np.ndarray) -> float:
    """The largest range of a coordinate, halved lest it overflows: (D, n) -> number."""
    largest = 0.0
    for k in range(len(cloud)):
        row = cloud[k]
        low = row[0]
        high = row[0]
        for value in row:
            low = min(low, value)
            high = max(high, value)
        largest = max(largest, high / 2 - low / 2)
    return largest


@exact
def length_of(key: int, exponent: int, squared: bool) -> float:
    """The length that a key stands for, its root taken in float32."""
    number = np.int32(key).view(np.float32)
    return math.ldexp(np.float64(np.sqrt(number) if squared else number), exponent)


@compiled
def last_key(longest: float, enclosing: int, exponent: int, squared: bool) -> int:
    """The largest key up to `enclosing` whose length is at most `longest`; -1 for none."""
    low = -1
    high = enclosing
    while low < high:
        middle = (low + high + 1) >> 1
        if length_of(middle, exponent, squared) <= longest:
            low = middle
        else:
            high = middle - 1
    return low
