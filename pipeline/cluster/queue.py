"""Which shard an element takes next: its own in order, then those that others have not begun."""

from __future__ import annotations

import random

from pi_cache.ledger import Build
from pipeline.claims import Claim, claims_of, recorded_shards
from pipeline.cluster.notes import TRIES, count_failures
from pipeline.cluster.workplan import Planned, part_of


class ShardQueue:
    """The shards of a plan, as one of its parts takes them."""

    def __init__(self, planned: Planned, build: Build, part: int, parts: int) -> None:
        self.planned, self.build = planned, build
        numbers = planned.plan.numbers
        own = part_of(numbers, part, parts)
        others = sorted(set(numbers) - set(own))
        random.shuffle(others)  # two that steal seldom meet, where claims are seen late too
        self.waiting = [*own, *others]

    def free(self) -> list[int]:
        """Shards that nobody has done, does, or has tried too often, in our order.

        Those that failed come last: each may take long, and others need not wait for them.
        """
        recorded = recorded_shards(self.build)
        self.waiting = [k for k in self.waiting if k not in recorded]
        claimed, failed = claims_of(self.build), count_failures(self.planned)
        free = [k for k in self.waiting if k not in claimed and failed[k] < TRIES]
        return sorted(free, key=lambda k: failed[k])

    def take(self) -> Claim | None:
        """The next shard, claimed for us; None where there is none."""
        for shard in self.free():
            claim = Claim(self.build, shard)
            if claim.take():
                return claim
        return None

    def missing(self) -> list[int]:
        """Shards of the plan without a record, rising."""
        recorded = recorded_shards(self.build)
        return [k for k in self.planned.plan.numbers if k not in recorded]

    def given_up(self) -> list[int]:
        """Those of them that failed too often."""
        failed = count_failures(self.planned)
        return [k for k in self.missing() if failed[k] >= TRIES]
