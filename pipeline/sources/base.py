"""What every data source offers: samples by index, with ids, labels, groups and splits.

A source is cheap to make and to slice: it knows where each sample lies and reads it when asked. A
worker is sent a slice, opens what that needs, and reads its own samples only.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np

from pi_cache.errors import SampleError, SourceError
from pi_cache.specs import SourceSpec, Status, canonical_json

POINTS = ("cloud", "distances")
"""Samples that are one set of points, and so have one channel."""
SCALED = "scaled"
"""What stands for the unit of values that were scaled."""
PROBED = 16
"""Values of a channel that are compared first to see whether it is constant."""


class Reader(Protocol):
    """Where the samples of one source lie. Picklable; opens nothing until it is asked."""

    def read(self, position: int) -> np.ndarray:
        """The raw array of one sample, of the source's axes. Raises SampleError."""
        ...

    def read_together(self) -> np.ndarray | None:
        """All samples as one array (n, ...) where they lie together, else None."""
        ...

    def slice(self, start: int, stop: int) -> Reader:
        """A reader of these samples alone, no larger to pickle than they need."""
        ...

    def digests(self) -> Iterable[bytes]:
        """SHA-256 digests that change with any stored byte: one a sample, or one for all."""
        ...


@dataclass(frozen=True, kw_only=True)
class Source:
    """Samples, and what is known of each.

    kind: the word of the command line. sample: `image` (H, W, C), `signal` (T, C), `cloud` (P, D)
    or `distances` (P, P). shape: of one sample, None for an axis that varies. channels: their names
    (a set of points has one). dtype: of the raw arrays. maximum: integers are divided by it; None
    takes values as they are.
    units: of the channels, "" for one that is not known; () for none; SCALED for values that were
    scaled, and so have none any more.
    labels: (n,) int64, -1 for none. groups, splits: "" for none. id_form: how ids are read, where
    they say where a sample comes from.
    """

    kind: str
    location: str
    sample: str
    shape: tuple[int | None, ...]
    channels: tuple[str, ...]
    dtype: np.dtype[Any]
    maximum: float | None
    ids: Sequence[str]
    labels: np.ndarray
    reader: Reader
    label_names: tuple[str, ...] = ()
    groups: Sequence[str] = ()
    splits: Sequence[str] = ()
    citation: str = ""
    licence: str = ""
    notes: tuple[str, ...] = field(default=(), compare=False)
    split: str = ""
    limit: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    id_form: str = ""
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", np.asarray(self.labels, dtype=np.int64))
        for name in ("groups", "splits"):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, [""] * len(self.ids))
        self._check()

    def _check(self) -> None:
        where = f"{self.kind}:{self.location}"
        if not len(self.ids):
            raise SourceError(f"{where} has no samples")
        for name in ("labels", "groups", "splits"):
            if len(getattr(self, name)) != len(self.ids):
                raise SourceError(
                    f"{where} has {len(getattr(self, name))} {name} for {len(self.ids)} samples; "
                    f"give one of the {name} per sample"
                )
        if len(set(self.ids)) != len(self.ids):
            twice = [name for name, count in Counter(self.ids).items() if count > 1][:3]
            raise SourceError(f"{where} has duplicate ids, such as {twice}; ids must be unique")
        low, high = int(self.labels.min()), int(self.labels.max())
        classes = len(self.label_names)
        if low < -1 or (classes and high >= classes):
            raise SourceError(
                f"{where} has labels from {low} to {high}, expected -1 (none) or 0..."
                f"{classes - 1 if classes else ''}; number the classes from 0"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, samples: slice) -> Self:
        """The samples start..stop (a contiguous slice), as a source of their own."""
        start, stop, step = samples.indices(len(self))
        if step != 1:
            raise SourceError("a source is sliced in whole ranges, with step 1")
        return replace(
            self,
            ids=self.ids[start:stop],
            labels=self.labels[start:stop],
            groups=self.groups[start:stop],
            splits=self.splits[start:stop],
            reader=self.reader.slice(start, stop),
        )

    def part(self, split: str) -> Self:
        """The samples of one split, such as "train". Raises SourceError for an unknown one."""
        members = np.flatnonzero(np.asarray(self.splits, dtype=np.str_) == split)
        where = f"{self.kind}:{self.location}"
        if not len(members):
            known = ", ".join(dict.fromkeys(name or "none" for name in self.splits))
            raise SourceError(f"{where} has no samples in split {split!r}; its splits: {known}")
        start, stop = int(members[0]), int(members[-1]) + 1
        if stop - start != len(members):
            raise SourceError(
                f"the samples of split {split!r} do not lie together in {where};"
                " sort the samples by split, or use them all"
            )
        return self[start:stop]

    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of the samples' bytes and of all that is known of each."""
        digest = hashlib.sha256(canonical_json(self._known()))
        for part in self.reader.digests():
            digest.update(part)
        return digest.hexdigest()

    def table_digest(self) -> str:
        """SHA-256, in hexadecimal, of all that is known of each sample; reads none of them."""
        return hashlib.sha256(canonical_json(self._known())).hexdigest()

    def _known(self) -> dict[str, Any]:
        return {
            "sample": self.sample,
            "shape": list(self.shape),
            "channels": list(self.channels),
            "maximum": self.maximum,
            "ids": list(self.ids),
            "labels": self.labels.tolist(),
            "label_names": list(self.label_names),
            "groups": list(self.groups),
            "splits": list(self.splits),
        }

    def spec(self) -> SourceSpec:
        """The identity of these samples; reads every stored byte once."""
        return SourceSpec(
            kind=self.kind,
            sample=self.sample,
            samples=len(self),
            channels=len(self.channels),
            fingerprint=self.fingerprint(),
            location=self.location,
            split=self.split,
            limit=self.limit,
            options=self.options,
        )


