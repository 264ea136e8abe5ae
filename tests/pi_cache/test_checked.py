"""A file is hashed once on a host; what was remembered counts only for that very file."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest

from pi_cache import checked, files, open_store, open_zarr
from pi_cache.checked import Identity, Marks, forget
from pi_cache.errors import CorruptStore
from pi_cache.integrity.verification import verify
from tests.pi_cache.forged import sealed
from tests.pi_cache.hashing import Hashings, age, flip, marks, remember_all
from tests.pi_cache.made import Failing, make_columns, make_spec, make_store

IMAGES = "data.zarr/images/c.1.0.0.0"
SHARDS = ["c.0.0.0.0", "c.1.0.0.0", "c.2.0.0.0"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all marks, where files of any size and age are remembered."""
    monkeypatch.setattr(checked, "SETTLED", 0.0)
    monkeypatch.setattr(checked, "SMALL", 0)
    monkeypatch.setenv("PI_CACHE_CHECKED", str(tmp_path / "checked"))
    return tmp_path / "checked"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    """A store that the test may damage."""
    return shutil.copytree(made, tmp_path / "한글 캐시" / made.name)


@pytest.fixture
def hashings(monkeypatch: pytest.MonkeyPatch) -> Hashings:
    return Hashings(monkeypatch)


def read(path: Path) -> None:
    images = open_store(path).read_all("images")
    np.testing.assert_array_equal(images, make_columns(make_spec())["images"])


def test_once_for_all_who_read(home: Path, path: Path, hashings: Hashings) -> None:
    read(path)
    assert hashings.names == SHARDS
    assert len(marks(home)) == 3
    assert {mark.stat().st_size for mark in marks(home)} == {0}
    for _ in range(2):
        read(path)
        read(Path(os.path.relpath(path)))
        assert open_zarr(path)["images"][:].shape  # type: ignore[union-attr]
    assert [name for name in hashings.names if name.startswith("c.")] == SHARDS


