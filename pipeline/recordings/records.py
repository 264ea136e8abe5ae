"""Lines of WISDM's raw files, `subject,activity,time,x,y,z;`, with the faults they are known for.

Two rows on one line, a comma before the semicolon, an empty number and a time of 0 are repaired
and told. Any other row that cannot be read is left out and told; too many of them are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import Span
from pipeline.recordings.text import (
    Block,
    Form,
    line_blocks,
    number_problem,
    parse_block,
    path_size,
)

ENDING = b";"
NANOSECONDS = 1e-9
TOLERATED = 0.01
"""Share of the rows that may be left out; with more the file is another one, or damaged."""

NUMBERS = Form(columns=4, delimiter=b",")


@dataclass(frozen=True)
class Records:
    """Rows of one subject: times (T,) in seconds from the first, values (T, 3), labels (T,)."""

    times: np.ndarray
    values: np.ndarray
    labels: np.ndarray
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One row: the line it stands on, its six fields, and what is wrong with it, "" for nothing."""

    line: int
    fields: list[bytes]
    problem: str = ""


def subject_spans(path: Path, notes: list[str]) -> dict[str, tuple[int, list[Span]]]:
    """For each subject of a file, in the order of their first rows: bytes, and where its rows are.

    A line that begins with no subject counts to the one before; those before the first are left
    out and told. Raises SourceError where none begins with one.
    """
    found: dict[str, list[Span]] = {}
    subject, before = "", 0
    for block in line_blocks(path, Span(0, path_size(path)), notes, ending=ENDING):
        at = block.start
        for number, line in enumerate(block.data.split(b"\n")[:-1], block.line):
            field = line.lstrip(b"; ").partition(b",")[0].strip()
            subject = str(int(field)) if field.isdigit() and len(field) < 10 else subject
            stop = at + len(line) + 1
            if subject:
                _extend(found.setdefault(subject, []), at, stop, number)
            else:
                before += bool(line.strip(b"; \r"))
            at = stop
    if not found:
        raise SourceError(
            f"{path}: no line begins with the number of a subject, expected rows such as"
            " 33,Jogging,49105962326000,-0.69,12.68,0.50; is this the file?"
        )
    if before:
        notes.append(f"{before} lines before the first row are no rows and left out")
    return {
        name: (sum(span.stop - span.start for span in spans), spans)
        for name, spans in found.items()
    }


def _extend(spans: list[Span], start: int, stop: int, line: int) -> None:
    """One line more: in the last span where it follows that, else in a new one."""
    if spans and spans[-1].stop == start:
        spans[-1] = spans[-1]._replace(stop=stop)
    else:
        spans.append(Span(start, stop, line))


def read_records(
    path: Path, subject: str, codes: Mapping[str, int], spans: Sequence[Span] = ()
) -> Records:
    """The rows of one subject. Raises SourceError where none, or too few, can be read.

    codes: the label of each activity as it is written.
    """
    notes: list[str] = []
    known = {word.encode(): code for word, code in codes.items()}
    parts, lost, joined, empty = [], [], 0, 0
    for span in spans or [Span(0, path_size(path))]:
        for block in line_blocks(path, span, notes, ending=ENDING):
            rows = _split(block)
            table, bad, missing = _parse(rows, subject.encode(), known, str(path))
            lines = sum(1 for line in block.data.split(b"\n") if line.strip(b"; \r"))
            joined, empty = joined + len(rows) - lines, empty + missing
            parts.append(table)
            lost += bad
    kept = sum(map(len, parts))
    _check_lost(lost, kept, path)
    table = np.concatenate(parts)  # (T, 5): time, x, y, z, label
    times, unknown = _seconds(table[:, 0])
    counts = {
        "rows stood on one line with another": joined,
        "empty fields are NaN": empty,
        "times of 0 are not known": unknown,
    }
    notes += [f"{count} {what}" for what, count in counts.items() if count]
    if lost:
        notes.append(
            f"{len(lost)} rows left out, the first in line {lost[0].line}: {lost[0].problem}"
        )
    return Records(times, table[:, 1:4].copy(), table[:, 4].astype(np.int64), tuple(notes))


