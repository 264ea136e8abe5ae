"""False nearest neighbours: how many dimensions a delay embedding needs.

Point i of dimension d is (x[i], x[i + delay], ..., x[i + (d - 1) delay]). Its nearest neighbour n
is false where one more coordinate parts them:

    |x[i + d delay] - x[n + d delay]| > 15 R_d(i)    or    R_(d+1)(i) > 2 A

R_d(i): the distance of i and n in dimension d, and R_(d+1)(i) of the same two in d + 1. A: the
standard deviation of the signal.

References: Kennel, Brown, Abarbanel, Phys. Rev. A 45 (1992) 3403, equations 4 and 5; Theiler, Phys.
Rev. A 34 (1986) 2427, for neighbours that are near in time.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

RELATIVE = 15.0
"""Kennel's first tolerance: so many times farther apart by one more coordinate."""
ABSOLUTE = 2.0
"""Kennel's second tolerance: in standard deviations of the signal."""
FEWEST_POINTS = 30
"""Points of an embedding below which a share of them says little."""
ROUNDING = 1e-9
"""Distances below so many standard deviations are taken for that: they come from rounding."""


def false_neighbours(signal: np.ndarray, delay: int, highest: int, theiler: int) -> np.ndarray:
    """The share (highest,) of false nearest neighbours in the dimensions 1..highest.

    signal: (T,), which varies and is finite. theiler: points no more than so many samples apart
    in time are no neighbours, since a slow signal is always near itself. NaN where the window has
    fewer than 30 points, or a point has no neighbour left.
    """
    shares = np.full(highest, np.nan)
    deviation = float(signal.std())
    floor = max(resolution(signal), ROUNDING * deviation)
    for dimension in range(1, highest + 1):
        points = len(signal) - dimension * delay  # those that have one more coordinate
        if points < max(FEWEST_POINTS, 2 * theiler + 2):
            break
        index = np.arange(points)[:, None] + delay * np.arange(dimension)
        distance, nearest = nearest_neighbours(signal[index], theiler)
        last = signal[dimension * delay :]
        apart = np.abs(last - last[nearest])
        false = apart > RELATIVE * np.maximum(distance, floor)
        false |= np.hypot(distance, apart) > ABSOLUTE * deviation
        shares[dimension - 1] = false.mean()
    return shares


def resolution(signal: np.ndarray) -> float:
    """The smallest difference of two values of a signal.

    A sensor's values are whole steps of its converter: points at distance 0 that one more
    coordinate parts by one step are not false for that.
    """
    return float(np.diff(np.unique(signal)).min())


def nearest_neighbours(points: np.ndarray, theiler: int) -> tuple[np.ndarray, np.ndarray]:
    """Distance and index (P,) of the nearest point, of those over `theiler` apart in time.

    points: (P, d) in the order of time. At most 2 theiler + 1 points are near in time, so the one
    looked for is among the 2 theiler + 2 nearest.
    """
    wanted = min(2 * theiler + 2, len(points))
    distances, indices = cKDTree(points).query(points, k=wanted)  # (P, wanted), nearest first
    far = np.abs(indices - np.arange(len(points))[:, None]) > theiler
    first = far.argmax(axis=1)[:, None]
    return (
        np.take_along_axis(distances, first, axis=1)[:, 0],
        np.take_along_axis(indices, first, axis=1)[:, 0],
    )
