"""Recordings in tables of your own, CSV or Parquet: you name the columns, nothing is guessed."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import NO_LABEL, Entry, Facts, Recording, Recordings, Span
from pipeline.recordings.columns import CsvFile, Run, Survey
from pipeline.recordings.labels import constant_labels
from pipeline.recordings.listing import Found, composed, list_files
from pipeline.recordings.parquet import ParquetFile
from pipeline.recordings.times import irregular, time_notes, usual_step

TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
SUBJECTS = ("none", "file", "folder")
MOST_LABELS = 1000
WHOLE = re.compile(r"[0-9]{1,18}(?:\.0*)?")
"""A label that is a number; a table that once had missing labels may write 1 as 1.0."""

FACTS = Facts(
    name="table",
    title="Tables of your own",
    sensors="whatever the columns hold",
    channels=(),
    units=(),
    rate=None,
    subjects="those of the column named, or a file or a folder each",
    labels={},
    layout="one .csv or .parquet file, or a folder of them, with a row a sample and named columns",
    options=(
        "values", "label", "subject", "subject_from", "time", "time_unit", "rate", "units",
        "delimiter", "encoding",
    ),
    citation="that of your data",
    licence="that of your data",
    address="",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Columns:
    """How a table is read. values: the columns that become channels, in this order.

    label, subject, time: their columns. time_unit: of a time in numbers; a time in words is
    ISO 8601. rate: in Hz; without it the usual step of the times tells it. units: of the values.
    subject_from: without a subject column, a `file` or a `folder` is a subject, or `none` is known.
    """

    values: tuple[str, ...]
    label: str | None = None
    subject: str | None = None
    subject_from: str = "none"
    time: str | None = None
    time_unit: str = "s"
    rate: float | None = None
    units: tuple[str, ...] = ()
    delimiter: str = ","
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise SourceError(f"table: {'; '.join(problems)}")
        if codecs.lookup(self.encoding).name == "utf-8-sig":  # a mark is passed over in any case
            object.__setattr__(self, "encoding", "utf-8")
        if not self.units:
            object.__setattr__(self, "units", ("",) * len(self.values))

    def _problems(self) -> Iterator[str]:
        named = [*self.values, *filter(None, (self.label, self.subject, self.time))]
        if not self.values:
            yield "name the columns of values"
        if len(set(named)) != len(named):
            yield f"the columns {', '.join(named)} must differ"
        if self.units and len(self.units) != len(self.values):
            yield f"{len(self.values)} columns of values need as many units, got {len(self.units)}"
        if self.time is None and self.rate is None:
            yield "name the time column, or give the rate in Hz"
        if self.rate is not None and not (math.isfinite(self.rate) and self.rate > 0):
            yield f"the rate must be above 0 Hz, got {self.rate}"
        if self.time_unit not in TIME_UNITS:
            yield f"time_unit must be one of {', '.join(TIME_UNITS)}, got {self.time_unit!r}"
        if self.subject_from not in SUBJECTS:
            yield f"subject_from must be one of {', '.join(SUBJECTS)}, got {self.subject_from!r}"
        if self.subject is not None and self.subject_from != "none":
            yield f"the column {self.subject!r} names the subjects, so leave out subject_from"
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            yield f"the delimiter must be one character, got {self.delimiter!r}"
        if not _known(self.encoding):
            yield f"the encoding {self.encoding!r} is not known, or cannot be read by lines"


def _known(encoding: str) -> bool:
    """Whether Python knows the encoding, and a line break is one byte in it."""
    try:
        return "a,\n".encode(encoding).endswith(b"a,\n")
    except (LookupError, UnicodeError):
        return False


def open_table(
    path: str | Path, *, values: Sequence[str], units: Sequence[str] = (), **options: Any
) -> Recordings:
    """The tables at a path, a recording for each subject of each file.

    values, units, options: as in Columns. With a label or subject column each file is gone through
    once, for its labels and subjects. Labels in words are numbered in their sorted order; whole
    numbers keep their value. A row without a label has none.
    Raises SourceError, naming the columns a file has, where one is not there.
    """
    columns = Columns(values=tuple(values), units=tuple(units), **options)
    listing = list_files(path, r"[^/]+\.(csv|tsv|txt|parquet)")
    words: set[str] = set()
    entries: list[Entry] = []
    notes = list(listing.notes)
    for found in listing.files:
        survey = _survey(Path(listing.root, found.file), columns)
        words |= survey.words
        entries += _entries(listing.root, found, columns, survey.runs)
        if columns.subject is not None:  # else it is told where the recording is read
            notes += [f"{found.file}: {note}" for note in survey.notes]
    names, codes = _codes(words, str(path))
    facts = replace(
        FACTS,
        channels=columns.values,
        units=columns.units,
        rate=columns.rate,
        labels=names,
        written=codes,
        classes=tuple(names),
    )
    if any(not entry.subject for entry in entries):
        notes.append("no subjects are known, so no fold can leave one out: name their column")
    return Recordings(
        facts=facts,
        root=listing.root,
        entries=entries,
        read_entry=partial(read_table, columns=columns, codes=codes),
        notes=tuple(notes),
    )


def _open(path: Path, columns: Columns) -> CsvFile | ParquetFile:
    if path.suffix.lower() == ".parquet":
        return ParquetFile(path)
    return CsvFile(path, columns.delimiter, columns.encoding)


def _survey(path: Path, columns: Columns) -> Survey:
    """Where each subject's rows lie, and all labels; nothing where neither is in a column."""
    if columns.label is None and columns.subject is None:
        return Survey([], set())
    return _open(path, columns).survey(columns.subject, columns.label)


