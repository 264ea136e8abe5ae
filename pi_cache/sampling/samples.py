"""Who the samples are, in a store or in arrays of one's own: what joins, folds and checks go by."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pi_cache.errors import InvalidSpec
from pi_cache.rows import read_only
from pi_cache.sampling.tables import read_csv
from pi_cache.specs import Status

LISTED = 5
"""How many samples an error names."""
BLOCK = 1 << 24
"""Bytes of samples that are hashed at a time."""

Ids = NDArray[np.object_]
Numbers = NDArray[np.int64]


class Samples(Protocol):
    """What a Store, a Joined and an Arrays have in common.

    labels: -1 for none. groups, splits: "" for none. status: only OK samples are used.
    """

    def __len__(self) -> int: ...

    @property
    def ids(self) -> Ids: ...

    @property
    def labels(self) -> Numbers | None: ...

    @property
    def groups(self) -> Ids | None: ...

    @property
    def splits(self) -> Ids | None: ...

    @property
    def status(self) -> NDArray[np.uint8]: ...

    @property
    def label_names(self) -> tuple[str, ...]: ...


class Readable(Protocol):
    """What rows can be read from: a Store, a member of a join, an Arrays."""

    def __len__(self) -> int: ...

    def read(self, name: str, indices: Any) -> NDArray[Any]: ...


class Arrays:
    """Arrays of one's own, and the id of each of their rows: so they join a store by id.

    ids: (N,) unique strings. arrays: by name, each with N rows; memory-mapped ones stay on disk.
    labels, groups, splits: (N,), None when unknown. status: (N,) codes, all OK unless given.
    Raises InvalidSpec that names every array of another length, and ids that occur twice.
    """

    def __init__(
        self,
        ids: ArrayLike | Sequence[str],
        arrays: Mapping[str, ArrayLike] | None = None,
        *,
        labels: ArrayLike | None = None,
        groups: ArrayLike | Sequence[str] | None = None,
        splits: ArrayLike | Sequence[str] | None = None,
        status: ArrayLike | None = None,
        label_names: Sequence[str] = (),
    ) -> None:
        self.ids = parse_texts(ids, "ids")
        self.arrays = {name: np.asarray(array) for name, array in (arrays or {}).items()}
        self.labels = None if labels is None else _parse_labels(labels)
        self.groups = None if groups is None else parse_texts(groups, "groups")
        self.splits = None if splits is None else parse_texts(splits, "splits")
        self.status: NDArray[np.uint8] = (
            np.zeros(len(self.ids), np.uint8) if status is None else _parse_status(status)
        )
        self.label_names = tuple(label_names)
        self._check()

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        arrays = ", ".join(f"{k} {v.dtype}{list(v.shape[1:])}" for k, v in self.arrays.items())
        return f"<Arrays: {len(self)} samples, {arrays or 'ids only'}>"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the arrays."""
        return tuple(self.arrays)

    def read(self, name: str, indices: Any) -> NDArray[Any]:
        """(n, ...) a copy of some rows of an array. Raises InvalidSpec, IndexError."""
        if name not in self.arrays:
            known = ", ".join(self.arrays) or "none"
            raise InvalidSpec(f"no array {name!r} here; there are {known}")
        return np.array(self.arrays[name][indices])

    def _check(self) -> None:
        own = {name: getattr(self, name) for name in ("labels", "groups", "splits", "status")}
        rows = {
            name: array.shape[0] if array.ndim else 0
            for name, array in (own | self.arrays).items()
            if array is not None
        }
        problems = [
            f"{name} has {count} rows for {len(self)} ids"
            for name, count in rows.items()
            if count != len(self)
        ]
        if len(set(self.ids.tolist())) < len(self):
            twice = [name for name, count in Counter(self.ids.tolist()).items() if count > 1]
            problems.append(f"ids must be unique, twice or more: {listed(twice)}")
        if problems:
            raise InvalidSpec(f"Arrays: {'; '.join(problems)}; give each row an id of its own")


def read_arrays(path: Path) -> Arrays:
    """Ids alone, and what is known of them: a CSV file with a header and a column `id`.

    Columns `label` (whole numbers), `group` and `split` are read where there are such.
    Raises InvalidSpec, FileNotFoundError.
    """
    table = read_csv(path, required=("id",))
    try:
        labels = [int(label) for label in table["label"]] if "label" in table else None
    except ValueError as error:
        raise InvalidSpec(f"{path}: labels must be whole numbers: {error}") from None
    return Arrays(table["id"], labels=labels, groups=table.get("group"), splits=table.get("split"))


def parse_texts(values: ArrayLike | Sequence[str], name: str) -> Ids:
    """(N,) Python strings, read-only. Raises InvalidSpec when some are something else.

    Nor may they be what UTF-8 cannot hold, since they are hashed and stored.
    """
    array = np.asarray(values)
    texts = array.astype(object) if array.dtype.kind in "UT" else array
    wrong = texts.ndim != 1 or (texts.size and texts.dtype != object)
    if not wrong:
        wrong = not all(issubclass(kind, str) for kind in set(map(type, texts.tolist())))
    if wrong:
        raise InvalidSpec(
            f"{name} must be a list of strings, got {array.dtype} of shape {array.shape}; make"
            " strings of them with str"
        )
    _check_encodable(texts.tolist(), name)
    return read_only(texts.astype(object))


