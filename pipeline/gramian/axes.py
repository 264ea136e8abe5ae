"""How long the windows of a source last: in seconds where their ids say it, else in samples."""

from __future__ import annotations

from pi_cache.errors import InvalidSpec
from pi_cache.sampling.windows import Window
from pipeline.sources.base import Source


def extent_of(source: Source) -> tuple[float, str]:
    """Length of each window, and its unit: `second`, `sample`, or `window` where lengths vary."""
    length = source.shape[0]
    if length is None:
        return 1.0, "window"
    rate = rate_of(source)
    return (float(length), "sample") if rate is None else (length / rate, "second")


def rate_of(source: Source) -> float | None:
    """The rate of all windows in Hz, None where their ids do not say it, or not all of one."""
    if not source.id_form:
        return None
    try:
        rates = {Window.parse(str(name)).rate for name in source.ids}
    except InvalidSpec:
        return None
    return rates.pop() if len(rates) == 1 else None
