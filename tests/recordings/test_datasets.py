"""Each public data set: exact values, labels and units from files of its form."""

from __future__ import annotations

import tarfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from scipy.io import savemat

from pi_cache.errors import SourceError
from pipeline.recordings import open_recordings
from pipeline.recordings.motionsense import MOTION
from tests.recordings import made
from tests.shared import shared_data


def test_uschad_reads_the_trial_and_nothing_else(tmp_path: Path) -> None:
    values = made.write_uschad(tmp_path, subject=10, activity=12, trial=4)
    made.write_uschad(tmp_path, subject=2, activity=1, trial=1)
    recordings = open_recordings("usc-had", tmp_path)
    assert recordings.subjects == ("2", "10")
    recording = recordings.read(1)
    np.testing.assert_array_equal(recording.values, values)
    assert set(recording.labels.tolist()) == {12}
    assert recording.units == ("g", "g", "g", "deg/s", "deg/s", "deg/s")
    alone = open_recordings("usc-had", tmp_path / "Subject10")
    np.testing.assert_array_equal(alone.read(0).values, values)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"other": np.zeros((5, 6))}, r"holds other \w+\[5, 6\], expected an array of"),
        ({"sensor_readings": np.zeros((6, 5))}, r"the shape \(6, 5\), expected \(samples, 6\)"),
        ({"sensor_readings": "text"}, "expected a trial of USC-HAD, download it again"),
        ({"sensor_readings": np.array([[1, 2]], object)}, "expected a trial of USC-HAD"),
        ({"sensor_readings": np.full((3, 6), np.inf)}, "an infinite value at sample 0"),
        ({"sensor_readings": np.zeros((0, 6))}, "USC-HAD|expected"),
    ],
)
def test_uschad_refuses_other_files(tmp_path: Path, fields: dict[str, object], match: str) -> None:
    path = tmp_path / "Subject1" / "a1t1.mat"
    path.parent.mkdir()
    savemat(path, fields)
    with pytest.raises(SourceError, match=match) as caught:
        open_recordings("usc-had", tmp_path).read(0)
    assert str(path) in str(caught.value)
    assert "--key" not in str(caught.value)


def test_uschad_knows_its_activities(tmp_path: Path) -> None:
    made.write_uschad(tmp_path, activity=13)
    with pytest.raises(SourceError, match="13 is no activity of USC-HAD, expected a1 to a12"):
        open_recordings("usc-had", tmp_path)


def test_ucihar_keeps_the_published_windows_of_each_subject(tmp_path: Path) -> None:
    root = tmp_path / "UCI HAR Dataset"
    train = made.write_ucihar(root, "train", [1, 1, 3, 1], [5, 1, 2, 6])
    test = made.write_ucihar(root, "test", [2], [4])
    recordings = open_recordings("uci-har", tmp_path)
    assert [(entry.subject, entry.file) for entry in recordings.entries] == [
        ("2", "UCI HAR Dataset/test/Inertial Signals"),
        ("1", "UCI HAR Dataset/train/Inertial Signals"),
        ("3", "UCI HAR Dataset/train/Inertial Signals"),
    ]
    second, first, third = recordings
    np.testing.assert_array_equal(first.values, train[[0, 1, 3]].reshape(-1, 9))
    np.testing.assert_array_equal(third.values, train[2])
    np.testing.assert_array_equal(second.values, test[0])
    assert first.window == 128
    assert first.labels[::128].tolist() == [5, 1, 6]
    assert first.channels[3:7] == ("body_acc_x", "body_acc_y", "body_acc_z", "body_gyro_x")
    assert first.units[0] == "g"
    assert first.units[8] == "rad/s"


