"""The scale of a data set, found by looking at all of it."""

from __future__ import annotations

import numpy as np

from pi_cache.errors import SourceError
from pipeline.sources.base import Source, read_samples
from pipeline.statistics import USABLE

SCANNED = 1024
"""Samples held at a time while a data set is scanned."""


def largest_magnitude(source: Source, *, centre: bool) -> float:
    """The largest |value| of all usable signals, each channel's mean subtracted first if asked.

    What `--scale dataset-max` stands for; a number in the spec from then on.
    """
    largest = 0.0
    for start in range(0, len(source), SCANNED):
        samples = read_samples(source[start : start + SCANNED])
        for position in np.flatnonzero(np.isin(samples.status, USABLE)):
            signal = np.asarray(samples.arrays[position], np.float64)  # (T, C)
            values = signal - signal.mean(axis=0) if centre else signal
            largest = max(largest, float(np.abs(values).max()))
    if not 0 < largest < np.inf:
        raise SourceError(
            f"{source.location}: no scale, since no sample is usable or all are constant or huge"
        )
    return largest
