"""Where the cells of an image lie on its two axes: in field units, or in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cache.errors import InvalidSpec
from pi_cache.specs import ImageSpec, StoreSpec

NEEDED = {
    "birth": ("grid", "birth_range"),
    "persistence": ("grid", "persistence_range", "row_order"),
}
"""Fields of the image spec that say where the cells of an axis lie."""
TIME_AXES = ("time", "other_time")
"""Rows and columns of a Gramian angular field."""


def lower_edges(image: ImageSpec, axis: str) -> NDArray[np.float64]:
    """Lower edge of each cell (pixels,), ascending. axis: `birth` or `persistence`."""
    low, high = _range(image, axis)
    inclusive = image.grid == "legacy-persim"
    return np.linspace(low, high, image.pixels, endpoint=inclusive)


def cell_edges(image: ImageSpec, axis: str) -> NDArray[np.float64]:
    """Lower edges in the order of the stored columns (birth) or rows (persistence)."""
    edges = lower_edges(image, axis)
    descending = axis == "persistence" and image.row_order == "descending"
    return edges[::-1].copy() if descending else edges


def cell_width(image: ImageSpec, axis: str) -> float:
    """Width of every cell: to the next edge on a regular grid; HI / pixels on a legacy one.

    Legacy cells neither tile the range nor quite stay in it.
    """
    low, high = _range(image, axis)
    if image.grid == "legacy-persim":
        return image.birth_range[1] / image.pixels
    return (high - low) / image.pixels


def missing_for(spec: StoreSpec, axis: str) -> list[str]:
    """Fields of an imported store that must be known for an axis, and are not."""
    if spec.origin is None:
        return []
    names = (f"image.{name}" for name in NEEDED.get(axis, ()))
    return [name for name in names if name not in spec.origin.given]


def stored_edges(spec: StoreSpec, axis: str) -> NDArray[np.float64]:
    """As `cell_edges`. Raises InvalidSpec where the axis of an imported store is not known.

    So too for Gramian angular fields, whose axes are noted in the store: see `noted_edges`.
    """
    if spec.gramian is not None:
        raise InvalidSpec(f"Gramian angular fields have no axis of {axis}; see Store.axis")
    missing = missing_for(spec, axis)
    if missing:
        raise InvalidSpec(
            f"where the cells lie along {axis} is not known: nobody stated {', '.join(missing)} of"
            " these imported images; import them again with --recipe, or with --given for each"
        )
    return cell_edges(spec.image, axis)


def time_note(size: int, extent: float, unit: str) -> dict[str, Any]:
    """Where the `size` cells of a Gramian angular field lie on its axes, as a store says it.

    extent: length of a window in the unit: `second`, `sample`, or `window` where lengths vary.
    """
    edges = (np.arange(size) * extent / size).tolist()
    return {
        "lower_cell_edges": dict.fromkeys(TIME_AXES, edges),
        "cell_width": dict.fromkeys(TIME_AXES, extent / size),
        "unit": unit,
    }


def noted_edges(note: Mapping[str, Any], axis: str) -> NDArray[np.float64]:
    """Lower edge of each cell along an axis that a store has noted. Raises InvalidSpec."""
    edges = note.get("lower_cell_edges", {})
    if axis not in edges:
        raise InvalidSpec(f"axis must be {' or '.join(TIME_AXES)}, got {axis!r}")
    return np.asarray(edges[axis], np.float64)


def _range(image: ImageSpec, axis: str) -> tuple[float, float]:
    if axis not in ("birth", "persistence"):
        raise InvalidSpec(f"axis must be birth or persistence, got {axis!r}")
    return image.birth_range if axis == "birth" else image.persistence_range
