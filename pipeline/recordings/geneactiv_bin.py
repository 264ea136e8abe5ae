"""The `.bin` file of a GENEActiv in units: whole, or some of its samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import NO_LABEL
from pipeline.recordings.geneactiv_pages import (
    PAGE,
    SAMPLE,
    START,
    Taken,
    marked,
    parse_float,
    read_header,
    read_pages,
    take_page,
)
from pipeline.recordings.labels import constant_labels
from pipeline.recordings.text import MARK, opened, path_size, read_some
from pipeline.recordings.times import irregular, time_notes

CHANNELS = ("x", "y", "z", "light", "button", "temperature")
UNITS = ("g", "g", "g", "lux", "", "°C")

BLOCK = 1024
"""Pages that become numbers at a time: what that takes beside the numbers stays small."""


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


def is_bin(path: Path) -> bool:
    """Whether a file begins as these do."""
    with opened(path) as file:
        return read_some(file, len(MARK + START), path).removeprefix(MARK).startswith(START)


def subject_of_bin(path: Path) -> str:
    """The Subject Code of the header, "" if there is none."""
    with opened(path) as file:
        return read_header(file, path)[0].get("Subject Code", "")


def read_bin(path: Path, channels: tuple[str, ...]) -> Reading:
    """The channels named of a whole file. Raises SourceError for a header that cannot be used.

    A last page that is cut short is kept as far as it goes; any other page with a wrong number of
    digits is NaN, since a lost digit moves all that follow. Both are told in the notes.
    """
    with opened(path) as file:
        header, line = read_header(file, path)
        calibration = _calibration(header, path)
        rate = _number(header, "Measurement Frequency", path)
        pages = [take_page(page, last, rate, path) for page, last in marked(read_pages(file, line))]
    if not sum(map(len, pages)):
        raise SourceError(f"{path} has no whole sample after its header; copy it again")
    times = None if _is_regular(pages, rate) else irregular(_times(pages, rate), rate)
    notes = (*_page_notes(pages, header), *(() if times is None else time_notes(times, rate)))
    return Reading(rate, _values(pages, channels, calibration), times, notes)


def read_bin_part(path: Path, channels: tuple[str, ...], start: int, stop: int) -> np.ndarray:
    """The values (n, C) of samples start..stop of `read_bin`; only their pages are parsed."""
    starts = _page_starts(path, path_size(path), path.stat().st_mtime_ns)
    first, end = start // PAGE, min(-(-stop // PAGE), len(starts))
    with opened(path) as file:
        header, line = read_header(file, path)
        file.seek(starts[first])
        rate = _number(header, "Measurement Frequency", path)
        pages = [
            take_page(page, first + k == len(starts) - 1, rate, path)
            for k, page in enumerate(islice(read_pages(file, line), end - first))
        ]
    values = _values(pages, channels, _calibration(header, path))
    return values[start - first * PAGE : stop - first * PAGE]


@lru_cache(maxsize=8)
def _page_starts(path: Path, size: int, changed: int) -> Sequence[int]:
    """The byte at which each page starts; pages differ in length by digits of their headers.

    size, changed: of the file, so that another file at this place is looked at again.
    """
    with opened(path) as file:
        _, line = read_header(file, path)
        return [page.start for page in read_pages(file, line)]


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
    stated = parse_float(header.get("Number of Pages", ""))
    if not math.isnan(stated) and stated != len(pages):
        yield f"the header counts {stated:.0f} pages, {len(pages)} are here"


def _is_regular(pages: list[Taken], rate: float) -> bool:
    """Whether each page starts within half a sample of where the first page says; False for NaN."""
    seconds = np.array([page.seconds for page in pages])
    before = np.cumsum([0, *map(len, pages[:-1])])  # samples
    return bool((np.abs(seconds - seconds[0] - before / rate) < 0.5 / rate).all())


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
    values = np.empty((sum(map(len, pages)), len(channels)))
    at = 0
    for k in range(0, len(pages), BLOCK):
        block = pages[k : k + BLOCK]
        part = values[at : at + sum(map(len, block))]
        _fill(part, block, channels, calibration)
        at += len(part)
    return values


def _fill(
    values: np.ndarray, pages: list[Taken], channels: tuple[str, ...], calibration: Calibration
) -> None:
    """Write the values (T, C) of some pages."""
    raw = np.frombuffer(b"".join(page.raw for page in pages), np.uint8).reshape(-1, SAMPLE)
    for column, name in enumerate(channels):
        if name == "temperature":
            values[:, column] = _each(pages, np.array([page.temperature for page in pages]))
        else:
            values[:, column] = _channel(raw, name, calibration)
    values[_each(pages, np.array([page.damaged > 0 for page in pages]))] = np.nan


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
