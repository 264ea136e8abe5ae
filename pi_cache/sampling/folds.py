"""Which samples train, which validate and which test: numbers of samples, never copies of them.

Only OK samples are in a fold. What is drawn is drawn by id: samples are put in the order of the
SHA-256 of `SEED\\0ID`, so that one seed gives the same folds on every machine, with every version
of numpy, and in whatever order a store holds its samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from pi_cache.errors import InvalidFolds
from pi_cache.rows import read_only
from pi_cache.sampling.draws import class_counts, deal_groups, draw, draw_groups, ranks
from pi_cache.sampling.samples import (
    LISTED,
    Ids,
    Numbers,
    Samples,
    coded,
    ids_digest,
    listed,
    parse_texts,
    usable,
)

SIDES = ("train", "validation", "test")
DIVIDE = "divide them by `pi-cache folds STORE --stratified 5 --out FILE`"
ROLES: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""The side of a fold that a split of that name is."""


def _nothing() -> Numbers:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fold:
    """One way to divide samples: ascending sample numbers, read-only, each on one side at most.

    made_of: digest of the ids that the numbers count, so that a fold of other samples is noticed.
    Raises InvalidFolds.
    """

    name: str
    train: Numbers
    validation: Numbers = field(default_factory=_nothing)
    test: Numbers = field(default_factory=_nothing)
    made_of: str = ""

    def __post_init__(self) -> None:
        for side in SIDES:
            object.__setattr__(self, side, _parse_numbers(getattr(self, side), self.name, side))
        numbers, counts = np.unique(np.concatenate(list(self.sides.values())), return_counts=True)
        if (counts > 1).any():
            twice = numbers[counts > 1]
            raise InvalidFolds(
                f"fold {self.name!r}: each sample is used once, twice are {listed(twice)}"
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Fold):
            return NotImplemented
        same = all(np.array_equal(self.sides[side], other.sides[side]) for side in SIDES)
        return same and self.name == other.name

    def __repr__(self) -> str:
        counts = ", ".join(f"{side} {len(numbers)}" for side, numbers in self.sides.items())
        return f"<Fold {self.name}: {counts}>"

    @property
    def sides(self) -> dict[str, Numbers]:
        """Sample numbers by side: train, validation, test."""
        return {side: getattr(self, side) for side in SIDES}


class Folds(Sequence[Fold]):
    """Folds that each test one part and train on the others; made when asked for, none is kept.

    samples: (n,) sample numbers. part: (n,) the part of each, -1 for one that all train on. names:
    of the parts.
    """

    def __init__(self, names: Sequence[str], samples: Numbers, part: Numbers, made_of: str) -> None:
        self.names = tuple(names)
        self.samples = read_only(samples)
        self.part = read_only(part)
        self.made_of = made_of

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"<Folds of {len(self.samples)} samples: {listed(self.names)}>"

    @overload
    def __getitem__(self, k: int) -> Fold: ...
    @overload
    def __getitem__(self, k: slice) -> list[Fold]: ...
    def __getitem__(self, k: int | slice) -> Fold | list[Fold]:
        if isinstance(k, slice):
            return [self[i] for i in range(len(self))[k]]
        number = range(len(self))[k]
        tested = self.part == number
        return Fold(
            name=self.names[number],
            train=self.samples[~tested],
            test=self.samples[tested],
            made_of=self.made_of,
        )


def leave_one_group_out(
    samples: Samples,
    *,
    groups: ArrayLike | Sequence[str] | None = None,
    among: ArrayLike | None = None,
    always_train: Sequence[str] = (),
) -> Folds:
    """A fold for each group, such as a subject, which it tests; named by it, in sorted order.

    samples: a Store, a Joined or an Arrays of N samples. groups: (N,) in place of the stored ones.
    among: sample numbers or a mask, the samples to divide; others are in no fold. always_train:
    groups that no fold tests, such as those that a scale was fitted on.
    Raises InvalidFolds when there are no groups, one only, samples without, or no such group to
    train on.
    """
    chosen = usable(samples, among)
    names, code = _tested_groups(_groups_of(samples, groups, chosen), always_train)
    _check_count(names, 1 if always_train else 2)
    return Folds(names, chosen, code, ids_digest(samples))