@dataclass(frozen=True)
class Samples:
    """What was read: raw arrays, a status each, and a message for each that is not OK.

    arrays: (n, *shape) when all shapes agree (zeros where a sample could not be read), else a list.
    flat: how many channels of usable samples are constant, over all of them; a cloud has one.
    """

    arrays: np.ndarray | list[np.ndarray]
    status: np.ndarray
    problems: dict[int, str]
    flat: int = 0


def read_samples(source: Source) -> Samples:
    """Every sample of the source, checked: decodable, right shape, finite, not empty.

    A bad sample has its status and message; SourceError is raised where none can be read.
    """
    status = np.zeros(len(source), dtype=np.uint8)
    problems: dict[int, str] = {}
    arrays: np.ndarray | list[np.ndarray] | None = source.reader.read_together()
    if arrays is None:
        arrays = _read_each(source, status, problems)
    flat = _check_values(source, arrays, status, problems)
    return Samples(arrays, status, problems, flat)


def _read_each(
    source: Source, status: np.ndarray, problems: dict[int, str]
) -> np.ndarray | list[np.ndarray]:
    """One array a sample; one that cannot be used stays zeros and has its status set."""
    shape = tuple(size or 0 for size in source.shape)
    arrays: np.ndarray | list[np.ndarray]
    if None in source.shape:
        arrays = [np.zeros(shape, source.dtype)] * len(source)
    else:
        arrays = np.zeros((len(source), *shape), source.dtype)
    read = source.reader.read
    for position in range(len(source)):
        try:
            array = read(position)
            if array.shape != source.shape:
                _check_shape(array, source)
        except SampleError as error:
            status[position] = error.status
            problems[position] = str(error)
        else:
            arrays[position] = array
    return arrays


def _check_shape(array: np.ndarray, source: Source) -> None:
    expected = source.shape
    if 0 in array.shape:
        raise SampleError(Status.EMPTY, f"has shape {array.shape}, without any value")
    if len(array.shape) != len(expected) or any(
        want is not None and got != want for got, want in zip(array.shape, expected, strict=True)
    ):
        raise SampleError(
            Status.WRONG_SHAPE,
            f"has shape {array.shape}, expected {expected}; resize it or leave it out",
        )


