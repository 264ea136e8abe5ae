"""A set of the form and size of PAMAP2: its people, rows, windows and classes; signals are made up.

The published preparation finds in it as many rows and windows as in the real files, by person, and
as many by class in the first fold. Reference of the counts: notebook output of TDA_KD (E. S. Jeon
et al., Asilomar 2022); those of other folds by class are not published, and even here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from pipeline.recordings.pamap2 import CHANNELS, FACTS, HIGHEST, KEPT_CHANNELS, LOWEST, THIN

WINDOW, STEP = 100, 22
FEWEST_LOST = (WINDOW - 1) // STEP
"""Windows that start within one class and end within the next: so many at each change, or one
more, by where it falls."""
FEW, MORE = WINDOW + 5, WINDOW + 16
"""From the start of the last window of a class to the next class, for so many and for one more."""
PROTOCOL = (1, 2, 3, 11, 10, 8, 9, 4, 7, 6, 5, 0)
"""Classes in the order in which they were recorded."""
AGAIN = (8, 9)
"""Those that a person does more than once, the stairs."""
BETWEEN = 300
"""Rows at 100 Hz between two activities, which the preparation drops."""
POOL = 20_011
"""Different rows of signals; a person's are those, from another place on, again and again."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """What is published of one. rows: after cleaning. absent: classes without a window.

    counts: windows of each class, where published.
    """

    subject: int
    rows: int
    windows: int
    absent: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()


FIRST_FOLD = (191, 407, 352, 325, 333, 318, 352, 302, 233, 217, 343, 353)
PEOPLE = (
    Person(subject=101, rows=83_319, windows=3_726, counts=FIRST_FOLD),
    Person(subject=102, rows=87_783, windows=3_925),
    Person(subject=103, rows=58_113, windows=2_592, absent=(0, 5, 6, 7)),
    Person(subject=104, rows=77_141, windows=3_447, absent=(0, 5)),
    Person(subject=105, rows=90_814, windows=4_065),
    Person(subject=106, rows=83_366, windows=3_728, absent=(0,)),
    Person(subject=107, rows=77_592, windows=3_465, absent=(0,)),
    Person(subject=108, rows=87_368, windows=3_909),
    Person(subject=109, rows=2_131, windows=92, absent=tuple(range(1, 12))),
)
SMALL = (
    Person(subject=101, rows=1_500, windows=58, absent=tuple(range(2, 12)), counts=(30, 28)),
    Person(subject=102, rows=1_000, windows=35, absent=tuple(range(2, 12))),
)
"""Two people of minutes, for a quick look."""


def runs_of(person: Person) -> list[tuple[int, int]]:
    """Class and rows of each activity of a person, in order: rows after cleaning.

    Raises ValueError where no order gives the windows that the person has.
    """
    starts = (person.rows - WINDOW - STEP) // STEP + 1
    lost = starts - person.windows
    order = _order(person, lost)
    changes = len(order) - 1
    if not FEWEST_LOST * changes <= lost <= (FEWEST_LOST + 1) * changes:
        raise ValueError(f"{person} cannot lose {lost} windows at {changes} changes of class")
    runs, begun, kept = [], 0, 0
    for k, (number, windows) in enumerate(order):
        more = k < lost - FEWEST_LOST * changes
        kept += windows
        end = kept * STEP + (MORE if more else FEW) if k < changes else person.rows
        kept += FEWEST_LOST + more
        runs.append((number, end - begun))
        begun = end
    return runs


def _order(person: Person, lost: int) -> list[tuple[int, int]]:
    """Class and windows of each activity; more activities where more windows are lost."""
    present = [number for number in PROTOCOL if number not in person.absent]
    repeated = [number for number in AGAIN if number in present] or present
    changes = max(len(present) - 1, -(-lost // (FEWEST_LOST + 1)))
    order = present + [repeated[k % len(repeated)] for k in range(changes + 1 - len(present))]
    total = dict(zip(range(12), person.counts, strict=False)) or _even(present, person.windows)
    left = {number: _even(range(order.count(number)), total[number]) for number in present}
    return [(number, left[number].pop(min(left[number]))) for number in order]


def _even(names: Sequence[int] | range, total: int) -> dict[int, int]:
    """A total, shared out as evenly as whole numbers allow."""
    share, rest = divmod(total, len(names))
    return {name: share + (k < rest) for k, name in enumerate(names)}


def codes_of(person: Person) -> np.ndarray:
    """The code of every row (T,) of the person's file, at 100 Hz, with rows between activities."""
    parts = [np.zeros(BETWEEN, np.int64)]
    for number, rows in runs_of(person):
        parts += [np.full(THIN * rows, FACTS.classes[number]), np.zeros(BETWEEN, np.int64)]
    return np.concatenate(parts)


def write_set(folder: Path, people: Sequence[Person] = PEOPLE) -> int:
    """Write the protocol files of these people; bytes in all."""
    place = folder / "Protocol"
    place.mkdir(parents=True)
    size = 0
    for k, person in enumerate(people):
        with (place / f"subject{person.subject}.dat").open("wb") as file:
            for piece in _lines(codes_of(person), offset=k * POOL // 9):
                size += file.write(piece)
    return size


def _lines(codes: np.ndarray, offset: int, piece: int = 20_000) -> Iterator[bytes]:
    """Lines of 54 numbers, so many at a time."""
    signals = _signals()
    for start in range(0, len(codes), piece):
        part = codes[start : start + piece].tolist()
        yield b"".join(
            b"%d.%02d %d %b\n" % (*divmod(row, 100), code, signals[(offset + row) % POOL])
            for row, code in enumerate(part, start)
        )


@cache
def _signals() -> list[bytes]:
    """The 52 values of each row of the pool as text: slow swings, steps of gait, and noise."""
    random = np.random.default_rng(2)
    time = np.arange(POOL)[:, None] / 100
    lowest, highest = _ranges()
    wide = highest - lowest
    centre, slow, gait = (
        random.uniform(low, high, 52) for low, high in ((0.3, 0.7), (0.02, 0.2), (1.0, 3.0))
    )
    lively = 0.25 * (0.5 - 0.5 * np.cos(2 * np.pi * time / POOL * 500)) ** 2  # from rest to running
    swings = 0.1 * np.sin(2 * np.pi * slow * time) + lively * np.sin(2 * np.pi * gait * time) ** 3
    noise = 0.004 * random.normal(size=(POOL, 52))
    values = lowest + wide * (centre + swings + noise)
    heart = np.arange(POOL) % 11 == 3
    return [
        b" ".join([b"%.0f" % row[0] if beat else b"NaN", *(b"%.6g" % value for value in row[1:])])
        for row, beat in zip(values.tolist(), heart.tolist(), strict=True)
    ]


def _ranges() -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest value (52,) of each column; 0 and 1 of orientations."""
    known = dict(zip(KEPT_CHANNELS, zip(LOWEST, HIGHEST, strict=True), strict=True))
    lowest, highest = zip(*(known.get(name, (0.0, 1.0)) for name in CHANNELS), strict=True)
    return np.array(lowest), np.array(highest)
