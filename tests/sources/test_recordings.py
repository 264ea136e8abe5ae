"""Windows of recordings as sources: every data set, on disk, through a store, by its folds."""

from __future__ import annotations

import json
import math
import pickle
import shutil
import tarfile
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from pi_cache.errors import LeakageError, MismatchedStores, SourceError, UnknownSource
from pi_cache.keeping.space import room_of
from pi_cache.reader import open_store
from pi_cache.sampling.folds import leave_one_group_out
from pi_cache.sampling.joins import open_together
from pi_cache.sampling.leakage import check_leakage
from pi_cache.sampling.windows import Window
from pi_cache.specs import DiagramSpec, ImageSpec, Status, StoreSpec
from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.cli import cli
from pipeline.measuring import at_hand
from pipeline.planning import make_plan
from pipeline.printed import plan_lines
from pipeline.recipes import find_recipe
from pipeline.recordings import DATASETS, open_recordings
from pipeline.recordings import pamap2 as p
from pipeline.recordings.base import Recordings
from pipeline.reports.explain import explain_sample, explanation_lines
from pipeline.sources import (
    KINDS,
    Source,
    describe_sources,
    open_source,
    read_samples,
    windowreader,
)
from tests.recordings import made
from tests.recordings.test_pamap2 import slowly as prepared_slowly
from tests.shared import shared_data

PUBLISHED_WINDOWS = [3726, 3925, 2592, 3447, 4065, 3728, 3465, 3909, 92]
FIRST_FOLD = [191, 407, 352, 325, 333, 318, 352, 302, 233, 217, 343, 353]
"""As the authors' notebook printed: windows by subject, and of subject 101 by class."""


def arrays(source: Source) -> np.ndarray:
    samples = read_samples(source)
    assert isinstance(samples.arrays, np.ndarray)
    return samples.arrays


