"""The raw `.csv` that the vendor's software exports: a header block, then a row a sample.

A row is the time, x, y, z in g, light in lux, the button, and the temperature in °C, with commas or
tabs between. The header, 100 lines in known files, is `name,value` with the same separator.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import Span
from pipeline.recordings.geneactiv_bin import CHANNELS, Reading
from pipeline.recordings.geneactiv_pages import BLANK, HEADER_LINES
from pipeline.recordings.text import (
    Block,
    Form,
    line_blocks,
    opened,
    parse_block,
    path_size,
    read_some,
)
from pipeline.recordings.times import irregular, time_notes, usual_step

DEVICE = b"GENEActiv"
TIME = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}[:.][0-9]{3}")
TIME_LENGTH = len("2013-05-30 10:12:54:500")
LINE = 1 << 12
"""Bytes of a header line that are read at once."""
RAW = 0.1
"""Share by which the usual step may differ from 1 / rate before it is no raw export."""


def is_csv(path: Path) -> bool:
    """Whether a file begins as these do: with the device's name in its first lines."""
    with opened(path) as file:
        return DEVICE in read_some(file, LINE, path)


def subject_of_csv(path: Path) -> str:
    """The Subject Code of the header, "" if there is none."""
    header, _, _ = _read_header(path)
    return header.get("Subject Code", "")


def read_csv(path: Path, channels: tuple[str, ...]) -> Reading:
    """The channels named of a whole file. Raises SourceError, naming the line."""
    header, skip, delimiter = _read_header(path)
    rate = _rate(header, path)
    take = tuple(CHANNELS.index(name) + 1 for name in channels)
    form = Form(columns=7, delimiter=delimiter, take=take, names=("the time", *CHANNELS))
    notes: list[str] = []
    values, stamps, empty = [], [], 0
    for block in line_blocks(path, Span(0, path_size(path)), notes, skip=skip):
        rows, missing = parse_block(block, form, str(path))
        values.append(rows)
        stamps.append(_stamps(block, path))
        empty += missing
    if not sum(map(len, values)):
        raise SourceError(f"{path} has no whole row after its header; export it again")
    if empty:
        notes.append(f"{empty} empty fields are NaN")
    times = _seconds(np.concatenate(stamps))
    _check_raw(times, rate, path)
    regular = irregular(times, rate)
    odd = time_notes(times, rate) if regular is not None else ()
    return Reading(rate, np.concatenate(values), regular, (*notes, *odd))


def _read_header(path: Path) -> tuple[dict[str, str], int, bytes]:
    """The values of the header by name, how many lines it has, and the delimiter of the rows."""
    header: dict[str, str] = {}
    with opened(path) as file:
        for number in range(HEADER_LINES):
            line = file.readline(LINE)
            match = TIME.match(line)
            if match is not None:
                return header, number, b"\t" if line[match.end() :][:1] == b"\t" else b","
            name, _, value = line.decode("utf-8", "replace").replace("\t", ",").partition(",")
            header.setdefault(name.strip(BLANK), value.strip(BLANK + ","))
    raise SourceError(
        f"{path}: no row that begins with a time such as 2013-05-30 10:12:54:500 within the first"
        f" {HEADER_LINES} lines; is this a raw export of a GENEActiv?"
    )


def _rate(header: dict[str, str], path: Path) -> float:
    text = header.get("Measurement Frequency", "")
    match = re.match(r"[0-9]+(?:\.[0-9]+)?", text)
    if match is None or float(match[0]) <= 0:
        raise SourceError(
            f"{path}: its header says Measurement Frequency,{text[:40]}, expected a number of Hz;"
            " export it again"
        )
    return float(match[0])


def _stamps(block: Block, path: Path) -> np.ndarray:
    """The times (n,) datetime64 of the rows of a block. Raises SourceError naming the line."""
    stamps = []
    for number, line in enumerate(block.data.split(b"\n"), block.line):
        if line.strip():
            if not TIME.match(line):
                raise SourceError(
                    f"{path}, line {number}: begins with {line[:TIME_LENGTH]!r}, expected a time"
                    " such as 2013-05-30 10:12:54:500; mend or delete the line"
                )
            stamps.append(line[:10] + b"T" + line[11:19] + b"." + line[20:TIME_LENGTH])
    try:
        return np.array(stamps, dtype=f"S{TIME_LENGTH}").astype("datetime64[ms]")
    except ValueError as error:
        raise SourceError(
            f"{path}, after line {block.line}: {error}; mend or delete the line"
        ) from None


def _seconds(stamps: np.ndarray) -> np.ndarray:
    """Times (T,) in seconds from the first, of datetime64 in milliseconds."""
    return np.asarray((stamps - stamps[0]).astype(np.float64) / 1000.0)


def _check_raw(times: np.ndarray, rate: float, path: Path) -> None:
    """Refuse an export of epochs: its rows are means, at a rate the header does not state."""
    step = usual_step(times, rate)
    if abs(step * rate - 1) > RAW:
        raise SourceError(
            f"{path}: the usual step is {step:g} s where its header says {rate:g} Hz; export the"
            " raw data, not epochs of it"
        )
