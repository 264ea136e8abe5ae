"""The `.ts` reader on real archive files, and on files that are not what they should be."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cache.errors import SourceError
from pi_cache.specs import Status
from pipeline.sources.base import read_samples
from pipeline.sources.ucr import open_ucr
from tests.shared import shared_data

HEADER = "#comment\n@problemName Made\n@classLabel true b a\n@univariate false\n@data\n"


def write(folder: Path, text: str, name: str = "Made_TRAIN.ts") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_gunpoint_is_what_its_table_says() -> None:
    folder = shared_data("ucr_uea") / "GunPoint"
    source = open_ucr(folder / "GunPoint_TRAIN.ts")
    table = np.loadtxt(folder / "GunPoint_TRAIN.tsv")  # (50, 1 + 150), the label first
    np.testing.assert_allclose(source.reader.read_together()[:, :, 0], table[:, 1:], rtol=1e-6)
    np.testing.assert_array_equal(np.array(source.label_names, float)[source.labels], table[:, 0])
    assert source.label_names == ("1", "2")
    assert source.shape == (150, 1)
    assert source.ids[:2] == ["train-0000", "train-0001"]


@pytest.mark.parametrize(
    ("name", "train", "test", "shape", "classes"),
    [
        ("GunPoint", 50, 150, (150, 1), 2),
        ("BasicMotions", 40, 40, (100, 6), 4),
        ("ItalyPowerDemand", 67, 1029, (24, 1), 2),
        ("ArrowHead", 36, 175, (251, 1), 3),
        ("PickupGestureWiimoteZ", 50, 50, (None, 1), 10),
    ],
)
def test_real_problems(
    name: str, train: int, test: int, shape: tuple[int | None, int], classes: int
) -> None:
    source = open_ucr(shared_data("ucr_uea") / name)
    assert list(source.splits) == ["train"] * train + ["test"] * test
    assert source.shape == shape
    assert len(source.channels) == shape[1]
    assert set(source.labels.tolist()) == set(range(classes))
    assert source.maximum is None
    samples = read_samples(source)
    assert not samples.status.any()
    together = source.reader.read_together()
    assert (together is None) == (shape[0] is None)
    assert all(array.dtype == np.float64 for array in samples.arrays)


def test_several_dimensions_are_channels_in_order() -> None:
    source = open_ucr(shared_data("ucr_uea") / "BasicMotions" / "BasicMotions_TRAIN.ts")
    first = source.reader.read(0)  # (100, 6)
    np.testing.assert_array_equal(first[:3, 0], [0.079106, 0.079106, -0.903497])
    assert source.label_names == ("Standing", "Running", "Walking", "Badminton")


def test_unequal_lengths_slice_and_pickle_their_own_samples() -> None:
    source = open_ucr(shared_data("ucr_uea") / "PickupGestureWiimoteZ")
    part = source[48:52]
    again = pickle.loads(pickle.dumps(part.reader))
    for position in range(4):
        np.testing.assert_array_equal(again.read(position), source.reader.read(48 + position))
    assert len(pickle.dumps(part.reader)) < len(pickle.dumps(source.reader)) / 10
    assert part.ids == ["train-0048", "train-0049", "test-0000", "test-0001"]


def test_missing_infinite_and_empty_values_have_a_status(tmp_path: Path) -> None:
    rows = "1,2,3:4,5,6:a\n1,?,3:4,5,6:b\n1,NaN,3:4,5,6:b\n1,2,inf:4,5,6:a\n::a\n"
    samples = read_samples(open_ucr(write(tmp_path, HEADER + rows)))
    expected = [Status.OK, Status.NAN, Status.NAN, Status.INF, Status.EMPTY]
    assert samples.status.tolist() == expected


def test_labels_follow_the_header_of_the_training_file(tmp_path: Path) -> None:
    write(tmp_path, HEADER + "1,2:3,4:a\n1,2:3,5:b\n")
    swapped = HEADER.replace("b a", "a b")
    write(tmp_path, swapped + "\n5,6:7,8:a\n", "Made_TEST.ts")
    source = open_ucr(tmp_path)
    assert source.label_names == ("b", "a")
    assert source.labels.tolist() == [1, 0, 1]
    assert source.ids[-1] == "test-0000"
    np.testing.assert_array_equal(source.reader.read(2), [[5, 7], [6, 8]])


def test_a_file_without_labels_or_split(tmp_path: Path) -> None:
    text = "@problemName Made\n@classLabel false\n@univariate true\n@data\n1,2,3\n4,5,6\n"
    source = open_ucr(write(tmp_path, text, "Made.ts"))
    assert source.labels.tolist() == [-1, -1]
    assert source.ids == ["sample-0000", "sample-0001"]
    assert list(source.splits) == ["", ""]


def test_the_fingerprint_is_of_the_values(tmp_path: Path) -> None:
    rows = "1,2:3,4:a\n"
    one = open_ucr(write(tmp_path, HEADER + rows)).fingerprint()
    assert open_ucr(write(tmp_path, "#other\n" + HEADER + "1.0,2:3,4:a")).fingerprint() == one
    assert open_ucr(write(tmp_path, HEADER + "1,2:3,4.5:a\n")).fingerprint() != one
    assert open_ucr(write(tmp_path, HEADER + "1,2:3,4:b\n")).fingerprint() != one
    assert open_ucr(write(tmp_path, HEADER + "1,2,3,4:1,2,3,4:a\n")).fingerprint() != one


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            HEADER + "1,2:3,4:a\n1,2:3,4:c\n",
            r"TRAIN\.ts, line 7: the label is 'c', expected one of",
        ),
        (HEADER + "1,2:3,4:a\n1,2:3,4\n", "line 7: the label is '3,4'"),
        (HEADER + "1,2:3,4:a\n\n1,2:a\n", "line 8: has 1 dimensions, expected 2"),
        (HEADER + "1,2:3,x:a\n", "line 6: could not convert string to float: 'x'"),
        (HEADER + "1,2:3,:a\n", "line 6: could not convert string to float: ''"),
        (HEADER + "1,2:3:a\n", r"line 6: its dimensions have lengths \[1, 2\]"),
        (HEADER + "a\n", "line 6: has 0 dimensions"),
        (HEADER, "has no samples after @data"),
        ("@problemName Made\n", "has no @data line"),
        ("", "has no @data line"),
        ("1,2,3:a\n", "line 1: expected a header line"),
        ("@timeStamps true\n@data\n(0,1):a\n", "has time stamps"),
        ("@targetlabel true\n@data\n1,2:0.5\n", "has numbers as targets"),
        ("@classLabel true\n@data\n1:a\n", "needs each class once"),
        ("@classLabel true a a\n@data\n1:a\n", "needs each class once"),
        ("@dimensions two\n@data\n1:a\n", "must be a whole number from 1, got 'two'"),
        ("@equalLength true\n@data\n1,2\n1,2,3\n", "line 4: has length 3, the first sample has 2"),
        ("\x00\xff\x12", "line 1: expected a header line"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_ucr(write(tmp_path, text))


def test_what_is_not_one_problem_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist; expected NAME_TRAIN"):
        open_ucr(tmp_path / "No_TRAIN.ts")
    with pytest.raises(SourceError, match=r"has the \.ts files none"):
        open_ucr(tmp_path)
    write(tmp_path, HEADER + "1:2:a\n")
    test = write(tmp_path, HEADER.replace("b a", "b c") + "1:2:b\n", "Made_TEST.ts")
    with pytest.raises(SourceError, match=r"TEST\.ts has classes b c, but Made_TRAIN"):
        open_ucr(tmp_path)
    test.write_text(HEADER + "1:2:3:b\n")
    with pytest.raises(SourceError, match="has 3 dimensions, but Made_TRAIN"):
        open_ucr(tmp_path)
    write(tmp_path, "", "Other_TRAIN.ts")
    with pytest.raises(SourceError, match="of one problem"):
        open_ucr(tmp_path)
    csv = tmp_path / "table.csv"
    csv.touch()
    with pytest.raises(SourceError, match=r"is not a \.ts file"):
        open_ucr(csv)


signals = st.lists(
    st.tuples(
        st.lists(st.floats(allow_infinity=False), min_size=1, max_size=6), st.sampled_from("ab")
    ),
    min_size=1,
    max_size=5,
)


@given(samples=signals)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, samples: list[tuple[list[float], str]]
) -> None:
    lines = [
        f"{','.join('?' if value != value else repr(value) for value in values)}:{label}"
        for values, label in samples
    ]
    header = "@classLabel true a b\n@univariate true\n@data\n"
    path = write(tmp_path_factory.mktemp("made"), header + "\n".join(lines))
    source = open_ucr(path)
    assert [source.label_names[label] for label in source.labels] == [b for _, b in samples]
    for position, (values, _) in enumerate(samples):
        np.testing.assert_array_equal(source.reader.read(position)[:, 0], values)
