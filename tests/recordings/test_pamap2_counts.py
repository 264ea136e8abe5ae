"""The published counts of PAMAP2, on the real files where they are, and on a set of their form."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.pamap2 import FIRST_FOLD, PEOPLE, SMALL, Person, codes_of, runs_of, write_set
from pipeline.recordings import DATASETS, Recording, open_recordings
from pipeline.recordings.pamap2 import CHANNELS, UNITS
from pipeline.windows import PUBLISHED, WindowSpec, cut, make_series
from tests.shared import shared_data

FACTS = DATASETS["pamap2"].facts
SPEC = WindowSpec(**PUBLISHED["pamap2"].windows)  # type: ignore[arg-type]


def made() -> Iterator[Recording]:
    """Recordings with the labels of the made set. Values do not matter here, so all are 0."""
    for person in PEOPLE:
        codes = codes_of(person)
        yield Recording(
            dataset="pamap2",
            subject=str(person.subject),
            file=f"Protocol/subject{person.subject}.dat",
            rate=100.0,
            channels=CHANNELS,
            units=UNITS,
            values=np.zeros((len(codes), len(CHANNELS))),
            labels=codes,
            times=np.arange(len(codes)) / 100,
        )


def real() -> Iterator[Recording]:
    """Those of the user: the folder of $PI_PAMAP2, or `pamap2` of the shared data."""
    given = os.environ.get("PI_PAMAP2")
    if given and not Path(given).is_dir():
        pytest.skip(f"PI_PAMAP2 is {given}, which is no folder")
    yield from open_recordings("pamap2", given or shared_data("pamap2"))


@pytest.mark.parametrize("recordings", [made, pytest.param(real, marks=pytest.mark.slow)])
def test_the_published_counts(recordings: object) -> None:
    """Rows after cleaning, windows, classes without a window; of subject 101 windows by class."""
    assert callable(recordings)
    for person, recording in zip(PEOPLE, recordings(), strict=True):
        series = make_series(recording, SPEC, FACTS)
        windows = cut(series, SPEC, labelled=True)
        counts = np.bincount(windows.classes, minlength=12)
        assert (recording.subject, len(series.values)) == (str(person.subject), person.rows)
        assert len(windows) == person.windows
        assert tuple(np.flatnonzero(counts == 0)) == person.absent
        assert tuple(counts) == (person.counts or tuple(counts))


def test_the_counts_are_those_that_the_facts_state() -> None:
    rows, windows, classes = FACTS.published
    for person in PEOPLE:
        assert f"{person.rows:,}" in rows and f"{person.windows:,}" in windows
    assert f"{sum(person.windows for person in PEOPLE):,}" in windows and "28,949" in windows
    assert classes.endswith(" ".join(map(str, FIRST_FOLD)))
    assert sum(FIRST_FOLD) == PEOPLE[0].windows


def test_a_made_set_is_read_as_one(tmp_path: Path) -> None:
    size = write_set(tmp_path, SMALL)
    recordings = open_recordings("pamap2", tmp_path)
    assert recordings.bytes == size
    for person, recording in zip(SMALL, recordings, strict=True):
        np.testing.assert_array_equal(recording.labels, codes_of(person))
        assert recording.notes == ()
        series = make_series(recording, SPEC, FACTS)
        assert len(cut(series, SPEC, labelled=True)) == person.windows
        assert not np.isnan(recording.values[:, 1:]).any()
        assert np.isnan(recording.values[:, 0]).mean() == pytest.approx(10 / 11, abs=0.01)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot lose 0 windows at 1 changes of class"):
        runs_of(Person(subject=101, rows=1_500, windows=63, absent=tuple(range(2, 12))))
