"""The only place that makes a file appear: temporary, fsync, exclusive link, read back, fsync.

Nothing published is ever opened for writing or renamed over. The reply of `link` is not trusted
(a network file system can lose it): what counts is what the name holds afterwards.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import socket
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pi_cache.errors import AlreadyPublished, PiCacheError, StorageFailed, StorageFull

Item = TypeVar("Item")
Result = TypeVar("Result")
Failure = TypeVar("Failure", bound=OSError)
Buffer = bytes | bytearray | memoryview

BLOCK = 1 << 20
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
ABSENT = {errno.ENOENT, errno.ENOTDIR}
NO_NAME = {errno.EINVAL, errno.ENAMETOOLONG, errno.ELOOP}
"""No file can have such a name."""
TRANSIENT = {errno.EINTR, errno.ESTALE, errno.EAGAIN}
THREADS = 4
"""Files hashed at a time."""
ATTEMPTS = 5
LEFT = 3600.0
"""Seconds after which a temporary has no writer any more."""
REWRITES = 2
"""How often a file whose fsync or close failed is written anew: its pages are lost by then."""


class System:
    """The calls to the operating system, in one object so that tests can make them fail."""

    open = staticmethod(os.open)
    read = staticmethod(os.read)
    write = staticmethod(os.write)
    fsync = staticmethod(os.fsync)
    close = staticmethod(os.close)
    link = staticmethod(os.link)
    unlink = staticmethod(os.unlink)
    mkdir = staticmethod(os.mkdir)
    rename = staticmethod(os.rename)
    stat = staticmethod(os.stat)
    listdir = staticmethod(os.listdir)


system = System()


def publish(path: Path, data: Buffer, *, temporary: Path) -> None:
    """Make `path` hold `data`, durably; see `publish_many`."""
    publish_many({path: data}, temporary=temporary)


def publish_many(files: Mapping[Path, Buffer], *, temporary: Path) -> None:
    """Make every path hold its bytes, durably; `temporary` is a folder of the same file system.

    Files that already hold the same bytes are left alone. Raises AlreadyPublished when some hold
    others (the rest is published), StorageFull or StorageFailed when a call fails.
    """
    make_directory(temporary)
    staged: list[tuple[Path, Path, Buffer]] = []
    try:
        for path, data in files.items():
            staged.append((path, _write_temporary(temporary, data), data))
        for parent in _parents(files):
            make_directory(parent)
        conflicts = tuple(path for path, name, data in staged if not _link(name, path, data))
    finally:
        for _, name, _ in staged:
            _discard(name)
    for parent in _parents(files):
        sync_directory(parent)
    if conflicts:
        names = ", ".join(str(path) for path in conflicts)
        raise AlreadyPublished(f"{names}: exists with other bytes", conflicts)


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The function of every item, in order; hashing and reading leave Python's lock alone."""
    from concurrent.futures import ThreadPoolExecutor  # not for readers, who import this too

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(function, items))


def make_directory(path: Path) -> None:
    """Make a directory and its missing parents, durably."""
    if is_folder(path):
        return
    make_directory(path.parent)
    try:
        _call("mkdir", path, path)
    except StorageFailed as error:
        if error.errno != errno.EEXIST:
            raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    with _opened(path, os.O_RDONLY | os.O_DIRECTORY) as handle:
        try:
            _call("fsync", path, handle)
        except StorageFailed as error:
            # Some network file systems have no fsync of directories and say EINVAL.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise


def move_aside(path: Path, quarantine: Path) -> Path | None:
    """Move a file to a new name in `quarantine`; None when it is gone already."""
    make_directory(quarantine)
    aside = quarantine / f"{path.name}.{secrets.token_hex(8)}"
    try:
        _call("rename", path, path, aside)
    except StorageFailed as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    sync_directory(path.parent)
    return aside


def sweep(temporary: Path) -> None:
    """Remove what killed writers left behind.

    Whether a writer in another container or on another machine still runs cannot be told, so
    only old files go; their age is counted on the clock of the file system itself.
    """
    left = [path for path in listing(temporary) if _is_left(path)]
    if not left:
        return
    probe = _write_temporary(temporary, b"")
    now = _call("stat", probe, probe).st_mtime
    for path in [probe, *left]:
        with contextlib.suppress(FileNotFoundError):
            if path == probe or now - _call("stat", path, path).st_mtime > LEFT:
                _discard(path)


def _is_left(path: Path) -> bool:
    """Whether a name is that of a temporary whose writer does not run here."""
    host, _, process = path.name.rpartition(".")[0].rpartition(".")
    return process.isdigit() and not (host == socket.gethostname() and _runs(int(process)))


