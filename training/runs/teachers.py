"""Networks that a run begins with: teachers and starts, found fit for its data before it trains.

A teacher that was trained on samples that validate or test here has told the student about them, so
that its score is none. Which samples it saw follows from the record in its file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pi_cache import files
from pi_cache.errors import InvalidSpec, LeakageError, PiCacheError
from pi_cache.reader import Store, open_store
from pi_cache.sampling.samples import listed
from training.joined import JoinedDataset
from training.tasks import DataSpec, Task, open_task
from training.trained import Trained, check_same_classes, find_trained, read_trained
from training.trainer.config import TEST, VALIDATION
from training.views import channels_first

SEEN = (("train", "validation"), ("train", "test"), ("validation", "test"))
"""A side of a teacher's run, and a side here that must have nothing of it."""
CHOSEN_BY_TEST = (("test", "test"),)
"""The same of a teacher whose epoch its test side has chosen."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """A network from another run. name: as it was given, with its pick. sha256: of its file."""

    name: str
    trained: Trained
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """For the record of a run: which network, and how it was trained, in short."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "model": self.trained.model.name,
            "view": str(self.trained.view),
            "spec_digest": self.spec_digest,
        }

    @property
    def task_record(self) -> Mapping[str, Any]:
        """The record of the task that it was trained on; empty where none is known."""
        found = self.trained.record.get("data")
        return found if isinstance(found, Mapping) else {}

    @property
    def chosen_by_test(self) -> bool:
        """Whether samples of its test side chose the epoch of this file."""
        record = self.trained.record
        return record.get("config", {}).get("select") == TEST and record.get("pick") == "best"

    @property
    def spec_digest(self) -> str | None:
        """What tells its run from any other, None where it is of no such run."""
        found = self.trained.record.get("record", {}).get("spec_digest")
        return None if found is None else str(found)


def open_given(name: str, *, device: str = "cpu") -> Given:
    """The network of a run or file. Raises FileNotFoundError, UnsupportedFormat, InvalidSpec."""
    trained = read_trained(name, device=device)
    return Given(name=name, trained=trained, sha256=files.digest(find_trained(name))[1])


def check_given(given: Given, task: Task, *, select: str = VALIDATION) -> list[str]:
    """What could not be checked of a network that is shown this task's samples; one phrase each.

    select: how this run chooses its epoch. Raises InvalidSpec where the network reads what is not
    there, or knows other classes; LeakageError where it was trained on samples that validate or
    test here, or its epoch was chosen by samples that test here and do not choose.
    """
    check_same_classes(task.class_names, given.trained, given.name)
    _check_arrays(given, task)
    by_test = given.chosen_by_test and select != TEST
    seen = (*SEEN, *(CHOSEN_BY_TEST if by_test else ()))
    return [*_check_stores(given, task), *_check_leakage(given, task, seen)]


def _check_arrays(given: Given, task: Task) -> None:
    problems = []
    for piece in given.trained.view.pieces:
        if piece.name not in task.train.parts:
            there = ", ".join(task.train.parts)
            problems.append(
                f"it reads {piece.name!r}, and there are {there}; give --store {piece.name}=KEY"
            )
        elif channels_first(task.train, piece.name) != piece.shape:
            here = channels_first(task.train, piece.name)
            problems.append(f"its {piece.name} is {piece.shape} a sample, here it is {here}")
    if problems:
        raise InvalidSpec(f"{given.name} cannot be shown these samples: {'; '.join(problems)}")


def _check_stores(given: Given, task: Task) -> list[str]:
    """Raise InvalidSpec where an array of the same name holds images that were made otherwise."""
    theirs: Mapping[str, str] = given.task_record.get("stores", {})
    notes = []
    for name in given.trained.view.names:
        source, key = task.train.parts[name].source, theirs.get(name)
        if not isinstance(source, Store) or key in (None, source.key):
            continue
        other = _opened(name, given)
        if other is None:
            notes.append(f"{given.name}: {name} was store {str(key)[:12]}, which is not at hand")
        elif any(getattr(other.spec, p) != getattr(source.spec, p) for p in other.spec.parts):
            raise InvalidSpec(
                f"{given.name} was trained on {name}={other.key[:12]}, here {name} is"
                f" {source.key[:12]}, whose images are made otherwise (`pi-cache diff` says how);"
                f" give --store {name}={other.key[:12]}"
            )
    return notes