def _check_values(
    source: Source,
    arrays: np.ndarray | list[np.ndarray],
    status: np.ndarray,
    problems: dict[int, str],
) -> int:
    """Set NAN, INF and CONSTANT (every channel is one value) where nothing else was set.

    Distances are also those of points, else WRONG_SHAPE.

    Returns the number of constant channels of the samples that stay usable.
    """
    finite, constant = _survey(arrays, cloud=source.sample in POINTS)
    if source.sample == "distances":
        _check_distances(arrays, finite, status, problems)
    flat = 0
    for position in np.flatnonzero(~finite | constant.any(axis=1)).tolist():
        if status[position]:
            continue
        if not finite[position]:
            code, message = _not_finite(np.asarray(arrays[position]))
        else:
            flat += int(constant[position].sum())
            if not constant[position].all():
                continue
            code, message = Status.CONSTANT, "every channel is constant"
        status[position] = code
        problems[position] = message
    return flat


def _check_distances(
    arrays: np.ndarray | list[np.ndarray],
    finite: np.ndarray,
    status: np.ndarray,
    problems: dict[int, str],
) -> None:
    """Set WRONG_SHAPE for what is no distance matrix: others would read it in different ways."""
    for position in np.flatnonzero(finite & (status == Status.OK)).tolist():
        matrix = np.asarray(arrays[position])  # (P, P)
        for wrong, what, remedy in (
            (matrix != matrix.T, "is not symmetric", "average it with its transpose"),
            (np.diag(np.diag(matrix)) != 0, "has a distance other than 0", "set it to 0"),
            (matrix < 0, "has a negative distance", "give distances, and no similarities"),
        ):
            if wrong.any():
                row, column = (int(k) for k in np.argwhere(wrong)[0])
                status[position] = Status.WRONG_SHAPE
                problems[position] = f"{what} at ({row}, {column}); {remedy}"
                break


def _not_finite(array: np.ndarray) -> tuple[Status, str]:
    code = Status.NAN if np.isnan(array).any() else Status.INF
    where = np.unravel_index(np.argmin(np.isfinite(array)), array.shape)
    place = tuple(int(index) for index in where)
    return code, f"has {code.name} at {place}; fill or leave out such values before"


def _survey(arrays: np.ndarray | list[np.ndarray], *, cloud: bool) -> tuple[np.ndarray, np.ndarray]:
    """Whether each sample is finite (n,), and whether each of its channels is constant (n, C)."""
    if isinstance(arrays, list):
        each = [_survey(array[None], cloud=cloud) for array in arrays]
        return np.concatenate([one for one, _ in each]), np.concatenate([one for _, one in each])
    if 0 in arrays.shape:
        channels = 1 if cloud else arrays.shape[-1]
        return np.ones(len(arrays), bool), np.ones((len(arrays), channels), bool)
    flat = arrays.reshape(len(arrays), -1, arrays.shape[-1])  # (n, L, C)
    constant = _constant(flat)
    if cloud:
        constant = np.asarray(constant.all(axis=1, keepdims=True))
    return _finite(flat), constant


def _finite(flat: np.ndarray) -> np.ndarray:
    """Whether all values of each sample (n, L, C) are finite.

    One sum a sample tells: only where it is not finite (it may have overflowed) is each value
    looked at.
    """
    finite = np.ones(len(flat), bool)
    if flat.dtype.kind != "f":
        return finite
    with np.errstate(over="ignore", invalid="ignore"):
        sums = flat.reshape(len(flat), -1).sum(axis=1)
    for position in np.flatnonzero(~np.isfinite(sums)):
        finite[position] = np.isfinite(flat[position]).all()
    return finite


def _constant(flat: np.ndarray) -> np.ndarray:
    """Whether each channel of samples (n, L, C) is one value: (n, C).

    Most channels change within a few values of their middle; only the others are read in full.
    """
    middle = flat[:, flat.shape[1] // 2 :][:, :PROBED]
    constant = (middle == middle[:, :1]).all(axis=1)
    unsure = np.flatnonzero(constant.any(axis=1))
    if len(unsure):
        taken = flat[unsure]
        constant[unsure] = (taken == taken[:, :1]).all(axis=1)
    return np.asarray(constant)
