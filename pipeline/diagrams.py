"""Fields to persistence diagrams, by the engine that the spec names (see `pipeline.engines`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pi_cache.specs import DiagramSpec
from pipeline.engines import engine_of, module_of
from pipeline.engines.limits import check_fields
from pipeline.fields import Fields


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


def compute_diagrams(
    fields: Fields, spec: DiagramSpec, *, time_limit: float | None = None
) -> Diagrams:
    """One diagram a field and dimension of homology, in that order, by the engine of the spec.

    time_limit: seconds a field may take; None or 0 for any. Raises EngineNotInstalled, InvalidSpec
    where the engine does not cover the spec, and SampleError with the number of a field that is
    beyond what the engine is given (TOO_LARGE), takes too long (TIMEOUT) or ends it (CRASH).
    """
    engine = engine_of(spec)
    check_fields(fields, spec)
    module = module_of(engine)
    if engine.name == "native":
        return Diagrams(*module.compute(fields, spec, time_limit))
    from pipeline.engines.libraries import compute

    return Diagrams(*compute(module, fields, spec, time_limit))


def tiny_fields(spec: DiagramSpec) -> Fields:
    """One small field of the kind that a spec filters: to compile a kernel, or start a library."""
    corners = np.array([[0.0, 1.0], [2.0, 0.5], [3.0, 2.5]], spec.precision)
    if spec.metric == "precomputed":
        corners = np.abs(corners[:, :1] - corners[:, 0])
    path = spec.filtration in ("sublevel", "superlevel")
    return Fields(corners.reshape(1, -1) if path else corners[None])