def _opened(name: str, given: Given) -> Store | None:
    """The store that a name was in a network's own run, None where it is not there any more."""
    data = given.task_record.get("data", {})
    try:
        return open_store(data["stores"][name], root=data.get("root"))
    except (KeyError, PiCacheError):
        return None


def _check_leakage(given: Given, task: Task, seen: Sequence[tuple[str, str]]) -> list[str]:
    """Raise LeakageError where it was trained, or its epoch chosen, on what is held out here."""
    record = given.task_record
    if record.get("digests") == task.record["digests"] and seen == SEEN:
        return []
    sides = _sides_of(record)
    if sides is None:
        _check_digests(given, task, seen)
        return [f"{given.name}: the samples it was trained on are not at hand, so that those which"
                " are held out here could not be looked for among them"]  # fmt: skip
    problems = []
    for theirs, ours in seen:
        if theirs in sides and ours in task.sides:
            there, here = sides[theirs], task.sides[ours]
            shared = sorted(set(there.ids.tolist()) & set(here.ids.tolist()))
            people = [] if shared else _shared_people(there, here, task)
            if shared:
                problems.append(f"{len(shared)} {ours} samples ({listed(shared)}) are of its"
                                f" {theirs} side")  # fmt: skip
            if people:
                problems.append(f"{len(people)} {ours} groups ({listed(people)}), such as people,"
                                f" are of its {theirs} side, in other samples")  # fmt: skip
    if problems:
        raise LeakageError(
            f"{given.name} has seen what is held out here: {'; '.join(problems)}; train it on the"
            " same folds, split and validation share"
            + (f", and not {TEST} (or take {given.name}:last)" if seen != SEEN else "")
        )
    return []


def _shared_people(there: JoinedDataset, here: JoinedDataset, task: Task) -> list[str]:
    """Groups on a side of a network's own run and on one here, where groups are held out here.

    Other windows of the same people have other ids. Groups of another source mean nothing here.
    """
    if _sources(there) != _sources(here) or _people(here) & _people(task.train):
        return []
    return sorted(_people(there) & _people(here))


def _people(side: JoinedDataset) -> set[str]:
    groups = side.joined.groups
    return set() if groups is None else set(groups[side.index].tolist()) - {""}


def _sources(side: JoinedDataset) -> set[str]:
    """Kinds of the sources whose samples are joined, such as `sisfall`."""
    members = [member.source for member in side.joined.members.values()]
    return {member.spec.source.kind for member in members if isinstance(member, Store)}


def _sides_of(record: Mapping[str, Any]) -> dict[str, JoinedDataset] | None:
    """The sides of a network's own run; None where its data cannot be opened."""
    try:
        task = open_task(DataSpec(**record["data"]))
    except (KeyError, TypeError, PiCacheError, OSError):
        return None
    if {n: len(side) for n, side in task.sides.items()} != record.get("samples"):
        return None  # another file of folds by that name meanwhile
    return task.sides


def _check_digests(given: Given, task: Task, seen: Sequence[tuple[str, str]]) -> None:
    theirs = given.task_record.get("digests", {})
    for side, ours in seen:
        if ours in task.record["digests"] and theirs.get(side) == task.record["digests"][ours]:
            raise LeakageError(
                f"{given.name} was trained, or its epoch chosen, on the {ours} samples of this run"
            )


def names_read(trained: Sequence[Trained]) -> tuple[str, ...]:
    """Arrays of a batch that some networks read, each once."""
    return tuple(dict.fromkeys(name for each in trained for name in each.view.names))
