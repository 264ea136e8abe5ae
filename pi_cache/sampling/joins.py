"""Several stores read together: their samples matched by id, and never by luck.

Nothing is copied: a join holds, for each store, the row of every joined sample.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pi_cache.errors import InvalidSpec, MismatchedStores
from pi_cache.reader import Check, Store, open_store
from pi_cache.rows import read_only
from pi_cache.sampling.samples import (
    Arrays,
    Ids,
    Numbers,
    count_status,
    listed,
    parse_texts,
    positions,
)
from pi_cache.specs import SourceSpec, Status, StoreSpec, differences

NotOk = Literal["leave-out", "raise"]
Source = Store | Arrays

NONE = {"label": -1, "group": "", "split": ""}
"""What says that a sample has none."""


@dataclass(frozen=True, slots=True)
class Member:
    """One store of a join, read by positions in the join.

    rows: (n,) its row of each joined sample. left_out: its samples that are not joined, counted
    by the name of their status, or `no partner` where another store lacks them.
    """

    name: str
    source: Source
    rows: Numbers
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, name: str, where: Any) -> NDArray[Any]:
        """(n, ...) rows of an array at positions of the join: a slice, a mask or a list."""
        return self.source.read(name, self.rows[where])

    def diagrams(self, where: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Points and offsets at positions of the join; see `Store.diagrams`."""
        if isinstance(self.source, Arrays):
            raise InvalidSpec(f"{self.name} has arrays and no diagrams; read them from a store")
        return self.source.diagrams(self.rows[where])


class Joined:
    """The samples that all members hold, each OK in all of them; positions count in the join.

    ids, labels, groups and splits are those of the first member that has any. It is what folds
    are made of, as a store is.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = {member.name: member for member in members}
        first = members[0]
        self.ids: Ids = read_only(first.source.ids[first.rows])
        self.status: NDArray[np.uint8] = read_only(np.full(len(self.ids), Status.OK, np.uint8))
        self.labels: Numbers | None = self._first("labels", NONE["label"])
        self.groups: Ids | None = self._first("groups", NONE["group"])
        self.splits: Ids | None = self._first("splits", NONE["split"])

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        left = "; ".join(
            f"{name} leaves out {', '.join(f'{k} {v}' for k, v in member.left_out.items())}"
            for name, member in self.members.items()
            if member.left_out
        )
        return f"<Joined {', '.join(self.members)}: {len(self)} samples{left and f'; {left}'}>"

    def member(self, name: str) -> Member:
        """One of the stores. Raises InvalidSpec with the known names."""
        if name not in self.members:
            raise InvalidSpec(f"no store {name!r} in this join of {', '.join(self.members)}")
        return self.members[name]

    def read(self, name: str, where: Any) -> dict[str, NDArray[Any]]:
        """Rows of an array such as `images`, by each member that has it; row i is one sample."""
        holders = [m for m in self.members.values() if name in m.source.columns]
        if not holders:
            raise InvalidSpec(f"no store of this join has {name!r}; see `member(NAME).source`")
        return {member.name: member.read(name, where) for member in holders}

    @property
    def label_names(self) -> tuple[str, ...]:
        """Name of each label, empty when there are none."""
        sources = (member.source for member in self.members.values())
        return next((source.label_names for source in sources if source.label_names), ())

    @property
    def left_out(self) -> dict[str, Mapping[str, int]]:
        """By member, its samples that are not joined: counts by reason."""
        return {name: member.left_out for name, member in self.members.items()}

    @property
    def differences(self) -> dict[str, dict[str, tuple[Any, Any]]]:
        """By store, the fields of its spec that differ from the first store's: (first, its)."""
        stores = {n: m.source for n, m in self.members.items() if isinstance(m.source, Store)}
        return _told_apart(stores)

    def _first(self, name: str, none: object) -> Any:
        for member in self.members.values():
            values = getattr(member.source, name)
            if values is not None and (values[member.rows] != none).any():
                return read_only(values[member.rows])
        return None


