"""Builds: all executors alike, killed and resumed, found again, reused, honest about failures."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pi_cache import files
from pi_cache.errors import InvalidSpec, SampleError, UnfinishedStore
from pi_cache.integrity.verification import verify
from pi_cache.ledger import open_build, take_back
from pi_cache.reader import open_store
from pi_cache.specs import DiagramSpec, ImageSpec, Status, StoreSpec
from pipeline import shard as shard_module
from pipeline.build import BuildReport, build, expected_losses
from pipeline.buildoptions import Options
from pipeline.diagrams import compute_diagrams
from pipeline.fields import Fields
from pipeline.measuring import measure
from pipeline.plan import choose_shard_samples, shard_ranges, spread
from pipeline.planning import make_plan
from pipeline.shard import ShardTask
from pipeline.sources import open_source
from pipeline.sources.arrays import from_arrays
from pipeline.sources.base import Source
from tests.sources.test_base import make as made_source

IMAGE = ImageSpec(pixels=12, sigma=0.1)


@pytest.fixture(scope="module")
def digits() -> Source:
    return open_source("digits")[:200]


def built(source: Source, root: Path, image: ImageSpec = IMAGE, **options: Any) -> BuildReport:
    how = Options(**{"executor": "serial", "shard_samples": 24, **options})
    return build(source, DiagramSpec(), image, root=root, options=how)


def test_two_processes_build_what_one_builds(digits: Source, tmp_path: Path) -> None:
    serial = built(digits, tmp_path / "serial")
    joblib = built(digits, tmp_path / "joblib", executor="joblib", workers=2)
    assert joblib.executor == "joblib" and joblib.workers == 2
    assert joblib.manifest.digest == serial.manifest.digest
    assert joblib.manifest.files == serial.manifest.files


def test_dask_builds_the_same(digits: Source, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    serial = built(digits, tmp_path / "serial")
    own = built(digits, tmp_path / "own", executor="dask", workers=2)
    assert own.manifest.files == serial.manifest.files
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0"
    ) as cluster:
        there = built(
            digits, tmp_path / "there", executor="dask", scheduler=cluster.scheduler_address
        )
    assert there.manifest.files == serial.manifest.files


def test_shard_size_changes_files_and_no_number(digits: Source, tmp_path: Path) -> None:
    small = open_store(built(digits, tmp_path / "small").path)
    large = open_store(built(digits, tmp_path / "large", shard_samples=4096).path)
    mapped = open_store(built(digits, tmp_path / "mapped", mapped=True).path)
    single = open_store(built(digits, tmp_path / "single", chunk_samples=1).path)
    assert single.manifest.blueprint.layout.chunk_samples == 1
    assert small.key == large.key == mapped.key == single.key
    for name in ("images", "status", "inputs"):
        for other in (large, mapped, single):
            np.testing.assert_array_equal(small.read_all(name), other.read_all(name))
    np.testing.assert_array_equal(small.diagram(199, 0), large.diagram(199, 0))


SCRIPT = """
import sys
from pathlib import Path
from pi_cache.specs import DiagramSpec, ImageSpec
from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.sources import open_source
import pipeline.build, time
fast = pipeline.build.build_shard
def build_shard(task):
    time.sleep(0.03)
    return fast(task)
pipeline.build.build_shard = build_shard
build(open_source("digits")[:200], DiagramSpec(), ImageSpec(pixels=12, sigma=0.1),
      root=Path(sys.argv[1]), options=Options(executor="serial", shard_samples=8))
