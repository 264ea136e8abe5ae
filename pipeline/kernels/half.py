"""Rounding to float16. NumPy converts one number at a time (25 ns each); this is vector code.

float16 has 10 bits of mantissa and exponents -14..15. A normal number is rounded on its bits: half
a unit of the last kept place is added (a little less where that place is even, so that ties go to
even), the rest shifted away, and a carry into the exponent is right as it stands. Below 2**-14 the
numbers are whole multiples of 2**-24.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.jit import compiled

PLACES = {np.dtype(np.float64): (42, 1008), np.dtype(np.float32): (13, 112)}
"""How many places are dropped, and the difference of the exponents' biases."""


def to_half(values: np.ndarray) -> np.ndarray:
    """Values as float16: the nearest, ties to even, as `astype` does. The result has their shape.

    values: float64 or float32 of any shape, magnitudes below 65520 (larger ones are no float16).
    """
    values = np.require(values, requirements=["C", "A", "W"])
    drop, bias = PLACES[values.dtype]
    halves = np.empty(values.shape, np.uint16)
    flat = values.reshape(-1)
    bits = flat.view(np.dtype(f"i{values.itemsize}"))
    _round(flat, bits, bits.dtype.type(drop), bits.dtype.type(bias << 10), halves.reshape(-1))
    return halves.view(np.float16)


@compiled
def _round(values: np.ndarray, bits: np.ndarray, drop: int, bias: int, halves: np.ndarray) -> None:
    one = bits.dtype.type(1)
    unsigned = np.iinfo(bits.dtype).max
    below_half = (one << (drop - one)) - one
    smallest_normal = values.dtype.type(2.0**-14)
    scale = values.dtype.type(2.0**24)
    for i in range(len(values)):
        magnitude = bits[i] & unsigned
        normal = ((magnitude + below_half + ((magnitude >> drop) & one)) >> drop) - bias
        value = abs(values[i])
        small = bits.dtype.type(np.rint(value * scale))
        sign = 0x8000 if bits[i] < 0 else 0
        halves[i] = (small if value < smallest_normal else normal) | sign
