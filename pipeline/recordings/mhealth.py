"""MHEALTH: inertial units and an electrocardiogram on ten people, 12 activities."""

from __future__ import annotations

from pathlib import Path

from pipeline.recordings.base import Entry, Facts, Recording, Recordings
from pipeline.recordings.labels import parse_codes
from pipeline.recordings.listing import check_once, list_files
from pipeline.recordings.text import Form, read_numbers

RATE = 50.0
CHANNELS = (
    "chest_acc_x", "chest_acc_y", "chest_acc_z", "ecg_1", "ecg_2",
    "ankle_acc_x", "ankle_acc_y", "ankle_acc_z",
    "ankle_gyro_x", "ankle_gyro_y", "ankle_gyro_z",
    "ankle_mag_x", "ankle_mag_y", "ankle_mag_z",
    "arm_acc_x", "arm_acc_y", "arm_acc_z",
    "arm_gyro_x", "arm_gyro_y", "arm_gyro_z",
    "arm_mag_x", "arm_mag_y", "arm_mag_z",
)  # fmt: skip
KINDS = {"acc": "m/s^2", "ecg": "mV", "gyro": "deg/s", "mag": "local"}
UNITS = tuple(next(unit for kind, unit in KINDS.items() if kind in name) for name in CHANNELS)

FACTS = Facts(
    name="mhealth",
    title="MHEALTH (Mobile Health)",
    sensors=(
        "3 Shimmer2 units: chest (accelerometer, 2 leads of an electrocardiogram), left ankle and"
        " right lower arm (accelerometer, gyroscope, magnetometer each)"
    ),
    channels=CHANNELS,
    units=UNITS,
    rate=RATE,
    subjects="10: 1 to 10",
    labels={
        0: "none of the activities",
        1: "standing still",
        2: "sitting and relaxing",
        3: "lying down",
        4: "walking",
        5: "climbing stairs",
        6: "waist bends forward",
        7: "frontal elevation of arms",
        8: "knees bending (crouching)",
        9: "cycling",
        10: "jogging",
        11: "running",
        12: "jump front and back",
    },
    classes=tuple(range(1, 13)),
    dropped=("rows labelled 0 (the null class: between activities)",),
    layout="mHealth_subject1.log ... mHealth_subject10.log, lines of 24 numbers",
    citation=(
        "O. Banos et al.: mHealthDroid: a novel framework for agile development of mobile health"
        " applications. IWAAL 2014"
    ),
    licence="CC BY 4.0; its authors ask to be told of publications",
    address="https://archive.ics.uci.edu/dataset/319, doi:10.24432/C5TW22",
    unverified="no real file was read; the columns follow its documents",
)


def open_mhealth(path: str | Path) -> Recordings:
    """The log files below a folder, a recording each. Raises SourceError."""
    listing = list_files(path, r"mHealth_subject([0-9]+)\.log")
    check_once(listing, lambda found: int(found.groups[0]))
    return Recordings(
        facts=FACTS,
        root=listing.root,
        entries=[
            Entry(subject=str(int(found.groups[0])), file=found.file, bytes=found.bytes)
            for found in listing.files
        ],
        read_entry=read_mhealth,
        notes=listing.notes,
    )


def read_mhealth(root: Path, entry: Entry) -> Recording:
    """All rows of one file, those of the null class too."""
    numbers = read_numbers(root / entry.file, Form(columns=24))
    return Recording.of(
        FACTS,
        entry,
        values=numbers.rows[:, :23],
        labels=parse_codes(numbers.rows[:, 23], FACTS, root / entry.file),
        notes=numbers.notes,
    )
