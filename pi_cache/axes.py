"""Where the cells of an image lie on its two axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pi_cache.errors import InvalidSpec
from pi_cache.specs import ImageSpec


def cell_edges(image: ImageSpec, axis: str) -> NDArray[np.float64]:
    """Lower edge of each cell in field units, in the order of the stored rows or columns.

    axis: `birth` (columns) or `persistence` (rows). A cell reaches `image.cell_width` further on
    a legacy grid, and to the next edge on a regular one.
    """
    if axis not in ("birth", "persistence"):
        raise InvalidSpec(f"axis must be birth or persistence, got {axis!r}")
    low, high = image.birth_range if axis == "birth" else image.persistence_range
    inclusive = image.grid == "legacy-persim"
    edges = np.linspace(low, high, image.pixels, endpoint=inclusive)
    descending = axis == "persistence" and image.row_order == "descending"
    return edges[::-1].copy() if descending else edges
