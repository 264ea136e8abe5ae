"""Items made by a thread while the ones before are used."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Generator, Iterable
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")


class _Made(NamedTuple, Generic[Item]):
    """An item, or what was raised instead of one; neither is the end."""

    items: tuple[Item, ...] = ()
    error: BaseException | None = None


def in_background(items: Iterable[Item], depth: int = 1) -> Generator[Item, None, None]:
    """The items, made by a thread: one that is used and `depth` ahead of it exist at a time.

    What making one raises is raised here, after the items before it. The thread ends with this
    generator: at its end, when it is closed, and when nobody holds it any more.
    Raises RuntimeError in a forked process, which has no such thread.
    """
    made: queue.SimpleQueue[_Made[Item]] = queue.SimpleQueue()
    room, stop = threading.Semaphore(depth), threading.Event()
    thread = threading.Thread(
        target=_make, args=(items, made, room, stop), name="pi-cache batches", daemon=True
    )
    process = os.getpid()
    try:
        thread.start()
        while True:
            if os.getpid() != process:
                raise RuntimeError(
                    "these batches are made by a thread of the process that this one was forked"
                    " from; call iter() on the loader again, in this process"
                )
            found = made.get()
            if found.error is not None:
                raise found.error
            if not found.items:
                return
            room.release()
            yield found.items[0]
            del found
    finally:
        if os.getpid() == process:  # in a forked one, their locks may be held by nobody
            stop.set()
            room.release()
            if thread.is_alive() and threading.current_thread() is not thread:  # collecting garbage
                thread.join()


def _make(
    items: Iterable[Item],
    made: queue.SimpleQueue[_Made[Item]],
    room: threading.Semaphore,
    stop: threading.Event,
) -> None:
    try:
        source = iter(items)
        while room.acquire() and not stop.is_set():
            try:
                made.put(_Made((next(source),)))
            except StopIteration:
                made.put(_Made())
                return
    except BaseException as error:
        made.put(_Made(error=error))
