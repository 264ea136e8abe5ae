"""What is removed, what never is, and that a removal can end at any instant."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pi_cache import catalogue, cli, files, open_store
from pi_cache.errors import (
    AlreadyPublished,
    PiCacheError,
    RemovalRefused,
    StorageFailed,
    StoreNotFound,
    UnsupportedFormat,
)
from pi_cache.folders import opened
from pi_cache.integrity.verification import verify
from pi_cache.keeping import removal
from pi_cache.keeping.pins import pin, pin_path, read_pins, unpin
from pi_cache.keeping.removal import collectable, removable, remove
from pi_cache.ledger import missing_shards, open_build, write_shard
from pi_cache.root import RECORD
from tests.faults.struck import (
    Dead,
    Struck,
    calls_of,
    dying,
    failing,
    installed,
    lost_reply,
    names_of,
)
from tests.pi_cache.made import begin_store, make_columns, make_spec, make_store, shard_columns
from tests.pi_cache.test_documents import seal

HOUR, DAY = 3600.0, 86_400.0
ONE, OTHER, HALF = make_spec(5), make_spec(5, sigma=0.1), make_spec(20)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished stores and one that was begun, all made ten days ago."""
    root = tmp_path_factory.mktemp("template")
    make_store(root, ONE)
    make_store(root, OTHER)
    build = begin_store(root, HALF)
    part = shard_columns(make_columns(HALF), build.sample_range(0))
    write_shard(build, 0, part, seconds={"diagrams": 7200.0})
    return aged(root, 10)


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "캐시", symlinks=True))


def aged(path: Path, days: float) -> Path:
    """The folder, in which nothing has changed for so many days."""
    then = time.time() - days * DAY
    for place in [*path.rglob("*"), path]:
        os.utime(place, (then, then), follow_symlinks=False)
    return path


def folder_of(root: Path, spec: Any = ONE) -> Path:
    return root / "stores" / str(spec.key)


def tree(root: Path) -> dict[str, Any]:
    """Every name below a root, with what it holds; the folder of probes apart."""
    return {
        str(path.relative_to(root)): path.readlink() if path.is_symlink() else path.stat().st_ino
        for path in root.rglob("*")
        if path.parent != root / "tmp"
    }


def keys(root: Path) -> set[str]:
    return {entry.key for entry in catalogue.stores(root)}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.cli, [str(a) for a in arguments])


def test_a_store_is_removed_and_nothing_else(root: Path) -> None:
    others = {name: ino for name, ino in tree(root).items() if ONE.key not in name}
    (target,) = removable(root, [ONE.key])
    assert target.extent.bytes == sum(p.stat().st_size for p in files.tree(folder_of(root)))
    assert target.extent.files == 1 + len(list(folder_of(root).rglob("*")))
    assert target.age == pytest.approx(10 * DAY, abs=HOUR)
    remove(root, [target])
    assert tree(root) == others | {"trash": (root / "trash").stat().st_ino}
    with pytest.raises(StoreNotFound, match="no store"):
        open_store(ONE.key, root=root)
    assert verify(folder_of(root, OTHER)) == []


def test_a_plan_changes_nothing(root: Path) -> None:
    before = tree(root)
    removable(root, [ONE.key, OTHER.key])
    collectable(root, older_than=0.0, max_bytes=0)
    assert tree(root) == before


def test_what_computing_it_again_takes(root: Path) -> None:
    assert removable(root, [HALF.key])[0].core_seconds == 7200.0
    assert removable(root, [ONE.key])[0].core_seconds == 0.0


def link_store(root: Path) -> None:
    shutil.move(folder_of(root), root.parent / "elsewhere")
    folder_of(root).symlink_to(root.parent / "elsewhere")


def link_inside(name: str) -> Callable[[Path], None]:
    def link(root: Path) -> None:
        (root / name).mkdir(exist_ok=True)
        shutil.move(root / name, root.parent / "elsewhere")
        (root / name).symlink_to(root.parent / "elsewhere")

    return link


