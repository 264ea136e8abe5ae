"""Recordings that are wrong: a clear refusal or a note, and no number that was not there before."""

from __future__ import annotations

import os
import random
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pi_cache.errors import SourceError
from pipeline.recordings import open_recordings
from tests.faults import Violation, scratch
from tests.faults.child import child
from tests.faults.hostile import BOMB, Content, ask, outcome
from tests.faults.hostile_recordings import (
    KINDS,
    LOOPS,
    Kind,
    damaged,
    read,
    rows_of,
)
from tests.faults.recording_damages import DAMAGES, NO_FILES
from tests.recordings import made


def test_every_kind_meets_every_damage() -> None:
    loop = LOOPS["hostile recordings"]
    ends = loop.rounds(0, loop.ci)
    met = Counter(end.partition(",")[0] for end in ends)
    assert set(met) == set(KINDS) and set(met.values()) == {len(DAMAGES)}
    assert len(DAMAGES) >= 20
    words = {end.rpartition(" ")[2] for end in ends}
    assert words == {"read", "refused"}


def test_wrong_numbers_would_be_found(tmp_path: Path) -> None:
    """The loop itself: a digit that changes is a row that was not there before."""
    kind = KINDS["pamap2"]
    files = damaged(kind, "line twice", random.Random(0))
    name = "Protocol/subject101.dat"
    line = kind.files[name].splitlines()[0]
    changed = line[:-1] + (b"1" if line[-1:] != b"1" else b"2")
    lie = {**files, name: kind.files[name].replace(line, changed)}
    for path, content in lie.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        assert isinstance(content, bytes)
        (tmp_path / path).write_bytes(content)
    with pytest.raises(Violation, match="row 0 was not there before"):
        read(tmp_path, kind)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_may_not_be_read_is_named(name: str) -> None:
    """Root may read everything, so a child reads as nobody."""
    with scratch() as folder:
        folder.chmod(0o755)
        KINDS[name].write(folder)
        files = [path for path in folder.rglob("*") if path.is_file()]
        for path in files:
            path.chmod(0)
        with child(read_as_nobody, folder, name) as reader:
            ((word, told),) = reader.words()
        assert word == "refused", told
        assert any(str(path) in told for path in files) and "permission" in told.lower()


def read_as_nobody(pipe: Any, folder: Path, name: str) -> None:
    """In the child."""
    if os.geteuid() == 0:
        os.seteuid(65534)
    pipe.send(outcome(lambda: rows_of(KINDS[name].open(folder))))


PLAIN = KINDS["usc-had plain"]
MAT = "Subject1/a3t2.mat"
SHAPE = struct.pack("<ii", 50, 6)


def lying(shape: bytes) -> dict[str, Content]:
    """A trial whose array claims another shape than it has numbers for."""
    data = PLAIN.files[MAT]
    assert data.count(SHAPE) == 1
    return {MAT: data.replace(SHAPE, shape)}


