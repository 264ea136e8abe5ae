"""A build can be interrupted anywhere, shared, and resumed; the bytes are always the same."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pi_cache import files, open_store
from pi_cache.errors import InvalidSpec, StorageFailed, StoreNotFound, UnfinishedStore
from pi_cache.integrity.verification import verify
from pi_cache.layout import Layout, standard_columns
from pi_cache.ledger import Build, _retract, finish, missing_shards, open_build, write_shard
from pi_cache.store import begin
from tests.pi_cache.made import (
    CHANNELS,
    begin_store,
    fill_store,
    make_columns,
    make_spec,
    make_table,
    shard_columns,
)


def write(build: Build, k: int) -> None:
    write_shard(build, k, shard_columns(make_columns(build.spec), build.sample_range(k)))


def changed(path: Path) -> tuple[int, int]:
    """Which file it is, and when it was written; not when it was read."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def test_a_build_from_begin_to_finish(tmp_path: Path) -> None:
    build = begin_store(tmp_path / "새 캐시", make_spec())
    assert missing_shards(build) == [0, 1, 2]
    with pytest.raises(UnfinishedStore, match="run the same build again"):
        open_store(build.path)
    write(build, 1)
    assert missing_shards(build) == [0, 2]
    with pytest.raises(UnfinishedStore, match="2 of 3 shards are missing"):
        finish(build)
    assert not (build.path / "manifest.json").exists()
    manifest = fill_store(build)
    assert sum(manifest.status.values()) == manifest.samples == 20
    assert manifest.statistics["max_value"] == 1.0
    assert list(build.temporary.iterdir()) == []
    assert verify(build.path) == []


def test_a_recorded_shard_is_not_touched_again(tmp_path: Path) -> None:
    build = begin_store(tmp_path, make_spec())
    write(build, 0)
    before = {path: changed(path) for path in build.path.rglob("*0.0*")}
    manifest = fill_store(begin_store(tmp_path, make_spec()))
    assert before and all(changed(path) == found for path, found in before.items())
    assert finish(build) == manifest
    assert open_build(build.path) == build


def test_the_first_layout_holds(tmp_path: Path) -> None:
    first = begin_store(tmp_path, make_spec(), Layout(shard_samples=8, chunk_samples=4))
    second = begin_store(tmp_path, make_spec(), Layout.mapped(shard_samples=16))
    assert second.layout == first.layout


def test_other_arrays_are_refused(tmp_path: Path) -> None:
    spec = make_spec()
    begin_store(tmp_path, spec)
    columns = standard_columns(spec.image, CHANNELS)
    with pytest.raises(InvalidSpec, match="use another cache root"):
        begin(tmp_path, spec, make_table(20), columns)
    with pytest.raises(InvalidSpec, match="20 samples, the table 3"):
        begin(tmp_path, spec, make_table(3), columns)


def test_another_location_of_the_source_changes_nothing(tmp_path: Path) -> None:
    spec = make_spec()
    manifest = fill_store(begin_store(tmp_path / "a", spec))
    moved = spec.replace(source=spec.source.replace(location="/elsewhere"))
    other = fill_store(begin_store(tmp_path / "b", moved))
    assert (manifest.key, manifest.digest) == (other.key, other.digest)
    assert fill_store(begin_store(tmp_path / "a", moved)) == manifest


def test_digest_is_independent_of_time(tmp_path: Path) -> None:
    one = fill_store(begin_store(tmp_path / "a", make_spec()))
    two = fill_store(begin_store(tmp_path / "b", make_spec()))
    assert one.digest == two.digest
    assert one.files == two.files


