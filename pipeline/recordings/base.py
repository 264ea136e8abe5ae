"""Recordings of wearable sensors as they were published: values, labels, times, and whose they are.

Nothing is cut into windows, scaled or left out here. What lies in a folder is listed without
reading values, and read one recording at a time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from pi_cache.errors import SourceError

NO_LABEL = -1
"""The label of a sample that has none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """What one sensor, or several at one rate, measured on one person without a restart.

    file: below the folder of the data set, with `/`. rate: in Hz, as stated by the data set.
    values: (T, C) float64 in the units named, NaN for missing. labels: (T,) int64, codes of the
    data set (see Facts.labels), -1 for none. times: (T,) seconds from an origin of the file's own,
    NaN for unknown, or None where each sample follows the last by 1 / rate.
    window: 0, or the length of windows that the publisher has cut already: then the samples are
    whole windows one after another, and no window may be cut across them.
    seams: positions of samples that other rows stand before in the file, where no time tells
    whether they follow the one before.
    notes: what was repaired or looks wrong, a sentence each.
    """

    dataset: str
    subject: str
    file: str
    rate: float
    channels: tuple[str, ...]
    units: tuple[str, ...]
    values: np.ndarray
    labels: np.ndarray
    times: np.ndarray | None = None
    window: int = 0
    seams: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = list(_misfits(self))
        if problems:
            raise SourceError(f"{self.dataset}, {self.file}: {'; '.join(problems)}")

    @classmethod
    def of(cls, facts: Facts, entry: Entry, **fields: Any) -> Self:
        """The recording of an entry; rate, channels and units are those of the facts if not given.

        fields: all others by name. Raises SourceError where they do not fit together.
        """
        usual = {"rate": facts.rate, "channels": facts.channels, "units": facts.units}
        known = {"dataset": facts.name, "subject": entry.subject, "file": entry.file}
        return cls(**(usual | known | fields))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def seconds(self) -> float:
        """How long it lasts by its number of samples."""
        return len(self) / self.rate


def _misfits(recording: Recording) -> Iterator[str]:
    """What does not fit together in a recording, a sentence each."""
    values, times = recording.values, recording.times
    if values.ndim != 2 or values.dtype != np.float64 or not len(values):
        yield f"values must be (T, C) float64 with T > 0, got {values.dtype}{list(values.shape)}"
        return
    if not len(recording.channels) == len(recording.units) == values.shape[1]:
        yield (
            f"{values.shape[1]} columns of values need as many channels and units, got"
            f" {len(recording.channels)} and {len(recording.units)}"
        )
    if recording.labels.shape != (len(values),) or recording.labels.dtype != np.int64:
        yield f"{len(values)} samples need as many int64 labels, got {recording.labels.shape}"
    if times is not None and (times.shape != (len(values),) or times.dtype != np.float64):
        yield f"{len(values)} samples need as many float64 times, got {times.shape}"
    if not (math.isfinite(recording.rate) and recording.rate > 0):
        yield f"the rate must be above 0 Hz, got {recording.rate}"
    if recording.window and len(values) % recording.window:
        yield f"{len(values)} samples are no whole number of windows of {recording.window}"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a data set before any file is opened: for people, and for its reader.

    rate: in Hz, None where each recording has its own. labels: the published meaning of every
    code, of those that are dropped too. written: what the files write for a code where it is no
    number. classes: the codes that the published preparation keeps, in the order of its classes
    0, 1, ...; all codes in order where there is none. dropped: what is left out, and why.
    published: figures to compare with. unverified: what was not checked on real files.
    """

    name: str
    title: str
    sensors: str
    channels: tuple[str, ...]
    units: tuple[str, ...]
    rate: float | None
    subjects: str
    labels: Mapping[int, str]
    written: Mapping[str, int] = field(default_factory=dict)
    classes: tuple[int, ...] = ()
    dropped: tuple[str, ...] = ()
    layout: str
    options: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    citation: str
    licence: str
    address: str
    unverified: str = ""

    def describe(self) -> dict[str, str]:
        """The facts in words, by title; those that a data set has not are left out."""
        words = {code: text for text, code in self.written.items()}
        named = (
            f"{code}{f' ({words[code]})' if code in words else ''} {name}"
            for code, name in self.labels.items()
        )
        lines = {
            "name": self.name,
            "title": self.title,
            "sensors": self.sensors,
            "channels": ", ".join(map(_with_unit, self.channels, self.units)),
            "rate": f"{self.rate:g} Hz" if self.rate else "as each recording states",
            "subjects": self.subjects,
            "labels": ", ".join(named) or "none",
            "classes": ", ".join(self.labels[code] for code in self.classes),
            "dropped": "; ".join(self.dropped),
            "layout": self.layout,
            "options": ", ".join(self.options),
            "published": "; ".join(self.published),
            "citation": self.citation,
            "licence": self.licence,
            "address": self.address,
            "not verified": self.unverified,
        }
        return {title: text for title, text in lines.items() if text}


def _with_unit(channel: str, unit: str) -> str:
    return f"{channel} [{unit}]" if unit else channel


class Span(NamedTuple):
    """A part of a file: from start to before stop, in bytes of a text file, else in rows.

    line: of the text file, in which it starts, counted from 1.
    """

    start: int
    stop: int
    line: int = 1


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One recording that has not been read. spans: its parts of the file, () for all of it."""

    subject: str
    file: str
    bytes: int
    spans: tuple[Span, ...] = ()


@contextmanager
def told_as_source_error(where: str) -> Iterator[None]:
    """Raise what a disk or a file system refuses meanwhile as SourceError."""
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"{error.filename or where} cannot be read ({error.strerror}); look at its permissions"
            " and the disk"
        ) from error


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """What lies in a folder, read one recording at a time. Picklable; holds no values.

    read_entry: reads one entry of the folder `root`. read_rows: where a format allows it, the
    values (n, C) of the samples start..stop of an entry alone. notes: what was left out of the
    listing.
    """

    facts: Facts
    root: str
    entries: Sequence[Entry]
    read_entry: Callable[[Path, Entry], Recording]
    read_rows: Callable[[Path, Entry, int, int], np.ndarray] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"{self.root}: {self.facts.title}"
        if not self.entries:
            left_out = f" ({'; '.join(self.notes)})" if self.notes else ""
            raise SourceError(f"{where}: no files found{left_out}; expected {self.facts.layout}")
        counts = Counter((entry.file, entry.subject) for entry in self.entries)
        twice = [file for (file, _), count in counts.items() if count > 1]
        if twice:
            raise SourceError(f"{where}: {twice[0]} is listed twice; list each recording once")

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, part: slice) -> Self:
        """The recordings of a range of entries."""
        return replace(self, entries=self.entries[part])

    def __iter__(self) -> Iterator[Recording]:
        """Each recording, read when its turn comes."""
        return map(self.read, range(len(self)))

    def read(self, position: int) -> Recording:
        """One recording. Raises SourceError, naming file and line, for one that cannot be read."""
        entry = self.entries[position]
        with told_as_source_error(f"{self.root}/{entry.file}"):
            return self.read_entry(Path(self.root), entry)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Each person once, in the order of the entries."""
        return tuple(dict.fromkeys(entry.subject for entry in self.entries))

    @property
    def bytes(self) -> int:
        """Bytes of all entries on disk."""
        return sum(entry.bytes for entry in self.entries)
