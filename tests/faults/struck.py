"""The system of files, of which one call is struck: it fails, is cut short, or kills."""

from __future__ import annotations

import errno
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pi_cache import files

CALLS = frozenset(name for name in vars(files.System) if not name.startswith("_"))
Strike = Callable[[str, Callable[..., Any], tuple[Any, ...]], Any]


class Struck(files.System):
    """The system; instead of its nth call `strike` is called with name, real call, arguments.

    lasting: all calls after it are struck too.
    """

    def __init__(self, nth: int, strike: Strike, *, lasting: bool = False) -> None:
        self._nth, self._strike, self._lasting = nth, strike, lasting
        self._numbers = itertools.count(1)  # its next() is one step for all threads

    def __getattribute__(self, name: str) -> Any:
        real = super().__getattribute__(name)
        if name not in CALLS or not self._strikes(next(self._numbers)):
            return real
        return lambda *arguments: self._strike(name, real, arguments)

    def _strikes(self, number: int) -> bool:
        return number == self._nth or (self._lasting and 0 < self._nth < number)


def failing(code: int) -> Strike:
    """The call fails with an error number, undone; a file that was to be closed is closed."""

    def strike(name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if name == "close":
            real(*arguments)
        raise OSError(code, os.strerror(code))

    return strike


def lost_reply(name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """The call does its work, and then says that it failed."""
    done = real(*arguments)
    if name in ("open", "open_in"):
        os.close(done)
    raise OSError(errno.EIO, "the reply was lost")


def short(name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """A write or a read stops half way, as it may."""
    if name == "write":
        handle, data = arguments
        return real(handle, data[: max(1, len(data) // 2)])
    if name == "pread":
        handle, size, start = arguments
        return real(handle, max(1, size // 2), start)
    if name == "read":
        return real(arguments[0], 1)
    return real(*arguments)


def killing(name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """kill -9, in the middle of the call where it is a write."""
    if name == "write":
        short(name, real, arguments)
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


class Dead(BaseException):
    """What a process in which it is raised would not live to see: it was killed."""


def dying(name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """As `killing`, in a process that lives on: no call does anything from now on.

    The kernel closes the files of a process that dies.
    """
    if name == "close":
        return real(*arguments)
    raise Dead


@contextmanager
def installed(system: files.System) -> Iterator[None]:
    """`system` in place of the real one."""
    before, files.system = files.system, system
    try:
        yield
    finally:
        files.system = before


def calls_of(work: Callable[[], object]) -> int:
    """How many calls some work makes."""
    return len(names_of(work))


def names_of(work: Callable[[], object]) -> list[str]:
    """The names of the calls that some work makes, in order."""
    made: list[str] = []

    class Recording(Struck):
        def __getattribute__(self, name: str) -> Any:
            if name in CALLS:
                made.append(name)
            return super().__getattribute__(name)

    with installed(Recording(0, killing)):
        work()
    return made
