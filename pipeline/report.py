"""What a store shows and what it does not: coverage of the window, statuses, one image explained.

Everything here is read from a finished store; the pictures are drawn by `pipeline.figures`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import numpy as np

from pi_cache.axes import cell_edges, cell_width
from pi_cache.errors import InvalidSpec
from pi_cache.reader import Store
from pi_cache.sampling.windows import Window
from pi_cache.specs import ImageSpec, Status, differences
from pipeline.images import in_window, select
from pipeline.plan import spread
from pipeline.recipes import RECIPES, bare_name, describe_diagram, describe_image
from pipeline.shard import USABLE

LITTLE = 0.5
"""A window with a smaller share of the points than this is worth a warning."""
LOOKED_AT = 500
"""Samples whose diagrams are read to suggest a window, or to draw one."""
TOLD = 10
"""Classes of a diagram that are printed one by one."""
NARROWEST = 0.1
"""A suggested birth range is at least this part of the persistence range: one sigma serves both."""


def coverage(store: Store) -> dict[str, Any]:
    """Shares of points and of persistence inside the window, and what went wrong or flat.

    Counted when the store was built, over the diagrams of all usable samples. points: those that
    are drawn (over the threshold, essential classes as the spec says). empty_diagrams: those of
    which nothing is drawn. essential_clipped, essential_dropped: classes that never die, under the
    name of what the spec does with them; None where a build did not count them. Raises InvalidSpec
    for imported images, whose diagrams are not known.
    """
    if store.spec.origin is not None:
        raise InvalidSpec(
            f"store {store.key[:12]} holds imported images without diagrams, so what their window"
            f" shows is not known; see pi-cache show {store.key[:12]}"
        )
    seen = store.manifest.statistics
    window = seen["window"]
    spec = store.spec.image
    essential = seen.get("essential")
    dropped = spec.clip_value is None
    return {
        "key": store.key,
        "samples": store.samples,
        "status": dict(store.manifest.status),
        "diagrams": window["diagrams"],
        "empty_diagrams": window["empty"],
        "essential_clipped": 0 if dropped else essential,
        "essential_dropped": essential if dropped else 0,
        "points": window["points"],
        "points_inside": _share(window["points_inside"], window["points"]),
        "persistence_inside": _share(window["persistence_inside"], window["persistence"]),
        "flat_channels": seen.get("flat_channels"),
        "faint_images": seen["faint_images"],
        "largest_raw_value": seen["max_value"],
        "birth_range": list(spec.birth_range),
        "persistence_range": list(spec.persistence_range),
        "suggested": suggest_window(store),
        "problems": dict(seen.get("problems", {})),
    }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def suggest_window(store: Store) -> dict[str, list[float]] | None:
    """Ranges that each hold 99 % of the points of some samples, rounded outward.

    Of the train split where there is one. Fit for the grid of the store: a legacy one has a single
    HI for both axes. None where no point is drawn.
    """
    train = None if store.splits is None else store.splits == "train"
    birth, persistence = drawn_points(store, some_samples(store, train))
    if not len(birth):
        return None
    low, high = np.quantile(birth, [0.005, 0.995]).tolist()
    longest = float(np.quantile(persistence, 0.99))
    if store.spec.image.grid == "legacy-persim":
        low, high = round_outward(min(low, 0.0), max(high, longest))
        return {"birth_range": [low, high], "persistence_range": [0.0, high]}
    missing = NARROWEST * longest - (high - low)
    if missing > 0:
        low, high = low - missing / 2, high + missing / 2
    return {
        "birth_range": list(round_outward(low, high)),
        "persistence_range": [0.0, round_outward(0.0, longest)[1]],
    }


def some_samples(store: Store, wanted: np.ndarray | None = None) -> np.ndarray:
    """Up to `LOOKED_AT` usable samples (n,), spread over the store; ascending.

    wanted: (N,) which ones are preferred; all where it holds none of the usable ones.
    """
    usable = np.asarray(store.status) == Status.OK
    if wanted is not None and (usable & wanted).any():
        usable &= wanted
    found = np.flatnonzero(usable)
    return found[spread(len(found), LOOKED_AT)] if len(found) else found


def drawn_points(store: Store, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Birth and persistence of all points that are drawn of some samples."""
    points, _ = store.diagrams(samples)
    births, persistences, _ = select(points, np.array([0, len(points)]), store.spec.image)
    return births, persistences


