"""GENEActiv wrist accelerometers: the device's own `.bin` file, and the vendor's raw `.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import Entry, Facts, Recording, Recordings
from pipeline.recordings.geneactiv_bin import (
    CHANNELS,
    UNITS,
    is_bin,
    read_bin,
    read_bin_part,
    subject_of_bin,
)
from pipeline.recordings.geneactiv_csv import is_csv, read_csv, subject_of_csv
from pipeline.recordings.listing import Found, check_once, composed, list_files

FACTS = Facts(
    name="geneactiv",
    title="GENEActiv recordings",
    sensors="accelerometer (8 g, 12 bit), light, button and temperature of a wrist-worn device",
    channels=CHANNELS,
    units=UNITS,
    rate=None,
    subjects="the Subject Code of a file, or its name where that is empty",
    labels={},
    dropped=("light, button and temperature, unless they are named as channels",),
    layout="*.bin as read from the device, or *.csv of a raw export, a recording each",
    options=("channels",),
    citation="Activinsights Ltd: GENEActiv Instruction Manual (Decoding .bin files)",
    licence="your own recordings; this is a format and no data set",
    address="https://activinsights.com/technology/geneactiv/",
    unverified=(
        "one real .bin file of 85.7 Hz was read; the .csv follows public code and documents, and"
        " so does light in lux"
    ),
)

DEFAULT = ("x", "y", "z")


def open_geneactiv(path: str | Path, *, channels: Sequence[str] = DEFAULT) -> Recordings:
    """The .bin and .csv files below a folder, a recording each. Raises SourceError.

    channels: of x, y, z, light, button, temperature. Files of other devices are left out and told;
    headers are read, for the subject.
    """
    wanted = tuple(channels)
    unknown = [name for name in wanted if name not in CHANNELS]
    if unknown or not wanted or len(set(wanted)) != len(wanted):
        raise SourceError(f"channels must be some of {', '.join(CHANNELS)}, got {wanted}")
    listing = list_files(path, r"[^/]+\.(bin|csv)")
    kept = [found for found in listing.files if _is_ours(Path(listing.root, found.file))]
    others = sorted({found.file for found in listing.files} - {found.file for found in kept})
    files = [Path(found.file) for found in kept]
    told = [f"{len(others)} files of no GENEActiv left out, such as {others[0]}"] if others else []
    check_once(replace(listing, files=kept), _stem)
    subjects = [_subject(Path(listing.root, found.file)) for found in kept]
    stems = [composed(file.stem) for file in files]
    nameless = [name for name, stem in zip(subjects, stems, strict=True) if name == stem]
    if len(nameless) > 1:
        told.append(
            f"{len(nameless)} files have no Subject Code, so each counts as a person of its own,"
            f" such as {nameless[0]}: two of one person may be trained and tested"
        )
    return Recordings(
        facts=FACTS,
        root=listing.root,
        entries=[
            Entry(subject=subject, file=found.file, bytes=found.bytes)
            for found, subject in zip(kept, subjects, strict=True)
        ],
        read_entry=partial(read_geneactiv, channels=wanted),
        read_rows=partial(read_geneactiv_rows, channels=wanted)
        if all(map(_is_bin, files))
        else None,
        notes=(*listing.notes, *told),
    )


def _stem(found: Found) -> str:
    """A path without its suffix: the export of a .bin beside it is the same recording."""
    return found.file[: -len(".bin")].casefold()


def _is_bin(path: Path) -> bool:
    return path.suffix.lower() == ".bin"


def _is_ours(path: Path) -> bool:
    return is_bin(path) if _is_bin(path) else is_csv(path)


def _subject(path: Path) -> str:
    code = subject_of_bin(path) if _is_bin(path) else subject_of_csv(path)
    return code or composed(path.stem)


def read_geneactiv(root: Path, entry: Entry, *, channels: tuple[str, ...]) -> Recording:
    """One file in g, lux and °C; without labels."""
    path = root / entry.file
    read = (read_bin if _is_bin(path) else read_csv)(path, channels)
    return Recording.of(
        FACTS,
        entry,
        rate=read.rate,
        channels=channels,
        units=tuple(UNITS[CHANNELS.index(name)] for name in channels),
        values=read.values,
        labels=read.labels,
        times=read.times,
        notes=read.notes,
    )


def read_geneactiv_rows(
    root: Path, entry: Entry, start: int, stop: int, *, channels: tuple[str, ...]
) -> np.ndarray:
    """The values (n, C) of the samples start..stop of a `.bin` file."""
    return read_bin_part(root / entry.file, channels, start, stop)
