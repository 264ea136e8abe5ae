"""Recordings, their times and listings; and that what is said of each data set is consistent."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pi_cache.errors import SourceError, UnknownSource
from pipeline.recordings import DATASETS, Recording, open_recordings
from pipeline.recordings.listing import list_files
from pipeline.recordings.times import breaks, irregular, time_notes, usual_step
from tests.recordings import made

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "recordings.md"
NAN = float("nan")


def recording(**changes: object) -> Recording:
    usual = {
        "dataset": "d",
        "subject": "s",
        "file": "f",
        "rate": 50.0,
        "channels": ("x", "y"),
        "units": ("g", "g"),
        "values": np.zeros((4, 2)),
        "labels": np.zeros(4, np.int64),
    }
    return Recording(**(usual | changes))  # type: ignore[arg-type]


def test_a_recording_lasts_as_long_as_its_samples() -> None:
    assert len(recording()) == 4
    assert recording().seconds == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"values": np.zeros((4, 2), np.float32)}, r"\(T, C\) float64 with T > 0, got float32"),
        ({"values": np.zeros((0, 2))}, r"T > 0, got float64\[0, 2\]"),
        ({"units": ("g",)}, "2 columns of values need as many channels and units, got 2 and 1"),
        ({"labels": np.zeros(3, np.int64)}, r"4 samples need as many int64 labels, got \(3,\)"),
        ({"times": np.zeros(5)}, r"as many float64 times, got \(5,\)"),
        ({"rate": 0.0}, "the rate must be above 0 Hz, got 0.0"),
        ({"window": 3}, "4 samples are no whole number of windows of 3"),
    ],
)
def test_a_recording_fits_together(changes: dict[str, object], match: str) -> None:
    with pytest.raises(SourceError, match=f"^d, f: .*{match}"):
        recording(**changes)


def test_breaks_are_where_a_sample_does_not_follow() -> None:
    times = np.array([0, 0.1, 0.2, 0.4, 0.4, 0.3, NAN, 0.5, 0.6])
    assert breaks(times, 10.0).tolist() == [3, 4, 5, 6, 7]
    assert breaks(times[:3], 10.0).tolist() == []
    assert breaks(times, 10.0, longest=2.5).tolist() == [4, 5, 6, 7]


def test_odd_times_are_told() -> None:
    times = np.arange(100) / 10
    assert time_notes(times, 10.0) == ()
    assert time_notes(times, 20.0)[-1] == "the usual step is 0.1 s where 20 Hz is stated"
    times[50:] += 3
    times[60], times[70] = NAN, times[69]
    assert time_notes(times, 10.0) == (
        "1 times are not known",
        "1 times do not come after the one before",
        "3 gaps in time, the longest of 3.1 s",
    )


def test_times_rounded_to_milliseconds_have_no_drift() -> None:
    times = np.round(np.arange(1000) / 85.7, 3)
    assert usual_step(times, 85.7) == pytest.approx(1 / 85.7, rel=0.005)
    assert irregular(times, 85.7) is None
    times[500:] += 0.01
    assert irregular(times, 85.7) is times
    assert usual_step(times[:1], 85.7) == 1 / 85.7


def test_files_are_listed_in_natural_order_and_others_left(tmp_path: Path) -> None:
    root = tmp_path / "한글 폴더"
    for name in (
        "s10.txt",
        "s2.txt",
        "S1.TXT",
        "deep/er/s3.txt",
        ".s4.txt",
        "__MACOSX/s5.txt",
        "t6.txt",
    ):
        made.write(root / name, "x")
    (root / "s7.txt").symlink_to(root / "nowhere")
    os.mkfifo(root / "s8.txt")
    listing = list_files(root, r"s([0-9]+)\.txt")
    assert [found.file for found in listing.files] == [
        "S1.TXT",
        "deep/er/s3.txt",
        "s2.txt",
        "s10.txt",
    ]
    assert [found.groups for found in listing.files] == [("1",), ("3",), ("2",), ("10",)]
    assert listing.notes == ("2 names are no readable files and left out, such as s7.txt",)
    alone = list_files(root / "s2.txt", r"s([0-9]+)\.txt")
    assert [found.file for found in alone.files] == ["s2.txt"]
    assert alone.root == str(root)


def test_folders_that_cannot_be_listed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="absent: no such folder; give the folder"):
        list_files(tmp_path / "absent", "x")
    (tmp_path / "loop").symlink_to(tmp_path)
    with pytest.raises(SourceError, match="folders nest deeper than 16; remove the loop"):
        list_files(tmp_path, "x")


def test_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/s\xff.txt")).write_text("x", encoding="utf-8")
    with pytest.raises(SourceError, match=r"the file name 's\\udcff.txt' is not UTF-8"):
        list_files(tmp_path, r"s.\.txt")


def test_recordings_are_listed_without_reading_and_travel(tmp_path: Path) -> None:
    for subject in (101, 102):
        made.write_pamap2(tmp_path, [1] * 5, subject)
    recordings = open_recordings("pamap2", tmp_path)
    made.write(tmp_path / "Protocol" / "subject101.dat", "broken")
    assert recordings.subjects == ("101", "102")
    assert recordings.bytes == sum(entry.bytes for entry in recordings.entries) > 1000
    assert len(pickle.dumps(recordings)) < 10_000
    second = pickle.loads(pickle.dumps(recordings))[1:]
    assert [read.subject for read in second] == ["102"]
    with pytest.raises(SourceError, match=r"subject101\.dat has no rows"):
        recordings.read(0)


def test_a_copy_beside_the_original_is_refused(tmp_path: Path) -> None:
    """Else one copy could be trained on and the other tested."""
    made.write_pamap2(tmp_path, [1] * 3)
    made.write_pamap2(tmp_path / "copy", [1] * 3)
    with pytest.raises(SourceError, match=r"have the names of one recording; move one copy away"):
        open_recordings("pamap2", tmp_path)


@pytest.mark.parametrize("name", DATASETS)
def test_an_empty_folder_is_told_with_the_layout(tmp_path: Path, name: str) -> None:
    options = {"values": ("x",), "rate": 1.0} if name == "table" else {}
    facts = DATASETS[name].facts
    with pytest.raises(SourceError, match=r"no files found; expected ") as caught:
        open_recordings(name, tmp_path, **options)
    assert facts.layout in str(caught.value)


def test_names_and_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UnknownSource, match="'pamap' is no data set of recordings; known: pamap2"):
        open_recordings("pamap", tmp_path)
    with pytest.raises(UnknownSource, match="mhealth has no option window; its options: none"):
        open_recordings("mhealth", tmp_path, window=100)


def test_importing_the_readers_is_light() -> None:
    heavy = "{'scipy', 'pyarrow', 'numba', 'PIL'}"
    script = f"import pipeline.recordings, sys\nassert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=DOCUMENT.parents[1])


@pytest.mark.parametrize("name", DATASETS)
def test_facts_are_consistent(name: str) -> None:
    facts = DATASETS[name].facts
    assert facts.name == name
    assert len(facts.channels) == len(facts.units) == len(set(facts.channels))
    assert set(facts.classes) <= set(facts.labels)
    assert set(facts.written.values()) in (set(), set(facts.labels))
    described = facts.describe()
    assert list(described)[:3] == ["name", "title", "sensors"]
    assert all(text.strip() == text != "" for text in described.values())
    assert all(label in described["labels"] for label in facts.labels.values())
    assert pickle.loads(pickle.dumps(facts)) == facts


@pytest.mark.parametrize("name", DATASETS)
def test_the_document_says_what_the_facts_say(name: str) -> None:
    section = re.split(r"^## ", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    mine = next(part for part in section if part.startswith(f"`{name}`"))
    for title, text in DATASETS[name].facts.describe().items():
        if title != "name":
            assert f"| {title} | {text.replace('|', chr(92) + '|')} |" in mine