def _runs(process: int) -> bool:
    """Whether a process of this number exists; signal 0 only asks."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def put_back(aside: Path, path: Path) -> None:
    """Undo `move_aside`, unless the name has been taken meanwhile."""
    try:
        _call("link", path, aside, path)
    except StorageFailed as error:
        if error.errno != errno.EEXIST:
            raise
    sync_directory(path.parent)
    _discard(aside)


def read_bytes(path: Path) -> bytes:
    """All bytes of a file. Raises FileNotFoundError, or StorageFailed."""
    return b"".join(_blocks(path))


def size(path: Path) -> int:
    """Bytes of a file. Raises as `read_bytes`."""
    return int(_call("stat", path, path).st_size)


def exists(path: Path) -> bool:
    """Whether there is something of that name. Raises StorageFailed where it cannot be told."""
    try:
        _call("stat", path, path)
    except FileNotFoundError:
        return False
    except StorageFailed as error:
        if error.errno not in NO_NAME:
            raise
        return False
    return True


def is_folder(path: Path) -> bool:
    """Whether there is a folder of that name. Raises as `exists`."""
    return exists(path) and stat.S_ISDIR(_call("stat", path, path).st_mode)


def difference(path: Path, size: int, sha256: str) -> str | None:
    """How a file differs from its entry, None when it does not. Raises as `read_bytes`."""
    found_size, found = digest(path)
    if found_size != size:
        return f"expected {size} bytes, got {found_size}"
    return None if found == sha256 else f"expected SHA-256 {sha256}, got {found}"


def digest(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file as it lies on disk. Raises as `read_bytes`."""
    size, sha256 = 0, hashlib.sha256()
    for block in _blocks(path):
        size += len(block)
        sha256.update(block)
    return size, sha256.hexdigest()


def tree(folder: Path) -> Iterator[Path]:
    """Every file and link below a folder, at any depth; of links to folders only the link."""
    for path in listing(folder):
        if is_folder(path) and not path.is_symlink():
            yield from tree(path)
        else:
            yield path


def listing(folder: Path) -> list[Path]:
    """What a folder holds, by name; nothing when there is none. Raises StorageFailed."""
    try:
        return sorted(folder / name for name in _call("listdir", folder, folder))
    except FileNotFoundError:
        return []


def _write_temporary(folder: Path, data: Buffer) -> Path:
    """A new file with these bytes, on the disk and not only in the page cache."""
    for rewrite in range(REWRITES + 1):
        name = folder / f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(8)}"
        try:
            _write(name, data)
            return name
        except PiCacheError as error:
            _discard(name)
            if getattr(error, "errno", None) != errno.EIO or rewrite == REWRITES:
                raise
    raise AssertionError("unreachable")


def _write(name: Path, data: Buffer) -> None:
    rest = memoryview(data).cast("B")
    with _opened(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as handle:
        while len(rest):
            written = _call("write", name, handle, rest)
            if not written:
                raise failure(StorageFailed, errno.EIO, f"{name}: write stored nothing")
            rest = rest[written:]
        _call("fsync", name, handle)


def _link(name: Path, path: Path, data: Buffer) -> bool:
    """Whether `path` holds `data` after linking, whatever `link` replied."""
    for _ in range(ATTEMPTS):
        failure: OSError | None = None
        try:
            _call("link", path, name, path)
        except (StorageFailed, StorageFull) as error:
            failure = error
        try:
            return _holds(path, data)
        except FileNotFoundError:
            # Taken, and then moved aside by another builder before it was read: link again.
            if failure is not None and failure.errno != errno.EEXIST:
                raise failure from None
    return False


def _holds(path: Path, data: Buffer) -> bool:
    rest = memoryview(data).cast("B")
    if is_folder(path):
        return False
    for block in _blocks(path):
        # Comparing memoryviews goes element by element; a copy first is ten times faster.
        if rest[: len(block)].tobytes() != block:
            return False
        rest = rest[len(block) :]
    return not len(rest)


def _blocks(path: Path) -> Iterator[bytes]:
    with _opened(path, os.O_RDONLY) as handle:
        while block := _call("read", path, handle, BLOCK):
            yield block


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    handle: int = _call("open", path, path, flags | os.O_CLOEXEC, 0o666)
    try:
        yield handle
    except BaseException:
        with contextlib.suppress(OSError):
            system.close(handle)
        raise
    _call("close", path, handle)


def _discard(name: Path) -> None:
    """Remove a temporary; one that stays does no harm."""
    with contextlib.suppress(OSError):
        system.unlink(name)


def _parents(files: Iterable[Path]) -> list[Path]:
    return sorted({path.parent for path in files})


def _call(call: str, path: Path, *arguments: Any) -> Any:
    """One system call, retried when it can succeed next time, its failure a typed error."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return getattr(system, call)(*arguments)
        except OSError as error:
            # A second close could close another thread's file.
            if error.errno not in TRANSIENT or attempt == ATTEMPTS or call == "close":
                raise _typed(error, call, path, reading=_reads(call, *arguments)) from error
            time.sleep(0.01 * attempt)
        except ValueError as error:  # a name with a NUL
            raise failure(StorageFailed, errno.EINVAL, f"{path!r}: {error}") from error
    raise AssertionError("unreachable")


def _reads(call: str, *arguments: Any) -> bool:
    """Whether a name that is not there is an answer of this call rather than its failure."""
    if call == "open":
        return not arguments[1] & (os.O_CREAT | os.O_DIRECTORY)
    return call in ("read", "stat", "listdir")


def _typed(error: OSError, call: str, path: Path, *, reading: bool) -> OSError:
    reason = f"{path}: {call} failed: {os.strerror(error.errno or 0)}"
    if reading and error.errno in ABSENT:
        return failure(FileNotFoundError, error.errno, reason)
    if error.errno in FULL:
        advice = "free some space and run the command again"
        return failure(StorageFull, error.errno, f"{reason}; {advice}")
    if call == "link" and error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
        reason += "; this file system has no hard links, put the cache on another one"
    return failure(StorageFailed, error.errno, reason)


def failure(kind: type[Failure], code: int | None, message: str) -> Failure:
    """An error that has a number, which is no part of its message."""
    error = kind(message)
    error.errno = code
    return error
