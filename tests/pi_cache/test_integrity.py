"""`verify` names every kind of damage and writes nothing; `repair` mends without computing."""

from __future__ import annotations

import errno
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

from pi_cache import builders, cli, files
from pi_cache.errors import (
    BuilderNotInstalled,
    CorruptStore,
    StorageFailed,
    StorageFull,
    StoreNotFound,
    UnfinishedStore,
)
from pi_cache.integrity import mending
from pi_cache.integrity.repair import repair
from pi_cache.integrity.restore import remainder
from pi_cache.integrity.verification import inspect, verify
from pi_cache.layout import Layout
from pi_cache.ledger import Build, records_of
from pi_cache.manifest import FileEntry, ShardRecord, StoreManifest
from pi_cache.reader import open_store
from pi_cache.shards import decode, encode
from tests.pi_cache.made import Failing, begin_store, fill_store, make_spec, make_store
from tests.pi_cache.resealed import forge, reseal

IMAGES, POINTS = "data.zarr/images/c.1.0.0.0", "data.zarr/points/c.0.0.0"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_store(tmp_path)


def flip(path: Path, position: int = 30) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 4
    path.write_bytes(data)


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def snapshot(path: Path) -> dict[Path, tuple[int, int]]:
    return {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in [path, *path.rglob("*")]}


NO_LEDGER = [("missing", f"ledger/{name}.json") for name in ("000000", "000001", "000002", "table")]

DAMAGE: dict[str, tuple[Callable[[Path], object], list[tuple[str, str]]]] = {
    "bit flip": (lambda p: flip(p / IMAGES), [("corrupt", IMAGES)]),
    "truncation": (lambda p: os.truncate(p / IMAGES, 5), [("corrupt", IMAGES)]),
    "extension": (
        lambda p: (p / IMAGES).write_bytes((p / IMAGES).read_bytes() + b"\0"),
        [("corrupt", IMAGES)],
    ),
    "zero fill": (
        lambda p: (p / IMAGES).write_bytes(bytes((p / IMAGES).stat().st_size)),
        [("corrupt", IMAGES)],
    ),
    "deletion": (lambda p: (p / POINTS).unlink(), [("missing", POINTS)]),
    "swap": (
        lambda p: swap(p / IMAGES, p / "data.zarr/images/c.0.0.0.0"),
        [("corrupt", "data.zarr/images/c.0.0.0.0"), ("corrupt", IMAGES)],
    ),
    "foreign file": (
        lambda p: (p / "data.zarr/images/c.9.0.0.0").write_bytes(b"x"),
        [("orphan", "data.zarr/images/c.9.0.0.0")],
    ),
    "foreign link": (lambda p: (p / "link").symlink_to("/"), [("orphan", "link")]),
    "file in place of the ledger": (
        lambda p: (shutil.rmtree(p / "ledger"), (p / "ledger").touch()),
        [("orphan", "ledger"), *NO_LEDGER],
    ),
    "no ledger": (lambda p: shutil.rmtree(p / "ledger"), NO_LEDGER),
    "file in place of a folder of leftovers": (
        lambda p: (p / "quarantine").touch(),
        [("orphan", "quarantine")],
    ),
    "metadata": (
        lambda p: flip(p / "data.zarr/images/zarr.json"),
        [("corrupt", "data.zarr/images/zarr.json")],
    ),
    "folder in place of a file": (
        lambda p: ((p / IMAGES).unlink(), (p / IMAGES).mkdir()),
        [("unreadable", IMAGES)],
    ),
    "table": (lambda p: flip(p / "data.zarr/ids/c.0"), [("corrupt", "data.zarr/ids/c.0")]),
    "spec": (lambda p: flip(p / "spec.json"), [("corrupt", "spec.json")]),
    "no spec": (lambda p: (p / "spec.json").unlink(), [("missing", "spec.json")]),
    "blueprint": (lambda p: flip(p / "blueprint.json"), [("corrupt", "blueprint.json")]),
    "record": (lambda p: flip(p / "ledger/000001.json"), [("corrupt", "ledger/000001.json")]),
    "manifest": (lambda p: flip(p / "manifest.json"), [("corrupt", "manifest.json")]),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(path: Path, name: str) -> None:
    damage, expected = DAMAGE[name]
    damage(path)
    before = snapshot(path)
    assert [(f.kind, f.path) for f in verify(path)] == expected
    assert snapshot(path) == before


def test_a_whole_store_has_no_findings(path: Path) -> None:
    before = snapshot(path)
    assert verify(path) == []
    assert snapshot(path) == before


@pytest.mark.parametrize("folder", ["data.zarr", "data.zarr/images"])
def test_a_folder_on_another_disk_is_no_orphan(path: Path, folder: str) -> None:
    """A link in place of a folder of the store is not taken away from what it leads to."""
    shutil.move(path / folder, path.parents[1] / "elsewhere")
    (path / folder).symlink_to(path.parents[1] / "elsewhere")
    assert verify(path) == []
    assert repair(path).done == []
    flip(path / "manifest.json")
    assert repair(path).left == []
    assert len(open_store(path).read_all("images")) == 20
    (path / folder).unlink()
    (path / folder).touch()
    assert ("orphan", folder) in [(f.kind, f.path) for f in verify(path)]


def test_digests_are_in_the_finding(path: Path) -> None:
    flip(path / IMAGES)
    assert "expected SHA-256" in str(verify(path)[0]) and "got" in str(verify(path)[0])


def test_a_failing_disk_is_unreadable_not_corrupt(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "system", Failing("read", 5, 5))
    assert [f.kind for f in verify(path)] == ["unreadable"]


def test_what_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound, match="no store in"):
        verify(tmp_path)
    match = "begun and not finished; .*, or pi-cache repair if its manifest was lost"
    with pytest.raises(UnfinishedStore, match=match):
        verify(begin_store(tmp_path, make_spec()).path)


