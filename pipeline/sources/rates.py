"""The rate of the windows of a source, where their ids say it."""

from __future__ import annotations

from pi_cache.errors import InvalidSpec
from pi_cache.sampling.windows import Window
from pipeline.sources.base import Source


def rate_of(source: Source) -> float | None:
    """The rate of all windows in Hz, None where their ids do not say it, or not all of one."""
    if not source.id_form:
        return None
    try:
        rates = {Window.parse(str(name)).rate for name in source.ids}
    except InvalidSpec:
        return None
    return rates.pop() if len(rates) == 1 else None
