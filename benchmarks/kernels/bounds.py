"""What each work must take here, from rates that are measured on this machine.

    A  a signal is read once, and each pair ends by one branch that no processor foresees
    B  each point is added to the rows and columns it can reach, a multiplication and an addition
       each, and its masses there are polynomials, at the rate of a large matrix product
    C  a pixel is compared with each of its eight neighbours, once for both; each saddle has its
       place in a sorted list, and each pair ends by one branch that no processor foresees
    D  all pairs of points are looked at once; the edges up to the last event are sorted, and of
       each the two rows of its ends are compared, in words of 64 points

They are what the method needs and no law: another method may have another bound.
"""

from __future__ import annotations

import functools
import math

import numba
import numpy as np

from benchmarks.kernels.drawers import SPEC
from benchmarks.kernels.timing import Contender, best_of, best_times
from pipeline.kernels.cells import DEGREE, Cells, reach_of

FLAGS = 2**16
NUMBERS = 2**14
RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


def of_path(signals: np.ndarray, pairs: float) -> float:
    """Seconds a signal. pairs: of one signal."""
    reading = best_of(lambda: signals.max(axis=1)) / len(signals)
    return reading + pairs * branch()


def of_images(persistences: np.ndarray, diagrams: int, kind: str) -> float:
    """Seconds an image, drawn in `kind`. persistences: of the points of all diagrams."""
    dtype = np.dtype(kind)
    reach = reach_of(Cells(0.0, 1 / SPEC.pixels, 1 / SPEC.pixels, SPEC.pixels), SPEC.sigma, dtype)
    cell = np.floor(persistences * SPEC.pixels)
    rows = np.minimum(cell + reach, SPEC.pixels - 1) - np.maximum(cell - reach, 0) + 1
    steps = SPEC.pixels * (rows + 2 * DEGREE[dtype]).sum() / diagrams
    return 2 * steps / flops(kind)


def of_cubical(images: np.ndarray, pairs: float) -> float:
    """Seconds an image. pairs: of one image."""
    each = float(np.mean([saddles(image) for image in images]))
    comparing = images[0].size * len(RING) / 2 * comparison(images.dtype.name)
    return comparing + each * sorting(int(each)) + pairs * branch()


def of_rips(cloud: np.ndarray, last: float, lengths: np.ndarray) -> float:
    """Seconds a cloud. last: the longest birth or death. lengths: (n, n) of its edges."""
    edges = (np.count_nonzero(lengths <= last) - len(cloud)) // 2
    columns = np.ascontiguousarray(cloud.T, np.float32)
    row = np.empty(len(cloud), np.float32)
    looking = best_of(lambda: _near(columns, np.float32(last**2), row))
    return looking + edges * (sorting(edges) + lune(len(cloud)))


def last_event(points: np.ndarray) -> float:
    """The longest birth, or death that is one, in some diagrams."""
    return float(points[np.isfinite(points)].max(initial=0))


def saddles(image: np.ndarray) -> int:
    """Pixels whose lower neighbours are two or more pieces of the ring around them."""
    padded = np.pad(image, 1, constant_values=np.inf)
    rows, columns = image.shape
    lower = np.stack(
        [padded[1 + r : 1 + r + rows, 1 + c : 1 + c + columns] < image for r, c in RING]
    )
    pieces = (lower & ~np.roll(lower, 1, axis=0)).sum(axis=0)
    return int((pieces > 1).sum())


@functools.cache
def flops(kind: str) -> float:
    """Multiplications and additions a second, in a large matrix product."""
    size = 768
    factor = np.random.default_rng(0).random((size, size)).astype(kind)
    return 2 * size**3 / best_of(lambda: factor @ factor)


@functools.cache
def comparison(kind: str) -> float:
    """Seconds that comparing two numbers of a near cache takes."""
    first, second = np.random.default_rng(0).random((2, NUMBERS)).astype(kind)
    found = np.empty(NUMBERS, bool)
    many = 100
    return (
        best_of(lambda: [np.less(first, second, out=found) for _ in range(many)]) / many / NUMBERS
    )


@functools.cache
def sorting(count: int) -> float:
    """Seconds a number of so many, of 32 bits: twice those of 16 bits, which NumPy sorts by digits.

    Or by comparisons, where that is faster.
    """
    if count == 0:
        return 0.0
    numbers = np.random.default_rng(0).integers(0, 2**31, (max(1, 2000 // count), count))
    short, long = numbers.astype(np.uint16), numbers.astype(np.int32)
    by_digits = 2 * best_of(lambda: np.sort(short, axis=1, kind="stable"))
    return min(by_digits, best_of(lambda: np.sort(long, axis=1))) / numbers.size


@functools.cache
def branch() -> float:
    """Seconds that a branch takes longer when it is foreseen wrongly, as half of random ones are.

    Measured on random flags against regular ones.
    """
    regular = np.arange(FLAGS) % 2 == 0
    random = np.random.default_rng(0).permutation(regular)
    regular[-1] = random[-1] = False
    runs = {"regular": [lambda: _walk(regular)], "random": [lambda: _walk(random)]}
    best = best_times([Contender(name=name, runs=run) for name, run in runs.items()], 9)
    return max(float(best["random"][0] - best["regular"][0]), 0.0) / (FLAGS / 2)


@functools.cache
def lune(points: int) -> float:
    """Seconds to see whether two sets of so many points have a common one."""
    random = np.random.default_rng(0)
    words = math.ceil(points / 64)
    sets = np.ones((points, words), np.uint64)
    ends = random.integers(0, points, (2, 10_000))
    return best_of(lambda: _common(sets, ends)) / ends.shape[1]


@numba.njit
def _walk(flags: np.ndarray) -> int:
    place = 0
    total = 0
    while place < len(flags):
        while flags[place]:
            place += 1
        total ^= place
        place += 1
    return total


@numba.njit(fastmath={"contract"})
def _near(cloud: np.ndarray, square: float, squares: np.ndarray) -> int:
    """How many pairs of the points (D, n) lie so near. squares: (n,), to work in."""
    found = 0
    for a in range(cloud.shape[1]):
        row = squares[:a]
        row[:] = 0
        for coordinate in range(cloud.shape[0]):
            others, own = cloud[coordinate, :a], cloud[coordinate, a]
            for b in range(len(row)):
                row[b] += (others[b] - own) ** 2
        for b in range(len(row)):
            found += row[b] <= square
    return found


@numba.njit
def _common(sets: np.ndarray, ends: np.ndarray) -> int:
    found = 0
    for edge in range(ends.shape[1]):
        common = np.uint64(0)
        for word in range(sets.shape[1]):
            common |= sets[ends[0, edge], word] & sets[ends[1, edge], word]
        found += common != 0
    return found
