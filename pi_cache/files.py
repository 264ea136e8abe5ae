"""The only place that makes a file appear: temporary, fsync, exclusive link, read back, fsync.

Nothing published is ever opened for writing or renamed over. The reply of `link` is not trusted
(a network file system can lose it): what counts is what the name holds afterwards.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pi_cache.errors import AlreadyPublished, CorruptStore, StorageFailed
from pi_cache.failures import FULL, failed
from pi_cache.failures import failure as failure
from pi_cache.system import System as System

Item = TypeVar("Item")
Result = TypeVar("Result")
Buffer = bytes | bytearray | memoryview

BLOCK = 1 << 20
LARGEST_DOCUMENT = 1 << 28
"""Bytes of a file that is read as a whole, unless told: a manifest of a million files."""
ABSENT = {errno.ENOENT, errno.ENOTDIR}
NO_NAME = {errno.EINVAL, errno.ENAMETOOLONG, errno.ELOOP}
"""No file can have such a name."""
TRANSIENT = {errno.EINTR, errno.ESTALE, errno.EAGAIN}
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE, errno.ENFILE}
FINAL = FULL | DENIED | ABSENT | NO_NAME
"""Writing the same file anew would fail again."""
THREADS = 4
"""Files hashed at a time."""
ATTEMPTS = 5
LEFT = 3600.0
"""Seconds after which a temporary has no writer any more."""
NAMED = re.compile(r".+\.[0-9]+\.[0-9a-f]{16}", re.DOTALL)
"""A temporary: host, process, and random digits."""
REWRITES = 2
"""How often a file whose fsync or close failed is written anew: its pages may be lost by then,
and a second fsync of the same file would say nothing of them."""


system = System()
"""What every call goes through; tests put another one here."""


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


def publish_blocks(
    path: Path, blocks: Callable[[], Iterable[Buffer]], *, temporary: Path
) -> tuple[int, str]:
    """Make `path` hold blocks one after the other, durably: a file that memory need not hold.

    blocks: called again where writing has to begin anew. Returns size and SHA-256. Raises
    AlreadyPublished when the name is taken by other bytes, and as `publish_many`.
    """
    make_directory(temporary)
    make_directory(path.parent)
    name, size, sha256 = _stage_blocks(temporary, blocks)
    try:
        holds = _link(name, path, (size, sha256))
    finally:
        _discard(name)
    if not holds:
        raise AlreadyPublished(f"{path}: exists with other bytes", (path,))
    sync_directory(path.parent)
    return size, sha256


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
    _afresh(lambda: _sync_directory(path))


def _sync_directory(path: Path) -> None:
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
        if error.errno != errno.ENOENT:
            raise
        if not exists(aside):  # else it was moved, the reply was lost, and it was moved again
            return None
    sync_directory(path.parent)
    return aside


def sweep(temporary: Path, *, older: float = LEFT) -> None:
    """Remove what killed writers left behind.

    Whether a writer in another container or on another machine still runs cannot be told, so
    only old files go; their age is counted on the clock of the file system itself.
    older: seconds; 0 where all is written, so that another writer has nothing to lose.
    """
    left = [path for path in listing(temporary) if is_left(path.name)]
    if not left:
        return
    now = clock(temporary)
    for path in left:
        with contextlib.suppress(FileNotFoundError):
            if now - _call("stat", path, path).st_mtime >= older:
                _discard(path)


def clock(folder: Path) -> float:
    """Seconds of this moment by the clock of the file system, which may be another machine's.

    The folder is touched for that: on a full disk there is no room for a new file.
    """
    _call("utime", folder, folder)
    return float(_call("stat", folder, folder).st_mtime)


def temporary_name() -> str:
    """A new name for a file or folder of this process, by which `is_left` knows it."""
    return f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(8)}"


def is_left(name: str) -> bool:
    """Whether a name is that of a temporary whose writer does not run here."""
    if not is_temporary(name):
        return False
    host, process, _ = name.rsplit(".", 2)
    return not (host == socket.gethostname() and _runs(int(process)))


def is_temporary(name: str) -> bool:
    """Whether a name is of `temporary_name`'s kind: a folder may hold files of the user too."""
    return NAMED.fullmatch(name) is not None