def test_leftovers_of_a_repair_are_no_orphans(path: Path) -> None:
    flip(path / IMAGES)
    (path / "tmp" / "left").write_bytes(b"of a killed writer")
    fill_store(begin_store(path.parents[1], make_spec()))
    assert verify(path) == []


class Denied(files.System):
    """The system, which never opens one file, or not the first time that it is asked to."""

    def __init__(self, denied: Path, code: int, *, once: bool = False) -> None:
        self.denied, self.code, self.once = denied, code, once

    def open(self, place: Path, *arguments: int) -> int:  # type: ignore[override]
        if place == self.denied:
            self.denied = Path() if self.once else self.denied
            raise OSError(self.code, os.strerror(self.code))
        return os.open(place, *arguments)


@pytest.mark.parametrize("name", ["spec.json", "blueprint.json", "ledger/000001.json", IMAGES])
def test_what_may_not_be_read_is_unreadable(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(files, "system", Denied(path / name, errno.EACCES))
    assert [(f.kind, f.path) for f in verify(path)] == [("unreadable", name)]


NO_DAMAGE = [errno.EACCES, errno.EPERM, errno.EMFILE, errno.ETIMEDOUT]


@pytest.mark.parametrize("code", NO_DAMAGE)
@pytest.mark.parametrize("name", ["spec.json", "manifest.json", "ledger/000001.json", IMAGES])
def test_what_may_not_be_read_stops_a_repair(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    """Neither it nor what is damaged beside it is touched."""
    flip(path / "blueprint.json")
    (path / "foreign").write_bytes(b"")
    before = snapshot(path)
    monkeypatch.setattr(files, "system", Denied(path / name, code))
    reason = re.escape(os.strerror(code))
    with pytest.raises(StorageFailed, match=f"{name}: open failed: {reason}; "):
        repair(path)
    assert snapshot(path) == before
    manifest = StoreManifest.from_bytes((path / "manifest.json").read_bytes())
    with pytest.raises(StorageFailed, match=f"{name}: open failed: {reason}; "):
        mending.put(Build(path, manifest.spec, manifest.blueprint), name, b"other")
    assert all(stat == before[place] for place, stat in snapshot(path).items() if place.is_file())


def test_a_record_that_may_not_be_read_is_no_unfinished_build(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path / "manifest.json").unlink()
    monkeypatch.setattr(files, "system", Denied(path / "ledger/000001.json", errno.EACCES))
    with pytest.raises(StorageFailed, match=r"000001\.json: open failed: Permission denied"):
        repair(path)


def test_what_can_be_read_again_is_left_as_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(path)
    monkeypatch.setattr(files, "system", Denied(path / IMAGES, errno.EIO, once=True))
    done = repair(path)
    assert [f.kind for f in done.found] == ["unreadable"] and done.done == []
    assert snapshot(path) == before and verify(path) == []


def test_a_damaged_manifest_does_not_hide_other_damage(path: Path) -> None:
    """What the ledger says is what everything else is measured by."""
    flip(path / "manifest.json")
    flip(path / IMAGES)
    (path / "foreign").write_bytes(b"")
    found = [(f.kind, f.path) for f in verify(path)]
    assert found == [("corrupt", IMAGES), ("orphan", "foreign"), ("corrupt", "manifest.json")]
    flip(path / "ledger/000000.json")
    report = inspect(path)
    assert [f.path for f in report.findings] == ["manifest.json"]
    assert not report.complete and report.files_read == 0


def test_a_share_reads_no_more_than_it_says(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = set()
    difference = files.difference

    def noted(place: Path, *entry: Any) -> str | None:
        read.add(place.relative_to(path).as_posix())
        return difference(place, *entry)

    monkeypatch.setattr(files, "difference", noted)
    report = inspect(path, share=0.3, seed=5)
    sizes = {name: entry.size for name, entry in open_store(path).manifest.files.items()}
    assert report.files_read == len(read) < report.files == len(sizes)
    assert report.bytes_read == sum(sizes[name] for name in read)
    large = {name for name in sizes if "/c." in name and sizes[name] > 0 and "status" not in name}
    large -= {name for name in large if name.split("/")[1] in ("ids", "labels", "groups", "splits")}
    share = sum(sizes[name] for name in read & large) / sum(sizes[name] for name in large)
    assert 0.3 <= share < 0.9
    assert read >= sizes.keys() - large, "documents, tables and statuses are always read"
    assert not report.complete and not report.whole and report.findings == []
    again, first = inspect(path, share=0.3, seed=5), set(read)
    assert again.bytes_read == report.bytes_read and read == first
    monkeypatch.undo()
    unread = sorted(large - first)[0]
    flip(path / unread)
    assert inspect(path, share=0.3, seed=5).findings == []
    assert [f.path for f in verify(path)] == [unread]
    (path / unread).unlink()
    assert [f.kind for f in inspect(path, share=0.3, seed=5).findings] == ["missing"]


def test_progress_ends_with_all_bytes(path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = inspect(path, progress=lambda *counts: seen.append(counts))
    assert seen[-1] == (report.bytes, report.bytes) and sorted(seen) == seen
    assert report.whole and report.rate > 0


def rewrite(array: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Forge the rows of shard 1 of an array."""

    def apply(path: Path) -> None:
        store = open_store(path)
        column = store.column(array)
        form = column.shard_format(store.manifest.layout)
        count = int(store.read("offsets", [15])[0, -1]) if column.ragged else 8
        rows = decode((path / column.shard_file(1)).read_bytes(), form, count)
        forge(path, column.shard_file(1), encode(change(rows), form))

    return apply


def set_(place: Any, value: Any) -> Callable[[Any], Any]:
    def change(rows: Any) -> Any:
        rows = rows.copy()
        rows[place] = value
        return rows

    return change


def metadata(name: str, **changes: Any) -> Callable[[Path], None]:
    """Forge fields of a `zarr.json`."""

    def apply(path: Path) -> None:
        place = f"data.zarr/{name}zarr.json"
        document = json.loads((path / place).read_bytes())
        forge(path, place, json.dumps(document | changes).encode())

    return apply


def table(name: str, samples: int) -> Callable[[Path], None]:
    """Forge a table: that of a store of another number of samples."""

    def apply(path: Path) -> None:
        other = make_store(path.parents[1] / "other", make_spec(samples))
        place = f"data.zarr/{name}/c.0"
        forge(path, place, (other / place).read_bytes())

    return apply


def count(**status: int) -> Callable[[Path], None]:
    return lambda path: reseal(path / "manifest.json", status=status)


def other_type(path: Path) -> None:
    manifest = StoreManifest.from_bytes((path / "manifest.json").read_bytes())
    columns = tuple(
        replace(column, dtype="float32") if column.name == "images" else column
        for column in manifest.columns
    )
    reseal(path / "manifest.json", blueprint=replace(manifest.blueprint, columns=columns))


def renamed(path: Path) -> Any:
    manifest = StoreManifest.from_bytes((path / "manifest.json").read_bytes())
    return replace(manifest.blueprint, label_names=("stand", "sit", "lie", "run"))


OFFSETS, STATUS = "data.zarr/offsets/c.1.0", "data.zarr/status/c.1"

CONTRADICTIONS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "status counts": (count(OK=20), "manifest.json", "status {'OK': 20}, stored"),
    "status counts of a record": (
        lambda path: reseal(path / "ledger/000001.json", status={"OK": 8}),
        "ledger/000001.json",
        "status {'OK': 8}, stored",
    ),
    "status code": (rewrite("status", set_(2, 255)), STATUS, r"holds \[255\]"),
    "fewer rows": (
        rewrite("inputs", lambda rows: rows[:4]),
        "data.zarr/inputs/c.1.0.0.0",
        "1 inner chunks, expected the first 2",
    ),
    "falling offsets": (rewrite("offsets", set_((3, 2), 0)), OFFSETS, "do not rise from 0"),
    "a gap": (rewrite("offsets", lambda r: r + (np.arange(8) > 3)[:, None]), OFFSETS, "do not"),
    "fewer points": (rewrite("points", lambda rows: rows[:-1]), "data.zarr/points/c.1.0.0", "not"),
    "no points": (rewrite("points", lambda rows: rows[:0]), "data.zarr/points/c.1.0.0", "0 inner"),
    "more labels": (table("labels", 24), "data.zarr/labels/c.0", "24.*20"),
    "fewer ids": (table("ids", 12), "data.zarr/ids/c.0", "12.*20"),
    "shape": (metadata("images/", shape=[21, 3, 6, 6]), "data.zarr/images/zarr.json", "shape"),
    "fill": (
        metadata("images/", fill_value=0.0),
        "data.zarr/images/zarr.json",
        "fill_value is 0.0",
    ),
    "type": (metadata("points/", data_type="float32"), "data.zarr/points/zarr.json", "data_type"),
    "attributes": (metadata("images/", attributes={}), "data.zarr/images/zarr.json", "attributes"),
    "codec": (
        metadata("labels/", codecs=[{"name": "numcodecs.pickle"}]),
        "data.zarr/labels/zarr.json",
        "codecs",
    ),
    "node": (metadata("ids/", node_type="group"), "data.zarr/ids/zarr.json", "node_type"),
    "no list of codecs": (metadata("ids/", codecs=5), "data.zarr/ids/zarr.json", "codecs is 5"),
    "another store's group": (
        metadata("", attributes={"spec": {"key": "1"}}),
        "data.zarr/zarr.json",
        "key",
    ),
    "names of labels": (
        lambda path: reseal(path / "manifest.json", blueprint=renamed(path)),
        "data.zarr/zarr.json",
        "label_names",
    ),
    "a file of no array": (
        lambda path: forge(path, "data.zarr/images/c.7", b"x"),
        "manifest.json",
        "lists data.zarr/images/c.7, which",
    ),
    "type of a column": (other_type, "manifest.json", "images: float32"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_right_digests_do_not_hide_contradictions(path: Path, name: str) -> None:
    forge_it, place, text = CONTRADICTIONS[name]
    forge_it(path)
    before = snapshot(path)
    found = [finding for finding in verify(path) if finding.path == place]
    assert {finding.kind for finding in found} == {"corrupt"}
    assert re.search(text, " ".join(finding.detail for finding in found))
    assert snapshot(path) == before


@pytest.mark.parametrize("name", ["status counts", "status counts of a record"])
def test_forged_counts_are_counted_again(path: Path, name: str) -> None:
    truth = open_store(path).manifest
    CONTRADICTIONS[name][0](path)
    done = repair(path)
    assert done.left == [] and done.digest == truth.digest
    again = open_store(path).manifest
    assert (again.status, again.versions) == (truth.status, truth.versions)


@pytest.mark.parametrize("name", ["fill", "fewer points", "a file of no array"])
def test_what_was_never_right_is_left_alone(path: Path, name: str) -> None:
    forge_it, place, _ = CONTRADICTIONS[name]
    forge_it(path)
    if name == "a file of no array":
        add_to_ledger(path, place="data.zarr/images/c.7")
    before = {place: stat for place, stat in snapshot(path).items() if place.is_file()}
    done = repair(path)
    assert any(line.startswith(place) and "never right" in line for line in done.done)
    assert place in [finding.path for finding in done.left]
    after = {place: stat for place, stat in snapshot(path).items() if place.is_file()}
    assert after == before


def add_to_ledger(path: Path, place: str) -> None:
    manifest = StoreManifest.from_bytes((path / "manifest.json").read_bytes())
    record = ShardRecord.from_bytes((path / "ledger/table.json").read_bytes())
    listed = {**record.files, place: manifest.files[place]}
    reseal(path / "ledger/table.json", files=listed)


DOCUMENTS = ["spec.json", "blueprint.json", "manifest.json", "ledger/table.json"]


@pytest.mark.parametrize(
    "names",
    [
        [*DOCUMENTS[:2], "ledger/table.json", "ledger/000000.json", "ledger/000002.json"],
        ["manifest.json", "data.zarr/images/zarr.json", "data.zarr/zarr.json"],
        ["data.zarr/zarr.json", "data.zarr/splits/zarr.json", "ledger/000001.json"],
    ],
)
def test_documents_are_mended_without_a_pipeline(
    path: Path, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builders, "entry_points", lambda **_: [])
    truth = open_store(path).manifest
    records = {
        record.shard: record for record in records_of(begin_store(path.parents[1], make_spec()))
    }
    for name in names:
        flip(path / name)
    (path / "data.zarr/foreign").write_bytes(b"")
    done = repair(path)
    assert done.left == [] and len(done.done) == len(names) + 1
    manifest = open_store(path).manifest
    assert (manifest.files, manifest.status) == (truth.files, truth.status)
    if "manifest.json" in names:
        assert manifest.versions["numpy"] == "unknown"
    else:
        assert manifest == truth
    again = {
        record.shard: record for record in records_of(begin_store(path.parents[1], make_spec()))
    }
    assert {k: (r.files, r.status) for k, r in again.items()} == {
        k: (r.files, r.status) for k, r in records.items()
    }
    (path / "manifest.json").unlink()  # the ledger gives the same numbers again
    repair(path)
    restored = open_store(path).manifest
    assert dict(restored.statistics) == dict(truth.statistics)
    assert restored.digest == truth.digest


@pytest.mark.parametrize(
    "names", [DOCUMENTS[:3], ["spec.json", "manifest.json"], ["blueprint.json", "manifest.json"]]
)
@pytest.mark.parametrize("layout", [None, Layout.mapped(shard_samples=8)])
def test_a_store_without_documents_is_told_by_its_metadata(
    tmp_path: Path, names: list[str], layout: Layout | None
) -> None:
    path = make_store(tmp_path, layout=layout)
    truth = open_store(path).manifest
    for name in names:
        (path / name).unlink()
    done = repair(path)
    assert done.left == [] and done.digest == truth.digest
    again = open_store(path).manifest
    assert again.blueprint.digest == truth.blueprint.digest
    assert (again.spec, again.status) == (truth.spec, truth.status)
    assert again.spec.source.location == ("" if "spec.json" in names else "/somewhere")


def test_a_record_that_lists_too_little_is_restored(path: Path) -> None:
    place = path / "ledger/table.json"
    whole = ShardRecord.from_bytes(place.read_bytes())
    reseal(place, files={})
    assert [(f.kind, f.path) for f in verify(path)] == [("corrupt", "ledger/table.json")]
    assert repair(path).left == []
    assert ShardRecord.from_bytes(place.read_bytes()) == whole


def test_a_lost_ledger_is_written_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a manifest that is damaged later would cost all that is computed."""
    monkeypatch.setattr(builders, "entry_points", lambda **_: [])
    truth = open_store(path).manifest
    shutil.rmtree(path / "ledger")
    assert run("verify", path).exit_code == 8
    assert repair(path, dry_run=True).done == [
        f"ledger/{name}.json: from the manifest" for name in ("table", "000000", "000001", "000002")
    ]
    assert not (path / "ledger").exists()
    assert repair(path).left == [] and open_store(path).manifest == truth
    (path / "manifest.json").unlink()
    assert repair(path).done == ["manifest.json: from the ledger"]
    again = open_store(path).manifest
    assert (again.digest, again.status) == (truth.digest, truth.status)
    assert (again.statistics, again.seconds) == (truth.statistics, truth.seconds)


@pytest.mark.parametrize("points", [[1, 2], {"a": 1}])
def test_a_manifest_that_counts_other_things_than_the_ledger(path: Path, points: Any) -> None:
    reseal(path / "manifest.json", statistics={"points": points})
    (path / "ledger/000001.json").unlink()
    with pytest.raises(CorruptStore, match=r"count other things.*remove the folder `ledger`"):
        repair(path)
    shutil.rmtree(path / "ledger")
    assert repair(path).left == []


def test_files_of_one_size_are_each_read_once_to_find_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files of a mapped array have one size, so any of them might be a copy of another."""
    path = make_store(tmp_path, make_spec(64), Layout.mapped(shard_samples=8))
    places = [f"data.zarr/inputs/c.{k}.0.0.0" for k in range(8)]
    held = [(path / name).read_bytes() for name in places]
    for name, data in zip(places, held[1:] + held[:1], strict=True):
        (path / name).write_bytes(data)
    digests: list[Path] = []
    found_at = mending._found_at

    def noted(place: Path, sizes: set[int]) -> FileEntry | None:
        digests.append(place)
        return found_at(place, sizes)

    monkeypatch.setattr(mending, "_found_at", noted)
    assert repair(path).left == []
    assert [(path / name).read_bytes() for name in places] == held
    assert len(digests) <= 3 * len(places), "where it was, in quarantine, and what was put back"


def test_a_full_disk_moves_nothing_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(files.System):
        def write(self, *arguments: Any) -> int:
            raise OSError(errno.ENOSPC, "full")

    flip(path / "spec.json")
    damaged = (path / "spec.json").read_bytes()
    monkeypatch.setattr(files, "system", Full())
    with pytest.raises(StorageFull):
        repair(path)
    monkeypatch.undo()
    assert (path / "spec.json").read_bytes() == damaged
    assert repair(path).left == []


def test_a_link_that_leads_to_itself_is_replaced(path: Path) -> None:
    (path / "spec.json").unlink()
    (path / "spec.json").symlink_to("spec.json")
    assert repair(path).left == []


def test_what_must_be_computed_names_the_package(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builders, "entry_points", lambda **_: [])
    flip(path / IMAGES)
    flip(path / "spec.json")
    with pytest.raises(BuilderNotInstalled, match="pi-cache\\[pipeline\\]"):
        repair(path)
    assert [finding.path for finding in verify(path)] == [IMAGES], "the rest is mended"


def test_only_what_was_finished_is_repaired(tmp_path: Path) -> None:
    with pytest.raises(UnfinishedStore, match="begun and not finished"):
        repair(begin_store(tmp_path, make_spec()).path)
    with pytest.raises(StoreNotFound, match="no store in"):
        repair(tmp_path)


def test_the_remainder_is_what_is_merged_with_the_rest() -> None:
    part = {"points": 3, "max_value": 2.0, "window": {"empty": 1, "list": [1, 2]}}
    total = {"points": 8, "max_value": 4.0, "window": {"empty": 1, "list": [4, 2]}, "new": 7}
    rest = remainder(total, part)
    assert rest == {"points": 5, "max_value": 4.0, "window": {"empty": 0, "list": [3, 0]}, "new": 7}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.cli, [str(argument) for argument in arguments])


def test_many_stores_and_one_status(path: Path) -> None:
    root = path.parents[1]
    other = make_store(root, make_spec(12))
    begun = begin_store(root, make_spec(7)).path
    flip(path / IMAGES)
    (other / "foreign").write_bytes(b"")
    result = run("verify", "--all", "--cache", root)
    assert result.exit_code == 4 + 32
    assert f"{path.name[:12]} corrupt {IMAGES}" in result.stdout
    assert f"{other.name[:12]} orphan foreign" in result.stdout
    assert f"{begun}: not looked at, since it is unfinished" in result.stderr
    shares = run("verify", path, other, "--share", "1%", "--seed", "3", "--json")
    documents = json.loads(shares.stdout)
    assert [document["complete"] for document in documents] == [False, False]
    assert documents[0]["seed"] == 3 and documents[0]["files_read"] < documents[0]["files"]
    assert "of all others only presence and size were looked at" in shares.stderr
    mended = run("repair", other, "--json")
    assert mended.exit_code == 0
    assert json.loads(mended.stdout)[0]["done"] == [
        "foreign: to quarantine, since no document lists it"
    ]
    failed = run("verify", other, begun)
    assert failed.exit_code == 1 and f"{begun}: begun and not finished" in failed.stderr
    unknown = run("verify", path, "no-key")
    assert isinstance(unknown.exception, StoreNotFound) and unknown.output == "", "before reading"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify"], "give STORES or --all"),
        (["repair", "--all", "3f2a"], "give STORES or --all"),
        (["verify", "3f2a", "--share", "0.1"], "give a percentage such as 10%"),
        (["verify", "3f2a", "--share", "101%"], "give a percentage"),
        (["verify", "3f2a", "--recompute", "0"], "give a number of samples, or a share"),
        (["verify", "3f2a", "--recompute", "²"], "give a number of samples, or a share"),
        (["verify", "3f2a", "--recompute", "x%"], "give a percentage"),
        (["verify", "3f2a", "--source", "digits"], "--source goes with --recompute"),
        (["repair", "--all", "--source", "digits"], "--source goes with one STORE"),
    ],
)
def test_misuse(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2 and message in result.stderr
