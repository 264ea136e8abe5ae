"""Folds in files, by sample id: a CSV that people write, or the JSON that is written here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache import files
from pi_cache.errors import AlreadyPublished, InvalidFolds
from pi_cache.sampling.folds import ROLES, SIDES, Fold, Folds, check_made_of, from_splits
from pi_cache.sampling.samples import (
    Numbers,
    Samples,
    ids_digest,
    listed,
    parse_texts,
    positions,
    usable,
)
from pi_cache.sampling.tables import read_csv
from pi_cache.specs import Status


def from_file(
    path: str | Path,
    samples: Samples,
    *,
    partial: bool = False,
    roles: Mapping[str, str] = ROLES,
) -> Sequence[Fold]:
    """The folds that a file gives to samples, by id.

    path: `.csv` with the columns `id,fold` (each fold tests its samples and trains on the
    others) or `id,split` (one fold; roles: the side that each name is); or `.json`,
    {fold: {"train": [id, ...], "validation": [...], "test": [...]}}.
    partial: samples that the file does not name are in no fold, rather than an error.
    Samples that are not OK are in no fold, named or not. Raises InvalidFolds with the ids that
    are unknown, missing or named twice; InvalidSpec, FileNotFoundError.
    """
    place = Path(path)
    if place.suffix.lower() == ".json":
        return _from_json(place, samples, partial=partial)
    if place.suffix.lower() == ".csv":
        return _from_csv(place, samples, partial=partial, roles=roles)
    raise InvalidFolds(f"{place}: folds are read from .csv or .json, got {place.suffix!r}")


def to_file(path: str | Path, folds: Iterable[Fold], samples: Samples) -> None:
    """Write folds as JSON, by id; `from_file` gives them back, for any order of the samples.

    A file of the same content is left alone. Raises AlreadyPublished for one of another,
    InvalidFolds when the folds are of other samples.
    """
    place = Path(path).absolute()
    if place.suffix.lower() != ".json":
        raise InvalidFolds(f"{place}: folds are written to .json, got {place.suffix!r}")
    document: dict[str, Any] = {}
    for fold in check_made_of(folds, samples):
        if fold.name in document:
            raise InvalidFolds(f"two folds are called {fold.name!r}; give each a name of its own")
        document[fold.name] = {
            side: samples.ids[numbers].tolist() for side, numbers in fold.sides.items()
        }
    data = json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n"
    try:
        files.publish(place, data, temporary=place.parent)
    except AlreadyPublished as error:
        raise AlreadyPublished(
            f"{place}: holds other folds, and is not written over; choose another name", (place,)
        ) from error


def _from_csv(
    path: Path, samples: Samples, *, partial: bool, roles: Mapping[str, str]
) -> Sequence[Fold]:
    table = read_csv(path, required=("id",))
    columns = [name for name in ("fold", "split") if name in table]
    if len(columns) != 1:
        raise InvalidFolds(
            f"{path}: beside `id` there must be one column `fold` or `split`, there are"
            f" {', '.join(table)}"
        )
    where = _numbers(table["id"], samples, str(path), partial=partial)
    if columns[0] == "fold":
        return _parts(path, samples, where, table["fold"])
    splits = np.full(len(samples), "", object)
    splits[where] = table["split"]
    return [from_splits(samples, splits=splits, roles=roles, among=where)]


def _parts(path: Path, samples: Samples, where: Numbers, values: Sequence[str]) -> Folds:
    """The folds that test the samples at `where` with one value each."""
    names = list(dict.fromkeys(values))
    if len(names) < 2 or "" in names:
        raise InvalidFolds(
            f"{path}: each id needs a fold, and there must be two folds or more; the folds are"
            f" {listed(names)}"
        )
    number = {name: k for k, name in enumerate(names)}
    part = np.full(len(samples), -1, np.int64)
    part[where] = [number[value] for value in values]
    chosen = usable(samples, where)
    empty = [name for name, k in number.items() if not (part[chosen] == k).any()]
    if empty:
        raise InvalidFolds(f"{path}: no usable sample is in fold {listed(empty)}")
    return Folds(names, chosen, part[chosen], ids_digest(samples))


def _from_json(path: Path, samples: Samples, *, partial: bool) -> list[Fold]:
    digest = ids_digest(samples)
    folds = []
    for name, sides in _read_document(path).items():
        ids = {side: sides.get(side, []) for side in SIDES}
        every = [one for listed_ids in ids.values() for one in listed_ids]
        where = _numbers(every, samples, f"{path}, fold {name!r}", partial=partial)
        ends = np.cumsum([len(listed_ids) for listed_ids in ids.values()])[:-1]
        parts = {
            side: numbers[samples.status[numbers] == Status.OK]
            for side, numbers in zip(SIDES, np.split(where, ends), strict=True)
        }
        if not len(parts["train"]) or not len(parts["test"]) + len(parts["validation"]):
            raise InvalidFolds(
                f"{path}, fold {name!r}: there must be usable samples in train and beside it"
            )
        folds.append(Fold(name=name, made_of=digest, **parts))
    return folds


def _numbers(ids: Sequence[str], samples: Samples, where: str, *, partial: bool) -> Numbers:
    """The sample number of each id. Raises InvalidFolds with all that is wrong with them."""
    found = positions(parse_texts(np.array(ids, object), f"ids of {where}"), samples.ids)
    twice = [name for name, count in Counter(ids).items() if count > 1]
    unknown = [ids[i] for i in np.flatnonzero(found < 0).tolist()]
    named = np.zeros(len(samples), bool)
    named[found[found >= 0]] = True
    missing = samples.ids[[] if partial else usable(samples, ~named)]
    problems = [
        f"{len(names)} ids {what} ({listed(names)})"
        for names, what in (
            (twice, "are named twice"),
            (unknown, "are not among the samples"),
            (missing, "of the samples are not named"),
        )
        if len(names)
    ]
    if problems:
        raise InvalidFolds(
            f"{where}: {'; '.join(problems)}; the ids of these {len(samples)} samples are like"
            f" {listed(samples.ids[:1])!r}"
            + ("; `partial` allows missing ones" if len(missing) else "")
        )
    return found


def _read_document(path: Path) -> dict[str, dict[str, list[str]]]:
    try:
        document = json.loads(files.read_bytes(path).decode("utf-8-sig"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidFolds(f"{path}: not a readable JSON file: {error}") from None
    if not isinstance(document, dict) or not document:
        raise InvalidFolds(f"{path}: expected {{fold: {{side: [id, ...]}}}}, and at least one fold")
    for name, sides in document.items():
        if not isinstance(sides, dict) or set(sides) - set(SIDES):
            raise InvalidFolds(
                f"{path}, fold {name!r}: expected some of {', '.join(SIDES)}, each a list of ids,"
                f" got {listed(list(sides)) if isinstance(sides, dict) else type(sides).__name__}"
            )
        wrong = [side for side, ids in sides.items() if not isinstance(ids, list)]
        if wrong:
            raise InvalidFolds(f"{path}, fold {name!r}: {listed(wrong)} must be a list of ids")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError(f"a name occurs twice among {listed(names)}")
    return dict(pairs)
