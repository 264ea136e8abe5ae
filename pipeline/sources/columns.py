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
    names = (
        _parse_text(given["label_names"], "label_names", where) if "label_names" in given else []
    )
    labels, names = _parse_labels(given.get("labels"), names, count, where)
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
    labels: np.ndarray | None, names: list[str], count: int, where: str
) -> tuple[np.ndarray, list[str]]:
    """Numbers of the classes and their names: whole numbers as they are, words by `names`."""
    if labels is None:
        return np.full(count, -1, dtype=np.int64), names
    if labels.dtype.kind in "US":
        texts = _parse_text(labels, "labels", where)
        try:
            return np.array(texts).astype(np.int64), names
        except ValueError:
            return _number_words(texts, names, where)
    if labels.dtype.kind in "uifb":
        with np.errstate(invalid="ignore"):
            numbers = labels.astype(np.int64)
        if (numbers == labels).all():
            return numbers, names
    raise SourceError(f"{where} has labels of {labels.dtype}, expected whole numbers or names")


def _number_words(words: list[str], names: list[str], where: str) -> tuple[np.ndarray, list[str]]:
    """The place of each word among `names` (default: all words, sorted); -1 for an empty one."""
    names = names or sorted(set(words) - {""})
    number = {"": -1} | {name: label for label, name in enumerate(names)}
    unknown = sorted(set(words) - set(number))
    if unknown:
        raise SourceError(
            f"{where} has labels such as {unknown[0]!r} that are not among its label_names"
            f" {', '.join(names[:10])}; add them there"
        )
    return np.array([number[word] for word in words], dtype=np.int64), names


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
