"""The signals that ask for an end, which a batch system or a terminal sends to a whole job at once.

A process that computes for another one leaves them to it: if it ended by itself, that would look
like a crash of the sample that it is at. It ends with its parent, or when that kills it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""SIGUSR1 and SIGUSR2 are warnings of a time limit (SLURM's --signal, LSF, Grid Engine)."""


def leave_to_parent() -> None:
    """Ignore them, in the process that computes."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def held_back() -> Iterator[None]:
    """A process that is started meanwhile gets none of them, also before it can ignore them.

    It inherits the mask of this thread, which gets its own signals afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