def _entries(root: str, found: Found, columns: Columns, runs: list[Run]) -> Iterator[Entry]:
    """The recordings of one file."""
    if columns.subject is None:
        yield Entry(subject=_subject(root, found, columns), file=found.file, bytes=found.bytes)
        return
    spans: dict[str, list[Span]] = {}
    for run in runs:
        spans.setdefault(run.subject, []).append(run.span)
    rows = sum(run.span.stop - run.span.start for run in runs)
    for subject, mine in spans.items():
        if not subject:
            raise SourceError(
                f"{root}/{found.file}, line {mine[0].line}: the column {columns.subject!r} is"
                " empty; every row needs its subject, since folds are cut by it"
            )
        share = sum(span.stop - span.start for span in mine)
        size = found.bytes * share // rows
        yield Entry(subject=subject, file=found.file, bytes=size, spans=tuple(mine))


def _subject(root: str, found: Found, columns: Columns) -> str:
    """The subject of a whole file."""
    path = Path(root, found.file)
    names = {"none": "", "file": path.stem, "folder": path.parent.name}
    return composed(names[columns.subject_from])


def _codes(words: set[str], where: str) -> tuple[dict[int, str], dict[str, int]]:
    """Names by code, and codes by what is written; an empty label is none."""
    written = sorted(words - {""})
    if len(written) > MOST_LABELS:
        raise SourceError(
            f"{where}: the label column has {len(written)} different labels, such as"
            f" {written[0][:40]!r}, at most {MOST_LABELS} are taken; is it the column of labels?"
        )
    if all(WHOLE.fullmatch(word) for word in written):
        codes = {word: int(word.partition(".")[0]) for word in written}
        return {code: str(code) for code in sorted(codes.values())}, codes
    return dict(enumerate(written)), {word: code for code, word in enumerate(written)}


def read_table(
    root: Path, entry: Entry, *, columns: Columns, codes: Mapping[str, int]
) -> Recording:
    """One subject of one file. Raises SourceError."""
    path = root / entry.file
    texts = tuple(filter(None, (columns.label, columns.time)))
    part = _open(path, columns).read(columns.values, texts, entry.spans)
    if not len(part.numbers):
        raise SourceError(f"{path} has no rows below the names of its columns; write it again")
    words = dict(zip(texts, part.texts, strict=True))
    times, rate, notes = _times(words.get(columns.time or "", []), columns, path)
    labels = constant_labels(NO_LABEL, len(part.numbers))
    if columns.label is not None:
        labels = np.array([codes.get(word, NO_LABEL) for word in words[columns.label]], np.int64)
    seams = part.seams if columns.time is None else ()
    if seams:
        notes = (
            f"other rows stand between {len(seams) + 1} runs of its rows, so no window spans"
            " two of them; a time column would tell, or gaps=bridge joins them",
        )
    return Recording.of(
        FACTS,
        entry,
        rate=rate,
        channels=columns.values,
        units=columns.units,
        values=part.numbers,
        labels=labels,
        times=times,
        seams=seams,
        notes=(*part.notes, *notes),
    )


def _times(
    texts: list[str], columns: Columns, path: Path
) -> tuple[np.ndarray | None, float, tuple[str, ...]]:
    """Times (T,) in seconds from the first or None, the rate in Hz, and what is odd."""
    if columns.time is None:
        return None, float(columns.rate or 0.0), ()
    times = _seconds(texts, columns, path)
    known = times[~np.isnan(times)]
    times = times - (known[0] if len(known) else 0.0)
    rate = columns.rate
    notes: tuple[str, ...] = ()
    if rate is None:
        step = usual_step(times, 0.0) if len(known) > 1 else 0.0
        if not step > 0:
            raise SourceError(
                f"{path}: the column {columns.time!r} does not grow, so it tells no rate;"
                " give the rate in Hz, or sort the rows by time"
            )
        rate = 1 / step
        notes = (f"the rate of {rate:.6g} Hz is that of the usual step of the times",)
    regular = irregular(times, rate)
    return regular, rate, (*notes, *(() if regular is None else time_notes(times, rate)))


def _seconds(texts: list[str], columns: Columns, path: Path) -> np.ndarray:
    """Seconds (T,) of numbers, or from the first of ISO 8601; NaN for an empty one.

    Raises SourceError naming the row of what is neither.
    """
    first = next(filter(None, texts), "")
    in_words = ":" in first or first.count("-") > 1
    origin: datetime | None = None
    seconds = np.full(len(texts), math.nan)
    for row, text in enumerate(texts):
        try:
            if text and in_words:
                moment = _moment(text)
                origin = origin or moment
                seconds[row] = (moment - origin).total_seconds()
            elif text:
                seconds[row] = float(text) * TIME_UNITS[columns.time_unit]
        except ValueError:
            seconds[row] = math.inf
        if math.isinf(seconds[row]):
            raise SourceError(
                f"{path}, row {row + 1}: {columns.time} is {text[:40]!r}, expected"
                f" {'a time such as 2024-05-30T10:12:54.5' if in_words else 'a number'};"
                " mend or delete the row"
            )
    return seconds


def _moment(text: str) -> datetime:
    """The moment of ISO 8601; a time without a zone is taken as UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
