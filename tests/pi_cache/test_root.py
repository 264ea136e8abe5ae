"""A cache root says that it is one, and a root of a newer release is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pi_cache import catalogue, open_store
from pi_cache.errors import CorruptStore, RemovalRefused, UnsupportedFormat
from pi_cache.keeping.removal import collectable
from pi_cache.root import RECORD, check_root, ensure_root, read_record, require_root
from tests.pi_cache.made import begin_store, make_spec, make_store
from tests.pi_cache.test_documents import seal


def change_record(root: Path, **changes: object) -> None:
    document = json.loads((root / RECORD).read_bytes())
    (root / RECORD).unlink()
    (root / RECORD).write_bytes(seal(document | changes))


def test_the_first_build_makes_the_record(tmp_path: Path) -> None:
    begin_store(tmp_path / "캐시", make_spec())
    assert read_record(tmp_path / "캐시") is not None
    require_root(tmp_path / "캐시")
    before = (tmp_path / "캐시" / RECORD).stat()
    begin_store(tmp_path / "캐시", make_spec(6))
    assert (tmp_path / "캐시" / RECORD).stat() == before


def test_records_are_alike_so_that_racing_builders_agree(tmp_path: Path) -> None:
    for name in ("a", "b"):
        ensure_root(tmp_path / name)
    assert (tmp_path / "a" / RECORD).read_bytes() == (tmp_path / "b" / RECORD).read_bytes()


def test_a_root_of_an_earlier_build_is_read_and_gets_a_record_by_the_next(tmp_path: Path) -> None:
    path = make_store(tmp_path)
    (tmp_path / RECORD).unlink()
    assert open_store(path.name, root=tmp_path).key == path.name
    with pytest.raises(RemovalRefused, match=r"it has no pi-cache\.json.*run any build there"):
        collectable(tmp_path)
    begin_store(tmp_path, make_spec())
    assert collectable(tmp_path).targets == ()


def test_a_damaged_record_stops_a_removal_and_no_build(tmp_path: Path) -> None:
    path = make_store(tmp_path)
    (tmp_path / RECORD).write_bytes(b"{")
    assert open_store(path.name, root=tmp_path).key == path.name
    with pytest.raises(RemovalRefused, match=r"pi-cache\.json: .*not valid JSON.*run any build"):
        collectable(tmp_path)
    with pytest.raises(CorruptStore, match="not valid JSON"):
        read_record(tmp_path)
    begin_store(tmp_path, make_spec())
    assert read_record(tmp_path) is not None


def test_the_record_of_something_else_is_none_of_a_cache(tmp_path: Path) -> None:
    ensure_root(tmp_path)
    change_record(tmp_path, kind="diary")
    with pytest.raises(RemovalRefused, match="it is the record of a diary"):
        require_root(tmp_path)


def test_a_root_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    path = make_store(tmp_path)
    change_record(tmp_path, format_version=2)
    before = sorted(tmp_path.rglob("*"))
    for use in (
        lambda: check_root(tmp_path),
        lambda: begin_store(tmp_path, make_spec(6)),
        lambda: open_store(path.name, root=tmp_path),
        lambda: catalogue.stores(tmp_path),
        lambda: catalogue.nearest(tmp_path, make_spec()),
        lambda: collectable(tmp_path),
    ):
        with pytest.raises(UnsupportedFormat, match=r"cache root format 2 .* reads 1; install"):
            use()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_moved_root_stays_a_root(tmp_path: Path) -> None:
    make_store(tmp_path / "old")
    shutil.move(tmp_path / "old", tmp_path / "new")
    (tmp_path / "old").symlink_to("new")
    for name in ("new", "old"):
        assert collectable(tmp_path / name).targets == ()
