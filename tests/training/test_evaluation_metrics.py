"""Figures of merit against loops over their definitions, and against scikit-learn."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

from pi_cache.errors import InvalidSpec
from training.evaluation import calibration, metrics

CASES = {
    "plain": (40, 5, 2.0),
    "two classes": (31, 2, 1.0),
    "one sample": (1, 3, 1.0),
    "one class": (4, 1, 1.0),
    "many ties": (60, 4, 0.0),
    "huge": (20, 3, 1e4),
}


def case(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels; class 1 never occurs among the labels of `plain`."""
    count, classes, scale = CASES[name]
    rng = np.random.default_rng(len(name))
    logits = np.round(rng.normal(size=(count, classes)) * scale, 1)
    labels = rng.integers(0, classes, count)
    if name == "plain":
        labels[labels == 1] = 2
    return logits, labels


def slow_softmax(row: np.ndarray) -> list[float]:
    largest = max(row)
    parts = [math.exp(value - largest) for value in row]
    return [part / sum(parts) for part in parts]


def first_largest(row: np.ndarray) -> int:
    return next(k for k, value in enumerate(row) if value == max(row))


def slow_ece(logits: np.ndarray, labels: np.ndarray, bins: int, norm: str) -> float:
    """Each sample looks for its bin (k / bins, (k + 1) / bins]."""
    held: dict[int, list[tuple[float, bool]]] = {}
    for row, label in zip(logits, labels, strict=True):
        confidence = min(max(slow_softmax(row)), 1.0)
        (place,) = [k for k in range(bins) if k / bins < confidence <= (k + 1) / bins]
        held.setdefault(place, []).append((confidence, first_largest(row) == label))
    gaps = []
    for members in held.values():
        mean = sum(confidence for confidence, _ in members) / len(members)
        right = sum(hit for _, hit in members) / len(members)
        gaps.append((len(members) / len(labels), abs(right - mean)))
    if norm == "max":
        return max(gap for _, gap in gaps)
    if norm == "l2":
        return math.sqrt(sum(share * gap**2 for share, gap in gaps))
    return sum(share * gap for share, gap in gaps)


@pytest.mark.parametrize("name", CASES)
def test_metrics_are_their_definitions(name: str) -> None:
    logits, labels = case(name)
    table = [slow_softmax(row) for row in logits]
    guesses = [first_largest(row) for row in logits]
    pairs = list(zip(guesses, labels, strict=True))
    assert metrics.accuracy(logits, labels) == sum(g == t for g, t in pairs) / len(pairs)
    classes = logits.shape[1]
    counts = [
        [sum((g, t) == (b, a) for g, t in pairs) for b in range(classes)] for a in range(classes)
    ]
    assert metrics.confusion(logits, labels).tolist() == counts
    squares = [
        sum((p - (k == label)) ** 2 for k, p in enumerate(row))
        for row, label in zip(table, labels, strict=True)
    ]
    assert metrics.brier(logits, labels) == pytest.approx(sum(squares) / len(squares))
    if name != "huge":  # exp underflows in the loop, not in the function
        logs = [-math.log(row[label]) for row, label in zip(table, labels, strict=True)]
        assert metrics.nll(logits, labels) == pytest.approx(sum(logs) / len(logs), abs=1e-12)


