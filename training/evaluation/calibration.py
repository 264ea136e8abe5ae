"""Whether confidence is what it says: reliability tables and the expected calibration error.

    ECE = sum over bins of n_b / n * |accuracy_b - confidence_b|

Naeini, Cooper and Hauskrecht, AAAI 2015; Guo et al., ICML 2017 (arXiv 1706.04599), whose 15 bins
of equal width are the default. The papers of this project do not state their bins.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pi_cache.errors import InvalidSpec
from training.evaluation.metrics import Floats, parse_logits, probabilities

BINS = 15
BINNINGS = ("equal-width", "equal-mass")
NORMS = ("l1", "l2", "max")


class Reliability(NamedTuple):
    """Bins of confidence that hold a sample or more, (B,) each.

    lower, upper: a bin is (lower, upper], so confidence 1 is in the last. samples: how many.
    accuracy, confidence: means of the bin.
    """

    lower: Floats
    upper: Floats
    samples: NDArray[np.int64]
    accuracy: Floats
    confidence: Floats

    def to_rows(self) -> list[dict[str, float]]:
        """A bin each, as plain values."""
        columns = [column.tolist() for column in self]
        return [dict(zip(self._fields, row, strict=True)) for row in zip(*columns, strict=True)]


def reliability(
    logits: ArrayLike, labels: ArrayLike, *, bins: int = BINS, binning: str = "equal-width"
) -> Reliability:
    """The reliability table of logits (n, K).

    binning: `equal-width`, or `equal-mass`: edges at the quantiles of confidence, so that bins
    hold about n / bins samples; samples of one confidence stay together, and bins may be fewer.
    """
    if bins < 1 or binning not in BINNINGS:
        raise InvalidSpec(
            f"bins must be 1 or more and binning one of {', '.join(BINNINGS)}, got {bins!r} and"
            f" {binning!r}"
        )
    values, truth = parse_logits(logits, labels)
    confidence = np.minimum(probabilities(values).max(axis=1), 1.0)
    edges = _edges(confidence, bins, binning)
    place = np.digitize(confidence, edges[1:-1], right=True)
    count = np.bincount(place, minlength=len(edges) - 1)
    hit = np.bincount(place, values.argmax(axis=1) == truth, minlength=len(count))
    total = np.bincount(place, confidence, minlength=len(count))
    held = count > 0
    return Reliability(
        lower=edges[:-1][held],
        upper=edges[1:][held],
        samples=count[held],
        accuracy=hit[held] / count[held],
        confidence=total[held] / count[held],
    )


def ece(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    bins: int = BINS,
    binning: str = "equal-width",
    norm: str = "l1",
) -> float:
    """The calibration error of logits (n, K), 0..1.

    norm: of the gaps of bins: `l1` the mean, `l2` the root of the mean square, `max` the largest.
    """
    return gap(reliability(logits, labels, bins=bins, binning=binning), norm)


def gap(table: Reliability, norm: str = "l1") -> float:
    """The calibration error of a reliability table, see `ece`."""
    if norm not in NORMS:
        raise InvalidSpec(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    away = np.abs(table.accuracy - table.confidence)
    share = table.samples / table.samples.sum()
    if norm == "max":
        return float(away.max())
    return float((share * away).sum() if norm == "l1" else np.sqrt((share * away**2).sum()))


def _edges(confidence: Floats, bins: int, binning: str) -> Floats:
    """Ascending edges from 0 to 1, each once."""
    if binning == "equal-width":
        return np.linspace(0.0, 1.0, bins + 1)
    inner = np.quantile(confidence, np.arange(1, bins) / bins, method="inverted_cdf")
    return np.unique(np.concatenate([[0.0], inner, [1.0]]))
