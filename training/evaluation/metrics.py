"""Figures of merit of a classifier, pure functions of logits (n, K) and labels (n,).

    p = softmax(logits);  prediction = the first largest logit;  confidence = its p

All are computed in float64. Raises InvalidSpec for what is no logit or label: NaN, infinite, a
label outside 0..K-1, no sample at all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pi_cache.errors import InvalidSpec

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

AVERAGES = ("present", "all")
"""Over which classes a macro average goes: those of the labels, or every class of the network."""


class ClassScores(NamedTuple):
    """(K,) each: precision, recall and F1 of every class, 0 where undefined; support: its labels.

    F1 = 2 TP / (2 TP + FP + FN).
    """

    precision: Floats
    recall: Floats
    f1: Floats
    support: Labels


def parse_logits(logits: ArrayLike, labels: ArrayLike) -> tuple[Floats, Labels]:
    """Logits (n, K) as float64 and labels (n,) as int64. Raises InvalidSpec with all problems."""
    values, found = np.asarray(logits), np.asarray(labels)
    if values.ndim != 2 or 0 in values.shape or found.shape != values.shape[:1]:
        raise InvalidSpec(
            f"expected logits (n, K) of a sample at least and labels (n,), got {values.shape} and"
            f" {found.shape}"
        )
    values = values.astype(np.float64)
    problems = []
    if broken := int((~np.isfinite(values)).any(axis=1).sum()):
        problems.append(f"{broken} of {len(values)} samples have logits that are NaN or infinite")
    if found.dtype.kind not in "iu":
        problems.append(f"labels must be whole numbers, got {found.dtype}")
    elif outside := int(((found < 0) | (found >= values.shape[1])).sum()):
        problems.append(
            f"{outside} labels lie outside 0..{values.shape[1] - 1}; leave out samples without one"
        )
    if problems:
        raise InvalidSpec("; ".join(problems))
    return values, found.astype(np.int64)


def log_probabilities(logits: Floats) -> Floats:
    """(n, K) logarithms of the softmax, without overflow."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def probabilities(logits: Floats) -> Floats:
    """(n, K) softmax of the logits."""
    return np.asarray(np.exp(log_probabilities(logits)))


def accuracy(logits: ArrayLike, labels: ArrayLike) -> float:
    """The share of samples whose first largest logit is that of their label."""
    values, truth = parse_logits(logits, labels)
    return float((values.argmax(axis=1) == truth).mean())


def confusion(logits: ArrayLike, labels: ArrayLike) -> Labels:
    """(K, K) counts: row is the label, column the prediction."""
    values, truth = parse_logits(logits, labels)
    classes = values.shape[1]
    pairs = truth * classes + values.argmax(axis=1)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_scores(counts: ArrayLike) -> ClassScores:
    """Precision, recall and F1 of every class from a confusion matrix (K, K)."""
    table = np.asarray(counts, dtype=np.int64)
    hits, support, predicted = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    return ClassScores(
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, support),
        f1=_ratio(2 * hits, support + predicted),
        support=support,
    )


def macro_f1(scores: ClassScores, *, over: str = "present") -> float:
    """The mean F1 of classes, each counted once. over: one of AVERAGES."""
    if over not in AVERAGES:
        raise InvalidSpec(f"over must be one of {', '.join(AVERAGES)}, got {over!r}")
    counted = scores.support > 0 if over == "present" else np.ones(len(scores.f1), bool)
    return float(scores.f1[counted].mean())


def weighted_f1(scores: ClassScores) -> float:
    """The mean F1 of classes, each weighted by its number of labels."""
    return float((scores.f1 * scores.support).sum() / scores.support.sum())


def nll(logits: ArrayLike, labels: ArrayLike) -> float:
    """Mean negative logarithm (natural) of the probability of the label."""
    values, truth = parse_logits(logits, labels)
    return float(-log_probabilities(values)[np.arange(len(truth)), truth].mean())


def brier(logits: ArrayLike, labels: ArrayLike) -> float:
    """Squared distance of p and the one-hot label: sum over classes, mean over samples, 0..2.

    Brier, Monthly Weather Review 1950. Some divide by K: then it is K times smaller.
    """
    values, truth = parse_logits(logits, labels)
    away = probabilities(values)
    away[np.arange(len(truth)), truth] -= 1
    return float((away**2).sum(axis=1).mean())


def summary(logits: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Accuracy, F1, NLL, Brier and ECE (15 equal bins, L1), by name, as shares and not percent."""
    from training.evaluation.calibration import ece

    scores = class_scores(confusion(logits, labels))
    return {
        "accuracy": accuracy(logits, labels),
        "f1_weighted": weighted_f1(scores),
        "f1_macro": macro_f1(scores),
        "ece": ece(logits, labels),
        "nll": nll(logits, labels),
        "brier": brier(logits, labels),
    }


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """part / whole, 0 where whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0))
