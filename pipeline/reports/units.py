"""Units of the values that a store was made of, of births and persistences; shares in percent."""

from __future__ import annotations

from pi_cache.reader import Store
from pipeline.sources.base import SCALED


def input_names(store: Store) -> list[str]:
    """The names of the channels of a sample, numbers where an older store does not say them."""
    names = store.attributes.get("inputs", {}).get("channels", ())
    return [str(name) for name in names] or [str(k) for k in range(store.spec.source.channels)]


def input_units(store: Store) -> list[str]:
    """The unit of each channel of a sample, "" for one that is not known."""
    units = store.attributes.get("inputs", {}).get("units", ())
    return [str(unit) for unit in units] or [""] * store.spec.source.channels


def input_of(store: Store, channel: int) -> int:
    """The channel of the input that a channel of the images was made of.

    Channels count the dimensions of homology, then the input's channels, then the scans.
    """
    homology = 1 if store.spec.gramian is not None else len(store.spec.diagram.homology)
    return channel // homology % store.spec.source.channels


def filtered_unit(unit: str, scale: float) -> str:
    """The unit of values that were divided by a scale before they were filtered."""
    if scale == 1.0 or not unit:
        return unit
    return SCALED if unit == SCALED else f"{unit} / {scale:g}"


def with_unit(name: str, unit: str) -> str:
    """A name with its unit, as an axis or a column is called."""
    if unit == SCALED:
        return f"{name} ({SCALED})"
    return f"{name} [{unit}]" if unit else name


def percent(value: float | None) -> str:
    """A share that is not quite none or all never reads as that."""
    if value is None:
        return "-"
    if value in (0, 1):
        return f"{value:.0%}"
    text = f"{value:.1%}"
    return {"0.0%": "<0.1%", "100.0%": ">99.9%"}.get(text, text)
