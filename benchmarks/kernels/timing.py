"""Times of several contenders, in turns, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

ENOUGH = 5.0
"""Seconds of one contender in all, after which it has no further turn..."""
FEWEST = 2
"""...but so many turns it has in any case."""

Run = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Who is timed. runs: calls that are timed one by one. items: what each of them computes.

    warm: whether it was called before.
    """

    name: str
    runs: Sequence[Run]
    items: int = 1
    warm: bool = False

    @property
    def inputs(self) -> int:
        """Distinct inputs in all."""
        return len(self.runs) * self.items


def best_times(contenders: Sequence[Contender], rounds: int) -> dict[str, np.ndarray]:
    """Best seconds an item of each run of each contender, all of them in turn in every round.

    The first run of each that is not warm is called once before: it compiles, or loads a library.
    """
    for contender in contenders:
        if not contender.warm:
            contender.runs[0]()
    best = {c.name: np.full(len(c.runs), np.inf) for c in contenders}
    spent = dict.fromkeys(best, 0.0)
    for turn in range(rounds):
        for contender in contenders:
            if turn >= FEWEST and spent[contender.name] > ENOUGH:
                continue
            for number, run in enumerate(contender.runs):
                start = time.perf_counter()
                run()
                seconds = time.perf_counter() - start
                spent[contender.name] += seconds
                kept = best[contender.name]
                kept[number] = min(kept[number], seconds / contender.items)
    return best


def best_of(run: Run, repeats: int = 5) -> float:
    """Best seconds of one call; the first one does not count."""
    return float(best_times([Contender(name="", runs=[run])], repeats)[""][0])