def round_outward(low: float, high: float) -> tuple[float, float]:
    """The nearest interval around this one with ends on a grid of a tenth of its width or finer.

    The grid is a power of ten, so that few digits are written. LO < HI even where both are equal.
    """
    width = max(high - low, 1e-9 * max(abs(low), abs(high)), 1e-300)
    step = Decimal(1).scaleb(math.floor(math.log10(width)) - 1)
    down, up = (
        (Decimal(repr(end)) / step).to_integral_value(rounding) * step
        for end, rounding in ((low, ROUND_FLOOR), (high, ROUND_CEILING))
    )
    return float(down), float(up if up > down else down + step)


def window_options(birth: Sequence[float], persistence: Sequence[float]) -> str:
    """A window as the options that ask for it; with `=`, so that a negative number is a value."""
    ranges = {"birth": birth, "persistence": persistence}
    return " ".join(f"--{axis}-range={_joined(ends)}" for axis, ends in ranges.items())


def _joined(ends: Sequence[float]) -> str:
    return ",".join(repr(float(end)).removesuffix(".0") for end in ends)


def warnings_of(facts: dict[str, Any]) -> list[str]:
    """What a user should know before using the store, worst first; empty when all is well."""
    lines = []
    unusable = {name: n for name, n in facts["status"].items() if name != "OK"}
    if unusable:
        listed = ", ".join(f"{n} {name}" for name, n in unusable.items())
        lines.append("; ".join([f"{listed}: not delivered to training", *problem_lines(facts, 3)]))
    inside = facts["points_inside"]
    if inside is not None and inside < LITTLE:
        ranges = facts["birth_range"], facts["persistence_range"]
        lines.append(
            f"the window (birth {_joined(ranges[0])}, persistence {_joined(ranges[1])}) holds "
            f"{inside:.0%} of the points and {facts['persistence_inside']:.0%} of the persistence"
        )
        if (fit := facts["suggested"]) is not None:
            options = window_options(fit["birth_range"], fit["persistence_range"])
            lines[-1] += f"; on each axis 99 % of the points lie in {options}"
    if facts["faint_images"]:
        lines.append(
            f"{facts['faint_images']} images are faint (under a millionth of the brightest): "
            "divided by their own maximum they show points outside the window; see --floor"
        )
    if facts["flat_channels"]:
        lines.append(
            f"{facts['flat_channels']} channels are constant: nothing is to be seen in them"
        )
    return lines


def problem_lines(facts: dict[str, Any], most: int | None = None) -> list[str]:
    """The first problems of a store, each with the id of its sample."""
    return [f"{name}: {message}" for name, message in list(facts["problems"].items())[:most]]


def explain_sample(
    store: Store, sample: int, pixel: tuple[int, ...] | None = None
) -> dict[str, Any]:
    """How each image of a sample came about, as plain values.

    pixel: the row and column to explain; the brightest one of each image otherwise.
    """
    if not -len(store) <= sample < len(store):
        raise InvalidSpec(f"sample must lie in 0..{len(store) - 1}, got {sample}")
    images = store.read("images", [sample])[0].astype(np.float64)
    name, status = str(store.ids[sample]), Status(int(store.status[sample]))
    return {
        "key": store.key,
        "sample": name,
        "label": label_name(store, sample),
        "split": "" if store.splits is None else str(store.splits[sample]),
        "status": status.name,
        "problem": store.manifest.statistics.get("problems", {}).get(name, ""),
        "window": window_facts(store, sample),
        "recipe": recipe_of(store),
        "diagram": store.spec.diagram.to_dict(),
        "image": store.spec.image.to_dict(),
        "channels": [
            {
                "name": channel,
                **_explain_diagram(store.diagram(sample, k), store.spec.image),
                **_explain_pixel(images[k] if status in USABLE else None, store.spec.image, pixel),
            }
            for k, channel in enumerate(store.channels)
        ],
    }


