"""What a store shows and what it does not: coverage of the window, statuses, one image explained.

Everything here is read from a finished store; the pictures are drawn by `pipeline.figures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pi_cache.axes import cell_edges, cell_width
from pi_cache.errors import InvalidSpec
from pi_cache.reader import Store
from pi_cache.specs import DiagramSpec, ImageSpec, Status
from pipeline.images import in_window, select
from pipeline.plan import spread

LITTLE = 0.5
"""A window with a smaller share of the points than this is worth a warning."""
LOOKED_AT = 500
"""Samples whose diagrams are read to suggest a window."""


def coverage(store: Store) -> dict[str, Any]:
    """Shares of points and of persistence inside the window, and what went wrong or flat.

    Counted over the whole store when it was built. points: those that are drawn (over the
    threshold, essential classes as the spec says).
    """
    seen = store.manifest.statistics
    window = seen["window"]
    spec = store.spec.image
    return {
        "key": store.key,
        "samples": store.samples,
        "status": dict(store.manifest.status),
        "diagrams": window["diagrams"],
        "empty_diagrams": window["empty"],
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
    """Ranges that hold 99 % of the points of some samples: of the train split where there is one.

    None where no point is drawn.
    """
    candidates = np.flatnonzero(np.asarray(store.status) == Status.OK)
    if store.splits is not None and (store.splits == "train").any():
        candidates = candidates[store.splits[candidates] == "train"]
    if not len(candidates):
        return None
    chosen = candidates[spread(len(candidates), LOOKED_AT)]
    birth, persistence = drawn_points(store, chosen)
    if not len(birth):
        return None
    low, high = np.quantile(birth, [0.005, 0.995])
    return {
        "birth_range": [_round(low), _round(max(high, low + 1e-9))],
        "persistence_range": [0.0, _round(np.quantile(persistence, 0.99))],
    }


def drawn_points(store: Store, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Birth and persistence of all points that are drawn of some samples."""
    points, _ = store.diagrams(samples)
    births, persistences, _ = select(points, np.array([0, len(points)]), store.spec.image)
    return births, persistences


def _round(value: float) -> float:
    return float(f"{value:.3g}")


def warnings_of(facts: dict[str, Any]) -> list[str]:
    """What a user should know before using the store, worst first; empty when all is well."""
    lines = []
    unusable = {name: n for name, n in facts["status"].items() if name != "OK"}
    if unusable:
        listed = ", ".join(f"{n} {name}" for name, n in unusable.items())
        first = list(facts["problems"].values())[:3]
        lines.append(f"{listed}: not delivered to training; " + "; ".join(first))
    inside = facts["points_inside"]
    if inside is not None and inside < LITTLE:
        ranges = facts["suggested"]
        window = ",".join(f"{v:g}" for v in facts["birth_range"])
        hint = (
            ""
            if ranges is None
            else "; 99 % lie in --birth-range {:g},{:g} --persistence-range {:g},{:g}".format(
                *ranges["birth_range"], *ranges["persistence_range"]
            )
        )
        lines.append(
            f"the window (birth {window}) holds {inside:.0%} of the points and "
            f"{facts['persistence_inside']:.0%} of the persistence{hint}"
        )
    if facts["faint_images"]:
        lines.append(
            f"{facts['faint_images']} images are faint (under a millionth of the brightest): "
            "divided by their own maximum they show points outside the window; see --floor"
        )
    if facts["flat_channels"]:
        lines.append(f"{facts['flat_channels']} constant channels gave empty diagrams")
    return lines


def explain_sample(
    store: Store, sample: int, pixel: tuple[int, ...] | None = None
) -> dict[str, Any]:
    """How each image of a sample came about, as plain values.

    pixel: the row and column to explain; the brightest one of each image otherwise.
    """
    if not -len(store) <= sample < len(store):
        raise InvalidSpec(f"sample must lie in 0..{len(store) - 1}, got {sample}")
    images = store.read("images", [sample])[0].astype(np.float64)
    return {
        "key": store.key,
        "sample": str(store.ids[sample]),
        "label": label_name(store, sample),
        "split": "" if store.splits is None else str(store.splits[sample]),
        "status": Status(int(store.status[sample])).name,
        "diagram": store.spec.diagram.to_dict(),
        "image": store.spec.image.to_dict(),
        "channels": [
            {"name": name, **_explain_channel(store, sample, channel, images[channel], pixel)}
            for channel, name in enumerate(store.channels)
        ],
    }


def _explain_channel(
    store: Store, sample: int, channel: int, image: np.ndarray, pixel: tuple[int, ...] | None
) -> dict[str, Any]:
    """Points of one diagram, those outside the window, and what one pixel stands for."""
    spec = store.spec.image
    points = store.diagram(sample, channel)
    birth, persistence, _ = select(points, np.array([0, len(points)]), spec)
    inside = in_window(birth, persistence, spec)
    brightest = np.unravel_index(int(np.nan_to_num(image).argmax()), image.shape)
    row, column = pixel or (int(brightest[0]), int(brightest[1]))
    cell = pixel_cell(spec, row, column)
    return {
        "points": len(points),
        "essential": int(np.isinf(points[:, 1]).sum()),
        "drawn": len(birth),
        "outside": int((~inside).sum()),
        "persistence_inside": _share(float(persistence[inside].sum()), float(persistence.sum())),
        "pixel": [row, column],
        "value": float(np.nan_to_num(image)[row, column]),
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


def describe_diagram(spec: DiagramSpec, channels: Sequence[str]) -> list[str]:
    """The way from a sample to its diagrams, in words."""
    what = {
        "sublevel": "sub-level sets of a path graph",
        "superlevel": "super-level sets of a path graph",
        "cubical": f"cubical sub-level sets, pixels as {spec.construction}",
        "rips": "Vietoris-Rips complexes of a cloud",
    }[spec.filtration]
    scan = {
        None: "",
        "rows": ", each channel read row by row",
        "columns": ", each channel read column by column",
        "both": ", each channel read row by row and column by column",
    }[spec.scan]
    lines = [f"{what}{scan}; homology {', '.join(f'H{k}' for k in spec.homology)}"]
    if spec.embedding_dimension is not None:
        lines.append(
            f"delay embedding of dimension {spec.embedding_dimension}, delay {spec.embedding_delay}"
        )
    if spec.centre or spec.scale != 1.0:
        lines.append(f"{'mean subtracted, then ' if spec.centre else ''}divided by {spec.scale:g}")
    lines.append(
        f"computed by {spec.engine} in {spec.precision}; pairs of persistence over "
        f"{spec.min_persistence:g} kept"
    )
    lines.append(f"{len(channels)} channels: {', '.join(channels)}")
    return lines


def describe_image(spec: ImageSpec) -> list[str]:
    """The way from a diagram to its image, in words."""
    birth, persistence = spec.birth_range, spec.persistence_range
    order = "lowest" if spec.row_order == "ascending" else "highest"
    lines = [
        f"{spec.pixels} x {spec.pixels} pixels, birth {birth[0]:g}..{birth[1]:g} (columns), "
        f"persistence {persistence[0]:g}..{persistence[1]:g} (rows, {order} first), "
        f"{spec.grid} grid",
        f"Gaussian of standard deviation {spec.sigma:g} integrated over each cell, weight "
        f"{spec.weight}; persistence over {spec.threshold:g}; essential classes: {spec.essential}",
        f"normalised: {spec.normalise}; stored as {spec.dtype}",
    ]
    return lines
