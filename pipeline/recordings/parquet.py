"""Columns of a Parquet file by their names, where pyarrow is installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import Span
from pipeline.recordings.columns import Part, Run, Survey, find_columns

OLDEST = (14, 0, 1)
"""Older pyarrow may run code that a Parquet file holds (CVE-2023-47248)."""


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file; spans count its rows."""

    path: Path

    def names(self) -> tuple[str, ...]:
        """The names of the columns. Raises SourceError."""
        return tuple(map(str, self._call("read_schema").names))

    def survey(self, subject: str | None, label: str | None) -> Survey:
        """Where the rows of each subject lie, and every label."""
        table = self._table([name for name in (subject, label) if name])
        rows = int(self._call("read_metadata").num_rows)
        words = set(_texts(table, label)) if label else set()
        if subject is None:
            return Survey([Run("", Span(0, rows))] if rows else [], words)
        subjects = np.array(_texts(table, subject), np.str_)
        starts = [0, *(np.flatnonzero(subjects[1:] != subjects[:-1]) + 1).tolist(), len(subjects)]
        runs = [
            Run(str(subjects[start]), Span(start, stop))
            for start, stop in pairwise(starts)
            if start < stop
        ]
        return Survey(runs, words)

    def read(self, numbers: Sequence[str], texts: Sequence[str], spans: Sequence[Span]) -> Part:
        """The columns named, of all rows or of those in the spans. Raises SourceError."""
        table = self._table([*numbers, *texts])
        values = np.column_stack([self._numbers(table, name) for name in numbers])
        words = [_texts(table, name) for name in texts]
        seams = np.cumsum([span.stop - span.start for span in spans])[:-1].tolist()
        if spans:
            values = np.concatenate([values[span.start : span.stop] for span in spans])
            words = [
                [text for span in spans for text in column[span.start : span.stop]]
                for column in words
            ]
        missing = int(np.isnan(values).sum())
        notes = (f"{missing} missing numbers are NaN",) if missing else ()
        return Part(values, words, notes, tuple(seams))

    def _table(self, wanted: Sequence[str]) -> Any:
        names = list(dict.fromkeys(wanted))
        find_columns(self.names(), names, str(self.path))
        return self._call("read_table", columns=names)

    def _call(self, function: str, **options: Any) -> Any:
        """What a function of pyarrow.parquet says of this file. Raises SourceError."""
        call = getattr(_pyarrow(self.path), function)
        try:
            return call(str(self.path), **options)
        except Exception as error:  # its own errors, and those of any codec
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise SourceError(
                f"{self.path} cannot be read as Parquet ({reason}); write it again"
            ) from error

    def _numbers(self, table: Any, name: str) -> np.ndarray:
        """A column (T,) float64. Raises SourceError for what is no finite number."""
        try:
            column = table.column(name).cast("float64").to_numpy()
        except Exception as error:  # ArrowInvalid, ArrowNotImplementedError
            raise SourceError(
                f"{self.path}: the column {name!r} has the type {table.schema.field(name).type},"
                " expected numbers"
            ) from error
        values = np.asarray(column, np.float64)
        if np.isinf(values).any():
            row = int(np.flatnonzero(np.isinf(values))[0])
            raise SourceError(
                f"{self.path}, row {row}: {name} is infinite; mend or leave out the row"
            )
        return values


def _texts(table: Any, name: str) -> list[str]:
    """A column as texts, "" for a missing one; a whole number without a point."""
    return [
        "" if value is None else f"{value:.0f}" if _is_whole(value) else str(value).strip()
        for value in table.column(name).to_pylist()
    ]


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _pyarrow(path: Path) -> Any:
    """The module pyarrow.parquet. Raises SourceError where it is absent or too old."""
    try:
        pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise SourceError(
            f"{path} is a Parquet file, which needs pyarrow: pip install pyarrow, or use CSV"
        ) from error
    version = tuple(int(part) for part in pyarrow.__version__.split(".")[:3] if part.isdecimal())
    if version < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise SourceError(
            f"{path}: pyarrow {pyarrow.__version__} may run code that a file holds, expected"
            f" {wanted} or newer: pip install -U pyarrow"
        )
    return parquet
