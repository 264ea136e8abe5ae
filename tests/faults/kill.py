"""kill -9 at any instant: check, go on, check."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pi_cache.root import ensure_root
from tests.faults import Loop, demand, jobs, scratch
from tests.faults.damage import any_file, damage
from tests.faults.server import End, Job, ended, run
from tests.faults.small import (
    Records,
    Small,
    age,
    check_left,
    check_resumed,
    check_whole,
    copy_of,
    ledger_of,
    records_of,
)
from tests.faults.struck import calls_of

SMALL = Small(samples=10, shard_samples=3)
NEIGHBOUR = Small(samples=2, shard_samples=2)
"""Another store under the same root, which nothing may harm."""

Prepare = Callable[[random.Random, Path], Job]
Check = Callable[[Path, Job, End, Records], str]


@dataclass(frozen=True)
class Work:
    """Something to be killed.

    prepare: makes what it begins with, and returns its job. check: what must hold afterwards, given
    the records before; returns what was left.
    """

    prepare: Prepare
    check: Check


def one(seed: int) -> str:
    """Kill one process, in a call or after a time that the seed chooses."""
    choose = random.Random(seed)
    name = choose.choice(sorted(WORKS))
    with scratch() as root:
        return f"{name}: {_kill(choose, name, root)}"


def _kill(choose: random.Random, name: str, root: Path) -> str:
    work = WORKS[name]
    copy_of(NEIGHBOUR, root)
    job = _doomed(choose, name, work.prepare(choose, root))
    before = records_of(SMALL, root)
    end = ended(*run(job))
    left = work.check(root, job, end, before)
    check_whole(NEIGHBOUR, NEIGHBOUR.path(root))
    return left if end.killed else "survived"


def _doomed(choose: random.Random, name: str, job: Job) -> Job:
    calls, seconds = extent(name)
    if choose.random() < 0.5:
        return replace(job, call=choose.randint(1, calls))
    return replace(job, seconds=choose.uniform(0, seconds))


def _check_build(root: Path, job: Job, end: End, before: Records) -> str:
    left = check_left(SMALL, root, damaged=job.name == "mend")
    demand(end.killed or left == "finished", f"a job that ended left a store that is {left}")
    kept = records_of(SMALL, root)
    told = {word for word in end.said if isinstance(word, int)}
    demand(told <= kept.keys(), f"shards {told} were recorded, {sorted(kept)} are left")
    early = set() if job.name == "mend" else ledger_of(SMALL, root) - kept.keys()
    demand(not early, f"shards {early} have a record, and not the files that it lists")
    unwanted = set(job.arguments[-1]) if job.name == "retry" else set()
    lost = before.keys() - kept.keys() - unwanted
    demand(not lost, f"shards {sorted(lost)} were recorded before, and are lost")
    check_resumed(SMALL, root, kept)
    return left


def _check_removal(root: Path, job: Job, end: End, before: Records) -> str:
    """The store is as it was or gone, and goes wholly when it is removed again."""
    path, unfinished = SMALL.path(root), bool(job.arguments[-1])
    left = check_left(SMALL, root)
    demand(left in ("absent", "unfinished" if unfinished else "finished"), f"left it {left}")
    demand(end.killed or left == "absent", f"a removal that ended left a store that is {left}")
    demand(left == "absent" or records_of(SMALL, root) == before, "shards of it are lost")
    getattr(jobs, job.name)(lambda word: None, *job.arguments)
    demand(not path.exists(), "removed again, it is still there")
    rest = list((root / "trash").rglob("*"))
    demand(not rest, f"removed again, {rest} is left in the trash")
    SMALL.build(root)
    check_whole(SMALL, path)
    return left


def _job(name: str, root: Path, *arguments: object) -> Job:
    return Job(name, (SMALL.samples, SMALL.shard_samples, str(root), *arguments))


def _build(choose: random.Random, root: Path) -> Job:
    return _job("build", root)


def _finish(choose: random.Random, root: Path) -> Job:
    """All shards are there already."""
    (copy_of(SMALL, root) / "manifest.json").unlink()
    return _job("build", root)


def _mend(choose: random.Random, root: Path) -> Job:
    """A finished store of which a file is damaged."""
    path = any_file(copy_of(SMALL, root), choose)
    assert path is not None
    damage(path, choose)
    return _job("mend", root)


def _retry(choose: random.Random, root: Path) -> Job:
    """Some shards of a finished store are computed again."""
    copy_of(SMALL, root)
    shards = range(SMALL.truth().shards)
    return _job("retry", root, sorted(choose.sample(shards, choose.randint(1, len(shards)))))


def _remove(choose: random.Random, root: Path) -> Job:
    return _removal("remove", choose, root)


def _collect(choose: random.Random, root: Path) -> Job:
    """The neighbour is pinned, so that it stays."""
    return _removal("collect", choose, root)


def _removal(name: str, choose: random.Random, root: Path) -> Job:
    """Both stores are old; the one that goes may be unfinished."""
    ensure_root(root)
    path, unfinished = copy_of(SMALL, root), choose.random() < 0.3
    if unfinished:
        (path / "manifest.json").unlink()
    for store in (path, NEIGHBOUR.path(root)):
        age(store)
    return _job(name, root, NEIGHBOUR.key, unfinished)


WORKS = {
    "build": Work(_build, _check_build),
    "finish": Work(_finish, _check_build),
    "mend": Work(_mend, _check_build),
    "retry": Work(_retry, _check_build),
    "remove": Work(_remove, _check_removal),
    "collect": Work(_collect, _check_removal),
}


@cache
def extent(name: str) -> tuple[int, float]:
    """How many calls a work makes, and how many seconds it takes, when nothing disturbs it."""
    prepare = WORKS[name].prepare
    with scratch() as root:
        copy_of(NEIGHBOUR, root)
        job = prepare(random.Random(1), root)
        calls = calls_of(lambda: getattr(jobs, job.name)(lambda word: None, *job.arguments))
    return calls, min(_seconds(prepare) for _ in range(3))


def _seconds(prepare: Prepare) -> float:
    with scratch() as root:
        copy_of(NEIGHBOUR, root)
        (end,) = run(prepare(random.Random(1), root))
        return ended(end).seconds


LOOPS = {"kill": Loop(one, ci=380, soak=100_000)}
