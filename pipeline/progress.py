"""Progress for people: a bar on a terminal, one plain line a minute elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

LINE_SECONDS = 60.0


class Progress:
    """Told of shards as they are done; prints to stderr."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._started = time.monotonic()
        self._done = self._samples = 0
        self._shards = (0, 0)
        self._over = threading.Event()

    def __enter__(self) -> Self:
        if not sys.stderr.isatty():
            threading.Thread(target=self._say_each_minute, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._bar is not None:
            self._bar.close()

    def __call__(self, shards_done: int, shards: int, samples: int, of_samples: int) -> None:
        """One more shard: so many are done of so many; it had so many samples of this run's."""
        self._done = samples + (self._done if of_samples == self._samples else 0)
        self._shards, self._samples = (shards_done, shards), of_samples
        if sys.stderr.isatty():
            self._draw(samples)

    def _draw(self, samples: int) -> None:
        from tqdm import tqdm

        if self._bar is None or self._bar.total != self._samples:
            self._bar = tqdm(total=self._samples, unit="sample", file=sys.stderr, leave=False)
        self._bar.set_postfix_str("shard {}/{}".format(*self._shards), refresh=False)
        self._bar.update(samples)

    def _say_each_minute(self) -> None:
        while not self._over.wait(LINE_SECONDS):
            print(self.line(time.monotonic() - self._started), file=sys.stderr, flush=True)

    def line(self, seconds: float) -> str:
        """What is done after so many seconds, in one line."""
        if not self._done:
            return f"{seconds:.0f} s: no shard is done yet"
        left = seconds / self._done * (self._samples - self._done)
        done, shards = self._shards
        rate = self._done / seconds
        return f"shard {done} of {shards}, {rate:.3g} samples/s, about {left:.0f} s left"
