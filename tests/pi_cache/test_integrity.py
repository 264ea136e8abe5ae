"""`verify` names every kind of damage, and writes nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pi_cache import files
from pi_cache.errors import StoreNotFound, UnfinishedStore
from pi_cache.integrity import verify
from tests.pi_cache.made import Failing, begin_store, fill_store, make_spec, make_store

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
    with pytest.raises(UnfinishedStore, match="begun and not finished"):
        verify(begin_store(tmp_path, make_spec()).path)


def test_leftovers_of_a_repair_are_no_orphans(path: Path) -> None:
    flip(path / IMAGES)
    (path / "tmp" / "left").write_bytes(b"of a killed writer")
    fill_store(begin_store(path.parents[1], make_spec()))
    assert verify(path) == []


@pytest.mark.parametrize("name", ["spec.json", "blueprint.json", "ledger/000001.json", IMAGES])
def test_what_may_not_be_read_is_unreadable(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class Denied(files.System):
        def open(self, place: Path, *arguments: int) -> int:  # type: ignore[override]
            if place == path / name:
                raise PermissionError(errno.EACCES, "denied")
            return os.open(place, *arguments)

    monkeypatch.setattr(files, "system", Denied())
    assert [(f.kind, f.path) for f in verify(path)] == [("unreadable", name)]
