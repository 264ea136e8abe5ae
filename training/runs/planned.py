"""The runs of a plan: which arm, fold and seed, where each lies, and what decides its result."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pi_cache.errors import InvalidSpec
from pi_cache.nearest import hint
from training.runs.identity import digest_of, identity, network_identity
from training.runs.plan import ALL, Arm, Plan
from training.runs.spec import RunSpec
from training.runs.teachers import open_given
from training.tasks import DataSpec, Task, fold_names, open_task
from training.trained import PICKS

SPLITS = "splits"
"""The fold that the stored splits are."""
KEPT = 4
"""Tasks that are kept open: those of arms with samples of their own, in one fold."""
UNSAFE = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One run of a plan. fold: None where the stored splits divide. folder: ARM/FOLD/seed-N."""

    arm: Arm
    fold: str | None
    seed: int
    folder: Path

    @property
    def title(self) -> str:
        """For people: `kd, fold S01, seed 0`."""
        return f"{self.arm.name}, fold {self.fold or SPLITS}, seed {self.seed}"


class Runs:
    """All runs of a plan under a folder, those that teach before those that learn from them.

    Raises InvalidSpec for folds that the file does not hold, and what `open_task` raises.
    """

    def __init__(self, plan: Plan, out: Path) -> None:
        self.plan, self.out = plan, out
        self.folds = _folds(plan)
        self._tasks: dict[str, Task] = {}
        self._identities: dict[Path, dict[str, Any]] = {}

    def __iter__(self) -> Iterator[Planned]:
        return iter(self.all())

    def all(self) -> list[Planned]:
        """Fold after fold, in each seed after seed, in each arm after arm."""
        seeds = sorted({seed for arm in self.plan.arms for seed in arm.seeds})
        return [
            self.planned(arm, fold, seed)
            for fold in self.folds
            for seed in seeds
            for arm in self.plan.arms
            if seed in arm.seeds
        ]

    def chosen(self, only: Sequence[str]) -> list[Planned]:
        """Those of some arms and of all that these need; every run for no names."""
        wanted = self._with_needs(only)
        return [planned for planned in self.all() if not only or planned.arm.name in wanted]

    def planned(self, arm: Arm, fold: str | None, seed: int) -> Planned:
        """One run, and where it lies."""
        folder = self.out / arm.name / folder_name(fold or SPLITS) / f"seed-{seed}"
        return Planned(arm=arm, fold=fold, seed=seed, folder=folder)

    def needs(self, planned: Planned) -> list[Planned]:
        """The runs of the plan that teach one, or that it starts from."""
        return [self._need(planned, name) for name, _ in planned.arm.needs if self.plan.arm(name)]

    def spec(self, planned: Planned) -> RunSpec:
        """What a run is. Raises InvalidSpec."""
        teachers = [self._path(planned, *need) for need in planned.arm.teachers]
        start = planned.arm.start
        return self.plan.spec(
            planned.arm,
            planned.fold,
            planned.seed,
            teachers,
            None if start is None else self._path(planned, *start),
        )

    def task(self, spec: DataSpec) -> Task:
        """The task of a spec, opened once for the runs of a fold."""
        known = json.dumps(spec.to_dict(), sort_keys=True)
        if known not in self._tasks:
            if len(self._tasks) == KEPT:
                del self._tasks[next(iter(self._tasks))]
            self._tasks[known] = open_task(spec)
        return self._tasks[known]

    def identity(self, planned: Planned) -> dict[str, Any]:
        """What decides the result of a run, known before its teachers are trained."""
        if planned.folder not in self._identities:
            spec = self.spec(planned)
            start = None if spec.start is None else self._network(planned, spec.start)
            teachers = [self._network(planned, name) for name in spec.teachers]
            self._identities[planned.folder] = identity(spec, self.task(spec.data), teachers, start)
        return self._identities[planned.folder]

    def digest(self, planned: Planned) -> str:
        """What tells a run of the plan from any other."""
        return digest_of(self.identity(planned))

    def _network(self, planned: Planned, name: str) -> str:
        """What tells a network from another: of a run of the plan, what that run is."""
        for need in self.needs(planned):
            if name in (str(need.folder), *(f"{need.folder}:{pick}" for pick in PICKS)):
                return network_identity(name, self.digest(need), "")
        given = open_given(name)
        return network_identity(name, given.spec_digest, given.sha256)

    def _path(self, planned: Planned, name: str, pick: str) -> str:
        place = str(self._need(planned, name).folder) if self.plan.arm(name) else name
        return f"{place}:{pick}" if pick else place

    def _need(self, planned: Planned, name: str) -> Planned:
        arm = self.plan.arm(name)
        assert arm is not None
        return self.planned(arm, planned.fold, self.plan.teacher_seed(name, planned.seed))

    def _with_needs(self, only: Sequence[str]) -> set[str]:
        names = [arm.name for arm in self.plan.arms]
        unknown = [name for name in only if name not in names]
        if unknown:
            raise InvalidSpec(
                f"no arm {unknown[0]!r} in the plan{hint(unknown[0], names)}; there are"
                f" {', '.join(names)}"
            )
        wanted = set(only)
        for arm in reversed(self.plan.arms):  # those that need come after what they need
            if arm.name in wanted:
                wanted |= {name for name, _ in arm.needs}
        return wanted


def folder_name(fold: str) -> str:
    """A fold as the name of a folder: the same where it can be one, else told apart by a digest."""
    safe = UNSAFE.sub("_", fold).lstrip(".")
    if safe == fold:
        return fold
    return f"{safe[:60]}-{hashlib.sha256(fold.encode()).hexdigest()[:6]}"


def _folds(plan: Plan) -> list[str | None]:
    """The folds of a plan. Raises InvalidSpec with all that the file does not hold."""
    if not plan.folds:
        return [None]
    known = fold_names(plan.data_spec(fold=ALL))
    wanted: Collection[str] = known if plan.folds == (ALL,) else plan.folds
    absent = [name for name in wanted if name not in known]
    if absent:
        raise InvalidSpec(
            f"{plan.data['folds']} has no fold {', '.join(map(repr, absent))}; there are"
            f" {', '.join(known)}"
        )
    return list(wanted)