"""


@pytest.mark.slow
def test_killed_three_times_gives_the_digests_of_an_undisturbed_build(
    digits: Source, tmp_path: Path
) -> None:
    undisturbed = built(digits, tmp_path / "undisturbed", shard_samples=8)
    root, instants = tmp_path / "killed", random.Random(5)
    kept = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", SCRIPT, str(root)]) as process:
            while records(root) == kept and process.poll() is None:
                time.sleep(0.005)
            time.sleep(0.1 * instants.random())
            process.kill()
        assert records(root) > kept, "a recorded shard is never lost"
        kept = records(root)
        assert not list(root.glob("stores/*/manifest.json"))
    resumed = built(digits, root, shard_samples=8)
    assert 0 < resumed.kept < 25 and resumed.kept + resumed.built == 25
    assert resumed.manifest.digest == undisturbed.manifest.digest
    assert resumed.manifest.files == undisturbed.manifest.files
    assert verify(resumed.path) == []


def records(root: Path) -> int:
    return len(list(root.glob("stores/*/ledger/0*.json")))


def test_a_layout_once_begun_is_kept(digits: Source, tmp_path: Path) -> None:
    source = digits[:64]
    store = shard_module.build_shard
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.build.build_shard", fail_at(store, 1))
        with pytest.raises(RuntimeError, match="power cut"):
            built(source, tmp_path, shard_samples=16)
    resumed = built(source, tmp_path, shard_samples=64)
    assert resumed.manifest.layout.shard_samples == 16
    assert resumed.kept == 1


def fail_at(function: Any, shard: int) -> Any:
    def build_shard(task: ShardTask) -> Any:
        if task.shard == shard:
            raise RuntimeError("power cut")
        return function(task)

    return build_shard


def test_a_finished_store_is_found(digits: Source, tmp_path: Path) -> None:
    first = built(digits, tmp_path)
    again = built(digits, tmp_path)
    assert again.found and not first.found
    assert again.manifest == first.manifest


def test_a_miss_names_the_field_that_differs(digits: Source, tmp_path: Path) -> None:
    built(digits, tmp_path)
    said: list[str] = []
    changed = IMAGE.replace(sigma=0.2)
    build(digits, DiagramSpec(), changed, root=tmp_path, say=said.append)
    assert any("differs in image.sigma 0.1 -> 0.2" in line for line in said)


@pytest.mark.parametrize(
    "name", ["images/c.3.0.0.0", "points/c.1.0.0", "ids/c.0", "../manifest.json"]
)
@pytest.mark.parametrize("damage", ["delete", "truncate", "flip"])
def test_building_again_mends_exactly_what_is_damaged(
    name: str, damage: str, digits: Source, tmp_path: Path
) -> None:
    first = built(digits, tmp_path)
    victim = first.path / "data.zarr" / name
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 4
    {
        "delete": victim.unlink,
        "truncate": lambda: victim.write_bytes(content[:-1]),
        "flip": lambda: victim.write_bytes(content),
    }[damage]()
    again = built(digits, tmp_path)
    assert not again.found
    assert again.built == (1 if "/c.3" in name or "/c.1" in name else 0)
    assert again.manifest.files == first.manifest.files
    assert [f for f in verify(again.path) if f.kind != "orphan"] == []
    assert built(digits, tmp_path).found


def test_another_image_reuses_the_diagrams(
    digits: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changed images are made from stored diagrams: topology is not even called."""
    changed = IMAGE.replace(sigma=0.02, threshold=0.1, dtype="float32")
    fresh = built(digits, tmp_path / "fresh", changed)
    built(digits, tmp_path / "donor", shard_samples=40)
    monkeypatch.setattr(shard_module, "compute_diagrams", None)
    reused = built(digits, tmp_path / "donor", changed)
    assert reused.reused_diagrams
    assert reused.manifest.files == fresh.manifest.files


def test_a_damaged_donor_is_not_believed(digits: Source, tmp_path: Path) -> None:
    donor = built(digits, tmp_path / "root")
    points = donor.path / "data.zarr" / "points" / "c.2.0.0"
    points.write_bytes(points.read_bytes()[::-1])
    changed = IMAGE.replace(sigma=0.05)
    report = built(digits, tmp_path / "root", changed)
    fresh = built(digits, tmp_path / "fresh", changed)
    assert report.manifest.files == fresh.manifest.files


def test_another_diagram_does_not_reuse(digits: Source, tmp_path: Path) -> None:
    built(digits, tmp_path)
    how = Options(executor="serial")
    report = build(digits, DiagramSpec(scan="columns"), IMAGE, root=tmp_path, options=how)
    assert not report.reused_diagrams and not report.found


def test_dataset_max_divides_by_the_brightest_pixel_of_all(digits: Source, tmp_path: Path) -> None:
    image = IMAGE.replace(normalise="dataset-max", dtype="float32")
    store = open_store(built(digits, tmp_path, image).path)
    raw = open_store(built(digits, tmp_path, IMAGE.replace(normalise="none", dtype="float32")).path)
    images, unscaled = store.read_all("images"), raw.read_all("images")
    assert images.max() == 1
    np.testing.assert_allclose(images, unscaled / unscaled.max(), rtol=3e-7)


def bad_windows(rng: np.random.Generator) -> Source:
    windows = rng.normal(size=(8, 30, 2))
    windows[1, 4, 1] = np.nan
    windows[2, 0, 0] = np.inf
    windows[3] = 0.5
    windows[4, :, 0] = 7
    return from_arrays(windows, sample="signal", labels=np.arange(8))


