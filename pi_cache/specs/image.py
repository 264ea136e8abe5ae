"""From a diagram to its persistence image."""

from __future__ import annotations

from dataclasses import dataclass

from pi_cache.errors import InvalidSpec
from pi_cache.specs.base import Spec
from pi_cache.specs.checks import Checks, interval, number, whole
from pi_cache.specs.diagram import PRECISIONS

GRIDS = ("regular", "legacy-persim")
NORMALISATIONS = ("own-max", "none", "dataset-max")
ROW_ORDERS = ("ascending", "descending")
ROUNDINGS = ("nearest", "truncate")
DTYPES = ("float16", "float32", "float64", "uint8")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec(Spec):
    """From a diagram to its persistence image of `pixels` x `pixels` (persistence, birth).

    Each pixel is the exact integral over its cell (`rule`) of the sum of weighted Gaussians of
    standard deviation `sigma`. Reference: Adams et al., JMLR 18 (2017), section 4.
    grid: `regular` cells tile the two ranges; `legacy-persim` is the grid of scikit-tda's retired
    PersImage: `pixels` lower edges from LO to HI inclusive, each cell `birth_range[1]` / `pixels`
    wide whatever LO is (persistence starts at 0).
    weight: `one`, `linear` (persistence), `power:N`, or `relative` (persistence divided by the
    largest one of that diagram).
    threshold: pairs with persistence strictly greater are drawn.
    essential: `drop`, or `clip:VALUE`, the death given to classes that never die.
    normalise: `own-max` divides by the image's maximum, `dataset-max` by that of all images.
    floor: with own-max, an image whose maximum is not above it is stored as zeros.
    row_order: `ascending` puts the lowest persistence in row 0.
    rounding: how uint8 is made from 255 times the value.
    """

    pixels: int = 50
    birth_range: tuple[float, float] = (0.0, 1.0)
    persistence_range: tuple[float, float] = (0.0, 1.0)
    sigma: float = 0.05
    rule: str = "cell-integral"
    grid: str = "regular"
    weight: str = "linear"
    threshold: float = 0.0
    essential: str = "drop"
    normalise: str = "own-max"
    floor: float = 0.0
    row_order: str = "ascending"
    precision: str = "float64"
    dtype: str = "float16"
    rounding: str = "nearest"

    def __post_init__(self) -> None:
        self._set("pixels", whole(self.pixels, "pixels"))
        for name in ("birth_range", "persistence_range"):
            self._set(name, interval(getattr(self, name), name))
        for name in ("sigma", "threshold", "floor"):
            self._set(name, number(getattr(self, name), name))
        checks = Checks("ImageSpec")
        if self.dtype != "uint8":
            self._set("rounding", "nearest")  # of no effect, so no part of the key
        if self.normalise != "own-max":
            self._set("floor", 0.0)
        self._set("weight", _parse_weight(self.weight))
        self._set("essential", _parse_essential(self.essential))
        checks.that(1 <= self.pixels <= 1024, f"pixels must lie in 1..1024, got {self.pixels}")
        checks.that(self.sigma > 0, f"sigma must be positive, got {self.sigma:g}")
        checks.that(self.threshold >= 0, "threshold must not be negative")
        checks.that(self.floor >= 0, "floor must not be negative")
        checks.choice("rule", self.rule, ("cell-integral",))
        checks.choice("grid", self.grid, GRIDS)
        checks.choice("normalise", self.normalise, NORMALISATIONS)
        checks.choice("row_order", self.row_order, ROW_ORDERS)
        checks.choice("precision", self.precision, PRECISIONS)
        checks.choice("dtype", self.dtype, DTYPES)
        checks.choice("rounding", self.rounding, ROUNDINGS)
        checks.that(
            self.dtype != "uint8" or self.normalise != "none",
            "uint8 needs values in 0..1: choose normalise own-max or dataset-max, or a float dtype",
        )
        if self.grid == "legacy-persim":
            low, high = self.birth_range
            checks.that(
                low <= 0 < high and self.persistence_range == (0.0, high),
                "legacy-persim needs birth_range LO <= 0 < HI and persistence_range 0,HI",
            )
        checks.done()

    @property
    def weight_power(self) -> float:
        """Exponent of the persistence in the weight (`relative` is 1, then divided by the max)."""
        if self.weight.startswith("power:"):
            return float(self.weight.removeprefix("power:"))
        return 0.0 if self.weight == "one" else 1.0

    @property
    def clip_value(self) -> float | None:
        """Death given to essential classes, or None when they are dropped."""
        return None if self.essential == "drop" else float(self.essential.removeprefix("clip:"))


def _parse_weight(value: str) -> str:
    """`one`, `linear`, `relative` or `power:N`; `power:0` and `power:1` have their own names."""
    if value in ("one", "linear", "relative"):
        return value
    if isinstance(value, str) and value.startswith("power:"):
        power = number(value.removeprefix("power:"), "weight power")
        if power >= 0:
            return {0.0: "one", 1.0: "linear"}.get(power, f"power:{power!r}")
    raise InvalidSpec(f"weight must be one, linear, relative or power:N with N >= 0, got {value!r}")


def _parse_essential(value: str) -> str:
    if value == "drop":
        return value
    if isinstance(value, str) and value.startswith("clip:"):
        return f"clip:{number(value.removeprefix('clip:'), 'essential clip value')!r}"
    raise InvalidSpec(f"essential must be drop or clip:VALUE, got {value!r}")