@pytest.mark.parametrize(
    ("file", "change", "match"),
    [
        ("y_train.txt", "1\n", "y_train.txt has 1 lines for the 3 windows"),
        ("y_train.txt", "1\n2\n9\n", "y_train.txt, line 3: the label is 9, expected one of 1, 2"),
        ("subject_train.txt", "1\n1\n1.5\n", "the subjects must be whole numbers"),
        ("subject_train.txt", "1\n1\n1e300\n", "the subjects must be whole numbers"),
        ("subject_train.txt", "1\n" * 4, "y_train.txt has 3 lines for the 4 windows"),
        ("Inertial Signals/body_gyro_z_train.txt", None, "body_gyro_z_train.txt missing"),
        ("Inertial Signals/body_acc_y_train.txt", "1 2 3\n" * 3, "line 1: has 3 columns"),
        ("Inertial Signals/body_acc_y_train.txt", "\n" * 3, "has 0 lines for the 3 windows"),
    ],
)  # fmt: skip
def test_ucihar_files_must_fit_each_other(
    tmp_path: Path, file: str, change: str | None, match: str
) -> None:
    made.write_ucihar(tmp_path, "train", [1, 1, 1], [1, 2, 3])
    path = tmp_path / "train" / file
    path.unlink() if change is None else made.write(path, change)
    with pytest.raises(SourceError, match=match):
        open_recordings("uci-har", tmp_path).read(0)


def test_ucihar_tells_a_cut_signal_by_its_width(tmp_path: Path) -> None:
    windows = made.write_ucihar(tmp_path, "train", [1, 1], [1, 2])
    path = tmp_path / "train" / "Inertial Signals" / "total_acc_x_train.txt"
    text = path.read_text(encoding="utf-8")
    made.write(path, text.rstrip("\n"))
    recordings = open_recordings("uci-har", tmp_path)
    np.testing.assert_array_equal(recordings.read(0).values, windows.reshape(-1, 9))
    made.write(path, text.rstrip("\n")[:-1])
    with pytest.raises(SourceError, match="ends before line 2, or in the middle of it"):
        recordings.read(0)


def test_mhealth_reads_all_columns(tmp_path: Path) -> None:
    rows = made.write_mhealth(tmp_path, [0, 0, 1, 12, 7], subject=10)
    made.write_mhealth(tmp_path, [3], subject=9)
    recordings = open_recordings("mhealth", tmp_path)
    assert recordings.subjects == ("9", "10")
    recording = recordings.read(1)
    np.testing.assert_array_equal(recording.values, rows[:, :23])
    assert recording.labels.tolist() == [0, 0, 1, 12, 7]
    assert recording.rate == 50
    assert dict(zip(recording.channels, recording.units, strict=True))["ecg_2"] == "mV"
    assert recording.units[-1] == "local"
    made.write_mhealth(tmp_path, [3, 13], subject=9)
    with pytest.raises(SourceError, match="line 2: the label is 13"):
        recordings.read(0)


def test_motionsense_reads_one_sensor_of_three(tmp_path: Path) -> None:
    deep = tmp_path / "A_DeviceMotion_data" / "A_DeviceMotion_data"
    values = made.write_motionsense(deep, "jog_9", 24)
    turned = made.write_motionsense(tmp_path / "C_Gyroscope_data", "jog_9", 24, columns="xyz")
    recordings = open_recordings("motionsense", tmp_path)
    assert recordings.notes == ("1 files of other sensors left out",)
    recording = recordings.read(0)
    np.testing.assert_array_equal(recording.values, values)
    assert recording.channels == MOTION
    assert recording.subject == "24"
    assert {recordings.facts.labels[code] for code in recording.labels.tolist()} == {"jogging"}
    gyroscope = open_recordings("motionsense", tmp_path, sensor="gyroscope").read(0)
    np.testing.assert_array_equal(gyroscope.values, turned)
    assert gyroscope.units == ("rad/s",) * 3
    with pytest.raises(SourceError, match="sensor must be one of motion, accelerometer, gyroscope"):
        open_recordings("motionsense", tmp_path, sensor="b")


def test_motionsense_refuses_other_columns(tmp_path: Path) -> None:
    made.write_motionsense(tmp_path, columns=MOTION[::-1])
    with pytest.raises(SourceError, match="line 1: the columns are ', userAcceleration"):
        open_recordings("motionsense", tmp_path).read(0)


