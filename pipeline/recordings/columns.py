"""Columns of a CSV file by their names: numbers, texts, and where each subject's rows lie.

A row is one line: a line break within quotes is refused, so that rows can be found again by the
bytes they lie at.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import Span
from pipeline.recordings.text import (
    Block,
    Form,
    first_line,
    line_blocks,
    parse_block,
    path_size,
)

MISSING = frozenset({"", "na", "n/a", "null", "none", "nan"})
"""What stands for a missing number, in any case."""

NEAR = 1 << 16
"""Bytes of other rows that are read with those between which they stand."""

UNIT = "\x1f"
"""Between the fields that are handed to the parser of numbers; it stands in no file."""


@dataclass(frozen=True)
class Part:
    """Columns of some rows: numbers (T, columns), texts by column, and what was repaired.

    seams: positions of rows that other rows stand before, which were not asked for.
    """

    numbers: np.ndarray
    texts: list[list[str]]
    notes: tuple[str, ...]
    seams: tuple[int, ...] = ()


@dataclass(frozen=True)
class Run:
    """Rows of one subject that follow each other, and where they lie."""

    subject: str
    span: Span


@dataclass(frozen=True)
class Survey:
    """What one pass over a file tells: its runs, every label in it, and what was left out."""

    runs: list[Run]
    words: set[str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CsvFile:
    """A CSV file with the names of its columns in the first line."""

    path: Path
    delimiter: str
    encoding: str

    def names(self) -> tuple[str, ...]:
        """The names of the columns. Raises SourceError."""
        line = first_line(self.path, self.encoding)
        return tuple(name.strip() for name in next(self._parsed([line], 1), []))

    def survey(self, subject: str | None, label: str | None) -> Survey:
        """Where the rows of each subject lie, and every label; one pass over the file."""
        wanted = [name for name in (subject, label) if name]
        place = self._places(wanted)
        runs: list[Run] = []
        words: set[str] = set()
        notes: list[str] = []
        for block, _ in self._blocks((), notes):
            at = block.start
            lines = block.data.split(b"\n")[:-1]
            for number, (line, row) in enumerate(zip(lines, self._rows(block), strict=True)):
                stop = at + len(line) + 1
                if row:
                    words.update({row[place[label]].strip()} if label else ())
                    name = row[place[subject]].strip() if subject else ""
                    _extend(runs, name, Span(at, stop, block.line + number))
                elif runs:  # a blank line parts no rows of one subject
                    runs[-1] = Run(runs[-1].subject, runs[-1].span._replace(stop=stop))
                at = stop
        return Survey(runs, words, tuple(notes))

    def read(self, numbers: Sequence[str], texts: Sequence[str], spans: Sequence[Span]) -> Part:
        """The columns named, of all rows or of those in the spans. Raises SourceError."""
        place = self._places([*numbers, *texts])
        parts = [np.empty((0, len(numbers)))]
        words: list[list[str]] = [[] for _ in texts]
        seams: list[int] = []
        notes: list[str] = []
        total = 0
        for block, begins in self._blocks(spans, notes):
            rows = self._rows(block)
            before = total + np.cumsum([0, *map(bool, rows)])  # rows before each line
            seams, total = seams + before[begins].tolist(), int(before[-1])
            fields = [[row[place[name]] for name in numbers] if row else [] for row in rows]
            parts.append(self._numbers(fields, block.line, tuple(numbers)))
            for column, name in zip(words, texts, strict=True):
                column += [row[place[name]].strip() for row in rows if row]
        table = np.concatenate(parts)
        missing = int(np.isnan(table).sum())
        notes += [f"{missing} missing numbers are NaN"] if missing else []
        return Part(table, words, tuple(notes), tuple(seams[1:]))

    def _numbers(self, rows: list[list[str]], line: int, names: tuple[str, ...]) -> np.ndarray:
        """Fields of lines from `line` on as numbers (n, columns). Raises SourceError."""
        text = "".join(UNIT.join(map(_number, row)) + "\n" for row in rows)
        form = Form(columns=len(names), delimiter=UNIT.encode(), names=names)
        return parse_block(Block(0, line, text.encode()), form, str(self.path))[0]

    def _places(self, wanted: Sequence[str]) -> dict[str, int]:
        """The column of each name. Raises SourceError for one that is absent or occurs twice."""
        return find_columns(self.names(), wanted, str(self.path))

    def _blocks(
        self, spans: Sequence[Span], notes: list[str]
    ) -> Iterator[tuple[Block, np.ndarray]]:
        """Blocks of all rows or of spans; and the lines in it, from 0, at which a span begins."""
        if not spans:
            for block in line_blocks(self.path, Span(0, path_size(self.path)), notes, skip=1):
                yield block, np.empty(0, np.int64)
        for near in _near(spans):
            cover = near[0]._replace(stop=near[-1].stop)
            for block in line_blocks(self.path, cover, notes):
                yield _without_others(block, near)

    def _rows(self, block: Block) -> list[list[str]]:
        """The fields of each line, [] for a blank one. Raises SourceError naming the line."""
        try:
            text = block.data.decode(self.encoding)
        except UnicodeDecodeError as error:
            line = block.line + block.data.count(b"\n", 0, error.start)
            raise SourceError(
                f"{self.path}, line {line}: is not {self.encoding} ({error.reason}); name the"
                " encoding, such as cp949, or save the file as UTF-8"
            ) from None
        lines = text.removesuffix("\n").split("\n")
        columns = len(self.names())
        rows = []
        for number, row in enumerate(self._parsed(lines, block.line), block.line):
            if row and len(row) != columns:
                raise SourceError(
                    f"{self.path}, line {number}: has {len(row)} columns, expected {columns};"
                    " mend or delete the line"
                )
            rows.append(row)
        if len(rows) != len(lines):
            raise SourceError(
                f"{self.path}, lines {block.line} to {block.line + len(lines) - 1}: a quoted text"
                " has a line break in it; write each row on one line"
            )
        return rows

    def _parsed(self, lines: Sequence[str], first: int) -> Iterator[list[str]]:
        reader = csv.reader(lines, delimiter=self.delimiter)
        try:
            yield from reader
        except csv.Error as error:
            raise SourceError(
                f"{self.path}, line {first + reader.line_num - 1}: {error}; mend or delete it"
            ) from None


def _near(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Spans that are read at one go, since little lies between them."""
    starts = [k for k in range(1, len(spans)) if spans[k].start - spans[k - 1].stop > NEAR]
    for first, last in pairwise([0, *starts, len(spans)] if spans else []):
        yield list(spans[first:last])


