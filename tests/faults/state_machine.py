"""Builds, kills, reads, damage, retries and removal in any order, against a model of two stores."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from pi_cache import open_store
from pi_cache.errors import (
    CorruptStore,
    RemovalRefused,
    StorageFailed,
    StoreNotFound,
    UnfinishedStore,
)
from pi_cache.integrity.repair import repair
from pi_cache.integrity.verification import verify
from pi_cache.keeping.pins import is_pinned, pin, unpin
from pi_cache.keeping.removal import collectable, removable, remove
from pi_cache.ledger import finish, take_back
from tests.faults import Loop, demand, scratch
from tests.faults.damage import DAMAGES, any_file
from tests.faults.nth_call import FINAL, PASSING, strike_of
from tests.faults.small import Small, age, check_whole, columns_of, in_order, records_of
from tests.faults.struck import Dead, Struck, dying, installed

SMALLS = {"large": Small(samples=10, shard_samples=3), "tiny": Small(samples=2, shard_samples=2)}
RUNS, STEPS, SOAK_STEPS = 5, 30, 100
"""Runs of a round, and the steps of each."""

NAMES = st.sampled_from(sorted(SMALLS))
SHARDS = st.integers(0, 3)
FAULTS = st.none() | st.tuples(
    st.integers(1, 500), st.sampled_from(["kill", "kill", *FINAL, *PASSING])
)
"""Which call is struck, and how."""


@dataclass
class Model:
    """What a store must be.

    state: absent, unfinished or finished, as opening it says. recorded: shards that are done.
    damage: the bytes that a file was damaged to, None where it was deleted.
    """

    state: str = "absent"
    recorded: set[int] = field(default_factory=set)
    damage: dict[str, bytes | None] = field(default_factory=dict)
    pinned: bool = False


class Machine(RuleBasedStateMachine):
    """A cache root with two stores."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.root = self.stack.enter_context(scratch())
        self.stack.enter_context(in_order())
        self.models = {name: Model() for name in SMALLS}

    def teardown(self) -> None:
        self.stack.close()

    @rule(name=NAMES, fault=FAULTS)
    def build(self, name: str, fault: tuple[int, str] | None) -> None:
        """Whatever there was, the store is whole; no shard is computed that held."""
        small, kept, again = SMALLS[name], self.holding(name), list[int]()
        if self.act(lambda: small.build(self.root, again.append), fault):
            check_whole(small, small.path(self.root))
        demand(not kept & set(again), f"shards {kept & set(again)} were computed again")
        self.look(name, kept, finished=True)

    @rule(name=NAMES, k=SHARDS, fault=FAULTS)
    def write(self, name: str, k: int, fault: tuple[int, str] | None) -> None:
        """One shard, as a worker does."""
        small, kept = SMALLS[name], self.holding(name)
        k %= small.truth().shards
        done = self.act(lambda: small.write(small.begin(self.root), k), fault)
        self.look(name, kept | ({k} if done else set()), finished=True)

    @rule(name=NAMES, fault=FAULTS)
    def finish(self, name: str, fault: tuple[int, str] | None) -> None:
        """Only what is complete is finished."""
        small, kept = SMALLS[name], self.holding(name)
        complete = len(kept) == small.truth().shards
        try:
            done = self.act(lambda: finish(small.begin(self.root)), fault)
        except UnfinishedStore:
            demand(not complete, "a complete store is said to be unfinished")
        else:
            demand(complete or not done, f"finished with shards {sorted(kept)} alone")
        self.look(name, kept, finished=True)

    @rule(name=NAMES, shards=st.sets(SHARDS), fault=FAULTS)
    def retry(self, name: str, shards: set[int], fault: tuple[int, str] | None) -> None:
        """Some shards are to be computed again; the store is no finished one until they are."""
        small, kept = SMALLS[name], self.holding(name)
        unwanted = kept & shards
        begun = self.act(lambda: small.begin(self.root), None)
        assert begun
        self.look(name, kept, finished=True)
        take = partial(take_back, small.begin(self.root), lambda record: record.shard in shards)
        done = self.act(take, fault)
        self.look(name, kept - unwanted, finished=not (done and unwanted), may_end=True)

    @rule(name=NAMES, seed=st.integers(0, 2**32), how=st.sampled_from(sorted(DAMAGES)))
    def damage(self, name: str, seed: int, how: str) -> None:
        """One file of a finished store."""
        path, choose, model = SMALLS[name].path(self.root), random.Random(seed), self.models[name]
        place = any_file(path, choose) if model.state == "finished" else None
        if place is None or (place.name == "manifest.json" and how == "delete"):
            return
        DAMAGES[how](place, choose)
        listed = place.relative_to(path).as_posix()
        model.damage[listed] = place.read_bytes() if place.exists() else None

    @rule(name=NAMES, fault=FAULTS)
    def repair(self, name: str, fault: tuple[int, str] | None) -> None:
        """Documents and metadata are mended from each other, with nothing computed."""
        small, kept, damage = SMALLS[name], self.holding(name), self.live(name)
        if self.models[name].state != "finished" or not all(".json" in one for one in damage):
            return
        if self.act(lambda: repair(small.path(self.root)), fault):
            check_whole(small, small.path(self.root))
        self.look(name, kept, finished=True)

    @rule(name=NAMES)
    def check(self, name: str) -> None:
        """A whole store reads as it was computed; damage is found, and never read as data."""
        small, path = SMALLS[name], SMALLS[name].path(self.root)
        if self.models[name].state != "finished":
            return
        damage = self.live(name)
        if not damage:
            check_whole(small, path)
            return
        unseen = damage - {finding.path for finding in verify(path)}
        demand(not unseen, f"verify does not find the damage of {unseen}")
        try:
            store = open_store(path)
            images = store.read_all("images")
        except CorruptStore:
            return
        same = np.array_equal(images, columns_of(small.samples)["images"], equal_nan=True)
        demand(same, "damaged images were read")

    @rule(name=NAMES, pinned=st.booleans())
    def pin(self, name: str, pinned: bool) -> None:
        """A store is pinned, or no longer."""
        model, key = self.models[name], SMALLS[name].key
        if model.state == "absent" or model.pinned == pinned:
            return
        pin(self.root, key) if pinned else unpin(self.root, key)
        model.pinned = pinned

    @rule(name=NAMES, fault=FAULTS)
    def remove(self, name: str, fault: tuple[int, str] | None) -> None:
        """A store goes as a whole, unless it is pinned."""
        model, key = self.models[name], SMALLS[name].key
        if model.state == "absent":
            return
        before = self.snapshot(name)
        try:
            done = self.act(lambda: self._remove(key), fault)
        except RemovalRefused:
            demand(model.pinned or denied(fault), "removal was refused of a store not pinned")
            done = False
        demand(not (done and model.pinned), "a pinned store was removed")
        self.gone_or(name, before, gone=done)

    def _remove(self, key: str) -> None:
        remove(self.root, removable(self.root, [key], young=True), young=True)

    def _collect(self) -> None:
        remove(self.root, collectable(self.root, max_bytes=0).targets)

    @rule(fault=FAULTS)
    def collect(self, fault: tuple[int, str] | None) -> None:
        """Old stores go but for the pinned ones."""
        if all(model.state == "absent" for model in self.models.values()):
            return
        for small in SMALLS.values():
            age(small.path(self.root)) if small.path(self.root).exists() else None
        before = {name: self.snapshot(name) for name in SMALLS}
        try:
            done = self.act(self._collect, fault)
        except RemovalRefused as error:
            demand(denied(fault), f"collecting was refused: {error}")
            done = False
        for name, model in self.models.items():
            gone = done and not model.pinned and not denied(fault)
            self.gone_or(name, before[name], gone=gone)

    @invariant()
    def states(self) -> None:
        """Opening says what the model says, of both stores after every step."""
        for name, model in self.models.items():
            found = self.state(name)
            demand(found == model.state, f"{name} is {found}, expected {model.state}")
            held = is_pinned(self.root, SMALLS[name].key)
            demand(held == model.pinned, f"{name} is {'' if held else 'not '}pinned")

    def act(self, work: Callable[[], object], fault: tuple[int, str] | None) -> bool:
        """Whether some work was done in spite of a fault."""
        nth, how = fault or (0, "kill")
        killed = how == "kill"
        strike = dying if killed else strike_of(how)
        try:
            with installed(Struck(nth, strike, lasting=killed)):
                work()
        except Dead:
            return False
        except StorageFailed as error:
            demand(fault and how in FINAL, f"failed without a fault: {error}")
            return False
        return True

    def look(self, name: str, kept: set[int], *, finished: bool, may_end: bool = False) -> None:
        """Take over what there is now, which has the kept shards and is not less finished.

        finished: whether it may be finished. may_end: whether a finished store may end to be one.
        """
        model, found = self.models[name], self.state(name)
        recorded = set(records_of(SMALLS[name], self.root))
        demand(kept <= recorded, f"shards {kept - recorded} of {name} are lost")
        demand(found != "finished" or finished, f"{name} is finished")
        if model.state == "finished" and not may_end:
            demand(found == "finished", f"{name} was finished and is {found}")
        model.state, model.recorded = found, recorded

    def gone_or(self, name: str, before: dict[str, bytes], *, gone: bool) -> None:
        """A store is gone, or every file of it is as it was."""
        model, after = self.models[name], self.snapshot(name)
        demand(not after or after == before, f"a part of {name} was removed")
        demand(not (gone and after), f"{name} is still there")
        demand(after or not model.pinned, f"{name} was pinned and is gone")
        if not after:
            self.models[name] = Model(pinned=model.pinned)

    def snapshot(self, name: str) -> dict[str, bytes]:
        """Every file of a store but its leftovers."""
        path = SMALLS[name].path(self.root)
        return {
            place.relative_to(path).as_posix(): place.read_bytes()
            for place in path.rglob("*")
            if place.is_file() and place.relative_to(path).parts[0] not in ("tmp", "quarantine")
        }

    def state(self, name: str) -> str:
        """What opening a store says of it; a damaged one is finished."""
        try:
            open_store(SMALLS[name].path(self.root))
        except StoreNotFound:
            return "absent"
        except UnfinishedStore:
            return "unfinished"
        except CorruptStore:
            demand(self.live(name), f"{name} is said to be damaged")
        return "finished"

    def live(self, name: str) -> set[str]:
        """The files that are still as they were damaged, or were moved away since.

        With a damaged file its record is moved away, and a build that dies then leaves neither.
        """
        small, path, damage = SMALLS[name], SMALLS[name].path(self.root), self.models[name].damage
        records = [f"{k:06d}" for k in range(small.truth().shards)]
        moved = {f"ledger/{record}.json" for record in (*records, "table") if damage}
        moved = {listed for listed in moved if not (path / listed).exists()}
        found = {
            listed: (path / listed).read_bytes() if (path / listed).exists() else None
            for listed in damage
        }
        return moved | {listed for listed in damage if found[listed] in (damage[listed], None)}

    def holding(self, name: str) -> set[int]:
        """The shards that must hold: recorded, and not damaged since."""
        return set(records_of(SMALLS[name], self.root)) & self.models[name].recorded


def denied(fault: tuple[int, str] | None) -> bool:
    """Whether a call is answered as it is to an account that may not read: such stores stay."""
    return fault is not None and fault[1] == "EACCES"


def one(seed: int, steps: int = STEPS) -> str:
    """Some runs of so many steps."""
    how = settings(
        max_examples=RUNS,
        stateful_step_count=steps,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
    )
    machine = hypothesis.seed(seed)(type("Machine", (Machine,), {}))
    run_state_machine_as_test(machine, settings=how)
    return f"{RUNS} runs of {steps} steps"


LOOPS = {
    "state machine": Loop(one, ci=100 // RUNS, soak=0),
    "long machine": Loop(partial(one, steps=SOAK_STEPS), ci=0, soak=20_000 // RUNS),
}
