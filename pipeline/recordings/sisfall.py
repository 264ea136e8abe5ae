"""SisFall: falls and activities of daily living, with three sensors at the waist."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import Entry, Facts, Recording, Recordings
from pipeline.recordings.labels import constant_labels
from pipeline.recordings.listing import check_once, list_files
from pipeline.recordings.text import Form, line_of, read_numbers

RATE = 200.0
SENSORS = {
    "adxl345": ("g", 16, 13),
    "itg3200": ("deg/s", 2000, 16),
    "mma8451q": ("g", 8, 14),
}
"""Unit, range to either side, and bits of a value, by sensor; each has the axes x, y, z."""

CHANNELS = tuple(f"{sensor}_{axis}" for sensor in SENSORS for axis in "xyz")
UNITS = tuple(unit for unit, _, _ in SENSORS.values() for _ in "xyz")
STEP = np.repeat([2 * span / 2**bits for _, span, bits in SENSORS.values()], 3)
"""Units of one bit (9,)."""
LIMIT = np.repeat([2 ** (bits - 1) for _, _, bits in SENSORS.values()], 3)
"""Bits reach from -LIMIT to LIMIT - 1 (9,)."""

DAILY = (
    "walking slowly", "walking quickly", "jogging slowly", "jogging quickly",
    "walking upstairs and downstairs slowly", "walking upstairs and downstairs quickly",
    "slowly sit in a half height chair, wait, and up slowly",
    "quickly sit in a half height chair, wait, and up quickly",
    "slowly sit in a low height chair, wait, and up slowly",
    "quickly sit in a low height chair, wait, and up quickly",
    "sitting, trying to get up, and collapse into a chair",
    "sitting, lying slowly, wait, and sit again",
    "sitting, lying quickly, wait, and sit again",
    "on one's back, to lateral position, wait, and to one's back",
    "standing, slowly bending at knees, and getting up",
    "standing, slowly bending without bending knees, and getting up",
    "standing, get into a car, remain seated and get out",
    "stumble while walking",
    "gently jump without falling (trying to reach a high object)",
)  # fmt: skip
FALLS = (
    "fall forward while walking caused by a slip",
    "fall backward while walking caused by a slip",
    "lateral fall while walking caused by a slip",
    "fall forward while walking caused by a trip",
    "fall forward while jogging caused by a trip",
    "vertical fall while walking caused by fainting",
    "fall while walking, hands on a table to dampen it, caused by fainting",
    "fall forward when trying to get up",
    "lateral fall when trying to get up",
    "fall forward when trying to sit down",
    "fall backward when trying to sit down",
    "lateral fall when trying to sit down",
    "fall forward while sitting, caused by fainting or falling asleep",
    "fall backward while sitting, caused by fainting or falling asleep",
    "lateral fall while sitting, caused by fainting or falling asleep",
)
WRITTEN = {f"D{k + 1:02d}": k for k in range(len(DAILY))} | {
    f"F{k + 1:02d}": len(DAILY) + k for k in range(len(FALLS))
}

FACTS = Facts(
    name="sisfall",
    title="SisFall: A Fall and Movement Dataset",
    sensors="accelerometers ADXL345 and MMA8451Q, gyroscope ITG3200, in a device at the waist",
    channels=CHANNELS,
    units=UNITS,
    rate=RATE,
    subjects="38: adults SA01 to SA23, elderly people SE01 to SE15",
    labels=dict(enumerate(DAILY + FALLS)),
    written=WRITTEN,
    classes=tuple(range(len(WRITTEN))),
    layout="SA01/D01_SA01_R01.txt ..., lines of 9 whole numbers ended by ;",
    published=("4,510 files",),
    citation=(
        "A. Sucerquia, J. D. Lopez, J. F. Vargas-Bonilla: SisFall: A Fall and Movement Dataset."
        " Sensors 17(1):198, 2017"
    ),
    licence="none stated; cite the paper",
    address="http://sistemic.udea.edu.co/en/research/projects/english-falls/",
    unverified="280 files of 10 adults were read; none of the elderly people",
)

FORM = Form(columns=9, delimiter=b",", ending=b";")


def open_sisfall(path: str | Path) -> Recordings:
    """The trials below a folder, a recording each, labelled by file name. Raises SourceError."""
    listing = list_files(path, r"([DF][0-9]{2})_(S[AE][0-9]{2})_R([0-9]{2})\.txt")
    check_once(listing, lambda found: tuple(group.upper() for group in found.groups))
    for found in listing.files:
        if found.groups[0].upper() not in WRITTEN:
            raise SourceError(
                f"{listing.root}/{found.file}: {found.groups[0]} is no activity of SisFall,"
                " expected D01 to D19 or F01 to F15; move the file away"
            )
    return Recordings(
        facts=FACTS,
        root=listing.root,
        entries=[
            Entry(subject=found.groups[1].upper(), file=found.file, bytes=found.bytes)
            for found in listing.files
        ],
        read_entry=read_sisfall,
        notes=listing.notes,
    )


def read_sisfall(root: Path, entry: Entry) -> Recording:
    """One trial in g and deg/s: bits times 2 range / 2 ** resolution."""
    path = root / entry.file
    numbers = read_numbers(path, FORM)
    _check_bits(numbers.rows, path)
    activity = entry.file.rpartition("/")[2][:3].upper()
    return Recording.of(
        FACTS,
        entry,
        values=numbers.rows * STEP,
        labels=constant_labels(WRITTEN[activity], len(numbers.rows)),
        notes=numbers.notes,
    )


def _check_bits(bits: np.ndarray, path: Path) -> None:
    """Refuse what these sensors cannot have written. NaN, an empty field, is a missing value."""
    with np.errstate(invalid="ignore"):
        wrong = (bits < -LIMIT) | (bits >= LIMIT) | (bits != np.round(bits)) & ~np.isnan(bits)
    if wrong.any():
        row, column = (int(k) for k in np.argwhere(wrong)[0])
        line = line_of(path, row, ending=FORM.ending)
        raise SourceError(
            f"{path}, line {line}: {CHANNELS[column]} is {bits[row, column]:g}, expected a whole"
            f" number from {-LIMIT[column]} to {LIMIT[column] - 1}; mend or delete the line"
        )