def window_facts(store: Store, sample: int) -> dict[str, Any] | None:
    """Where a sample was cut out of a recording: subject, file, start, length, rate.

    start, length: in samples of the recording, the first one is 0. None where ids do not say so.
    """
    if "ids" not in store.attributes:
        return None
    window = Window.parse(str(store.ids[sample]))
    subject = "" if store.groups is None else str(store.groups[sample])
    return {
        "dataset": store.spec.source.kind,
        "subject": subject,
        "recording": window.recording,
        "start": window.start,
        "length": window.length,
        "recorded_rate": window.recorded,
        "samples": window.samples,
        "rate": window.rate,
    }


def window_line(window: dict[str, Any]) -> str:
    """Where a window was cut, in words."""
    recorded, start, length = (window[name] for name in ("recorded_rate", "start", "length"))
    became = ""
    if (window["samples"], window["rate"]) != (length, recorded):
        became = f", as {window['samples']} at {window['rate']:g} Hz"
    return (
        f"{length} samples at {recorded:g} Hz from sample {start:,} ({start / recorded:.6g} s) of"
        f" {window['recording']}, subject {window['subject'] or 'unknown'}{became}"
    )


def recipe_of(store: Store) -> dict[str, Any]:
    """Name and citation of the recipe a store was asked for by, and what was changed of it.

    name: "" where there was none. changed: the fields that differ, with the store's value.
    """
    name = bare_name(store.spec.recipe)
    recipe = RECIPES.get(name)
    if recipe is None:
        return {"name": name, "citation": "", "changed": {}}
    found = differences(recipe.diagram, store.spec.diagram, "diagram.")
    if recipe.diagram.scan is None:
        found.pop("diagram.scan", None)  # left to the source
    found |= differences(recipe.image, store.spec.image, "image.")
    changed = {field: theirs for field, (_, theirs) in found.items()}
    return {"name": name, "citation": recipe.citation, "changed": changed}


def _explain_diagram(points: np.ndarray, spec: ImageSpec) -> dict[str, Any]:
    """Every class of one diagram, the most persistent first, and how many of them are drawn."""
    birth, persistence, _ = select(points, np.array([0, len(points)]), spec)
    inside = in_window(birth, persistence, spec)
    return {
        "points": len(points),
        "essential": int(np.isinf(points[:, 1]).sum()),
        "drawn": len(birth),
        "outside": int((~inside).sum()),
        "persistence_inside": _share(float(persistence[inside].sum()), float(persistence.sum())),
        "classes": classes_of(points, spec),
    }


def classes_of(points: np.ndarray, spec: ImageSpec) -> list[dict[str, Any]]:
    """Each class of a diagram (P, 2), the most persistent first, and where it lies or why not.

    death is None for an essential class; so is its persistence, unless the spec clips it.
    """
    births, deaths = points.astype(np.float64).T
    _, persistences, ends = select(points, np.arange(len(points) + 1), spec)  # a diagram each
    drawn, essential = np.diff(ends) > 0, np.isinf(deaths)
    lifetimes = np.abs(deaths - births)
    lifetimes[drawn] = persistences
    places = np.select(
        [
            essential & (spec.clip_value is None),
            ~drawn,
            in_window(births, lifetimes, spec),
            _within(lifetimes, spec.persistence_range),
            _within(births, spec.birth_range),
        ],
        [
            "essential, dropped",
            "under the threshold",
            "inside the window",
            "outside the birth range",
            "outside the persistence range",
        ],
        "outside both ranges",
    )
    columns = births, deaths, lifetimes, essential, places
    order = np.argsort(-lifetimes, kind="stable")
    return [
        {
            "birth": birth,
            "death": None if never else death,
            "persistence": None if math.isinf(lifetime) else lifetime,
            "essential": never,
            "place": place,
        }
        for birth, death, lifetime, never, place in zip(
            *(column[order].tolist() for column in columns), strict=True
        )
    ]