def test_every_problem_of_a_shard_is_told(tmp_path: Path) -> None:
    build = begin_store(tmp_path, make_spec())
    part = shard_columns(make_columns(build.spec), build.sample_range(0))
    wrong: dict[str, Any] = {**part, "images": part["images"].astype("f4"), "other": part["status"]}
    del wrong["inputs"]
    with pytest.raises(InvalidSpec, match=r"inputs is missing.*other is not.*images is float32"):
        write_shard(build, 0, wrong)
    with pytest.raises(InvalidSpec, match="offsets must rise from 0"):
        write_shard(build, 0, {**part, "points": part["points"][:-1]})
    with pytest.raises(InvalidSpec, match=r"must lie in 0..2, got 3"):
        write_shard(build, 3, part)
    many = np.zeros((build.layout.point_capacity + 1, 2))
    with pytest.raises(InvalidSpec, match="larger point_capacity"):
        write_shard(build, 0, {**part, "points": many})
    assert list(build.path.rglob("c.0.*")) == []


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "record", "swap"])
def test_a_damaged_shard_is_computed_again(tmp_path: Path, damage: str) -> None:
    build = begin_store(tmp_path, make_spec())
    manifest = fill_store(build)
    path = build.path / "data.zarr/images/c.1.0.0.0"
    data = path.read_bytes()
    if damage == "truncate":
        path.write_bytes(data[:-1])
    elif damage == "flip":
        path.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    elif damage == "swap":
        path.write_bytes((build.path / "data.zarr/images/c.0.0.0.0").read_bytes())
    elif damage == "delete":
        path.unlink()
    else:
        record = build.record_path(1)
        record.write_bytes(record.read_bytes().replace(b'"start": 8', b'"start": 9'))
    assert missing_shards(build) == [1]
    write(build, 1)
    assert missing_shards(build) == []
    assert finish(build) == manifest
    assert verify(build.path) == []
    assert any(build.quarantine.iterdir())


def test_what_was_damaged_after_it_was_recorded_is_not_finished(tmp_path: Path) -> None:
    build = begin_store(tmp_path, make_spec())
    for k in range(build.shards):
        write(build, k)
    shard = build.path / "data.zarr/images/c.1.0.0.0"
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(UnfinishedStore, match="1 of 3 shards are missing, the first is 1"):
        finish(build)
    assert not (build.path / "manifest.json").exists()
    assert missing_shards(build) == [1]


def test_what_lies_above_the_cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder is made durable where that is ours to do."""

    class Above(files.System):
        def open(self, path: Path, *arguments: int) -> int:  # type: ignore[override]
            if path == tmp_path:
                raise OSError(code, os.strerror(code))
            return os.open(path, *arguments)

    build = begin_store(tmp_path / "cache", make_spec())
    manifest = fill_store(build)
    monkeypatch.setattr(files, "system", Above())
    code = errno.EACCES
    assert finish(build) == manifest
    code = errno.EIO
    with pytest.raises(StorageFailed, match="open failed: Input/output error"):
        finish(build)


@pytest.mark.parametrize("named", [".", "below", "../beside"])
def test_a_cache_may_be_named_from_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    build = begin_store(Path(named), make_spec())
    fill_store(build)
    assert verify((here / named / "stores" / build.spec.key).resolve()) == []


def test_damaged_metadata_is_written_again(tmp_path: Path) -> None:
    build = begin_store(tmp_path, make_spec())
    manifest = fill_store(build)
    for name in ("data.zarr/ids/c.0", "data.zarr/images/zarr.json", "spec.json", "blueprint.json"):
        (build.path / name).write_bytes(b"{}")
    again = begin_store(tmp_path, make_spec())
    assert finish(again).files == manifest.files
    assert verify(build.path) == []


def test_shards_of_a_lost_layout_are_computed_again(tmp_path: Path) -> None:
    build = begin_store(tmp_path, make_spec())
    fill_store(build)
    (build.path / "blueprint.json").write_bytes(b"lost")
    (build.path / "manifest.json").unlink()
    again = begin_store(tmp_path, make_spec(), Layout(shard_samples=8, chunk_samples=2))
    assert missing_shards(again) == [0, 1, 2]
    fill_store(again)
    assert verify(build.path) == []
    truth = make_columns(make_spec())["images"]
    np.testing.assert_array_equal(open_store(build.path).read_all("images"), truth)


def test_a_file_without_a_record_is_adopted_or_replaced(tmp_path: Path) -> None:
    build = begin_store(tmp_path, make_spec())
    write(build, 0)
    adopted = build.path / "data.zarr/images/c.0.0.0.0"
    inode = adopted.stat().st_ino
    build.record_path(0).unlink()
    (build.path / "data.zarr/inputs/c.0.0.0.0").write_bytes(b"half a file")
    assert missing_shards(build) == [0, 1, 2]
    assert adopted.exists()
    write(build, 0)
    assert adopted.stat().st_ino == inode
    assert missing_shards(build) == [1, 2]


def test_a_record_that_changed_since_it_was_judged_stays(tmp_path: Path) -> None:
    build = begin_store(tmp_path, make_spec())
    write(build, 0)
    place = build.record_path(0)
    data = place.read_bytes()
    _retract(build, place, b"what was judged")
    assert place.read_bytes() == data
    _retract(build, place, data)
    assert not place.exists()


def test_open_build_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound, match="no store was begun"):
        open_build(tmp_path)
