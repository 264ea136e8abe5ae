"""Faults on purpose, and what must hold whatever they hit.

A loop is a function that runs one round for a seed, says in a word how the round ended, and raises
Violation when a promise was broken. Tests run a loop so many times, `tests.faults.soak` runs all
of them for hours; both through the same functions.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MEMORY = Path("/dev/shm")
"""Where files live in memory: rounds that cut no power need no disk."""
ROOM = 32 << 20
"""Bytes that must be free in memory for rounds to be run there."""


SWITCH = "PI_CACHE_TEST_GUARD_OFF"
"""Names the guard that is off; see `tests.faults.guards`."""


class Violation(AssertionError):
    """A promise that did not hold; the message says which, and what was found."""


@dataclass(frozen=True)
class Loop:
    """A fault that is tried again and again.

    one: runs the round of a seed and returns a word for how it ended. ci, soak: how many rounds.
    lacking: why the loop cannot run on this machine, "" where it can.
    """

    one: Callable[[int], str]
    ci: int
    soak: int
    lacking: Callable[[], str] = lambda: ""

    def rounds(self, seed: int, count: int) -> Counter[str]:
        """How so many rounds ended. Raises Violation with the seed that repeats the round."""
        return Counter(replayable(self.one, one) for one in range(seed, seed + count))


def replayable(one: Callable[[int], str], seed: int) -> str:
    """The round of a seed, whose failure of any kind is a Violation that names the seed."""
    try:
        return one(seed)
    except Exception as error:
        raise Violation(f"seed {seed}: {type(error).__name__}: {error}") from error


def demand(holds: object, broken: str) -> None:
    """Raise Violation unless a promise holds; `broken` says what was found instead."""
    if not holds:
        raise Violation(broken)


@contextmanager
def scratch(*, in_memory: bool = True) -> Iterator[Path]:
    """An empty folder that is gone afterwards."""
    with _folder(in_memory=in_memory) as folder:
        yield Path(folder)


def lasting(*, in_memory: bool = True) -> Path:
    """An empty folder that is gone when this process ends."""
    _LASTING.append(_folder(in_memory=in_memory))
    return Path(_LASTING[-1].name)


_LASTING: list[tempfile.TemporaryDirectory[str]] = []


def _folder(*, in_memory: bool) -> tempfile.TemporaryDirectory[str]:
    roomy = in_memory and MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    roomy = roomy and shutil.disk_usage(MEMORY).free > ROOM
    return tempfile.TemporaryDirectory(prefix="faults.", dir=MEMORY if roomy else None)


if SWITCH in os.environ:  # in this process, and in all that it starts
    from tests.faults.guards import GUARDS
    from tests.faults.switch import switch_off

    switch_off(GUARDS[os.environ[SWITCH]])
