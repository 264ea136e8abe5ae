"""Tables of one's own: exact columns, subjects and labels, and every mistake named."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pi_cache.errors import SourceError
from pi_cache.sampling.windows import Window
from pipeline.recordings import Recordings, columns, open_recordings, parquet
from pipeline.recordings import text as text_module
from pipeline.sources import open_source
from tests.recordings import made
from tests.shared import shared_data

NAN = float("nan")
TABLE = """사람,t,ax,"ay, g",활동
김,0.00,1.5,-2,걷기
김,0.02,1e-3,,걷기
이,0.00,3,4,앉기
김,0.04,NA,"7",
"""
COLUMNS = {"values": ["ax", "ay, g"], "subject": "사람", "label": "활동", "time": "t", "rate": 50.0}


def table(folder: Path, text: str = TABLE, **changes: Any) -> Recordings:
    path = made.write(folder / "내 데이터" / "표.csv", text, changes.get("encoding", "utf-8"))
    return open_recordings("table", path, **(COLUMNS | changes))


@pytest.mark.parametrize("block", [60, 1 << 20])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
def test_each_subject_of_a_table_is_a_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, end: str, encoding: str
) -> None:
    monkeypatch.setattr(text_module, "BLOCK", block)
    recordings = table(tmp_path, TABLE.replace("\n", end), encoding=encoding)
    assert recordings.subjects == ("김", "이")
    assert recordings.notes == ()
    kim, lee = pickle.loads(pickle.dumps(recordings))
    np.testing.assert_array_equal(kim.values, [[1.5, -2], [0.001, NAN], [NAN, 7]])
    np.testing.assert_array_equal(lee.values, [[3, 4]])
    assert kim.channels == ("ax", "ay, g")
    assert kim.labels.tolist() == [0, 0, -1]
    assert lee.labels.tolist() == [1]
    assert recordings.facts.labels == {0: "걷기", 1: "앉기"}
    assert kim.times is None
    assert kim.notes == ("2 missing numbers are NaN",)


def test_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    values = made.random().normal(size=(300, 2)) * 10.0 ** np.arange(300)[:, None]
    path = tmp_path / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["x", "y"], *values.tolist()])
    (recording,) = open_recordings("table", path, values=["y", "x"], rate=10)
    np.testing.assert_array_equal(recording.values, values[:, ::-1])
    assert recording.labels.tolist() == [-1] * 300
    assert recording.units == ("", "")


def test_labels_that_are_numbers_keep_their_value(tmp_path: Path) -> None:
    path = made.write(tmp_path / "a.csv", "x,y\n1,7.0\n2,24\n3,\n")
    recordings = open_recordings("table", path, values=["x"], label="y", rate=1)
    assert recordings.read(0).labels.tolist() == [7, 24, -1]
    assert recordings.facts.labels == {7: "7", 24: "24"}
    assert recordings.facts.classes == (7, 24)


def test_a_folder_or_a_file_can_be_the_subject(tmp_path: Path) -> None:
    for name in ("P1/a.csv", "P1/b.csv", "P2/a.csv"):
        made.write(tmp_path / name, "x\n1\n")
    kinds = {"folder": ("P1", "P2"), "file": ("a", "b"), "none": ("",)}
    for kind, subjects in kinds.items():
        recordings = open_recordings("table", tmp_path, values=["x"], rate=1, subject_from=kind)
        assert recordings.subjects == subjects
        assert len(recordings) == 3
        assert bool(recordings.notes) == (kind == "none")


@pytest.mark.parametrize(
    ("times", "changes"),
    [
        (["0.1", "0.2", "0.3", "0.4"], {}),
        (["100", "200", "300", "400"], {"time_unit": "ms"}),
        (["2024-05-30 10:00:00.1", "2024-05-30T10:00:00.200Z"], {}),
    ],
)
def test_the_times_tell_the_rate(tmp_path: Path, times: list[str], changes: dict[str, str]) -> None:
    path = made.write(tmp_path / "a.csv", "t,x\n" + "".join(f"{time},1\n" for time in times))
    (recording,) = open_recordings("table", path, values=["x"], time="t", **changes)
    assert recording.rate == pytest.approx(10)
    assert recording.notes == ("the rate of 10 Hz is that of the usual step of the times",)
    assert recording.times is None


def test_gaps_and_unknown_times_stay(tmp_path: Path) -> None:
    made.write(tmp_path / "a.csv", "t,x\n5,1\n6,1\n,1\n8,1\n20,1\n")
    (recording,) = open_recordings("table", tmp_path, values=["x"], time="t", rate=1)
    np.testing.assert_array_equal(recording.times, [0, 1, NAN, 3, 15])
    assert recording.notes == ("1 times are not known", "2 gaps in time, the longest of 12 s")


def test_a_last_line_that_may_be_cut_is_told(tmp_path: Path) -> None:
    told = "the last line has no end and may be cut short: left out"
    recordings = table(tmp_path, TABLE[:-1])
    assert recordings.notes == (f"표.csv: {told}",)
    assert len(recordings.read(0)) == 2
    (recording,) = table(tmp_path, TABLE[:-1], subject=None)
    assert told in recording.notes
    assert len(recording) == 3


BAD_OPTIONS = {
    "no values": ({"values": []}, "name the columns of values"),
    "twice": ({"values": ["ax", "t"]}, "the columns ax, t, 활동, 사람, t must differ"),
    "units": ({"units": ["g"]}, "2 columns of values need as many units, got 1"),
    "no rate": ({"time": None, "rate": None}, "name the time column, or give the rate in Hz"),
    "rate": ({"rate": -1.0}, "the rate must be above 0 Hz, got -1.0"),
    "time unit": ({"time_unit": "min"}, "time_unit must be one of s, ms, us, ns, got 'min'"),
    "subjects": ({"subject_from": "column"}, "subject_from must be one of none, file, folder"),
    "both": ({"subject_from": "file"}, "the column '사람' names the subjects, so leave out"),
    "delimiter": ({"delimiter": "ab"}, "the delimiter must be one character, got 'ab'"),
    "encoding": ({"encoding": "utf-16"}, "the encoding 'utf-16' is not known, or cannot be read"),
    "absent": ({"values": ["ax", "az"]}, "the column 'az' is not there; its columns: 사람, t, ax"),
    "absent label": ({"label": "x"}, "the column 'x' is not there"),
    "other encoding": (
        {"delimiter": ";"},
        "the column '사람' is not there; its columns: 사람,t,ax",
    ),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, name: str) -> None:
    path = made.write(tmp_path / "a.csv", TABLE)
    changes, match = BAD_OPTIONS[name]
    with pytest.raises(SourceError, match=match):
        open_recordings("table", path, **(COLUMNS | changes)).read(0)


BAD_ROWS = {
    "columns": ("이,0,3,4", "line 4: has 4 columns, expected 5"),
    "word": ("이,0,3,x,앉기", "line 4: ay, g is 'x', expected a number"),
    "decimal comma": ('이,0,"3,5",4,앉기', "line 4: ax is '3,5', expected a number"),
    "infinite": ("이,0,inf,4,앉기", "line 4: ax is 'inf'"),
    "time": ("이,x,3,4,앉기", "row 1: t is 'x', expected a number"),
    "quote": ('이,0,3,4,"앉\n기"', "a quoted text|columns, expected 5"),
    "open quote": ('이,0,3,4,"앉', "a quoted text has a line break|columns, expected 5"),
    "no subject": (",0,3,4,앉기", "line 4: the column '사람' is empty"),
    "a return": ("이,0,3,4\r5,앉기", "line 4: new-line character seen in unquoted field"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_rows_that_do_not_fit_are_named(tmp_path: Path, name: str) -> None:
    row, match = BAD_ROWS[name]
    with pytest.raises(SourceError, match=match):
        list(table(tmp_path, TABLE.replace("이,0.00,3,4,앉기", row)))


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for data, match in (
        (b"", "the column 'x' is not there; its columns: $"),
        (b"x\n", "has no rows below the names of its columns"),
        (b"x,x\n1,2\n", "the column 'x' occurs twice"),
        (b"x\n\0\n", "holds zero bytes"),
        ("x\n가\n".encode("cp949"), r"line 2: is not utf-8 \(invalid .*name the encoding"),
        (b"x\n1\n" + b"9" * 200_000 + b"\n", "field larger than field limit|too large"),
    ):
        path.write_bytes(data)
        with pytest.raises(SourceError, match=match):
            open_recordings("table", path, values=["x"], rate=1).read(0)


def test_times_that_tell_no_rate_are_refused(tmp_path: Path) -> None:
    path = made.write(tmp_path / "a.csv", "t,x\n5,1\n5,1\n")
    with pytest.raises(SourceError, match="the column 't' does not grow, so it tells no rate"):
        open_recordings("table", path, values=["x"], time="t").read(0)
    made.write(path, "t,x\n2024-05-30 10:00:00,1\nlater,2\n")
    with pytest.raises(SourceError, match="row 2: t is 'later', expected a time such as 2024-05"):
        open_recordings("table", path, values=["x"], time="t").read(0)


def test_a_column_of_numbers_is_no_column_of_labels(tmp_path: Path) -> None:
    path = made.write(tmp_path / "a.csv", "x,y\n" + "".join(f"1,{k}\n" for k in range(1001)))
    with pytest.raises(SourceError, match="the label column has 1001 different labels, such as"):
        open_recordings("table", path, values=["x"], label="y", rate=1)


def test_parquet_is_read_as_the_same_table(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    rows = {
        "사람": ["김", "김", "이", "김"],
        "t": [0.0, 0.02, 0.0, 0.04],
        "ax": [1.5, 0.001, 3, None],
        "ay": [-2, None, 4, 7],
        "활동": ["걷기", "걷기", "앉기", None],
    }
    path = tmp_path / "표.parquet"
    parquet._pyarrow(path).write_table(arrow.table(rows), path)
    options = COLUMNS | {"values": ["ax", "ay"]}
    kim, lee = pickle.loads(pickle.dumps(open_recordings("table", path, **options)))
    np.testing.assert_array_equal(kim.values, [[1.5, -2], [0.001, NAN], [NAN, 7]])
    np.testing.assert_array_equal(lee.values, [[3, 4]])
    assert kim.labels.tolist() == [0, 0, -1]
    assert kim.notes == ("2 missing numbers are NaN",)
    (whole,) = open_recordings("table", path, values=["ax"], rate=50)
    assert len(whole) == 4
    for changes, match in (
        ({"values": ["사람"], "subject": None}, "the column '사람' has the type string, expected"),
        ({"values": ["az"]}, "the column 'az' is not there; its columns: 사람, t, ax, ay, 활동"),
    ):
        with pytest.raises(SourceError, match=match):
            open_recordings("table", path, **(options | changes)).read(0)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        open_recordings("table", path, **options)


def test_parquet_needs_a_new_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made.write(tmp_path / "a.parquet", "PAR1")

    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(parquet, "import_module", absent)
    with pytest.raises(SourceError, match="which needs pyarrow: pip install pyarrow, or use CSV"):
        open_recordings("table", path, values=["x"], label="y", rate=1)
    monkeypatch.setattr(
        parquet, "import_module", lambda name: SimpleNamespace(__version__="13.0.0")
    )
    with pytest.raises(
        SourceError, match=r"pyarrow 13.0.0 may run code .* expected 14.0.1 or newer"
    ):
        open_recordings("table", path, values=["x"], rate=1).read(0)


def test_a_real_table_of_daphnet() -> None:
    """Nine accelerations in milli-g at 64 Hz, against a slow reading of the same file."""
    path = shared_data("ucr_uea") / "Daphnet_S06R02E0" / "S06R02E0.csv"
    with path.open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    recordings = open_recordings(
        "table", path, values=names[1:10], label=names[10], time=names[0], subject_from="file"
    )
    (recording,) = recordings
    np.testing.assert_array_equal(recording.values, [[float(x) for x in row[1:10]] for row in rows])
    assert recording.labels.tolist() == [int(row[10]) for row in rows]
    assert recording.subject == "S06R02E0"
    assert recording.rate == pytest.approx(64, rel=0.01)


@pytest.mark.parametrize("blank", ["", "\n"])
def test_rows_of_others_between_are_a_gap_unless_times_tell(tmp_path: Path, blank: str) -> None:
    """Two runs of A with one of B between: which samples of A follow each other is not known."""
    order = "AAAAAABBBBBBAAAAAA"
    rows = [f"{k / 10},{k},{who}\n" for k, who in enumerate(order)]
    rows.insert(3, blank)  # a blank line within a run parts nothing
    made.write(tmp_path / "one.csv", "t,x,who\n" + "".join(rows))
    named = {"values": ["x"], "subject": "who", "rate": 10.0}
    first, second = open_recordings("table", tmp_path, **named)
    assert (first.seams, second.seams) == ((6,), ())
    assert any("other rows stand between 2 runs of its rows" in note for note in first.notes)
    timed = open_recordings("table", tmp_path, time="t", **named).read(0)
    assert timed.seams == ()
    assert timed.times is not None
    for options, starts in (
        ({}, [0, 3, 6, 9]),
        ({"gaps": "bridge"}, [0, 3, 6, 9]),
        ({"gaps": "bridge", "step": 2}, [0, 2, 4, 6, 8]),
        ({"step": 2}, [0, 2, 6, 8]),
        ({"time": "t", "step": 2}, [0, 2, 6, 8]),
    ):
        given = {"values": "x", "subject": "who", "rate": "10", "window": 3, "step": 3} | options
        source = open_source(f"table:{tmp_path}", **given)
        mine = [Window.parse(name).start for name in source.ids if "#A@" in name]
        assert mine == starts, options


def test_subjects_in_turns_are_found_by_their_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of others are passed over, near or far; lines keep their numbers."""
    who = made.random(3).choice(["A", "B", "C"], 200)
    rows = [f"{k},{name}\n" for k, name in enumerate(who)]
    path = made.write(tmp_path / "a.csv", "x,who\n" + "".join(rows))
    named = {"values": ["x"], "subject": "who", "rate": 10.0}
    for near, block in ((1 << 16, 1 << 20), (8, 1 << 20), (8, 50), (1 << 16, 50)):
        monkeypatch.setattr(columns, "NEAR", near)
        monkeypatch.setattr(text_module, "BLOCK", block)
        for recording in open_recordings("table", tmp_path, **named):
            mine = np.flatnonzero(who == recording.subject)
            np.testing.assert_array_equal(recording.values[:, 0], mine)
            assert recording.seams == tuple(np.flatnonzero(np.diff(mine) > 1) + 1)
    recordings = open_recordings("table", tmp_path, **named)
    last = int(np.flatnonzero(who == "B")[-1])
    wrong = path.read_text().replace(f"\n{last},B", f"\n{'-' * len(str(last))},B")
    path.write_text(wrong)
    with pytest.raises(SourceError, match=f"line {last + 2}: x is '-+', expected a number"):
        recordings.read([entry.subject for entry in recordings.entries].index("B"))
