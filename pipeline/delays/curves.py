"""Curves over the delay: mutual information, autocorrelation, power at four times the delay.

Each function takes signals (S, T) that vary and are finite, and gives curves (S, L) float64 for the
delays 1..L, NaN where a signal is too short for one. Nothing is drawn at random.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import next_fast_len
from scipy.signal import detrend

CELL_SAMPLES = 5
"""Pairs that a cell of the histogram holds on average, at least: Cochran's rule."""
FEWEST_BINS, MOST_BINS = 3, 32
LEAST_CYCLES = 2
"""A period of which a window holds fewer cannot be told from a drift."""
PADDING = 8
"""The spectrum is interpolated to so many times the resolution of the window."""
ROUNDING = 1e-9
"""Share of its range by which a signal leaves a straight line through rounding alone."""


def bins_of(samples: int) -> int:
    """Bins of each axis of the histogram for so many samples: sqrt(T / 5), from 3 to 32."""
    return int(np.clip(np.sqrt(samples / CELL_SAMPLES), FEWEST_BINS, MOST_BINS))


def binned(signals: np.ndarray, bins: int) -> np.ndarray:
    """The bin (S, T) of each value, of bins that hold equally many values of their signal.

    Equal values share a bin, so a signal of few levels fills fewer bins.
    """
    shares = np.arange(1, bins) / bins
    edges = np.quantile(signals, shares, axis=1, method="inverted_cdf").T  # (S, bins - 1)
    found = np.empty(signals.shape, np.int64)
    for signal, edge, bin_of in zip(signals, edges, found, strict=True):
        bin_of[:] = np.searchsorted(edge, signal, side="left")
    return found


def mutual_information(signals: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Mutual information (S, L) of x(t) and x(t + delay) in nats, and its degrees of freedom.

        I = sum over cells (a, b) of p(a, b) log(p(a, b) / (p(a) p(b)))

    by a histogram of `bins_of(T)` equally filled bins an axis. Of N independent pairs, 2 N I has a
    chi-squared distribution of (A - 1)(B - 1) degrees of freedom, A and B the bins that are filled
    (the G test).

    References: Fraser, Swinney, Phys. Rev. A 33 (1986) 1134.
    """
    rows, samples = signals.shape
    bins = bins_of(samples)
    labels = binned(signals, bins)
    offsets = np.arange(rows)[:, None] * bins**2
    curves, freedom = np.full((2, rows, longest), np.nan)
    for delay in range(1, min(longest, samples - 1) + 1):
        cells = labels[:, :-delay] * bins + labels[:, delay:] + offsets
        counts = np.bincount(cells.ravel(), minlength=rows * bins**2)
        joint = counts.reshape(rows, bins, bins) / (samples - delay)
        first, second = joint.sum(axis=2), joint.sum(axis=1)  # (S, bins) each
        curves[:, delay - 1] = _entropy(first) + _entropy(second) - _entropy(joint)
        freedom[:, delay - 1] = ((first > 0).sum(axis=1) - 1) * ((second > 0).sum(axis=1) - 1)
    return curves, freedom


def _entropy(shares: np.ndarray) -> np.ndarray:
    """Entropy (S,) in nats of distributions (S, ...)."""
    flat = shares.reshape(len(shares), -1)
    total: np.ndarray = -(flat * np.log(np.where(flat > 0, flat, 1.0))).sum(axis=1)
    return total


def autocorrelation(signals: np.ndarray, longest: int) -> np.ndarray:
    """Autocorrelation, sum of (x(t) - m)(x(t + delay) - m) over the sum of (x(t) - m)**2."""
    rows, samples = signals.shape
    centred = signals - signals.mean(axis=1, keepdims=True)
    centred /= np.abs(centred).max(axis=1, keepdims=True)
    spectrum = np.fft.rfft(centred, next_fast_len(2 * samples, real=True), axis=1)
    products = np.fft.irfft(np.abs(spectrum) ** 2, axis=1, n=next_fast_len(2 * samples, real=True))
    curves = np.full((rows, longest), np.nan)
    known = min(longest, samples - 1)
    curves[:, :known] = products[:, 1 : known + 1] / products[:, :1]
    return curves


def power(signals: np.ndarray, longest: int) -> np.ndarray:
    """Power (S, L) at periods of four delays; 1 is the largest of all periods.

    That of a delay is the largest of all periods whose quarter rounds to it. The spectrum is taken
    with a Hann window, the straight line through the signal subtracted. Periods of which the signal
    holds fewer than two are left out: NaN.
    """
    samples = signals.shape[1]
    size = next_fast_len(PADDING * max(samples, longest**2), real=True)
    frequencies = np.fft.rfftfreq(size)[1:]
    known = frequencies * samples >= LEAST_CYCLES
    quarters = np.maximum(np.rint(1 / (4 * frequencies[known])).astype(np.int64), 1)
    starts = np.flatnonzero(np.diff(quarters, prepend=-1))  # descending, in runs of one delay
    curves = np.full((len(signals), max(longest, int(quarters[0]))), np.nan)
    for signal, curve in zip(signals, curves, strict=True):
        unit = signal / np.abs(signal).max()
        tapered = detrend(unit) * np.hanning(samples)
        if np.abs(tapered).max() <= ROUNDING * np.ptp(unit):
            continue  # a straight line
        spectrum = np.abs(np.fft.rfft(tapered, size)[1:][known]) ** 2
        curve[quarters[starts] - 1] = np.maximum.reduceat(spectrum, starts) / spectrum.max()
    return curves[:, :longest]
