"""Diagrams by GUDHI, one field at a time, in double precision."""

from __future__ import annotations

from typing import Any

import gudhi
import numpy as np

from pi_cache.specs import DiagramSpec
from pipeline.engines.common import lengths


def pairs(field: np.ndarray, spec: DiagramSpec) -> list[np.ndarray]:
    """All pairs of one field, (P, 2) float64 a dimension of the spec."""
    if spec.filtration == "rips":
        found = _rips(field, spec)
        return [found[k] for k in spec.homology]
    # A signal is a cubical complex of one axis; its samples are vertices.
    cells = spec.construction == "cells"
    name = "top_dimensional_cells" if cells else "vertices"
    complex_ = gudhi.CubicalComplex(**{name: field.astype(np.float64)})
    complex_.compute_persistence(homology_coeff_field=2)
    return [_of_dimension(complex_, k) for k in spec.homology]


def _rips(field: np.ndarray, spec: DiagramSpec) -> list[np.ndarray]:
    """With edge collapse, which leaves the diagrams as they are."""
    highest = max(spec.homology)
    given: dict[str, Any]
    if spec.metric == "euclidean":  # no matrix is made, so a large cloud has room
        given = {"points": field.astype(np.float64)}
    else:
        given = {"distance_matrix": lengths(field, spec.metric)}
    longest = np.inf if spec.max_length is None else spec.max_length
    tree = gudhi.RipsComplex(**given, max_edge_length=longest).create_simplex_tree(1)
    if highest:
        tree.collapse_edges()
        tree.expansion(highest + 1)
    tree.compute_persistence(homology_coeff_field=2, persistence_dim_max=True)
    return [_of_dimension(tree, k) for k in range(highest + 1)]


def _of_dimension(complex_: Any, k: int) -> np.ndarray:
    return np.reshape(complex_.persistence_intervals_in_dimension(k), (-1, 2))
