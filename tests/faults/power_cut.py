"""Power cuts: a build runs on a disk, which loses its power at some instant, and is mounted again.

Three kinds of instants: just after the builder has told of a shard or of the end (when least may
be lost, as everything told of must last), before any of its file calls, and while it goes on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from pi_cache import catalogue, files
from pi_cache.errors import PiCacheError
from pi_cache.integrity.verification import verify
from tests.faults import Loop, demand, scratch
from tests.faults.child import child
from tests.faults.mounts import KINDS, cut_power, disk, lacking
from tests.faults.small import Small, check_whole
from tests.faults.struck import Struck, calls_of, installed

SMALL = Small(40, 8)
FINISHED = "finished"
UNTYPED = "an error without a type"
NEVER = 1 << 30


class Moment(NamedTuple):
    """When the power goes: by whichever comes first.

    after_word: once the builder has told so many things. heard: the same, but it goes on until
    somebody else, who hears of it, cuts. before_call: before that file call.
    """

    after_word: int = NEVER
    heard: int = NEVER
    before_call: int = NEVER


def round_of(kind: str, seed: int) -> str:
    """One power cut on a disk of this kind; the moment of the cut, and what was left."""
    name, moment = _moment(random.Random(seed))
    with disk(kind) as power:
        root = power.place / "cache"
        told = _build_until(power.place, moment)
        power.unmount()
        power.mount()
        state = _check(root, told)
        _check_resumed(root, told)
    return f"{name}: {state}"


def _moment(chance: random.Random) -> tuple[str, Moment]:
    words = SMALL.truth().shards + 1
    moments = [
        ("after a word", Moment(after_word=chance.randint(1, words))),
        ("going on", Moment(heard=chance.randint(0, words))),
        ("before a call", Moment(before_call=chance.randint(1, calls()))),
    ]
    return chance.choice(moments)


def _build_until(place: Path, moment: Moment) -> list[Any]:
    """What the builder told before the power went: numbers of shards that last, and the end.

    What it tells while the power goes does not count: a real one would not live to tell it.
    """
    told: list[Any] = []
    with child(build, place, moment) as builder:
        if moment.heard == 0:
            cut_power(place)
        for word in builder.words():
            demand(word != UNTYPED, f"the builder met {UNTYPED}")
            told.append(word)
            if len(told) == moment.heard:
                cut_power(place)
    return told[: moment.heard]


def build(pipe: Any, place: Path, moment: Moment) -> None:
    """In a child: build the store, and tell of every shard that is recorded and of the end.

    Nothing is told once the power is gone: XFS answers an fsync of a folder even then.
    """
    told, gone = 0, False

    def tell(word: Any) -> None:
        nonlocal told
        if gone:
            return
        pipe.send(word)
        told += 1
        if told == moment.after_word:
            cut_power(place)

    def strike(name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        nonlocal gone
        gone = True
        cut_power(place)
        return real(*arguments)

    try:
        with installed(Struck(moment.before_call, strike)):
            SMALL.build(place / "cache", tell)
        tell(FINISHED)
    except PiCacheError:
        pass  # the disk is gone
    except OSError:
        pipe.send(UNTYPED)


def _check(root: Path, told: list[Any]) -> str:
    """Raise Violation unless all that was told of is there, and nothing is half there."""
    store = SMALL.path(root)
    for name, content in published().items():
        there, shard = (store / name).exists(), _shard_of(name)
        demand(not there or (store / name).read_bytes() == content, f"{name} is torn")
        demand(there or shard not in told, f"shard {shard} was told of, and {name} is lost")
    entry = catalogue.read_entry(store)
    demand(entry.state != "damaged", f"the store looks damaged: {entry.problem}")
    demand(entry.state == FINISHED or FINISHED not in told, f"told of the end: {entry.problem}")
    if entry.state == FINISHED:
        check_whole(SMALL, store)
    return entry.state


def _check_resumed(root: Path, told: list[Any]) -> None:
    """Raise Violation unless the same build goes on, keeps what was told of, and ends the same."""
    store = SMALL.path(root)
    records = {k: store / f"ledger/{k:06d}.json" for k in told if k != FINISHED}
    inodes = {k: record.stat().st_ino for k, record in records.items()}
    again: list[Any] = []
    SMALL.build(root, again.append)
    demand(not inodes.keys() & set(again), f"shards {inodes.keys() & set(again)} computed again")
    for k, record in records.items():
        demand(record.stat().st_ino == inodes[k], f"the record of shard {k} was made again")
    for name, content in published().items():
        demand((store / name).read_bytes() == content, f"{name} differs after going on")
    found = verify(store)
    demand(not found, f"after going on: {found}")


@cache
def calls() -> int:
    """File calls of a build that nothing disturbs."""
    with scratch() as root:
        return calls_of(lambda: SMALL.build(root))


@cache
def published() -> Mapping[str, bytes]:
    """What a build that nothing disturbs publishes, by path below the store; no times in it."""
    with scratch() as root:
        SMALL.build(root)
        store = SMALL.path(root)
        paths = [path for folder in ("data.zarr", "ledger") for path in files.tree(store / folder)]
        return {path.relative_to(store).as_posix(): path.read_bytes() for path in paths}


def _shard_of(name: str) -> int:
    """The shard that a published file belongs to, -1 for none."""
    folder, _, rest = name.partition("/")
    if folder == "ledger":
        return int(rest.removesuffix(".json")) if rest != "table.json" else -1
    column, _, chunk = rest.partition("/c.")
    return int(chunk.partition(".")[0]) if chunk and column not in ("ids", "labels") else -1


LOOPS = {
    f"power cut {kind}": Loop(partial(round_of, kind), 10, 1000, partial(lacking, kind))
    for kind in KINDS
}