def open_together(
    stores: Mapping[str, Source | str | Path],
    *,
    root: str | Path | None = None,
    check: Check = "first-touch",
    order: str | Sequence[str] | NDArray[Any] | None = None,
    only_common: bool = False,
    not_ok: NotOk = "leave-out",
) -> Joined:
    """Several stores matched by sample id.

    stores: by a name of your own, an open Store, a path, a key or the start of one under `root`;
    or an Arrays. check: see `open_store`. order: of the samples, that of the first store unless
    another is named, or the ids are listed.
    only_common: take the samples that all hold, rather than raise when they hold others.
    not_ok: samples that are not OK in one of them are left out of all and counted, or an error.
    Raises MismatchedStores that names the missing ids, the ids whose label, group or split
    differs, and the fields in which the specs of the stores differ; what `open_store` raises.
    """
    if not isinstance(stores, Mapping) or not stores:
        raise InvalidSpec(
            "stores must name at least one, such as {'rows': KEY, 'columns': KEY}, got"
            f" {reprlib.repr(stores)}"
        )
    if not_ok not in ("leave-out", "raise"):
        raise InvalidSpec(f"not_ok must be leave-out or raise, got {not_ok!r}")
    nested = [name for name, store in stores.items() if isinstance(store, Joined)]
    if nested:
        raise InvalidSpec(f"{listed(nested)} is a join itself; name the stores that it joins")
    sources: dict[str, Source] = {
        name: store if isinstance(store, Source) else open_store(store, root=root, check=check)
        for name, store in stores.items()
    }
    listed_order = order is not None and not isinstance(order, str)
    if isinstance(order, str):
        sources = _reordered(sources, order)
    elif order is not None:
        sources = {"order": Arrays(parse_texts(order, "order")), **sources}
        if "order" in stores:
            raise InvalidSpec("a store cannot be called order when the order is listed")
    members = _joined(sources, only_common=only_common, not_ok=not_ok)
    return Joined(members[1:] if listed_order else members)


def _reordered(sources: dict[str, Source], first: str) -> dict[str, Source]:
    if first not in sources:
        raise InvalidSpec(f"order must be one of {', '.join(sources)} or ids, got {first!r}")
    return {first: sources[first]} | sources


def _joined(sources: dict[str, Source], *, only_common: bool, not_ok: NotOk) -> list[Member]:
    ids = next(iter(sources.values())).ids
    where = {name: positions(ids, source.ids) for name, source in sources.items()}
    common = np.logical_and.reduce([found >= 0 for found in where.values()])
    rows = {name: found[common] for name, found in where.items()}
    codes = {name: source.status[rows[name]] for name, source in sources.items()}
    fine = np.logical_and.reduce([status == Status.OK for status in codes.values()])
    lacking = [] if only_common and len(fine) else _id_problems(sources, where)
    problems = [*_fact_problems(sources, rows), *_name_problems(sources)]
    if not_ok == "raise" or not fine.any():
        problems += _status_problems(ids[common], codes)
    if lacking or problems or not fine.any():
        raise _mismatch(sources, lacking, problems, len(fine))
    return [
        Member(
            name,
            source,
            read_only(rows[name][fine]),
            _left_out(len(source) - len(fine), codes[name]),
        )
        for name, source in sources.items()
    ]


def _left_out(alone: int, codes: NDArray[np.uint8]) -> dict[str, int]:
    return count_status(codes) | ({"no partner": alone} if alone else {})


def _id_problems(sources: Mapping[str, Source], where: Mapping[str, Numbers]) -> list[str]:
    """Which ids one has and the first has not, or the other way round."""
    first, *others = sources
    problems = []
    for name in others:
        ids, theirs = sources[first].ids, sources[name].ids
        missing = ids[where[name] < 0]
        extra = np.ones(len(theirs), bool)
        extra[where[name][where[name] >= 0]] = False
        for lacking, holding, names, total in (
            (name, first, missing, len(ids)),
            (first, name, theirs[extra], len(theirs)),
        ):
            if len(names):
                problems.append(
                    f"{lacking} lacks {len(names)} of the {total} samples of {holding}"
                    f" ({listed(names)})"
                )
    return problems


