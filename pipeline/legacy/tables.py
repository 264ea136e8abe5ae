"""What is known of each image, from files beside them: labels, ids, groups, splits."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pi_cache.errors import SourceError
from pipeline.legacy.matching import matched_all
from pipeline.legacy.matlab import read_mat
from pipeline.sources.columns import COLUMNS, Columns, parse_columns
from pipeline.sources.npyfile import LARGEST_COLUMN, read_column, read_members, stamp_of

Values = np.ndarray | dict[str, str]
"""One value a sample, in the order of the samples; or by id."""


def read_values(files: Sequence[str]) -> Values:
    """The values in one file, or in several one after the other.

    `.npy`, `.txt` (one value a line) and `.mat` or `.npz` (written FILE:NAME) are in the order of
    the samples. `.csv` has a header, the id in its first column and the value in the second.
    Raises SourceError.
    """
    found = [_read(text) for text in files]
    tables = [values for values in found if isinstance(values, dict)]
    arrays = [values for values in found if isinstance(values, np.ndarray)]
    if tables and arrays:
        raise SourceError(f"{', '.join(files)}: give CSV files only, or none")
    if arrays:
        return np.concatenate(arrays) if len({a.dtype.kind for a in arrays}) == 1 else _mixed(files)
    merged = {name: value for table in tables for name, value in table.items()}
    if len(merged) != sum(map(len, tables)):
        raise SourceError(f"{', '.join(files)}: some ids are in two files; keep each in one")
    return merged


def _mixed(files: Sequence[str]) -> np.ndarray:
    raise SourceError(f"{', '.join(files)}: some hold numbers and some text; give one kind")


def _read(text: str) -> Values:
    path, key = Path(text).expanduser(), None
    if not path.exists() and ":" in text:
        path, key = Path(text.rpartition(":")[0]).expanduser(), text.rpartition(":")[2]
    size = stamp_of(path)[0]
    if size > LARGEST_COLUMN:
        raise SourceError(f"{path} has {size} bytes, at most {LARGEST_COLUMN} of values are read")
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _read_csv(path)
    if suffix == ".npy":
        return one_a_sample(read_column(path))
    if suffix == ".npz":
        _, members = read_members(path, (key,) if key else ())
        if key not in members:
            raise SourceError(f"{path}: name the array in it, as {path}:NAME")
        return one_a_sample(members[key])
    if suffix == ".mat":
        return one_a_sample(read_mat(path.read_bytes(), key, str(path)))
    try:
        return np.array(path.read_text(encoding="utf-8-sig").splitlines(), dtype=np.str_)
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: expected UTF-8 text, one value a line ({error})") from error


def one_a_sample(values: np.ndarray) -> np.ndarray:
    """Without axes of length 1, which notebooks and MATLAB add: (n, 1) and (1, n) are (n,)."""
    return values.reshape(-1) if values.ndim and values.size == max(values.shape) else values


def _read_csv(path: Path) -> dict[str, str]:
    """Second column by the first."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream)
            next(lines, None)
            rows = [line[:2] for line in lines if line]
    except (OSError, ValueError, csv.Error) as error:
        raise SourceError(f"{path}: expected UTF-8 text of comma-separated values ({error})") from (
            error
        )
    short = [number for number, row in enumerate(rows, start=2) if len(row) < 2]
    if short:
        raise SourceError(f"{path}: line {short[0]} has no second column; expected id,value")
    table = dict(rows)
    if len(table) != len(rows):
        raise SourceError(f"{path}: {len(rows) - len(table)} ids occur twice; keep one line each")
    return table


def columns_of(
    stated: Mapping[str, Values], known: Mapping[str, Sequence[str] | np.ndarray], count: int,
    where: str,
) -> Columns:  # fmt: skip
    """Labels, ids, groups and splits: as stated, else as known from names and folders.

    What is stated by id is put in the order of the ids. Raises SourceError.
    """
    given = {name: np.asarray(values) for name, values in known.items() if len(values)}
    given |= {name: v for name, v in stated.items() if isinstance(v, np.ndarray)}
    tables = {name: v for name, v in stated.items() if isinstance(v, dict)}
    if tables:
        ids = parse_columns({n: v for n, v in given.items() if n == "ids"}, count, where).ids
        for name, table in tables.items():
            place = matched_all(ids, list(table), "images", f"lines of {name}")
            values = list(table.values())
            given[name] = np.array([values[k] for k in place])
    _check_counts(given, count, where)
    return parse_columns(given, count, where)


def _check_counts(given: Mapping[str, np.ndarray], count: int, where: str) -> None:
    """Raise SourceError where values are more or fewer than images, and say which lack one."""
    wrong = []
    for name in COLUMNS:
        if name in given and given[name].ndim == 1 and len(given[name]) != count:
            more, fewer = ("images", name) if len(given[name]) < count else (name, "images")
            first = min(len(given[name]), count)
            wrong.append(f"{len(given[name])} {name}, so the {more} from number {first} on have no"
                         f" {fewer}")  # fmt: skip
    if wrong:
        raise SourceError(f"{where} has {count} images but {'; '.join(wrong)}; give one a sample")
