"""A file appears whole or not at all, and every failure has a type."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pi_cache import files
from pi_cache.errors import AlreadyPublished, StorageFailed, StorageFull
from tests.pi_cache.made import Failing


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "한글 폴더" / "inner" / "file"


def publish(path: Path, data: bytes = b"content") -> None:
    files.publish(path, data, temporary=path.parents[1] / "tmp")


def test_publish_leaves_only_the_file(place: Path) -> None:
    publish(place, b"a" * 3_000_000)
    assert files.read_bytes(place) == b"a" * 3_000_000
    assert list((place.parents[1] / "tmp").iterdir()) == []
    assert files.digest(place)[0] == 3_000_000


def test_publishing_the_same_bytes_again_keeps_the_file(place: Path) -> None:
    publish(place)
    before = place.stat().st_ino
    publish(place)
    assert place.stat().st_ino == before


@pytest.mark.parametrize("other", [b"conteny", b"content and more", b"con", b""])
def test_other_bytes_are_refused_and_kept(place: Path, other: bytes) -> None:
    publish(place)
    with pytest.raises(AlreadyPublished, match="other bytes") as caught:
        publish(place, other)
    assert caught.value.paths == (place,)
    assert place.read_bytes() == b"content"


def test_publish_many_publishes_what_it_can(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"old")
    wanted = {tmp_path / name: name.encode() for name in "abc"}
    with pytest.raises(AlreadyPublished, match="other bytes"):
        files.publish_many(wanted, temporary=tmp_path / "tmp")
    assert [(tmp_path / name).read_bytes() for name in "abc"] == [b"a", b"old", b"c"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_is_told_apart(place: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(files, "system", Failing("write", 1, code))
    with pytest.raises(StorageFull, match="free some space") as caught:
        publish(place)
    assert caught.value.errno == code
    assert not place.exists()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EMFILE])
def test_failure_names_path_and_call(
    place: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    place.parents[1].mkdir()
    monkeypatch.setattr(files, "system", Failing("mkdir", 1, code))
    with pytest.raises(StorageFailed, match="tmp: mkdir failed"):
        publish(place)


@pytest.mark.parametrize("code", [errno.EINTR, errno.ESTALE, errno.EAGAIN])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "link", "read"])
def test_passing_failures_are_retried(
    place: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    monkeypatch.setattr(files, "system", Failing(call, 1, code))
    publish(place)
    assert place.read_bytes() == b"content"


def test_failed_fsync_writes_a_new_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.parent.mkdir(parents=True)
    (place.parents[1] / "tmp").mkdir()
    system = Failing("fsync", 1, errno.EIO)
    monkeypatch.setattr(files, "system", system)
    publish(place)
    assert place.read_bytes() == b"content"
    assert system.made["write"] == 2


def test_lost_reply_of_link_is_no_failure(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class LostReply(files.System):
        def link(self, source: Path, target: Path) -> None:  # type: ignore[override]
            os.link(source, target)
            raise OSError(errno.EIO, "lost")

    monkeypatch.setattr(files, "system", LostReply())
    publish(place)
    assert place.read_bytes() == b"content"


def test_no_hard_links_says_what_to_do(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "system", Failing("link", 1, errno.EPERM))
    with pytest.raises(StorageFailed, match="no hard links, put the cache on another"):
        publish(place)


def test_short_writes_are_continued(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(files.System):
        def write(self, handle: int, data: memoryview) -> int:  # type: ignore[override]
            return os.write(handle, data[:1])

    monkeypatch.setattr(files, "system", Short())
    publish(place)
    assert place.read_bytes() == b"content"


def test_write_that_stores_nothing_ends(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing(files.System):
        def write(self, handle: int, data: Any) -> int:  # type: ignore[override]
            return 0

    monkeypatch.setattr(files, "system", Nothing())
    with pytest.raises(StorageFailed, match="stored nothing"):
        publish(place)


def test_move_aside_and_back(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    aside = files.move_aside(path, tmp_path / "quarantine")
    assert aside is not None and aside.read_bytes() == b"old" and not path.exists()
    files.put_back(aside, path)
    assert path.read_bytes() == b"old" and not aside.exists()
    aside = files.move_aside(path, tmp_path / "quarantine")
    assert aside is not None
    path.write_bytes(b"new")
    files.put_back(aside, path)
    assert path.read_bytes() == b"new"
    assert files.move_aside(tmp_path / "absent", tmp_path / "quarantine") is None


def test_sweep_removes_what_dead_writers_left(tmp_path: Path) -> None:
    host = socket.gethostname()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    old = [f"{host}.{dead.pid}.aa", f"elsewhere.{os.getpid()}.aa"]
    kept = [f"{host}.{os.getpid()}.ab", "file"]
    young = [f"{host}.{dead.pid}.bb", f"elsewhere.{dead.pid}.bb"]
    for name in old + kept + young:
        (tmp_path / name).write_bytes(b"")
    for name in old + kept:
        os.utime(tmp_path / name, (0, (tmp_path / name).stat().st_mtime - files.LEFT - 9))
    files.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept + young)
    files.sweep(tmp_path / "absent")


def test_a_name_that_is_taken_and_freed_is_linked_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Taken(files.System):
        calls = 0

        def link(self, source: Path, target: Path) -> None:  # type: ignore[override]
            self.calls += 1
            if self.calls == 1:
                raise FileExistsError(errno.EEXIST, "taken")
            os.link(source, target)

    monkeypatch.setattr(files, "system", Taken())
    publish(place)
    assert place.read_bytes() == b"content"
