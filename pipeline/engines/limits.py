"""What one field costs at most, and from which size on it is refused before any work.

The limits are stated and not measured, so that a store is the same on every machine. All follows
from the number of edges: E edges have at most (2 E)^(3/2) / 6 triangles, as many as a complete
graph of so many edges (Kruskal and Katona).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pi_cache.errors import SampleError
from pi_cache.specs import PRECOMPUTED, DiagramSpec, Status
from pipeline.engines import ENGINES
from pipeline.fields import Fields

BUDGET = 8 * 2**30
"""Bytes that the computation of one field may need."""
SAMPLED_ROWS = 64
"""Points whose distances to all others tell how many edges a `max_length` leaves."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Memory and time of one engine's Rips, as measured on clouds in a cube.

    edge, triangle: bytes each, triangles where H2 is computed. matrix: bytes a pair of points for
    distances, whatever their length. seconds: of 1,000 points in H0 and H1, growing with the power;
    seconds_h2: of 300 points, growing with the fourth power.
    """

    edge: float
    matrix: float
    seconds: float
    power: float = 3.0
    triangle: float = 0.0
    seconds_h2: float = 0.0


RIPS = {
    "native": Rates(edge=16, matrix=12, seconds=0.004, power=2.5),
    "ripser": Rates(edge=130, matrix=60, seconds=2.0, triangle=48, seconds_h2=3.0),
    "gudhi": Rates(edge=110, matrix=3, seconds=4.0, triangle=8, seconds_h2=0.2),
    "giotto": Rates(edge=90, matrix=30, seconds=0.5, triangle=4, seconds_h2=0.4),
}
"""GUDHI's memory follows the edges that its collapse leaves: of clouds in ten dimensions a hundred
times as many. Then the limit on the memory of its process ends the sample, see `child`."""
CUBICAL = {"native": (40, 5e-8), "gudhi": (250, 1.5e-6), "giotto": (250, 1.5e-6)}
PATH = {"native": (24, 4e-9), "ripser": (120, 4e-7), "gudhi": (60, 3e-7), "giotto": (60, 3e-7)}
"""Bytes and seconds of a pixel, of a value of a signal."""
MATRIX = 24.0
"""Bytes a pair of points, where a metric is computed first."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Of one field: bytes at most, seconds about."""

    memory: float
    seconds: float


def pairs_of(points: int) -> int:
    """Edges of a whole Rips filtration."""
    return points * (points - 1) // 2


def estimate(spec: DiagramSpec, size: int, edges: float | None = None) -> Estimate:
    """What the engine of the spec needs for a field of so many values, pixels or points.

    edges: of a cloud, no longer than `max_length`; None for all of them.
    """
    if spec.filtration != "rips":
        memory, seconds = (CUBICAL if spec.filtration == "cubical" else PATH)[spec.engine]
        return Estimate(memory=memory * size, seconds=seconds * size)
    rates = RIPS[spec.engine]
    edges = float(pairs_of(size)) if edges is None else edges
    like = math.sqrt(2 * edges)  # a complete graph of so many points has as many edges
    matrix = rates.matrix + (0 if spec.metric == "euclidean" else MATRIX)
    needed = matrix * pairs_of(size) + rates.edge * edges
    taken = rates.seconds * (like / 1000) ** rates.power + 1e-8 * pairs_of(size)
    if max(spec.homology) > 1:
        needed += rates.triangle * like**3 / 6
        taken += rates.seconds_h2 * (like / 300) ** 4
    return Estimate(memory=needed, seconds=taken)


def refusal(spec: DiagramSpec, size: int, edges: float | None = None) -> str | None:
    """Why a field of this size is refused, with an estimate and the remedy; None if it is not."""
    largest = ENGINES[spec.engine].covers[spec.filtration].largest
    needs = estimate(spec, size, edges)
    if size <= largest and needs.memory <= BUDGET:
        return None
    what = {"cubical": "an image of {:,} pixels", "rips": "a cloud of {:,} points"}.get(
        spec.filtration, "a signal of {:,} values"
    )
    limit = f"{largest:,}" if size > largest else f"{BUDGET / 2**30:.0f} GiB"
    return (
        f"{what.format(size)} is over the limit of engine {spec.engine}, {limit} (it would take "
        f"about {_bytes(needs.memory)} and {_seconds(needs.seconds)}); {_remedy(spec)}"
    )


def _remedy(spec: DiagramSpec) -> str:
    if spec.filtration != "rips":
        return "make it smaller, or cut it into several samples"
    fewer = "use fewer points, or a cubical or sublevel filtration"
    if max(spec.homology) > 1:
        fewer = "use fewer points, or --homology 0,1"
    if spec.engine == "gudhi":
        return f"{fewer}, or a smaller --max-length"
    return f"{fewer}, or --engine gudhi with a small --max-length"


def check_fields(fields: Fields, spec: DiagramSpec) -> None:
    """Raise SampleError (TOO_LARGE) with the number of the first field beyond the limits."""
    if isinstance(fields.values, np.ndarray) and (
        not len(fields) or refusal(spec, _size(fields.values[0], spec)) is None
    ):
        return
    for number, field in enumerate(fields):
        size = _size(field, spec)
        text = refusal(spec, size)
        if text is not None and spec.max_length is not None:
            text = refusal(spec, size, count_edges(field, spec))
        if text is not None:
            raise SampleError(Status.TOO_LARGE, text, number)


def _size(field: np.ndarray, spec: DiagramSpec) -> int:
    return len(field) if spec.filtration == "rips" else field.size


def count_edges(field: np.ndarray, spec: DiagramSpec) -> float:
    """Edges of a cloud, or of a distance matrix, up to `max_length`; about, from some of its rows.

    The rows are the same each time.
    """
    rows = np.unique(np.linspace(0, len(field) - 1, SAMPLED_ROWS).astype(np.int64))
    if spec.metric == PRECOMPUTED:
        found = field[rows]
    else:
        from scipy.spatial.distance import cdist

        name = {"manhattan": "cityblock"}.get(spec.metric, spec.metric)
        found = cdist(field[rows], field, name)
    longest = np.inf if spec.max_length is None else spec.max_length
    share = (np.count_nonzero(found <= longest) - len(rows)) / max(found.size - len(rows), 1)
    return max(share, 0.0) * pairs_of(len(field))


def _bytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count < 1e12 else f"{count / 1e12:,.1f} TB"


def _seconds(seconds: float) -> str:
    for unit, size, upto in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < upto * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:,.0f} days"
