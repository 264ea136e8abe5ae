"""GENEActiv: samples to the bit, calibration, and pages that are cut, damaged or missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pi_cache.errors import SourceError
from pipeline.recordings import Recording, open_recordings
from pipeline.recordings.geneactiv_bin import CHANNELS, read_bin, read_bin_part
from tests.recordings import made
from tests.shared import shared_data

GAIN = np.array([25875, 25734, 25538])
OFFSET = np.array([439, -662, -3056])


def read(folder: Path, text: str, **options: object) -> Recording:
    made.write(folder / "손목.bin", text)
    (recording,) = open_recordings("geneactiv", folder, **options)
    return recording


def acceleration(samples: np.ndarray) -> np.ndarray:
    return (100 * samples[:, :3] - OFFSET) / GAIN


def test_samples_have_the_units_of_the_calibration(tmp_path: Path) -> None:
    samples = made.geneactiv_samples(3)
    recording = read(tmp_path, made.geneactiv_text(samples), channels=CHANNELS)
    assert (recording.subject, recording.file, recording.rate) == ("손목", "손목.bin", 50.0)
    np.testing.assert_array_equal(recording.values[:, :3], acceleration(samples))
    np.testing.assert_array_equal(recording.values[:, 3], samples[:, 3] * 800 / 300)
    np.testing.assert_array_equal(recording.values[:, 4], samples[:, 4])
    assert recording.values[::300, 5].tolist() == [20, 21, 22]
    assert recording.units == ("g", "g", "g", "lux", "", "°C")
    assert set(recording.labels.tolist()) == {-1}
    assert recording.times is None
    assert recording.notes == ()


def test_the_subject_is_the_code_of_the_header(tmp_path: Path) -> None:
    text = made.geneactiv_text(made.geneactiv_samples(1), subject="P 07   \0\0")
    assert read(tmp_path, text).subject == "P 07"
    assert read(tmp_path, text.replace("P 07", "    ")).subject == "손목"


@pytest.mark.parametrize("kept", [0, 1, 11, 12, 13, 2781, 3599, 3600])
def test_a_last_page_that_is_cut_is_kept_as_far_as_it_goes(tmp_path: Path, kept: int) -> None:
    samples = made.geneactiv_samples(2)
    text = made.geneactiv_text(samples).rstrip("\n")
    recording = read(tmp_path, text[: len(text) - 3600 + kept])
    whole = kept // 12
    np.testing.assert_array_equal(recording.values, acceleration(samples[: 300 + whole]))
    told = () if whole == 300 else (f"last page cut short: {whole} of 300 samples kept",)
    assert recording.notes == told


@pytest.mark.parametrize("damage", ["short", "long", "no digit", "two lines"])
def test_a_page_that_is_damaged_is_missing_and_no_other(tmp_path: Path, damage: str) -> None:
    """A lost digit would move all that follow: no number of such a page is believed."""
    samples = made.geneactiv_samples(3)
    text = made.geneactiv_text(samples)
    digits = made.hexadecimal(samples[300:600])
    changed = {
        "short": digits[:100] + digits[101:],
        "long": digits[:100] + "0" + digits[100:],
        "no digit": digits[:100] + "-" + digits[101:],
        "two lines": digits + "\n" + digits,
    }[damage]
    recording = read(tmp_path, text.replace(digits, changed))
    np.testing.assert_array_equal(recording.values[:300], acceleration(samples[:300]))
    np.testing.assert_array_equal(recording.values[600:], acceleration(samples[600:]))
    assert np.isnan(recording.values[300:600]).all()
    first = text[: text.index(digits)].count("\n") + 1
    assert recording.notes[0] == f"1 damaged pages are NaN, the first in line {first}"


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_part_of_a_file_is_that_part_of_the_whole(tmp_path: Path, mark: str) -> None:
    """Over pages, one of them damaged, to the last, which is cut; headers differ in length."""
    samples = made.geneactiv_samples(12)
    text = mark + made.geneactiv_text(samples).rstrip("\n")[:-1300]
    text = text.replace(made.hexadecimal(samples[600:900]), "0123")
    path = made.write(tmp_path / "a.bin", text)
    channels = ("z", "temperature", "x")
    whole = read_bin(path, channels).values
    assert len(whole) == 11 * 300 + 191
    for start, stop in [(0, 1), (0, 300), (299, 301), (450, 950), (3000, 3400), (3300, 9999)]:
        part = read_bin_part(path, channels, start, stop)
        np.testing.assert_array_equal(part, whole[start:stop])
    np.testing.assert_array_equal(read_bin_part(path, channels, 0, 9999), whole)
    path.write_bytes(path.read_bytes().replace(b"Temperature:20\n", b"Temperature:20.25\n", 1))
    changed = read_bin_part(path, channels, 3000, 3300)  # pages lie elsewhere now
    np.testing.assert_array_equal(changed, whole[3000:3300])


def test_missing_pages_leave_a_gap_in_the_times(tmp_path: Path) -> None:
    samples = made.geneactiv_samples(3)
    recording = read(tmp_path, made.geneactiv_text(samples, numbers=[0, 1, 5]))
    np.testing.assert_array_equal(recording.values, acceleration(samples))
    assert recording.times is not None
    assert recording.times[[0, 299, 300, 600]] == pytest.approx([0, 5.98, 6, 30])
    assert recording.notes == (
        "3 pages are missing between others",
        "1 gaps in time, the longest of 18.02 s",
    )
    back = read(tmp_path, made.geneactiv_text(samples, numbers=[0, 1, 1]))
    assert back.notes[0] == "1 pages come after a later one, or twice"


def test_a_page_without_a_time_has_unknown_times(tmp_path: Path) -> None:
    text = made.geneactiv_text(made.geneactiv_samples(2))
    recording = read(tmp_path, text.replace("10:10:06:000", "10:99:06:000"))
    assert recording.times is not None
    assert np.isnan(recording.times[300:]).all()
    assert recording.notes == ("300 times are not known",)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("x gain:25875", "x gain:", "its header says x gain:, expected a number"),
        ("x gain:25875", "x gain:0", "its header says x gain:0, expected a number"),
        ("y offset:-662", "y offset:nan", "its header says y offset:nan"),
        ("Volts:300", "Volts:-1", "its header says Volts:-1"),
        ("Frequency:50.0 Hz", "Frequency:fast", "says Measurement Frequency:fast"),
        ("Frequency:50.0\n", "Frequency:100.0\n", r"line \d+: this page was measured at 100.0 Hz"),
        ("Recorded Data", "", "no 'Recorded Data' follows a header"),
    ],
)
def test_headers_that_give_no_units_are_refused(
    tmp_path: Path, old: str, new: str, match: str
) -> None:
    text = made.geneactiv_text(made.geneactiv_samples(1))
    assert old in text
    with pytest.raises(SourceError, match=match):
        read(tmp_path, text.replace(old, new))


def test_files_without_a_sample_are_refused(tmp_path: Path) -> None:
    text = made.geneactiv_text(made.geneactiv_samples(1))
    with pytest.raises(SourceError, match="has no whole sample after its header"):
        read(tmp_path, text[: text.index("Page Time")])


def test_other_files_are_left_out_and_told(tmp_path: Path) -> None:
    made.write(tmp_path / "a.bin", made.geneactiv_text(made.geneactiv_samples(1)))
    made.write(tmp_path / "b.bin", "MDXA of another device")
    made.write(tmp_path / "notes.csv", "a,b\n1,2\n")
    recordings = open_recordings("geneactiv", tmp_path)
    assert [entry.file for entry in recordings.entries] == ["a.bin"]
    assert recordings.notes == ("2 files of no GENEActiv left out, such as b.bin",)
    made.write(tmp_path / "A.csv", made.geneactiv_csv(np.zeros((3, 3))))
    with pytest.raises(SourceError, match="have the names of one recording"):
        open_recordings("geneactiv", tmp_path)
    with pytest.raises(SourceError, match="channels must be some of x, y, z, light"):
        open_recordings("geneactiv", tmp_path, channels=("x", "w"))


@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_export_is_read_after_its_header(tmp_path: Path, delimiter: str, mark: str) -> None:
    values = made.random().normal(size=(250, 3)).round(4)
    text = mark + made.geneactiv_csv(values).replace(",", delimiter)
    path = made.write(tmp_path / "export.csv", text)
    (recording,) = open_recordings("geneactiv", path)
    np.testing.assert_array_equal(recording.values, values)
    assert (recording.subject, recording.rate, recording.times) == ("S7", 100.0, None)
    (light,) = open_recordings("geneactiv", path, channels=("temperature", "light"))
    assert light.values[8].tolist() == [26.1, 1]


CSV = made.geneactiv_csv(np.zeros((9, 3)))
ROW = "2013-05-30 10:12:54:540,0.0000,0.0000,0.0000,4,0,26.1"
BAD_CSV = {
    "columns": (ROW, ROW + ",1", "line 105: has 8 columns, expected 7"),
    "number": (ROW, ROW.replace("0.0000", "x"), "line 105: x is 'x', expected a number"),
    "time": (ROW, ROW.replace("2013-05-30 ", "30.5.13 "), "line 105: begins with b'30.5.13 10:12"),
    "day": (ROW, ROW.replace("05-30", "15-30"), "after line 101: "),
    "rate": ("100 Hz", "1 Hz", "the usual step is 0.01 s where its header says 1 Hz; export"),
    "no rate": ("100 Hz", "", "its header says Measurement Frequency,, expected a number of Hz"),
    "no rows": (CSV[CSV.index("2013-05-30 10:12:54:500,0") :], "", "no row that begins"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_CSV)
def test_exports_that_are_no_raw_data_are_refused(tmp_path: Path, name: str) -> None:
    old, new, match = BAD_CSV[name]
    assert old in CSV
    path = made.write(tmp_path / "a.csv", CSV.replace(old, new))
    with pytest.raises(SourceError, match=match):
        open_recordings("geneactiv", path).read(0)


def test_a_gap_in_the_export_is_in_its_times(tmp_path: Path) -> None:
    text = made.geneactiv_csv(np.zeros((200, 3))).replace(" 10:12:55", " 10:13:55")
    text = text[: text.index("2013-05-30 10:12:56")]
    (recording,) = open_recordings("geneactiv", made.write(tmp_path / "a.csv", text))
    assert recording.times is not None
    assert recording.times[[0, 49, 50, -1]] == pytest.approx([0, 0.49, 60.5, 61.49])
    assert recording.notes == ("1 gaps in time, the longest of 60.01 s",)


def test_the_real_recording() -> None:
    """16 whole pages and one of 231 samples, each sample against digits read one by one."""
    folder = shared_data("geneactiv")
    (recording,) = open_recordings("geneactiv", folder)
    assert len(recording) == 5031
    assert recording.rate == 85.7
    assert recording.subject == "GENEActiv_testfile"
    size = np.linalg.norm(recording.values, axis=1)
    assert np.median(size) == pytest.approx(1.007, abs=5e-4)
    assert recording.notes[0] == "last page cut short: 231 of 300 samples kept"
    text = (folder / "GENEActiv_testfile.bin").read_text(encoding="latin-1")
    pages = [line for line in text.splitlines() if len(line) > 1000]
    numbers = []
    for page in pages:
        for start in range(0, len(page) - 11, 12):
            raw = [int(page[start + k : start + k + 3], 16) for k in (0, 3, 6)]
            numbers.append([value - 4096 if value > 2047 else value for value in raw])
    np.testing.assert_array_equal(recording.values, acceleration(np.array(numbers)))


def test_files_of_nobody_count_as_people_and_that_is_told(tmp_path: Path) -> None:
    for name, code in (("mon", ""), ("tue", ""), ("wed", "P1")):
        text = made.geneactiv_text(made.geneactiv_samples(1), subject=code)
        made.write(tmp_path / f"{name}.bin", text)
    recordings = open_recordings("geneactiv", tmp_path)
    assert recordings.subjects == ("mon", "tue", "P1")
    (note,) = recordings.notes
    assert note.startswith("2 files have no Subject Code, so each counts as a person of its own")
