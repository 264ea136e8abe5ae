"""Four processes build one store; two are killed, and now and then a file is damaged meanwhile."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pi_cache import open_store
from pi_cache.integrity.verification import verify
from tests.faults import Loop, demand, scratch
from tests.faults.server import End, Job, ended, run
from tests.faults.small import Small

SMALL = Small(samples=10, shard_samples=3)
BUILDERS, KILLED = 4, 2
EXCUSED = {"CorruptStore", "UnfinishedStore"}
"""What a builder may say when somebody damages what it has just written."""


@dataclass(frozen=True)
class Contest:
    """How the store is built. calls: as many as a builder makes at least, with others beside it."""

    module: str
    name: str
    arguments: tuple[int, ...]
    calls: int

    def job(self, root: Path) -> Job:
        """A builder that nobody kills."""
        return Job(self.name, (*self.arguments, str(root)), module=self.module)


CONTESTS = {
    "ledger": Contest("tests.faults.jobs", "race", (SMALL.samples, SMALL.shard_samples), 500),
    "pipeline": Contest("tests.faults.pipeline_jobs", "build", (), 900),
}
PIPELINE = 0.1
"""Share of the rounds that build through the pipeline, which take ten times as long."""
VANDAL = 0.3
"""Share of the rounds in which a file is damaged."""


def one(seed: int) -> str:
    """One race."""
    choose = random.Random(seed)
    name = "pipeline" if choose.random() < PIPELINE else "ledger"
    vandal = name == "ledger" and choose.random() < VANDAL
    with scratch() as root:
        return f"{name}{' and vandal' if vandal else ''}: {_race(choose, name, vandal, root)}"


def _race(choose: random.Random, name: str, vandal: bool, root: Path) -> str:
    contest, (truth, seconds) = CONTESTS[name], undisturbed(name)
    path = root / "stores" / truth[0]
    jobs = [contest.job(root) for _ in range(BUILDERS)]
    for k in range(KILLED):
        jobs[k] = _doomed(choose, jobs[k], contest, seconds)
    if vandal:
        wait = choose.uniform(0, BUILDERS * seconds)
        jobs.append(Job("vandalise", (choose.randrange(2**32), str(path), wait)))
    ends = [ended(end) for end in run(*jobs)][:BUILDERS]
    survivors = [end for end in ends if not end.killed]
    demand(len(survivors) >= BUILDERS - KILLED, f"{BUILDERS - len(survivors)} were killed")
    failed = [_failure(end, truth, vandal) for end in survivors]
    if not vandal:
        _check(path, truth)
    (again,) = run(contest.job(root))
    demand(ended(again).said == [truth], f"another builder says {again.said}, expected {truth}")
    _check(path, truth)
    return f"{BUILDERS - len(survivors)} killed, {sum(failed)} failed"


def _doomed(choose: random.Random, job: Job, contest: Contest, seconds: float) -> Job:
    if choose.random() < 0.5:
        return replace(job, call=choose.randint(1, contest.calls))
    return replace(job, seconds=choose.uniform(0, seconds))


def _failure(end: End, truth: list[str], vandal: bool) -> bool:
    """Whether a builder failed, which it may only where somebody damaged its files."""
    (said,) = end.said
    if isinstance(said, dict):
        demand(vandal and said["failed"] in EXCUSED, f"a builder failed: {said}")
        return True
    demand(said == truth, f"a builder says {said}, expected {truth}")
    return False


def _check(path: Path, truth: list[str]) -> None:
    found = verify(path)
    demand(not found, f"verify finds {[str(finding) for finding in found]}")
    digest = open_store(path).manifest.digest
    demand(digest == truth[1], f"digest {digest}, undisturbed {truth[1]}")


@cache
def undisturbed(name: str) -> tuple[Any, float]:
    """Key and digest that a single builder says, and how many seconds it takes."""
    for _ in range(2):  # the first process of a server is slower
        with scratch() as root:
            (end,) = run(CONTESTS[name].job(root))
    return ended(end).said[0], end.seconds


LOOPS = {"race": Loop(one, ci=30, soak=2_000)}