def leave_groups_out(
    samples: Samples,
    count: int,
    *,
    seed: int,
    groups: ArrayLike | Sequence[str] | None = None,
    among: ArrayLike | None = None,
    always_train: Sequence[str] = (),
) -> Folds:
    """Folds that test `count` groups each, drawn by seed; each group is tested once.

    The last fold has fewer where they do not divide. Arguments and errors as
    `leave_one_group_out`.
    """
    chosen = usable(samples, among)
    names, code = _tested_groups(_groups_of(samples, groups, chosen), always_train)
    if count < 1:
        raise InvalidFolds(f"count of groups to leave out must be at least 1, got {count}")
    _check_count(names, count if always_train else count + 1)
    part = ranks(names, seed) // count
    members = [
        [n for n, k in zip(names, part, strict=True) if k == p] for p in range(max(part) + 1)
    ]
    titles = [" + ".join(m) if len(m) <= LISTED else f"part {k + 1}" for k, m in enumerate(members)]
    return Folds(titles, chosen, np.where(code < 0, -1, part[code]), ids_digest(samples))


def stratified(
    samples: Samples,
    folds: int,
    *,
    seed: int,
    groups: ArrayLike | Sequence[str] | None = None,
    among: ArrayLike | None = None,
) -> Folds:
    """Folds with the classes in equal shares, within one sample of it; each sample tested once.

    groups: (N,) such as `store.groups`, kept whole: each goes, the largest first, to the fold
    that has least of its classes, and shares are as equal as the groups allow.
    Raises InvalidFolds for unlabelled samples, a class (or groups) fewer than folds.
    """
    chosen = usable(samples, among)
    labels = _labels_of(samples, chosen)
    if folds < 2:
        raise InvalidFolds(f"folds must be at least 2, got {folds}")
    if groups is None:
        _check_classes(samples, labels, folds)
        order = np.lexsort((ranks(samples.ids[chosen], seed), labels))
        part = np.empty(len(chosen), np.int64)
        part[order] = np.arange(len(chosen)) % folds
    else:
        names, code = coded(_groups_of(samples, groups, chosen))
        _check_count(names, folds)
        part = deal_groups(class_counts(labels, code), ranks(names, seed), folds)[code]
    return Folds([str(k + 1) for k in range(folds)], chosen, part, ids_digest(samples))


def holdout(
    samples: Samples,
    share: float,
    *,
    seed: int,
    groups: ArrayLike | Sequence[str] | None = None,
    among: ArrayLike | None = None,
) -> Fold:
    """One fold whose validation part has `share` of every class, within one sample of it.

    groups: (N,) such as `store.groups`, kept whole; the share is then as near as they allow.
    Raises InvalidFolds when a side would be empty, or samples have no label.
    """
    chosen = usable(samples, among)
    labels = _labels_of(samples, chosen)
    if not 0 < share < 1:
        raise InvalidFolds(f"share must lie between 0 and 1, got {share}")
    if groups is None:
        held = draw(labels, ranks(samples.ids[chosen], seed), share)
    else:
        names, code = coded(_groups_of(samples, groups, chosen))
        _check_count(names, 2)
        held = draw_groups(class_counts(labels, code), ranks(names, seed), share)[code]
    if held.all() or not held.any():
        raise InvalidFolds(
            f"a share of {share:g} of {len(chosen)} samples leaves no sample on one side; give"
            " another share, or more samples"
        )
    return Fold(
        name="holdout",
        train=chosen[~held],
        validation=chosen[held],
        made_of=ids_digest(samples),
    )


def with_validation(
    fold: Fold,
    samples: Samples,
    share: float,
    *,
    seed: int,
    groups: ArrayLike | Sequence[str] | None = None,
) -> Fold:
    """The fold with a validation part taken from its training part; see `holdout`.

    Raises InvalidFolds for a fold of other samples too.
    """
    (fold,) = check_made_of([fold], samples)
    if len(fold.validation):
        raise InvalidFolds(f"fold {fold.name!r} has a validation part already")
    taken = holdout(samples, share, seed=seed, groups=groups, among=fold.train)
    return replace(fold, train=taken.train, validation=taken.validation)


def from_splits(
    samples: Samples,
    *,
    splits: ArrayLike | Sequence[str] | None = None,
    roles: Mapping[str, str] = ROLES,
    among: ArrayLike | None = None,
) -> Fold:
    """The fold that the stored splits are. roles: the side that each name of a split is.

    splits: (N,) in place of the stored ones. Raises InvalidFolds for a split of no known role,
    samples without one, no training part, or nothing beside it.
    """
    given = samples.splits if splits is None else parse_texts(splits, "splits")
    if given is None:
        raise InvalidFolds(f"these samples have no splits; {DIVIDE}")
    chosen = usable(samples, among)
    names, code = coded(_all_named(samples, given, chosen, "split"))
    unknown = [name for name in names if roles.get(name) not in SIDES]
    if unknown:
        raise InvalidFolds(
            f"split {listed(unknown)} is neither of {', '.join(roles)}; say with roles which of"
            f" {', '.join(SIDES)} it is, or give `among`"
        )
    role = np.array([SIDES.index(roles[name]) for name in names], np.int64)[code]
    sides = {side: chosen[role == k] for k, side in enumerate(SIDES)}
    if not len(sides["train"]) or len(sides["train"]) == len(chosen):
        raise InvalidFolds(
            f"the splits {listed(names)} do not divide {len(chosen)} samples into training and"
            f" other ones; {DIVIDE}, or build a store of all splits"
        )
    return Fold(name="splits", made_of=ids_digest(samples), **sides)