def make_newer(root: Path) -> None:
    place = folder_of(root) / "manifest.json"
    document = json.loads(place.read_bytes()) | {"format_version": 2}
    place.write_bytes(seal(document))
    aged(root, 10)


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pinned": (
        lambda root: pin(root, ONE.key[:9], "paper"),
        "is pinned by .*: paper; pi-cache unp",
    ),
    "pin of unreadable bytes": (
        lambda root: files.publish(pin_path(root, ONE.key), b"?", temporary=root / "tmp"),
        "is pinned: .its file cannot be read",
    ),
    "young": (lambda root: (folder_of(root) / "tmp" / "new").touch(), "changed .* ago and a build"),
    "young folder": (
        lambda root: os.utime(folder_of(root) / "ledger"),
        "changed .* ago and a buil",
    ),
    "a link": (link_store, "is a link and no folder"),
    "a file": (
        lambda root: [shutil.rmtree(folder_of(root)), folder_of(root).touch()],
        "is a file and no folder",
    ),
    "of a newer release": (make_newer, "made by a newer release"),
    "no record": (lambda root: (root / RECORD).unlink(), "it has no pi-cache.json"),
    **{
        f"{name} is a link": (link_inside(name), f"{name}: nothing is removed through a link")
        for name in ("stores", "pins", "trash", "tmp")
    },
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_must_stay_stays(root: Path, case: str) -> None:
    targets = removable(root, [ONE.key])
    prepare, message = REFUSED[case]
    prepare(root)
    before, elsewhere = tree(root), tree(root.parent)
    with pytest.raises(RemovalRefused, match=message):
        removable(root, [OTHER.key, ONE.key])
    with pytest.raises(RemovalRefused, match=message):  # also where it was found beforehand
        remove(root, targets)
    with suppress(RemovalRefused):
        found = collectable(root, older_than=DAY)
        assert ONE.key not in {target.key for target in found.targets}
    assert (tree(root), tree(root.parent)) == (before, elsewhere)


def test_what_is_gone_is_not_removed(root: Path) -> None:
    """By name it is an error; where another removal was faster it is none."""
    targets = removable(root, [ONE.key])
    remove(root, targets)
    with pytest.raises(RemovalRefused, match="is gone: nothing is removed"):
        removable(root, [ONE.key])
    remove(root, targets)


def test_a_root_of_a_newer_release_is_not_touched(root: Path) -> None:
    document = json.loads((root / RECORD).read_bytes()) | {"format_version": 2}
    (root / RECORD).write_bytes(seal(document))
    with pytest.raises(UnsupportedFormat, match="cache root format 2"):
        removable(root, [ONE.key])


def test_an_owner_can_insist_on_a_young_store(root: Path) -> None:
    aged(folder_of(root), 0)
    targets = removable(root, [ONE.key], young=True)
    with pytest.raises(RemovalRefused, match="a build may be at work"):
        remove(root, targets)
    remove(root, targets, young=True)
    assert keys(root) == {OTHER.key, HALF.key}


def test_links_inside_a_store_are_never_followed(root: Path) -> None:
    outside = root.parent / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "inner" / "precious").write_bytes(b"1" * 99)
    store = folder_of(root)
    (store / "data.zarr" / "folder").symlink_to(outside)
    (store / "data.zarr" / "file").symlink_to(outside / "inner" / "precious")
    (store / "quarantine").symlink_to(outside)
    aged(root, 10)
    before = tree(outside)
    os.utime(store / "manifest.json", (0, time.time() - 2 * DAY))
    collected = collectable(root, older_than=9 * DAY).targets
    (aside,) = [target for target in collected if target.key == ONE.key]
    assert aside.what == "quarantine" and aside.extent.files == 1  # the link alone
    remove(root, [aside])
    assert not (store / "quarantine").is_symlink() and tree(outside) == before
    aged(root, 10)
    remove(root, removable(root, [ONE.key]))
    assert tree(outside) == before and not store.exists()


def test_a_folder_exchanged_for_a_link_meanwhile_is_not_followed(root: Path) -> None:
    outside = root.parent / "outside"
    shutil.copytree(folder_of(root) / "data.zarr", outside)
    before = tree(outside)

    class Exchanging(files.System):
        """Puts a link where a folder was, just before the folder is opened."""

        @staticmethod
        def open_in(folder: int, name: str, flags: int) -> int:
            renamed = list((root / "trash").iterdir())
            if name == "data.zarr" and renamed and not exchanged:
                place = renamed[0] / "data.zarr"
                place.rename(root.parent / "moved")
                place.symlink_to(outside)
                exchanged.append(place)
            return files.System.open_in(folder, name, flags)

    targets = removable(root, [ONE.key])
    exchanged: list[Path] = []
    with installed(Exchanging()), pytest.raises(StorageFailed, match=r"data\.zarr: rmdir_in"):
        remove(root, targets)
    assert exchanged and tree(outside) == before


