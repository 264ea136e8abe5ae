"""Fetching from a server on this machine that breaks off, lies and moves; and hostile archives."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pi_cache.errors import SourceError, StorageFailed, StorageFull, UnsupportedFormat
from pipeline import download as download_module
from pipeline.fetch import Dataset, FetchFailed, data_folder, fetch, load_registry
from pipeline.unpack import Limits, unpack

NOISE = np.random.default_rng(0).bytes(1_000_000)


class Server(ThreadingHTTPServer):
    """Sends `body`, in ranges when asked, and notes each request's Range header."""

    daemon_threads = False
    body = b""
    kind = "application/gzip"
    etag = '"one"'
    status = 200
    ranges = True
    cut_after: int | None = None
    """Bytes after which the next answer breaks off; later ones are whole."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is part of the tests."""

    def url(self, name: str = "made.tar.gz") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        start, status = 0, server.status
        if wanted and server.ranges and self.headers.get("If-Range") in (None, server.etag):
            start, status = int(wanted.removeprefix("bytes=").rstrip("-")), 206
        whole = len(server.body)
        if start >= whole and status == 206:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{whole}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(status)
        self.send_header("Content-Type", server.kind)
        self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(whole - start))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        self.end_headers()
        cut, server.cut_after = server.cut_after, None
        self.wfile.write(server.body[start : whole if cut is None else start + cut])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def tar(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


BODY = tar({"top/a.bin": NOISE, "top/deep/b.txt": b"b"})


def made(server: Server, **changes: Any) -> dict[str, Dataset]:
    """A registry of one data set whose archive the server sends."""
    server.body = server.body or BODY
    entry: dict[str, Any] = {
        "name": "made",
        "title": "Made for tests",
        "urls": (server.url(),),
        "checksum": f"sha256:{hashlib.sha256(server.body).hexdigest()}",
        "bytes": len(server.body),
        "folder": "top",
        "source": "cifar10:{path}",
        "licence": "none",
        "citation": "nobody",
    }
    return {"made": Dataset(**{**entry, **changes})}


def quiet(_: str) -> None:
    """Says nothing."""


def left_in(folder: Path) -> list[str]:
    """What lies in a folder beside lock files."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_fetched_once_then_found(tmp_path: Path, server: Server) -> None:
    said: list[str] = []
    registry = made(server)
    folder = fetch("made", tmp_path, registry=registry, say=said.append)
    assert folder == tmp_path / "made" / "top"
    assert (folder / "a.bin").read_bytes() == NOISE
    assert (folder / "deep" / "b.txt").read_bytes() == b"b"
    assert left_in(tmp_path) == ["made"]
    assert fetch("made", tmp_path, registry=registry, say=said.append) == folder
    assert server.asked == [None]
    assert "already" in said[-1]
    assert any("cite nobody" in line for line in said)


def test_a_broken_connection_goes_on_at_once(tmp_path: Path, server: Server) -> None:
    registry = made(server)
    server.cut_after = 600_000
    folder = fetch("made", tmp_path, registry=registry, say=quiet)
    assert (folder / "a.bin").read_bytes() == NOISE
    assert server.asked[0] is None
    assert len(server.asked) == 2
    assert 0 < int(str(server.asked[1]).removeprefix("bytes=").removesuffix("-")) <= 600_000


def broken_off(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The partial file of a run that gave up."""
    monkeypatch.setattr(download_module, "TRIES", 1)
    server.cut_after = 600_000
    with pytest.raises(FetchFailed, match=r"broke off .*Run it again to go on where it stopped"):
        fetch("made", tmp_path, registry=made(server), say=quiet)
    return tmp_path / "made.tar.gz.partial"


def test_a_later_run_asks_for_the_rest_only(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    have = broken_off(tmp_path, server, monkeypatch).stat().st_size
    assert have > 0
    fetch("made", tmp_path, registry=made(server), say=quiet)
    assert server.asked == [None, f"bytes={have}-"]
    assert left_in(tmp_path) == ["made"]


def test_a_whole_partial_file_is_not_sent_again(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_off(tmp_path, server, monkeypatch).write_bytes(BODY)
    fetch("made", tmp_path, registry=made(server), say=quiet)
    assert server.asked == [None, f"bytes={len(BODY)}-"]


@pytest.mark.parametrize("how", ["changed", "no ranges", "other address"])
def test_what_cannot_be_resumed_starts_again(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    partial = broken_off(tmp_path, server, monkeypatch)
    registry = made(server)
    if how == "changed":
        server.body, server.etag = tar({"top/a.bin": NOISE[::-1]}), '"two"'
        registry = made(server)
    elif how == "no ranges":
        server.ranges = False
    else:
        partial.with_name(f"{partial.name}.origin").write_text('http://other/made.tar.gz\n"one"\n')
    folder = fetch("made", tmp_path, registry=registry, say=quiet)
    expected = NOISE[::-1] if how == "changed" else NOISE
    assert (folder / "a.bin").read_bytes() == expected


def test_a_wrong_checksum_is_refused_and_removed(tmp_path: Path, server: Server) -> None:
    registry = made(server, checksum=f"md5:{'0' * 32}")
    got = hashlib.md5(BODY).hexdigest()
    with pytest.raises(FetchFailed, match=f"expected md5:{'0' * 32} but got {got}"):
        fetch("made", tmp_path, registry=registry, say=quiet)
    assert left_in(tmp_path) == []


def test_without_a_known_checksum_it_warns_and_tells_what_came(
    tmp_path: Path, server: Server
) -> None:
    said: list[str] = []
    fetch("made", tmp_path, registry=made(server, checksum=None), say=said.append)
    digest = hashlib.sha256(BODY).hexdigest()
    assert any("WARNING: no checksum is known" in line and digest in line for line in said)
    marker = json.loads((tmp_path / "made" / ".pi-data.json").read_text())
    assert marker == {"name": "made", "checksum": f"sha256:{digest}", "files": 2, "bytes": 1000001}


def test_a_web_page_is_no_data(tmp_path: Path, server: Server) -> None:
    server.body, server.kind = b"\n<!DOCTYPE html><p>Please log in", "text/html"
    with pytest.raises(FetchFailed, match=r"sent a web page, expected made\.tar\.gz"):
        fetch("made", tmp_path, registry=made(server), say=quiet)
    assert left_in(tmp_path) == []


def test_the_next_address_is_tried(tmp_path: Path, server: Server) -> None:
    urls = ("http://127.0.0.1:1/made.tar.gz", server.url())
    said: list[str] = []
    fetch("made", tmp_path, registry=made(server, urls=urls), say=said.append)
    assert any("are you offline?" in line for line in said)


def test_offline_says_what_to_do(tmp_path: Path, server: Server) -> None:
    registry = made(server, urls=("http://127.0.0.1:1/made.tar.gz",))
    with pytest.raises(FetchFailed, match=r"offline\?.*without a network put made\.tar\.gz into"):
        fetch("made", tmp_path, registry=registry, say=quiet)
    (tmp_path / "made.tar.gz").write_bytes(BODY)
    assert fetch("made", tmp_path, registry=registry, say=quiet).is_dir()


def test_a_refusal_is_told_with_its_status(tmp_path: Path, server: Server) -> None:
    server.status = 404
    with pytest.raises(FetchFailed, match="answered 404 Not Found"):
        fetch("made", tmp_path, registry=made(server), say=quiet)


def test_too_little_room_is_seen_before_the_download(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StorageFull, match=f"1000 bytes free, {len(BODY)} are needed"):
        fetch("made", tmp_path, registry=made(server), say=quiet)


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path, server: Server) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine").touch()
    with pytest.raises(SourceError, match="was not unpacked by this command; move it away"):
        fetch("made", tmp_path, registry=made(server), say=quiet)
    assert left_in(tmp_path / "made") == ["mine"]
    assert server.asked == []


def test_another_archive_of_that_name_is_not_taken_for_it(tmp_path: Path, server: Server) -> None:
    fetch("made", tmp_path, registry=made(server), say=quiet)
    with pytest.raises(SourceError, match=r"was unpacked from sha256:.*, expected md5:0"):
        fetch("made", tmp_path, registry=made(server, checksum="md5:0"), say=quiet)


def test_a_killed_unpack_is_never_taken_for_a_whole_one(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> tuple[int, int]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.fetch.unpack", stop)
        patch.setattr("pipeline.fetch.shutil.rmtree", lambda *_, **__: None)  # as if killed
        with pytest.raises(KeyboardInterrupt):
            fetch("made", tmp_path, registry=made(server), say=quiet)
    assert len(list(tmp_path.glob(".made-*.unpacking"))) == 1
    assert not (tmp_path / "made").exists()
    fetch("made", tmp_path, registry=made(server), say=quiet)
    assert left_in(tmp_path) == ["made"]
    assert server.asked == [None]  # the archive was whole


def test_two_fetches_at_once(tmp_path: Path, server: Server) -> None:
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / ".made.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FetchFailed, match="by another process; wait for it"):
            fetch("made", tmp_path, registry=made(server), say=quiet)


def test_a_place_that_cannot_be_written(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed, match="give another folder, or set PI_DATA"):
        fetch("made", tmp_path / "file", registry=made(server), say=quiet)


def test_an_unknown_name_has_a_suggestion() -> None:
    with pytest.raises(SourceError, match=r"did you mean 'cifar10'.*known are cifar10, cifar100"):
        fetch("cifar-10")


def test_the_data_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PI_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.delenv("PI_DATA")
    assert data_folder().parts[-2:] == ("pi-cache", "datasets")


def test_the_registry_is_complete() -> None:
    lengths = {"sha256": 64, "md5": 32}
    for name, entry in load_registry().items():
        assert entry.name == name
        assert all(url.startswith(("https://", "http://cs231n")) for url in entry.urls)
        assert entry.archive.endswith((".tar.gz", ".zip"))
        assert "{path}" in entry.source
        assert entry.licence
        assert entry.citation
        if entry.checksum:
            kind, _, digest = entry.checksum.partition(":")
            assert len(bytes.fromhex(digest)) * 2 == lengths[kind]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no registry of data sets"),
        ("[]", "is no registry of data sets"),
        ('{"format_version": 1, "datasets": {"x": {}}}', "x must have exactly"),
        ('{"format_version": 1, "datasets": {"../x": {}}}', "cannot be the name of a folder"),
    ],
)
def test_a_registry_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "registry.json"
    path.write_text(text)
    with pytest.raises(SourceError, match=message):
        load_registry(path)
    path.write_text('{"format_version": 2}')
    with pytest.raises(UnsupportedFormat, match="has format 2, this release reads 1"):
        load_registry(path)


def linked(kind: bytes, target: str = "/etc/passwd") -> bytes:
    """A tar archive with one special member, and a file behind it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        info = tarfile.TarInfo("top/a")
        info.type, info.linkname = kind, target
        archive.addfile(info)
        archive.addfile(tarfile.TarInfo("top/a/b"))
    return file.getvalue()


def long_header() -> bytes:
    """A tar archive whose attributes, read in one piece, are much larger than the archive."""
    info = tarfile.TarInfo("top/a")
    info.pax_headers = {"comment": "a" * 20_000_000}
    return gzip.compress(info.tobuf(tarfile.PAX_FORMAT) + bytes(1024))


def zipped(name: str, content: bytes = b"x", mode: int = 0) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


BOMB = bytes(30_000_000)
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "tar parent": (lambda: tar({"../evil": b"x"}), r"'\.\./evil', whose name could leave"),
    "tar inner parent": (lambda: tar({"top/../../evil": b"x"}), "could leave the folder"),
    "tar absolute": (lambda: tar({"/tmp/evil": b"x"}), "could leave the folder"),
    "tar backslash": (lambda: tar({"..\\evil": b"x"}), "could leave the folder"),
    "tar symlink": (lambda: linked(tarfile.SYMTYPE), "'top/a' that is a link or device"),
    "tar hard link": (lambda: linked(tarfile.LNKTYPE), "a link or device"),
    "tar device": (lambda: linked(tarfile.CHRTYPE), "a link or device"),
    "tar pipe": (lambda: linked(tarfile.FIFOTYPE), "a link or device"),
    "tar bomb": (lambda: tar({"top/zeros": BOMB}), "more than 100 times its size"),
    "tar header bomb": (long_header, "a header of 200000.. bytes, expected up to 1048576"),
    "tar twice": (
        lambda: tar({"top/a": b"x", "./top/a": b"y"}),
        "holds .*top/a twice; it is refused",
    ),
    "zip parent": (lambda: zipped("../evil"), "could leave the folder"),
    "zip absolute": (lambda: zipped("/tmp/evil"), "could leave the folder"),
    "zip drive": (lambda: zipped("C:/evil"), "could leave the folder"),
    "zip symlink": (lambda: zipped("top/a", mode=stat.S_IFLNK | 0o777), "a link or device"),
    "zip bomb": (lambda: zipped("top/zeros", BOMB), "more than 100 times its size"),
    "no archive": (lambda: b"just some text" * 100, "is damaged or no zip or tar archive"),
    "empty": (lambda: b"", "is damaged or no zip or tar archive"),
    "cut tar": (lambda: BODY[:500_000], "is damaged"),
    "cut zip": (lambda: zipped("top/a", NOISE)[:5000], "is damaged"),
    "wrong gzip": (lambda: BODY[:600_000] + bytes(9) + BODY[600_009:], "is damaged"),
    "gzip of text": (lambda: gzip.compress(b"no tar" * 1000), "is damaged"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused(tmp_path: Path, server: Server, case: str) -> None:
    build, message = HOSTILE[case]
    server.body = build() or b" "
    root = tmp_path / "outer" / "root"
    with pytest.raises(SourceError, match=message):
        fetch("made", root, registry=made(server), say=quiet)
    assert left_in(root) == ["made.tar.gz"]  # kept as evidence, nothing was unpacked
    assert left_in(tmp_path / "outer") == ["root"]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(size=1000), "more than 1000 bytes"),
        (Limits(ratio=0), "more than 0 times its size"),
        (Limits(members=1), "more than 1 members"),
    ],
)
def test_limits(tmp_path: Path, limits: Limits, message: str) -> None:
    archive = tmp_path / "made.tar.gz"
    archive.write_bytes(BODY)
    with pytest.raises(SourceError, match=message):
        unpack(archive, tmp_path / "out", limits)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_compression_of_tar(tmp_path: Path, mode: str) -> None:
    archive = tmp_path / "made.tar"
    archive.write_bytes(tar({"./train/a.bin": NOISE[:5000], "b": b""}, mode))
    assert unpack(archive, tmp_path / "out") == (2, 5000)
    assert (tmp_path / "out" / "train" / "a.bin").read_bytes() == NOISE[:5000]
    assert (tmp_path / "out" / "b").stat().st_size == 0


def test_unpacked_files_are_plain(tmp_path: Path) -> None:
    archive = tmp_path / "made.zip"
    archive.write_bytes(zipped("tool", mode=stat.S_IFREG | stat.S_ISUID | 0o777))
    unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out" / "tool").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "made.tar.gz"
    archive.write_bytes(BODY)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pipeline.unpack._copy", full)
    with pytest.raises(StorageFull, match=r"the disk is full .* while unpacking made\.tar\.gz"):
        unpack(archive, tmp_path / "out")