def run(*words: str) -> Any:
    done = CliRunner().invoke(cli, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def test_reading_is_planned_once_for_each_worker(sisfall: Path) -> None:
    """Against workers that take shards in turns and remember what they have read."""
    source = open_source(f"sisfall:{sisfall}", window="10", step="3")
    seconds = np.arange(1.0, len(source.reader.seconds) + 1)
    reader = replace(source.reader, seconds=seconds)
    for size, workers in ((4, 1), (4, 2), (4, 5), (8, 2), (1000, 4)):
        known: list[set[int]] = [set() for _ in range(workers)]
        for shard, start in enumerate(range(0, len(source), size)):
            known[shard % workers] |= set(reader.owners[start : start + size].tolist())
        slow = sum(seconds[owner] for read in known for owner in read)
        assert reader.seconds_of_workers(size, workers) == slow
    part = reader.slice(30, 50)
    assert part.seconds.tolist() == seconds[np.unique(reader.owners[30:50])].tolist()
    assert source.reader.seconds.min() > 0, "it was measured while they were listed"


def test_samples_are_measured_of_recordings_that_are_kept(
    sisfall: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(f"sisfall:{sisfall}", window="10", step="3")
    assert source.reader.kept_from() == 0 and at_hand(source) is source
    monkeypatch.setattr(windowreader, "KEPT_BYTES", 7000)  # two recordings
    source = open_source(f"sisfall:{sisfall}", window="10", step="3")
    near = at_hand(source)
    assert near.ids == source.ids[source.reader.kept_from() :]
    assert {name.partition("@")[0] for name in near.ids} == {"D01_SE01_R01.txt", "F02_SE01_R01.txt"}
    spec = StoreSpec(source=source.spec(), diagram=DiagramSpec(), image=ImageSpec(pixels=8))
    read: list[str] = []
    monkeypatch.setattr(windowreader, "make_series", lambda *given: read.append("again"))
    plan = make_plan(source, spec, options=Options(executor="serial", shard_samples=8))
    assert not read, "no recording was read for the plan"
    assert plan.reading_again > 0, "this process reads again what it does not keep"
    windowreader._KEPT.series.clear()
    assert source.reader.kept_from() == len(source) and at_hand(source) is source


def test_a_plan_counts_what_every_worker_reads_again(sisfall: Path) -> None:
    source = open_source(f"sisfall:{sisfall}", window="10", step="3")
    slow = replace(source.reader, seconds=np.full(len(source.reader.seconds), 10.0))
    source, spec = (
        replace(source, reader=slow),
        StoreSpec(source=source.spec(), diagram=DiagramSpec(), image=ImageSpec(pixels=8)),
    )
    alone = make_plan(source, spec, options=Options(executor="serial", shard_samples=8))
    assert alone.reading_again == 0 and alone.core_seconds < 10, "what was listed is kept"
    two = make_plan(source, spec, options=Options(executor="joblib", workers=2, shard_samples=8))
    expected = slow.seconds_of_workers(8, 2)
    assert two.core_seconds == pytest.approx(expected, abs=5) and expected >= 60
    assert two.seconds == pytest.approx(expected / 2, abs=5)
    (line,) = [x for x in plan_lines(two.to_dict(), room_of(sisfall)) if x.startswith("one core")]
    assert "to read recordings: each worker reads those of its shards once" in line


@pytest.fixture
def sisfall(tmp_path: Path) -> Path:
    """Three people, two trials each, of 40 samples."""
    folder = tmp_path / "시스폴"
    for subject in ("SA01", "SA02", "SE01"):
        for trial in (f"D01_{subject}_R01", f"F02_{subject}_R01"):
            made.write_sisfall(folder, trial, rows=40 + int(subject[-1]))
    return folder


# Every data set.


def write_table(folder: Path) -> None:
    rows = "".join(f"{k % 3},{'walk' if k < 20 else 'run'},{k % 2}\n" for k in range(40))
    made.write(folder / "a" / "one.csv", f"ax,what,who\n{rows}")


def write_wisdm(folder: Path) -> None:
    texts = [made.wisdm_rows(subject, ["Walking"] * 25)[0] for subject in (7, 8)]
    made.write_wisdm(folder, "".join(texts))


def write_wisdm_2019(folder: Path) -> None:
    place = folder / "raw" / "watch" / "gyro" / "data_1600_gyro_watch.txt"
    rows = (f"1600,B,{10**9 + 50_000_000 * k},{k},{k % 5},-{k};\n" for k in range(20))
    made.write(place, "".join(rows))


def write_geneactiv(folder: Path) -> None:
    made.write(folder / "in" / "x.bin", made.geneactiv_text(made.geneactiv_samples(1)))


WRITTEN: dict[str, tuple[Callable[[Path], object], dict[str, Any], str, str, str]] = {
    "pamap2": (
        lambda folder: made.write_pamap2(folder, [24] * 20),
        {"missing": "keep"},
        "subject101.dat@000000+10@100Hz",
        "101",
        "rope jumping",
    ),
    "usc-had": (
        made.write_uschad,
        {},
        "Subject1/a3t2.mat@000000+10@100Hz",
        "1",
        "walking right",
    ),
    "uci-har": (
        lambda folder: made.write_ucihar(folder, "train", [4, 4], [5, 6]),
        {},
        "train/Inertial Signals#4@000000+10@50Hz",
        "4",
        "standing",
    ),
    "wisdm": (write_wisdm, {}, "WISDM_ar_v1.1_raw.txt#7@000000+10@20Hz", "7", "walking"),
    "wisdm-2019": (
        write_wisdm_2019,
        {},
        "data_1600_gyro_watch.txt@000000+10@20Hz",
        "1600",
        "jogging",
    ),
    "mhealth": (
        lambda folder: made.write_mhealth(folder, [0] * 5 + [3] * 20),
        {},
        "mHealth_subject1.log@000008+10@50Hz",
        "1",
        "lying down",
    ),
    "motionsense": (
        made.write_motionsense,
        {},
        "wlk_7/sub_1.csv@000000+10@50Hz",
        "1",
        "walking",
    ),
    "sisfall": (
        made.write_sisfall,
        {},
        "D01_SA01_R01.txt@000000+10@200Hz",
        "SA01",
        "walking slowly",
    ),
    "geneactiv": (write_geneactiv, {}, "in/x.bin@000000+10@50Hz", "x", ""),
    "table": (
        write_table,
        {"values": "ax", "label": "what", "subject": "who", "rate": "10", "gaps": "bridge"},
        "a/one.csv#0@000000+10@10Hz",
        "0",
        "walk",
    ),
}
"""By kind: what writes it, options, and id, group and class of its first window."""


@pytest.mark.parametrize("kind", DATASETS)
def test_every_data_set_is_a_source_of_its_windows(tmp_path: Path, kind: str) -> None:
    write, options, first, group, label = WRITTEN[kind]
    for place in ("here", "there/deep/er"):
        write(tmp_path / place)
    source = open_source(f"{kind}:{tmp_path / 'here'}", window=10, step=4, **options)
    assert (source.kind, source.sample, source.shape[0]) == (kind, "signal", 10)
    assert source.ids[0] == first
    assert source.groups[0] == group
    assert (source.label_names[source.labels[0]] if label else "") == label
    facts = DATASETS[kind].facts
    assert (source.citation, source.licence) == (facts.citation, facts.licence)
    recordings = open_recordings(kind, tmp_path / "here", **reader_options(options))
    window = Window.parse(first)
    values = recordings.read(0).values[window.start : window.stop]
    np.testing.assert_array_equal(source.reader.read(0), values)
    moved = open_source(f"{kind}:{tmp_path / 'there'}", window=10, step=4, **options)
    if kind not in ("geneactiv", "table"):  # known by their path below the folder
        assert moved.fingerprint() == source.fingerprint()


def reader_options(options: dict[str, Any]) -> dict[str, Any]:
    named = {name: value for name, value in options.items() if name not in ("missing", "gaps")}
    if "values" in named:
        named |= {"values": [named["values"]], "rate": float(named["rate"])}
    return named


@pytest.mark.parametrize("kind", DATASETS)
def test_facts_and_options_are_printed(kind: str) -> None:
    text = run("sources", kind).stdout
    facts = DATASETS[kind].facts
    for known in (facts.title, facts.sensors, facts.subjects, facts.layout, *facts.dropped):
        assert known in text
    assert "option step: " in text
    (document,) = describe_sources(kind)
    assert set(KINDS[kind].options) == set(document["options"].split(", "))


def test_every_option_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "recordings.md").read_text(encoding="utf-8")
    _, _, windows = text.partition("# Windows\n")
    rows = " ".join(line.split("|")[1] for line in windows.splitlines() if line.startswith("| `"))
    assert all(f"`{name}`" in rows for name in KINDS["pamap2"].options)


def test_windows_that_publishers_cut_stay_whole_and_have_their_splits(tmp_path: Path) -> None:
    train = made.write_ucihar(tmp_path, "train", [1, 3, 1], [1, 2, 3])
    test = made.write_ucihar(tmp_path, "test", [2, 2], [4, 5])
    source = open_source(f"uci-har:{tmp_path}", windows="published")
    assert sorted(Counter(zip(source.groups, source.splits, strict=True)).items()) == [
        (("1", "train"), 2),
        (("2", "test"), 2),
        (("3", "train"), 1),
    ]
    part = open_source(f"uci-har:{tmp_path}", windows="published", split="test")
    np.testing.assert_array_equal(arrays(part), test)
    mine = [source.ids.index(f"train/Inertial Signals#1@{k:06d}+128@50Hz") for k in (0, 128)]
    np.testing.assert_array_equal([source.reader.read(k) for k in mine], train[[0, 2]])
    halves = open_source(f"uci-har:{tmp_path}", window=100, step=20)
    assert {Window.parse(name).start % 128 for name in halves.ids} == {0, 20}


def test_sensors_of_one_name_have_ids_of_their_own(tmp_path: Path) -> None:
    made.write_motionsense(tmp_path / "B_Accelerometer_data", columns=("x", "y", "z"))
    options = {"sensor": "accelerometer", "window": 10, "step": 10}
    source = open_source(f"motionsense:{tmp_path}", **options)
    assert source.ids[0] == "accelerometer/wlk_7/sub_1.csv@000000+10@50Hz"


def test_recordings_of_other_channels_or_rates_are_refused(tmp_path: Path) -> None:
    write_wisdm_2019(tmp_path)
    other = tmp_path / "raw" / "watch" / "accel" / "data_1600_accel_watch.txt"
    made.write(other, "1600,B,1000,1,2,3;\n" * 12)
    with pytest.raises(SourceError, match=r"gyro_watch\.txt has the channels watch_gyro_x"):
        open_source(f"wisdm-2019:{tmp_path}", window=3, step=3, gaps="bridge")
    tables = tmp_path / "tables"
    for rate in (50, 60):
        rows = "".join(f"{k / rate},{k % 3}\n" for k in range(30))
        made.write(tables / f"{rate}.csv", f"t,ax\n{rows}")
    options = {"values": "ax", "time": "t", "window": "0.2s", "step": "0.1s"}
    with pytest.raises(SourceError, match=r"60\.csv is of 60 Hz, the first of 50 Hz; bring all"):
        open_source(f"table:{tables}", **options)
    source = open_source(f"table:{tables}", resample="linear:25", **options)
    assert source.shape == (5, 1)
    assert source.ids[0] == "50.csv@000000+9@50Hz=5@25Hz"


# Options.


@pytest.mark.parametrize(
    ("text", "options", "match"),
    [
        ("pamap2", {}, "needs window and step, .*windows=published for prepare=published window="),
        ("sisfall", {"window": 10}, r"step=50$"),
        ("sisfall", {"windows": "published"}, "sisfall has no option windows; it has split"),
        ("pamap2", {"windows": "usual"}, "windows=usual: published windows are known"),
        ("sisfall", {"window": 1, "step": 1, "prepare": "published"}, "no preparation of sisfall"),
        ("sisfall", {"window": 1, "step": 1, "scale": "published"}, "no constants of sisfall"),
        ("sisfall", {"window": 1, "step": 1, "fitted": {}}, "fitted holds the numbers of scale"),
        ("sisfall", {"window": 1, "step": 1, "rate": 5}, "sisfall has no option rate; it has spl"),
        ("table", {"window": 1, "step": 1}, "table needs values, the columns that become chan"),
        ("table", {"window": 1, "step": 1, "values": "a", "rate": "x"}, "rate must be a number"),
        ("table", {"window": 1, "step": 1, "values": ",", "rate": 1}, "values must be names"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, text: str, options: Any, match: str) -> None:
    with pytest.raises(UnknownSource, match=match):
        open_source(f"{text}:{tmp_path}", **options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"subjects": "SA01,SA09"}, "has no subject SA09; there are SA01, SA02, SE01"),
        ({"window": 99}, "no window of 99 samples: 6 stretches that are too short; choose"),
        ({"step": "0.001s"}, "step is no sample long at 200 Hz"),
        ({"resample": "linear:2000", "step": 1}, "start less than a sample of the recording apart"),
        ({"scale": "fitted:minmax", "fit_on": "subjects:SA9"}, "there is no subject SA9; there"),
        ({"scale": "fitted:minmax", "fit_on": "split:train"}, "no split train; there are none"),
        ({"channels": "adxl345_w"}, "has no channel adxl345_w; it has adxl345_x"),
    ],
)
def test_what_the_data_cannot_give(sisfall: Path, options: Any, match: str) -> None:
    with pytest.raises(SourceError, match=match):
        open_source(f"sisfall:{sisfall}", **({"window": 10, "step": 5} | options))


