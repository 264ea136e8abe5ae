"""What the window of the images shows of the points that are drawn, in all and by channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pi_cache.commands.table import printable
from pi_cache.errors import InvalidSpec
from pi_cache.reader import Store
from pi_cache.specs import ImageSpec
from pipeline.reach import without
from pipeline.reports.inputs import input_facts, input_warnings
from pipeline.reports.suggestion import joined, suggest_window, window_options
from pipeline.reports.units import percent
from pipeline.reports.windows import window_counts, window_warnings

LITTLE = 0.5
"""A window with a smaller share of the points than this is worth a warning."""
EMPTY = 0.25
"""An axis of which more than this holds no point is worth one too."""
SLIVER = 0.05
"""A part of an axis that is no larger than this is not told of."""

Interval = Sequence[float]


def coverage(store: Store) -> dict[str, Any]:
    """Shares of points and of persistence inside the window, and what went wrong or flat.

    Counted when the store was built, over the diagrams of all usable samples. points: those that
    are drawn (over the threshold, essential classes as the spec says). empty_diagrams: those of
    which nothing is drawn. essential_clipped, essential_dropped: classes that never die, under the
    name of what the spec does with them; None where a build did not count them. channels,
    empty_parts: see `channel_coverage`, `empty_parts`; inputs, windows: see `input_facts`,
    `window_counts`. A store of other images than persistence images has no window to speak of, and
    only the latter. Raises InvalidSpec for imported images, whose diagrams are not known.
    """
    if store.spec.origin is not None:
        raise InvalidSpec(
            f"store {store.key[:12]} holds imported images without diagrams, so what their window"
            f" shows is not known; see pi-cache show {store.key[:12]}"
        )
    seen = store.manifest.statistics
    drawn = _drawn(store) if store.spec.gramian is None else {}
    return {
        "key": store.key,
        "samples": store.samples,
        "status": dict(store.manifest.status),
        **drawn,
        "flat_channels": seen.get("flat_channels"),
        "windows": window_counts(store),
        "inputs": input_facts(store),
        "problems": dict(seen.get("problems", {})),
    }


def _drawn(store: Store) -> dict[str, Any]:
    """What is known of the points that are drawn, and of the images."""
    seen, spec = store.manifest.statistics, store.spec.image
    window, essential = seen["window"], seen.get("essential")
    dropped = spec.clip_value is None
    channels = channel_coverage(store)
    return {
        "diagrams": window["diagrams"],
        "empty_diagrams": window["empty"],
        "essential_clipped": 0 if dropped else essential,
        "essential_dropped": essential if dropped else 0,
        "points": window["points"],
        "points_inside": share(window["points_inside"], window["points"]),
        "persistence_inside": share(window["persistence_inside"], window["persistence"]),
        "faint_images": seen["faint_images"],
        "largest_raw_value": seen["max_value"],
        "birth_range": list(spec.birth_range),
        "persistence_range": list(spec.persistence_range),
        "empty_parts": None if channels is None else empty_parts(channels, spec),
        "suggested": suggest_window(store),
        "channels": channels,
    }


def share(part: float, whole: float) -> float | None:
    """A part of a whole, None of nothing."""
    return part / whole if whole else None


def channel_coverage(store: Store) -> list[dict[str, Any]] | None:
    """What the window shows of each channel of the images; None where it was not counted.

    points: their number; points_inside, births_below, births_above, persistences_below,
    persistences_above: shares of it. persistence_inside: share of the persistence. birth: the
    smallest and largest, persistence: the largest, None where nothing is drawn. birth_empty,
    persistence_empty: shares of each axis that no point of the channel reaches.
    """
    counted, window = (store.manifest.statistics.get(name) for name in ("shown", "window"))
    if counted is None or window is None or sum(counted["points"]) != window["points"]:
        return None  # an earlier version has built it, or a part of it
    return [
        _of_channel(name, {key: values[k] for key, values in counted.items()}, store.spec.image)
        for k, name in enumerate(store.channels)
    ]


def _of_channel(name: str, counted: Mapping[str, Any], spec: ImageSpec) -> dict[str, Any]:
    shares = (
        "points_inside", "births_below", "births_above", "persistences_below",
        "persistences_above",
    )  # fmt: skip
    ends = [counted["min_birth"], counted["max_birth"]]
    longest = counted["max_persistence"]
    births = empty_of(spec.birth_range, ends)
    persistences = empty_of(spec.persistence_range, [spec.persistence_range[0], longest])
    return {
        "name": name,
        "points": counted["points"],
        **{key: share(counted[key], counted["points"]) for key in shares},
        "persistence_inside": share(counted["persistence_inside"], counted["persistence"]),
        "birth": ends,
        "persistence": longest,
        "birth_empty": _length(births, spec.birth_range),
        "persistence_empty": _length(persistences, spec.persistence_range),
    }


def empty_of(window: Interval, points: Sequence[float | None]) -> list[list[float]]:
    """The parts of an axis of the window outside the range of all points, of none: all of it."""
    low, high = window
    first, last = points
    if first is None or last is None:
        return [[low, high]]
    parts = [[low, min(first, high)], [max(last, low), high]]
    return [part for part in parts if part[0] < part[1]]


def _length(parts: Sequence[Interval], window: Interval) -> float:
    return sum(high - low for low, high in parts) / (window[1] - window[0])


def empty_parts(channels: Sequence[Mapping[str, Any]], spec: ImageSpec) -> dict[str, Any]:
    """By axis, what of the window lies outside the range of all points of all channels.

    window, points: the two ranges. share: of the axis. parts: where. The rule is about ranges:
    between the smallest and the largest birth there may be gaps, and they are not told.
    """
    drawn = [fact for fact in channels if fact["points"]]
    if not drawn:
        return {}
    births = [min(fact["birth"][0] for fact in drawn), max(fact["birth"][1] for fact in drawn)]
    longest = max(fact["persistence"] for fact in drawn)
    found = {}
    for axis, window, points in (
        ("birth", spec.birth_range, births),
        ("persistence", spec.persistence_range, [spec.persistence_range[0], longest]),
    ):
        parts = empty_of(window, points)
        found[axis] = {
            "window": list(window),
            "share": _length(parts, window),
            "parts": parts,
            "points": points,
        }
    return found


def warnings_of(
    facts: Mapping[str, Any], told: Mapping[str, Sequence[tuple[float, float]]] | None = None
) -> list[str]:
    """What a user should know before using the store, worst first; empty when all is well.

    told: parts of an axis, by axis, of which it was told before that they hold no point.
    """
    lines = []
    unusable = {name: n for name, n in facts["status"].items() if name != "OK"}
    if unusable:
        listed = ", ".join(f"{n} {name}" for name, n in unusable.items())
        lines.append("; ".join([f"{listed}: not delivered to training", *problem_lines(facts, 3)]))
    lines += _window_warnings(facts, told or {}) if "points" in facts else []
    return [
        *lines,
        *flat_warnings(facts["flat_channels"]),
        *input_warnings(facts["inputs"]),
        *window_warnings(facts["windows"]),
    ]


def flat_warnings(channels: int | None) -> list[str]:
    """channels: that are constant, counted in each sample; None where they were not counted."""
    if not channels:
        return []
    return [f"{channels:,} channels, counted in each sample, are constant: they show nothing"]


def _window_warnings(
    facts: Mapping[str, Any], told: Mapping[str, Sequence[tuple[float, float]]]
) -> list[str]:
    """What the window of the images leaves out, and what of it is of no use."""
    inside = facts["points_inside"]
    if inside is not None and inside < LITTLE:
        lines = [_little_line(facts), *_unit_lines(facts["inputs"])]
    else:
        lines = _few_inside(facts["channels"])
    lines += empty_lines(_untold(facts["empty_parts"] or {}, told))
    if facts["faint_images"]:
        lines.append(
            f"{facts['faint_images']:,} images are faint (under a millionth of the brightest): "
            "divided by their own maximum they show points outside the window; see --floor"
        )
    return lines


def _little_line(facts: Mapping[str, Any]) -> str:
    """How little the window shows, and one that shows more."""
    birth, persistence = (joined(facts[f"{axis}_range"]) for axis in ("birth", "persistence"))
    shares = percent(facts["points_inside"]), percent(facts["persistence_inside"])
    line = (
        f"the window (birth {birth}, persistence {persistence}) holds {shares[0]} of the points"
        f" and {shares[1]} of the persistence"
    )
    if (fit := facts["suggested"]) is None:
        return line
    options = window_options(fit["birth_range"], fit["persistence_range"])
    return f"{line}; on each axis 99 % of the points lie in {options}"


def _unit_lines(inputs: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """That no window is for channels of different units."""
    units = list(dict.fromkeys(fact["unit"] for fact in inputs or ()))
    if len(units) < 2 or "" in units:
        return []
    return [
        f"channels are in {', '.join(units[:-1])} and {units[-1]}, and there is one window for all:"
        " scale=fitted:minmax brings them to one range, or take channels of one unit"
    ]


def _untold(
    parts: Mapping[str, Any], told: Mapping[str, Sequence[tuple[float, float]]]
) -> dict[str, dict[str, Any]]:
    """Empty parts of axes without those of which it was told before."""
    left = {}
    for axis, found in parts.items():
        rest = found["parts"]
        for known in told.get(axis, ()):
            rest = [piece for low, high in rest for piece in without((low, high), known)]
        left[axis] = {**found, "parts": rest}
    return left


def _few_inside(channels: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """The channels that the window shows little of, where it shows enough of all together."""
    few = [fact for fact in channels or () if fact["points"] and fact["points_inside"] < LITTLE]
    if not few:
        return []
    worst = min(few, key=lambda fact: float(fact["points_inside"]))
    number = "1 channel" if len(few) == 1 else f"{len(few)} channels"
    return [
        f"the window holds less than {LITTLE:.0%} of the points of {number}, least of"
        f" {worst['name']}: {percent(worst['points_inside'])}"
    ]


def empty_lines(parts: Mapping[str, Any], least: float = EMPTY) -> list[str]:
    """A line for each axis of which more than a share holds no point; slivers are not told."""
    lines = []
    for axis, found in parts.items():
        told = [part for part in found["parts"] if _length([part], found["window"]) > SLIVER]
        empty = _length(told, found["window"])
        if empty <= least:
            continue
        first, last = found["points"]
        if first == last:
            lines.append(f"every {axis} is {first:.4g}: the {axis} axis tells nothing")
            continue
        where = ", ".join(f"{low:.4g}..{high:.4g}" for low, high in told)
        lines.append(f"{_share_text(empty)} of the {axis} axis ({where}) holds no point")
    return lines


def _share_text(value: float) -> str:
    if value == 1:
        return "all"
    return "half" if round(100 * value) == 50 else f"{value:.0%}"


def problem_lines(facts: Mapping[str, Any], most: int | None = None) -> list[str]:
    """The first problems of a store, each with the id of its sample."""
    named = list(facts["problems"].items())[:most]
    return [printable(f"{name}: {message}") for name, message in named]
