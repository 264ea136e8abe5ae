"""Files of a store, each hashed by whoever comes first and opened by all: in threads, and ahead.

A thread beside a reader never reports damage: a file whose digest does not agree stays unchecked,
and who reads it hashes it again and raises. No lock is held while a file is hashed, and a forked
process never waits for what its parent was doing.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, get_args

from pi_cache import checked, files
from pi_cache.checked import Identity, Marks
from pi_cache.errors import CorruptStore, InvalidSpec, StorageFailed
from pi_cache.manifest import FileEntry, Files
from pi_cache.shardfile import REMEDY, OpenFile

Check = Literal["size", "first-touch", "always"]

THREADS = 4
"""Files of one read that are hashed at a time, where there are as many cores."""
ROOM = 8
"""Files that are hashed before a read comes to them; many more could leave the page cache again."""
GOLDEN = 0.6180339887498949
"""Its multiples, modulo 1, are spread evenly however many there are."""


class _Process:
    """Stands for a process: one that is forked from it has another."""


_process = _Process()


def _forked() -> None:
    global _process
    _process = _Process()


os.register_at_fork(after_in_child=_forked)


class _Stopped(Exception):
    """Nobody uses the store any more."""


class FirstTouch:
    """Opens the files of a store, each checked before as `check` says; see `reader.open_store`.

    forgets: a file that was opened once may be gone later, so that it is worth a thread again.
    is_scarce: a file takes room for as long as somebody has it open, so that few are kept so.
    """

    forgets = False
    is_scarce = False

    def __init__(self, store: Path, entries: Files, check: Check) -> None:
        if check not in get_args(Check):
            raise InvalidSpec(f"check must be one of {', '.join(get_args(Check))}, got {check!r}")
        self.store = store
        self.entries = entries
        self.check = check
        self.stopped = False
        self._marks = Marks(store)
        # Threads share these: every step on them is one that no other thread can interrupt.
        self._agreed: dict[str, Identity] = {}
        self._turns: dict[tuple[_Process, str], threading.Event] = {}

    @property
    def works_ahead(self) -> bool:
        """Whether there is anything for threads to do before a file is opened."""
        return self.check == "first-touch"

    def check_sizes(self) -> None:
        """Raise CorruptStore that names every file which is missing or of another size."""
        problems = []
        for name, entry in self.entries.items():
            try:
                size = files.size(f"{self.store}/{name}")
            except FileNotFoundError:
                problems.append(f"{name} is missing")
                continue
            if size != entry.size:
                problems.append(f"{name} has {size} bytes, expected {entry.size}")
        if problems:
            more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise CorruptStore(f"{self.store}: {'; '.join(problems[:5])}{more}; {REMEDY}")

    def open(self, listed: str) -> OpenFile:
        """A file by its path in the store. Raises CorruptStore, StorageFailed."""
        file = OpenFile(self.store / listed, self.entry(listed))
        if self.check == "always":
            file.verify()
        elif self.check == "first-touch":
            self._agree(listed, file)
        return file

    def known(self, listed: str) -> OpenFile | None:
        """A file that needs no hashing any more; None for one that `open` would hash."""
        file = OpenFile(self.store / listed, self.entry(listed))
        return file if self._has_agreed(listed, file) else None

    def entry(self, listed: str) -> FileEntry:
        """Size and digest of a file. Raises CorruptStore where the manifest does not list it."""
        try:
            return self.entries[listed]
        except KeyError:
            raise CorruptStore(f"{self.store}: the manifest does not list {listed}") from None

    @contextmanager
    def beside(self, names: Sequence[str]) -> Iterator[Iterator[int]]:
        """Positions of names in the order to open them, while threads hash those that come next.

        Processes that read the same files begin at different ones: each finds in the marks what
        the others have hashed meanwhile.
        """
        missing = self._unchecked(names)
        helpers = min(self._threads(), len(missing)) - 1 if len(missing) > 1 else 0
        if not helpers:
            yield iter(range(len(names)))
            return
        first = missing[_begin(len(missing))]
        order = [*range(first, len(names)), *range(first)]
        unchecked = set(missing)
        queue = _Queue([names[k] for k in order if k in unchecked])
        try:
            for _ in range(helpers):
                _start(self._help, queue)
            yield (k for k in order if self._come_to(names[k], queue))
        finally:
            queue.close(helpers)

    def ahead(self, names: Sequence[str]) -> bool:
        """Hash files one after the other in a thread; False where one of this store is busy.

        Loader workers that read the same epoch begin at different ones, as `beside` does.
        """
        running, mine = (_process, ""), threading.Event()
        if running in self._turns:
            return False
        missing = [names[k] for k in self._unchecked(names)]
        begin = _begin(len(missing))
        missing = missing[begin:] + missing[:begin]
        if not missing or self._turns.setdefault(running, mine) is not mine:
            return True
        if not _start(self._hash_ahead, missing, running):
            del self._turns[running]
        return True

    def _threads(self) -> int:
        """Files of one read that are worked on at a time."""
        return min(THREADS, _cores())

    def _unchecked(self, names: Sequence[str]) -> list[int]:
        """Positions of files that are neither hashed nor remembered, and worth a thread."""
        if self.check != "first-touch":
            return []
        missing = [k for k, name in enumerate(names) if name not in self._agreed]
        large = (k for k in missing if self.entry(names[k]).size > checked.SMALL)
        return [k for k in large if not self._recalls(names[k])]

    def _recalls(self, listed: str) -> bool:
        with suppress(CorruptStore, StorageFailed):  # which who reads it will meet
            return self._has_agreed(listed, OpenFile(self.store / listed, self.entry(listed)))
        return False

    def _agree(self, listed: str, file: OpenFile) -> None:
        """Return once the digest of this file has agreed, by one's own hashing or another's."""
        while not self._has_agreed(listed, file):
            key, mine = (_process, listed), threading.Event()
            try:
                turn = self._turns.setdefault(key, mine)
                if turn is mine:
                    if self._agreed.get(listed) != file.identity:  # nobody was faster
                        self._hash(listed, file)
                    return
            finally:
                if self._turns.get(key) is mine:
                    del self._turns[key]
                mine.set()
            turn.wait()

    def _has_agreed(self, listed: str, file: OpenFile) -> bool:
        if self._agreed.get(listed) == file.identity:
            return True
        if not self._marks.holds(listed, file.entry.sha256, file.identity):
            return False
        self._agreed[listed] = file.identity
        return True

    def _hash(self, listed: str, file: OpenFile) -> None:
        file.verify(self._go_on)
        self._marks.add(listed, file.entry.sha256, file.identity)
        self._agreed[listed] = file.identity

    def _go_on(self) -> None:
        if self.stopped:
            raise _Stopped

    def _try(self, listed: str) -> None:
        """Hash a file for others; they find out themselves when that fails."""
        with suppress(Exception):
            self.open(listed)

    def _hash_ahead(self, names: Sequence[str], running: tuple[_Process, str]) -> None:
        try:
            for name in names:
                self._try(name)
        finally:
            del self._turns[running]

    def _help(self, queue: _Queue) -> None:
        while queue.room.acquire() and (name := queue.take()):
            self._try(name)
            queue.pending.discard(name)

    def _come_to(self, name: str, queue: _Queue) -> bool:
        """Hash for the others while a file is not there yet, rather than wait for it."""
        while name in queue.pending and (other := queue.take()):
            self._try(other)
            queue.pending.discard(other)
        queue.room.release()
        return True


class _Queue:
    """Files that a read will come to, hashed in this order by the reader and its helpers."""

    def __init__(self, names: Sequence[str]) -> None:
        self.pending = set(names)
        self.room = threading.Semaphore(ROOM)
        self._waiting = deque(names)

    def take(self) -> str:
        """The next file, "" when there is none."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return ""

    def close(self, helpers: int) -> None:
        """Let the helpers go."""
        self._waiting.clear()
        self.room.release(helpers)


def _start(function: Callable[..., None], *arguments: object) -> bool:
    """Whether a thread for it could be started; the process ends without waiting for it."""
    thread = threading.Thread(target=function, args=arguments, name="pi-cache hashing", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return False
    return True


def _begin(count: int) -> int:
    """Where this process begins, of so many."""
    return int(count * (os.getpid() * GOLDEN % 1))


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