def child(path: Path, home: str, answers: Any) -> None:
    os.environ["PI_CACHE_CHECKED"] = home
    remember_all()
    with pytest.MonkeyPatch.context() as patch:
        hashings = Hashings(patch)
        read(path)
        answers.put(hashings.names)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_processes_share_what_they_hashed(home: Path, path: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    found = []
    for _ in range(2):
        process = context.Process(target=child, args=(path, str(home), answers))
        process.start()
        found.append(answers.get(timeout=60))
        process.join()
    assert found == [SHARDS, []]


CHANGES: dict[str, Callable[[Path], object]] = {
    "a bit": lambda file: flip(file, 3),
    "a bit, the times put back": lambda file: (
        times := (file.stat().st_atime_ns, file.stat().st_mtime_ns),
        flip(file, 3),
        os.utime(file, ns=times),
    ),
    "another file in its place": lambda file: (
        data := bytes(file.stat().st_size),
        file.rename(file.with_name("old")),
        file.write_bytes(data),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_damage_after_it_was_remembered(home: Path, path: Path, change: str) -> None:
    read(path)
    CHANGES[change](path / IMAGES)
    with pytest.raises(CorruptStore, match=r"images/c.1.0.0.0: expected SHA-256 \w{64}, got \w"):
        read(path)
    with pytest.raises(CorruptStore, match=r"images/c.1.0.0.0: expected SHA-256"):
        open_zarr(path)["images"][:]  # type: ignore[index]


def test_another_manifest_is_not_believed_for_a_file_that_was_hashed(
    home: Path, path: Path
) -> None:
    read(path)
    document = json.loads((path / "manifest.json").read_bytes())
    document["files"][IMAGES]["sha256"] = "0" * 64
    (path / "manifest.json").write_bytes(sealed(document))
    with pytest.raises(CorruptStore, match=r"images/c.1.0.0.0: expected SHA-256 0{64}, got \w{64}"):
        read(path)


def test_a_file_that_was_touched_is_hashed_again(
    home: Path, path: Path, hashings: Hashings
) -> None:
    read(path)
    os.utime(path / IMAGES)
    read(path)
    assert hashings.names == sorted([*SHARDS, SHARDS[1]])


def test_what_changed_a_moment_ago_is_not_remembered(
    home: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another change within the same tick of the clock would leave the same times."""
    monkeypatch.setattr(checked, "SETTLED", 3600.0)
    read(path)
    assert marks(home) == []


def test_small_files_are_hashed_by_all(
    home: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked, "SMALL", (path / IMAGES).stat().st_size)
    read(path)
    assert len(marks(home)) < 3


def forged(path: Path) -> None:
    """Damage a file and remember it as whole, as if it had decayed without a trace."""
    flip(path / IMAGES, -10)
    entry = open_store(path).manifest.files[IMAGES]
    Marks(path).add(IMAGES, entry.sha256, Identity.of((path / IMAGES).stat()))


def test_other_levels_and_verify_have_no_memory(home: Path, path: Path) -> None:
    read(path)
    forged(path)
    made = marks(home)
    with pytest.raises(CorruptStore, match="expected SHA-256"):
        open_store(path, check="always").read("images", [8])
    assert [finding.path for finding in verify(path)] == [IMAGES]
    with pytest.raises(CorruptStore, match="the shard index is damaged"):
        open_store(path).read("images", [8])  # without a hash: this is what a mark means
    assert marks(home) == made
    forget(path)
    open_store(path, check="size").read("images", [0])
    open_store(path, check="always").read("images", [0])
    assert not marks(home)


def untrusted(path: Path, mode: int) -> None:
    path.chmod(path.stat().st_mode | mode)


@pytest.mark.parametrize("which", ["mark", "folder", "folder of all"])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_what_others_can_write_does_not_count(
    home: Path, path: Path, hashings: Hashings, which: str, mode: int
) -> None:
    read(path)
    folder = marks(home)[0].parent
    for place in {"mark": marks(home), "folder": [folder], "folder of all": [home]}[which]:
        untrusted(place, mode)
    hashings.clear()
    read(path)
    assert hashings.names == SHARDS


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_others_own_does_not_count(home: Path, path: Path, hashings: Hashings) -> None:
    read(path)
    os.chown(marks(home)[0].parent, 65534, 65534)
    hashings.clear()
    read(path)
    assert hashings.names == SHARDS


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_marks_count_whatever_the_umask(
    home: Path, path: Path, hashings: Hashings, umask: int
) -> None:
    before = os.umask(umask)
    try:
        read(path)
        read(path)
    finally:
        os.umask(before)
    assert hashings.names == SHARDS


def test_a_home_that_cannot_be_written_is_no_fault(
    path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write_bytes(b"a file in the way")
    read(path)
    assert home.read_bytes() == b"a file in the way"
    read(path)


@pytest.mark.parametrize("call", ["stat", "mkdir", "open", "close", "unlink", "listdir"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.ESTALE])
def test_a_failing_home_is_no_fault(
    home: Path, path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    mine = Marks(path)
    identity = Identity.of((path / IMAGES).stat())
    for nth in (1, 2, 3):
        monkeypatch.setattr(files, "system", Failing(call, nth, code))
        mine.add(IMAGES, "0" * 64, identity)
        mine.holds(IMAGES, "0" * 64, identity)
        forget(path)


def test_no_home_no_memory(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.delenv("PI_CACHE_CHECKED")
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: Path("~/.cache/pi-cache"))
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    read(path)
    assert checked.place() is None
    assert list(empty.iterdir()) == []


def test_forgetting_one_store(home: Path, path: Path, tmp_path: Path) -> None:
    other = shutil.copytree(path, tmp_path / "other" / path.name)
    read(path)
    read(other)
    before = marks(home)
    path.rename(tmp_path / "moved away")
    forget(path)
    assert len(marks(home)) == len(before) // 2
    read(other)
    forget(tmp_path / "nothing was here")
    assert len(list(home.iterdir())) == 1


def test_marks_count_for_a_month(home: Path, path: Path, hashings: Hashings) -> None:
    read(path)
    for mark in marks(home):
        age(mark, checked.LASTS + 60)
    hashings.clear()
    read(path)
    read(path)
    assert hashings.names == SHARDS


def test_old_folders_are_swept_and_nothing_else(home: Path, path: Path, tmp_path: Path) -> None:
    read(path)
    (old,) = home.iterdir()
    foreign = home / "photographs"
    foreign.mkdir()
    (foreign / ("0" * 64)).write_bytes(b"")
    (foreign_file := home / ("0" * 32)).write_bytes(b"")
    for folder in (old, foreign, foreign_file):
        age(folder, checked.LASTS + 60)
    read(shutil.copytree(path, tmp_path / "other" / path.name))
    assert not old.exists()
    assert sorted(foreign.iterdir()) == [foreign / ("0" * 64)]
    assert foreign_file.exists()


def test_files_of_others_in_a_folder_of_marks_stay(home: Path, path: Path) -> None:
    read(path)
    (folder,) = home.iterdir()
    kept = [folder / "notes.txt", folder / ("1" * 64)]
    for file in kept:
        file.write_bytes(b"kept")
    forget(path)
    assert sorted(folder.iterdir()) == sorted(kept)
