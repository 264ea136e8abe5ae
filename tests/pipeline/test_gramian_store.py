"""Stores of Gramian angular fields: built, gone on with, mended, joined, told from other stores."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import pi_cache.cli
import pipeline.cli
from pi_cache.catalogue import nearest
from pi_cache.errors import InvalidSpec, MismatchedStores
from pi_cache.integrity.repair import repair
from pi_cache.integrity.verification import verify
from pi_cache.reader import open_store
from pi_cache.sampling.joins import open_together
from pi_cache.sampling.windows import Window
from pi_cache.specs import DiagramSpec, GramianSpec, ImageSpec, Status, StoreSpec
from pi_cache.store import open_zarr
from pipeline.build import BuildReport, build, build_gramian, gramian_store
from pipeline.buildoptions import Options
from pipeline.gramian.fields import gramian_fields
from pipeline.gramian.report import describe, explain_sample, facts_of, warnings_of
from pipeline.planning import make_plan
from pipeline.recompute import recompute
from pipeline.request import resolve, resolve_gramian
from pipeline.sources import open_source
from pipeline.sources.arrays import from_arrays
from pipeline.sources.base import Source
from tests.recordings.made import write_sisfall
from tests.sources.test_base import make as made_source

COMMANDS = {"pipeline": pipeline.cli.cli, "pi-cache": pi_cache.cli.cli}
GRAMIAN = GramianSpec(size=12)
FLAT, CONSTANT, LOST = 3, 5, 6
"""Samples of `windows`: one with a flat channel, one with nothing else, one with a NaN."""


def windows(samples: int = 40, length: int = 30) -> np.ndarray:
    """Signals (n, T, 3)."""
    values = np.random.default_rng(5).normal(size=(samples, length, 3)).cumsum(axis=1)
    values[FLAT, :, 1], values[CONSTANT], values[LOST, 4, 2] = 7, 2, np.nan
    return values


def source_of(values: np.ndarray) -> Source:
    labels = np.arange(len(values)) % 3
    return from_arrays(values, labels=labels, sample="signal", channels=["x", "y", "z"])


@pytest.fixture(scope="module")
def signals() -> Source:
    return source_of(windows())


def built(source: Source, root: Path, spec: GramianSpec = GRAMIAN, **given: Any) -> BuildReport:
    how = {"executor": "serial", "shard_samples": 16, **given}
    return build_gramian(source, spec, root=root, options=Options(**how))


def run(words: str | list[str]) -> Result:
    name, *arguments = shlex.split(words) if isinstance(words, str) else words
    return CliRunner().invoke(COMMANDS[name], arguments)


def test_a_store_holds_the_field_of_every_channel(signals: Source, tmp_path: Path) -> None:
    store = open_store(built(signals, tmp_path).path)
    assert store.channels == ("x/GASF", "y/GASF", "z/GASF")
    assert {c: store.column(c).dimensions for c in store.columns} == {
        "images": ("channel", "time", "other_time"), "status": (), "inputs": ("time", "channel"),
    }  # fmt: skip
    images, status = store.read_all("images"), store.status
    unusual = {CONSTANT: Status.CONSTANT, LOST: Status.NAN}
    assert [Status(code) for code in status] == [unusual.get(k, Status.OK) for k in range(40)]
    for k in np.flatnonzero(status != Status.NAN):
        expected = gramian_fields(np.ascontiguousarray(windows()[k].T), GRAMIAN)
        assert np.array_equal(images[k], expected)
    assert (images[FLAT, 1] == -1).all() and (images[CONSTANT] == -1).all()
    assert np.isnan(images[LOST].astype(np.float64)).all()
    facts = facts_of(store)
    assert (facts["flat_channels"], facts["values"]) == (4, 39 * 30 * 3)
    assert list(facts["problems"]) == ["000005", "000006"]


def test_the_cut_into_shards_changes_no_number(signals: Source, tmp_path: Path) -> None:
    stores = [
        open_store(built(signals, tmp_path / str(k), **how).path)
        for k, how in enumerate([{}, {"shard_samples": 40}, {"mapped": True, "with_inputs": False}])
    ]
    first = stores[0]
    for other in stores[1:]:
        assert other.key == first.key
        assert np.array_equal(other.read_all("images"), first.read_all("images"), equal_nan=True)
    assert "inputs" not in stores[2].columns and stores[2].manifest.layout.codec == "none"


def test_two_processes_build_what_one_builds(signals: Source, tmp_path: Path) -> None:
    serial = built(signals, tmp_path / "serial")
    joblib = built(signals, tmp_path / "joblib", executor="joblib", workers=2)
    assert joblib.executor == "joblib" and joblib.manifest.files == serial.manifest.files


def test_a_build_goes_on_where_it_stopped(signals: Source, tmp_path: Path) -> None:
    whole = built(signals, tmp_path / "whole").manifest

    def stop(done: int, *others: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    how = Options(executor="serial", shard_samples=16)
    with pytest.raises(KeyboardInterrupt):
        build_gramian(signals, GRAMIAN, root=tmp_path / "cut", options=how, progress=stop)
    report = built(signals, tmp_path / "cut")
    assert (report.kept, report.built) == (2, 1) and report.manifest.files == whole.files
    again = built(signals, tmp_path / "cut")
    assert again.found and again.manifest.digest == whole.digest


def test_a_plan_says_what_is_built_and_writes_nothing(signals: Source, tmp_path: Path) -> None:
    how = Options(executor="serial", shard_samples=16)
    spec = gramian_store(signals, GRAMIAN)
    plan = make_plan(signals, spec, options=how, root=tmp_path)
    assert not list(tmp_path.iterdir())
    document = plan.to_dict()
    assert "points_per_sample" not in document
    report = built(signals, tmp_path)
    assert document["key"] == report.manifest.key
    assert len(document["seconds_per_sample"]) == 3
    assert document["shards"] == report.manifest.shards
    assert document["files"] == report.to_dict()["files"]
    arrays = sum(e.size for name, e in report.manifest.files.items() if "/c." in name)
    assert 0.7 < document["bytes"] / arrays < 1.2


@pytest.mark.parametrize("with_inputs", [True, False])
def test_damage_is_mended_from_inputs_or_the_source(tmp_path: Path, with_inputs: bool) -> None:
    np.savez(tmp_path / "windows.npz", data=windows())
    source = open_source(f"array:{tmp_path / 'windows.npz'}", sample="signal")
    path = built(source, tmp_path, with_inputs=with_inputs).path
    digest = open_store(path).manifest.digest
    for lost in ("images/c.1.0.0.0", "status/c.2"):
        (path / "data.zarr" / lost).unlink()
    assert len(verify(path)) == 2
    done = repair(path)
    way = "its stored inputs" if with_inputs else "the source"
    assert done.done == [f"shard 1: images from {way}", f"shard 2: status from {way}"]
    assert not verify(path) and open_store(path).manifest.digest == digest


def test_what_is_stored_is_what_the_source_gives(tmp_path: Path) -> None:
    np.savez(tmp_path / "windows.npz", data=windows())
    source = open_source(f"array:{tmp_path / 'windows.npz'}", sample="signal")
    path = built(source, tmp_path, GramianSpec(size=9, dtype="uint8", range=(-2, 2))).path
    found = recompute(path, 40, seed=0)
    assert (found.samples, found.findings) == (40, [])
    images = np.array(open_zarr(path)["images"])
    assert np.array_equal(images, open_store(path).read_all("images"))


def test_another_computation_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "windows.npz", data=windows())
    source = open_source(f"array:{tmp_path / 'windows.npz'}", sample="signal")
    path = built(source, tmp_path).path
    right = gramian_fields
    monkeypatch.setattr(
        "pipeline.gramian.shard.gramian_fields", lambda values, spec: -right(values, spec)
    )
    found = recompute(path, 40, seed=0)
    assert {finding.kind for finding in found.findings} == {"differs"}
    assert "channel0/GASF: differs by up to" in str(found.findings[0])


def test_fields_join_persistence_images_of_the_same_samples(
    signals: Source, tmp_path: Path
) -> None:
    images = ImageSpec(pixels=8, birth_range=(-9, 9), persistence_range=(0, 9), sigma=0.5)
    how = Options(executor="serial")
    pis = build(signals, DiagramSpec(), images, root=tmp_path, options=how)
    paths = {"pi": pis.path, "gasf": built(signals, tmp_path).path}
    paths["gadf"] = built(signals, tmp_path, GramianSpec(form="difference", dtype="uint8")).path
    joined = open_together(paths)
    assert len(joined.ids) == 38
    assert joined.left_out == {name: {"NAN": 1, "CONSTANT": 1} for name in paths}
    batch = joined.read("images", [0, 30])
    assert [batch[name].shape for name in paths] == [
        (2, 3, 8, 8), (2, 3, 12, 12), (2, 3, 30, 30),
    ]  # fmt: skip
    stores = [open_store(path) for path in paths.values()]
    for table in ("ids", "labels", "status"):
        for store in stores[1:]:
            assert np.array_equal(getattr(store, table), getattr(stores[0], table))
    shorter = built(source_of(windows(length=29))[:39], tmp_path)
    with pytest.raises(MismatchedStores, match=r"(?s)000039.*fingerprint"):
        open_together({"pi": pis.path, "gasf": shorter.path})


def test_axes_are_seconds_where_ids_say_the_rate(tmp_path: Path) -> None:
    write_sisfall(tmp_path / "data", rows=700)
    options = {"window": "1s", "step": "0.5s", "resample": "thin:2"}
    source = open_source(f"sisfall:{tmp_path / 'data'}", **options)
    store = open_store(built(source, tmp_path, GramianSpec(size=10)).path)
    window = Window.parse(str(store.ids[0]))
    assert (window.samples, window.rate) == (100, 100.0)
    assert store.column("images").attributes["unit"] == "second"
    np.testing.assert_allclose(store.axis("time"), np.arange(10) / 10)
    assert np.array_equal(store.axis("time"), store.axis("other_time"))
    with pytest.raises(InvalidSpec, match="axis must be time or other_time, got 'birth'"):
        store.axis("birth")
    facts = explain_sample(store, 0, (3, 9))
    assert facts["channels"][0]["time"] == pytest.approx([0.3, 0.4])
    assert facts["channels"][0]["other_time"] == pytest.approx([0.9, 1.0])


def test_axes_are_samples_elsewhere(signals: Source, tmp_path: Path) -> None:
    store = open_store(built(signals, tmp_path).path)
    assert store.column("images").attributes["unit"] == "sample"
    np.testing.assert_allclose(store.axis("time"), np.arange(12) * 2.5)


def test_windows_of_other_lengths(tmp_path: Path, rng: np.random.Generator) -> None:
    parts = [rng.normal(size=(length, 2)) for length in (8, 20, 5, 9)]
    source = made_source(*parts, shape=(None, 2))
    with pytest.raises(InvalidSpec, match="different lengths, so a --size must be named"):
        built(source, tmp_path, GramianSpec())
    store = open_store(built(source, tmp_path, GramianSpec(size=8, dtype="float64")).path)
    assert [Status(code).name for code in store.status] == ["OK", "OK", "WRONG_SHAPE", "OK"]
    problem = store.manifest.statistics["problems"]["s2"]
    assert problem == "has 5 samples, and its field 8 a side; use a smaller --size"
    assert store.column("images").attributes["unit"] == "window"
    for k in (0, 1, 3):
        expected = gramian_fields(np.ascontiguousarray(parts[k].T), store.spec.gramian)
        assert np.array_equal(store.read("images", [k])[0], expected)


@pytest.mark.parametrize(
    ("values", "spec", "message"),
    [
        (np.zeros((2, 9, 9, 1)), GRAMIAN, "are of signals, not of images$"),
        (np.zeros((2, 9, 9, 1)), GramianSpec(), "are of signals, not of images$"),
        (windows(2 + LOST), GramianSpec(size=31), "at most the 30 samples of a window, got 31"),
        (np.zeros((2, 1025, 1)), GramianSpec(), "at most 1024 a side; name a --size"),
    ],
)
def test_what_has_no_field_is_refused(
    values: np.ndarray, spec: GramianSpec, message: str, tmp_path: Path
) -> None:
    sample = "image" if values.ndim == 4 else "signal"
    with pytest.raises(InvalidSpec, match=message):
        built(from_arrays(values, sample=sample), tmp_path, spec)
    assert not list(tmp_path.iterdir())


def test_the_length_of_a_window_is_one_key_whether_named_or_not(signals: Source) -> None:
    whole = gramian_store(signals, GramianSpec(size=30))
    assert gramian_store(signals, GramianSpec()).key == whole.key
    assert gramian_store(signals, GramianSpec(range="segments")).key == whole.key
    assert gramian_store(signals, GramianSpec(size=15, range="segments")).key != whole.key


def test_clipped_values_are_a_warning(signals: Source, tmp_path: Path) -> None:
    store = open_store(built(signals, tmp_path, GramianSpec(size=6, range=(-1, 1))).path)
    usable = np.delete(windows(), LOST, axis=0)
    beyond = np.abs(usable) > 1
    facts = facts_of(store)
    assert facts["clipped_values"] == beyond.sum()
    assert facts["clipped_samples"] == beyond.any(axis=(1, 2)).sum()
    assert any("lie outside -1..1, and are clipped; a wider --range" in line
               for line in warnings_of(facts))  # fmt: skip
    explained = explain_sample(store, 0)["channels"][0]["signal"]
    assert explained["clipped"] == (np.abs(windows()[0, :, 0]) > 1).sum()


@pytest.mark.parametrize("given", ["window", "segments", (-3, 3)])
def test_words_say_what_was_done(given: Any) -> None:
    text = " ".join(describe(GramianSpec(size=7, range=given, dtype="uint8")))
    assert "7 equal segments" in text and "2 byte / 255 - 1" in text
    assert text.index("become -1 and 1") < text.index("means") or given == "segments"


# --- The commands ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with persistence images and two stores of fields, all of the same windows."""
    root = tmp_path_factory.mktemp("캐시")
    np.savez(root / "windows.npz", data=windows(), labels=np.arange(40) % 3)
    source = ["array:" + str(root / "windows.npz"), "--sample", "signal"]
    end = ["--cache", str(root), "--executor", "serial"]
    for words in (
        ["build-pis", *source, "--birth-range=-9,9", "--pixels", "9", "--sigma", "0.5"],
        ["build-gafs", *source, "--size", "12"],
        ["build-gafs", *source, "--form", "difference", "--range=-2,2", "--dtype", "uint8"],
    ):
        done = run(["pipeline", *words, *end])
        assert done.exit_code == 0, done.output
    return root


