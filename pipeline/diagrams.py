"""Fields to persistence diagrams, by engine; the only importer of topology libraries.

Every engine gives the same diagrams in the same form. `native` is this project's own; `ripser`,
`gudhi` and `giotto` are the libraries of that name, imported when they are asked for.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from pi_cache.errors import EngineNotInstalled, InvalidSpec, SampleError
from pi_cache.specs import DiagramSpec, Status
from pipeline.fields import Fields
from pipeline.kernels.path import path_h0, path_h0_ragged

INSTALL = {
    "ripser": 'pip install "pi-cache[pipeline]"',
    "gudhi": 'pip install "pi-cache[gudhi]"',
    "giotto": 'pip install "pi-cache[giotto]" (AGPL-3.0; Python 3.12 or older, numpy < 2)',
}
RIPS_POINTS = 4096
"""A larger cloud is refused: its distance matrix alone takes 64 MiB, its loops many gigabytes."""


@dataclass(frozen=True)
class Diagrams:
    """Ragged diagrams: diagram s is points[offsets[s]:offsets[s+1]].

    points: (P, 2) as (birth, death) in field units; of super-level sets, births are above deaths.
    Finite pairs come first; an essential class has death inf (-inf for super-level sets).
    offsets: (S+1,) int64.
    """

    points: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, position: int) -> np.ndarray:
        return self.points[self.offsets[position] : self.offsets[position + 1]]


def compute_diagrams(fields: Fields, spec: DiagramSpec) -> Diagrams:
    """One diagram a field and dimension of homology, in that order, by the engine of the spec.

    Raises EngineNotInstalled, InvalidSpec where the engine does not cover the filtration, and
    SampleError where a field is beyond what an engine is given.
    """
    return engine_of(spec)(fields, spec)


def engine_of(spec: DiagramSpec) -> Callable[[Fields, DiagramSpec], Diagrams]:
    """The function that computes this spec, its library imported."""
    covered = ENGINES[spec.engine]
    if spec.filtration not in covered:
        others = [name for name, engine in ENGINES.items() if spec.filtration in engine]
        raise InvalidSpec(
            f"engine {spec.engine} does not compute {spec.filtration}; use {' or '.join(others)}"
        )
    if spec.engine != "native":
        _library({"giotto": "gtda"}.get(spec.engine, spec.engine), spec.engine)
    return covered[spec.filtration]


def installed(engine: str) -> bool:
    """Whether the engine can be used here."""
    try:
        engine_of(DiagramSpec(filtration=next(iter(ENGINES[engine])), engine=engine))
    except EngineNotInstalled:
        return False
    return True


def _library(name: str, engine: str) -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # libraries warn of their own dependencies
            return importlib.import_module(name)
    except ImportError as error:
        raise EngineNotInstalled(
            f"engine {engine} is not installed ({error}); {INSTALL[engine]}"
        ) from None


# --- paths: sub-level and super-level H0 of signals


def _native_path(fields: Fields, spec: DiagramSpec) -> Diagrams:
    if isinstance(fields.values, np.ndarray):
        values = -fields.values if spec.filtration == "superlevel" else fields.values
        points, offsets = path_h0(values, spec.min_persistence)
    else:
        flat = np.concatenate(fields.values) if len(fields) else np.zeros(0, spec.precision)
        starts = np.cumsum([0, *(len(field) for field in fields)])
        values = -flat if spec.filtration == "superlevel" else flat
        points, offsets = path_h0_ragged(values, starts, spec.min_persistence)
    return Diagrams(-points if spec.filtration == "superlevel" else points, offsets)


def _path_by(pairs_of: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Diagrams]:
    """An engine that computes the sub-level pairs of one signal at a time."""

    def engine(fields: Fields, spec: DiagramSpec) -> Diagrams:
        sign = -1 if spec.filtration == "superlevel" else 1
        return _gather(([sign * _kept(pairs_of(sign * field), spec)] for field in fields), spec)

    return engine


def _ripser_path(signal: np.ndarray) -> np.ndarray:
    """Sub-level pairs by a sparse matrix: vertices on the diagonal, an edge to each neighbour."""
    from scipy.sparse import coo_matrix

    n = len(signal)
    vertex, edge = np.arange(n), np.arange(n - 1)
    values = np.concatenate([signal, np.maximum(signal[:-1], signal[1:])])
    rows, columns = np.concatenate([vertex, edge]), np.concatenate([vertex, edge + 1])
    matrix = coo_matrix((values, (rows, columns)), shape=(n, n)).tocsr()
    return _ripser(matrix, 0, np.inf, distance_matrix=True)[0]


def _gudhi_path(signal: np.ndarray) -> np.ndarray:
    cubical = _library("gudhi", "gudhi").CubicalComplex(vertices=signal.astype(np.float64))
    return _cubical_pairs(cubical, (0,))[0]


def _giotto_path(signal: np.ndarray) -> np.ndarray:
    return _giotto_pairs(signal[:, None], "cells", (0,))[0]


# --- images: cubical H0 and H1


def _gudhi_cubical(fields: Fields, spec: DiagramSpec) -> Diagrams:
    gudhi = _library("gudhi", "gudhi")
    name = "top_dimensional_cells" if spec.construction == "cells" else "vertices"
    return _gather(
        (
            [
                _kept(pairs, spec)
                for pairs in _cubical_pairs(
                    gudhi.CubicalComplex(**{name: field.astype(np.float64)}), spec.homology
                )
            ]
            for field in fields
        ),
        spec,
    )


def _cubical_pairs(cubical: Any, homology: tuple[int, ...]) -> list[np.ndarray]:
    cubical.compute_persistence(homology_coeff_field=2)
    return [np.reshape(cubical.persistence_intervals_in_dimension(k), (-1, 2)) for k in homology]


def _giotto_cubical(fields: Fields, spec: DiagramSpec) -> Diagrams:
    return _gather(
        (
            [
                _kept(pairs, spec)
                for pairs in _giotto_pairs(field, spec.construction or "cells", spec.homology)
            ]
            for field in fields
        ),
        spec,
    )


def _giotto_pairs(
    image: np.ndarray, construction: str, homology: tuple[int, ...]
) -> list[np.ndarray]:
    """giotto-tda's cubical persistence, from its own build of the complex."""
    if construction != "cells":
        raise InvalidSpec("engine giotto computes cubical cells only; use gudhi for vertices")
    externals = _library("gtda.externals", "giotto")
    cubical = externals.CubicalComplex(
        dimensions=list(image.shape),
        top_dimensional_cells=image.flatten(order="F").astype(np.float64),
    )
    cubical.persistence(homology_coeff_field=2, min_persistence=0)
    return [np.reshape(cubical.persistence_intervals_in_dimension(k), (-1, 2)) for k in homology]


