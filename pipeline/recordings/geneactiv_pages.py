"""The pages of a GENEActiv `.bin`: a header of text, then 300 samples each in hexadecimal.

A sample has 12 digits: x, y and z as two's complement of 12 bits each, 10 bits of light, the
button, one bit of nothing. Reference: GENEActiv Instruction Manual, "Decoding .bin files".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from pi_cache.errors import SourceError

PAGE = 300
DIGITS = 12
"""Hexadecimal digits of a sample."""
SAMPLE = DIGITS // 2
"""Bytes of a sample."""
START = b"Device Identity"
RECORDED = b"Recorded Data"
BLANK = "\0\ufeff \t\r\n"
"""What pads the fields of a header; devices write zero bytes where nobody typed anything."""
HEADER_LINES = 200
"""Lines of a header, 59 in known files, before it is given up."""
LINE = 1 << 16
"""Bytes of a line that are read at once; a page of samples has 3,600."""


@dataclass
class Page:
    """A page as it stands: where it starts, the line of its digits, its header, the digits.

    start: the byte of the file after the line `Recorded Data`.
    """

    start: int
    line: int
    header: dict[str, str] = field(default_factory=dict)
    digits: bytes = b""


@dataclass(frozen=True, slots=True)
class Taken:
    """A page that was read: n samples of 6 bytes, time in s, °C, its number, NaN if unknown.

    damaged: the line of digits that cannot be read, 0 for none; then the samples are zeros.
    """

    raw: bytes
    seconds: float
    temperature: float
    number: float
    damaged: int

    def __len__(self) -> int:
        return len(self.raw) // SAMPLE


def read_header(file: BinaryIO, path: Path) -> tuple[dict[str, str], int]:
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


def read_pages(file: BinaryIO, line: int) -> Iterator[Page]:
    """The pages of a file that stands after some `Recorded Data`, in line `line`."""
    at = file.tell()
    page = Page(at, line)
    while text := file.readline(LINE):
        line, at = line + 1, at + len(text)
        text = text.strip()
        if text == RECORDED:
            yield page
            page = Page(at, line)
        elif b":" in text and not page.digits:
            name, _, value = text.decode("utf-8", "replace").partition(":")
            if len(page.header) < HEADER_LINES:
                page.header[name.strip()] = value.strip()
        elif text and len(page.digits) <= PAGE * DIGITS:  # one line more shows that it is damaged
            page.line = page.line if page.digits else line
            page.digits += text
    yield page


def marked(pages: Iterator[Page]) -> Iterator[tuple[Page, bool]]:
    """Each page, and whether it is the last."""
    page = next(pages)
    for later in pages:
        yield page, False
        page = later
    yield page, True


def take_page(page: Page, last: bool, rate: float, path: Path) -> Taken:
    """A page as numbers. Raises SourceError for one measured at another rate than the header's."""
    stated = page.header.get("Measurement Frequency")
    if stated is not None and page.digits and parse_float(stated) != rate:
        raise SourceError(
            f"{path}, line {page.line}: this page was measured at {stated[:40]} Hz, the header"
            f" says {rate:g} Hz; split the file, or copy it from the device again"
        )
    digits = leading_digits(page.digits)
    whole = len(digits) // DIGITS
    full = PAGE * DIGITS
    damaged = len(page.digits) > full or (len(digits) < full and not last)
    return Taken(
        raw=bytes(PAGE * SAMPLE) if damaged else bytes.fromhex(digits[: whole * DIGITS].decode()),
        seconds=_seconds(page.header.get("Page Time", "")),
        temperature=parse_float(page.header.get("Temperature", "")),
        number=parse_float(page.header.get("Sequence Number", "")),
        damaged=page.line if damaged else 0,
    )


def leading_digits(text: bytes) -> bytes:
    """The hexadecimal digits with which a text begins."""
    match = re.match(rb"[0-9A-Fa-f]*", text)
    return match[0] if match else b""


def parse_float(text: str) -> float:
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
