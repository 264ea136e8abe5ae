"""Diagrams by ripser.py, one field at a time; it holds values as float32."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from ripser import ripser
from scipy.sparse import coo_matrix

from pi_cache.specs import DiagramSpec
from pipeline.engines.common import lengths


def pairs(field: np.ndarray, spec: DiagramSpec) -> list[np.ndarray]:
    """All pairs of one field, (P, 2) float64 a dimension of the spec."""
    if spec.filtration == "rips":
        longest = np.inf if spec.max_length is None else spec.max_length
        found = _ripser(lengths(field, spec.metric), max(spec.homology), longest)
        return [found[k] for k in spec.homology]
    return _ripser(_path(field), 0, np.inf)


def _path(signal: np.ndarray) -> Any:
    """A signal as a sparse matrix: vertices on the diagonal, an edge to each neighbour."""
    n = len(signal)
    vertex, edge = np.arange(n), np.arange(n - 1)
    values = np.concatenate([signal, np.maximum(signal[:-1], signal[1:])])
    rows, columns = np.concatenate([vertex, edge]), np.concatenate([vertex, edge + 1])
    return coo_matrix((values, (rows, columns)), shape=(n, n)).tocsr()


def _ripser(matrix: Any, highest: int, longest: float) -> list[np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it doubts small matrices
        diagrams = ripser(matrix, maxdim=highest, thresh=longest, distance_matrix=True)["dgms"]
    return [np.asarray(diagram, np.float64).reshape(-1, 2) for diagram in diagrams]
