"""A file appears whole or not at all, and every failure has a type."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pi_cache import catalogue, failures, files, open_store
from pi_cache.errors import (
    AlreadyPublished,
    PiCacheError,
    StorageFailed,
    StorageFull,
    StoreNotFound,
)
from pi_cache.integrity.verification import verify
from pi_cache.ledger import missing_shards, open_build
from tests.pi_cache.made import Failing, begin_store, fill_store, make_spec, make_store


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


FULL = {errno.ENOSPC: "free some space", errno.EDQUOT: "your quota", errno.EFBIG: "ulimit -f"}


@pytest.mark.parametrize("code", FULL)
def test_full_is_told_apart(place: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    system = Failing("write", 1, code)
    monkeypatch.setattr(files, "system", system)
    with pytest.raises(StorageFull, match=FULL[code]) as caught:
        publish(place)
    assert caught.value.errno == code
    assert system.made["write"] == 1
    assert not place.exists()


@pytest.mark.parametrize(
    ("inodes", "said"), [(5, "4,096,000 bytes are free there"), (0, "no inodes left")]
)
def test_what_there_is_too_little_of(
    place: Path, monkeypatch: pytest.MonkeyPatch, inodes: int, said: str
) -> None:
    found = types.SimpleNamespace(f_files=9, f_favail=inodes, f_bavail=1000, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: found)
    monkeypatch.setattr(files, "system", Failing("write", 1, errno.ENOSPC))
    with pytest.raises(StorageFull, match=f"No space left on device; .*{said}"):
        publish(place)


def test_full_where_nothing_can_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path) -> None:
        raise OSError(errno.ENOSYS, "")

    monkeypatch.setattr(os, "statvfs", fails)
    assert failures.full(Path("/a/b")) == "free some space and run the command again"


REMEDIES = {
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.EROFS: "read-only",
    errno.EMFILE: "ulimit -n",
    errno.ENFILE: "fs.file-max",
    errno.EIO: "run pi-cache verify",
    errno.ENOTCONN: "network file system",
    errno.ENAMETOOLONG: "a shorter name",
    errno.ELOOP: "symbolic links",
    errno.ENOTDIR: "a file stands in place of a folder",
    9999: "Unknown error 9999$",
}


@pytest.mark.parametrize("code", REMEDIES)
def test_failure_names_path_call_and_remedy(
    place: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    place.parents[1].mkdir()
    monkeypatch.setattr(files, "system", Failing("mkdir", 1, code))
    with pytest.raises(StorageFailed, match=f"tmp: mkdir failed: .*{REMEDIES[code]}") as caught:
        publish(place)
    assert caught.value.errno == code


def test_every_remedy_is_of_a_number_and_a_sentence() -> None:
    assert {name for name in failures.REMEDIES if not hasattr(errno, name)} == set()
    assert all(len(remedy) > 20 for remedy in failures.REMEDIES.values())
    assert failures.FULL - {errno.ENOSPC} <= failures.BY_NUMBER.keys()


@pytest.mark.parametrize("code", [errno.EINTR, errno.ESTALE, errno.EAGAIN])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "link", "read"])
def test_passing_failures_are_retried(
    place: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    monkeypatch.setattr(files, "system", Failing(call, 1, code))
    publish(place)
    assert place.read_bytes() == b"content"


class Lossy(files.System):
    """The system, of which fsync or close of the first files fails."""

    def __init__(self, call: str, times: int, code: int) -> None:
        self.call, self.times, self.code = call, times, code
        self.written: list[str] = []

    def open(self, path: Path, flags: int, mode: int) -> int:  # type: ignore[override]
        if flags & os.O_CREAT:
            self.written.append(path.name)
        return os.open(path, flags, mode)

    def fsync(self, handle: int) -> None:  # type: ignore[override]
        os.fsync(handle)
        self.fail("fsync")

    def close(self, handle: int) -> None:  # type: ignore[override]
        os.close(handle)
        self.fail("close")

    def fail(self, call: str) -> None:
        if call == self.call and 0 < len(self.written) <= self.times:
            raise OSError(self.code, os.strerror(self.code))


@pytest.fixture
def ready(place: Path) -> Path:
    """A file whose folders are there."""
    place.parent.mkdir(parents=True)
    (place.parents[1] / "tmp").mkdir()
    return place


@pytest.mark.parametrize("code", [errno.EIO, errno.EINTR, errno.ESTALE, errno.EAGAIN, 9999])
@pytest.mark.parametrize("call", ["fsync", "close"])
def test_a_file_that_may_be_lost_is_written_anew(
    ready: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    system = Lossy(call, 2, code)
    monkeypatch.setattr(files, "system", system)
    publish(ready)
    assert ready.read_bytes() == b"content"
    assert len(set(system.written)) == len(system.written) == 3
    assert list((ready.parents[1] / "tmp").iterdir()) == []


@pytest.mark.parametrize("call", ["fsync", "close"])
def test_a_file_is_written_anew_at_most_twice(
    ready: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    system = Lossy(call, 3, errno.EIO)
    monkeypatch.setattr(files, "system", system)
    with pytest.raises(StorageFailed, match=f"{call} failed"):
        publish(ready)
    assert len(system.written) == 3
    assert set(ready.parents[1].rglob("*")) == {ready.parent, ready.parents[1] / "tmp"}


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG]
)
@pytest.mark.parametrize("call", ["fsync", "close"])
def test_what_is_final_is_not_written_anew(
    ready: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    system = Lossy(call, 1, code)
    monkeypatch.setattr(files, "system", system)
    with pytest.raises(StorageFailed, match=f"{call} failed"):
        publish(ready)
    assert len(system.written) == 1 and not ready.exists()


@pytest.mark.parametrize("use", [files.read_bytes, files.digest, files.sync_directory, publish])
def test_what_went_stale_is_opened_again(
    ready: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[Path], object]
) -> None:
    """Trying the same handle again does not help."""

    class Stale(files.System):
        stale: int | None = None

        def open(self, *arguments: Any) -> int:  # type: ignore[override]
            handle = os.open(*arguments)
            writing = arguments[1] & os.O_CREAT
            self.stale = handle if self.stale is None and not writing else self.stale
            return handle

        def read(self, handle: int, count: int) -> bytes:  # type: ignore[override]
            self.fail(handle)
            return os.read(handle, count)

        def fsync(self, handle: int) -> None:  # type: ignore[override]
            self.fail(handle)
            os.fsync(handle)

        def close(self, handle: int) -> None:  # type: ignore[override]
            os.close(handle)
            self.stale = -1 if handle == self.stale else self.stale

        def fail(self, handle: int) -> None:
            if handle == self.stale:
                raise OSError(errno.ESTALE, "stale")

    if use is not publish:
        publish(ready)
    expected = use(ready.parent if use is files.sync_directory else ready)
    ready.unlink() if use is publish else None
    system = Stale()
    monkeypatch.setattr(files, "system", system)
    assert use(ready.parent if use is files.sync_directory else ready) == expected
    assert system.stale == -1
    assert ready.read_bytes() == b"content"


def test_what_moved_although_the_reply_was_lost_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LostReply(files.System):
        def rename(self, source: Path, target: Path) -> None:  # type: ignore[override]
            source.rename(target)  # the second time there is nothing left to move
            raise OSError(errno.EINTR, "lost")

    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(files, "system", LostReply())
    aside = files.move_aside(path, tmp_path / "quarantine")
    assert aside is not None and aside.read_bytes() == b"old"


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
    a, b = "a" * 16, "b" * 16
    old = [f"{host}.{dead.pid}.{a}", f"elsewhere.{os.getpid()}.{a}"]
    kept = [f"{host}.{os.getpid()}.{a}", "file", "scan.2024.png", f"{host}.{dead.pid}.jpg"]
    young = [f"{host}.{dead.pid}.{b}", f"elsewhere.{dead.pid}.{b}"]
    for name in old + kept + young:
        (tmp_path / name).write_bytes(b"")
    for name in old + kept:
        os.utime(tmp_path / name, (0, (tmp_path / name).stat().st_mtime - files.LEFT - 9))
    files.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept + young)
    files.sweep(tmp_path / "absent")
    files.sweep(tmp_path, older=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


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


class Recording(files.System):
    """The system, and a list of what made names appear and what made them durable."""

    def __init__(self) -> None:
        self.names: dict[int, Path] = {}
        self.log: list[tuple[str, Path]] = []

    def open(self, path: Path, *arguments: int) -> int:  # type: ignore[override]
        handle = os.open(path, *arguments)
        self.names[handle] = path
        return handle

    def fsync(self, handle: int) -> None:  # type: ignore[override]
        self.log.append(("fsync", self.names[handle]))

    def link(self, source: Path, target: Path) -> None:  # type: ignore[override]
        old = source.parent.name == "quarantine"
        assert old or ("fsync", source) in self.log, "a name before its bytes are on the disk"
        os.link(source, target)
        self.log.append(("name", target.parent))

    def mkdir(self, path: Path) -> None:  # type: ignore[override]
        path.mkdir()
        self.log.append(("name", path.parent))

    def rename(self, source: Path, target: Path) -> None:  # type: ignore[override]
        source.rename(target)
        self.log.append(("name", source.parent))


def test_every_name_is_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = Recording()
    monkeypatch.setattr(files, "system", system)
    build = begin_store(tmp_path / "cache", make_spec())
    (build.path / "spec.json").unlink()
    (build.path / "spec.json").write_bytes(b"damaged")
    manifest = fill_store(begin_store(tmp_path / "cache", make_spec()))
    named = [(i, folder) for i, (what, folder) in enumerate(system.log) if what == "name"]
    assert len(named) > len(manifest.files)
    for i, folder in named:
        assert ("fsync", folder) in system.log[i:], folder
    last = max(i for i, folder in named if folder == build.path)
    inside = {build.path / name for name in ("data.zarr", "data.zarr/images", "ledger")}
    before = max(i for i, folder in named[:-1] if folder in inside)
    assert inside <= {path for what, path in system.log[before:last] if what == "fsync"}
    outside = {build.path, build.path.parent, tmp_path / "cache", tmp_path}
    assert outside <= {path for what, path in system.log[last:] if what == "fsync"}


def test_a_name_is_durable_before_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = Recording()
    monkeypatch.setattr(files, "system", system)
    place = tmp_path / "inner" / "file"

    def made_durable(folder: Path) -> bool:
        last = max(i for i, entry in enumerate(system.log) if entry == ("name", folder))
        return ("fsync", folder) in system.log[last:]

    files.publish(place, b"content", temporary=tmp_path / "tmp")
    assert made_durable(place.parent) and made_durable(tmp_path)
    aside = files.move_aside(place, tmp_path / "quarantine")
    assert aside is not None and made_durable(place.parent)
    files.put_back(aside, place)
    assert made_durable(place.parent)


def test_a_temporary_never_overwrites(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "same")
    taken = place.parents[1] / "tmp" / f"{socket.gethostname()}.{os.getpid()}.same"
    taken.parent.mkdir(parents=True)
    taken.write_bytes(b"of another")
    with pytest.raises(StorageFailed, match="open failed: File exists"):
        publish(place)
    assert not place.exists() and taken.read_bytes() == b"of another"


def test_what_cannot_be_put_back_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    aside = files.move_aside(path, tmp_path / "quarantine")
    assert aside is not None
    monkeypatch.setattr(files, "system", Failing("link", 1, errno.EIO))
    with pytest.raises(StorageFailed, match="link failed"):
        files.put_back(aside, path)
    assert aside.read_bytes() == b"old"


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENOSPC])
def test_a_message_does_not_begin_with_a_number(
    place: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(files, "system", Failing("open", 1, code))
    with pytest.raises(StorageFailed, match=r"^/.*: open failed") as caught:
        publish(place)
    assert str(caught.value).startswith(str(place.parents[2]))
    assert caught.value.errno == code


BAD_NAMES = {"long": "x" * 300, "nul": "a\0b", "loop": "loop/cache"}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    bad = tmp_path / BAD_NAMES[name]
    for refused in (
        lambda: begin_store(bad, make_spec()),
        lambda: catalogue.stores(bad),
        lambda: open_store(bad),
        lambda: files.size(bad),
    ):
        with pytest.raises(StorageFailed, match=r"failed|null"):
            refused()
    with pytest.raises(StoreNotFound, match="neither a folder nor"):
        open_store(BAD_NAMES[name])
    assert not files.exists(bad) and not files.is_folder(bad)


def test_every_failure_of_a_reader_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_store(tmp_path)
    begin_store(tmp_path, make_spec(6))
    for use in (
        lambda: open_store(path.name[:9], root=tmp_path).status,
        lambda: verify(path),
        lambda: catalogue.stores(tmp_path),
        lambda: begin_store(tmp_path, make_spec()),
        lambda: missing_shards(open_build(path)),
    ):
        count = Failing("any", -1, 0)
        monkeypatch.setattr(files, "system", count)
        use()
        for nth in range(1, count.made["any"] + 1, 3):
            monkeypatch.setattr(files, "system", Failing("any", nth, errno.EACCES))
            with contextlib.suppress(PiCacheError):
                use()
