"""A signal ends a compiled kernel: Python runs its handlers only after the kernel has returned.

Python writes the number of a signal that it handles into a pipe at once, whatever the main thread
does. Another thread reads it and tells the kernel to give up (`watch[1]`, see `watchdog`).
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def heeding_signals(watch: np.ndarray) -> Iterator[threading.Event]:
    """While inside, a signal to stop sets watch[1]; the event says that there was one.

    In the main thread only, where handlers run; and not where another one holds the pipe of
    signals already.
    """
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    threading.Thread(target=_heed, args=(reading, watch, told), daemon=True).start()
    before = -1
    try:
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        if before >= 0:
            signal.set_wakeup_fd(before)
        yield told
    finally:  # a KeyboardInterrupt may come anywhere
        try:
            if before < 0:
                signal.set_wakeup_fd(-1)
        finally:
            os.close(writing)  # which ends the thread


def _heed(reading: int, watch: np.ndarray, told: threading.Event) -> None:
    with os.fdopen(reading, "rb", buffering=0) as numbers:
        while number := numbers.read(1):
            if number[0] in STOPPING:
                told.set()
                watch[1] = 1


def interrupted(error: BaseException) -> bool:
    """Whether an error came of a KeyboardInterrupt, as numba's SystemError may."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop()
        if link is not None and link not in seen:
            seen.append(link)
            waiting += [link.__cause__, link.__context__]
    return any(isinstance(link, KeyboardInterrupt) for link in seen)
