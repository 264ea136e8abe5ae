"""Signals brought to magnitudes near 1 without a change of their bits."""

from __future__ import annotations

import numpy as np


def near_one(values: np.ndarray) -> np.ndarray:
    """Each signal of (..., T) float64 times a power of two, so that its magnitudes are up to 1.

    What follows then neither overflows nor loses bits to underflow, whatever the unit was.
    """
    largest = np.abs(values).max(axis=-1, keepdims=True)
    _, exponents = np.frexp(largest)
    scaled: np.ndarray = np.ldexp(values, -exponents)
    return scaled
