"""USC-HAD: one inertial unit at the hip of 14 people, 12 activities, a MATLAB file a trial."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import Entry, Facts, Recording, Recordings
from pipeline.recordings.labels import constant_labels
from pipeline.recordings.listing import check_once, list_files
from pipeline.recordings.text import opened, read_some

RATE = 100.0
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
UNITS = ("g", "g", "g", "deg/s", "deg/s", "deg/s")

FACTS = Facts(
    name="usc-had",
    title="USC-HAD: USC Human Activity Dataset",
    sensors="MotionNode at the front right hip: accelerometer (6 g), gyroscope (500 deg/s)",
    channels=CHANNELS,
    units=UNITS,
    rate=RATE,
    subjects="14: 1 to 14",
    labels={
        1: "walking forward",
        2: "walking left",
        3: "walking right",
        4: "walking upstairs",
        5: "walking downstairs",
        6: "running forward",
        7: "jumping up",
        8: "sitting",
        9: "standing",
        10: "sleeping",
        11: "elevator up",
        12: "elevator down",
    },
    classes=tuple(range(1, 13)),
    dropped=("all fields of a file but sensor_readings: its name tells subject and activity",),
    layout="Subject1/a1t1.mat ... Subject14/a12t5.mat: activity, trial",
    citation=(
        "M. Zhang, A. A. Sawchuk: USC-HAD: A Daily Activity Dataset for Ubiquitous Activity"
        " Recognition Using Wearable Sensors. SAGAware at UbiComp 2012"
    ),
    licence="stated at its address; made for research, its authors ask to be cited",
    address="https://sipi.usc.edu/had/",
    unverified="no real file was read; fields and units follow its Readme",
)

LARGEST = 1 << 28
"""Bytes of a file; those of the data set have some 100 kB."""


def open_uschad(path: str | Path) -> Recordings:
    """The trials below a folder, a recording each, labelled by file name. Raises SourceError."""
    listing = list_files(path, r"Subject([0-9]+)/a([0-9]+)t([0-9]+)\.mat")
    check_once(listing, lambda found: tuple(map(int, found.groups)))
    for found in listing.files:
        if int(found.groups[1]) not in FACTS.labels:
            raise SourceError(
                f"{listing.root}/{found.file}: {found.groups[1]} is no activity of USC-HAD,"
                " expected a1 to a12; move the file away"
            )
    return Recordings(
        facts=FACTS,
        root=listing.root,
        entries=[
            Entry(subject=str(int(found.groups[0])), file=found.file, bytes=found.bytes)
            for found in listing.files
        ],
        read_entry=read_uschad,
        notes=listing.notes,
    )


def read_uschad(root: Path, entry: Entry) -> Recording:
    """One trial."""
    values = _readings(root / entry.file)
    activity = int(entry.file.rpartition("/")[2].lower().partition("t")[0].removeprefix("a"))
    return Recording.of(
        FACTS,
        entry,
        values=values,
        labels=constant_labels(activity, len(values)),
    )


def _readings(path: Path) -> np.ndarray:
    """The array sensor_readings (T, 6) float64. Nothing else of the file is looked at."""
    from pipeline.legacy.matlab import read_mat  # slow to import: only who reads a file waits

    with opened(path) as file:
        data = read_some(file, LARGEST + 1, path)
    if len(data) > LARGEST:
        raise SourceError(f"{path} is larger than {LARGEST} bytes, expected one trial of USC-HAD")
    try:
        array = read_mat(data, "sensor_readings", str(path))
    except SourceError as error:
        reason = str(error).partition("; name it")[0]
        raise SourceError(f"{reason}; expected a trial of USC-HAD, download it again") from error
    if array.ndim != 2 or array.shape[1] != len(CHANNELS) or not len(array):
        raise SourceError(
            f"{path}: sensor_readings has the shape {array.shape}, expected (samples, 6);"
            " download it again"
        )
    values = array.astype(np.float64)
    if np.isinf(values).any():
        row = int(np.argwhere(np.isinf(values))[0][0])
        raise SourceError(
            f"{path}: sensor_readings has an infinite value at sample {row}; download it again"
        )
    return values