def test_a_reader_keeps_what_it_has_and_never_gets_other_bytes(root: Path) -> None:
    store = open_store(ONE.key, root=root)
    truth = store.read_all("images")
    remove(root, removable(root, [ONE.key]))
    np.testing.assert_array_equal(store.read("images", [4, 0]), truth[[4, 0]])
    with pytest.raises(PiCacheError, match="inputs"):
        store.read_all("inputs")


def test_a_pin_made_at_the_last_moment_holds(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets, before = removable(root, [ONE.key, OTHER.key]), tree(folder_of(root))

    def late(root: Path, key: str) -> bool:
        return key == ONE.key

    monkeypatch.setattr(removal, "is_pinned", late)
    with pytest.raises(RemovalRefused, match=f"{ONE.key[:12]} was pinned a moment ago"):
        remove(root, targets)
    assert keys(root) == {ONE.key, HALF.key}
    assert tree(folder_of(root)) == before and verify(folder_of(root)) == []
    assert list((root / "trash").iterdir()) == []


def test_a_pin_is_of_a_store_and_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreNotFound, match="no store"):
        pin(root, "0123456789")
    assert pin(root, ONE.key[:7], "표 2").note == "표 2"
    assert str(read_pins(root)[ONE.key]).endswith(": 표 2")
    assert pin(root, ONE.key[:7], "표 2") == read_pins(root)[ONE.key], "once more is no error"
    with pytest.raises(AlreadyPublished, match=r"표 2 already, since .*unpin it first"):
        pin(root, ONE.key)
    assert unpin(root, ONE.key[:7]) == ONE.key
    assert unpin(root, ONE.key[:7]) is None and read_pins(root) == {}
    monkeypatch.setattr(files, "exists", lambda path: False)
    with pytest.raises(StoreNotFound, match="removed while it was being pinned"):
        pin(root, ONE.key)
    assert read_pins(root) == {}


def test_a_pin_whose_store_is_gone_can_be_taken_away(root: Path) -> None:
    pin(root, ONE.key)
    shutil.rmtree(folder_of(root))
    assert unpin(root, ONE.key[:9]) == ONE.key


def leftovers(root: Path) -> dict[str, Path]:
    """What killed builds and removals leave, ten days ago, and what looks like it and is not."""
    writer = "elsewhere.1.0123456789abcdef"
    made = {
        "temporary": root / "tmp" / writer,
        "temporary of a store": folder_of(root) / "tmp" / writer,
        "trash": root / "trash" / f"{'0' * 64}.0123456789abcdef" / "data.zarr" / "c.0",
        "quarantine": folder_of(root) / "quarantine" / "c.0.0123456789abcdef",
        "foreign temporary": root / "tmp" / "notes.txt",
        "foreign trash": root / "trash" / "notes.txt",
        "foreign store": root / "stores" / "notes" / "spec.json",
        "young temporary": root / "tmp" / f"{writer}0",
    }
    for path in made.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1")
    aged(root, 10)
    os.utime(made["young temporary"])
    return made


def test_garbage_without_limits_is_what_nobody_can_want(root: Path) -> None:
    made = leftovers(root)
    found = collectable(root)
    assert [t.what for t in found.targets] == ["trash", "temporary", "temporary"]
    remove(root, found.targets)
    left = {name for name, path in made.items() if path.exists()}
    assert left == {
        "quarantine", "foreign temporary", "foreign trash", "foreign store", "young temporary",
    }  # fmt: skip
    assert keys(root) >= {ONE.key, OTHER.key, HALF.key}
    assert verify(folder_of(root)) == []


def test_what_is_renamed_and_pinned_is_never_deleted(root: Path) -> None:
    """A removal that was killed between a late pin and putting the store back loses nothing."""
    pin(root, ONE.key)
    place = root / "trash" / f"{ONE.key}.0123456789abcdef"
    folder_of(root).rename(place)
    remove(root, collectable(root).targets)
    assert verify(place) == []
    shutil.copytree(place, folder_of(root))  # built again: what lies in the trash is a copy
    remove(root, collectable(root).targets)
    assert not place.exists() and verify(folder_of(root)) == []


