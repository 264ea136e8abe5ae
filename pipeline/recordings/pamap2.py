"""PAMAP2: three inertial units and a heart rate monitor on nine people, 18 activities.

The reader gives all 52 columns as they were recorded. The preparation of "Topological Knowledge
Distillation for Wearable Sensor Data" up to the cutting of windows stands below it as functions of
arrays, in the order in which they are applied; `prepare` applies them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import NO_LABEL, Entry, Facts, Recording, Recordings
from pipeline.recordings.labels import parse_codes
from pipeline.recordings.listing import Found, check_once, list_files
from pipeline.recordings.text import Form, read_numbers
from pipeline.recordings.times import time_notes

PLACES = ("hand", "chest", "ankle")
QUANTITIES = {
    "temperature": "°C",
    "acc16_x": "m/s^2", "acc16_y": "m/s^2", "acc16_z": "m/s^2",
    "acc6_x": "m/s^2", "acc6_y": "m/s^2", "acc6_z": "m/s^2",
    "gyro_x": "rad/s", "gyro_y": "rad/s", "gyro_z": "rad/s",
    "mag_x": "uT", "mag_y": "uT", "mag_z": "uT",
    "orientation_0": "", "orientation_1": "", "orientation_2": "", "orientation_3": "",
}  # fmt: skip
CHANNELS = ("heart_rate", *(f"{place}_{name}" for place in PLACES for name in QUANTITIES))
UNITS = ("bpm", *(unit for _ in PLACES for unit in QUANTITIES.values()))

FACTS = Facts(
    name="pamap2",
    title="PAMAP2 Physical Activity Monitoring",
    sensors=(
        "3 Colibri inertial units (wrist of the dominant arm, chest, ankle of the dominant side),"
        " each with 2 accelerometers (16 g, 6 g), gyroscope, magnetometer, temperature;"
        " heart rate monitor of about 9 Hz"
    ),
    channels=CHANNELS,
    units=UNITS,
    rate=100.0,
    subjects="9: 101 to 109",
    labels={
        0: "other (transient activities)",
        1: "lying",
        2: "sitting",
        3: "standing",
        4: "walking",
        5: "running",
        6: "cycling",
        7: "Nordic walking",
        9: "watching TV",
        10: "computer work",
        11: "car driving",
        12: "ascending stairs",
        13: "descending stairs",
        16: "vacuum cleaning",
        17: "ironing",
        18: "folding laundry",
        19: "house cleaning",
        20: "playing soccer",
        24: "rope jumping",
    },
    classes=(24, 1, 2, 3, 4, 5, 6, 7, 12, 13, 16, 17),
    dropped=(
        "rows labelled 0 (transient: between activities, to be discarded as its authors say)",
        "rows labelled 9, 10, 11, 18, 19, 20 (optional activities of a few subjects) and 8 (no"
        " activity has this code)",
        "the 12 orientation channels (its authors: invalid in this data collection)",
        "files of the folder Optional (the published preparation reads Protocol only)",
    ),
    layout="Protocol/subject101.dat ... subject109.dat, lines of 54 numbers",
    published=(
        "rows after cleaning by subject, at 33.3 Hz: 83,319 87,783 58,113 77,141 90,814 83,366"
        " 77,592 87,368 2,131",
        "windows of 100 samples, step 22, by subject: 3,726 3,925 2,592 3,447 4,065 3,728 3,465"
        " 3,909 92, in all 28,949",
        "windows of subject 101 by class: 191 407 352 325 333 318 352 302 233 217 343 353",
    ),
    citation=(
        "A. Reiss, D. Stricker: Introducing a New Benchmarked Dataset for Activity Monitoring."
        " ISWC 2012; preparation: E. S. Jeon et al.: Topological Knowledge Distillation for"
        " Wearable Sensor Data. Asilomar 2022"
    ),
    licence="CC BY 4.0",
    address="https://archive.ics.uci.edu/dataset/231, doi:10.24432/C5NW2H",
    unverified="no real file was read; form and preparation follow its documents and public code",
)

FORM = Form(columns=54)


def open_pamap2(path: str | Path) -> Recordings:
    """The protocol files below a folder, a recording each. Raises SourceError."""
    listing = list_files(path, r"subject(10[1-9])\.dat")
    kept = [found for found in listing.files if not _optional(found)]
    left_out = len(listing.files) - len(kept)
    notes = (f"{left_out} files of the folder Optional left out",) if left_out else ()
    check_once(replace(listing, files=kept), lambda found: found.groups)
    return Recordings(
        facts=FACTS,
        root=listing.root,
        entries=[
            Entry(subject=found.groups[0], file=found.file, bytes=found.bytes) for found in kept
        ],
        read_entry=read_pamap2,
        notes=(*listing.notes, *notes),
    )


def _optional(found: Found) -> bool:
    return PurePosixPath(found.file).parent.name.lower() == "optional"


def read_pamap2(root: Path, entry: Entry) -> Recording:
    """All rows and columns of one file; the labels are the data set's own codes."""
    path = root / entry.file
    numbers = read_numbers(path, FORM)
    rows = numbers.rows  # (T, 54): time, code, 52 values
    times = np.ascontiguousarray(rows[:, 0])
    return Recording.of(
        FACTS,
        entry,
        values=rows[:, 2:],
        labels=parse_codes(rows[:, 1], FACTS, path),
        times=times,
        notes=(*numbers.notes, *time_notes(times, 100.0)),
    )