def _line_starts(block: Block) -> np.ndarray:
    """The byte of the file at which each line (n,) of a block starts."""
    ends = np.flatnonzero(np.frombuffer(block.data, np.uint8) == ord("\n"))
    return block.start + np.concatenate([[0], ends[:-1] + 1])


def _without_others(block: Block, spans: Sequence[Span]) -> tuple[Block, np.ndarray]:
    """The block with blank lines for those outside the spans, so that lines keep their numbers.

    And the lines in it, from 0, at which a span begins.
    """
    starts, stops = (
        np.array(ends) for ends in zip(*((s.start, s.stop) for s in spans), strict=True)
    )
    at = _line_starts(block)
    span = np.searchsorted(starts, at, "right") - 1  # of each line
    mine, begins = at < stops[span], np.flatnonzero(at == starts[span])
    if mine.all():
        return block, begins
    lines = zip(block.data.split(b"\n"), mine.tolist(), strict=False)
    data = b"".join(line + b"\n" if own else b"\n" for line, own in lines)
    return block._replace(data=data), begins


def find_columns(names: Sequence[str], wanted: Sequence[str], where: str) -> dict[str, int]:
    """The column of each name. Raises SourceError for one that is absent or occurs twice."""
    for name in wanted:
        if names.count(name) != 1:
            state = "occurs twice" if name in names else "is not there"
            listed = ", ".join(names)[:200]
            raise SourceError(f"{where}: the column {name!r} {state}; its columns: {listed}")
    return {name: names.index(name) for name in wanted}


def _number(field: str) -> str:
    """A number as it is written, or nan for a missing one."""
    text = field.strip()
    return "nan" if text.lower() in MISSING else text


def _extend(runs: list[Run], subject: str, span: Span) -> None:
    """A row more: in the last run, where it follows that and is of one subject with it."""
    if runs and runs[-1].subject == subject and runs[-1].span.stop == span.start:
        runs[-1] = Run(subject, runs[-1].span._replace(stop=span.stop))
    else:
        runs.append(Run(subject, span))
