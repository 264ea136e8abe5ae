"""Whether what belongs together lies on two sides of a fold, so that a test is no test.

Three ways to belong together: one group (the windows of a subject), the same stored bytes,
overlapping windows of one recording. And a test part must not be what a scale was fitted on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pi_cache.errors import InvalidSpec, LeakageError
from pi_cache.sampling.folds import SIDES, Fold, check_made_of
from pi_cache.sampling.samples import Ids, Numbers, Samples, coded, listed, parse_texts
from pi_cache.sampling.scales import fitted_on
from pi_cache.sampling.windows import Intervals, told_intervals

__all__ = [
    "Evidence",
    "Intervals",
    "Leak",
    "check_leakage",
    "find_leaks",
    "groupless",
    "refuse",
]

JUDGED = ("validation", "test")
"""Sides that must have nothing in common with the others."""

SHOWN = 3
"""How many leaks an error names."""

REMEDIES = {
    "groups": "divide by groups: leave_one_group_out, or groups=store.groups where folds or a"
    " validation part are drawn",
    "samples with equal bytes": "take the copies out of the data, or keep them together by giving"
    " them one group",
    "overlapping windows": "divide by recording or subject, or leave out the windows at the edge",
    "parts of a fitted scale": "test none of them: leave_one_group_out with always_train"
    " (--always-train) keeps them in every training part; or build without a fitted scale",
}


@dataclass(frozen=True, slots=True)
class Leak:
    """What two sides of a fold share. names: of the groups, or ids of the samples.

    counts: how many samples of each side are concerned.
    """

    fold: str
    kind: str
    sides: tuple[str, str]
    names: tuple[str, ...]
    counts: tuple[int, int]

    def __str__(self) -> str:
        (one, other), (n, m) = self.sides, self.counts
        return (
            f"fold {self.fold}: {one} and {other} share {len(self.names)} {self.kind}"
            f" ({listed(self.names)}), {n} and {m} samples"
        )


class Evidence(TypedDict, total=False):
    """What to look for, and where; each in place of what the samples themselves tell.

    groups: (N,) in place of the stored ones. contents: (N,) of `samples.content_digests`, to look
    for equal bytes. intervals: of windows that may overlap, in place of those that the ids name.
    fitted: (N,) bool, the samples that a scale was fitted on, in place of those that a store names.
    judged: the sides that must share nothing with the others; ("test",) allows what train and
    validation share.
    """

    groups: ArrayLike | Sequence[str] | None
    contents: NDArray[np.bytes_] | None
    intervals: Intervals | None
    fitted: NDArray[np.bool_] | None
    judged: Collection[str]


def check_leakage(
    folds: Fold | Iterable[Fold], samples: Samples, **evidence: Unpack[Evidence]
) -> tuple[str, ...]:
    """What was looked for in folds of samples: nothing was found, or it raises.

    samples: the Store, Joined or Arrays that the folds were made of; N samples. evidence: what is
    known beside them. A trainer calls this before its first batch, with nothing more.
    An empty answer means that there was nothing to look for: no groups, no ids of windows, no
    contents, no fitted scale. Samples without a group share none; `groupless` counts them. Raises
    LeakageError that names what is shared, with counts; InvalidFolds for folds of other samples,
    and for none; InvalidSpec.
    """
    checked, found = find_leaks(folds, samples, **evidence)
    refuse(found)
    return checked


def groupless(folds: Iterable[Fold], samples: Samples) -> int:
    """How many samples of these folds have no group, so that nobody can tell what they share."""
    groups = np.full(len(samples), "", object) if samples.groups is None else samples.groups
    concerned = np.zeros(len(samples), bool)
    for fold in check_made_of(folds, samples):
        for numbers in fold.sides.values():
            concerned[numbers] = True
    return int((groups[concerned] == "").sum())


def refuse(found: Sequence[Leak]) -> None:
    """Raise LeakageError where something was found: the first of it, how much more, what to do."""
    if not found:
        return
    remedies = "; ".join(REMEDIES[kind] for kind in dict.fromkeys(leak.kind for leak in found))
    more = f"; and so {len(found) - SHOWN} more times" if len(found) > SHOWN else ""
    shown = "; ".join(map(str, found[:SHOWN]))
    raise LeakageError(f"leakage: {shown}{more}; {remedies}", tuple(found))


def find_leaks(
    folds: Fold | Iterable[Fold], samples: Samples, **evidence: Unpack[Evidence]
) -> tuple[tuple[str, ...], list[Leak]]:
    """What was looked for, and all that was found; arguments as of `check_leakage`."""
    judged = evidence.get("judged", JUDGED)
    if not judged or set(judged) - set(SIDES):
        raise InvalidSpec(f"judged must name some of {', '.join(SIDES)}, got {judged!r}")
    coded_by = _shareable(samples, evidence)
    intervals = evidence.get("intervals") or told_intervals(samples)
    windows = None if intervals is None else intervals.ranked(len(samples))
    fitted = _fitted(samples, evidence)
    found: list[Leak] = []
    for fold in check_made_of([folds] if isinstance(folds, Fold) else folds, samples):
        for sides in _pairs(fold, judged):
            for kind, (names, code) in coded_by.items():
                found += _shared(fold, sides, kind, names, code, samples.ids)
            if windows is not None:
                found += _overlapping(fold, sides, *windows, samples.ids)
        if fitted is not None and "test" in judged:
            found += _tested_scale(fold, fitted, samples)
    also = {"overlapping windows": windows, "parts of a fitted scale": fitted}
    return (*coded_by, *(kind for kind, known in also.items() if known is not None)), found


def _shareable(samples: Samples, evidence: Evidence) -> dict[str, tuple[list[str], Numbers]]:
    """Names and codes (N,) of what two sides may share, by kind; of what is known only."""
    groups = evidence.get("groups")
    given = samples.groups if groups is None else parse_texts(groups, "groups")
    known = {"groups": given, "samples with equal bytes": evidence.get("contents")}
    coded_by = {
        kind: _codes(values, kind, len(samples))
        for kind, values in known.items()
        if values is not None
    }
    if "groups" in coded_by and (coded_by["groups"][1] < 0).all():
        del coded_by["groups"]  # nobody has one
    return coded_by


def _fitted(samples: Samples, evidence: Evidence) -> NDArray[np.bool_] | None:
    """Which samples (N,) a scale was fitted on, None for no such scale."""
    given = evidence.get("fitted")
    if given is None:
        return fitted_on(samples)
    mask = np.asarray(given)
    if mask.dtype != bool or mask.shape != (len(samples),):
        raise InvalidSpec(
            f"fitted must be {len(samples)} of True and False, one a sample, got {mask.dtype} of"
            f" shape {mask.shape}"
        )
    return mask


def _tested_scale(fold: Fold, fitted: NDArray[np.bool_], samples: Samples) -> Iterator[Leak]:
    """The test part that a scale was fitted on: its values are no longer unseen."""
    inside = fold.test[fitted[fold.test]]
    if len(inside):
        named = samples.ids if samples.groups is None else samples.groups
        titles = tuple(sorted(set(named[inside].tolist())))
        counts = (int(fitted.sum()), len(inside))
        yield Leak(fold.name, "parts of a fitted scale", ("scale", "test"), titles, counts)


def _codes(values: NDArray[np.generic], kind: str, count: int) -> tuple[list[str], Numbers]:
    """Distinct names and (N,) the number of each sample's; -1 for a sample without a group."""
    if len(values) != count:
        raise InvalidSpec(f"{kind}: {len(values)} were given for {count} samples")
    names, code = coded(values.tolist())
    return names, np.where(code == names.index(""), -1, code) if "" in names else code


