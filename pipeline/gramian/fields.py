"""Signals to Gramian angular fields: scaled to [-1, 1], reduced, and every pair of times combined.

With x = cos(phi) no angle is computed: sin(phi) = sqrt(1 - x^2), as phi lies in [0, pi], and

    GASF (i, j) = cos(phi_i + phi_j) = x_i x_j - sqrt(1 - x_i^2) sqrt(1 - x_j^2)
    GADF (i, j) = sin(phi_i - phi_j) = sqrt(1 - x_i^2) x_j - x_i sqrt(1 - x_j^2)

All arithmetic is in float64, and a field does not depend on those computed beside it: GASF is
symmetric and GADF antisymmetric to the last bit. Reference: Wang & Oates, Imaging time-series to
improve classification and imputation, IJCAI 2015, section 2.
"""

from __future__ import annotations

import numpy as np

from pi_cache.specs import VALUE_RANGE, GramianSpec
from pipeline.kernels.half import to_half
from pipeline.kernels.magnitude import near_one

Range = tuple[float, float]


def real_values(signals: np.ndarray, maximum: float | None) -> np.ndarray:
    """Signals (n, C, T) of float64, as they lie in stored windows (n, T, C) of any type.

    maximum: whole numbers are divided by it; None takes values as they are.
    """
    values = np.ascontiguousarray(np.swapaxes(signals, 1, 2), np.float64)
    return values if maximum is None else values / maximum


def gramian_fields(values: np.ndarray, spec: GramianSpec) -> np.ndarray:
    """Fields (..., size, size) of the spec's type, of finite signals (..., T) with T >= size.

    A channel that is one value has no range of its own: it counts as 0, the middle of [-1, 1], so
    its GASF is -1 and its GADF 0 everywhere.
    """
    phases = reduced(np.asarray(values, np.float64), spec)  # (..., size)
    return quantised(paired(phases, spec.form), spec)


def reduced(values: np.ndarray, spec: GramianSpec) -> np.ndarray:
    """Signals (..., T) of float64 as x = cos(phi), (..., size), in [-1, 1].

    They are scaled, then reduced; with `segments` the other way around.
    """
    if spec.range == "segments":
        return _scaled_means(values, spec.pixels)
    between = spec.range if isinstance(spec.range, tuple) else None
    means = segment_means(scaled(values, between), spec.pixels)
    return np.clip(means, *VALUE_RANGE, out=means)  # a mean may round to beyond its values


def _scaled_means(values: np.ndarray, size: int) -> np.ndarray:
    """Segment means (..., size) of signals (..., T), scaled by their own extremes; 0 where equal.

    Means that differ by no more than the rounding of their sums are equal: those of a constant
    would else become noise from -1 to 1.
    """
    means = segment_means(near_one(values), size)  # (..., size), magnitudes of up to 1
    rounding = 2 * (values.shape[-1] / size + 2) * np.finfo(np.float64).eps
    flat = np.ptp(means, axis=-1, keepdims=True) <= rounding
    return np.where(flat, 0.0, scaled(means))


def scaled(values: np.ndarray, between: Range | None = None) -> np.ndarray:
    """Signals (..., T) mapped linearly so that LO and HI become -1 and 1; what is outside, clipped.

    between: None for the smallest and largest value of each; 0 where these are equal.
    """
    if between is not None:
        low, high = between
        with np.errstate(over="ignore"):
            mapped: np.ndarray = 2 * ((values - low) / (high - low)) - 1
        return np.clip(mapped, *VALUE_RANGE, out=mapped)
    values = near_one(values)
    low = values.min(axis=-1, keepdims=True)
    width = values.max(axis=-1, keepdims=True) - low
    flat = width == 0
    shares = (values - low) / np.where(flat, 1.0, width)  # in [0, 1]
    return np.where(flat, 0.0, 2 * shares - 1)


def segment_means(values: np.ndarray, size: int) -> np.ndarray:
    """Means (..., size) over equal parts of signals (..., T): piecewise aggregate approximation.

    Part k is [k T / size, (k + 1) T / size), and value t fills [t, t + 1): at a border inside a
    value, each side has its share of it. Reference: Keogh & Pazzani, PAKDD 2000.
    """
    length = values.shape[-1]
    borders = np.arange(size + 1) * length  # in units of 1 / size
    first, shares = borders // size, borders % size / size
    sums = np.add.reduceat(values, first[:-1], axis=-1)
    if shares.any():
        last = np.minimum(first[1:], length - 1)  # at the end the share is 0
        sums += values[..., last] * shares[1:] - values[..., first[:-1]] * shares[:-1]
    means: np.ndarray = sums / (length / size)
    return means


def paired(phases: np.ndarray, form: str) -> np.ndarray:
    """Every pair of x = cos(phi), (..., size) in [-1, 1]: fields (..., size, size) in [-1, 1]."""
    sines = np.sqrt((1 - phases) * (1 + phases))
    rows, columns = phases[..., :, None], phases[..., None, :]
    sine_rows, sine_columns = sines[..., :, None], sines[..., None, :]
    if form == "summation":
        fields = rows * columns
        fields -= sine_rows * sine_columns
    else:
        fields = sine_rows * columns
        fields -= rows * sine_columns
    clipped: np.ndarray = np.clip(fields, *VALUE_RANGE, out=fields)  # rounding left it by 2e-16
    return clipped


def quantised(fields: np.ndarray, spec: GramianSpec) -> np.ndarray:
    """Values in [-1, 1] as they are stored: bytes are 255 (value + 1) / 2, rounded or truncated."""
    if spec.dtype == "uint8":
        levels = (fields + 1) * 127.5
        return (np.rint(levels) if spec.rounding == "nearest" else levels).astype(np.uint8)
    return to_half(fields) if spec.dtype == "float16" else fields.astype(spec.dtype, copy=False)


def outside(values: np.ndarray, between: Range) -> np.ndarray:
    """Which values lie below LO or above HI, and so are clipped."""
    beyond: np.ndarray = (values < between[0]) | (values > between[1])
    return beyond


def decoded(images: np.ndarray, spec: GramianSpec) -> np.ndarray:
    """Stored fields as float64 values in [-1, 1]; bytes are within 1 / 255 of what they were."""
    values = images.astype(np.float64)
    return 2 * (values / 255) - 1 if spec.dtype == "uint8" else values