# --- clouds: Vietoris-Rips


def _rips_by(pairs_of: Callable[..., list[np.ndarray]]) -> Callable[..., Diagrams]:
    """An engine that computes one cloud at a time, up to the highest dimension asked for."""

    def engine(fields: Fields, spec: DiagramSpec) -> Diagrams:
        longest = np.inf if spec.max_length is None else spec.max_length

        def one(cloud: np.ndarray) -> list[np.ndarray]:
            if len(cloud) > RIPS_POINTS:
                raise SampleError(
                    Status.TOO_LARGE,
                    f"a cloud of {len(cloud)} points is over the limit of {RIPS_POINTS} for rips; "
                    "use fewer points, or a cubical or sublevel filtration",
                )
            pairs = pairs_of(cloud, max(spec.homology), longest)
            return [_kept(pairs[k], spec) for k in spec.homology]

        return _gather((one(cloud) for cloud in fields), spec)

    return engine


def _ripser_rips(cloud: np.ndarray, highest: int, longest: float) -> list[np.ndarray]:
    return _ripser(cloud, highest, longest)


def _ripser(data: Any, highest: int, longest: float, **options: Any) -> list[np.ndarray]:
    ripser = _library("ripser", "ripser").ripser
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it takes a short wide cloud for a mistake
        diagrams = ripser(data, maxdim=highest, thresh=longest, **options)["dgms"]
    return [np.asarray(diagram, np.float64).reshape(-1, 2) for diagram in diagrams]


def _gudhi_rips(cloud: np.ndarray, highest: int, longest: float) -> list[np.ndarray]:
    """GUDHI with edge collapse, which leaves the diagrams as they are."""
    gudhi = _library("gudhi", "gudhi")
    tree = gudhi.RipsComplex(points=cloud, max_edge_length=longest).create_simplex_tree(1)
    if highest:
        tree.collapse_edges()
        tree.expansion(highest + 1)
    tree.compute_persistence(homology_coeff_field=2, persistence_dim_max=True)
    return [
        np.reshape(tree.persistence_intervals_in_dimension(k), (-1, 2)) for k in range(highest + 1)
    ]


def _giotto_rips(cloud: np.ndarray, highest: int, longest: float) -> list[np.ndarray]:
    ripser_parallel = _library("gph", "giotto").ripser_parallel
    diagrams = ripser_parallel(cloud, maxdim=highest, thresh=longest, n_threads=1)["dgms"]
    return [np.asarray(diagram, np.float64).reshape(-1, 2) for diagram in diagrams]


# --- what all have in common


def _kept(pairs: np.ndarray, spec: DiagramSpec) -> np.ndarray:
    """Pairs of sufficient persistence, essential classes last."""
    pairs = np.asarray(pairs, np.float64)
    finite = np.isfinite(pairs[:, 1])
    lasting = pairs[:, 1] - pairs[:, 0] > spec.min_persistence
    return np.concatenate([pairs[finite & lasting], pairs[~finite]])


def _gather(diagrams: Iterable[list[np.ndarray]], spec: DiagramSpec) -> Diagrams:
    """Diagrams one after the other, in the spec's precision."""
    parts = [part for field in diagrams for part in field]
    offsets = np.cumsum([0, *(len(part) for part in parts)]).astype(np.int64)
    points = np.concatenate([*parts, np.empty((0, 2))]).astype(spec.precision)
    return Diagrams(points, offsets)


Engine = Callable[[Fields, DiagramSpec], Diagrams]

ENGINES: dict[str, dict[str, Engine]] = {
    "native": {"sublevel": _native_path, "superlevel": _native_path},
    "ripser": {
        "sublevel": _path_by(_ripser_path),
        "superlevel": _path_by(_ripser_path),
        "rips": _rips_by(_ripser_rips),
    },
    "gudhi": {
        "sublevel": _path_by(_gudhi_path),
        "superlevel": _path_by(_gudhi_path),
        "cubical": _gudhi_cubical,
        "rips": _rips_by(_gudhi_rips),
    },
    "giotto": {
        "sublevel": _path_by(_giotto_path),
        "superlevel": _path_by(_giotto_path),
        "cubical": _giotto_cubical,
        "rips": _rips_by(_giotto_rips),
    },
}