def bomb() -> dict[str, Content]:
    """A trial that is small, and endless when it is unpacked."""
    head = PLAIN.files[MAT][:128]
    packer = zlib.compressobj(9)
    start = packer.compress(struct.pack("<II", 14, BOMB)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = b"".join([start, *[block] * (BOMB >> 24), packer.flush()])
    return {MAT: head + struct.pack("<II", 15, len(packed)) + packed}


SIZES = [(2**31 - 1, 6), (50, 2**31 - 1), (2**31 - 1, 2**31 - 1), (-1, 6), (0, 6), (51, 6), (6, 50)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_trial_that_lies_about_its_size_is_refused(size: tuple[int, int]) -> None:
    word, told, _ = ask("usc-had plain", lying(struct.pack("<ii", *size)))
    assert word == "refused" and MAT in told, told


def test_a_trial_that_is_a_bomb_is_refused() -> None:
    word, told, seconds = ask("usc-had", bomb())
    assert word == "refused" and MAT in told, told
    assert len(told) < 500 and seconds < 20


@pytest.mark.parametrize("stated", ["0", "1", "-5", "99999999999999999999", "three", ""])
def test_pages_are_counted_and_a_header_is_not_believed(stated: str, tmp_path: Path) -> None:
    samples = made.geneactiv_samples(2)
    text = made.geneactiv_text(samples)
    assert text.count("Number of Pages:2") == 1
    made.write(tmp_path / "a.bin", text.replace("Number of Pages:2", f"Number of Pages:{stated}"))
    (recording,) = open_recordings("geneactiv", tmp_path)
    assert len(recording) == 600
    told = any("the header counts" in note for note in recording.notes)
    assert told == stated.lstrip("-").isdigit()


@pytest.mark.parametrize("change", [-1, 1], ids=["lost", "twice"])
@pytest.mark.parametrize(
    "file",
    ["y_train.txt", "subject_train.txt", "Inertial Signals/body_gyro_z_train.txt"],
)
def test_a_line_lost_or_twice_shifts_no_window_to_another_person(
    file: str, change: int, tmp_path: Path
) -> None:
    made.write_ucihar(tmp_path, "train", [1, 1, 3, 11, 11, 3], [1, 2, 3, 4, 5, 6])
    path = tmp_path / "train" / file
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2:3] = lines[2:3] * (1 + change)
    path.write_bytes(b"".join(lines))
    with pytest.raises(SourceError, match=r"lines for the \d windows of subject_train\.txt"):
        open_recordings("uci-har", tmp_path)


def test_lines_that_are_blank_or_have_no_end_are_told(tmp_path: Path) -> None:
    made.write_ucihar(tmp_path, "train", [1, 1, 3], [1, 2, 3])
    labels = tmp_path / "train" / "y_train.txt"
    labels.write_bytes(labels.read_bytes().rstrip())
    with pytest.raises(SourceError, match=r"y_train\.txt has 2 labels for at least 3 windows"):
        list(open_recordings("uci-har", tmp_path))
    labels.write_bytes(b"1\n2\n3\n")
    signal = tmp_path / "train" / "Inertial Signals" / "body_acc_x_train.txt"
    signal.write_bytes(signal.read_bytes().replace(b"\n", b"\n\n", 1))
    with pytest.raises(SourceError, match=r"body_acc_x_train\.txt has blank lines"):
        list(open_recordings("uci-har", tmp_path))


@pytest.mark.parametrize("special", NO_FILES)
@pytest.mark.parametrize("file", ["y_train.txt", "subject_train.txt"])
def test_a_pipe_among_the_small_files_is_not_waited_for(file: str, special: str) -> None:
    word, told, seconds = ask("uci-har", {**KINDS["uci-har"].files, f"train/{file}": special})
    assert word == "refused" and file in told and seconds < 5, told


def test_files_of_uneven_lines_are_counted_line_by_line(tmp_path: Path) -> None:
    """As wide as the first in all but one line, and so of a size that does not tell."""
    windows = made.write_ucihar(tmp_path, "test", [2, 2, 4], [1, 2, 3])
    path = tmp_path / "test" / "Inertial Signals" / "total_acc_y_test.txt"
    path.write_bytes(path.read_bytes().replace(b"\n", b" \n", 1))
    values = np.concatenate([r.values for r in open_recordings("uci-har", tmp_path)])
    np.testing.assert_array_equal(values, windows.reshape(-1, 9))


def test_a_line_over_the_limit_is_refused_by_its_number(tmp_path: Path) -> None:
    """A number of many digits is a number; a line of a megabyte is no row."""
    made.write_mhealth(tmp_path, [0, 1, 2] * 5)
    path = tmp_path / "mHealth_subject1.log"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[6] = lines[6].replace(b".", b"." + b"0" * (1 << 20), 1)
    path.write_bytes(b"".join(lines))
    with pytest.raises(SourceError, match="line 7: is longer than 1048576 bytes"):
        open_recordings("mhealth", tmp_path).read(0)


def test_a_link_to_itself_hides_no_data(tmp_path: Path) -> None:
    kind: Kind = KINDS["mhealth"]
    kind.write(tmp_path)
    whole = rows_of(kind.open(tmp_path))
    (tmp_path / "mHealth_subject2.log").symlink_to("mHealth_subject2.log")
    recordings = kind.open(tmp_path)
    np.testing.assert_array_equal(rows_of(recordings), whole)
    (note,) = recordings.notes
    assert "no readable files and left out, such as mHealth_subject2.log" in note
