"""The `.bin` file of a GENEActiv: a header of text, then pages of 300 samples in hexadecimal.

A sample has 12 digits: x, y and z as two's complement of 12 bits each, 10 bits of light, the
button, one bit of nothing. Reference: GENEActiv Instruction Manual, "Decoding .bin files".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import NO_LABEL
from pipeline.recordings.labels import constant_labels
from pipeline.recordings.text import MARK, opened, read_some
from pipeline.recordings.times import irregular, time_notes

CHANNELS = ("x", "y", "z", "light", "button", "temperature")
UNITS = ("g", "g", "g", "lux", "", "°C")

PAGE = 300
DIGITS = 12
"""Hexadecimal digits of a sample."""
START = b"Device Identity"
RECORDED = b"Recorded Data"
BLANK = "\0\ufeff \t\r\n"
"""What pads the fields of a header; devices write zero bytes where nobody typed anything."""
HEADER_LINES = 200
"""Lines of a header, 59 in known files, before it is given up."""
LINE = 1 << 16
"""Bytes of a line that are read at once; a page of samples has 3,600."""


@dataclass(frozen=True)
class Reading:
    """What a file of either kind holds; see Recording."""

    rate: float
    values: np.ndarray
    times: np.ndarray | None
    notes: tuple[str, ...]

    @property
    def labels(self) -> np.ndarray:
        """None for any sample."""
        return constant_labels(NO_LABEL, len(self.values))


@dataclass(frozen=True)
class Calibration:
    """How raw values become units, by the header: g = (100 raw - offset) / gain."""

    gain: tuple[float, float, float]
    offset: tuple[float, float, float]
    volts: float
    lux: float


@dataclass
class Page:
    """A page as it stands: the line of its digits, its header, the digits."""

    line: int
    header: dict[str, str] = field(default_factory=dict)
    digits: bytes = b""


@dataclass(frozen=True, slots=True)
class Taken:
    """A page that was read: raw samples (n, 6) bytes, time in s, °C, its number, NaN if unknown.

    damaged: the line of digits that cannot be read, 0 for none; then the samples are zeros.
    """

    raw: np.ndarray
    seconds: float
    temperature: float
    number: float
    damaged: int

    def __len__(self) -> int:
        return len(self.raw)


def is_bin(path: Path) -> bool:
    """Whether a file begins as these do."""
    with opened(path) as file:
        return read_some(file, len(MARK + START), path).removeprefix(MARK).startswith(START)


def subject_of_bin(path: Path) -> str:
    """The Subject Code of the header, "" if there is none."""
    with opened(path) as file:
        return _read_header(file, path)[0].get("Subject Code", "")


def read_bin(path: Path, channels: tuple[str, ...]) -> Reading:
    """The channels named of a whole file. Raises SourceError for a header that cannot be used.

    A last page that is cut short is kept as far as it goes; any other page with a wrong number of
    digits is NaN, since a lost digit moves all that follow. Both are told in the notes.
    """
    with opened(path) as file:
        header, line = _read_header(file, path)
        calibration = _calibration(header, path)
        rate = _number(header, "Measurement Frequency", path)
        pages = [_take(page, last, rate, path) for page, last in _marked(_pages(file, line))]
    if not sum(map(len, pages)):
        raise SourceError(f"{path} has no whole sample after its header; copy it again")
    times = _times(pages, rate)
    regular = irregular(times, rate)
    notes = (*_page_notes(pages, header), *(time_notes(times, rate) if regular is not None else ()))
    return Reading(rate, _values(pages, channels, calibration), regular, notes)


def _read_header(file: BinaryIO, path: Path) -> tuple[dict[str, str], int]:
    """The values of the header by name, and the line on which the first page begins."""
    header: dict[str, str] = {}
    for number in range(1, HEADER_LINES + 1):
        line = file.readline(LINE)
        if not line:
            break
        if line.strip() == RECORDED:
            return header, number
        name, _, value = line.decode("utf-8", "replace").partition(":")
        header.setdefault(name.strip(BLANK), value.strip(BLANK))
    raise SourceError(
        f"{path}: no {RECORDED.decode()!r} follows a header of a GENEActiv;"
        " is this a .bin file of the device?"
    )


def _number(header: Mapping[str, str], name: str, path: Path) -> float:
    """A number of the header, which may be followed by its unit."""
    text = header.get(name, "")
    try:
        number = float(text.split()[0])
    except (IndexError, ValueError):
        number = math.nan
    if not math.isfinite(number) or (number <= 0 and "offset" not in name):
        raise SourceError(
            f"{path}: its header says {name}:{text[:40]}, expected a number; without it no sample"
            " can be given in units: copy the file from the device again"
        )
    return number


def _calibration(header: Mapping[str, str], path: Path) -> Calibration:
    gain = [_number(header, f"{axis} gain", path) for axis in "xyz"]
    offset = [_number(header, f"{axis} offset", path) for axis in "xyz"]
    return Calibration(
        (gain[0], gain[1], gain[2]),
        (offset[0], offset[1], offset[2]),
        _number(header, "Volts", path),
        _number(header, "Lux", path),
    )


def _pages(file: BinaryIO, line: int) -> Iterator[Page]:
    """The pages of a file that stands after the first `Recorded Data`, in line `line`."""
    page = Page(line)
    while text := file.readline(LINE):
        line += 1
        text = text.strip()
        if text == RECORDED:
            yield page
            page = Page(line)
        elif b":" in text and not page.digits:
            name, _, value = text.decode("utf-8", "replace").partition(":")
            if len(page.header) < HEADER_LINES:
                page.header[name.strip()] = value.strip()
        elif text and len(page.digits) <= PAGE * DIGITS:  # one line more shows that it is damaged
            page.line = page.line if page.digits else line
            page.digits += text
    yield page


def _marked(pages: Iterator[Page]) -> Iterator[tuple[Page, bool]]:
    """Each page, and whether it is the last."""
    page = next(pages)
    for later in pages:
        yield page, False
        page = later
    yield page, True


def _take(page: Page, last: bool, rate: float, path: Path) -> Taken:
    """A page as numbers. Raises SourceError for one measured at another rate than the header's."""
    stated = page.header.get("Measurement Frequency")
    if stated is not None and page.digits and _float(stated) != rate:
        raise SourceError(
            f"{path}, line {page.line}: this page was measured at {stated[:40]} Hz, the header"
            f" says {rate:g} Hz; split the file, or copy it from the device again"
        )
    digits = leading_digits(page.digits)
    whole = len(digits) // DIGITS
    full = PAGE * DIGITS
    damaged = len(page.digits) > full or (len(digits) < full and not last)
    return Taken(
        raw=np.zeros((PAGE, DIGITS // 2), np.uint8) if damaged else _bytes(digits, whole),
        seconds=_seconds(page.header.get("Page Time", "")),
        temperature=_float(page.header.get("Temperature", "")),
        number=_float(page.header.get("Sequence Number", "")),
        damaged=page.line if damaged else 0,
    )


def leading_digits(text: bytes) -> bytes:
    """The hexadecimal digits with which a text begins."""
    match = re.match(rb"[0-9A-Fa-f]*", text)
    return match[0] if match else b""


def _bytes(digits: bytes, samples: int) -> np.ndarray:
    """The first samples (n, 6) of hexadecimal digits, as bytes."""
    data = bytes.fromhex(digits[: samples * DIGITS].decode())
    return np.frombuffer(data, np.uint8).reshape(-1, DIGITS // 2)


def _float(text: str) -> float:
    """A finite number, NaN for anything else."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _seconds(text: str) -> float:
    """Seconds since 1970 of a time such as 2013-05-30 10:12:54:500, NaN for anything else."""
    try:
        return datetime.strptime(f"{text} +0000", "%Y-%m-%d %H:%M:%S:%f %z").timestamp()
    except ValueError:
        return math.nan


def _page_notes(pages: list[Taken], header: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the pages, a sentence each."""
    damaged = [page.damaged for page in pages if page.damaged]
    if damaged:
        yield f"{len(damaged)} damaged pages are NaN, the first in line {damaged[0]}"
    if len(pages[-1]) < PAGE:
        yield f"last page cut short: {len(pages[-1])} of {PAGE} samples kept"
    steps = np.diff([page.number for page in pages if not math.isnan(page.number)])
    if (steps > 1).any():
        yield f"{int((steps[steps > 1] - 1).sum())} pages are missing between others"
    if (steps < 1).any():
        yield f"{int((steps < 1).sum())} pages come after a later one, or twice"
    stated = _float(header.get("Number of Pages", ""))
    if not math.isnan(stated) and stated != len(pages):
        yield f"the header counts {stated:.0f} pages, {len(pages)} are here"


def _times(pages: list[Taken], rate: float) -> np.ndarray:
    """Seconds (T,) from the time of the first page that has one; NaN where a page has none."""
    seconds = np.array([page.seconds for page in pages])
    known = seconds[~np.isnan(seconds)]
    within = np.concatenate([np.arange(len(page)) for page in pages]) / rate
    return _each(pages, seconds - (known[0] if len(known) else 0.0)) + within


def _each(pages: list[Taken], by_page: np.ndarray) -> np.ndarray:
    """A value of each page, for each of its samples (T,)."""
    return np.repeat(by_page, [len(page) for page in pages])


def _values(pages: list[Taken], channels: tuple[str, ...], calibration: Calibration) -> np.ndarray:
    """The channels named (T, C) in their units, NaN in damaged pages."""
    raw = np.concatenate([page.raw for page in pages])  # (T, 6)
    values = np.empty((len(raw), len(channels)))
    for column, name in enumerate(channels):
        if name == "temperature":
            values[:, column] = _each(pages, np.array([page.temperature for page in pages]))
        else:
            values[:, column] = _channel(raw, name, calibration)
    values[_each(pages, np.array([page.damaged > 0 for page in pages]))] = np.nan
    return values


def _channel(raw: np.ndarray, name: str, calibration: Calibration) -> np.ndarray:
    """One channel (T,) of raw samples (T, 6) bytes, in its unit."""
    if name == "light":
        level = (raw[:, 4] & 15).astype(np.int64) << 6 | raw[:, 5] >> 2
        return np.asarray(level * calibration.lux / calibration.volts)
    if name == "button":
        return np.asarray((raw[:, 5] >> 1 & 1).astype(np.float64))
    axis = "xyz".index(name)
    count = _twelve_bits(raw, axis)
    return np.asarray((100.0 * count - calibration.offset[axis]) / calibration.gain[axis])


def _twelve_bits(raw: np.ndarray, place: int) -> np.ndarray:
    """The number (T,) at a place of 12 bits, -2048 to 2047."""
    first = 3 * place // 2
    high, low = raw[:, first].astype(np.int64), raw[:, first + 1].astype(np.int64)
    bits = (high & 15) << 8 | low if place % 2 else high << 4 | low >> 4
    return (bits ^ 2048) - 2048
