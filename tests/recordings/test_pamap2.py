"""PAMAP2: the file as it is, and the published preparation against a slow copy of its rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pi_cache.errors import SourceError
from pipeline.recordings import open_recordings
from pipeline.recordings import pamap2 as p
from tests.recordings import made

CODES = [
    0,
    24,
    24,
    24,
    24,
    0,
    1,
    1,
    2,
    7,
    0,
    0,
    12,
    13,
    16,
    17,
    9,
    10,
    11,
    18,
    19,
    20,
    17,
    17,
    3,
    4,
]


def slowly(rows: np.ndarray) -> tuple[list[float], list[list[float]], list[int]]:
    """Times, values and classes by the published rules, row by row.

    Drop labels 0, 8, 9, 10, 11, 18, 19, 20; renumber; drop positions 14-17, 31-34, 48-51 of the
    52 columns; hold the heart rate; NaN is 0; scale by constants; over 1 is 0.99, under 0 is 0;
    keep every third row.
    """
    number = {24: 0, 12: 8, 13: 9, 16: 10, 17: 11} | {k: k for k in range(1, 8)}
    cut = {*range(14, 18), *range(31, 35), *range(48, 52)}
    kept = [row for row in rows.tolist() if row[1] not in (0, 8, 9, 10, 11, 18, 19, 20)]
    beats = float("nan")
    times, values, labels = [], [], []
    for place, (time, code, *columns) in enumerate(kept):
        beats = beats if np.isnan(columns[0]) else columns[0]
        row = [beats, *columns[1:]]
        row = [value for column, value in enumerate(row) if column not in cut]
        row = [0.0 if np.isnan(value) else value for value in row]
        row = [
            (v - low) / (high - low) for v, low, high in zip(row, p.LOWEST, p.HIGHEST, strict=True)
        ]
        row = [0.99 if value > 1 else 0.0 if value < 0 else value for value in row]
        if place % 3 == 0:
            times.append(time)
            values.append(row)
            labels.append(number[int(code)])
    return times, values, labels


def test_all_columns_of_a_file_are_read_as_they_are(tmp_path: Path) -> None:
    rows = made.write_pamap2(tmp_path / "데이터", CODES, 105)
    (recording,) = open_recordings("pamap2", tmp_path / "데이터")
    assert (recording.dataset, recording.subject) == ("pamap2", "105")
    assert recording.file == "Protocol/subject105.dat"
    assert recording.rate == 100.0
    assert recording.channels[:3] == ("heart_rate", "hand_temperature", "hand_acc16_x")
    assert recording.units[:3] == ("bpm", "°C", "m/s^2")
    assert recording.channels[-1] == "ankle_orientation_3"
    np.testing.assert_array_equal(recording.values, rows[:, 2:])
    np.testing.assert_array_equal(recording.times, rows[:, 0])
    assert recording.labels.tolist() == CODES
    assert recording.notes == ()


@pytest.mark.parametrize("seed", range(3))
def test_the_published_preparation_to_the_bit(tmp_path: Path, seed: int) -> None:
    codes = np.repeat(made.random(seed).choice(CODES, 40), 7).tolist()
    rows = made.write_pamap2(tmp_path, codes, 101 + seed)
    (recording,) = open_recordings("pamap2", tmp_path)
    prepared = p.prepare(recording)
    times, values, labels = slowly(rows)
    np.testing.assert_array_equal(prepared.values, values)
    np.testing.assert_array_equal(prepared.times, times)
    assert prepared.labels.tolist() == labels
    assert prepared.values.shape[1] == len(prepared.channels) == 40
    assert prepared.values.max() <= 1
    assert prepared.rate == pytest.approx(33.3333, abs=1e-3)
    assert (prepared.values == 0.99).any()
    assert prepared.units == ("",) * 40


def test_the_steps_can_be_taken_one_by_one(tmp_path: Path) -> None:
    made.write_pamap2(tmp_path, CODES * 9)
    recording = open_recordings("pamap2", tmp_path).read(0)
    keep = p.kept_rows(recording.labels)
    values = p.filled(p.without_orientation(recording.values[keep]))
    np.testing.assert_array_equal(p.thinned(p.scaled(values)), p.prepare(recording).values)
    plain = p.prepare(recording, scale=False)
    np.testing.assert_array_equal(plain.values, p.thinned(values))
    assert plain.units[:3] == ("bpm", "°C", "m/s^2")
    assert not any("orientation" in channel for channel in plain.channels)
    np.testing.assert_array_equal(plain.labels, p.thinned(p.class_numbers(recording.labels[keep])))


def test_a_heart_rate_is_held_and_never_carried_over_dropped_rows() -> None:
    values = np.full((5, 40), np.nan)
    values[[1, 3], 0] = 90, 100
    assert p.filled(values)[:, 0].tolist() == [0, 90, 90, 100, 100]
    assert not p.filled(values)[:, 1:].any()
    assert np.isnan(values[0, 0])


def test_classes_are_the_published_ones_in_their_order() -> None:
    assert p.class_numbers(np.array([24, 1, 7, 12, 13, 16, 17, 0, 20])).tolist() == [
        0, 1, 7, 8, 9, 10, 11, -1, -1,
    ]  # fmt: skip
    assert p.FACTS.labels[24] == "rope jumping"
    assert len(p.FACTS.classes) == 12
    assert len(p.HIGHEST) == len(p.LOWEST) == len(p.KEPT_CHANNELS) == 40


def test_a_silent_heart_rate_is_told(tmp_path: Path) -> None:
    rows = made.pamap2_rows([1] * 9)
    rows[:, 2] = np.nan
    made.write(tmp_path / "subject101.dat", made.table(rows))
    prepared = p.prepare(open_recordings("pamap2", tmp_path).read(0))
    assert prepared.notes == ("no heart rate at all: it is 0",)
    assert (prepared.values[:, 0] == 0).all()


def test_what_cannot_be_prepared_is_refused(tmp_path: Path) -> None:
    made.write_pamap2(tmp_path, [0, 9, 20])
    recording = open_recordings("pamap2", tmp_path).read(0)
    with pytest.raises(SourceError, match="no row has a label of the 12 classes"):
        p.prepare(recording)
    made.write_pamap2(tmp_path, [1] * 9)
    prepared = p.prepare(open_recordings("pamap2", tmp_path).read(0))
    with pytest.raises(SourceError, match="is prepared already"):
        p.prepare(prepared)


def test_a_label_that_is_none_of_the_data_set_is_refused(tmp_path: Path) -> None:
    rows = made.pamap2_rows([1, 2, 21, 3])
    path = made.write(tmp_path / "subject101.dat", "\n" + made.table(rows))
    with pytest.raises(SourceError, match="line 4: the label is 21, expected one of 0, 1, 2"):
        open_recordings("pamap2", path).read(0)
    rows[2, 1] = np.nan
    made.write(path, made.table(rows))
    with pytest.raises(SourceError, match="line 3: the label is nan"):
        open_recordings("pamap2", path).read(0)


def test_optional_files_are_left_out_and_told(tmp_path: Path) -> None:
    made.write_pamap2(tmp_path, [1] * 3)
    made.write(tmp_path / "Optional" / "subject101.dat", made.table(made.pamap2_rows([9])))
    recordings = open_recordings("pamap2", tmp_path)
    assert [entry.file for entry in recordings.entries] == ["Protocol/subject101.dat"]
    assert recordings.notes == ("1 files of the folder Optional left out",)


def test_odd_times_are_told(tmp_path: Path) -> None:
    rows = made.pamap2_rows([1] * 30)
    rows[20:, 0] += 5
    made.write(tmp_path / "subject101.dat", made.table(rows))
    notes = open_recordings("pamap2", tmp_path).read(0).notes
    assert notes == ("1 gaps in time, the longest of 5.01 s",)
