"""What lies in a cache, and why a spec is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pi_cache import catalogue, open_store
from pi_cache.errors import StoreNotFound
from pi_cache.integrity.verification import verify
from pi_cache.ledger import write_shard
from tests.pi_cache.made import (
    begin_store,
    fill_store,
    make_columns,
    make_spec,
    make_store,
    shard_columns,
)
from tests.pi_cache.test_documents import seal


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_store(tmp_path, make_spec(5))
    make_store(tmp_path, make_spec(5, sigma=0.1))
    begin_store(tmp_path, make_spec(6))
    return tmp_path


def test_default_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PI_CACHE", str(tmp_path))
    assert catalogue.default_root() == tmp_path
    monkeypatch.delenv("PI_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert catalogue.default_root().name == "pi-cache"


def test_stores_of_every_state(root: Path) -> None:
    broken = root / "stores" / make_spec(5).key / "manifest.json"
    broken.write_bytes(b"{}")
    states = {entry.key: entry.state for entry in catalogue.stores(root)}
    assert states == {
        make_spec(5).key: "damaged",
        make_spec(5, sigma=0.1).key: "finished",
        make_spec(6).key: "unfinished",
    }
    assert catalogue.stores(root / "absent") == []


def test_a_store_of_a_newer_release_is_told_from_a_damaged_one(root: Path) -> None:
    place = root / "stores" / make_spec(5).key / "manifest.json"
    place.write_bytes(seal(json.loads(place.read_bytes()) | {"format_version": 2}))
    entry = catalogue.read_entry(place.parent)
    assert entry.state == "newer" and "manifest format 2" in entry.problem
    near = catalogue.nearest(root, make_spec(5, weight="one"))
    assert near is not None and near[0].key != entry.key


def test_core_time_of_what_there_is(root: Path) -> None:
    build = begin_store(root, make_spec(20))
    part = shard_columns(make_columns(build.spec), build.sample_range(1))
    write_shard(build, 1, part, seconds={"read": 1.5, "diagrams": 60.0})
    assert catalogue.core_seconds(catalogue.read_entry(build.path)) == 61.5
    build.record_path(0).write_bytes(b"damaged")
    assert catalogue.core_seconds(catalogue.read_entry(build.path)) == 61.5
    write_shard(build, 2, shard_columns(make_columns(build.spec), build.sample_range(2)))
    build.record_path(0).unlink()
    fill_store(build)
    assert catalogue.core_seconds(catalogue.read_entry(build.path)) == 61.5


def test_a_finished_store_without_its_spec_is_finished(root: Path) -> None:
    path = root / "stores" / make_spec(5).key
    (path / "spec.json").unlink()
    entry = catalogue.read_entry(path)
    assert (entry.state, entry.spec, entry.problem) == ("finished", make_spec(5), "")
    (path / "manifest.json").unlink()
    assert catalogue.read_entry(path).state == "unfinished"


def test_a_miss_is_explained(root: Path) -> None:
    wanted = make_spec(5, sigma=0.1, weight="one")
    with pytest.raises(StoreNotFound, match="no store"):
        open_store(wanted.key, root=root)
    found = catalogue.nearest(root, wanted)
    assert found is not None
    entry, fields = found
    assert entry.key == make_spec(5, sigma=0.1).key
    assert fields == {"image.weight": ("linear", "one")}
    assert catalogue.nearest(root / "absent", wanted) is None


def test_diagrams_are_found_for_another_image(root: Path) -> None:
    path = catalogue.with_diagrams(root, make_spec(5, sigma=9.0))
    assert path is not None and verify(path) == []
    assert catalogue.with_diagrams(root, make_spec(6)) is None


def test_ambiguous_prefix(root: Path) -> None:
    folder = root / "stores"
    (folder / ("ab12" + "0" * 60)).mkdir()
    (folder / ("ab12" + "1" * 60)).mkdir()
    with pytest.raises(StoreNotFound, match="fits 2 stores: ab1200000000, ab1211111111"):
        catalogue.find(root, "ab12")
