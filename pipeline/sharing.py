"""The shards of a build among all who build the same store: each is computed by one of them.

Several commands on one machine or on a shared folder help each other so. Nothing depends on it: two
that compute the same shard end with the same files (see `pi_cache.ledger`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline.claims import builders_of, claiming, claims_of, is_recorded, new_run
from pipeline.shard import ShardResult, ShardTask

LOOK = 0.5
"""Seconds between two looks at what others do, where nothing else is left."""

Function = Callable[[ShardTask], ShardResult]
Run = Callable[
    [Callable[[ShardTask], ShardResult | None], Sequence[ShardTask]], Iterator[ShardResult | None]
]


@dataclass(frozen=True)
class Elsewhere:
    """A shard that another builder has recorded. samples: how many it has."""

    shard: int
    samples: int


def build_unclaimed(function: Function, run: str, task: ShardTask) -> ShardResult | None:
    """The function of a shard; None where another builder has recorded it, or is about to.

    run: of the command that this process computes for. Dask runs again what a lost worker did.
    """
    if is_recorded(task.build, task.shard):
        return None
    with claiming(task.build, task.shard, run) as ours:
        return function(task) if ours else None


def shared(
    run: Run, function: Function, tasks: Sequence[ShardTask]
) -> Iterator[ShardResult | Elsewhere]:
    """Every task, as it is done here or elsewhere.

    run: an executor. function: `build_shard`. What others are at is left for last: then it
    is waited for as long as they go on, and computed here where they do not.
    """
    left, mine = {task.shard: task for task in tasks}, new_run()
    while left:
        claimed = claims_of(tasks[0].build, but=mine)
        free = [task for k, task in left.items() if k not in claimed]
        if not free:
            time.sleep(LOOK)
        ours = partial(build_unclaimed, function, mine)
        for result in run(ours, in_order(free)) if free else ():
            if result is not None:
                del left[result.shard]
                yield result
        for k in [k for k in left if is_recorded(tasks[0].build, k)]:
            yield Elsewhere(k, len(left.pop(k).source))


def in_order(tasks: Sequence[ShardTask]) -> list[ShardTask]:
    """Tasks as they come; where another builder is at them, from the end; else from anywhere.

    So builders meet only once, even where a network file system shows late what others do.
    """
    others = len(builders_of(tasks[0].build)) if tasks else 0
    if others == 0:
        return list(tasks)
    if others == 1:
        return list(reversed(tasks))
    start = random.randrange(len(tasks))
    return [*tasks[start:], *tasks[:start]]