def _fact_problems(sources: Mapping[str, Source], rows: Mapping[str, Numbers]) -> list[str]:
    """Whose label, group or split is one here and another in a store before."""
    problems = []
    for word, none in NONE.items():
        known: NDArray[Any] | None = None
        for name, source in sources.items():
            values = getattr(source, f"{word}s")
            if values is None:
                continue
            here = values[rows[name]]
            known = here if known is None else known
            differ = (known != here) & (known != none) & (here != none)
            if differ.any():
                k = int(differ.argmax())
                problems.append(
                    f"{differ.sum()} samples have another {word} in {name} than in a store before"
                    f" it ({listed(source.ids[rows[name]][differ])}; the first has"
                    f" {here[k]} and {known[k]})"
                )
            known = np.where(known == none, here, known)
    return problems


def _name_problems(sources: Mapping[str, Source]) -> list[str]:
    """Numbers of labels mean the same only where their names are the same."""
    named = {name: s.label_names for name, s in sources.items() if s.label_names}
    first = next(iter(named), "")
    return [
        f"label names are {listed(names)} in {name} and {listed(named[first])} in {first}"
        for name, names in named.items()
        if names != named[first]
    ]


def _status_problems(ids: Ids, codes: Mapping[str, NDArray[np.uint8]]) -> list[str]:
    return [
        f"{(status != Status.OK).sum()} samples are not OK in {name}"
        f" ({', '.join(f'{k} {v}' for k, v in count_status(status).items())}:"
        f" {listed(ids[status != Status.OK])})"
        for name, status in codes.items()
        if (status != Status.OK).any()
    ]


def _mismatch(
    sources: Mapping[str, Source], lacking: Sequence[str], problems: Sequence[str], common: int
) -> MismatchedStores:
    """The error: what does not match, how the sources of the stores differ, what to do."""
    stores = {name: source for name, source in sources.items() if isinstance(source, Store)}
    apart = [
        f"{field} is {short(one)} in {next(iter(stores))} and {short(other)} in {name}"
        for name, found in _told_apart(stores).items()
        for field, (one, other) in found.items()
        if field.startswith("source.")
    ]
    found = (*lacking, *problems, *apart) or ("no sample is in all of them",)
    remedy = "build them from one source with one split, limit and options"
    if len(stores) < len(sources):
        remedy = "give rows of your own the ids that the stores have; " + remedy
    if lacking and common:
        remedy += f", or ask for only_common: the {common} samples that all of them hold"
    return MismatchedStores(
        f"{', '.join(sources)} do not match: {'; '.join(found)}; {remedy}", found
    )


def _told_apart(stores: Mapping[str, Store]) -> dict[str, dict[str, tuple[Any, Any]]]:
    first, *others = stores or ("",)
    return {name: _spec_differences(stores[first].spec, stores[name].spec) for name in others}


def _spec_differences(one: StoreSpec, other: StoreSpec) -> dict[str, tuple[Any, Any]]:
    """Fields that differ: those of the key, and how the samples were named, option by option."""
    named, theirs = _naming(one.source), _naming(other.source)
    pairs = {name: (named.get(name), theirs.get(name)) for name in [*named, *theirs]}
    return differences(one, other) | {n: pair for n, pair in pairs.items() if pair[0] != pair[1]}


def _naming(source: SourceSpec) -> dict[str, Any]:
    """How samples were named, which is no part of the key: by dotted name, options one by one."""
    named = {f.name: getattr(source, f.name) for f in fields(source) if not f.compare}
    options = named.pop("options")
    return {f"source.{name}": value for name, value in named.items()} | {
        f"source.options.{name}": value for name, value in options.items()
    }


def short(value: Any) -> str:
    """A value of a spec for people to read: digests and long ones cut."""
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else repr(value)[:80]
