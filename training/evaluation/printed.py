"""An evaluation as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pi_cache.commands.table import table_lines

PERCENT = ("accuracy", "f1_weighted", "f1_macro", "ece")
"""Printed times 100; NLL and Brier have scales of their own."""
NAMES = {
    "accuracy": "accuracy %",
    "f1_weighted": "weighted F1 %",
    "f1_macro": "macro F1 %",
    "ece": "ECE %",
    "nll": "NLL",
    "brier": "Brier",
}
MOST_CLASSES = 20
"""A larger confusion matrix does not fit on a terminal; --json has it."""


def number_text(name: str, value: float) -> str:
    """A metric as it is printed: percent with two digits, others with four."""
    return f"{100 * value:.2f}" if name in PERCENT else f"{value:.4f}"


def evaluation_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The metrics, classes, confusion matrix and levels of corruption of an evaluation."""
    left_out = f", {document['unlabelled']} without a label" if document["unlabelled"] else ""
    fold = f" of fold {document['fold']}" if document.get("fold") else ""
    yield f"{document['samples']} {document['side']} samples{fold}{left_out}"
    yield from table_lines([[n, number_text(k, document["metrics"][k])] for k, n in NAMES.items()])
    yield ""
    yield from _class_lines(document)
    if len(document["class_names"]) <= MOST_CLASSES:
        yield ""
        yield from _confusion_lines(document["class_names"], document["confusion"])
    if document["levels"]:
        yield ""
        yield from _level_lines(document["levels"])


def _class_lines(document: Mapping[str, Any]) -> list[str]:
    rows = [["class", "precision %", "recall %", "F1 %", "samples"]]
    for name, scores in zip(document["class_names"], document["classes"], strict=True):
        shares = [f"{100 * scores[key]:.2f}" for key in ("precision", "recall", "f1")]
        rows.append([name, *shares, str(scores["support"])])
    return table_lines(rows, right={1, 2, 3, 4})


def _confusion_lines(names: Sequence[str], counts: Sequence[Sequence[int]]) -> list[str]:
    heading = ["label \\ predicted", *(str(k) for k in range(len(names)))]
    rows = [[f"{k} {n}", *map(str, c)] for k, (n, c) in enumerate(zip(names, counts, strict=True))]
    return table_lines([heading, *rows], right=set(range(1, len(names) + 1)))


def _level_lines(levels: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [["corruption", "level", "amount", *NAMES.values()]]
    for each in levels:
        shown = [number_text(key, each[key]) for key in NAMES]
        rows.append([each["kind"], str(each["level"]), f"{each['amount']:g}", *shown])
    return table_lines(rows, right=set(range(1, len(NAMES) + 3)))
