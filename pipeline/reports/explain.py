"""How each image of one sample came about: its diagram class by class, its pixels, its recipe."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from pi_cache.axes import cell_edges, cell_width
from pi_cache.errors import InvalidSpec
from pi_cache.reader import Store
from pi_cache.specs import ImageSpec, Status, differences
from pipeline.images import in_window, select
from pipeline.recipes import RECIPES, bare_name, describe_diagram, describe_image
from pipeline.reports.coverage import share
from pipeline.reports.windows import window_facts, window_line
from pipeline.statistics import USABLE

TOLD = 10
"""Classes of a diagram that are printed one by one."""


def explain_sample(
    store: Store, sample: int, pixel: tuple[int, ...] | None = None
) -> dict[str, Any]:
    """How each image of a sample came about, as plain values.

    pixel: the row and column to explain; the brightest one of each image otherwise.
    """
    known = sample_facts(store, sample)
    images = store.read("images", [sample])[0].astype(np.float64)
    usable = Status[known["status"]] in USABLE
    return {
        **known,
        "recipe": recipe_of(store),
        "diagram": store.spec.diagram.to_dict(),
        "image": store.spec.image.to_dict(),
        "channels": [
            {
                "name": channel,
                **_explain_diagram(store.diagram(sample, k), store.spec.image),
                **_explain_pixel(images[k] if usable else None, store.spec.image, pixel),
            }
            for k, channel in enumerate(store.channels)
        ],
    }


def sample_facts(store: Store, sample: int) -> dict[str, Any]:
    """Who a sample is and what became of it, whatever its images are. Raises InvalidSpec."""
    if not -len(store) <= sample < len(store):
        raise InvalidSpec(f"sample must lie in 0..{len(store) - 1}, got {sample}")
    name, status = str(store.ids[sample]), Status(int(store.status[sample]))
    return {
        "key": store.key,
        "sample": name,
        "label": label_name(store, sample),
        "split": "" if store.splits is None else str(store.splits[sample]),
        "status": status.name,
        "problem": store.manifest.statistics.get("problems", {}).get(name, ""),
        "window": window_facts(store, sample),
    }


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
        "persistence_inside": share(float(persistence[inside].sum()), float(persistence.sum())),
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
