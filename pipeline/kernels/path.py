"""Sub-level set persistence of signals: H0 of a path graph, in linear time.

A signal x is a path graph whose vertex i is born at x[i] and whose edge (i, i+1) at
max(x[i], x[i+1]). A component is born at a local minimum and dies where it meets one that is older
(lower): the elder rule. So only the alternating local minima and maxima matter, the latter being
barriers between the former. Of equal neighbours the later one counts as lower, so that a plateau
has one minimum or maximum at most; what comes of one on a slope has persistence 0.

A minimum's component is that minimum alone up to the lower one of the two barriers beside it. If
the minimum behind that barrier is lower, then it dies there, whatever all others do. One pass finds
all such minima, and takes them and those barriers away; of noise and photographs, two thirds go. No
branch depends on the data: one that is foreseen wrongly costs as much as all else for a pair.

Passes go on while they take many. The rest is read from left to right, with a stack of minima that
are separated by strictly decreasing barriers. A new barrier closes every one that is not above it:
the two components beside that one meet there, the higher minimum dies, the lower one goes on. At
the end an infinite barrier closes all others, and the last minimum never dies.

Either way each minimum is taken once; there is no sort and no union-find.

References: Edelsbrunner and Harer, Computational Topology (2010), section VII.1 (elder rule).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels.jit import compiled

FEW = 16
"""So many minima are faster read one by one than in passes (measured)."""

ZERO, ONE = np.uint64(0), np.uint64(1)


class Space(NamedTuple):
    """Room for one signal of up to n samples at a time.

    rises, turns: (n + 1,) uint8. extrema: (n + 2,), minimum, maximum, ..., minimum, inf.

    minima, barriers: (n // 2 + 3,) each. Minimum k, from 1 on, lies between barriers k - 1 and k;
    the first and the last barrier are inf. left, right: as many, uint8; whether minimum k dies at
    barrier k - 1, or k, in a pass.

    Indices are unsigned, since numba looks at every other one for whether it is negative.
    """

    rises: np.ndarray
    turns: np.ndarray
    extrema: np.ndarray
    minima: np.ndarray
    barriers: np.ndarray
    left: np.ndarray
    right: np.ndarray


def path_h0(signals: np.ndarray, min_persistence: float) -> tuple[np.ndarray, np.ndarray]:
    """Diagrams of signals of one length: points (P, 2) as (birth, death), offsets (S+1,).

    signals: (S, n) float64 or float32, finite, n at least 1.
    min_persistence: pairs are kept when death - birth, in the type of the signals, is greater; at
    least 0.

    Diagram s is points[offsets[s]:offsets[s+1]]: its finite pairs, then the essential class
    (birth, inf) as its last row. The pairs are in the order in which passes over the signal find
    them, which depends on that signal only: from left to right in each pass. Points have the type
    of the signals, and are values of theirs.
    """
    count, length = signals.shape
    starts = np.arange(count + 1, dtype=np.int64) * length
    return path_h0_ragged(signals.reshape(-1), starts, min_persistence)


def path_h0_ragged(
    values: np.ndarray, starts: np.ndarray, min_persistence: float
) -> tuple[np.ndarray, np.ndarray]:
    """As `path_h0` for signals of any lengths: signal s is values[starts[s]:starts[s+1]].

    values: (T,) float64 or float32, finite. starts: (S+1,) strictly increasing.
    """
    # Read-only, unaligned or strided arrays would each be compiled for again.
    values = np.require(values, requirements=["C", "A", "W"])
    starts = np.require(starts, dtype=np.int64, requirements=["C", "A", "W"])
    lengths = np.diff(starts)
    room = int(((lengths + 1) // 2).sum())  # for all minima that there may be
    points = np.empty((room, 2), values.dtype)
    offsets = np.zeros(len(starts), np.int64)
    space = _space(int(lengths.max(initial=0)), values.dtype)
    _diagrams(values, starts, values.dtype.type(min_persistence), space, points, offsets)
    points = points[: int(offsets[-1])]
    # An array made smaller in place is new memory the next time, at up to a third of our time. So
    # the tail is kept, at most as large as the values, unless that would be nearly all.
    return (points if 4 * len(points) >= room else points.copy()), offsets


def _space(length: int, dtype: np.dtype) -> Space:
    rises, turns = np.empty((2, length + 1), np.uint8)
    minima, barriers = np.empty((2, length // 2 + 3), dtype)
    left, right = np.empty((2, length // 2 + 3), np.uint8)
    extrema = np.empty(length + 2, dtype)
    return Space(rises, turns, extrema, minima, barriers, left, right)


@compiled
def _diagrams(
    values: np.ndarray,
    starts: np.ndarray,
    min_persistence: float,
    space: Space,
    points: np.ndarray,
    offsets: np.ndarray,
) -> None:
    """Writes the diagrams one after the other into points, and their ends into offsets."""
    end = 0
    for s in range(len(starts) - 1):
        count = _minima(values[starts[s] : starts[s + 1]], space)
        before = 2 * count
        while count >= FEW and 4 * count <= 3 * before:
            before = count
            count, pairs = _pass(space, count, min_persistence, points[end:])
            end += pairs
        end += _rest(space, count, min_persistence, points[end:])
        offsets[s + 1] = end


@compiled
def _minima(signal: np.ndarray, space: Space) -> int:
    """Writes all minima and barriers; returns how many minima there are.

    The signal falls to its first sample, and rises from its last one.
    """
    rises, turns, extrema = space.rises, space.turns, space.extrema
    length = np.uint64(len(signal))
    rises[0] = 0
    for i in range(ONE, length):
        rises[i] = signal[i] > signal[i - ONE]
    rises[length] = 1
    for i in range(length):
        turns[i] = rises[i] ^ rises[i + ONE]
    end = ZERO
    for i in range(length):
        extrema[end] = signal[i]
        end += turns[i]
    extrema[end] = np.inf
    count = (end + ONE) >> ONE
    space.barriers[0] = np.inf
    for k in range(count):
        space.minima[k + ONE] = extrema[k + k]
        space.barriers[k + ONE] = extrema[k + k + ONE]
    return int(count)


@compiled
def _pass(
    space: Space, minima_before: int, min_persistence: float, points: np.ndarray
) -> tuple[int, int]:
    """Takes away all minima that die at a barrier beside them, and these barriers.

    Returns how many minima are left, and how many pairs it wrote. Each is written, and overwritten
    by the next one when it does not die now or is not persistent enough; so are minima and barriers
    that go. Of equal minima the left one is older, of equal barriers the left one is lower. There
    must be at least two minima.
    """
    minima, barriers = space.minima, space.barriers
    left, right = space.left, space.right
    end = np.uint64(minima_before) + ONE
    for k in range(ONE, end):
        leftwards = barriers[k - ONE] <= barriers[k]
        left[k] = leftwards & (minima[k - ONE] <= minima[k])
        right[k] = (not leftwards) & (minima[k + ONE] < minima[k])
    kept = ZERO
    place = ONE
    before = barriers[0]
    for k in range(ONE, end):
        birth, after = minima[k], barriers[k]
        death = min(before, after)
        points[kept, 0] = birth
        points[kept, 1] = death
        kept += np.uint64(death - birth > min_persistence) & (left[k] | right[k])
        minima[place] = birth
        barriers[place - left[k]] = after
        place += ONE ^ left[k] ^ right[k]
        before = after
    return int(place - ONE), int(kept)


@compiled
def _rest(space: Space, count: int, min_persistence: float, points: np.ndarray) -> int:
    """Writes what is left of the diagram, essential class last; returns how many points.

    The stack is kept where the minima and barriers were that have been read.
    """
    minima, barriers = space.minima, space.barriers
    top = ZERO
    kept = ZERO
    for k in range(ONE, np.uint64(count) + ONE):
        barrier = barriers[k]
        lowest = minima[k]
        while top > ZERO and barriers[top] <= barrier:
            death = barriers[top]
            birth = max(minima[top], lowest)
            lowest = min(minima[top], lowest)
            top -= ONE
            points[kept, 0] = birth
            points[kept, 1] = death
            kept += np.uint64(death - birth > min_persistence)
        top += ONE
        minima[top] = lowest
        barriers[top] = barrier
    points[kept, 0] = minima[ONE]
    points[kept, 1] = np.inf
    return int(kept) + 1
