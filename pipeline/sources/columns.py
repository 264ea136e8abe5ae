"""What is known of each sample, from plain arrays: labels, ids, groups, splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pi_cache.errors import SourceError

COLUMNS = ("labels", "ids", "groups", "splits")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """One value a sample each; see Source."""

    ids: list[str]
    labels: np.ndarray
    label_names: tuple[str, ...]
    groups: list[str]
    splits: list[str]


def parse_columns(given: Mapping[str, np.ndarray], count: int, where: str) -> Columns:
    """The columns of `count` samples; without ids they are numbered, without labels all are -1.

    Raises SourceError, with all that is wrong, when a column has another length or type.
    """
    problems = [
        _misfit(name, given[name].shape, count)
        for name in COLUMNS
        if name in given and given[name].shape != (count,)
    ]
    if problems:
        raise SourceError(f"{where} has {'; '.join(problems)}; give one value a sample")
    labels, names = _parse_labels(given.get("labels"), count, where)
    if "label_names" in given:
        names = _parse_text(given["label_names"], "label_names", where)
    texts = {
        name: _parse_text(given[name], name, where) if name in given else [] for name in COLUMNS[1:]
    }
    return Columns(
        ids=texts["ids"] or [f"{position:06d}" for position in range(count)],
        labels=labels,
        label_names=tuple(names),
        groups=texts["groups"],
        splits=texts["splits"],
    )


def _misfit(name: str, shape: tuple[int, ...], count: int) -> str:
    if len(shape) == 1:
        return f"{shape[0]} {name} for {count} samples"
    one_hot = name == "labels" and len(shape) == 2 and shape[0] == count
    hint = " (one-hot? take .argmax(axis=1))" if one_hot else ""
    return f"{name} of shape {shape}, expected ({count},){hint}"


def _parse_labels(
    labels: np.ndarray | None, count: int, where: str
) -> tuple[np.ndarray, list[str]]:
    """Whole numbers as they are; names, in sorted order, as 0, 1, ..."""
    if labels is None:
        return np.full(count, -1, dtype=np.int64), []
    if labels.dtype.kind in "US":
        texts = np.array(_parse_text(labels, "labels", where))
        try:
            return texts.astype(np.int64), []
        except ValueError:
            names, numbers = np.unique(texts, return_inverse=True)
            return numbers.astype(np.int64), names.tolist()
    if labels.dtype.kind in "uifb":
        with np.errstate(invalid="ignore"):
            numbers = labels.astype(np.int64)
        if (numbers == labels).all():
            return numbers, []
    raise SourceError(f"{where} has labels of {labels.dtype}, expected whole numbers or names")


def _parse_text(column: np.ndarray, name: str, where: str) -> list[str]:
    """Text; whole numbers are written out."""
    if column.dtype.kind == "S":
        try:
            column = np.char.decode(column, "utf-8")
        except UnicodeDecodeError as error:
            raise SourceError(f"{where} has {name} that are not UTF-8 ({error})") from error
    if column.ndim != 1 or (column.dtype.kind not in "Uui" and len(column)):
        raise SourceError(
            f"{where} has {name} of {column.dtype} and shape {column.shape}, expected a row of text"
            " or whole numbers; save it with .astype(str)"
        )
    return [str(value) for value in column.tolist()]