def test_sisfall_gives_units_of_bits(tmp_path: Path) -> None:
    bits = made.write_sisfall(tmp_path, "F05_SE06_R02")
    (recording,) = open_recordings("sisfall", tmp_path)
    assert recording.subject == "SE06"
    assert recording.values[0].tolist() == [-16] * 3 + [-2000] * 3 + [-8] * 3
    scale = np.array([32 / 2**13] * 3 + [4000 / 2**16] * 3 + [16 / 2**14] * 3)
    np.testing.assert_array_equal(recording.values, bits * scale)
    assert recording.units == ("g",) * 3 + ("deg/s",) * 3 + ("g",) * 3
    assert set(recording.labels.tolist()) == {23}
    facts = open_recordings("sisfall", tmp_path).facts
    assert facts.labels[23] == "fall forward while jogging caused by a trip"


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("4096,0,0,0,0,0,0,0,0;", r"line 2: adxl345_x is 4096, expected a whole number from -4096"),
        ("0,0,0,0,0,0,0,0,-8193;", r"line 2: mma8451q_z is -8193, .* from -8192 to 8191"),
        ("0,0,0,0.5,0,0,0,0,0;", r"line 2: itg3200_x is 0.5, expected a whole number"),
        ("0,0,0,0,0,0,0,0;", "line 2: has 8 columns, expected 9"),
        ("0,0,0,0,0,0,0,0,0", "line 2: does not end in ';'"),
    ],
)
def test_sisfall_refuses_what_its_sensors_cannot_write(
    tmp_path: Path, line: str, match: str
) -> None:
    good = "1,2,3,4,5,6,7,8,9;\r\n"
    made.write(tmp_path / "D01_SA01_R01.txt", good + line + "\r\n" + good)
    with pytest.raises(SourceError, match=match):
        open_recordings("sisfall", tmp_path).read(0)


def test_sisfall_knows_its_activities(tmp_path: Path) -> None:
    made.write_sisfall(tmp_path, "D20_SA01_R01")
    with pytest.raises(SourceError, match="D20 is no activity of SisFall"):
        open_recordings("sisfall", tmp_path)


def test_the_real_files_of_sisfall(tmp_path: Path) -> None:
    """280 files of 10 adults, as their table says; at rest the two accelerometers show 1 g."""
    archive = shared_data("sisfall") / "sisfall_SA01-SA10.tar.xz"
    with tarfile.open(archive, "r|xz") as members:
        for member in members:
            if member.isfile():
                data = members.extractfile(member)
                assert data is not None
                path = tmp_path / PurePosixPath(member.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data.read())
    recordings = open_recordings("sisfall", tmp_path)
    assert len(recordings) == 280
    assert recordings.subjects == tuple(f"SA{k:02d}" for k in range(1, 11))
    samples, gravity = 0, []
    for recording in recordings:
        samples += len(recording)
        assert recording.notes == ()
        for first in (0, 6):
            size = np.linalg.norm(recording.values[:, first : first + 3], axis=1)
            gravity.append(np.median(size))
    assert samples == 1_659_969
    assert np.median(gravity) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("dataset", ["usc-had", "mhealth", "motionsense"])
def test_one_recording_under_two_spellings_is_refused(tmp_path: Path, dataset: str) -> None:
    """A number with a zero before it is the same number."""
    written = {
        "usc-had": lambda: made.write_uschad(tmp_path, subject=3),
        "mhealth": lambda: made.write_mhealth(tmp_path, [1] * 9, 3),
        "motionsense": lambda: made.write_motionsense(tmp_path, subject=3),
    }
    written[dataset]()
    (path,) = (place for place in tmp_path.rglob("*") if place.is_file())
    copy = tmp_path / "copy" / path.relative_to(tmp_path)
    again = "/".join(part.replace("3", "03", 1) for part in copy.parts[-2:])
    again = again.replace("a03", "a3")
    made.write(copy.parents[1] / again, "")
    with pytest.raises(SourceError, match="have the names of one recording"):
        open_recordings(dataset, tmp_path)
