"""Tables of numbers in text files: fast, in bounded memory, and exact about what is wrong where.

Numbers are read by NumPy's parser a block of whole lines at a time. Only a block that it refuses
is looked at line by line, to say which line and why.
"""

from __future__ import annotations

import io
import math
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import Span

BLOCK = 1 << 23
"""Bytes read at a time: memory beside the result stays at some 10 times as much."""

LONGEST = 1 << 20
"""Bytes of a line; a table of sensors has thousands at most."""

NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|[+-]?nan", re.IGNORECASE)

SPACES = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0"
"""What NumPy's parser takes for spaces; a block of nothing else must not reach it."""

MARK = b"\xef\xbb\xbf"
"""The byte order mark with which some programs begin UTF-8."""

CUT = "the last line has no end and may be cut short: left out"


class Block(NamedTuple):
    """Whole lines of a file: where they start, in bytes and in lines from 1, and their bytes."""

    start: int
    line: int
    data: bytes


@dataclass(frozen=True)
class Numbers:
    """rows: (T, columns) float64, NaN where the file says so or, with a delimiter, nothing."""

    rows: np.ndarray
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Form:
    """How lines are written. delimiter: b"" for any run of spaces and tabs.

    ending: what stands at the end of each line, before the line break. take: the columns that are
    wanted, all by default; the others need not be numbers. names: what messages call the columns.
    """

    columns: int
    delimiter: bytes = b""
    ending: bytes = b""
    take: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


def read_numbers(path: Path, form: Form, *, skip: int = 0, spans: Sequence[Span] = ()) -> Numbers:
    """The numbers of a file after `skip` lines, or of its spans. Blank lines are passed over.

    A last line without a line break, and without the ending if there is one, is left out with a
    note: a number in it may be cut. Raises SourceError, naming the line, for a wrong number of
    columns, for what is no finite number, for binary data and for a file without a row.
    """
    notes: list[str] = []
    parts = list(spans) or [Span(0, path_size(path))]
    lines = sum(count_lines(path, span) for span in parts)
    rows = np.empty((lines, len(form.take) or form.columns))
    filled = empty = 0
    for span in parts:
        for block in line_blocks(path, span, notes, ending=form.ending, skip=skip):
            part, missing = parse_block(block, form, str(path))
            rows[filled : filled + len(part)] = part
            filled, empty = filled + len(part), empty + missing
    if not filled:
        raise SourceError(
            f"{path} has no rows of numbers{f' ({notes[0]})' if notes else ''}; download it again"
        )
    if empty:
        notes.append(f"{empty} empty fields are NaN")
    return Numbers(rows[:filled], tuple(notes))


def path_size(path: Path) -> int:
    """Bytes of a file. Raises SourceError."""
    try:
        return path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error


def count_lines(path: Path, span: Span) -> int:
    """At most how many lines a span has, one without a line break counted."""
    lines = 1
    with opened(path) as file:
        file.seek(span.start)
        left = span.stop - span.start
        while left > 0 and (data := read_some(file, min(BLOCK, left), path)):
            lines += data.count(b"\n")
            left -= len(data)
    return lines


def opened(path: Path) -> BinaryIO:
    """The file, open for reading bytes. Raises SourceError; for a pipe too, which may hang."""
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise SourceError(f"{path} is no file, expected one; move it away")
        return path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def read_some(file: BinaryIO, size: int, path: Path) -> bytes:
    """At most `size` bytes. Raises SourceError."""
    try:
        return file.read(size)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> SourceError:
    return SourceError(
        f"{path} cannot be read ({error.strerror}); look at its permissions and the disk"
    )


def line_blocks(
    path: Path, span: Span, notes: list[str], *, ending: bytes = b"", skip: int = 0
) -> Iterator[Block]:
    """Blocks of whole lines of a span, after `skip` lines. A byte order mark is passed over.

    ending: with it, a last line that ends so counts as whole; any other without a line break is
    left out and noted in `notes`. Raises SourceError for binary data and for a line over LONGEST.
    """
    start, line, rest = span.start, span.line, b""
    with opened(path) as file:
        file.seek(start)
        while start + len(rest) < span.stop and (
            data := read_some(file, min(BLOCK, span.stop - start - len(rest)), path)
        ):
            data = rest + data
            _check_text(data, f"{path}, line {line}")
            whole, rest = _whole_lines(data)
            lines = whole.count(b"\n")
            _check_length(data, f"{path}, line", line)
            passed = min(skip, lines)
            taken = _without_lines(whole, passed)
            if line == 1:
                taken = taken.removeprefix(MARK)
            start, line, skip = start + len(whole), line + lines, skip - passed
            if taken:
                yield Block(start - len(taken), line - lines + passed, taken)
    if rest.strip():
        if ending and rest.rstrip().endswith(ending):
            yield Block(start, line, rest + b"\n")
        else:
            notes.append(CUT)


def _whole_lines(data: bytes) -> tuple[bytes, bytes]:
    """The whole lines at the beginning, and what is left."""
    end = data.rfind(b"\n") + 1
    return data[:end], data[end:]


def _without_lines(data: bytes, lines: int) -> bytes:
    """What stands after so many lines."""
    at = 0
    for _ in range(lines):
        at = data.index(b"\n", at) + 1
    return data[at:]


def _check_length(data: bytes, where: str, first: int) -> None:
    """Refuse a line that is too long, whole or begun; `first` is the number of the first one."""
    if len(data) <= LONGEST:
        return
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    widths = np.diff(ends, prepend=-1, append=len(data))
    if widths.max() > LONGEST:
        raise SourceError(
            f"{where} {first + int(np.argmax(widths))}: is longer than {LONGEST} bytes, expected a"
            " row a line; is this the file?"
        )


