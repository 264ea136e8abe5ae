"""Numbers from text: what is read is what stands there, and what is wrong is named by its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cache.errors import SourceError
from pipeline.recordings import text
from pipeline.recordings.text import CUT, Form, first_line, line_of, read_numbers

THREE = Form(columns=3)
COMMAS = Form(columns=3, delimiter=b",")

numbers = st.floats(allow_infinity=False, width=64)
tables = st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=30)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "측정.txt"


@settings(max_examples=60, deadline=None)
@given(
    rows=tables,
    block=st.integers(40, 400),
    between=st.sampled_from([" ", "\t", "  ", ","]),
    end=st.sampled_from(["\n", "\r\n", "\n\n", " \r\n"]),
    mark=st.sampled_from(["", "\ufeff"]),
)
def test_tables_come_back_whatever_the_blocks_and_the_spelling(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[float, float, float]],
    block: int,
    between: str,
    end: str,
    mark: str,
) -> None:
    path = tmp_path_factory.mktemp("t") / "a.txt"
    written = mark + "".join(between.join(map(repr, row)) + end for row in rows)
    path.write_bytes(written.encode())
    form = COMMAS if between == "," else THREE
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", block)
        read = read_numbers(path, form)
        np.testing.assert_array_equal(read.rows, rows)
        assert read.notes == ()
        for row in range(len(rows)):
            line = path.read_text("utf-8-sig").splitlines()[line_of(path, row) - 1]
            assert line.strip() == between.join(map(repr, rows[row]))


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_last_line_that_may_be_cut_is_left_out_and_told(file: Path, cut: int) -> None:
    file.write_bytes(b"1 2 3\n4 5 6\n71 82 93.5\n"[:-cut])
    read = read_numbers(file, THREE)
    np.testing.assert_array_equal(read.rows, [[1, 2, 3], [4, 5, 6]])
    assert read.notes == ((CUT,) if cut < 11 else ())


def test_the_ending_of_a_line_shows_that_it_is_whole(file: Path) -> None:
    form = Form(columns=2, delimiter=b",", ending=b";")
    file.write_bytes(b"1,2;\r\n3,4;")
    assert read_numbers(file, form).rows.tolist() == [[1, 2], [3, 4]]
    file.write_bytes(b"1,2;\r\n3,4")
    read = read_numbers(file, form)
    assert read.rows.tolist() == [[1, 2]]
    assert read.notes == (CUT,)


def test_empty_fields_are_missing_and_counted(file: Path) -> None:
    file.write_bytes(b",2,3\n4,,\n,,\n7,8,NaN\n")
    read = read_numbers(file, COMMAS)
    missing = np.nan
    np.testing.assert_array_equal(
        read.rows, [[missing, 2, 3], [4, missing, missing], [missing] * 3, [7, 8, missing]]
    )
    assert read.notes == ("6 empty fields are NaN",)


def test_columns_that_are_not_taken_need_not_be_numbers(file: Path) -> None:
    form = Form(columns=3, delimiter=b",", take=(2, 1))
    file.write_bytes(b"head\na,2,3\nb,5,6\n\n")
    assert read_numbers(file, form, skip=1).rows.tolist() == [[3, 2], [6, 5]]


BAD = {
    "few": (b"1 2 3\n4 5\n", THREE, "line 2: has 2 columns, expected 3"),
    "many": (b"1 2 3\n\n4 5 6 7\n", THREE, "line 3: has 4 columns, expected 3"),
    "few and many": (b"1,2\n1,2,3,4\n", COMMAS, "line 1: has 2 columns"),
    "words": (b"1 2 3\n4 x 6\n", THREE, r"line 2: column 2 is 'x', expected a number"),
    "infinite": (b"1 2 inf\n", THREE, r"line 1: column 3 is 'inf'"),
    "huge number": (b"1 2 3\n1 1e999 2\n", THREE, r"line 2: column 2 is '1e999', too large"),
    "under": (b"1_0 2 3\n", THREE, r"line 1: column 1 is '1_0'"),
    "wide digits": (b"\xef\xbc\x91 2 3\n", THREE, "line 1: column 1 is '\uff11'"),
    "spaces": (b"1, ,3\n4,x,6\n", COMMAS, r"line 2: column 2 is 'x'"),
    "old windows": (b"1 2 -1.#IND\n", THREE, r"line 1: column 3 is '-1.#IND'"),
    "zero": (b"1 2 3\n4 \0 6\n", THREE, r"line 1: holds zero bytes"),
    "wide": ("1 2 3\n".encode("utf-16"), THREE, "line 1: holds zero bytes, so it is binary or"),
    "old mac": (b"1 2 3\r4 5 6\r\n", THREE, r"line 1: has 6 columns"),
    "no rows": (b"\n \n", THREE, "has no rows of numbers"),
    "odd spaces": (b"\x1c\n\xa0\n", Form(columns=1), "line 1: column 1 is '.x1c', expected"),
    "nothing": (b"", THREE, "has no rows of numbers"),
    "a cut line alone": (b"1 2 3", THREE, r"has no rows of numbers \(the last line has no end"),
    "a long line": (b"1 2 3\n" + b"4 " * (1 << 20), THREE, "line 2: is longer than"),
    "a long line that ends": (b"4 " * (1 << 20) + b"\n", THREE, "line 1: is longer than"),
    "no ending": (
        b"1,2;\n3,4\n5,6;\n",
        Form(columns=2, delimiter=b",", ending=b";"),
        "line 2: does not end in ';'",
    ),
    "two endings": (
        b"1,2;3,4;\n",
        Form(columns=2, delimiter=b",", ending=b";"),
        "line 1: has 3 columns",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_table_is_refused_by_line(file: Path, name: str) -> None:
    data, form, match = BAD[name]
    file.write_bytes(data)
    with pytest.raises(SourceError, match=match) as caught:
        read_numbers(file, form)
    assert str(caught.value).startswith(str(file))
    assert len(str(caught.value)) < 400 + len(str(file))


def test_lines_are_counted_across_blocks(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK", 16)
    file.write_bytes(b"head\n" + b"1 2 3\n" * 50 + b"1 2 x\n" + b"1 2 3\n" * 5)
    with pytest.raises(SourceError, match=r", line 52: column 3 is 'x'"):
        read_numbers(file, THREE, skip=1)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent.txt cannot be read \(No such file"):
        read_numbers(tmp_path / "absent.txt", THREE)
    with pytest.raises(SourceError, match=r"cannot be read \(Is a directory"):
        read_numbers(tmp_path, THREE)


def test_the_first_line_tells_the_encoding(file: Path) -> None:
    file.write_bytes("\ufeff가속도,y\r\n1,2\r\n".encode())
    assert first_line(file) == "가속도,y"
    file.write_bytes("가속도,y\n".encode("cp949"))
    assert first_line(file, "cp949") == "가속도,y"
    with pytest.raises(SourceError, match=r"line 1: is not utf-8 \(invalid start byte\)"):
        first_line(file)
