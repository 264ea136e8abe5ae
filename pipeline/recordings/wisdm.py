"""WISDM: a phone in the trouser pocket (2010), and a phone and a watch together (2019)."""

from __future__ import annotations

from pathlib import Path

from pi_cache.errors import SourceError
from pipeline.recordings.base import Entry, Facts, Recording, Recordings
from pipeline.recordings.listing import check_once, list_files
from pipeline.recordings.records import read_records, subject_spans
from pipeline.recordings.times import time_notes

RATE = 20.0
AXES = ("x", "y", "z")
WORDS = ("Walking", "Jogging", "Upstairs", "Downstairs", "Sitting", "Standing")
ACTIVITIES = {
    "A": "walking", "B": "jogging", "C": "stairs", "D": "sitting", "E": "standing",
    "F": "typing", "G": "brushing teeth", "H": "eating soup", "I": "eating chips",
    "J": "eating pasta", "K": "drinking from a cup", "L": "eating a sandwich",
    "M": "kicking a soccer ball", "O": "playing catch with a tennis ball",
    "P": "dribbling a basketball", "Q": "writing", "R": "clapping", "S": "folding clothes",
}  # fmt: skip
"""The letters of the 2019 set; there is no N."""

CHANNELS = tuple(f"acc_{axis}" for axis in AXES)
DEVICES = ("phone", "watch")
SENSORS = {"accel": "m/s^2", "gyro": "rad/s"}
LISTED = tuple((device, sensor) for device in DEVICES for sensor in SENSORS)

FACTS = Facts(
    name="wisdm",
    title="WISDM Activity Prediction 1.1",
    sensors="accelerometer of an Android phone in the front pocket of the trousers",
    channels=CHANNELS,
    units=("m/s^2",) * 3,
    rate=RATE,
    subjects="36: 1 to 36, all in one file",
    labels={code: word.lower() for code, word in enumerate(WORDS)},
    written={word: code for code, word in enumerate(WORDS)},
    classes=tuple(range(6)),
    dropped=("rows that cannot be read: told in the notes of a recording",),
    layout="WISDM_ar_v1.1_raw.txt, rows subject,activity,time in ns,x,y,z;",
    published=(
        "1,098,207 rows: walking 424,400, jogging 342,177, upstairs 122,869, downstairs 100,427,"
        " sitting 59,939, standing 48,395",
    ),
    citation=(
        "J. R. Kwapisz, G. M. Weiss, S. A. Moore: Activity Recognition using Cell Phone"
        " Accelerometers. SensorKDD 2010"
    ),
    licence="none stated; its authors ask to be cited, and that readme.txt stays with the data",
    address="https://www.cis.fordham.edu/wisdm/dataset.php",
    unverified="no real file was read; the faults that are repaired are those users describe",
)

FACTS_2019 = Facts(
    name="wisdm-2019",
    title="WISDM Smartphone and Smartwatch Activity and Biometrics",
    sensors="accelerometer and gyroscope of a phone in the pocket and of a watch on the wrist",
    channels=tuple(f"{device}_{sensor}_{axis}" for device, sensor in LISTED for axis in AXES),
    units=tuple(SENSORS[sensor] for _, sensor in LISTED for _ in AXES),
    rate=RATE,
    subjects="51: 1600 to 1650",
    labels=dict(enumerate(ACTIVITIES.values())),
    written={letter: code for code, letter in enumerate(ACTIVITIES)},
    classes=tuple(range(len(ACTIVITIES))),
    dropped=(
        "rows that cannot be read: told in the notes of a recording",
        "the folder arff_files, which holds features and no signals",
    ),
    layout="raw/phone|watch/accel|gyro/data_1600_accel_phone.txt ..., rows as in WISDM",
    options=("device", "sensor"),
    published=("15,630,426 rows in all",),
    citation=(
        "G. M. Weiss, K. Yoneda, T. Hayajneh: Smartphone and Smartwatch-Based Biometrics Using"
        " Activities of Daily Living. IEEE Access 7, 2019"
    ),
    licence="CC BY 4.0",
    address="https://archive.ics.uci.edu/dataset/507, doi:10.24432/C5HK59",
    unverified=(
        "no real file was read; times are taken as nanoseconds, as in the rows users show, though"
        " its readme says Unix time"
    ),
)


def open_wisdm(path: str | Path) -> Recordings:
    """The subjects of the raw file below a folder, a recording each. Raises SourceError.

    The file is gone through once, for the subjects and where their rows lie.
    """
    listing = list_files(path, r"WISDM_ar_v1\.1_raw\.txt")
    check_once(listing, lambda found: "the file")
    notes = list(listing.notes)
    entries = [
        Entry(subject=subject, file=found.file, bytes=size, spans=tuple(spans))
        for found in listing.files
        for subject, (size, spans) in subject_spans(Path(listing.root, found.file), notes).items()
    ]
    return Recordings(
        facts=FACTS, root=listing.root, entries=entries, read_entry=read_wisdm, notes=tuple(notes)
    )


def read_wisdm(root: Path, entry: Entry) -> Recording:
    """All rows of one subject in the order of the file; see Recording.notes for repairs."""
    return _recording(FACTS, CHANNELS, "m/s^2", root, entry)


def open_wisdm_2019(
    path: str | Path, *, device: str | None = None, sensor: str | None = None
) -> Recordings:
    """The raw files below a folder, a recording each. Raises SourceError.

    device: "phone" or "watch", both by default. sensor: "accel" or "gyro", both by default. Each
    was sampled at its own times, and nothing is joined.
    """
    for name, given, known in (("device", device, DEVICES), ("sensor", sensor, tuple(SENSORS))):
        if given is not None and given not in known:
            raise SourceError(f"{name} must be one of {', '.join(known)}, got {given!r}")
    listing = list_files(path, r"data_([0-9]+)_(accel|gyro)_(phone|watch)\.txt")
    check_once(listing, lambda found: tuple(map(str.lower, found.groups)))
    entries = [
        Entry(subject=found.groups[0], file=found.file, bytes=found.bytes)
        for found in listing.files
        if sensor in (None, found.groups[1].lower()) and device in (None, found.groups[2].lower())
    ]
    return Recordings(
        facts=FACTS_2019,
        root=listing.root,
        entries=entries,
        read_entry=read_wisdm_2019,
        notes=listing.notes,
    )


def read_wisdm_2019(root: Path, entry: Entry) -> Recording:
    """All rows of one file; its name tells device and sensor."""
    _, _, sensor, device = Path(entry.file).stem.lower().split("_")
    channels = tuple(f"{device}_{sensor}_{axis}" for axis in AXES)
    return _recording(FACTS_2019, channels, SENSORS[sensor], root, entry)


def _recording(
    facts: Facts, channels: tuple[str, ...], unit: str, root: Path, entry: Entry
) -> Recording:
    records = read_records(root / entry.file, entry.subject, facts.written, entry.spans)
    return Recording.of(
        facts,
        entry,
        channels=channels,
        units=(unit,) * len(channels),
        values=records.values,
        labels=records.labels,
        times=records.times,
        notes=(*records.notes, *time_notes(records.times, RATE)),
    )