def keys(cache: Path, *conditions: str) -> list[str]:
    words = ["find", *conditions] if conditions else ["ls"]
    done = run(["pi-cache", *words, "--cache", str(cache), "--json"])
    return [document["key"] for document in json.loads(done.stdout)]


def test_a_cache_tells_fields_from_persistence_images(cache: Path) -> None:
    listed = run(["pi-cache", "ls", "--cache", str(cache)]).stdout
    assert [word for word in ("GASF", "GADF", "sublevel") if word in listed] == [
        "GASF", "GADF", "sublevel",
    ]  # fmt: skip
    (gasf,) = keys(cache, "form=summation")
    (gadf,) = keys(cache, "gramian.range=-2,2")
    (pis,) = keys(cache, "representation=persistence-images")
    assert set(keys(cache, "representation~gramian")) == {gasf, gadf}
    shown = run(["pi-cache", "show", gasf, "--cache", str(cache)]).stdout
    assert "birth" not in shown and "persistence" not in shown
    assert "time 12 cells, lower edges 0 to 27.5 samples" in shown
    differ = run(["pi-cache", "diff", pis, gasf, "--cache", str(cache)])
    assert "diagram" not in differ.stdout and "join" in differ.stderr
    joined = run(["pi-cache", "join", pis, gasf, gadf, "--cache", str(cache)])
    assert joined.exit_code == 0 and "38 samples, OK in all" in joined.stderr


