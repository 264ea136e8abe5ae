"""Repair gives back what was lost, exactly; recomputing finds what no digest can tell."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pi_cache import cli, files, specs
from pi_cache.errors import CorruptStore, InvalidSpec, SourceError, StoreNotFound
from pi_cache.integrity.repair import repair
from pi_cache.integrity.verification import verify
from pi_cache.manifest import StoreManifest
from pi_cache.reader import open_store
from pi_cache.shards import decode, encode
from pi_cache.specs import DiagramSpec, ImageSpec, Status
from pipeline import lostshard
from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.rebuild import recompute
from pipeline.recompute import choose, steps_between
from pipeline.sources import open_source
from tests.pi_cache.resealed import forge
from tests.sources.trees import encode as encode_image

IMAGE = ImageSpec(pixels=8, sigma=0.3, birth_range=(-5, 5), persistence_range=(0, 5))
SHARD = 8

ARRAYS = {
    "images": "data.zarr/images/c.1.0.0.0",
    "status": "data.zarr/status/c.1",
    "points": "data.zarr/points/c.1.0.0",
    "offsets": "data.zarr/offsets/c.1.0",
    "inputs": "data.zarr/inputs/c.1.0.0",
}
"""The files of shard 1, which holds a constant signal."""
TABLES = [f"data.zarr/{name}/c.0" for name in ("ids", "labels", "groups", "splits")]
METADATA = [f"data.zarr/{name}zarr.json" for name in ("", "images/", "points/", "ids/")]
DOCUMENTS = ["spec.json", "blueprint.json", "manifest.json", "ledger/000001.json"]
FREE = [*METADATA, *DOCUMENTS, "ledger/table.json"]
"""What is mended without any sample."""


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "flip": flip,
    "delete": Path.unlink,
    "truncate": lambda path: os.truncate(path, path.stat().st_size // 2),
}


class Built:
    """A store of signals with good and bad samples, and the file that it was made of."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        self.data = folder / "x.npz"
        signals = rng.normal(size=(36, 24)).cumsum(axis=1)
        signals[3, 5], signals[30, 0], signals[12] = np.nan, np.inf, 2.0
        people = np.array([f"person {i % 5}" for i in range(36)])
        splits = np.array(["train"] * 30 + ["test"] * 6)
        np.savez(self.data, data=signals, labels=np.arange(36) % 4, groups=people, splits=splits)
        self.root = folder / "cache"
        self.manifest = self.build()
        self.path = self.root / "stores" / self.manifest.key

    def build(self, image: ImageSpec = IMAGE, **options: Any) -> StoreManifest:
        source = open_source(f"array:{self.data}", sample="signal")
        how = Options(**{"executor": "serial", "shard_samples": SHARD, **options})
        return build(source, DiagramSpec(), image, root=self.root, options=how).manifest

    def bytes(self) -> dict[str, str]:
        """Digests of all listed files as they lie on disk."""
        return {
            name: hashlib.sha256((self.path / name).read_bytes()).hexdigest()
            for name in self.manifest.files
        }

    def wanted(self) -> dict[str, str]:
        return {name: entry.sha256 for name, entry in self.manifest.files.items()}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    Built(folder)
    return folder


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Built:
    """A copy of the store, of a source that has moved with it."""
    folder = tmp_path / "copy"
    shutil.copytree(template, folder)
    built = Built.__new__(Built)
    built.root, built.data = folder / "cache", template / "x.npz"
    built.path = next((built.root / "stores").iterdir())
    built.manifest = open_store(built.path).manifest
    return built


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Samples of each call that computes diagrams while mending."""
    calls: list[int] = []
    compute = lostshard.columns_from

    def counted(task: Any, samples: Any, clock: Any) -> Any:
        calls.append(len(samples.status))
        return compute(task, samples, clock)

    monkeypatch.setattr(lostshard, "columns_from", counted)
    return calls


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", [*ARRAYS.values(), *TABLES, *FREE])
def test_one_damaged_file(store: Built, computed: list[int], name: str, damage: str) -> None:
    DAMAGE[damage](store.path / name)
    done = repair(store.path)
    assert [finding.path for finding in done.found] == [name]
    assert len(done.done) == 1
    assert done.left == verify(store.path) == []
    assert done.digest == store.manifest.digest
    assert store.bytes() == store.wanted()
    assert open_store(store.path).manifest.status == store.manifest.status
    again = name in (ARRAYS["status"], ARRAYS["points"], ARRAYS["offsets"])
    assert computed == ([SHARD] if again else [])


def test_much_damage_at_once(store: Built, computed: list[int]) -> None:
    shutil.rmtree(store.path / "data.zarr/images")
    for name in (ARRAYS["points"], ARRAYS["inputs"], *TABLES, *METADATA, *FREE):
        (store.path / name).unlink(missing_ok=True)
    flip(store.path / "ledger/000003.json")
    (store.path / "data.zarr/status/c.3").write_bytes(b"")
    with pytest.raises(StoreNotFound, match="no store in"):  # no document says anything any more
        repair(store.path)
    (store.path / "manifest.json").write_bytes(store.manifest.to_bytes())
    done = repair(store.path)
    assert done.left == [] and store.bytes() == store.wanted()
    assert computed == [SHARD, SHARD], "shards 1 and 3; of the others only the images are drawn"


def test_several_processes_mend_what_one_mends(store: Built) -> None:
    for k in range(4):
        (store.path / f"data.zarr/images/c.{k}.0.0.0").unlink()
        (store.path / f"data.zarr/inputs/c.{k}.0.0").unlink()
    done = repair(store.path, workers=2)
    assert done.left == [] and store.bytes() == store.wanted()
    assert len(done.done) == 8


def test_misplaced_and_foreign_files(store: Built, computed: list[int]) -> None:
    one, other = (store.path / f"data.zarr/images/c.{k}.0.0.0" for k in (0, 2))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    (store.path / "data.zarr/images/c.9.0.0.0").write_bytes(b"foreign")
    (store.path / "link").symlink_to("/")
    (store.path / "ledger/notes.txt").write_bytes(b"mine")
    place = store.path / ARRAYS["points"]
    place.unlink()
    place.mkdir()
    done = repair(store.path)
    assert done.left == [] and store.bytes() == store.wanted()
    assert computed == [SHARD]
    assert any("a copy of" in line for line in done.done)
    kept = [path.read_bytes() for path in (store.path / "quarantine").iterdir() if path.is_file()]
    assert {b"foreign", b"mine", first, second} <= set(kept), "nothing is ever deleted"


def test_what_the_disk_cannot_read_is_replaced(
    store: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Worn(files.System):
        def open(self, place: Any, *arguments: int) -> int:  # type: ignore[override]
            if Path(place) == store.path / ARRAYS["images"] and worn == Path(place).stat().st_ino:
                raise OSError(errno.EIO, "worn")
            return os.open(place, *arguments)

    worn = (store.path / ARRAYS["images"]).stat().st_ino
    monkeypatch.setattr(files, "system", Worn())
    assert [finding.kind for finding in verify(store.path)] == ["unreadable"]
    assert repair(store.path).left == []
    assert store.bytes() == store.wanted()


@pytest.mark.parametrize("broken", ["manifest.json", "spec.json"])
def test_a_source_that_is_gone_is_needed_for_little(
    store: Built, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """All but raw values and names; and these come from the source at its new place."""
    moved = store.root.parent / "moved.npz"
    shutil.copy(store.data, moved)
    monkeypatch.setattr("pipeline.stored.open_source", missing)
    for name in ("images", "points", "offsets"):
        (store.path / ARRAYS[name]).unlink()
    for name in (*METADATA, "data.zarr/images/c.3.0.0.0", broken):
        flip(store.path / name)
    assert repair(store.path).left == [] and store.bytes() == store.wanted()
    monkeypatch.undo()
    (store.path / ARRAYS["images"]).unlink()
    (store.path / ARRAYS["inputs"]).unlink()
    (store.path / TABLES[0]).unlink()
    with pytest.raises(SourceError, match=r"for inputs of shard 1; data.zarr/ids/c.0: .*--source"):
        repair(store.path, source="array:nowhere.npz")
    assert [f.path for f in verify(store.path)] == [TABLES[0], ARRAYS["inputs"]], "images are back"
    assert repair(store.path, source=str(moved)).left == []
    assert store.bytes() == store.wanted()


def test_files_of_options_are_found_beside_moved_samples(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    np.save(old / "x.npy", np.random.default_rng(0).normal(size=(12, 20)))
    np.save(old / "y.npy", np.arange(12) % 3)
    source = open_source(f"array:{old / 'x.npy'}", sample="signal", labels=str(old / "y.npy"))
    built = build(replace(source[:9], limit=9), DiagramSpec(), IMAGE, root=tmp_path)
    old.rename(new)
    (built.path / TABLES[1]).unlink()
    with pytest.raises(SourceError, match="--source"):
        repair(built.path)
    assert repair(built.path, source=str(new / "x.npy")).left == []
    assert open_store(built.path).labels.tolist() == [0, 1, 2] * 3


def missing(*arguments: Any, **options: Any) -> Any:
    raise AssertionError("the source was opened")


def test_nothing_is_changed_by_a_source_that_has_changed(store: Built) -> None:
    changed = store.root.parent / "changed.npz"
    with np.load(store.data, allow_pickle=False) as found:
        members = dict(found)
    members["data"][9, 3] += 1
    members["labels"][20] = 3
    np.savez(changed, **members)
    for name in (ARRAYS["inputs"], TABLES[1]):
        (store.path / name).unlink()
    before = {path: path.stat().st_mtime_ns for path in store.path.rglob("*") if path.is_file()}
    with pytest.raises(SourceError, match="has changed"):
        repair(store.path, source=f"array:{changed}")
    after = {path: path.stat().st_mtime_ns for path in store.path.rglob("*") if path.is_file()}
    assert after == before
    assert repair(store.path).left == []
    (store.path / "data.zarr/inputs/c.2.0.0").unlink()
    repair(store.path, source=f"array:{changed}")  # shard 2 has not changed
    (store.path / ARRAYS["inputs"]).unlink()
    with pytest.raises(SourceError, match=r"other labels of 1 samples \(000020\)"):
        repair(store.path, source=f"array:{changed}")


def test_other_stores_of_the_cache_serve(store: Built, computed: list[int]) -> None:
    """Equal files are copied, and diagrams of a store that is cut otherwise are taken."""
    store.build(IMAGE.replace(sigma=0.1))
    store.build(IMAGE.replace(sigma=0.2), shard_samples=16, with_inputs=False)
    for name in (*TABLES, ARRAYS["inputs"], ARRAYS["points"]):
        (store.path / name).unlink()
    done = repair(store.path, source="array:nowhere.npz")
    assert all("a copy of" in line for line in done.done) and len(done.done) == 6
    shutil.rmtree(next(p for p in store.path.parent.iterdir() if sigma(p) == 0.1))
    for name in ("points", "status", "offsets"):
        (store.path / ARRAYS[name]).unlink()
    done = repair(store.path, source="array:nowhere.npz")
    assert done.done == ["shard 1: offsets, points, status from the diagrams of another store"]
    assert done.left == [] and store.bytes() == store.wanted() and computed == []


def sigma(path: Path) -> float:
    return open_store(path).spec.image.sigma


def test_images_that_were_divided_by_the_largest_of_all(store: Built, computed: list[int]) -> None:
    image = IMAGE.replace(normalise="dataset-max", dtype="uint8")
    manifest = store.build(image)
    store.path, store.manifest = store.path.with_name(manifest.key), manifest
    (store.path / ARRAYS["images"]).unlink()
    (store.path / "data.zarr/images/c.2.0.0.0").unlink()
    assert repair(store.path).left == [] and store.bytes() == store.wanted() and computed == []
    assert recompute(store.path, 36, seed=0).findings == []


def test_manifest_and_record_damaged_together(store: Built) -> None:
    """Nobody knows the digest any more: what has no record is computed, and the rest is kept."""
    flip(store.path / "manifest.json")
    flip(store.path / "ledger/000002.json")
    flip(store.path / ARRAYS["images"])
    (store.path / "foreign").write_bytes(b"")
    done = repair(store.path)
    assert done.left == [] and done.digest == store.manifest.digest
    assert "2 of 5 shards from the source" in done.done
    flip(store.path / "manifest.json")
    flip(store.path / "ledger/000002.json")
    flip(store.path / "spec.json")
    with pytest.raises(CorruptStore, match="nobody knows what this store was"):
        repair(store.path)


def test_a_repair_that_is_stopped_goes_on(
    store: Built, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(4):
        (store.path / f"data.zarr/points/c.{k}.0.0").unlink()
        flip(store.path / f"data.zarr/images/c.{k}.0.0.0")
    mend = lostshard.put

    def stopped(build: Any, name: str, data: bytes) -> None:
        if name == "data.zarr/images/c.2.0.0.0":
            raise KeyboardInterrupt
        mend(build, name, data)

    monkeypatch.setattr(lostshard, "put", stopped)
    with pytest.raises(KeyboardInterrupt):
        repair(store.path)
    monkeypatch.setattr(lostshard, "put", mend)
    computed.clear()
    assert repair(store.path).left == [] and store.bytes() == store.wanted()
    assert len(computed) <= 2, "shards 0 and 1 were mended before"


def test_a_sample_that_took_too_long_is_not_tried_again(
    store: Built, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import shard

    compute = shard.diagrams_of

    def late(samples: Any, *arguments: Any, **options: Any) -> Any:
        status = samples.status.copy()
        status[5:6] = Status.TIMEOUT
        return compute(replace(samples, status=status), *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shard, "diagrams_of", late)
        store.root = store.root.parent / "late"
        store.manifest = store.build()
    store.path = store.root / "stores" / store.manifest.key
    assert store.manifest.status["TIMEOUT"] == 4
    (store.path / ARRAYS["points"]).unlink()
    done = repair(store.path)
    assert done.done == ["shard 1: points from its stored inputs"]
    assert done.left == [] and store.bytes() == store.wanted()
    found = recompute(store.path, 36, seed=1)
    assert found.findings == [] and (found.samples, found.left_out) == (32, 4)


def test_files_that_cannot_be_decoded(tmp_path: Path, computed: list[int]) -> None:
    """Such a sample is zeros in the inputs: only the stored status, or the source, tells."""
    rng = np.random.default_rng(1)
    for k in range(10):
        data = encode_image(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8), "jpg")
        place = tmp_path / "pictures" / "ab"[k % 2] / f"{k}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data[:100] if k == 4 else data)
    source = open_source(f"imagefolder:{tmp_path / 'pictures'}")
    how = Options(executor="serial", shard_samples=8)
    built = build(source, DiagramSpec(), ImageSpec(pixels=6), root=tmp_path, options=how)
    assert built.manifest.status["UNDECODABLE"] == 1
    (built.path / "data.zarr/points/c.0.0.0").unlink()
    assert repair(built.path).done == ["shard 0: points from its stored inputs"]
    (built.path / "data.zarr/status/c.0").unlink()
    assert repair(built.path).done == ["shard 0: status from the source"]
    assert verify(built.path) == [] and computed == [8, 8, 8]
    assert open_store(built.path).manifest.digest == built.manifest.digest
    found = recompute(built.path, 3, seed=0)
    assert (found.samples, found.findings) == (3, [])


def test_a_dry_run_changes_nothing(store: Built) -> None:
    for name in (ARRAYS["images"], ARRAYS["inputs"], TABLES[0], METADATA[0], "manifest.json"):
        flip(store.path / name)
    before = {path: path.stat().st_mtime_ns for path in store.path.rglob("*")}
    done = repair(store.path, dry_run=True)
    assert {path: path.stat().st_mtime_ns for path in store.path.rglob("*")} == before
    assert done.left == done.found and done.dry
    told = repair(store.path)
    assert sorted(told.done) == sorted(done.done)


def test_a_build_mends_too(store: Built) -> None:
    flip(store.path / ARRAYS["images"])
    assert store.build().files == store.manifest.files
    assert verify(store.path) == []


def forge_rows(store: Built, array: str, change: Callable[[np.ndarray], object]) -> None:
    """Change rows of shard 1 of an array, with the right digests everywhere."""
    column = store.manifest.blueprint.column(array)
    form = column.shard_format(store.manifest.layout)
    place = store.path / column.shard_file(1)
    count = int(open_store(store.path).read("offsets", slice(8, 16))[-1, -1])
    rows = decode(place.read_bytes(), form, count if column.ragged else SHARD).copy()
    change(rows)
    forge(store.path, column.shard_file(1), encode(rows, form))


def brighten(rows: np.ndarray) -> None:
    rows[2, 0, 3, 3] += 0.25


def nudge(rows: np.ndarray) -> None:
    bits = rows.view(np.uint16)
    bits[2, 0, 3, 3] += 1 if bits[2, 0, 3, 3] < 0x3C00 else -1


def move_point(rows: np.ndarray) -> None:
    rows[np.flatnonzero(np.isfinite(rows[:, 1]))[3], 1] += 0.5


def other_input(rows: np.ndarray) -> None:
    rows[0, 0, 0] += 1


def hide_sample(rows: np.ndarray) -> None:
    rows[0], rows[4] = rows[4], rows[0]


@pytest.mark.parametrize(
    ("array", "change", "text"),
    [
        ("images", brighten, r"sample 10 \(000010\) signal/H0: differs by up to 0.25"),
        ("points", move_point, "points differ by up to 0.5"),
        ("inputs", other_input, r"sample 8 \(000008\) other values than in the source"),
        ("status", hide_sample, "CONSTANT, the source gives OK"),
    ],
)
def test_recomputing_finds_a_store_that_was_forged(
    store: Built, array: str, change: Callable[[np.ndarray], object], text: str
) -> None:
    """Every digest is right: only the source knows better."""
    forge_rows(store, array, change)
    assert verify(store.path) == []
    found = recompute(store.path, 36, seed=3)
    assert found.samples == 36 and found.slightly == 0
    assert [(f.kind, f.path) for f in found.findings] == [("differs", ARRAYS[array])]
    assert re.search(text, found.findings[0].detail)


def test_the_last_bit_is_counted_by_itself(store: Built) -> None:
    forge_rows(store, "images", nudge)
    found = recompute(store.path, 36, seed=0)
    assert found.findings == [] and found.slightly == 1
    assert 0 < found.largest < 1e-3


def test_forged_labels_are_found(store: Built) -> None:
    """Tables are compared whole, however few samples are computed."""
    other = Built.__new__(Built)
    other.root, other.data = store.root.parent / "other", store.root.parent / "other.npz"
    with np.load(store.data, allow_pickle=False) as found:
        members = dict(found)
    members["labels"][7] = 1
    np.savez(other.data, **members)
    other.manifest = other.build()
    labels = other.root / "stores" / other.manifest.key / TABLES[1]
    forge(store.path, TABLES[1], labels.read_bytes())
    assert verify(store.path) == []
    (found_,) = recompute(store.path, 1, seed=0).findings
    assert found_.path == TABLES[1] and "1 samples have others in the source: 000007" in str(found_)


def test_what_cannot_be_recomputed(store: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = store.root.parent / "changed.npz"
    with np.load(store.data, allow_pickle=False) as found:
        members = dict(found)
    members["data"][9, 3] += 1
    np.savez(changed, **members)
    with pytest.raises(SourceError, match=r"has changed .*other values of 1 samples \(000009\)"):
        recompute(store.path, 3, seed=0, source=f"array:{changed}")
    members["data"] = members["data"][:9]
    np.savez(changed, data=members["data"])
    with pytest.raises(SourceError, match="9 signal samples of 1 channels, expected 36"):
        recompute(store.path, 3, seed=0, source=f"array:{changed}")
    monkeypatch.setitem(specs.ALGORITHM_VERSIONS, ("native", "sublevel"), 9)
    with pytest.raises(InvalidSpec, match=r"computed by algorithm version 2.*by version 9"):
        recompute(store.path, 3, seed=0)
    (store.path / ARRAYS["points"]).unlink()
    with pytest.raises(InvalidSpec, match="by version 9"):
        repair(store.path)
    (store.path / ARRAYS["images"]).unlink()


def test_some_of_each_status_are_chosen() -> None:
    status = np.zeros(1000, np.uint8)
    status[[3, 500, 700, 900]] = [Status.NAN, Status.CONSTANT, Status.CONSTANT, Status.CONSTANT]
    one = choose(status, 20, np.random.default_rng(4))
    assert one == choose(status, 20, np.random.default_rng(4)) == sorted(set(one))
    assert one != choose(status, 20, np.random.default_rng(5))
    counts = np.bincount(status[one], minlength=6)
    assert len(one) == 20 and counts[Status.NAN] == 1 and counts[Status.CONSTANT] >= 2
    assert choose(status, 5000, np.random.default_rng(0)) == list(range(1000))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_steps_are_neighbouring_values(dtype: str) -> None:
    one = np.array([0.0, 0.5, 1.0, np.nan, np.nan, -0.0], dtype)
    other = np.nextafter(one, one.dtype.type(2))
    other[4], other[5] = 1, 0
    assert steps_between(one, other).tolist() == [1, 1, 1, 0, np.inf, 0]
    assert steps_between(np.array([3], np.uint8), np.array([5], np.uint8)).tolist() == [2]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.cli, [str(argument) for argument in arguments])


def test_commands_tell_what_they_did(store: Built) -> None:
    end = ["--cache", store.root]
    key = store.manifest.key[:8]
    flip(store.path / ARRAYS["images"])
    damaged = run("verify", key, *end, "--recompute", "5%")
    assert damaged.exit_code == 4
    assert "no sample was computed again, since the store is damaged" in damaged.stderr
    dry = run("repair", key, *end, "--dry-run")
    assert dry.exit_code == 4 and dry.stdout == "shard 1: images from its stored diagrams\n"
    assert "1 corrupt; nothing was changed" in dry.stderr
    mended = run("repair", key, *end)
    assert mended.exit_code == 0 and mended.stdout == dry.stdout
    assert "1 corrupt before, now whole, digest" in mended.stderr
    assert "whole, nothing to repair" in run("repair", "--all", *end).stderr
    checked = run("verify", key, *end, "--recompute", "6", "--seed", "5", "--json")
    assert checked.exit_code == 0
    (document,) = json.loads(checked.stdout)
    assert document["complete"] and document["findings"] == []
    assert document["recomputed"]["samples"] == 6 and document["recomputed"]["seed"] == 5
    forge_rows(store, "images", brighten)
    forged = run("verify", key, *end, "--recompute", "100%")
    assert forged.exit_code == 64
    assert f"differs {ARRAYS['images']}: sample 10 (000010)" in forged.stdout
    assert "36 samples computed again from the source" in forged.stderr
    (store.path / "foreign").touch()  # found before, so it is told whatever comes of the samples
    words = ["verify", key, *end, "--recompute", "2", "--source", "array:nowhere.npz"]
    gone = run(*words)
    assert gone.exit_code == 1 + 32 and "with --source" in gone.stderr
    assert gone.stdout.startswith("orphan foreign")
    told = run(*words, "--json")
    (document,) = json.loads(told.stdout)
    assert told.exit_code == 1 + 32 and "with --source" in document["error"]
    assert [finding["path"] for finding in document["findings"]] == ["foreign"]
