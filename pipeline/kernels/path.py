"""Sub-level set persistence of signals: H0 of a path graph, in linear time.

A signal x is a path graph whose vertex i is born at x[i] and whose edge (i, i+1) at
max(x[i], x[i+1]). A component is born at a local minimum and dies where it meets one that is older
(lower): the elder rule. So only the alternating local minima and maxima matter, and a plateau is
one of them.

They are read from left to right, with a stack of minima that are separated by strictly decreasing
barriers (maxima). A new maximum closes every barrier that is not above it: the two components
beside the barrier meet there, the higher minimum dies, the lower one goes on. At the end an
infinite barrier closes all others, and the last minimum never dies. Each extremum is pushed and
popped once; there is no sort and no union-find.

References: Edelsbrunner and Harer, Computational Topology (2010), section VII.1 (elder rule).
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.jit import compiled


def path_h0(signals: np.ndarray, min_persistence: float) -> tuple[np.ndarray, np.ndarray]:
    """Diagrams of signals of one length: points (P, 2) as (birth, death), offsets (S+1,).

    signals: (S, n) float64 or float32, finite, n at least 1.
    min_persistence: pairs are kept when death - birth, in the type of the signals, is greater.

    Diagram s is points[offsets[s]:offsets[s+1]]: its finite pairs in the order in which a sweep
    from left to right closes them, then the essential class (birth, inf) as its last row. Points
    have the type of the signals.
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
    minima = int(((np.diff(starts) + 1) // 2).sum())  # at most, over all signals
    points = np.empty((minima, 2), values.dtype)
    offsets = np.zeros(len(starts), np.int64)
    _diagrams(values, starts, values.dtype.type(min_persistence), points, offsets)
    points.resize((int(offsets[-1]), 2), refcheck=False)  # gives the unused tail back, no copy
    return points, offsets


@compiled
def _diagrams(
    values: np.ndarray,
    starts: np.ndarray,
    min_persistence: float,
    points: np.ndarray,
    offsets: np.ndarray,
) -> None:
    """Writes the diagrams one after the other into points, and their ends into offsets."""
    longest = 0
    for s in range(len(starts) - 1):
        longest = max(longest, starts[s + 1] - starts[s])
    extrema = np.empty(longest + 2, values.dtype)
    minima = np.empty(longest // 2 + 2, values.dtype)
    barriers = np.empty(longest // 2 + 2, values.dtype)
    end = 0
    for s in range(len(starts) - 1):
        count = _extrema(values[starts[s] : starts[s + 1]], extrema)
        end += _pairs(extrema, count, minima, barriers, min_persistence, points[end:])
        offsets[s + 1] = end


@compiled
def _extrema(signal: np.ndarray, extrema: np.ndarray) -> int:
    """Writes minimum, maximum, ..., minimum, inf; returns their (odd) number without the inf.

    The direction is carried as a number: a branch on it would be mispredicted in noise.
    """
    rising = 0
    count = 0
    previous = signal[0]
    for i in range(1, len(signal)):
        value = signal[i]
        rises = int(value > previous) | (rising & int(value == previous))
        extrema[count] = previous
        count += rises ^ rising
        rising = rises
        previous = value
    if rising == 0:
        extrema[count] = previous
        count += 1
    extrema[count] = np.inf
    return count


@compiled
def _pairs(
    extrema: np.ndarray,
    count: int,
    minima: np.ndarray,
    barriers: np.ndarray,
    min_persistence: float,
    points: np.ndarray,
) -> int:
    """Writes the diagram of alternating extrema, essential class last; returns its length.

    barriers[i] separates minima[i - 1] from minima[i]; extrema[count] is inf, a last barrier that
    closes all others. Each pair is written, and overwritten by the next one when it is not
    persistent enough, so that no branch depends on the data.
    """
    top = 0
    kept = 0
    minima[0] = extrema[0]
    for i in range(1, count + 1, 2):
        barrier = extrema[i]
        lowest = minima[top]
        while top > 0 and barriers[top] <= barrier:
            death = barriers[top]
            top -= 1
            birth = max(minima[top], lowest)
            lowest = min(minima[top], lowest)
            points[kept, 0] = birth
            points[kept, 1] = death
            kept += death - birth > min_persistence
        minima[top] = lowest
        top += 1
        barriers[top] = barrier
        minima[top] = extrema[i + 1]
    points[kept, 0] = minima[0]
    points[kept, 1] = np.inf
    return kept + 1