def _pairs(fold: Fold, judged: Collection[str]) -> Iterator[tuple[str, str]]:
    for one, other in combinations(SIDES, 2):
        if {one, other} & set(judged) and len(fold.sides[one]) and len(fold.sides[other]):
            yield one, other


def _shared(
    fold: Fold, sides: tuple[str, str], kind: str, names: list[str], code: Numbers, ids: Ids
) -> Iterator[Leak]:
    one, other = (fold.sides[side] for side in sides)
    common = np.intersect1d(code[one], code[other])
    common = common[common >= 0]
    if len(common):
        inside = one[np.isin(code[one], common)], other[np.isin(code[other], common)]
        titles = [names[c] for c in common] if kind == "groups" else ids[inside[1]].tolist()
        yield Leak(fold.name, kind, sides, tuple(titles), (len(inside[0]), len(inside[1])))


def _overlapping(
    fold: Fold, sides: tuple[str, str], starts: Numbers, stops: Numbers, ids: Ids
) -> Iterator[Leak]:
    one, other = (fold.sides[side] for side in sides)
    inside = _overlapped(one, other, starts, stops), _overlapped(other, one, starts, stops)
    if len(inside[1]):
        titles = tuple(ids[inside[1]].tolist())
        counts = (len(inside[0]), len(inside[1]))
        yield Leak(fold.name, "overlapping windows", sides, titles, counts)


def _overlapped(one: Numbers, other: Numbers, starts: Numbers, stops: Numbers) -> Numbers:
    """Those of `one` whose window some window of `other` overlaps."""
    order = other[np.argsort(starts[other], kind="stable")]
    reach = np.maximum.accumulate(stops[order])  # the latest stop of a window and those before
    before = np.searchsorted(starts[order], stops[one], "left")  # windows that start in time
    return one[(before > 0) & (reach[before - 1] > starts[one])]