def test_quarantine_goes_by_age(root: Path) -> None:
    made = leftovers(root)
    assert "quarantine" not in {t.what for t in collectable(root, older_than=11 * DAY).targets}
    os.utime(folder_of(root, OTHER) / "manifest.json")
    os.utime(folder_of(root) / "manifest.json", (0, time.time() - 2 * DAY))
    found = collectable(root, older_than=9 * DAY)
    assert "quarantine" in {t.what for t in found.targets}
    remove(root, found.targets)
    assert not made["quarantine"].exists() and keys(root) >= {ONE.key, OTHER.key}


def test_collecting_leftovers_makes_no_store_younger(root: Path) -> None:
    leftovers(root)
    remove(root, collectable(root).targets)
    (target,) = removable(root, [ONE.key], young=True)
    assert target.age == pytest.approx(10 * DAY, abs=HOUR)


def test_stores_go_by_age_finished_or_not(root: Path) -> None:
    assert collectable(root, older_than=11 * DAY).targets == ()
    found = collectable(root, older_than=9 * DAY)
    assert {t.key for t in found.targets} == {ONE.key, OTHER.key, HALF.key} and found.left == 0
    assert {t.what for t in found.targets} == {"store", "unfinished store"}
    pin(root, ONE.key)
    remove(root, collectable(root, older_than=9 * DAY).targets)
    assert keys(root) == {ONE.key}


def test_the_oldest_go_until_the_rest_fits(root: Path) -> None:
    total = collectable(root).left
    assert total == sum(p.stat().st_size for p in files.tree(root / "stores"))
    aged(folder_of(root, OTHER), 15)
    aged(folder_of(root, HALF), 13)
    assert collectable(root, max_bytes=total).targets == ()
    for limit, gone in ((total - 1, [OTHER]), (1, [OTHER, HALF, ONE])):
        found = collectable(root, max_bytes=limit)
        assert [t.key for t in found.targets] == [spec.key for spec in gone]
        assert found.left == total - sum(t.extent.bytes for t in found.targets)
    pin(root, OTHER.key)
    found = collectable(root, max_bytes=1)
    assert [t.key for t in found.targets] == [HALF.key, ONE.key]
    assert list(found.kept) == [OTHER.key] and found.left > 1


def test_a_killed_removal_is_finished_by_the_next(root: Path) -> None:
    last = calls_of_removal(root.parent, root)
    with installed(Struck(last - 9, dying, lasting=True)), suppress(Dead):
        remove(root, removable(root, [ONE.key]))
    assert keys(root) == {OTHER.key, HALF.key}
    assert list((root / "trash").iterdir())
    aged(root, 1)
    remove(root, removable(root, [OTHER.key]))
    assert keys(root) == {HALF.key} and list((root / "trash").iterdir()) == []


def test_a_lost_reply_of_the_rename_is_no_failure(root: Path) -> None:
    copy = Path(shutil.copytree(root, root.parent / "counted", symlinks=True))
    made = names_of(lambda: remove(copy, removable(copy, [ONE.key])))
    with installed(Struck(made.index("rename_in") + 1, lost_reply)):
        remove(root, removable(root, [ONE.key]))
    assert keys(root) == {OTHER.key, HALF.key}
    assert list((root / "trash").iterdir()) == []


def calls_of_removal(folder: Path, root: Path) -> int:
    copy = Path(shutil.copytree(root, folder / "counted", symlinks=True))
    try:
        return calls_of(lambda: remove(copy, removable(copy, [ONE.key])))
    finally:
        shutil.rmtree(copy)


@pytest.mark.parametrize("what", ["killed", "failed"])
def test_a_removal_may_end_at_any_call(template: Path, tmp_path: Path, what: str) -> None:
    """The store is whole or gone, all else is whole, and the next removal finishes it."""
    calls = calls_of_removal(tmp_path, template)
    ended = 0
    for nth in range(1 if what == "killed" else 4, calls + 1, 13):
        root = Path(shutil.copytree(template, tmp_path / str(nth), symlinks=True))
        code = (errno.EIO, errno.EACCES, errno.EMFILE)[nth % 3]
        strike = dying if what == "killed" else failing(code)
        try:
            with installed(Struck(nth, strike, lasting=what == "killed")):
                remove(root, removable(root, [ONE.key]))
        except (Dead, StorageFailed, RemovalRefused):
            ended += 1
        entries = {entry.key: entry.state for entry in catalogue.stores(root)}
        assert entries[OTHER.key] == "finished" and entries[HALF.key] == "unfinished"
        assert verify(folder_of(root, OTHER)) == []
        assert missing_shards(open_build(folder_of(root, HALF))) == [1, 2]
        if ONE.key in entries:
            assert verify(folder_of(root)) == []
        for place in (root / "trash").glob("*"):
            finished = (place / "manifest.json").exists()  # by a removal that deletes it first
            assert not finished or verify(place) == []
        remove(root, collectable(root).targets)
        assert not list((root / "trash").glob("*"))
        shutil.rmtree(root)
    assert ended > calls // 20