def _runs(process: int) -> bool:
    """Whether a process of this number exists; signal 0 only asks."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def mark(path: Path) -> None:
    """A new empty file that only its owner may write; not durable, for what may be lost."""
    _discard(path)
    with _opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600):
        pass


def touch(path: Path) -> None:
    """Set a file's time to this moment, by the clock of its file system. Raises as `read_bytes`."""
    _call("utime", path, path)


def changed(path: Path) -> float:
    """When a file was last changed, by the clock of its file system. Raises as `read_bytes`."""
    return float(_call("stat", path, path).st_mtime)


def put_back(aside: Path, path: Path) -> None:
    """Undo `move_aside`, unless the name has been taken meanwhile."""
    try:
        _call("link", path, aside, path)
    except StorageFailed as error:
        if error.errno != errno.EEXIST:
            raise
    sync_directory(path.parent)
    _discard(aside)


def remove(path: Path) -> bool:
    """Remove a file, durably; False where there was none."""
    try:
        _call("unlink", path, path)
    except StorageFailed as error:
        if error.errno != errno.ENOENT:
            raise
        return False
    sync_directory(path.parent)
    return True


def read_bytes(path: Path, most: int = LARGEST_DOCUMENT) -> bytes:
    """All bytes of a file. Raises FileNotFoundError, or StorageFailed.

    most: bytes above which it is refused, as CorruptStore, before they are read.
    """
    if (found := size(path)) > most:
        raise CorruptStore(f"{path}: has {found} bytes, expected {most} at most; move it away")
    return _afresh(lambda: b"".join(_blocks(path)))


def size(path: Path | str) -> int:
    """Bytes of a file; a text is much faster to make than a Path. Raises as `read_bytes`."""
    return int(_call("stat", path, path).st_size)


def exists(path: Path) -> bool:
    """Whether there is something of that name. Raises StorageFailed where it cannot be told."""
    return _status(path) is not None