def test_bad_samples_have_a_status_and_no_image(rng: np.random.Generator, tmp_path: Path) -> None:
    report = built(bad_windows(rng), tmp_path, IMAGE.replace(birth_range=(-3, 3)))
    store = open_store(report.path)
    codes = [Status(int(code)).name for code in store.status]
    assert codes == ["OK", "NAN", "INF", "CONSTANT", "OK", "OK", "OK", "OK"]
    assert dict(report.manifest.status) == {"OK": 5, "NAN": 1, "INF": 1, "CONSTANT": 1}
    images = store.read_all("images")
    assert np.isnan(images[1:3]).all()
    assert (images[3] == 0).all()
    assert np.isfinite(images[[0, 4, 5, 6, 7]]).all()
    assert len(store.diagram(1, 0)) == 0
    assert report.manifest.statistics["flat_channels"] == 3
    problems = report.manifest.statistics["problems"]
    assert "000001" in problems and "NAN at (4, 1)" in problems["000001"]


def test_good_samples_do_not_depend_on_bad_ones(rng: np.random.Generator, tmp_path: Path) -> None:
    source = bad_windows(rng)
    together = open_store(built(source, tmp_path).path)
    alone = open_store(built(source[5:8], tmp_path).path)
    np.testing.assert_array_equal(together.read("images", range(5, 8)), alone.read_all("images"))


def test_uint8_stores_zeros_for_bad_samples(rng: np.random.Generator, tmp_path: Path) -> None:
    store = open_store(built(bad_windows(rng), tmp_path, IMAGE.replace(dtype="uint8")).path)
    assert (store.read_all("images")[1:3] == 0).all()
    assert store.status[1] == Status.NAN