def check_made_of(folds: Iterable[Fold], samples: Samples) -> Iterator[Fold]:
    """The folds, one after the other, each found to count these samples.

    Raises InvalidFolds for one that does not, and where there is no fold at all.
    """
    digest, fold = ids_digest(samples), None
    for fold in folds:
        beyond = any(len(n) and n[-1] >= len(samples) for n in fold.sides.values())
        if beyond or (fold.made_of and fold.made_of != digest):
            raise InvalidFolds(
                f"fold {fold.name!r} was made of other samples, or of these in another order; make"
                f" it of these {len(samples)}, or carry it over by id with to_file and from_file"
            )
        yield fold
    if fold is None:
        raise InvalidFolds("there is no fold; an iterator gives its folds once only: make a list")


def class_name(samples: Samples, label: int) -> str:
    """Name of a label, or its number where it has no name."""
    names = samples.label_names
    return names[label] if 0 <= label < len(names) else str(label)


def _parse_numbers(numbers: ArrayLike, name: str, side: str) -> Numbers:
    array = np.asarray(numbers)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InvalidFolds(
            f"fold {name!r}: {side} must be a list of sample numbers, got {array.dtype} of shape"
            f" {array.shape}"
        )
    ascending: Numbers = np.sort(array.astype(np.int64))
    if len(ascending) and ascending[0] < 0:
        raise InvalidFolds(f"fold {name!r}: {side} has the sample number {ascending[0]}")
    return read_only(ascending)


def _groups_of(samples: Samples, groups: Any, chosen: Numbers) -> list[str]:
    """The group of each chosen sample. Raises InvalidFolds when one has none."""
    given = samples.groups if groups is None else parse_texts(groups, "groups")
    if given is None:
        raise InvalidFolds(
            "these samples have no groups; give groups, an array with the subject (or whatever"
            " must stay together) of each sample"
        )
    return _all_named(samples, given, chosen, "group")


def _tested_groups(groups: list[str], always_train: Sequence[str]) -> tuple[list[str], Numbers]:
    """The groups that are tested, sorted, and (n,) the number of each sample's, -1 for others."""
    names, code = coded(groups)
    unknown = [name for name in always_train if name not in names]
    if unknown or isinstance(always_train, str):
        raise InvalidFolds(
            f"always_train must be groups of these samples, got {listed(unknown) or always_train};"
            f" there are {listed(names)}"
        )
    tested = [name for name in names if name not in always_train]
    numbers = np.array([tested.index(n) if n in tested else -1 for n in names], np.int64)
    return tested, numbers[code]


def _all_named(samples: Samples, given: Ids, chosen: Numbers, what: str) -> list[str]:
    if len(given) != len(samples):
        raise InvalidFolds(f"{len(given)} {what}s were given for {len(samples)} samples")
    without = chosen[given[chosen] == ""]
    if len(without):
        raise InvalidFolds(
            f"{len(without)} samples have no {what} ({listed(samples.ids[without])}); give all"
            " of them one, or `among`, the samples to divide"
        )
    named: list[str] = given[chosen].tolist()
    return named


def _labels_of(samples: Samples, chosen: Numbers) -> Numbers:
    labels = samples.labels
    if labels is None:
        raise InvalidFolds("these samples have no labels, and classes cannot be shared out")
    without = chosen[labels[chosen] < 0]
    if len(without) or not len(chosen):
        raise InvalidFolds(
            f"{len(without)} of {len(chosen)} samples have no label"
            f" ({listed(samples.ids[without])}); give `among`, the samples to divide"
        )
    return labels[chosen]


def _check_count(names: Sequence[str], wanted: int) -> None:
    if len(names) < wanted:
        raise InvalidFolds(
            f"at least {wanted} groups are needed, there are {len(names)} ({listed(names)});"
            " ask for fewer folds, or divide by class with stratified"
        )


def _check_classes(samples: Samples, labels: Numbers, folds: int) -> None:
    values, counts = np.unique(labels, return_counts=True)
    few = counts < folds
    if few.any():
        named = [
            f"{class_name(samples, value)} ({count})"
            for value, count in zip(values[few].tolist(), counts[few].tolist(), strict=True)
        ]
        raise InvalidFolds(
            f"{folds} folds need {folds} samples of every class, fewer have {listed(named)}; ask"
            " for fewer folds, or leave these classes out with `among`"
        )
