"""The nth call to the file system fails: a typed error or success, nothing harmed, and then on.

Every call of a small build is struck with every fault that it can have; so are those of finishing,
mending, reading, verifying, repairing and removing.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from pi_cache import open_store
from pi_cache.errors import RemovalRefused, SourceError, StorageFailed
from pi_cache.integrity.repair import repair
from pi_cache.integrity.verification import verify
from pi_cache.keeping.pins import pin
from pi_cache.keeping.removal import collectable, removable, remove
from pi_cache.root import ensure_root
from tests.faults import Loop, demand, scratch
from tests.faults.damage import flip
from tests.faults.small import (
    Small,
    age,
    check_left,
    check_resumed,
    check_whole,
    copy_of,
    in_order,
    ledger_of,
    records_of,
)
from tests.faults.struck import Strike, Struck, failing, installed, lost_reply, names_of, short

SMALL, NEIGHBOUR = Small(samples=2, shard_samples=2), Small(samples=1, shard_samples=2)
FINAL = ("ENOSPC", "EIO", "EMFILE", "EACCES")
RARE = ("EDQUOT", "EROFS", "EFBIG")
"""Final ones too, of which each call that changes something meets one."""
PASSING = ("EINTR", "ESTALE", "EAGAIN")
ASKING = {"stat", "fstat", "stat_in", "statvfs", "read", "pread"}
"""Calls that need neither room nor a new handle."""
CUT = {"write", "read", "pread"}
"""Calls that may do a part of their work."""
CHANGING = {"write", "fsync", "link", "rename", "mkdir", "unlink", "rmdir"}
CHANGING |= {"rename_in", "unlink_in", "rmdir_in"}
"""Calls that may do their work although the reply says that they failed."""
STEP = 1_000_003
"""A prime, so that as many rounds as there are in the plan are all of it."""


@dataclass(frozen=True)
class Work:
    """Something whose nth call fails.

    prepare: makes what it begins with. act: what is struck. check: what must hold afterwards, given
    whether it failed.
    """

    prepare: Callable[[Path], object]
    act: Callable[[Path], object]
    check: Callable[[Path, bool], None]


def one(seed: int) -> str:
    """The round of a seed: one of `plan()`; rounds that follow each other are far apart in it."""
    return strike(*plan()[seed * STEP % len(plan())])


def strike(name: str, nth: int, fault: str) -> str:
    """Strike one call of a work, and check what it left."""
    work, failed = WORKS[name], False
    with scratch() as root, in_order():
        work.prepare(root)
        try:
            with installed(Struck(nth, strike_of(fault))):
                work.act(root)
        except StorageFailed as error:
            failed = True
            _check_error(error, root, fault)
        except SourceError:  # what cannot be read is to be computed, and there is no source
            demand(name == "repair", "no other work needs a source")
            failed = True
        except RemovalRefused as error:  # a folder that may not be read has another owner
            removes = name in ("remove", "collect")
            demand(removes and fault == "EACCES", f"{fault} ended in {error}")
            failed = True
        work.check(root, failed)
    return f"{name}: {'typed error' if failed else 'success'}"


def _check_error(error: StorageFailed, root: Path, fault: str) -> None:
    demand(str(root.parent) in str(error), f"{error!r} names no path")
    demand(fault not in (*PASSING, "short"), f"{fault} was not survived: {error}")
    number = errno.EIO if fault == "lost reply" else getattr(errno, fault)
    demand(error.errno == number, f"{fault} became {error.errno}: {error}")


def strike_of(fault: str) -> Strike:
    """What happens in place of the call."""
    named = {"short": short, "lost reply": lost_reply}
    return named[fault] if fault in named else failing(getattr(errno, fault))


def faults_of(call: str, nth: int) -> Iterator[str]:
    """The faults that a call is struck with."""
    yield from (name for name in FINAL if call not in ASKING or name not in ("ENOSPC", "EMFILE"))
    yield PASSING[nth % len(PASSING)]
    if call in CHANGING:
        yield RARE[nth % len(RARE)]
    if call in CUT:
        yield "short"
    if call in CHANGING:
        yield "lost reply"


@cache
def plan(only: tuple[str, ...] = ()) -> list[tuple[str, int, str]]:
    """Work, number of the call, fault: of these works or all, call by call."""
    return [
        (name, nth, fault)
        for name in only or WORKS
        for nth, call in enumerate(calls(name), start=1)
        for fault in faults_of(call, nth)
    ]


@cache
def calls(name: str) -> list[str]:
    """The calls that a work makes, in order."""
    work = WORKS[name]
    with scratch() as root, in_order():
        work.prepare(root)
        return names_of(lambda: work.act(root))


def _check_build(root: Path, failed: bool, *, damaged: bool = False) -> None:
    left = check_left(SMALL, root, damaged=damaged)
    demand(failed or left == "finished", f"a build that succeeded left a store that is {left}")
    early = set() if damaged else ledger_of(SMALL, root) - records_of(SMALL, root).keys()
    demand(not early, f"shards {early} have a record, and not the files that it lists")
    if left != "finished":
        check_resumed(SMALL, root, records_of(SMALL, root))
    else:  # it was whole a moment ago, and is not touched again
        again: list[int] = []
        manifest = SMALL.build(root, again.append)
        demand(not again, f"shards {again} of a finished store were computed")
        demand(manifest.digest == SMALL.truth().digest, f"digest {manifest.digest}")


def _unfinished(root: Path) -> None:
    (copy_of(SMALL, root) / "manifest.json").unlink()


def _damaged(root: Path) -> None:
    path, choose = copy_of(SMALL, root), random.Random(1)
    for name in ("data.zarr/images/c.0.0.0.0", "ledger/table.json", "spec.json"):
        flip(path / name, choose)


def _finished(root: Path) -> None:
    copy_of(SMALL, root)


def _read(root: Path) -> None:
    store = open_store(SMALL.path(root))
    for array in ("images", "status"):
        store.read_all(array)
    assert len(store.diagrams(slice(None))[1]) == len(store.ids) == len(store.labels)


def _verify(root: Path) -> None:
    """What cannot be read is no damage."""
    kinds = {finding.kind for finding in verify(SMALL.path(root))}
    demand(kinds <= {"unreadable"}, f"a whole store is said to be {kinds}")


def _check_finished(root: Path, failed: bool) -> None:
    check_whole(SMALL, SMALL.path(root))


def _unreadable(root: Path) -> None:
    """Documents and metadata are damaged, which are made again from each other."""
    path, choose = copy_of(SMALL, root), random.Random(1)
    for name in ("blueprint.json", "ledger/000000.json", "data.zarr/images/zarr.json"):
        flip(path / name, choose)


def _repair(root: Path) -> None:
    repair(SMALL.path(root))


def _check_repaired(root: Path, failed: bool) -> None:
    if failed:
        _repair(root)
    check_whole(SMALL, SMALL.path(root))


def _old(root: Path) -> None:
    """Two old stores, of which one is pinned."""
    ensure_root(root)
    for small in (SMALL, NEIGHBOUR):
        age(copy_of(small, root))
    pin(root, NEIGHBOUR.key)


def _remove(root: Path) -> None:
    remove(root, removable(root, [SMALL.key] if SMALL.path(root).exists() else []))


def _collect(root: Path) -> None:
    """What may not be read stays, and is told of as any refusal is."""
    found = collectable(root, max_bytes=0)
    remove(root, found.targets)
    if found.closed:
        raise RemovalRefused(f"kept, may not be read: {found.closed}")


def _check_removed(root: Path, failed: bool) -> None:
    left = check_left(SMALL, root)
    demand(left in ("finished", "absent") if failed else left == "absent", f"it is {left}")
    _remove(root)
    demand(not SMALL.path(root).exists(), "removed again, it is still there")
    demand(not list((root / "trash").iterdir()), "removed again, something is left in the trash")
    check_whole(NEIGHBOUR, NEIGHBOUR.path(root))


WORKS = {
    "build": Work(lambda root: None, SMALL.build, _check_build),
    "finish": Work(_unfinished, SMALL.build, _check_build),
    "mend": Work(_damaged, SMALL.build, partial(_check_build, damaged=True)),
    "read": Work(_finished, _read, _check_finished),
    "verify": Work(_finished, _verify, _check_finished),
    "repair": Work(_unreadable, _repair, _check_repaired),
    "remove": Work(_old, _remove, _check_removed),
    "collect": Work(_old, _collect, _check_removed),
}

LOOPS = {"nth call": Loop(one, ci=1_000, soak=100_000)}