def is_folder(path: Path) -> bool:
    """Whether there is a folder of that name. Raises as `exists`."""
    found = _status(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def _status(path: Path) -> os.stat_result | None:
    """What is known of a name, None where nothing has it. Raises as `exists`."""
    try:
        found: os.stat_result = _call("stat", path, path)
    except FileNotFoundError:
        return None
    except StorageFailed as error:
        if error.errno not in NO_NAME:
            raise
        return None
    return found


def difference(path: Path, size: int, sha256: str) -> str | None:
    """How a file differs from its entry, None when it does not. Raises as `read_bytes`."""
    status = _call("stat", path, path)
    found_size, found = status.st_size, ""
    if found_size == size or not stat.S_ISREG(status.st_mode):  # what is too large is not read
        found_size, found = digest(path)
    if found_size != size:
        return f"expected {size} bytes, got {found_size}"
    return None if found == sha256 else f"expected SHA-256 {sha256}, got {found}"


def digest(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file as it lies on disk. Raises as `read_bytes`."""
    return _afresh(lambda: _digest(_blocks(path)))


def _digest(blocks: Iterable[bytes]) -> tuple[int, str]:
    size, sha256 = 0, hashlib.sha256()
    for block in blocks:
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
    return _stage_blocks(folder, lambda: (data,), hashed=False)[0]


def _stage_blocks(
    folder: Path, blocks: Callable[[], Iterable[Buffer]], *, hashed: bool = True
) -> tuple[Path, int, str]:
    """As `_write_temporary`, of blocks, with their size and SHA-256 ("" unless hashed)."""
    for rewrite in range(REWRITES + 1):
        name = folder / temporary_name()
        try:
            return name, *_write(name, blocks(), hashed=hashed)
        except StorageFailed as error:
            if error.errno != errno.EEXIST:  # else it is that of another writer
                _discard(name)
            if error.errno in FINAL or rewrite == REWRITES:
                raise
        except BaseException:  # what gives the blocks failed
            _discard(name)
            raise
    raise AssertionError("unreachable")


def _write(name: Path, blocks: Iterable[Buffer], *, hashed: bool) -> tuple[int, str]:
    size, sha256 = 0, hashlib.sha256()
    with _opened(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as handle:
        for data in blocks:
            rest = memoryview(data).cast("B")
            size += len(rest)
            if hashed:
                sha256.update(rest)
            while len(rest):
                written = _call("write", name, handle, rest)
                if not written:
                    raise failure(StorageFailed, errno.EIO, f"{name}: write stored nothing")
                rest = rest[written:]
        _call("fsync", name, handle, tries=1)
    return size, sha256.hexdigest() if hashed else ""


def _link(name: Path, path: Path, data: Buffer | tuple[int, str]) -> bool:
    """Whether `path` holds `data` (or size and SHA-256 of it), whatever `link` replied."""
    for _ in range(ATTEMPTS):
        failure: OSError | None = None
        try:
            _call("link", path, name, path)
        except StorageFailed as error:
            failure = error
        try:
            return _afresh(lambda: _holds(path, data))
        except FileNotFoundError:
            # Taken, and then moved aside by another builder before it was read: link again.
            if failure is not None and failure.errno != errno.EEXIST:
                raise failure from None
    return False


def _holds(path: Path, data: Buffer | tuple[int, str]) -> bool:
    if isinstance(data, tuple):
        return difference(path, *data) is None
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
    with _opened(path, os.O_RDONLY | os.O_NONBLOCK) as handle:
        if not _is_stored(_call("fstat", path, handle).st_mode):  # it could wait, or never end
            reason = f"{path}: is no file but a pipe, a socket or a device; move it away"
            raise failure(StorageFailed, errno.EINVAL, reason)
        while block := _call("read", path, handle, BLOCK):
            yield block


def _is_stored(mode: int) -> bool:
    """Whether it is a file; reading a folder fails by itself."""
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


@contextlib.contextmanager
def _opened(path: Path, flags: int, mode: int = 0o666) -> Iterator[int]:
    handle: int = _call("open", path, path, flags | os.O_CLOEXEC, mode)
    try:
        yield handle
    except BaseException:
        close_quietly(handle)
        raise
    if flags & os.O_CREAT:
        _call("close", path, handle, tries=1)  # a second close could close another thread's file
    else:
        close_quietly(handle)


def close_quietly(handle: int) -> None:
    """Close a file of which nothing can be lost any more."""
    with contextlib.suppress(OSError):
        system.close(handle)


def _discard(name: Path) -> None:
    """Remove a temporary; one that stays does no harm."""
    with contextlib.suppress(OSError):
        system.unlink(name)


def _parents(files: Iterable[Path]) -> list[Path]:
    return sorted({path.parent for path in files})


def _afresh(function: Callable[[], Result]) -> Result:
    """The function's result; begun again where the file it had open went stale meanwhile."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return function()
        except StorageFailed as error:
            if error.errno != errno.ESTALE or attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _call(call: str, path: Path | str, *arguments: Any, tries: int = ATTEMPTS) -> Any:
    """One system call, retried when it can succeed next time, its failure a typed error."""
    for attempt in range(1, tries + 1):
        try:
            return getattr(system, call)(*arguments)
        except OSError as error:
            if error.errno not in TRANSIENT or attempt == tries:
                raise _typed(error, call, path, *arguments) from error
            time.sleep(0.01 * attempt)
        except ValueError as error:  # a name with a NUL
            raise failure(StorageFailed, errno.EINVAL, f"{path!r}: {error}") from error
    raise AssertionError("unreachable")


def _typed(error: OSError, call: str, path: Path | str, *arguments: Any) -> OSError:
    if error.errno in ABSENT and _reads(call, *arguments):
        absent = f"{path}: {call} failed: {os.strerror(error.errno)}"
        return failure(FileNotFoundError, error.errno, absent)
    return failed(error, call, Path(path))


def _reads(call: str, *arguments: Any) -> bool:
    """Whether a name that is not there is an answer of this call rather than its failure."""
    if call == "open":
        return not arguments[1] & (os.O_CREAT | os.O_DIRECTORY)
    return call in ("read", "stat", "listdir", "stat_in", "statvfs")
