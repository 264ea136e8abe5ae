"""UCI-HAR: a phone at the waist of 30 people, 6 activities, published as windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import Entry, Facts, Recording, Recordings, Span
from pipeline.recordings.labels import parse_codes
from pipeline.recordings.listing import Found, check_once, list_files
from pipeline.recordings.text import (
    LONGEST,
    MARK,
    Block,
    Form,
    opened,
    parse_block,
    path_size,
    read_numbers,
)

RATE = 50.0
WINDOW = 128
SIGNALS = {"total_acc": "g", "body_acc": "g", "body_gyro": "rad/s"}
CHANNELS = tuple(f"{signal}_{axis}" for signal in SIGNALS for axis in "xyz")
UNITS = tuple(unit for unit in SIGNALS.values() for _ in "xyz")

FACTS = Facts(
    name="uci-har",
    title="Human Activity Recognition Using Smartphones",
    sensors=(
        "Samsung Galaxy S II at the waist: accelerometer, its part without gravity (body), and"
        " gyroscope; all filtered against noise by the authors"
    ),
    channels=CHANNELS,
    units=UNITS,
    rate=RATE,
    subjects="30: 1 to 30; 21 of them in train, 9 in test",
    labels={
        1: "walking",
        2: "walking upstairs",
        3: "walking downstairs",
        4: "sitting",
        5: "standing",
        6: "laying",
    },
    classes=tuple(range(1, 7)),
    dropped=("the 561 features of X_train.txt and X_test.txt: signals only are read",),
    layout=(
        "train/Inertial Signals/total_acc_x_train.txt ... with train/subject_train.txt and"
        " train/y_train.txt, and test/ alike; already cut into windows of 128 samples with 50 %"
        " overlap, which are kept as they are"
    ),
    published=("7,352 windows in train, 2,947 in test",),
    citation=(
        "D. Anguita, A. Ghio, L. Oneto, X. Parra, J. L. Reyes-Ortiz: A Public Domain Dataset for"
        " Human Activity Recognition Using Smartphones. ESANN 2013"
    ),
    licence="CC BY 4.0 at its address; its own README forbids commercial use",
    address="https://archive.ics.uci.edu/dataset/240, doi:10.24432/C54S4K",
    unverified=(
        "no real file was read; windows that follow each other share half of their samples, as its"
        " authors say, which ids do not tell: divide by subject, never by window"
    ),
)

ONE = Form(columns=1)
ROW = Form(columns=WINDOW)


def open_ucihar(path: str | Path) -> Recordings:
    """The subjects of train and test, a recording each; its spans are rows. Raises SourceError.

    The small files of subjects are read, no signals.
    """
    listing = list_files(path, r"(train|test)/Inertial Signals/total_acc_x_(train|test)\.txt")
    check_once(listing, lambda found: found.groups)
    return Recordings(
        facts=FACTS,
        root=listing.root,
        entries=[entry for found in listing.files for entry in _entries(listing.root, found)],
        read_entry=read_ucihar,
        notes=listing.notes,
    )


def _entries(root: str, found: Found) -> Iterator[Entry]:
    """One entry a subject of one split, in the order of their first rows."""
    split = found.groups[0].lower()
    folder = Path(root, found.file).parent
    subjects = _subjects(folder.parent / f"subject_{split}.txt")
    files = _signal_files(folder)
    _check_counts([folder.parent / f"y_{split}.txt", *files], len(subjects), split)
    size = sum(file.stat().st_size for file in files)
    for subject in dict.fromkeys(subjects.tolist()):
        rows = np.flatnonzero(subjects == subject)
        yield Entry(
            subject=str(subject),
            file=found.file.rpartition("/")[0],
            bytes=size * len(rows) // len(subjects),
            spans=tuple(_runs(rows)),
        )


def _subjects(path: Path) -> np.ndarray:
    """The subject of each window (n,) int64."""
    column = read_numbers(path, ONE).rows[:, 0]
    if not ((column == np.round(column)) & (np.abs(column) < 1e9)).all():
        raise SourceError(f"{path}: the subjects must be whole numbers; download it again")
    return column.astype(np.int64)


def _check_counts(files: Sequence[Path], windows: int, split: str) -> None:
    """Refuse a split with a line more or less in one file: all later windows would be another's."""
    for file in files:
        lines = _lines_in(file)
        if lines != windows:
            raise SourceError(
                f"{file} has {lines} lines for the {windows} windows of subject_{split}.txt;"
                " download the data set again"
            )


def _lines_in(path: Path) -> int:
    """Lines that are not blank; told by the size where that fits lines as wide as the first."""
    with opened(path) as file:
        width = len(file.readline(LONGEST))
        size = path_size(path)
        if width > WINDOW and not size % width:
            return size // width
        file.seek(0)
        return sum(bool(line.strip()) for line in iter(lambda: file.readline(LONGEST), b""))


def _signal_files(folder: Path) -> list[Path]:
    """The nine files in the order of the channels. Raises SourceError naming those missing."""
    split = folder.parent.name.lower()
    files = [folder / f"{channel}_{split}.txt" for channel in CHANNELS]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise SourceError(f"{folder}: {', '.join(missing)} missing; unpack the data set again")
    return files


def _runs(rows: np.ndarray) -> Iterator[Span]:
    """Stretches of rows that follow each other."""
    for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
        yield Span(int(run[0]), int(run[-1]) + 1, int(run[0]) + 1)


def read_ucihar(root: Path, entry: Entry) -> Recording:
    """The windows of one subject, one after another: samples (n * 128, 9), `window` is 128."""
    folder = root / entry.file
    split = folder.parent.name.lower()
    signals = [_rows(file, entry.spans) for file in _signal_files(folder)]  # 9 of (n, 128)
    codes_file = folder.parent / f"y_{split}.txt"
    codes = parse_codes(read_numbers(codes_file, ONE).rows[:, 0], FACTS, codes_file)
    last = entry.spans[-1].stop
    if len(codes) < last:
        raise SourceError(
            f"{codes_file} has {len(codes)} labels for at least {last} windows; download it again"
        )
    mine = np.concatenate([codes[span.start : span.stop] for span in entry.spans])
    return Recording.of(
        FACTS,
        entry,
        values=np.stack([signal.reshape(-1) for signal in signals], axis=1),
        labels=np.repeat(mine, WINDOW),
        window=WINDOW,
    )


def _rows(path: Path, spans: Sequence[Span]) -> np.ndarray:
    """Windows (n, 128) of one signal. Raises SourceError."""
    parts = []
    with opened(path) as file:
        lines = iter(lambda: file.readline(LONGEST), b"")
        at = 0
        for span in spans:
            taken = list(islice(lines, span.start - at, span.stop - at))
            at = span.stop
            if len(taken) != span.stop - span.start or not _whole(taken):
                raise SourceError(
                    f"{path} ends before line {span.stop}, or in the middle of it; it has fewer"
                    " windows than the file of subjects, or is cut: download it again"
                )
            data = b"".join(taken).removeprefix(b"" if span.start else MARK)
            rows, _ = parse_block(Block(0, span.line, data), ROW, str(path))
            if len(rows) != len(taken):
                raise SourceError(f"{path} has blank lines, expected a window a line")
            parts.append(rows)
    return np.concatenate(parts)


def _whole(lines: list[bytes]) -> bool:
    """Whether the last line is whole: all are equally long, so a cut one is shorter."""
    widths = {len(line.rstrip()) for line in lines[-2:]}
    return lines[-1].endswith(b"\n") or len(widths) == 1 < len(lines)
