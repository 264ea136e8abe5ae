"""Turns of processes and threads that want the same file: a lock that saves work, never data.

Where a lock is lost or cannot be had, two of them fetch the same file, and the file is the same.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pi_cache import files

LOOK = 0.05
"""Seconds between two looks at a lock that another one holds."""
BEAT = 1.0
"""Seconds after which who has the turn says that it is still at work."""
STALE = 60.0
"""Seconds without that after which nobody waits any longer."""


@contextmanager
def turn(place: Path, is_over: Callable[[], bool]) -> Iterator[Callable[[], None]]:
    """Wait while another one has the turn, until it is over; yields what says `still at work`.

    place: an empty file that stands for the turn; its time is that of its last use.
    """
    handle = _opened(place)
    try:
        if handle is not None:
            _wait(handle, place, is_over)
        yield _Beat(place)
    finally:
        if handle is not None:
            with suppress(OSError):  # a forked process that has a copy would hold it on
                fcntl.flock(handle, fcntl.LOCK_UN)
            files.close_quietly(handle)


def _opened(place: Path) -> int | None:
    """The open file, None where it cannot be had: then nobody waits."""
    try:
        handle: int = files._call(
            "open", place, place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    except OSError:
        return None
    return handle


def _wait(handle: int, place: Path, is_over: Callable[[], bool]) -> None:
    seen, since = 0.0, time.monotonic()
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError:  # a file system without locks
            return
        else:
            return
        if is_over():
            return
        with suppress(OSError):
            if (now := files.changed(place)) != seen:
                seen, since = now, time.monotonic()
        if time.monotonic() - since > STALE:
            return
        time.sleep(LOOK)


class _Beat:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.last = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self.last > BEAT:
            self.last = now
            with suppress(OSError):
                files.touch(self.place)
