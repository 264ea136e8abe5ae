"""Diagrams by giotto-tda (paths and images) and giotto-ph (rips), one field at a time.

giotto-ph holds lengths as float32; giotto-tda has its own build of a cubical complex, in double
precision.
"""

from __future__ import annotations

import numpy as np
from gph import ripser_parallel
from gtda.externals import CubicalComplex

from pi_cache.specs import DiagramSpec
from pipeline.engines.common import lengths


def pairs(field: np.ndarray, spec: DiagramSpec) -> list[np.ndarray]:
    """All pairs of one field, (P, 2) float64 a dimension of the spec."""
    if spec.filtration == "rips":
        return _rips(field, spec)
    image = field if field.ndim == 2 else field[:, None]
    cubical = CubicalComplex(
        dimensions=list(image.shape),
        top_dimensional_cells=image.flatten(order="F").astype(np.float64),
    )
    cubical.persistence(homology_coeff_field=2, min_persistence=0)
    return [
        np.reshape(cubical.persistence_intervals_in_dimension(k), (-1, 2)) for k in spec.homology
    ]


def _rips(field: np.ndarray, spec: DiagramSpec) -> list[np.ndarray]:
    found = ripser_parallel(
        lengths(field, spec.metric),
        metric="precomputed",
        maxdim=max(spec.homology),
        thresh=np.inf if spec.max_length is None else spec.max_length,
        n_threads=1,
    )["dgms"]
    return [np.asarray(found[k], np.float64).reshape(-1, 2) for k in spec.homology]


def embedding_search(signal: np.ndarray, longest: int, highest: int) -> tuple[float, float]:
    """Delay and dimension of the delay embedding of a signal (T,); NaN where it is too short.

    longest, highest: the largest of each that is tried.
    """
    # Not at the top: it takes seconds, and diagrams do not need it.
    from gtda.time_series import takens_embedding_optimal_parameters

    try:
        delay, dimension = takens_embedding_optimal_parameters(signal, longest, highest)
    except ValueError:  # no point, or no neighbour, of the dimension after the highest
        return np.nan, np.nan
    return float(delay), float(dimension)
