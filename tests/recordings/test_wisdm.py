"""WISDM: exact rows, the faults its files are known for, and faults that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pi_cache.errors import SourceError
from pipeline.recordings import Recording, open_recordings
from pipeline.recordings import text as text_module
from tests.recordings import made

GOOD = "33,Jogging,49105962326000,-0.6946377,12.680544,0.50395286;\n"


def read(folder: Path, text: str) -> Recording:
    made.write_wisdm(folder, text)
    return open_recordings("wisdm", folder).read(0)


@pytest.mark.parametrize("block", [70, 1 << 20])
def test_each_subject_is_a_recording_wherever_its_rows_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(text_module, "BLOCK", block)
    first, one = made.wisdm_rows(33, ["Jogging", "Jogging", "Walking"])
    other, two = made.wisdm_rows(5, ["Sitting"] * 4, seed=1)
    again, three = made.wisdm_rows(33, ["Upstairs"] * 2, seed=2)
    made.write_wisdm(tmp_path, first + other + again)
    recordings = open_recordings("wisdm", tmp_path)
    assert recordings.subjects == ("33", "5")
    assert sum(entry.bytes for entry in recordings.entries) == len(first + other + again)
    mine, theirs = recordings
    np.testing.assert_array_equal(mine.values, np.concatenate([one, three]))
    np.testing.assert_array_equal(theirs.values, two)
    assert mine.labels.tolist() == [1, 1, 0, 2, 2]
    np.testing.assert_allclose(theirs.times, [0, 0.05, 0.1, 0.15], atol=1e-9)
    assert mine.notes == ("1 times do not come after the one before",)


FAULTS = {
    "two rows on a line": (GOOD[:-1] + GOOD, 2, "1 rows stood on one line with another"),
    "a comma at the end": (GOOD.replace(";", ",;"), 1, ""),
    "semicolons": (";;" + GOOD + ";\n;;\n", 1, ""),
    "an empty number": (GOOD.replace("0.50395286", ""), 1, "1 empty fields are NaN"),
    "spaces": (GOOD.replace(",", " , "), 1, ""),
    "line ends of Windows": (GOOD.replace("\n", "\r\n") * 2, 2, ""),
    "blank lines": (f"\n{GOOD}\n\n{GOOD}", 2, ""),
    "no time": (GOOD.replace("49105962326000", "0") + GOOD, 2, "1 times of 0 are not known"),
    "no line end": (GOOD + GOOD[:-1], 2, ""),
    "no end": (GOOD + GOOD[:-3], 1, ""),
}


@pytest.mark.parametrize("name", FAULTS)
def test_known_faults_are_repaired_and_told(tmp_path: Path, name: str) -> None:
    text, rows, note = FAULTS[name]
    recording = read(tmp_path, text)
    assert len(recording) == rows
    assert note in recording.notes or not note
    row = recording.values[-1]
    assert row[:2].tolist() == [-0.6946377, 12.680544]
    assert np.isnan(row[2]) if "number" in name else row[2] == 0.50395286
    assert set(recording.labels.tolist()) == {1}


BAD = {
    "few fields": ("33,Jogging,4910,1.0\n", "has 4 fields, expected 6"),
    "many fields": ("33,Jogging,4910,1,2,3,4;\n", "has 7 fields, expected 6"),
    "activity": (GOOD.replace("Jog", "Hik"), "the activity is 'Hikging', expected one of"),
    "number": (GOOD.replace("12.6", "12.6.1"), "y is '12.6.180544', expected a number or NaN"),
    "infinite": (GOOD.replace("12.6", "inf"), "y is 'inf80544'"),
    "subject": (GOOD[:-1] + GOOD.replace("33", "x3"), "the subject is 'x3', expected '33'"),
    "binary": ("33,\x01\x02\x7f;\n", "has 2 fields"),
}


@pytest.mark.parametrize("name", BAD)
def test_rows_that_cannot_be_read_are_left_out_and_told_or_refused(
    tmp_path: Path, name: str
) -> None:
    line, problem = BAD[name]
    recording = read(tmp_path, GOOD * 200 + line + GOOD * 3)
    assert len(recording) == 203 + (name == "subject")
    (note,) = [text for text in recording.notes if "left out" in text]
    assert note.startswith(f"1 rows left out, the first in line 201: {problem}")
    with pytest.raises(SourceError, match=r"1 of [567] rows cannot be read; the first, line 3: "):
        read(tmp_path, GOOD * 2 + line + GOOD * 3)


def test_a_file_without_subjects_is_refused(tmp_path: Path) -> None:
    made.write_wisdm(tmp_path, "no rows here\n")
    with pytest.raises(SourceError, match="no line begins with the number of a subject"):
        open_recordings("wisdm", tmp_path)


def test_a_cut_last_line_is_told_with_the_listing(tmp_path: Path) -> None:
    made.write_wisdm(tmp_path, GOOD + GOOD[:-3])
    assert open_recordings("wisdm", tmp_path).notes == (
        "the last line has no end and may be cut short: left out",
    )


def test_the_set_of_2019_has_a_file_for_each_sensor(tmp_path: Path) -> None:
    written = {}
    for device in ("phone", "watch"):
        for sensor in ("accel", "gyro"):
            text, values = made.wisdm_rows(1600, ["A", "S", "O"], seed=len(written))
            name = f"raw/{device}/{sensor}/data_1600_{sensor}_{device}.txt"
            made.write(tmp_path / name, text)
            written[name] = values
    recordings = open_recordings("wisdm-2019", tmp_path)
    assert sorted(entry.file for entry in recordings.entries) == sorted(written)
    for recording in recordings:
        np.testing.assert_array_equal(recording.values, written[recording.file])
        assert [recordings.facts.labels[code] for code in recording.labels] == [
            "walking", "folding clothes", "playing catch with a tennis ball",
        ]  # fmt: skip
        assert recording.times is not None
    (watch,) = open_recordings("wisdm-2019", tmp_path, device="watch", sensor="gyro")
    assert watch.channels == ("watch_gyro_x", "watch_gyro_y", "watch_gyro_z")
    assert watch.units == ("rad/s",) * 3
    with pytest.raises(SourceError, match="device must be one of phone, watch, got 'clock'"):
        open_recordings("wisdm-2019", tmp_path, device="clock")


def test_a_file_of_another_subject_is_refused(tmp_path: Path) -> None:
    text, _ = made.wisdm_rows(1601, ["A"] * 3)
    made.write(tmp_path / "data_1600_accel_phone.txt", text)
    with pytest.raises(SourceError, match="line 1: the subject is '1601', expected '1600'"):
        open_recordings("wisdm-2019", tmp_path).read(0)


def test_another_rate_is_told(tmp_path: Path) -> None:
    text, _ = made.wisdm_rows(1600, ["A"] * 100)
    made.write(tmp_path / "data_1600_accel_phone.txt", text.replace(",49", ",4"))
    (recording,) = open_recordings("wisdm-2019", tmp_path)
    assert recording.notes == ()
    lines = text.splitlines(keepends=True)[::2]
    made.write(tmp_path / "data_1600_accel_phone.txt", "".join(lines))
    (recording,) = open_recordings("wisdm-2019", tmp_path)
    assert recording.notes[-1] == "the usual step is 0.1 s where 20 Hz is stated"