def test_a_sample_that_an_engine_refuses_costs_only_itself(
    digits: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = shard_module.compute_diagrams

    def fragile(fields: Any, spec: DiagramSpec, **options: Any) -> Any:
        if any(field[20] > 0.95 for field in fields):
            raise ArithmeticError("did not converge")
        return compute(fields, spec, **options)

    whole = open_store(built(digits, tmp_path / "whole").path)
    monkeypatch.setattr(shard_module, "compute_diagrams", fragile)
    report = built(digits, tmp_path / "fragile")
    store = open_store(report.path)
    bad = store.status == Status.CRASH
    assert 0 < bad.sum() < len(digits) / 2
    np.testing.assert_array_equal(store.read_all("images")[~bad], whole.read_all("images")[~bad])
    assert "did not converge" in next(iter(report.manifest.statistics["problems"].values()))


def test_float16_overflow_is_an_error_and_not_infinity(tmp_path: Path) -> None:
    windows = np.random.default_rng(0).normal(size=(2, 50)) * 1e6
    image = IMAGE.replace(
        normalise="none", birth_range=(-3e6, 3e6), persistence_range=(0, 6e6), sigma=1e4
    )
    with pytest.raises(InvalidSpec, match="float16 holds values up to 65504"):
        built(from_arrays(windows, sample="signal"), tmp_path, image)


def test_values_beyond_the_precision_are_a_status(rng: np.random.Generator, tmp_path: Path) -> None:
    windows = rng.normal(size=(3, 30))
    windows[1] *= 1e300
    source = from_arrays(windows, sample="signal")
    how = Options(executor="serial")
    single = DiagramSpec(precision="float32")
    report = build(source, single, IMAGE, root=tmp_path, options=how)
    store = open_store(report.path)
    assert store.status.tolist() == [Status.OK, Status.INF, Status.OK]
    assert "beyond float32" in report.manifest.statistics["problems"]["000001"]
    assert np.isfinite(store.diagrams([0, 2])[0][:, 0]).all()


@pytest.mark.parametrize(
    ("value", "image"), [(1e308, {}), (1e200, {"weight": "power:2", "normalise": "own-max"})]
)
def test_a_sample_that_cannot_be_drawn_costs_only_itself(
    value: float, image: dict[str, Any], rng: np.random.Generator, tmp_path: Path
) -> None:
    windows = rng.normal(size=(3, 30))
    windows[1, ::2], windows[1, 1::2] = value, -value
    source = from_arrays(windows, sample="signal")
    report = built(source, tmp_path, IMAGE.replace(birth_range=(-3, 3), **image))
    store = open_store(report.path)
    assert store.status.tolist() == [Status.OK, Status.INF, Status.OK]
    assert "overflow" in report.manifest.statistics["problems"]["000001"]
    images = store.read_all("images")
    assert np.isnan(images[1]).all() and np.isfinite(images[[0, 2]]).all()
    alone = open_store(
        built(source[2:3], tmp_path, IMAGE.replace(birth_range=(-3, 3), **image)).path
    )
    np.testing.assert_array_equal(alone.read_all("images")[0], images[2])


def test_a_signal_too_short_for_its_embedding_is_a_status(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    source = made_source(rng.normal(size=(20, 2)), rng.normal(size=(40, 2)), shape=(None, 2))
    spec = DiagramSpec(filtration="rips", embedding_dimension=5, embedding_delay=8)
    report = build(source, spec, IMAGE, root=tmp_path, options=Options(executor="serial"))
    assert dict(report.manifest.status) == {"OK": 1, "WRONG_SHAPE": 1}
    assert "too short" in report.manifest.statistics["problems"]["s0"]


def test_signals_that_are_all_too_short_fail_at_once(tmp_path: Path) -> None:
    source = from_arrays(np.random.default_rng(0).normal(size=(2, 32)), sample="signal")
    spec = DiagramSpec(filtration="rips", embedding_dimension=5, embedding_delay=8)
    message = "no sample can be used: a signal of 32 samples is too short .* it needs 33"
    with pytest.raises(InvalidSpec, match=message):
        make_plan(source, StoreSpec(source=source.spec(), diagram=spec), options=Options())
    with pytest.raises(InvalidSpec, match=message):
        build(source, spec, IMAGE, root=tmp_path)
    assert list(tmp_path.iterdir()) == [], "nothing was begun"
    longest = spec.replace(embedding_delay=7)  # 29 samples
    report = build(source, longest, IMAGE, root=tmp_path, options=Options(executor="serial"))
    assert dict(report.manifest.status) == {"OK": 2}


def test_a_flat_picture_is_a_grid_of_points_for_rips(tmp_path: Path) -> None:
    flat = from_arrays(np.full((1, 4, 4, 1), 9, np.uint8))
    spec = DiagramSpec(filtration="rips")
    report = build(flat, spec, IMAGE, root=tmp_path, options=Options(executor="serial"))
    assert dict(report.manifest.status) == {"OK": 1}
    assert len(open_store(report.path).diagram(0, 1)) == 9


def test_long_signals_have_room_for_their_points(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    head = "@problemName x\n@univariate true\n@equalLength false\n@classLabel true a\n@data\n"
    rows = [",".join(map(str, rng.integers(0, 9, n))) + ":a" for n in (300_000, 10)]
    (tmp_path / "x_TRAIN.ts").write_text(head + "\n".join(rows) + "\n")
    report = built(open_source(f"ucr:{tmp_path / 'x_TRAIN.ts'}"), tmp_path, shard_samples=1)
    assert dict(report.manifest.status) == {"OK": 2}
    assert len(open_store(report.path).diagram(0, 0)) > 65_536


def test_a_shard_has_room_for_the_points_of_all_its_samples(tmp_path: Path) -> None:
    """Its samples are whole chunks, however few are asked for."""
    zigzag = np.tile([0.0, 1.0], 20_000)[None] * np.linspace(1, 2, 8)[:, None]
    report = built(from_arrays(zigzag, sample="signal"), tmp_path, shard_samples=1)
    assert dict(report.manifest.status) == {"OK": 8}
    assert report.manifest.layout.shard_samples == 8
    assert len(open_store(report.path).diagrams(range(8))[0]) == 160_000


def test_lengths_drawn_at_random_have_room(rng: np.random.Generator, tmp_path: Path) -> None:
    """Far more loops than points: about n**1.5 / 2. The shard is of eight samples."""
    lengths = np.triu(rng.random((6, 400, 400)), 1)
    source = from_arrays(lengths + lengths.swapaxes(1, 2), sample="distances")
    spec, how = DiagramSpec(filtration="rips"), Options(executor="serial", shard_samples=1)
    report = build(source, spec, IMAGE, root=tmp_path, options=how)
    assert dict(report.manifest.status) == {"OK": 6}
    assert len(open_store(report.path).diagrams(range(6))[0]) > 6 * 8 * 400


def test_a_sample_of_too_many_points_costs_only_itself(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.fields.LOOPS_A_POINT", 1)
    lengths = np.triu(rng.random((4, 60, 60)), 1)
    clouds = np.sqrt(((np.eye(60)[:, None] - np.eye(60)[None]) ** 2).sum(-1))  # no loop at all
    matrices = lengths + lengths.swapaxes(1, 2)
    matrices[[0, 3]] = clouds * np.array([1.0, 2.0])[:, None, None]
    source = from_arrays(matrices, sample="distances")
    stores = []
    for size in (8, 16):
        how = Options(executor="serial", shard_samples=size)
        spec = DiagramSpec(filtration="rips")
        report = build(source, spec, IMAGE, root=tmp_path / str(size), options=how)
        stores.append(store := open_store(report.path))
        assert store.status.tolist() == [0, Status.TOO_LARGE, Status.TOO_LARGE, 0]
        assert "there is room for 120; use" in report.manifest.statistics["problems"]["000001"]
        assert len(store.diagram(1, 0)) == 0 and len(store.diagram(3, 0)) == 60
        assert np.isnan(store.read_all("images")[1:3]).all()
    np.testing.assert_array_equal(*(store.read_all("images") for store in stores))


def test_a_cloud_of_too_many_loops_costs_only_itself(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.kernels import rips

    compute = rips.rips_h01

    def rips_h01(points: np.ndarray, starts: np.ndarray, **options: Any) -> Any:
        for number, start in enumerate(starts[:-1]):
            if points[start, 0] > 10:
                raise rips.TooManyLoops(number)
        return compute(points, starts, **options)

    monkeypatch.setattr(rips, "rips_h01", rips_h01)
    clouds = rng.random((5, 12, 2))
    clouds[[1, 4]] += 20
    source, spec = from_arrays(clouds, sample="cloud"), DiagramSpec(filtration="rips")
    report = build(source, spec, IMAGE, root=tmp_path, options=Options(executor="serial"))
    assert dict(report.manifest.status) == {"OK": 3, "TOO_LARGE": 2}
    assert "more loops than there is memory" in report.manifest.statistics["problems"]["000004"]


def fragile(patch: pytest.MonkeyPatch, bad: set[int], status: Status = Status.TIMEOUT) -> None:
    """Samples whose first value is one of these have no diagrams."""
    compute = compute_diagrams

    def computed(fields: Any, spec: DiagramSpec, **options: Any) -> Any:
        for number, field in enumerate(fields):
            if field[0] in bad:
                raise SampleError(status, f"sample {field[0]:g} took too long", number)
        return compute(fields, spec, **options)

    patch.setattr(shard_module, "compute_diagrams", computed)


def numbered(rng: np.random.Generator, samples: int = 20) -> Source:
    """Signals whose first value is their number."""
    signals = rng.normal(size=(samples, 30))
    signals[:, 0] = np.arange(samples)
    return from_arrays(signals, sample="signal")


def retried(source: Source, root: Path, image: ImageSpec = IMAGE, **options: Any) -> BuildReport:
    return built(source, root, image, shard_samples=8, retry=True, **options)


def test_retry_computes_lost_shards_again(rng: np.random.Generator, tmp_path: Path) -> None:
    source, said = numbered(rng), list[str]()
    whole = built(source, tmp_path / "whole", shard_samples=8)
    with pytest.MonkeyPatch.context() as patch:
        fragile(patch, {3, 9})
        first = built(source, tmp_path / "s", shard_samples=8, time_limit=5)
    assert dict(first.manifest.status) == {"OK": 18, "TIMEOUT": 2}
    assert first.manifest.statistics["time_limits"] == {"5": 3}
    how = Options(executor="serial")
    again = build(source, DiagramSpec(), IMAGE, root=tmp_path / "s", options=how, say=said.append)
    assert again.found and again.manifest == first.manifest
    assert said == [
        "2 TIMEOUT: these samples have no image; to compute them again, add --retry --time-limit "
        "SECONDS (it was 5)"
    ]
    mended = retried(source, tmp_path / "s", time_limit=60)
    assert (mended.found, mended.built, mended.kept) == (False, 2, 1)
    assert mended.manifest.files == whole.manifest.files
    assert dict(mended.manifest.status) == {"OK": 20}
    assert mended.manifest.statistics["problems"] == {}
    assert mended.manifest.statistics["time_limits"] == {"60": 2, "5": 1}
    assert verify(mended.path) == []
    assert retried(source, tmp_path / "s").found, "nothing is left to be tried again"


def test_retry_with_less_time_than_before_is_refused(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples that took between the two limits would be lost."""
    fragile(monkeypatch, {3})
    first = built(numbered(rng), tmp_path, shard_samples=8, time_limit=3600)
    source = numbered(np.random.default_rng(20260101))
    with pytest.raises(InvalidSpec, match="but shards were computed with 3600 s"):
        retried(source, tmp_path, time_limit=600)
    assert built(source, tmp_path, shard_samples=8).manifest == first.manifest
    assert retried(source, tmp_path, time_limit=0).built == 1


def test_retry_of_a_store_without_records_builds_all_of_it(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    """While it does, the store is an unfinished one."""
    source = numbered(rng)
    with pytest.MonkeyPatch.context() as patch:
        fragile(patch, {3})
        first = built(source, tmp_path, shard_samples=8)
    for record in first.path.glob("ledger/*.json"):
        record.unlink()
    assert take_back(open_build(first.path), lambda record: True) == []
    with pytest.raises(UnfinishedStore):
        open_store(first.path)
    assert dict(retried(source, tmp_path).manifest.status) == {"OK": 20}


def test_retry_of_what_fails_again_leaves_the_store(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragile(monkeypatch, {3}, Status.CRASH)
    first = built(numbered(rng), tmp_path, shard_samples=8)
    again = retried(source := numbered(np.random.default_rng(0)), tmp_path / "other")
    assert dict(again.manifest.status) == {"OK": 19, "CRASH": 1} == dict(first.manifest.status)
    once_more = retried(source, tmp_path / "other")
    assert once_more.built == 1 and once_more.manifest.files == again.manifest.files
    assert verify(once_more.path) == []


def test_a_retry_killed_at_any_instant_goes_on(rng: np.random.Generator, tmp_path: Path) -> None:
    """The store is whole, or unfinished and says so, between any two changes on the disk."""
    source = numbered(rng, 16)
    whole = built(source, tmp_path / "whole", shard_samples=8).manifest
    with pytest.MonkeyPatch.context() as patch:
        fragile(patch, {3})
        built(source, tmp_path / "lost", shard_samples=8)

    class Killed(BaseException):
        pass

    for instant in itertools.count(step=2):
        root = tmp_path / str(instant)
        shutil.copytree(tmp_path / "lost", root)
        path = root / "stores" / whole.key
        left = instant
        with pytest.MonkeyPatch.context() as patch:

            def stopping(call: Any) -> Any:
                def called(*arguments: Any) -> Any:
                    nonlocal left
                    left -= 1
                    if left < 0:
                        raise Killed
                    return call(*arguments)

                return called

            for name in ("link", "rename", "unlink"):
                patch.setattr(files.system, name, stopping(getattr(os, name)))
            with suppress(Killed):
                retried(source, root)
        if left >= 0:
            break
        with suppress(UnfinishedStore):
            assert verify(path) == []
            assert open_store(path).read_all("images").shape[0] == 16
        ended = retried(source, root)
        assert ended.manifest.files == whole.files and verify(path) == []
    assert instant > 10


def test_a_donor_gives_what_it_has_and_says_what_it_has_not(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    source, other, said = numbered(rng), IMAGE.replace(sigma=0.3), list[str]()
    whole = built(source, tmp_path / "whole", other, shard_samples=8)
    with pytest.MonkeyPatch.context() as patch:
        fragile(patch, {3})
        built(source, tmp_path / "s", shard_samples=8)
    how = Options(executor="serial", shard_samples=8)
    spec = StoreSpec(source=source.spec(), diagram=DiagramSpec(), image=other)
    copied = build(source, DiagramSpec(), other, root=tmp_path / "s", options=how, say=said.append)
    assert dict(copied.manifest.status) == {"OK": 19, "TIMEOUT": 1}
    assert any("1 TIMEOUT: " in line and "add --retry --time-limit" in line for line in said)
    assert "--retry" in expected_losses(tmp_path / "s", spec, how)[0]
    numbers: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        compute = compute_diagrams

        def counted(fields: Any, spec: DiagramSpec, **options: Any) -> Any:
            numbers.extend(int(field[0]) for field in fields)
            return compute(fields, spec, **options)

        patch.setattr(shard_module, "compute_diagrams", counted)
        mended = retried(source, tmp_path / "s", other, workers=1)
        assert numbers == list(range(8)), "only the shard of sample 3"
        third = built(source, tmp_path / "s", IMAGE.replace(sigma=0.4), shard_samples=8)
        assert numbers == list(range(8)), "all from the mended store"
    assert mended.manifest.files == whole.manifest.files
    assert dict(third.manifest.status) == {"OK": 20}
    assert expected_losses(tmp_path / "s", spec, how) == []


def test_a_retried_maximum_divides_every_image(rng: np.random.Generator, tmp_path: Path) -> None:
    """Sample 3 has by far the largest image; its shard is another one than that of most."""
    signals = rng.normal(size=(20, 30))
    signals[:, 0] = np.arange(20)
    signals[3, 5:25:2] = 1
    signals[3, 6:25:2] = 0
    source = from_arrays(signals, sample="signal")
    image = IMAGE.replace(normalise="dataset-max", dtype="float32")
    whole = built(source, tmp_path / "whole", image, shard_samples=8)
    with pytest.MonkeyPatch.context() as patch:
        fragile(patch, {3})
        first = built(source, tmp_path / "s", image, shard_samples=8)
    mended = retried(source, tmp_path / "s", image)
    assert mended.manifest.files == whole.manifest.files
    changed = [
        first.manifest.files[n] != e for n, e in whole.manifest.files.items() if "images" in n
    ]
    assert any(changed[1:]), "the maximum is another one"


def test_a_plan_of_dataset_max_needs_no_maximum(digits: Source, tmp_path: Path) -> None:
    image = IMAGE.replace(normalise="dataset-max", dtype="uint8", weight="one", pixels=1)
    spec = StoreSpec(source=digits.spec(), diagram=DiagramSpec(), image=image)
    assert make_plan(digits, spec, options=Options()).samples == len(digits)


def test_what_changes_no_number_changes_no_key(digits: Source) -> None:
    def key(**image: Any) -> str:
        return StoreSpec(
            source=digits.spec(), diagram=DiagramSpec(), image=IMAGE.replace(**image)
        ).key

    assert key(rounding="truncate") == key()
    assert key(rounding="truncate", dtype="uint8") != key(dtype="uint8")
    assert key(normalise="none", floor=0.5) == key(normalise="none")
    assert key(floor=0.5) != key()


@pytest.mark.parametrize("name", ["spec.json", "blueprint.json"])
def test_a_damaged_document_does_not_stop_a_build(
    name: str, digits: Source, tmp_path: Path
) -> None:
    first = built(digits, tmp_path)
    (first.path / name).write_bytes(b"")
    again = built(digits, tmp_path)
    assert again.manifest.files == first.manifest.files


def test_memory_of_large_images_is_bounded_by_the_shard(digits: Source) -> None:
    image = IMAGE.replace(pixels=1024)
    spec = StoreSpec(source=digits.spec(), diagram=DiagramSpec(), image=image)
    planned = make_plan(digits, spec, options=Options(workers=1))
    assert planned.shard_samples * 2 * 1024**2 <= 512 * 2**20
    assert planned.memory < 2 * 2**30


def test_ragged_signals(rng: np.random.Generator, tmp_path: Path) -> None:
    """Signals of several lengths: one diagram each, and no inputs in the store."""
    lines = ["@problemName x", "@univariate true", "@equalLength false", "@classLabel true a b"]
    signals = [rng.normal(size=n) for n in (5, 9, 30, 12)]
    rows = [",".join(repr(float(v)) for v in s) + f":{'ab'[i % 2]}" for i, s in enumerate(signals)]
    (tmp_path / "x_TRAIN.ts").write_text("\n".join([*lines, "@data", *rows]) + "\n")
    source = open_source(f"ucr:{tmp_path / 'x_TRAIN.ts'}")
    store = open_store(built(source, tmp_path).path)
    assert "inputs" not in store.columns
    for sample, values in enumerate(signals):
        alone = from_arrays(values[None], sample="signal")
        single = open_store(built(alone, tmp_path / str(sample)).path)
        np.testing.assert_array_equal(store.diagram(sample, 0), single.diagram(0, 0))


def test_samples_of_a_store_read_by_plain_zarr(digits: Source, tmp_path: Path) -> None:
    from pi_cache.store import open_zarr

    report = built(digits, tmp_path)
    store, group = open_store(report.path), open_zarr(report.path)
    for name in ("images", "inputs", "status", "labels"):
        got = store.read_all(name) if name in store.columns else store.labels
        np.testing.assert_array_equal(np.asarray(group[name][:]), got)  # type: ignore[index]
    assert group["images"].metadata.dimension_names == (
        "sample", "channel", "persistence", "birth",
    )  # fmt: skip


def test_plan_writes_nothing_and_knows_the_shards(digits: Source, tmp_path: Path) -> None:
    spec = StoreSpec(source=digits.spec(), diagram=DiagramSpec(), image=IMAGE)
    planned = make_plan(digits, spec, options=Options(shard_samples=24, workers=1))
    assert list(tmp_path.iterdir()) == []
    assert planned.to_dict()["shards"] == 9
    report = built(digits, tmp_path)
    assert planned.files == sum(1 for f in report.path.rglob("*") if f.is_file())
    assert 0.5 < planned.stored_bytes / report.manifest.size < 2


def test_measure_is_of_one_sample(digits: Source) -> None:
    spec = StoreSpec(source=digits.spec(), diagram=DiagramSpec(), image=IMAGE)
    cost = measure(digits, spec)
    assert 0 < cost.seconds < 0.1
    assert 5 < cost.points < 33


@pytest.mark.parametrize("samples", [1, 7, 8, 255, 1797, 5000, 60_000, 1_281_167])
@pytest.mark.parametrize("seconds", [0, 1e-4, 0.03, 4.0, 1e4])
def test_shards_cover_every_sample_once(samples: int, seconds: float) -> None:
    size = choose_shard_samples(samples, seconds)
    shards = shard_ranges(samples, size)
    assert shards[-1].stop == samples
    assert all(a.stop == b.start for a, b in itertools.pairwise(shards))
    assert shards[0].start == 0 and 8 <= size <= 4096 and size % 8 == 0
    assert size == 8 or size * seconds <= 120


def test_spread_is_sorted_and_distinct() -> None:
    assert spread(3, 24) == [0, 1, 2]
    assert spread(1000, 3) == [0, 499, 999]


def interrupted(
    root: Path, number: int, engine: str, when: Callable[[], object], **environment: str
) -> subprocess.CompletedProcess[str]:
    """A build from the command line, stopped by a signal as soon as something is true."""
    command = [
        sys.executable, "-m", "pipeline.cli", "build-pis", "digits", "--filtration", "rips",
        "--engine", engine,
        "--shard-samples", "16", "--executor", "serial", "--cache", str(root),
    ]  # fmt: skip
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        for _ in range(600):
            if when() or process.poll() is not None:
                break
            time.sleep(0.05)
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_build_says_how_to_go_on(number: int, tmp_path: Path) -> None:
    done = interrupted(tmp_path, number, "ripser", lambda: records(tmp_path))
    assert done.returncode == 130, done.stderr
    assert "run the same command again to go on" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(next(tmp_path.glob("stores/*/ledger/0*.json")).read_text())["start"] >= 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_build_stopped_while_it_compiles_says_so(number: int, tmp_path: Path) -> None:
    """numba, interrupted, raises an error of its own."""
    code = tmp_path / "code"
    done = interrupted(
        tmp_path, number, "native", lambda: list(code.rglob("*.nbc")), NUMBA_CACHE_DIR=str(code)
    )
    # Interrupted in the source that numba executes, Python ends by the signal: 130 to a shell too.
    assert done.returncode in (130, -signal.SIGINT), done.stderr
    assert "run the same command again to go on" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "limit", "executor"),
    [
        (signal.SIGINT, "0", "serial"),
        (signal.SIGTERM, "600", "serial"),
        (signal.SIGINT, "600", "joblib"),
    ],
)
def test_a_build_stopped_in_a_kernel_loses_no_sample(
    number: int, limit: str, executor: str, tmp_path: Path
) -> None:
    """A compiled kernel, seconds from its end, gives up at once; no sample is to blame."""
    clouds = np.random.default_rng(0).random((129, 6000, 8))  # a minute and more of work
    np.save(tmp_path / "clouds.npy", clouds)
    command = [
        sys.executable, "-m", "pipeline.cli", "build-pis", f"array:{tmp_path / 'clouds.npy'}",
        "--sample", "cloud", "--filtration", "rips", "--shard-samples", "128", "--workers", "2",
        "--executor", executor, "--time-limit", limit, "--cache", str(tmp_path),
    ]  # fmt: skip
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while not list(tmp_path.glob("stores/*/ledger/table.json")):
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(3 if executor == "serial" else 8)
        assert process.poll() is None
        start = time.monotonic()
        os.killpg(process.pid, number)  # as a terminal does
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert time.monotonic() - start < 10
    assert "Traceback" not in err and "run the same command again to go on" in err
    kept = [path.read_text() for path in tmp_path.glob("stores/*/ledger/0*.json")]
    assert len(kept) < 2 and not any("CRASH" in record for record in kept)


def test_a_handler_that_goes_on_keeps_the_diagrams(rng: np.random.Generator) -> None:
    """A kernel that gave up for a signal is run again where nobody raises."""
    clouds, seen = rng.random((1, 1500, 4)), list[int]()
    spec = DiagramSpec(filtration="rips")
    expected = compute_diagrams(Fields(clouds), spec)
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        found = compute_diagrams(Fields(clouds), spec)
        timer.join()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]
    np.testing.assert_array_equal(found.points, expected.points)


def test_an_interrupt_inside_another_error_ends_the_build(
    digits: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compute(*arguments: Any, **options: Any) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise SystemError("returned a result with an exception set") from error

    monkeypatch.setattr(shard_module, "compute_diagrams", compute)
    with pytest.raises(KeyboardInterrupt):
        built(digits, tmp_path, workers=1)
    assert records(tmp_path) == 0