def usable(samples: Samples, among: ArrayLike | None = None) -> Numbers:
    """(n,) ascending numbers of the OK samples. among: of these only, numbers or a mask (N,)."""
    chosen = samples.status == Status.OK
    if among is not None:
        chosen &= _parse_mask(among, len(samples))
    return np.flatnonzero(chosen).astype(np.int64)


def left_out(samples: Samples, among: ArrayLike | None = None) -> dict[str, int]:
    """How many samples `usable` leaves out, by the name of their status."""
    chosen = np.ones(len(samples), bool) if among is None else _parse_mask(among, len(samples))
    return count_status(samples.status[chosen])


def count_status(status: NDArray[np.uint8]) -> dict[str, int]:
    """How many are not OK, by the name of their status."""
    codes, counts = np.unique(status[status != Status.OK], return_counts=True)
    named = zip(codes.tolist(), counts.tolist(), strict=True)
    return {_status_name(code): count for code, count in named}


def positions(wanted: Ids, among: Ids) -> Numbers:
    """(n,) where each wanted id stands in `among`, -1 for one that is not there.

    Both are sorted by hash rather than looked up in a dict: memory is read in order, which is
    three times faster for a million ids. Whatever the hashes say, ids are compared.
    """
    if np.array_equal(wanted, among):
        return np.arange(len(among))
    if not len(among) or not len(wanted):
        return np.full(len(wanted), -1)
    keys, asked = _hashes(among), _hashes(wanted)
    order, turn = np.argsort(keys), np.argsort(asked)
    found = np.searchsorted(keys[order], asked[turn])
    where = np.empty(len(asked), np.int64)
    where[turn] = order[np.minimum(found, len(keys) - 1)]
    same = (among[where] == wanted).astype(bool)
    unsure = np.flatnonzero(~same & (keys[where] == asked))
    where[~same] = -1
    if len(unsure):  # two ids of one hash
        numbers = {name: i for i, name in enumerate(among.tolist())}
        where[unsure] = [numbers.get(name, -1) for name in wanted[unsure]]
    return where


def coded(values: Iterable[Any]) -> tuple[list[Any], Numbers]:
    """The distinct values, sorted, and (n,) the number of each value among them."""
    given = list(values)
    names = sorted(set(given))
    numbers = {name: code for code, name in enumerate(names)}
    return names, np.fromiter(map(numbers.__getitem__, given), np.int64, len(given))


def ids_digest(samples: Samples) -> str:
    """SHA-256 of the ids in their order: whether numbers of samples mean the same here."""
    return hashlib.sha256(json.dumps(samples.ids.tolist()).encode()).hexdigest()


def content_digests(rows: Readable, name: str = "inputs") -> NDArray[np.bytes_]:
    """(N,) 16 bytes for each sample that are equal exactly when its stored bytes are.

    rows: a Store, a member of a join, or an Arrays; read in blocks, every byte once.
    """
    step = max(1, BLOCK // max(1, rows.read(name, [0]).nbytes)) if len(rows) else 1
    digests = [
        hashlib.blake2b(row.tobytes(), digest_size=16).digest()
        for start in range(0, len(rows), step)
        for row in rows.read(name, slice(start, start + step))
    ]
    return np.array(digests, "S16")


def listed(names: Sequence[Any] | NDArray[Any], between: str = ", ") -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return between.join(str(name) for name in names[:LISTED]) + more


def _check_encodable(texts: list[str], name: str) -> None:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        around = ascii(error.object[max(0, error.start - 20) : error.end])
        raise InvalidSpec(
            f"{name}: UTF-8 cannot hold {around}; rename the files whose names are not in UTF-8"
        ) from None


def _hashes(ids: Ids) -> Numbers:
    return np.fromiter(map(hash, ids.tolist()), np.int64, len(ids))


def _parse_labels(labels: ArrayLike) -> Numbers:
    array = np.asarray(labels)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InvalidSpec(
            f"labels must be a list of whole numbers, got {array.dtype} of shape {array.shape}"
        )
    return read_only(array.astype(np.int64))


def _parse_status(status: ArrayLike) -> NDArray[np.uint8]:
    array = np.asarray(status)
    codes = {int(code) for code in Status}
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InvalidSpec(
            f"status must be a list of codes of specs.Status, 0 for OK, got {array.dtype} of shape"
            f" {array.shape}"
        )
    if unknown := sorted(set(array.tolist()) - codes):
        raise InvalidSpec(f"status: no sample can have the codes {listed(unknown)}")
    return array.astype(np.uint8)


def _parse_mask(among: ArrayLike, count: int) -> NDArray[np.bool_]:
    chosen = np.asarray(among)
    if chosen.ndim != 1 or (chosen.dtype != bool and chosen.size and chosen.dtype.kind not in "iu"):
        raise InvalidSpec(f"among must be sample numbers or a mask, got {chosen.dtype}")
    if chosen.dtype == bool and len(chosen) != count:
        raise InvalidSpec(f"among: a mask needs {count} values, got {len(chosen)}")
    if chosen.dtype != bool and chosen.size and not 0 <= chosen.min() <= chosen.max() < count:
        raise InvalidSpec(f"among: sample numbers must lie in 0..{count - 1}")
    mask = np.zeros(count, bool)
    mask[chosen if chosen.size else []] = True
    return mask


def _status_name(code: int) -> str:
    try:
        return Status(code).name
    except ValueError:
        return f"code {code}"
