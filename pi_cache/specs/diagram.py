"""From a sample to its persistence diagrams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pi_cache.specs.base import Spec
from pi_cache.specs.checks import Checks, number, whole

FILTRATIONS = ("sublevel", "superlevel", "cubical", "rips")
SCANS = ("rows", "columns", "both")
CONSTRUCTIONS = ("cells", "vertices")
ENGINES = ("native", "ripser", "gudhi", "giotto")
METRICS = ("euclidean", "manhattan", "chebyshev", "cosine")
"""Lengths between the points of a cloud; a distance matrix has its own, `PRECOMPUTED`."""
PRECOMPUTED = "precomputed"
HOMOLOGY = {"sublevel": (0,), "superlevel": (0,), "cubical": (0, 1), "rips": (0, 1)}
"""Dimensions that are computed when none is named."""
PRECISIONS = ("float64", "float32")


def default_engine(filtration: str, homology: tuple[int, ...]) -> str:
    """The engine where none is named: this project's own, and a library for what it has not."""
    return "ripser" if filtration == "rips" and max(homology) > 1 else "native"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagramSpec(Spec):
    """From a sample to its persistence diagrams.

    filtration: `sublevel`/`superlevel` (H0 of a path graph: a signal, or an image channel read
    along `scan`), `cubical` (sub-level sets of an image, `construction` says whether a pixel is a
    cell or a vertex), `rips` (Vietoris-Rips of a cloud: given points, the (x, y, intensity) cloud
    of an image channel, or the delay embedding of a signal; or of a distance matrix).
    homology: dimensions, ascending; none named means all that are usual for the filtration.
    centre, scale: each channel of a signal has its mean subtracted, then is divided by `scale`.
    precision: values are rounded to this type before the topology; `float32` is what ripser does.
    min_persistence: pairs are kept when their persistence is strictly greater.
    max_length: largest edge of a Rips filtration; None for the whole one.
    metric: length of an edge between points of a cloud; `precomputed` where samples are distance
    matrices.
    """

    filtration: str = "sublevel"
    scan: str | None = None
    construction: str | None = None
    homology: tuple[int, ...] = ()
    embedding_dimension: int | None = None
    embedding_delay: int | None = None
    max_length: float | None = None
    centre: bool = False
    scale: float = 1.0
    precision: str = "float64"
    min_persistence: float = 0.0
    metric: str = "euclidean"
    engine: str = ""

    def __post_init__(self) -> None:
        checks = Checks("DiagramSpec")
        checks.choice("filtration", self.filtration, FILTRATIONS)
        checks.done()
        if self.filtration == "cubical" and self.construction is None:
            self._set("construction", "cells")
        given: Any = self.homology
        dimensions = (given,) if isinstance(given, int) else given or HOMOLOGY[self.filtration]
        self._set("homology", tuple(sorted({whole(k, "homology") for k in dimensions})))
        self._set("engine", self.engine or default_engine(self.filtration, self.homology))
        self._set("scale", number(self.scale, "scale"))
        checks.that(
            isinstance(self.centre, bool), f"centre must be true or false, got {self.centre!r}"
        )
        self._set("min_persistence", number(self.min_persistence, "min_persistence"))
        if self.max_length is not None:
            self._set("max_length", number(self.max_length, "max_length"))
        for name in ("embedding_dimension", "embedding_delay"):
            if getattr(self, name) is not None:
                self._set(name, whole(getattr(self, name), name))
        self._check(checks)

    def _check(self, checks: Checks) -> None:
        path = self.filtration in ("sublevel", "superlevel")
        checks.choice("engine", self.engine, ENGINES)
        checks.choice("precision", self.precision, PRECISIONS)
        if self.scan is not None:
            checks.choice("scan", self.scan, SCANS)
            checks.that(path, f"scan does not apply to {self.filtration}")
        if self.construction is not None:
            checks.choice("construction", self.construction, CONSTRUCTIONS)
            checks.that(self.filtration == "cubical", "construction applies to cubical only")
        limit = {"cubical": 1, "rips": 2}.get(self.filtration, 0)
        checks.that(
            all(0 <= k <= limit for k in self.homology),
            f"homology of {self.filtration} must lie in 0..{limit}, got {list(self.homology)}",
        )
        embedded = self.embedding_dimension is not None or self.embedding_delay is not None
        if embedded:
            checks.that(self.filtration == "rips", "a delay embedding applies to rips only")
            checks.that(
                (self.embedding_dimension or 0) >= 2, "embedding_dimension must be at least 2"
            )
            checks.that((self.embedding_delay or 0) >= 1, "embedding_delay must be at least 1")
        if self.max_length is not None:
            checks.that(self.filtration == "rips", "max_length applies to rips only")
            checks.that(self.max_length > 0, "max_length must be positive")
        checks.choice("metric", self.metric, (*METRICS, PRECOMPUTED))
        checks.that(
            self.filtration == "rips" or self.metric == "euclidean", "metric applies to rips only"
        )
        checks.that(self.scale > 0, f"scale must be positive, got {self.scale:g}")
        checks.that(self.min_persistence >= 0, "min_persistence must not be negative")
        checks.done()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values. The usual metric is left out, so that older keys stay as they are."""
        document = Spec.to_dict(self)  # a slotted class is made twice, and `super` has the first
        if self.metric == "euclidean":
            del document["metric"]
        return document
