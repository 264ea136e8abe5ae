"""What one field costs at most, and from which size on it is refused before any work.

The limits are stated and not measured, so that a store is the same on every machine. All follows
from the number of edges: E edges have at most (2 E)^(3/2) / 6 triangles, as many as a complete
graph of so many edges (Kruskal and Katona).
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import numpy as np

from pi_cache.errors import SampleError
from pi_cache.specs import PRECOMPUTED, DiagramSpec, Status
from pipeline.engines import ENGINES, marked
from pipeline.engines.common import SCIPY_METRICS
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
COORDINATE = 1e-9
"""Seconds a coordinate and pair of points, to compute its length."""
LOOPS = 2 * 2**30
"""Bytes of the loops of one cloud in the native kernel, which gives up beyond."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Of one field: bytes at most, seconds about."""

    memory: float
    seconds: float


def pairs_of(points: int) -> int:
    """Edges of a whole Rips filtration."""
    return points * (points - 1) // 2


def estimate(
    spec: DiagramSpec, size: int, edges: float | None = None, *, coordinates: int = 0
) -> Estimate:
    """What the engine of the spec needs for a field of so many values, pixels or points.

    edges: of a cloud, no longer than `max_length`; None for all of them. coordinates: of a point
    of a cloud; 0 where the distances are given.
    """
    if spec.filtration != "rips":
        memory, seconds = (CUBICAL if spec.filtration == "cubical" else PATH)[spec.engine]
        return Estimate(memory=memory * size, seconds=seconds * size)
    rates = RIPS[spec.engine]
    edges = float(pairs_of(size)) if edges is None else edges
    like = math.sqrt(2 * edges)  # a complete graph of so many points has as many edges
    matrix = rates.matrix + (0 if spec.metric == "euclidean" else MATRIX)
    needed = matrix * pairs_of(size) + rates.edge * edges
    taken = rates.seconds * (like / 1000) ** rates.power
    taken += (1e-8 + COORDINATE * coordinates) * pairs_of(size)
    if spec.engine == "native":
        needed += _loop_bytes(size, edges)
    if max(spec.homology) > 1:
        needed += rates.triangle * like**3 / 6
        taken += rates.seconds_h2 * (like / 300) ** 4
    return Estimate(memory=needed, seconds=taken)


def _loop_bytes(points: int, edges: float) -> float:
    """Of loops and of the relations that end them, in each of which all older loops may be.

    Edges that begin loops make no triangle, so they are a quarter of n**2 at most (Mantel).
    """
    loops = min(edges, points**2 / 4)
    return min(loops * 32 + loops**2 / 16, LOOPS)


def refusal(
    spec: DiagramSpec, size: int, edges: float | None = None, *, coordinates: int = 0
) -> str | None:
    """Why a field of this size is refused, with an estimate and the remedy; None if it is not.

    edges, coordinates: as for `estimate`.
    """
    needs = estimate(spec, size, edges, coordinates=coordinates)
    largest = _largest(spec)
    if size <= largest and needs.memory <= BUDGET:
        return None
    limit = f"{largest:,}" if size > largest else f"{BUDGET / 2**30:.0f} GiB"
    return (
        f"{_field_words(spec, size)} is over the limit of engine {spec.engine}, {limit} (it would "
        f"take about {_bytes(needs.memory)} and {_seconds(needs.seconds)}); {_remedy(spec)}"
    )


def largest_whole(spec: DiagramSpec) -> int:
    """The size of the largest field that is let through, of a cloud with every edge."""
    sizes = range(_largest(spec) + 1)
    refused = bisect.bisect_left(sizes, True, key=lambda n: estimate(spec, n).memory > BUDGET)
    return refused - 1


def overtime(spec: DiagramSpec, size: int, needs: Estimate, limit: float | None) -> str | None:
    """Why a field of this size is likely to take over the limit, and the remedy; None if it is not.

    limit: seconds a field, None or 0 for any.
    """
    if not limit or needs.seconds <= limit:
        return None
    return (
        f"{_field_words(spec, size)} takes engine {spec.engine} about {_seconds(needs.seconds)}, "
        f"and --time-limit is {limit:g} s: raise it, or {_remedy(spec)}"
    )


def _largest(spec: DiagramSpec) -> int:
    return ENGINES[spec.engine].covers[spec.filtration].largest


def _field_words(spec: DiagramSpec, size: int) -> str:
    words = {"cubical": "an image of {:,} pixels", "rips": "a cloud of {:,} points"}
    return words.get(spec.filtration, "a signal of {:,} values").format(size)


def _remedy(spec: DiagramSpec) -> str:
    if spec.filtration != "rips":
        return "make it smaller, or cut it into several samples"
    fewer = "use fewer points, or a cubical or sublevel filtration"
    if max(spec.homology) > 1:
        fewer = "use fewer points, or --homology 0,1"
    if spec.engine == "gudhi":
        return f"{fewer}, or a smaller --max-length"
    return f"{fewer}, or a small --max-length with --engine {marked('gudhi')}"


def check_fields(fields: Fields, spec: DiagramSpec) -> None:
    """Raise SampleError (TOO_LARGE) with the number of the first field beyond the limits."""
    if isinstance(fields.values, np.ndarray) and (
        not len(fields) or refusal(spec, size_of(fields.values[0], spec)) is None
    ):
        return
    for number, field in enumerate(fields):
        size, coordinates = size_of(field, spec), coordinates_of(field, spec)
        text = refusal(spec, size, coordinates=coordinates)
        if text is not None and spec.max_length is not None:
            text = refusal(spec, size, count_edges(field, spec), coordinates=coordinates)
        if text is not None:
            raise SampleError(Status.TOO_LARGE, text, number)


def size_of(field: np.ndarray, spec: DiagramSpec) -> int:
    """Values of a signal, pixels of an image, points of a cloud."""
    return len(field) if spec.filtration == "rips" else field.size


def coordinates_of(field: np.ndarray, spec: DiagramSpec) -> int:
    """Of a point of a cloud; 0 of what is none."""
    return field.shape[1] if spec.filtration == "rips" and spec.metric != PRECOMPUTED else 0


def count_edges(field: np.ndarray, spec: DiagramSpec) -> float:
    """Edges of a cloud, or of a distance matrix, up to `max_length`; about, from some of its rows.

    The rows are the same each time.
    """
    rows = np.unique(np.linspace(0, len(field) - 1, SAMPLED_ROWS).astype(np.int64))
    if spec.metric == PRECOMPUTED:
        found = field[rows]
    else:
        from scipy.spatial.distance import cdist

        name = SCIPY_METRICS[spec.metric]
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
