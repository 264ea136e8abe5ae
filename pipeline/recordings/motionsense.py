"""MotionSense: the sensors of a phone in the front pocket of 24 people, 6 activities."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from pi_cache.errors import SourceError
from pipeline.recordings.base import Entry, Facts, Recording, Recordings
from pipeline.recordings.labels import constant_labels
from pipeline.recordings.listing import Found, check_once, list_files
from pipeline.recordings.text import Form, first_line, read_numbers

RATE = 50.0
AXES = ("x", "y", "z")
MOTION = (
    "attitude.roll", "attitude.pitch", "attitude.yaw",
    "gravity.x", "gravity.y", "gravity.z",
    "rotationRate.x", "rotationRate.y", "rotationRate.z",
    "userAcceleration.x", "userAcceleration.y", "userAcceleration.z",
)  # fmt: skip
MOTION_UNITS = ("rad",) * 3 + ("g",) * 3 + ("rad/s",) * 3 + ("g",) * 3
SENSORS = {
    "motion": ("A", MOTION, MOTION, MOTION_UNITS),
    "accelerometer": ("B", AXES, ("acc_x", "acc_y", "acc_z"), ("g",) * 3),
    "gyroscope": ("C", AXES, ("gyro_x", "gyro_y", "gyro_z"), ("rad/s",) * 3),
}
"""First letter of the folder, columns of its files, channels and units, by sensor."""

WRITTEN = {"dws": 0, "ups": 1, "wlk": 2, "jog": 3, "std": 4, "sit": 5}

FACTS = Facts(
    name="motionsense",
    title="MotionSense",
    sensors=(
        "iPhone 6s in the front pocket of the trousers: attitude, gravity, rotation rate and"
        " acceleration without gravity, of Core Motion; or its accelerometer or gyroscope alone"
    ),
    channels=MOTION,
    units=MOTION_UNITS,
    rate=RATE,
    subjects="24: 1 to 24",
    labels=dict(enumerate(("downstairs", "upstairs", "walking", "jogging", "standing", "sitting"))),
    written=WRITTEN,
    classes=tuple(range(6)),
    dropped=("the first column of a file, which counts its rows",),
    layout="A_DeviceMotion_data/dws_1/sub_1.csv ... wlk_15/sub_24.csv: activity_trial/subject",
    options=("sensor",),
    published=("1,412,865 rows of device motion; trials 1 to 9 are long, 11 to 16 short",),
    citation=(
        "M. Malekzadeh, R. G. Clegg, A. Cavallaro, H. Haddadi: Mobile Sensor Data Anonymization."
        " IoTDI 2019"
    ),
    licence="MIT, as its repository states",
    address="https://github.com/mmalekzadeh/motion-sense",
    unverified="no real file was read; columns and folders follow its Readme and public code",
)


def open_motionsense(path: str | Path, *, sensor: str = "motion") -> Recordings:
    """The trials below a folder, a recording each, of one sensor. Raises SourceError.

    sensor: "motion" (12 channels, the folder A_DeviceMotion_data), "accelerometer" (B) or
    "gyroscope" (C). The three were sampled at their own times and are not joined.
    """
    if sensor not in SENSORS:
        raise SourceError(f"sensor must be one of {', '.join(SENSORS)}, got {sensor!r}")
    listing = list_files(path, r"(dws|ups|wlk|jog|std|sit)_([0-9]+)/sub_([0-9]+)\.csv")
    kept = [found for found in listing.files if _sensor(listing.root, found) == sensor]
    others = len(listing.files) - len(kept)
    notes = (f"{others} files of other sensors left out",) if others else ()
    check_once(replace(listing, files=kept), _trial)
    return Recordings(
        facts=FACTS,
        root=listing.root,
        entries=[
            Entry(subject=str(int(found.groups[2])), file=found.file, bytes=found.bytes)
            for found in kept
        ],
        read_entry=partial(read_motionsense, sensor=sensor),
        notes=(*listing.notes, *notes),
    )


def _trial(found: Found) -> tuple[str, int, int]:
    """Activity, trial and subject."""
    activity, trial, subject = found.groups
    return activity.lower(), int(trial), int(subject)


def _sensor(root: str, found: Found) -> str:
    """The sensor of a file by the folder it lies in; motion where no folder tells."""
    folders = f"{root}/{found.file}".upper().split("/")
    for sensor, (letter, *_) in SENSORS.items():
        if any(folder.startswith(f"{letter}_") and folder.endswith("_DATA") for folder in folders):
            return sensor
    return "motion"


def read_motionsense(root: Path, entry: Entry, *, sensor: str) -> Recording:
    """One trial; the folder's name tells its activity."""
    path = root / entry.file
    _, columns, channels, units = SENSORS[sensor]
    _check_header(path, columns)
    form = Form(columns=len(columns) + 1, delimiter=b",", take=tuple(range(1, len(columns) + 1)))
    numbers = read_numbers(path, form, skip=1)
    activity = path.parent.name.lower().partition("_")[0]
    return Recording.of(
        FACTS,
        entry,
        channels=channels,
        units=units,
        values=numbers.rows,
        labels=constant_labels(WRITTEN[activity], len(numbers.rows)),
        notes=numbers.notes,
    )


def _check_header(path: Path, columns: tuple[str, ...]) -> None:
    """Refuse a file whose first line does not name these columns after the counter."""
    names = [name.strip().strip('"') for name in first_line(path).split(",")]
    if tuple(names[1:]) != columns:
        raise SourceError(
            f"{path}, line 1: the columns are {', '.join(names)[:120]!r}, expected a counter and"
            f" {', '.join(columns)}; is this a file of MotionSense?"
        )