class Full(files.System):
    """The system, on a file system in which there is room for nothing new."""

    @staticmethod
    def open(path: Any, flags: int, *mode: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.open(path, flags, *mode)

    @staticmethod
    def mkdir(path: Any, *mode: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write = link = mkdir


def test_a_full_disk_stops_no_removal(root: Path) -> None:
    """Removing is what makes room again, so it takes none: no file, no folder, no inode."""
    with installed(Full()):
        remove(root, removable(root, [ONE.key]))
        remove(root, collectable(root, older_than=DAY).targets)
    assert keys(root) == set() and list((root / "trash").iterdir()) == []


def test_what_cannot_be_removed_stops_nothing_else(root: Path) -> None:
    """Such as the stores of others in a cache that people share."""

    class Refusing(files.System):
        @staticmethod
        def rename_in(folder: int, name: str, other: int, new: str) -> None:
            if name in stay:
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            files.System.rename_in(folder, name, other, new)

        @staticmethod
        def unlink_in(folder: int, name: str) -> None:
            if name.startswith("elsewhere"):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            files.System.unlink_in(folder, name)

    left = root / "tmp" / "elsewhere.1.0123456789abcdef"
    left.write_bytes(b"1")
    aged(root, 10)
    first = min(ONE.key, OTHER.key, HALF.key)
    stay = {first}
    with (
        installed(Refusing()),
        pytest.raises(StorageFailed, match=f"{first}.*; .*elsewhere.*; all else is"),
    ):
        remove(root, collectable(root, older_than=DAY).targets)
    assert keys(root) == {first} and list((root / "trash").iterdir()) == [] and left.exists()
    stay.clear()
    remove(root, collectable(root, older_than=DAY).targets)
    assert keys(root) == set() and not left.exists()


class Closed(files.System):
    """The system, for an account that may not look into a folder of this name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def open_in(self, folder: int, name: str, flags: int) -> int:  # type: ignore[override]
        if name == self.name:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return files.System.open_in(folder, name, flags)


@pytest.mark.parametrize("inside", ["", "data.zarr"])
def test_a_store_that_may_not_be_read_is_kept_and_stops_nothing(root: Path, inside: str) -> None:
    if inside:  # of one store only
        (folder_of(root) / inside).rename(folder_of(root) / "private")
        aged(root, 10)
    with installed(Closed("private" if inside else ONE.key)):
        dry = run("gc", "--older-than", "1d", "--json", "--cache", root)
        assert dry.exit_code == 0
        assert f"kept and not counted: may not be read: {ONE.key[:12]}\n" in dry.stderr
        assert ONE.key not in {t["key"] for t in json.loads(dry.stdout)["targets"]}
        with pytest.raises(RemovalRefused, match=r"may not be read by this account: its owner"):
            removable(root, [ONE.key], young=True)
        used = run("budget", "1GB", "--cache", root, "--json")
        assert "not counted: 1 folder that may not be read" in used.stderr
        assert json.loads(used.stdout)["closed"] == 1
        assert run("gc", "--older-than", "1d", "--yes", "--cache", root).exit_code == 0
    assert keys(root) == {ONE.key}


def test_trash_that_may_not_be_read_is_kept(root: Path) -> None:
    name = f"{'ab' * 32}.{'0' * 16}"
    (root / "trash" / name).mkdir(parents=True)
    aged(root, 10)
    with installed(Closed(name)):
        assert collectable(root).targets == ()
        remove(root, removable(root, [ONE.key]))
    assert (root / "trash" / name).exists() and ONE.key not in keys(root)


@pytest.mark.parametrize("command", ["gc", "rm"])
def test_what_went_is_told_where_something_could_not(root: Path, command: str) -> None:
    class Refusing(files.System):
        @staticmethod
        def rename_in(folder: int, name: str, other: int, new: str) -> None:
            if name == ONE.key:
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            files.System.rename_in(folder, name, other, new)

    words = ["gc", "--older-than", "1d"] if command == "gc" else ["rm", *keys(root)]
    size = sum(p.stat().st_size for p in files.tree(folder_of(root)))
    with installed(Refusing()):
        result = run(*words, "--yes", "--json", "--cache", root)
    assert result.exit_code == 1 and isinstance(result.exception, StorageFailed)
    document = json.loads(result.stdout)
    assert {t["key"] for t in document["targets"]} == {OTHER.key, HALF.key}
    assert document["removed"] and keys(root) == {ONE.key}
    assert document.get("left") == (size if command == "gc" else None)
    with installed(Refusing()):
        none = run("rm", ONE.key, "--yes", "--cache", root)
    assert none.exit_code == 1 and none.stdout == "" and none.stderr == "nothing was removed\n"


def test_what_has_no_key_for_a_name_is_not_removed(root: Path) -> None:
    """Nothing would ever delete it from the trash."""
    shutil.copytree(folder_of(root), root / "stores" / "deadbeef-old")
    aged(root, 10)
    before = tree(root)
    for name in ("deadbeef-old", ".."):
        with pytest.raises(RemovalRefused, match="is no key, so no build made it"):
            removable(root, [name], young=True)
    result = run("rm", "dead", "--yes", "--cache", root)
    assert result.exit_code == 1 and isinstance(result.exception, RemovalRefused)
    assert tree(root) == before


def test_many_reasons_are_a_few_and_a_number(root: Path) -> None:
    assert removal.first_of(["a", "b"]) == "a; b"
    assert removal.first_of([*"abcde"]) == "a; b; c; and 2 more"
    for key in keys(root):
        pin(root, key)
    left = run("gc", "--max-bytes", "1kB", "--cache", root)
    assert left.exit_code == 1 and str(left.exception).count("is pinned by") == 3


def test_commands(root: Path) -> None:
    end = ("--cache", root)
    assert run("pin", ONE.key[:9], "--note", "표 2", *end).exit_code == 0
    refused = run("rm", ONE.key[:9], OTHER.key[:9], *end)
    assert refused.exit_code == 1 and isinstance(refused.exception, RemovalRefused)
    dry = run("rm", OTHER.key[:9], *end)
    assert dry.exit_code == 0 and OTHER.key[:12] in dry.stdout
    assert "dry run, nothing was removed: the same command with --yes frees" in dry.stderr
    assert OTHER.key in keys(root)
    assert run("rm", OTHER.key[:9], "--yes", *end).exit_code == 0
    assert OTHER.key not in keys(root)
    collected = json.loads(run("gc", "--older-than", "9d", "--json", *end).stdout)
    assert [t["key"] for t in collected["targets"]] == [HALF.key]
    assert collected["core_hours"] == 2.0 and not collected["removed"]
    left = run("gc", "--max-bytes", "1kB", "--yes", *end)
    assert left.exit_code == 1 and "is pinned by" in str(left.exception)
    assert keys(root) == {ONE.key}
    assert "not pinned any more" in run("unpin", ONE.key[:9], *end).stderr
    assert "was not pinned" in run("unpin", folder_of(root)).stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gc", "--older-than", "30"), "'30' has no unit"),
        (("gc", "--older-than", "soon"), "'soon' is no quantity; give an age such as 30d"),
        (("gc", "--max-bytes", "-1GB"), "'-1GB' is no quantity; give a size such as 200GB"),
        (("budget", "much"), "'much' is no quantity"),
        (("rm",), "Missing argument"),
    ],
)
def test_misuse_of_commands(root: Path, words: tuple[str, ...], message: str) -> None:
    result = run(*words, "--cache", root)
    assert result.exit_code == 2 and message in result.stderr


def test_a_folder_outside_a_cache_is_no_store(root: Path, tmp_path: Path) -> None:
    shutil.copytree(folder_of(root), tmp_path / "mine")
    result = run("rm", tmp_path / "mine", "--yes")
    assert result.exit_code == 1 and "not among the stores of a cache" in str(result.exception)
    assert (tmp_path / "mine" / "manifest.json").exists()


def test_folders_too_deep_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "/".join(["d"] * 40)).mkdir(parents=True)
    with opened(tmp_path) as folder, pytest.raises(StorageFailed, match="too deep for a store"):
        folder.extent("d")
