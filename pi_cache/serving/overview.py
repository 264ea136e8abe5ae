"""What a page shows of a store beside its spec: counts of its tables, axes, what its window shows.

All of it comes from the manifest and from tables that are read once; no image is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cache.errors import InvalidSpec
from pi_cache.reader import Store
from pi_cache.specs import UNKNOWN, VALUE_RANGE, known_fields

MOST_LABELS = 1000
"""Classes that are listed; a data set with more has no list that anybody reads."""
SCALED = "scaled"
"""The unit of values that a source has scaled."""


def overview(store: Store) -> dict[str, Any]:
    """What there is to draw and to choose from, as plain JSON values.

    labels: number, name and samples of each class. channels: name, unit of births (of Gramian
    angular fields none), and the channel of the input it was made of. axes: see `axis_of`.
    values: what images run from and to, None where they have no bounds. has_diagrams, has_inputs:
    whether the samples can show them. window, inputs: see `window_shown`, `inputs_seen`; None
    where they were not counted.
    """
    names = [column.name for column in store.manifest.columns]
    return {
        "key": store.key,
        "digest": store.manifest.digest,
        "representation": store.spec.representation,
        "samples": store.samples,
        "status": dict(store.manifest.status),
        "labels": label_counts(store)[:MOST_LABELS],
        "classes": len(label_counts(store)),
        "splits": _counts(store.splits),
        "groups": None if store.groups is None else len(set(store.groups.tolist())),
        "channels": [
            {"name": name, "unit": unit, "input": input_of(store, channel)}
            for channel, (name, unit) in enumerate(
                zip(store.channels, field_units(store), strict=True)
            )
        ],
        "axes": [axis_of(store, name) for name in store.column("images").dimensions[1:]],
        "values": value_range(store),
        "has_diagrams": "points" in names,
        "has_inputs": "inputs" in names,
        "input_channels": input_channels(store),
        "window": window_shown(store),
        "inputs": inputs_seen(store),
        "problems": dict(store.manifest.statistics.get("problems", {})),
    }


def label_counts(store: Store) -> list[dict[str, Any]]:
    """Each class: its number, its name and how many samples have it. -1 is no label."""
    found, counts = np.unique(store.labels, return_counts=True)
    return [
        {"label": label, "name": label_name(store, label), "samples": count}
        for label, count in zip(found.tolist(), counts.tolist(), strict=True)
    ]


def label_name(store: Store, label: int) -> str:
    """The name of a label, its number where there is no name, "" for no label."""
    if label < 0:
        return ""
    return store.label_names[label] if label < len(store.label_names) else str(label)


def _counts(words: NDArray[np.object_] | None) -> dict[str, int]:
    return {} if words is None else dict(Counter(words.tolist()))


def axis_of(store: Store, name: str) -> dict[str, Any]:
    """Where the cells of an axis lie: from `low` to `high`, in the order stored.

    ascending: whether the first row or column is the lowest. low, high: None where nobody stated
    them of imported images. unit: "" for births and persistences, whose unit is the channel's.
    """
    column = store.column("images")
    cells = column.shape[column.dimensions.index(name)]
    try:
        edges = store.axis(name)
    except InvalidSpec:
        return {"name": name, "cells": cells, "low": None, "high": None, "ascending": True}
    width = abs(edges[1] - edges[0]) if len(edges) > 1 else column.attributes["cell_width"][name]
    return {
        "name": name,
        "cells": cells,
        "low": float(edges.min()),
        "high": float(edges.max() + width),
        "ascending": bool(edges[-1] >= edges[0]),
        "unit": column.attributes.get("unit", ""),
    }


def value_range(store: Store) -> list[float] | None:
    """What the values of images lie between; None for images that are not normalised."""
    if store.spec.gramian is not None:
        return list(VALUE_RANGE)
    normalise = known_fields(store.spec)["image.normalise"]
    return None if normalise in ("none", UNKNOWN) else [0.0, 1.0]


def input_channels(store: Store) -> list[dict[str, str]]:
    """Name and unit of each channel of a sample; a number and "" where they are not known."""
    noted = store.attributes.get("inputs", {})
    numbers = [str(k) for k in range(store.spec.source.channels)]
    names = [str(name) for name in noted.get("channels", ())] or numbers
    units = [str(unit) for unit in noted.get("units", ())] or [""] * len(names)
    return [{"name": name, "unit": unit} for name, unit in zip(names, units, strict=True)]


def field_units(store: Store) -> list[str]:
    """The unit of the births of each channel of the images: that of the field that is filtered."""
    spec, count = store.spec, len(store.channels)
    if spec.gramian is not None or spec.origin is not None:
        return [""] * count
    if spec.diagram.filtration == "rips":
        return ["length"] * count
    if spec.source.sample == "image":
        return ["intensity"] * count
    units = [
        filtered_unit(channel["unit"], spec.diagram.scale) for channel in input_channels(store)
    ]
    return [units[input_of(store, channel)] for channel in range(count)]


def input_of(store: Store, channel: int) -> int:
    """The channel of the input that a channel of the images was made of.

    Channels count the dimensions of homology, then the input's channels, then the scans.
    """
    homology = 1 if store.spec.gramian is not None else len(store.spec.diagram.homology)
    return channel // homology % store.spec.source.channels


def filtered_unit(unit: str, scale: float) -> str:
    """The unit of values that were divided by a scale before they were filtered."""
    if scale == 1.0 or not unit or unit == SCALED:
        return unit
    return f"{unit} / {scale:g}"


def share(part: float, whole: float) -> float | None:
    """A part of a whole, None of nothing."""
    return part / whole if whole else None


OUTSIDE = ("births_below", "births_above", "persistences_below", "persistences_above")


def window_shown(store: Store) -> dict[str, Any] | None:
    """What the window of the images shows of the points that are drawn, as `pipeline report` tells.

    points_inside, persistence_inside and all of OUTSIDE are shares, None of no points. channels:
    the same for each channel of the images, None where an older build did not count them.
    """
    seen, spec = store.manifest.statistics, store.spec
    window = seen.get("window")
    if spec.gramian is not None or spec.origin is not None or window is None:
        return None
    dropped = spec.image.clip_value is None
    return {
        "diagrams": window["diagrams"],
        "empty_diagrams": window["empty"],
        "points": window["points"],
        "points_inside": share(window["points_inside"], window["points"]),
        "persistence_inside": share(window["persistence_inside"], window["persistence"]),
        "essential": seen.get("essential"),
        "essential_are": "dropped" if dropped else "clipped",
        "faint_images": seen.get("faint_images"),
        "flat_channels": seen.get("flat_channels"),
        "channels": _channels_shown(store, window["points"], seen.get("shown")),
    }


def _channels_shown(
    store: Store, points: int, shown: Mapping[str, Sequence[Any]] | None
) -> list[dict[str, Any]] | None:
    if shown is None or sum(shown["points"]) != points:
        return None  # an earlier version has built it, or a part of it
    counted = [
        {name: values[k] for name, values in shown.items()} for k in range(len(store.channels))
    ]
    return [_channel_shown(*pair) for pair in zip(store.channels, counted, strict=True)]


def _channel_shown(name: str, counted: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "points": counted["points"],
        **{key: share(counted[key], counted["points"]) for key in ("points_inside", *OUTSIDE)},
        "persistence_inside": share(counted["persistence_inside"], counted["persistence"]),
        "birth": [counted["min_birth"], counted["max_birth"]],
        "persistence": counted["max_persistence"],
    }


def inputs_seen(store: Store) -> list[dict[str, Any]] | None:
    """Extremes, and shares of flat, clipped and missing values, of each channel of signals.

    flat: the share of usable samples in which the channel is constant. clipped_low, clipped_high:
    the share of values in runs at the smallest or largest value. missing: the share of NaN.
    """
    seen = store.manifest.statistics.get("inputs")
    if seen is None or seen["samples"] != store.samples:
        return None
    scale = store.spec.diagram.scale if store.spec.gramian is None else 1.0
    return [
        {
            "name": channel["name"],
            "unit": filtered_unit(channel["unit"], scale),
            **_ends(seen, k),
            "missing": share(seen["missing"][k], seen["read"]),
        }
        for k, channel in enumerate(input_channels(store))
    ]


def _ends(seen: Mapping[str, Any], channel: int) -> dict[str, Any]:
    low, high = seen["lowest"][channel], seen["highest"][channel]
    if not seen["values"] or low is None or high is None:
        return dict.fromkeys(("min", "max", "flat", "clipped_low", "clipped_high"))
    return {
        "min": low[0],
        "max": high[0],
        "flat": share(seen["flat"][channel], seen["windows"]),
        "clipped_low": share(low[1], seen["values"]),
        "clipped_high": share(high[1], seen["values"]),
    }
