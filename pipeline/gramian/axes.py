"""How long the windows of a source last: in seconds where their ids say it, else in samples."""

from __future__ import annotations

from pipeline.sources.base import Source
from pipeline.sources.rates import rate_of


def extent_of(source: Source) -> tuple[float, str]:
    """Length of each window, and its unit: `second`, `sample`, or `window` where lengths vary."""
    length = source.shape[0]
    if length is None:
        return 1.0, "window"
    rate = rate_of(source)
    return (float(length), "sample") if rate is None else (length / rate, "second")
