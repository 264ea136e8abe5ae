"""From a signal to its Gramian angular field."""

from __future__ import annotations

from dataclasses import dataclass

from pi_cache.errors import InvalidSpec
from pi_cache.specs.base import Spec
from pi_cache.specs.checks import Checks, interval, whole
from pi_cache.specs.image import DTYPES, ROUNDINGS

FORMS = ("summation", "difference")
FORM_NAMES = {"summation": "GASF", "difference": "GADF"}
"""What the forms are called, in names of channels and in words."""
RANGES = ("window", "segments")
"""Ranges that each channel of a window has of its own; another one is two numbers LO,HI."""
REDUCTIONS = ("mean",)
LARGEST_SIZE = 1024
VALUE_RANGE = (-1.0, 1.0)
"""What the bytes 0 and 255 stand for, and where all values of a field lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GramianSpec(Spec):
    """From each channel of a signal to a field of `size` x `size` (time, other time).

    With x the channel scaled to [-1, 1] and reduced to `size` values, and phi = arccos(x), pixel
    (i, j) is cos(phi_i + phi_j) (`summation`, GASF) or sin(phi_i - phi_j) (`difference`, GADF).
    Reference: Wang & Oates, IJCAI 2015, section 2.

    size: None for the length of the window, of which no store is made: see `sized`.
    range: what becomes -1 and 1: `window`, the smallest and the largest value of that channel of
    that window, as published; `segments`, those of its reduced values, as pyts does; or two
    numbers LO,HI for every window, values outside clipped.
    reduction: `mean` of each of `size` equal segments, to which a value at a border between two
    counts by the part of it that lies inside.
    rounding: how uint8 is made from 255 (value + 1) / 2; read back as 2 byte / 255 - 1.
    """

    form: str = "summation"
    size: int | None = None
    range: str | tuple[float, float] = "window"
    reduction: str = "mean"
    dtype: str = "float16"
    rounding: str = "nearest"

    def __post_init__(self) -> None:
        checks = Checks("GramianSpec")
        if self.size is not None:
            self._set("size", whole(self.size, "size"))
        if isinstance(self.range, str):
            checks.choice("range", self.range, (*RANGES, "LO,HI"))
            checks.that(self.range != "LO,HI", "range LO,HI: give two numbers")
        else:
            self._set("range", interval(self.range, "range"))
            low, high = self.range
            checks.that(high - low < float("inf"), f"range {low:g},{high:g} is too wide")
        if self.dtype != "uint8":
            self._set("rounding", "nearest")  # of no effect, so no part of the key
        checks.that(
            self.size is None or 1 <= self.size <= LARGEST_SIZE,
            f"size must lie in 1..{LARGEST_SIZE}, got {self.size}",
        )
        checks.choice("form", self.form, FORMS)
        checks.choice("reduction", self.reduction, REDUCTIONS)
        checks.choice("dtype", self.dtype, DTYPES)
        checks.choice("rounding", self.rounding, ROUNDINGS)
        checks.done()

    @property
    def name(self) -> str:
        """GASF or GADF."""
        return FORM_NAMES[self.form]

    @property
    def pixels(self) -> int:
        """The side of the field, once that is settled. Raises InvalidSpec where it is not."""
        if self.size is None:
            raise InvalidSpec("GramianSpec: size is not settled; see GramianSpec.sized")
        return self.size

    def sized(self, length: int | None) -> GramianSpec:
        """With the size that is meant for windows of this length, None where lengths vary.

        Raises InvalidSpec where the windows are too short for the size, or it must be named.
        """
        if self.size is None and length is None:
            raise InvalidSpec("the windows have different lengths, so a --size must be named")
        if self.size is None and length is not None and length > LARGEST_SIZE:
            raise InvalidSpec(
                f"the windows have {length} samples, and a field at most {LARGEST_SIZE} a side;"
                " name a --size"
            )
        size = length if self.size is None else self.size
        if length is not None and size is not None and size > length:
            raise InvalidSpec(
                f"size must be at most the {length} samples of a window, got {size}; a smaller one"
                " averages, and nothing is interpolated"
            )
        whole_window = size == length and self.range == "segments"  # each value is its own segment
        return self.replace(size=size, range="window" if whole_window else self.range)