def test_the_options_of_a_source_make_it_again(sisfall: Path) -> None:
    """As a store keeps them: every choice by name, with the numbers of a fitted scale."""
    source = open_source(
        f"sisfall:{sisfall}",
        window="0.05s",
        step="5",
        subjects="SA01,SE01",
        scale="fitted:zscore",
        fit_on="subjects:SA01",
    )
    stored = json.loads(json.dumps(source.spec().to_dict()))
    names = set(stored["options"])
    assert {"window", "step", "start", "resample", "label_rule", "gaps", "missing"} <= names
    assert {"scale", "fit_on", "prepare", "subjects", "fitted"} <= names
    again = open_source(f"sisfall:{sisfall}", **stored["options"])
    assert again.fingerprint() == stored["fingerprint"]
    assert again.options == source.options
    stored["options"]["fitted"]["divisor"]["adxl345_y"] *= 2
    other = open_source(f"sisfall:{sisfall}", **stored["options"])  # nothing is fitted anew
    np.testing.assert_array_equal(other.reader.read(1)[:, 1] * 2, source.reader.read(1)[:, 1])


def test_a_scale_is_fitted_on_the_stated_part_alone(sisfall: Path) -> None:
    part = {"window": 10, "step": 7, "start": 2}  # the extremes are in the first two samples
    options = part | {"scale": "fitted:minmax", "fit_on": "subjects:SA01,SA02"}
    source = open_source(f"sisfall:{sisfall}", **options)
    plain = open_source(f"sisfall:{sisfall}", **part)
    values = arrays(plain)
    fitted = values[[group != "SE01" for group in plain.groups]].reshape(-1, 9)
    low, high = fitted.min(axis=0), fitted.max(axis=0)
    np.testing.assert_array_equal(arrays(source), (values - low) / (high - low))
    numbers = source.options["fitted"]
    assert list(numbers["offset"]) == list(source.channels)
    assert list(numbers["offset"].values()) == low.tolist()
    shutil.rmtree(sisfall / "SE01")
    made.write_sisfall(sisfall, "D03_SE01_R01", rows=77)
    assert open_source(f"sisfall:{sisfall}", **options).options["fitted"] == numbers
    assert any("test on none of them" in note for note in source.notes)