def _split(block: Block) -> list[Row]:
    """The rows of whole lines, without spaces; blank ones and lone semicolons are none."""
    rows = []
    data = block.data.replace(b" ", b"").replace(b"\r", b"")
    for number, line in enumerate(data.split(b"\n"), block.line):
        for text in line.split(ENDING):
            if text:
                fields = text.split(b",")
                if len(fields) == 7 and not fields[6]:
                    fields = fields[:6]
                rows.append(Row(number, fields))
    return rows


def _parse(
    rows: list[Row], subject: bytes, codes: Mapping[bytes, int], where: str
) -> tuple[np.ndarray, list[Row], int]:
    """Numbers (n, 5) of the rows that can be read, the others, and how many fields are empty."""
    bad: list[Row] = []
    try:
        table, empty = _numbers(rows, subject, codes, where)
    except (SourceError, KeyError):
        judged = [_judged(row, subject, codes) for row in rows]
        bad = [row for row in judged if row.problem]
        table, empty = _numbers([row for row in judged if not row.problem], subject, codes, where)
    return table, bad, empty


def _numbers(
    rows: list[Row], subject: bytes, codes: Mapping[bytes, int], where: str
) -> tuple[np.ndarray, int]:
    """Numbers (n, 5) of rows and how many fields are empty; raises for any wrong row."""
    if any(len(row.fields) != 6 or row.fields[0] != subject for row in rows):
        raise SourceError(f"{where} has rows that are cut, or of another subject")
    text = b"".join(b",".join(row.fields[2:]) + b"\n" for row in rows)
    numbers, empty = parse_block(Block(0, 1, text), NUMBERS, where)  # (n, 4)
    labels = [codes[row.fields[1]] for row in rows]
    return np.column_stack([numbers, np.array(labels, np.float64)]), empty


def _judged(row: Row, subject: bytes, codes: Mapping[bytes, int]) -> Row:
    """The row with what is wrong with it."""
    return Row(row.line, row.fields, next(_problems(row.fields, subject, codes), ""))


def _problems(fields: list[bytes], subject: bytes, codes: Mapping[bytes, int]) -> Iterator[str]:
    if len(fields) != 6:
        yield f"has {len(fields)} fields, expected 6"
        return
    if fields[0] != subject:
        yield f"the subject is {_shown(fields[0])}, expected {_shown(subject)}"
    if fields[1] not in codes:
        yield f"the activity is {_shown(fields[1])}, expected one of the data set"
    for name, field in zip(("time", "x", "y", "z"), fields[2:], strict=True):
        problem = number_problem(field, empty=True)
        if problem:
            yield f"{name} {problem.partition(';')[0]}"


def _shown(text: bytes) -> str:
    return repr(text[:40].decode("utf-8", "replace"))


def _check_lost(lost: list[Row], kept: int, path: Path) -> None:
    """Refuse a file of which too little can be read."""
    if not kept or len(lost) > TOLERATED * (kept + len(lost)):
        first = f"; the first, line {lost[0].line}: {lost[0].problem}" if lost else ""
        raise SourceError(
            f"{path}: {len(lost)} of {kept + len(lost)} rows cannot be read{first};"
            " download the file again"
        )


def _seconds(stamps: np.ndarray) -> tuple[np.ndarray, int]:
    """Times (T,) in seconds from the first known one, and how many 0s are now NaN."""
    unknown = stamps == 0
    stamps = np.where(unknown, np.nan, stamps)
    known = stamps[~np.isnan(stamps)]
    return (stamps - (known[0] if len(known) else 0.0)) * NANOSECONDS, int(unknown.sum())