def test_the_nearest_store_is_one_of_the_same_representation(cache: Path) -> None:
    """Even one that differs in more fields than in what it holds."""
    (pis,) = keys(cache, "representation=persistence-images")
    asked = open_store(pis, root=cache).spec
    asked = asked.replace(image=asked.image.replace(sigma=1, pixels=3, dtype="float32"))
    entry, changed = nearest(cache, asked) or (None, {})
    assert entry is not None and entry.key == pis
    assert changed.keys() == {"image.sigma", "image.pixels", "image.dtype"}


def test_report_and_explain_speak_of_time(cache: Path, tmp_path: Path) -> None:
    for form in ("summation", "difference"):
        (key,) = keys(cache, f"form={form}")
        for words in (["report", key], ["explain", key, "3"], ["explain", key, str(LOST)]):
            done = run(["pipeline", *words, "--cache", str(cache)])
            assert done.exit_code == 0, done.output
            assert "persistence" not in done.output and "birth" not in done.output
        facts = run(["pipeline", "explain", key, "3", "--pixel", "0,1", "--json",
                     "--cache", str(cache)])  # fmt: skip
        assert json.loads(facts.stdout)["channels"][1]["value"] == pytest.approx(
            -1 if form == "summation" else 1 - 128 / 127.5, abs=0.01
        )
    refused = run(["pipeline", "report", key, "--png", "a.png", "--cache", str(cache)])
    assert isinstance(refused.exception, InvalidSpec)