def _check_text(data: bytes, where: str) -> None:
    if b"\0" in data:
        raise SourceError(
            f"{where}: holds zero bytes, so it is binary or UTF-16, expected plain text;"
            " save it as UTF-8, or download it again"
        )


def parse_block(block: Block, form: Form, where: str) -> tuple[np.ndarray, int]:
    """Numbers (rows, columns) of whole lines, and how many empty fields are NaN in them.

    Raises SourceError that names the first line that is wrong.
    """
    data = block.data.replace(b"\r\n", b"\n")
    if not data.strip():
        return np.empty((0, len(form.take) or form.columns)), 0
    plain = _without_endings(data, form.ending)
    filled, empty = _fill_empty(plain, form.delimiter) if plain else (b"", 0)
    if not filled.strip(SPACES) or (form.take and not _even(filled, form)):
        raise _explain(data, block.line, form, where)
    try:
        rows = np.loadtxt(
            io.BytesIO(filled),
            delimiter=form.delimiter.decode() or None,
            usecols=form.take or None,
            comments=None,
            ndmin=2,
            encoding="latin-1",
        )
    except ValueError:
        raise _explain(data, block.line, form, where) from None
    if rows.shape[1] != (len(form.take) or form.columns) or np.isinf(rows).any():
        raise _explain(data, block.line, form, where)
    return rows, empty


def _without_endings(data: bytes, ending: bytes) -> bytes:
    """The lines without their endings; b"" when one has none, or one has it within."""
    if not ending:
        return data
    if data.count(ending) == data.count(ending + b"\n") == data.count(b"\n"):
        return data.replace(ending + b"\n", b"\n")
    lines = [line.rstrip() for line in data.split(b"\n") if line.strip()]
    if data.count(ending) != len(lines) or not all(line.endswith(ending) for line in lines):
        return b""
    return data.replace(ending, b"")


def _fill_empty(data: bytes, delimiter: bytes) -> tuple[bytes, int]:
    """The lines with `nan` in each empty field, and how many there were."""
    if not delimiter:
        return data, 0
    before = len(data)
    data = b"\n" + data
    for _ in range(2):  # of three delimiters in a row, the first pass sees one pair
        data = data.replace(delimiter * 2, delimiter + b"nan" + delimiter)
    data = data.replace(delimiter + b"\n", delimiter + b"nan\n")
    data = data.replace(b"\n" + delimiter, b"\nnan" + delimiter)[1:]
    return data, (len(data) - before) // 3


def _even(data: bytes, form: Form) -> bool:
    """Whether each line that is not blank has as many delimiters as columns ask for."""
    text = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    signs = np.flatnonzero(text == ord(form.delimiter))
    counts = np.diff(np.searchsorted(signs, ends), prepend=0)
    blank = np.diff(ends, prepend=-1) == 1
    return bool((blank | (counts == form.columns - 1)).all())


def _explain(data: bytes, first: int, form: Form, where: str) -> SourceError:
    """The error that names the first line that is not as the form says."""
    number = first
    for number, line in enumerate(data.split(b"\n"), first):
        text = line.strip()
        if text:
            problem = _problem(text, form)
            if problem:
                return SourceError(f"{where}, line {number}: {problem}")
    return SourceError(
        f"{where}, lines {first} to {number}: cannot be read as numbers; download the file again"
    )


def _problem(line: bytes, form: Form) -> str:
    """What is wrong with a line, "" for nothing."""
    if form.ending:
        if not line.endswith(form.ending):
            return f"does not end in {form.ending.decode()!r}; the line is cut, mend or delete it"
        line = line[: -len(form.ending)]
    fields = line.split(form.delimiter or None)
    if len(fields) != form.columns:
        return (
            f"has {len(fields)} columns, expected {form.columns}; the line may be cut or joined"
            " with another: mend or delete it, or download the file again"
        )
    for column in form.take or range(form.columns):
        problem = number_problem(fields[column].strip(), empty=bool(form.delimiter))
        if problem:
            return f"{form.names[column] if form.names else f'column {column + 1}'} {problem}"
    return ""


def number_problem(text: bytes, *, empty: bool) -> str:
    """Why a text is no finite number, "" if it is one. empty: whether nothing is a missing one."""
    if empty and not text:
        return ""
    if not NUMBER.fullmatch(text):
        shown = text[:40].decode("utf-8", "replace")
        return f"is {shown!r}, expected a number or NaN; mend or delete the line"
    if math.isinf(float(text)):
        return f"is {text[:40].decode()!r}, too large for a number; mend or delete the line"
    return ""


def line_of(path: Path, row: int, *, skip: int = 0, ending: bytes = b"") -> int:
    """The line, from 1, of a row of `read_numbers`, which passes over blank lines."""
    span = Span(0, path_size(path))
    for block in line_blocks(path, span, [], ending=ending, skip=skip):
        for number, line in enumerate(block.data.split(b"\n"), block.line):
            if line.strip():
                if not row:
                    return number
                row -= 1
    raise SourceError(f"{path} has become shorter while it was read; run again")


def first_line(path: Path, encoding: str = "utf-8") -> str:
    """The first line of a file, without a byte order mark. Raises SourceError."""
    with opened(path) as file:
        line = read_some(file, LONGEST, path).partition(b"\n")[0]
    _check_text(line, f"{path}, line 1")
    try:
        return line.removeprefix(MARK).decode(encoding).strip()
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}, line 1: is not {encoding} ({error.reason}); save the file as UTF-8"
        ) from None