def test_copies_under_two_names_are_told(tmp_path: Path) -> None:
    def told() -> list[str]:
        notes = open_source(f"sisfall:{tmp_path}", window=10, step=10).notes
        return [note for note in notes if "have the values" in note]

    made.write_sisfall(tmp_path, "F02_SA01_R01", rows=41)
    made.write_sisfall(tmp_path, "F02_SA02_R01", rows=42)
    assert told() == []
    data = (tmp_path / "SA01" / "F02_SA01_R01.txt").read_bytes()
    (tmp_path / "SA02" / "F03_SA02_R07.txt").write_bytes(data)
    (note,) = told()
    assert note.startswith(
        "4 windows have the values of one of another recording, such as F03_SA02"
    )
    assert "F02_SA01_R01.txt@000000+10@200Hz: never train on one" in note


def test_notes_of_one_kind_are_told_once(tmp_path: Path) -> None:
    for subject in (1, 2, 12):
        rows = made.table(made.write_mhealth(tmp_path, [3] * 20, subject), "\t")
        text = rows if subject == 12 else rows.removesuffix("\n")
        made.write(tmp_path / f"mHealth_subject{subject}.log", text)
    notes = open_source(f"mhealth:{tmp_path}", window=5, step=5).notes
    assert sum("the last line has no end" in note for note in notes) == 1
    assert notes[0].startswith("mHealth_subject1.log: the last line has no end")
    assert notes[0].endswith("(and 1 recordings more alike)")