def test_a_picture_is_the_same_each_time(cache: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (key,) = keys(cache, "form=difference")
    drawn = []
    for name in ("one.png", "two.png"):
        path = tmp_path / name
        done = run(["pipeline", "explain", key, "0", "--png", str(path), "--cache", str(cache)])
        assert done.exit_code == 0, done.output
        drawn.append(path.read_bytes())
    assert drawn[0] == drawn[1] and drawn[0].startswith(b"\x89PNG") and len(drawn[0]) > 10_000


def test_the_spec_of_persistence_images_names_the_samples(cache: Path) -> None:
    (pis,) = keys(cache, "representation=persistence-images")
    (gasf,) = keys(cache, "form=summation")
    saved = str(cache / "stores" / pis / "spec.json")
    words = ["build-gafs", "--spec", saved, "--size", "12", "--cache", str(cache), "--json"]
    document = json.loads(run(["pipeline", *words]).stdout)
    assert (document["key"], document["found"]) == (gasf, True)
    words[1:3] = ["--like", pis[:9]]
    document = json.loads(run(["pipeline", *words]).stdout)
    assert (document["key"], document["found"]) == (gasf, True)
    for beside in (["--spec", saved], ["digits"]):
        both = run(["pipeline", *words, *beside])
        assert "give one of the two" in str(both.exception)
    saved = str(cache / "stores" / gasf / "spec.json")
    words = ["build-gafs", "--spec", saved, "--plan", "--cache", str(cache), "--json"]
    assert json.loads(run(["pipeline", *words]).stdout)["key"] == gasf
    refused = run(["pipeline", "build-pis", "--spec", saved, "--cache", str(cache)])
    assert isinstance(refused.exception, InvalidSpec)


def test_requests_are_told_apart() -> None:
    with pytest.raises(InvalidSpec, match="use pipeline build-gafs"):
        resolve({"gramian": {"size": 3}}, {})
    with pytest.raises(InvalidSpec, match="no source is named"):
        resolve_gramian({}, {})
    with pytest.raises(InvalidSpec, match="unknown field 'sise'; did you mean 'size'"):
        resolve_gramian({"source": "digits", "gramian": {"sise": 3}}, {})
    wanted = resolve_gramian({"source": "x", "split": "a", "gramian": {"size": 3}},
                             {"source": "y", "form": "difference"})  # fmt: skip
    assert (wanted.source, wanted.split) == ("y", None)
    assert wanted.gramian == GramianSpec(size=3, form="difference")


@pytest.mark.parametrize("value", ["windows", "1", "1,2,3", "2,1", "a,b"])
def test_a_range_that_is_none_is_refused(value: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "windows.npz", data=windows())
    words = ["build-gafs", f"array:{tmp_path / 'windows.npz'}", "--sample", "signal"]
    done = run(["pipeline", *words, "--range", value, "--cache", str(tmp_path)])
    assert done.exit_code == 2 or isinstance(done.exception, InvalidSpec)


def test_a_spec_may_say_no_more_than_it_means(signals: Source) -> None:
    spec = StoreSpec(source=signals.spec(), gramian=GRAMIAN)
    assert "image" not in spec.to_dict() and "diagram" not in spec.to_dict()
    assert StoreSpec.from_document(json.loads(spec.to_bytes())) == spec
