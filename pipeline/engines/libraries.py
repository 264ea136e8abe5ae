"""Diagrams by the library of a spec, one field at a time."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import numpy as np

from pi_cache.errors import SampleError
from pi_cache.specs import DiagramSpec
from pipeline.engines import isolated
from pipeline.engines.common import Ragged, gathered, pairs_by
from pipeline.fields import Fields

LONG = ("cubical", "rips")
"""Filtrations whose libraries may run for hours, and so run in a process that can be ended."""


def compute(
    library: ModuleType, fields: Fields, spec: DiagramSpec, time_limit: float | None
) -> Ragged:
    """The diagrams of all fields, by a module of this room.

    time_limit: seconds a field; None or 0 computes in this process. Raises SampleError with the
    number of a field that takes longer or takes the process with it.
    """
    return gathered(_each(library, fields, spec, time_limit), spec)


def _each(
    library: ModuleType, fields: Fields, spec: DiagramSpec, time_limit: float | None
) -> Iterator[list[np.ndarray]]:
    for number, field in enumerate(fields):
        try:
            if time_limit and spec.filtration in LONG:
                yield isolated.pairs(library.__name__, field, spec, time_limit)
            else:
                yield pairs_by(library, field, spec)
        except SampleError as error:
            raise SampleError(error.status, str(error), number) from None
