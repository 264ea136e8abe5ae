"""The values that were filtered, by channel of the input: what was counted in each shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pi_cache.reader import Store
from pipeline.reports.units import filtered_unit, input_names, input_units
from pipeline.statistics import CLIPPED_RUN, mean_and_deviation

NOT_COUNTED = "not counted when this store was built"
CLIPPED_RULE = (
    f"clipped: values in runs of {CLIPPED_RUN} or more at the smallest or largest value of the"
    " channel, in windows where it is not constant"
)
MANY_FLAT = 0.5
"""A channel that is constant in more windows than this is worth a warning..."""
MANY_CLIPPED = 0.01
"""...and one of which more values than this are clipped at an end."""


def input_facts(store: Store) -> list[dict[str, Any]] | None:
    """Statistics of each channel of signals as they were filtered; None where not counted.

    Of other samples nothing is.

    min, max, mean, std: of the values of usable samples, in `unit`; std over all values. flat: the
    share of these samples in which the channel is constant. clipped_low, clipped_high: the share of
    values that are clipped, see CLIPPED_RULE. missing: the share of NaN among all that was read.
    """
    if store.spec.source.sample != "signal":
        return []
    seen = store.manifest.statistics.get("inputs")
    if seen is None or seen["samples"] != store.samples:
        return None
    scale = store.spec.diagram.scale if store.spec.gramian is None else 1.0
    units = [filtered_unit(unit, scale) for unit in input_units(store)]
    return [
        {"name": name, "unit": unit, **_values(seen, k)}
        for k, (name, unit) in enumerate(zip(input_names(store), units, strict=True))
    ]


def _values(seen: Mapping[str, Any], channel: int) -> dict[str, Any]:
    count, read = seen["values"], seen["read"]
    missing = seen["missing"][channel] / read if read else None
    names = ("min", "max", "mean", "std", "flat", "clipped_low", "clipped_high")
    if not count:
        return {**dict.fromkeys(names), "missing": missing}
    (low, at_low), (high, at_high) = seen["lowest"][channel], seen["highest"][channel]
    mean, deviation = mean_and_deviation(count, seen["total"][channel], seen["squares"][channel])
    if low == high:
        mean, deviation = low, 0.0  # without the rounding of a mean
    flat = seen["flat"][channel] / seen["windows"]
    found = (low, high, mean, deviation, flat, at_low / count, at_high / count)
    return {**dict(zip(names, found, strict=True)), "missing": missing}


def input_warnings(facts: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Channels that are often constant, and those that are clipped."""
    lines = []
    for names, what in (
        (_over(facts, MANY_FLAT, "flat"), "constant in over half of the samples"),
        (
            _over(facts, MANY_CLIPPED, "clipped_low", "clipped_high"),
            f"clipped (over {MANY_CLIPPED:.0%} of the values in runs at an end)",
        ),
    ):
        if names:
            few = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            lines.append(f"{what}: {few}")
    return lines


def _over(facts: Sequence[Mapping[str, Any]] | None, limit: float, *shares: str) -> list[str]:
    return [
        fact["name"]
        for fact in facts or ()
        if any(fact[share] is not None and fact[share] > limit for share in shares)
    ]