# The published preparation, in its order. Shapes: T rows at 100 Hz, K kept ones.

CUT_COLUMNS = tuple(k for k, name in enumerate(CHANNELS) if "orientation" in name)
KEPT_CHANNELS = tuple(np.delete(CHANNELS, CUT_COLUMNS).tolist())
KEPT_UNITS = tuple(np.delete(UNITS, CUT_COLUMNS).tolist())

HIGHEST = (
    202.0, 35.5, 47.6314, 155.532, 157.76, 45.5484, 62.2598, 61.728, 21.8452, 13.1222, 14.2184,
    137.544, 109.181, 100.543, 38.5625, 26.386, 153.582, 37.2936, 23.9101, 61.9328, 36.9676,
    15.5171, 5.97964, 2.94183, 80.4739, 39.7391, 95.8415, 35.4375, 157.232, 157.293, 150.99,
    61.9509, 62.0461, 60.9357, 17.4204, 13.5882, 13.9617, 91.4247, 92.867, 146.651,
)  # fmt: skip
LOWEST = (
    0.0, 0.0, -114.755, -104.301, -73.0384, -61.1938, -61.8086, -61.4193, -27.8044, -17.8495,
    -14.2647, -103.941, -200.043, -163.608, 0.0, -29.0888, -38.1657, -57.2366, -32.9627, -39.7561,
    -56.0108, -10.1563, -5.06858, -3.99487, -70.0627, -122.48, -66.6847, 0.0, -155.068, -155.617,
    -156.179, -60.3067, -61.9064, -62.2629, -14.162, -13.0401, -14.0196, -172.865, -137.908,
    -102.232,
)  # fmt: skip
"""The published constants of the 40 channels, in the order of KEPT_CHANNELS."""

ABOVE = 0.99
"""What the published scaling puts in place of values over 1; those under 0 become 0."""

THIN = 3
"""Every third row is kept: 100 Hz become 33.3 Hz."""


def kept_rows(labels: np.ndarray) -> np.ndarray:
    """Which rows (T,) bool have a code of the 12 classes."""
    return np.isin(labels, FACTS.classes)


def class_numbers(codes: np.ndarray) -> np.ndarray:
    """Classes 0 to 11 (K,) int64 of the codes 24, 1 to 7, 12, 13, 16, 17; -1 for any other."""
    numbers = np.full(codes.shape, NO_LABEL, np.int64)
    for number, code in enumerate(FACTS.classes):
        numbers[codes == code] = number
    return numbers


def without_orientation(values: np.ndarray) -> np.ndarray:
    """The 40 channels (K, 40) of all 52 (K, 52)."""
    return np.delete(values, CUT_COLUMNS, axis=1)


def filled(values: np.ndarray) -> np.ndarray:
    """Values (K, 40) without NaN: the heart rate holds its last value, all else becomes 0.

    Before its first value the heart rate is 0 too, as published. Rows must have been dropped
    before: what was measured in a dropped row is not carried on.
    """
    done = values.copy()
    rows = np.arange(len(done))
    last = np.maximum.accumulate(np.where(np.isnan(done[:, 0]), 0, rows))  # (K,)
    done[:, 0] = done[last, 0]
    done[np.isnan(done)] = 0.0
    return done


def scaled(values: np.ndarray) -> np.ndarray:
    """Values (K, 40) without units: 0 at the published minimum, 1 at the maximum of a channel.

    Values above 1 become 0.99 and those below 0 become 0, as published.
    """
    lowest, highest = np.array(LOWEST), np.array(HIGHEST)
    done = (values - lowest) / (highest - lowest)
    done[done > 1] = ABOVE
    done[done < 0] = 0.0
    return np.asarray(done)


def thinned(rows: np.ndarray) -> np.ndarray:
    """Every third row, from the first on, of (K,) or (K, C)."""
    return rows[::THIN]


def prepare(recording: Recording, *, scale: bool = True) -> Recording:
    """The published preparation up to the cutting of windows, of a whole protocol file.

    The result has 40 channels at 33.3 Hz, class numbers for labels, and the times of its rows:
    where rows were dropped they jump, and the published windows are cut across such jumps.
    scale: whether to apply the published constants. Raises SourceError where no row is kept.
    """
    keep = kept_rows(recording.labels)
    where = f"{recording.dataset}, {recording.file}"
    if recording.channels != CHANNELS:
        raise SourceError(f"{where}: is prepared already, expected the 52 channels of the file")
    if not keep.any():
        raise SourceError(f"{where}: no row has a label of the 12 classes; leave this file out")
    values = filled(without_orientation(recording.values[keep]))
    values = thinned(scaled(values) if scale else values)
    times = None if recording.times is None else thinned(recording.times[keep])
    silent = bool(np.isnan(recording.values[keep, 0]).all())
    return replace(
        recording,
        rate=recording.rate / THIN,
        channels=KEPT_CHANNELS,
        units=("",) * len(KEPT_UNITS) if scale else KEPT_UNITS,
        values=np.ascontiguousarray(values),
        labels=np.ascontiguousarray(thinned(class_numbers(recording.labels[keep]))),
        times=None if times is None else np.ascontiguousarray(times),
        notes=(*recording.notes, "no heart rate at all: it is 0") if silent else recording.notes,
    )
