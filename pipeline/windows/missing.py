"""Short runs of missing values, filled by straight lines."""

from __future__ import annotations

import numpy as np


def interpolated(values: np.ndarray, bounds: np.ndarray, longest: int) -> np.ndarray:
    """Values (T, C) with runs of up to `longest` NaN filled between what stands at both sides.

    bounds: (M + 1,) ends of the stretches without a gap; no line is drawn over one, nor before the
    first value of a stretch or after its last.
    """
    done = values.copy()
    for channel in done.T:
        lacking = np.isnan(channel)
        if not lacking.any():
            continue
        starts, stops = _runs(lacking)
        inside = np.searchsorted(bounds, starts - 1, "right") == np.searchsorted(
            bounds, stops, "right"
        )
        short = inside & (starts > 0) & (stops < len(channel)) & (stops - starts <= longest)
        filled = np.repeat(short, stops - starts)  # of the missing ones, which
        rows = np.flatnonzero(lacking)[filled]
        if len(rows):
            known = np.flatnonzero(~lacking)
            channel[rows] = np.interp(rows, known, channel[known])
    return done


def _runs(marked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First position of each run of True (R,), and the one after its last."""
    edges = np.flatnonzero(np.diff(marked.astype(np.int8), prepend=0, append=0))
    return edges[::2], edges[1::2]
