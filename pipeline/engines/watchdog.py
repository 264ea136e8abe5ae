"""A limit on the time of one item of a kernel that is compiled and so cannot be interrupted.

The kernel writes into `watch[0]` which item it works on, and looks at `watch[1]` now and then: when
that is not zero it gives up. Who calls it counts its calls in `watch[2]`, since items are numbered
from 0 in each. Another thread does the watching, which a kernel without the global interpreter lock
allows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

LOOKS = 20
"""Times the watch is looked at within the limit: an item may take so much of it longer."""
LONGEST_LOOK = 0.5


@contextmanager
def watched(limit: float | None) -> Iterator[np.ndarray | None]:
    """The watch (3,) int64 for a kernel, which is told to stop an item that takes over the limit.

    limit: seconds an item; None or 0 for none, and then there is no watch.
    """
    if not limit:
        yield None
        return
    watch = np.array([-1, 0, 0], np.int64)
    over = threading.Event()
    thread = threading.Thread(target=_look, args=(watch, limit, over), daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()


def _look(watch: np.ndarray, limit: float, over: threading.Event) -> None:
    seen, since = (0, -1), time.monotonic()
    while not over.wait(min(limit / LOOKS, LONGEST_LOOK)):
        now = (int(watch[2]), int(watch[0]))  # which call, which item
        if now != seen:
            seen, since = now, time.monotonic()
        elif now[1] >= 0 and time.monotonic() - since > limit:
            watch[1] = 1
            return