def _within(values: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    inside: np.ndarray = (ends[0] <= values) & (values <= ends[1])
    return inside


def class_lines(classes: Sequence[dict[str, Any]], most: int = TOLD) -> list[str]:
    """The most persistent classes as a table, and a count of the rest."""
    if not classes:
        return []
    lines = [f"{'birth':<12} {'death':<12} persistence"]
    for one in classes[:most]:
        values = (one[name] for name in ("birth", "death", "persistence"))
        cells = ("never" if value is None else f"{value:.6g}" for value in values)
        lines.append(" ".join([*(f"{cell:<12}" for cell in cells), one["place"]]))
    rest = Counter(one["place"] for one in classes[most:])
    if rest:
        listed = "; ".join(f"{count} {place}" for place, count in rest.items())
        lines.append(f"and {rest.total()} more: {listed}")
    return lines


def _explain_pixel(
    image: np.ndarray | None, spec: ImageSpec, pixel: tuple[int, ...] | None
) -> dict[str, Any]:
    """What one pixel stands for, and its value: None where there is no image."""
    if pixel is None and image is not None:
        pixel = divmod(int(image.argmax()), spec.pixels)
    if pixel is None:
        return {"pixel": None, "value": None, "birth": None, "persistence": None}
    row, column = pixel
    cell = pixel_cell(spec, row, column)
    return {
        "pixel": [row, column],
        "value": None if image is None else float(image[row, column]),
        **cell,
    }


def label_name(store: Store, sample: int) -> str:
    """The name of a sample's label, its number where there is no name, "" for none."""
    label, names = int(store.labels[sample]), store.label_names
    if label < 0:
        return ""
    return names[label] if label < len(names) else str(label)


def pixel_cell(spec: ImageSpec, row: int, column: int) -> dict[str, list[float]]:
    """The cell that a stored pixel stands for: birth and persistence, lower and upper end."""
    if not (0 <= row < spec.pixels and 0 <= column < spec.pixels):
        raise InvalidSpec(f"pixel must lie in 0..{spec.pixels - 1} twice, got {row},{column}")
    lower = {"birth": cell_edges(spec, "birth")[column]}
    lower["persistence"] = cell_edges(spec, "persistence")[row]
    return {axis: [float(low), float(low) + cell_width(spec, axis)] for axis, low in lower.items()}


def explanation_lines(store: Store, facts: dict[str, Any]) -> list[str]:
    """What `explain_sample` found, in words."""
    label = f" ({facts['label']})" if facts["label"] else ""
    problem = f": {facts['problem']}" if facts["problem"] else ""
    lines = [
        f"sample   {facts['sample']}{label}",
        f"status   {facts['status']}{problem}",
        *([] if facts["window"] is None else [f"window   {window_line(facts['window'])}"]),
        f"recipe   {_recipe_line(facts['recipe'])}",
        *(f"diagram  {line}" for line in describe_diagram(store.spec.diagram, store.channels)),
        *(f"image    {line}" for line in describe_image(store.spec.image)),
    ]
    if Status[facts["status"]] not in USABLE:
        return [*lines, "channel  none has an image: the sample is not usable"]
    for fact in facts["channels"]:
        lines.append(
            "channel  {name}: {points} classes, {essential} of them essential; {drawn} drawn, "
            "{outside} of these outside the window".format_map(fact)
        )
        lines += [f"         {line}" for line in [*class_lines(fact["classes"]), _pixel_line(fact)]]
    return lines


def _recipe_line(recipe: dict[str, Any]) -> str:
    if not recipe["name"]:
        return "none: the defaults and what was asked for"
    changed = ", ".join(f"{field} {value}" for field, value in recipe["changed"].items())
    parts = [recipe["name"], f"but {changed}" if changed else "", recipe["citation"]]
    return "; ".join(part for part in parts if part)


def _pixel_line(fact: dict[str, Any]) -> str:
    (row, column), value = fact["pixel"], fact["value"]
    birth, persistence = (
        "{:.4g} to {:.4g}".format(*fact[axis]) for axis in ("birth", "persistence")
    )
    return f"pixel {row},{column} is {value:.3g}: birth {birth}, persistence {persistence}"
