"""What a failed call to the operating system means: a typed error, and what to do about it."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pi_cache.errors import StorageFailed, StorageFull

Failure = TypeVar("Failure", bound=OSError)

DISK = "the disk, its cable or its file system fails: see the kernel log, then run pi-cache verify"
NETWORK = "the network file system does not answer: check its mount and run the command again"
PERMISSION = "your account may not do this: check the permissions of the file and its folders"
TICKET = "the ticket for this file system has run out: renew it (kinit, aklog)"
VANISHED = "it was moved or removed while in use, or a file stands in place of a folder"
MEMORY = "the machine is out of memory: stop other programs or use fewer workers"
NO_LINKS = "this file system has no hard links, put the cache on another one"

REMEDIES = {
    "EACCES": PERMISSION,
    "EPERM": PERMISSION,
    "EROFS": "the file system is read-only: give another cache, or mount it for writing (a failing"
    " disk is made read-only by the kernel: see its log)",
    "EMFILE": "this process has too many files open: raise the limit, ulimit -n",
    "ENFILE": "this machine has too many files open: stop other programs or raise fs.file-max",
    "EIO": DISK,
    "EUCLEAN": DISK,
    "EBADMSG": DISK,
    "EREMOTEIO": DISK,
    "ENXIO": DISK,
    "ENODEV": DISK,
    "ESTALE": NETWORK,
    "ENOTCONN": NETWORK,
    "EHOSTDOWN": NETWORK,
    "EHOSTUNREACH": NETWORK,
    "ENETDOWN": NETWORK,
    "ENETUNREACH": NETWORK,
    "ENETRESET": NETWORK,
    "ECONNABORTED": NETWORK,
    "ECONNREFUSED": NETWORK,
    "ECONNRESET": NETWORK,
    "ESHUTDOWN": NETWORK,
    "ETIMEDOUT": NETWORK,
    "ENOLINK": NETWORK,
    "EKEYEXPIRED": TICKET,
    "EKEYREVOKED": TICKET,
    "EKEYREJECTED": TICKET,
    "ENOKEY": TICKET,
    "EINTR": "it was interrupted again and again: run the command again",
    "EAGAIN": "it was busy again and again: run the command again",
    "EBUSY": "another program is using it: stop that and run the command again",
    "ENAMETOOLONG": "the name is too long: put the cache in a folder of a shorter name",
    "ELOOP": "too many symbolic links, perhaps in a circle: give the real folder",
    "ENOENT": VANISHED,
    "ENOTDIR": VANISHED,
    "EISDIR": VANISHED,
    "EXDEV": "a cache must lie on one file system: mount nothing inside it",
    "EMLINK": NO_LINKS,
    "EOPNOTSUPP": "this file system cannot do that: put the cache on another one",
    "ENOSYS": "this file system cannot do that: put the cache on another one",
    "ENOMEM": MEMORY,
    "ENOBUFS": MEMORY,
    "EDQUOT": "your quota is used up: free some space or ask for more, and run the command again",
    "EFBIG": "no file may be that large: raise the limit, ulimit -f, or put the cache on a file"
    " system that takes larger files, and run the command again",
}
"""What to do, by the name of the number; not every system has every name."""

BY_NUMBER = {
    number: remedy
    for name, remedy in REMEDIES.items()
    if (number := getattr(errno, name, None)) is not None
}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
LINKLESS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}
"""What `link` says where there are no hard links."""


def failed(error: OSError, call: str, path: Path) -> OSError:
    """The typed error of a failed call: path, call, reason, and what to do next."""
    number = error.errno or 0
    reason = f"{path}: {call} failed: {os.strerror(number) if number else error}"
    advice = NO_LINKS if call == "link" and number in LINKLESS else remedy(number, path)
    kind = StorageFull if number in FULL else StorageFailed
    return failure(kind, error.errno, f"{reason}; {advice}" if advice else reason)


def remedy(number: int, path: Path) -> str:
    """What to do about an error number met at a path, "" where nothing is known."""
    return full(path) if number == errno.ENOSPC else BY_NUMBER.get(number, "")


def full(path: Path) -> str:
    """What there is too little of in a full file system: bytes, or inodes."""
    again = "and run the command again"
    for folder in (path, *path.parents):
        with suppress(OSError):
            found = os.statvfs(folder)
            break
    else:
        return f"free some space {again}"
    if found.f_files and not found.f_favail:
        return f"the file system has no inodes left: free some space by removing files, {again}"
    free = found.f_bavail * found.f_frsize
    return f"{free:,} bytes are free there: free some space, such as by pi-cache gc, {again}"


def failure(kind: type[Failure], code: int | None, message: str) -> Failure:
    """An error that has a number, which is no part of its message."""
    error = kind(message)
    error.errno = code
    return error