def test_a_name_in_pieces_is_the_same_id(tmp_path: Path) -> None:
    """Macs may write the letters of Hangul apart."""
    ids = []
    for place, form in (("one", "NFC"), ("two", "NFD")):
        name = unicodedata.normalize(form, "홍길동")
        folder = tmp_path / place
        made.write(folder / name / f"{name}.csv", "x\n" + "1\n2\n3\n" * 9)
        options = {"values": "x", "rate": 5, "subject_from": "folder", "subjects": "홍길동"}
        source = open_source(f"table:{folder}", window=5, step=5, **options)
        assert set(source.groups) == {"홍길동"}
        ids.append(source.ids)
    assert ids[0] == ids[1]


def test_usual_options_of_readers_are_kept_too(tmp_path: Path) -> None:
    made.write_motionsense(tmp_path / "motion")
    write_geneactiv(tmp_path / "wrist")
    options = {"window": 10, "step": 10}
    assert (
        open_source(f"motionsense:{tmp_path / 'motion'}", **options).options["sensor"] == "motion"
    )
    source = open_source(f"geneactiv:{tmp_path / 'wrist'}", **options)
    assert source.options["channels"] == ["x", "y", "z"] == list(source.channels)


# Reading.


def test_a_slice_reads_its_own_recordings_each_once(
    sisfall: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(f"sisfall:{sisfall}", window=10, step=5)
    kept = arrays(source)
    mine = [k for k, group in enumerate(source.groups) if group == "SA02"]
    part = source[mine[0] : mine[-1] + 1]
    shutil.rmtree(sisfall / "SA01")
    assert len(pickle.dumps(part.reader)) < len(pickle.dumps(source.reader))
    monkeypatch.setattr(windowreader, "_KEPT", windowreader._Kept())
    read: list[str] = []
    real = Recordings.read
    monkeypatch.setattr(
        Recordings, "read", lambda self, k: read.append(self.entries[k].file) or real(self, k)
    )
    again = pickle.loads(pickle.dumps(part))
    np.testing.assert_array_equal(arrays(again), kept[mine])
    assert read == ["SA02/D01_SA02_R01.txt", "SA02/F02_SA02_R01.txt"]


def test_what_is_kept_in_memory_is_bounded(sisfall: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = windowreader._Kept()
    monkeypatch.setattr(windowreader, "_KEPT", kept)
    monkeypatch.setattr(windowreader, "KEPT_BYTES", 10_000)
    source = open_source(f"sisfall:{sisfall}", window=10, step=5)
    assert kept.nbytes <= 10_000
    assert 1 <= len(kept.series) < 6
    assert arrays(source).shape == (len(source), 10, 9)
    monkeypatch.setattr(windowreader, "KEPT_BYTES", 1)
    arrays(source)
    assert len(kept.series) == 1, "the last one stays"


@pytest.mark.parametrize("stretch", [64, 299, 300, 10_000])
def test_a_worker_parses_the_pages_of_its_windows_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stretch: int
) -> None:
    made.write(tmp_path / "a.bin", made.geneactiv_text(made.geneactiv_samples(9)))
    text = made.geneactiv_text(made.geneactiv_samples(4, seed=1), numbers=[0, 1, 5, 6])
    made.write(tmp_path / "b.bin", text)
    monkeypatch.setattr(windowreader, "STRETCH", stretch)
    options = {"window": 70, "step": 41, "scale": "fitted:zscore", "fit_on": "subjects:a"}
    source = open_source(f"geneactiv:{tmp_path}", **options)
    kept = arrays(source)
    starts = [Window.parse(name).start for name in source.ids if name.startswith("b")]
    assert not any(530 < start < 600 for start in starts), "none spans the gap"
    monkeypatch.setattr(windowreader, "_KEPT", windowreader._Kept())
    whole: list[int] = []
    monkeypatch.setattr(Recordings, "read", lambda self, k: whole.append(k))
    for first in range(0, len(source), 50):
        part = pickle.loads(pickle.dumps(source[first : first + 50]))
        np.testing.assert_array_equal(arrays(part), kept[first : first + 50])
    assert whole == []


def test_a_recording_too_large_to_keep_is_not_kept_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.write(tmp_path / "a.bin", made.geneactiv_text(made.geneactiv_samples(9)))
    kept = windowreader._Kept()
    monkeypatch.setattr(windowreader, "_KEPT", kept)
    usual = open_source(f"geneactiv:{tmp_path}", window=70, step=41)
    assert kept.nbytes == 9 * 300 * (3 + 1) * 8  # three channels, and the numbers of samples
    monkeypatch.setattr(windowreader, "KEPT_BYTES", 10_000)
    source = open_source(f"geneactiv:{tmp_path}", window=70, step=41)
    assert not kept.series
    np.testing.assert_array_equal(arrays(source), arrays(usual))


def test_a_recording_that_changes_meanwhile_is_noticed(
    sisfall: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(f"sisfall:{sisfall}", window=10, step=5)
    monkeypatch.setattr(windowreader, "_KEPT", windowreader._Kept())
    path = sisfall / "SA01" / "D01_SA01_R01.txt"
    path.write_bytes(path.read_bytes().replace(b"-4096", b"-4095", 1))
    with pytest.raises(SourceError, match=r"D01_SA01_R01\.txt has changed since its windows were"):
        read_samples(source)
    changed = open_source(f"sisfall:{sisfall}", window=10, step=5)
    assert changed.ids == source.ids
    assert changed.fingerprint() != source.fingerprint()


def test_missing_values_have_the_status_that_says_so(tmp_path: Path) -> None:
    rows = made.write_mhealth(tmp_path, [3] * 20)
    rows[13, 4] = math.nan
    made.write(tmp_path / "mHealth_subject1.log", made.table(rows, "\t"))
    kept = open_source(f"mhealth:{tmp_path}", window=5, step=5, missing="keep")
    assert read_samples(kept).status.tolist() == [0, 0, Status.NAN, 0]
    dropped = open_source(f"mhealth:{tmp_path}", window=5, step=5)
    assert len(dropped) == 3
    assert "left out: 1 windows with missing values" in dropped.notes
    filled = open_source(f"mhealth:{tmp_path}", window=5, step=5, missing="interpolate:1")
    assert filled.reader.read(2)[3, 4] == pytest.approx((rows[12, 4] + rows[14, 4]) / 2)


# PAMAP2 as published.


def slow_windows(rows: np.ndarray) -> list[tuple[int, int, int, np.ndarray]]:
    """Start, length, class and values of the published windows of a file's rows (T, 54)."""
    kept = [k for k, row in enumerate(rows) if row[1] not in (0, 8, 9, 10, 11, 18, 19, 20)][::3]
    _, values, labels = prepared_slowly(rows)
    found = []
    for start in range(22, len(kept) - 99, 22):
        last = start + 99
        if labels[start] == labels[last]:
            window = np.array(values[start : last + 1])
            found.append((kept[start], kept[last] + 1 - kept[start], labels[start], window))
    return found


def test_published_windows_are_those_of_the_slow_rules(tmp_path: Path) -> None:
    codes = [0, 24, 24, 1, 2, 9, 7, 0, 12, 17, 17]
    written = {
        subject: made.write_pamap2(
            tmp_path, np.repeat(made.random(subject).permutation(codes), 500).tolist(), subject
        )
        for subject in (101, 102)
    }
    made.write_pamap2(tmp_path, [0] * 30, 109)  # nothing of the classes
    source = open_source(f"pamap2:{tmp_path}", windows="published")
    expected = [
        (f"subject{subject}.dat@{start:06d}+{length}@100Hz=100@33.3333Hz", label, values)
        for subject, rows in written.items()
        for start, length, label, values in slow_windows(rows)
    ]
    assert len(expected) > 20
    assert source.ids == [name for name, _, _ in expected]
    assert source.labels.tolist() == [label for _, label, _ in expected]
    np.testing.assert_array_equal(arrays(source), [values for _, _, values in expected])
    assert any(int(Window.parse(name).length) > 298 for name in source.ids), "gaps are bridged"
    assert source.label_names[0] == "rope jumping"
    assert source.channels == p.KEPT_CHANNELS
    corrected = open_source(f"pamap2:{tmp_path}", windows="published", gaps="cut")
    assert {Window.parse(name).length for name in corrected.ids} == {298}


def test_one_dropped_row_is_a_gap(tmp_path: Path) -> None:
    made.write_pamap2(tmp_path, [1] * 330 + [0] + [1] * 330)
    options = {"prepare": "published", "window": 50, "step": 10}
    cut = open_source(f"pamap2:{tmp_path}", **options)
    assert {Window.parse(name).length for name in cut.ids} == {148}
    bridged = open_source(f"pamap2:{tmp_path}", gaps="bridge", **options)
    assert {Window.parse(name).length for name in bridged.ids} == {148, 149}


def test_published_constants_scale_what_is_not_prepared(tmp_path: Path) -> None:
    rows = made.write_pamap2(tmp_path, [4] * 30)
    options = {"window": 10, "step": 10, "channels": "chest_acc16_z,ankle_acc16_x"}
    source = open_source(f"pamap2:{tmp_path}", scale="published", missing="keep", **options)
    place = [p.KEPT_CHANNELS.index(name) for name in source.channels]
    everything = p.scaled(np.nan_to_num(p.without_orientation(rows[:, 2:])))
    lacking = np.isnan(p.without_orientation(rows[:, 2:]))[:, place].reshape(3, 10, 2)
    expected = np.where(lacking, math.nan, everything[:, place].reshape(3, 10, 2))
    np.testing.assert_array_equal([source.reader.read(k) for k in range(3)], expected)


@pytest.mark.slow
def test_the_published_counts_of_the_real_files() -> None:
    source = open_source(f"pamap2:{shared_data('pamap2')}", windows="published")
    counts = Counter(source.groups)
    assert [counts[str(subject)] for subject in range(101, 110)] == PUBLISHED_WINDOWS
    first = source.labels[[group == "101" for group in source.groups]]
    assert np.bincount(first).tolist() == FIRST_FOLD


# From recordings to folds, on real ones.

ACTIVITIES = ("D01", "D05", "D07", "D15", "F01")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """First trials of five activities of three people, taken out member by member."""
    folder = tmp_path_factory.mktemp("SisFall")
    archive = shared_data("sisfall") / "sisfall_SA01-SA10.tar.xz"
    with tarfile.open(archive, "r|xz") as members:  # in the order of subjects
        for member in members:
            _, subject, name = f"/{member.name}".rsplit("/", 2)
            if subject.startswith("SA") and subject > "SA03":
                break
            if member.isfile() and name.startswith(ACTIVITIES) and name.endswith("_R01.txt"):
                data = members.extractfile(member)
                assert data is not None
                (folder / subject).mkdir(exist_ok=True)
                (folder / subject / name).write_bytes(data.read())
    return folder


SCALED = {
    "window": "2s",
    "step": "1s",
    "channels": "adxl345_x,adxl345_y,adxl345_z",
    "scale": "fitted:minmax",
    "fit_on": "subjects:SA01,SA02",
}


def test_real_recordings_to_folds(real: Path, tmp_path: Path) -> None:
    source = open_source(f"sisfall:{real}", **SCALED)
    samples = {entry.file: 0 for entry in open_recordings("sisfall", real).entries}
    assert len(samples) == 15
    for recording in open_recordings("sisfall", real):
        samples[recording.file] = len(recording)
    expected = {Path(file).name: (length - 400) // 200 + 1 for file, length in samples.items()}
    assert Counter(Window.parse(name).recording for name in source.ids) == expected
    assert sum(expected.values()) == len(source) > 400

    stores = {}
    for name in ("tda-kd-pamap2", "sublevel-set-tda"):
        recipe = find_recipe(name)
        done = build(source, recipe.diagram, recipe.image, root=tmp_path, recipe=name)
        assert done.manifest.status == {"OK": len(source)}
        stores[name] = open_store(done.path)
    joined = open_together(stores)
    assert joined.ids.tolist() == source.ids
    store = stores["tda-kd-pamap2"]
    np.testing.assert_array_equal(store.read_all("inputs"), arrays(source))

    folds = leave_one_group_out(joined)
    assert folds.names == ("SA01", "SA02", "SA03")
    assert [len(fold.test) for fold in folds] == [
        sum(count for name, count in expected.items() if subject in name) for subject in folds.names
    ]
    with pytest.raises(LeakageError, match=r"fold SA01: scale and test share 1 parts .*\(SA01\)"):
        check_leakage(folds, joined)
    (fair,) = leave_one_group_out(joined, always_train=["SA01", "SA02"])
    assert fair.test.tolist() == folds[2].test.tolist()
    known = ("groups", "overlapping windows", "parts of a fitted scale")
    assert check_leakage(fair, joined) == check_leakage(fair, store) == known

    document = explain_sample(store, 41)["window"]
    entry = next(e for e in open_recordings("sisfall", real).entries if e.subject == "SA01")
    assert document["recording"] == Path(entry.file).name
    raw = open_recordings("sisfall", real).read(0).values
    cut_again = raw[document["start"] : document["start"] + document["length"], :3]
    numbers = {k: np.array(list(v.values())) for k, v in source.options["fitted"].items()}
    np.testing.assert_array_equal(
        (cut_again - numbers["offset"]) / numbers["divisor"], store.read("inputs", [41])[0]
    )
    lines = "\n".join(explanation_lines(store, explain_sample(store, 41)))
    assert "400 samples at 200 Hz from sample 8,200 (41 s) of D01_SA01_R01.txt, subject" in lines


def test_other_windows_have_another_key_and_do_not_join(real: Path, tmp_path: Path) -> None:
    recipe = find_recipe("tda-kd-pamap2")
    opened = {"subjects": "SA01,SA02", "window": 400, "step": 400, "channels": "adxl345_x"}
    source = open_source(f"sisfall:{real}", **opened)
    store = open_store(build(source, recipe.diagram, recipe.image, root=tmp_path).path)
    for change in ({"window": 200}, {"subjects": "SA01"}, {"resample": "thin:2", "window": 200}):
        other = open_source(f"sisfall:{real}", **(opened | change))
        built = build(other, recipe.diagram, recipe.image, root=tmp_path)
        assert built.manifest.key != store.key
        with pytest.raises(MismatchedStores, match=r"lacks \d+ of the \d+ samples .*@\d+\+400@"):
            open_together({"old": store, "new": open_store(built.path)})


def test_memory_and_bytes_are_stated_before_any_work(real: Path, tmp_path: Path) -> None:
    source = open_source(f"sisfall:{real}", window=400, step=400)
    recipe = find_recipe("tda-kd-pamap2")
    spec = StoreSpec(source=source.spec(), diagram=recipe.diagram, image=recipe.image)
    planned = make_plan(source, spec, options=Options(executor="serial"), root=tmp_path)
    document = planned.to_dict()
    assert planned.reader_memory == source.reader.memory > 2**20
    assert document["memory_per_worker"] > planned.reader_memory
    assert document["bytes"] > 0
    assert list(tmp_path.iterdir()) == []