@pytest.mark.parametrize("norm", calibration.NORMS)
@pytest.mark.parametrize("bins", [1, 10, 15])
@pytest.mark.parametrize("name", CASES)
def test_calibration_is_its_definition(name: str, bins: int, norm: str) -> None:
    logits, labels = case(name)
    found = calibration.ece(logits, labels, bins=bins, norm=norm)
    assert found == pytest.approx(slow_ece(logits, labels, bins, norm), abs=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_scikit_learn(name: str) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    logits, labels = case(name)
    guesses = logits.argmax(axis=1)
    every = list(range(logits.shape[1]))
    counts = metrics.confusion(logits, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a single label
        assert counts.tolist() == sklearn.confusion_matrix(labels, guesses, labels=every).tolist()
        rows = sklearn.precision_recall_fscore_support(
            labels, guesses, labels=every, zero_division=0
        )
        macro = {
            "all": sklearn.f1_score(
                labels, guesses, labels=every, average="macro", zero_division=0
            ),
            "present": sklearn.f1_score(
                labels, guesses, labels=np.unique(labels), average="macro", zero_division=0
            ),
        }
        weighted = sklearn.f1_score(labels, guesses, average="weighted", zero_division=0)
    scores = metrics.class_scores(counts)
    for mine, theirs in zip(scores, rows, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
    for over, expected in macro.items():
        assert metrics.macro_f1(scores, over=over) == pytest.approx(expected)
    assert metrics.weighted_f1(scores) == pytest.approx(weighted)


def test_a_class_without_a_label_counts_only_where_asked() -> None:
    scores = metrics.class_scores([[3, 0], [0, 0]])
    assert metrics.macro_f1(scores) == 1
    assert metrics.macro_f1(scores, over="all") == 0.5
    with pytest.raises(InvalidSpec, match="over must be one of present, all"):
        metrics.macro_f1(scores, over="some")


def test_huge_logits_do_not_overflow() -> None:
    logits = np.array([[1e300, -1e300], [0.0, 1e5]])
    assert metrics.accuracy(logits, [0, 1]) == 1
    assert metrics.nll(logits, [0, 1]) == 0
    assert metrics.nll(logits[1:], [0]) == 1e5
    assert metrics.brier(logits, [1, 0]) == 2, "the largest that there is"
    assert calibration.ece(logits, [1, 0]) == 1


def test_probabilities_do_not_change_with_a_constant() -> None:
    logits, labels = case("plain")
    for function in (metrics.nll, metrics.brier, calibration.ece):
        assert function(logits + 7, labels) == pytest.approx(function(logits, labels))


def test_edges_of_bins_belong_to_the_bin_below() -> None:
    """Confidences of exactly 1/2 in two bins, and of exactly 1."""
    table = calibration.reliability([[0.0, 0.0], [0.0, 900.0]], [0, 0], bins=2)
    assert table.lower.tolist() == [0, 0.5] and table.upper.tolist() == [0.5, 1]
    assert table.samples.tolist() == [1, 1]
    assert table.confidence.tolist() == [0.5, 1] and table.accuracy.tolist() == [1, 0]
    assert table.to_rows()[1]["confidence"] == 1


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("bins", [1, 4, 15])
def test_bins_of_equal_mass(name: str, bins: int) -> None:
    """Whatever the order of samples; those of one confidence are in one bin."""
    logits, labels = case(name)
    table = calibration.reliability(logits, labels, bins=bins, binning="equal-mass")
    order = np.random.default_rng(0).permutation(len(labels))
    other = calibration.reliability(logits[order], labels[order], bins=bins, binning="equal-mass")
    for mine, theirs in zip(table, other, strict=True):
        np.testing.assert_allclose(mine, theirs)
    assert table.samples.sum() == len(labels) and len(table.samples) <= bins
    confidence = metrics.probabilities(logits).max(axis=1)
    distinct = len(np.unique(confidence))
    if distinct == len(labels) >= bins:
        assert np.ptp(table.samples) <= 1
    elif distinct == 1:
        assert len(table.samples) == 1


def test_perfect_and_useless_calibration() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3)) * 2
    share = metrics.probabilities(logits).cumsum(axis=1)
    labels = (rng.random((20_000, 1)) > share).sum(axis=1)
    for binning in calibration.BINNINGS:
        assert calibration.ece(logits, labels, binning=binning) < 0.02
        assert calibration.ece(3 * logits, labels, binning=binning) > 0.08


WRONG: dict[str, tuple[Any, Any, str]] = {
    "NaN": ([[0.0, np.nan]], [0], "1 of 1 samples have logits that are NaN or infinite"),
    "infinite": ([[0.0, np.inf]], [0], "NaN or infinite"),
    "no label": ([[0.0, 1.0]], [-1], r"1 labels lie outside 0\.\.1; leave out samples"),
    "another class": ([[0.0, 1.0]], [2], r"outside 0\.\.1"),
    "floats": ([[0.0, 1.0]], [0.0], "labels must be whole numbers, got float64"),
    "nothing": (np.zeros((0, 2)), np.zeros(0, int), "of a sample at least"),
    "a vector": ([0.0, 1.0], [0, 1], r"expected logits \(n, K\)"),
    "one too few": ([[0.0, 1.0]], [0, 1], "and labels"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize(
    "function",
    [metrics.accuracy, metrics.confusion, metrics.nll, metrics.brier, calibration.ece],
)
def test_what_is_no_logit_or_label_is_refused(function: Any, name: str) -> None:
    logits, labels, message = WRONG[name]
    with pytest.raises(InvalidSpec, match=message):
        function(logits, labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 0}, "bins must be 1 or more"),
        ({"binning": "some"}, "binning one of equal-width, equal-mass"),
        ({"norm": "l3"}, "norm must be one of l1, l2, max"),
    ],
)
def test_settings_that_there_are_not(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        calibration.ece([[0.0, 1.0]], [0], **options)


def test_the_summary_has_each_by_its_name() -> None:
    logits, labels = case("plain")
    found = metrics.summary(logits, labels)
    scores = metrics.class_scores(metrics.confusion(logits, labels))
    assert found == {
        "accuracy": metrics.accuracy(logits, labels),
        "f1_weighted": metrics.weighted_f1(scores),
        "f1_macro": metrics.macro_f1(scores),
        "ece": calibration.ece(logits, labels),
        "nll": metrics.nll(logits, labels),
        "brier": metrics.brier(logits, labels),
    }
