"""Progress for people: a bar on a terminal, one plain line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

LINE_SECONDS = 60.0


class Progress:
    """Told of shards as they are done; prints to stderr, nothing when quiet."""

    def __init__(self, samples: int, *, quiet: bool = False) -> None:
        self.samples = samples
        self.quiet = quiet
        self._bar: Any = None
        self._started = self._said = time.monotonic()
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, shards_done: int, shards: int, samples: int) -> None:
        """One more shard: so many are done of so many, and it had so many samples."""
        if self.quiet:
            return
        self._done += samples
        if sys.stderr.isatty():
            self._draw(shards_done, shards, samples)
        else:
            self._say(shards_done, shards)

    def _draw(self, shards_done: int, shards: int, samples: int) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=self.samples, unit="sample", file=sys.stderr, leave=False)
        self._bar.set_postfix_str(f"shard {shards_done}/{shards}", refresh=False)
        self._bar.update(samples)

    def _say(self, shards_done: int, shards: int) -> None:
        now = time.monotonic()
        if now - self._said < LINE_SECONDS:
            return
        self._said = now
        rate = self._done / max(now - self._started, 1e-9)
        left = (shards - shards_done) / max(shards_done, 1) * (now - self._started)
        print(
            f"shard {shards_done} of {shards}, {rate:.3g} samples/s, about {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )
