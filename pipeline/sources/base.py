"""What every data source offers: samples by index, with ids, labels, groups and splits.

A source is cheap to make and to slice: it knows where each sample lies and reads it when asked. A
worker is sent a slice, opens what that needs, and reads its own samples only.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np

from pi_cache.errors import SampleError, SourceError
from pi_cache.specs import SourceSpec, Status, canonical_json


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

    kind: the word of the command line. sample: `image` (H, W, C), `signal` (T, C) or `cloud`
    (P, D). shape: of one sample, None for an axis that varies. channels: their names (a cloud has
    one, whatever D). dtype: of the raw arrays. maximum: integers are divided by it; None takes
    values as they are.
    labels: (n,) int64, -1 for none. groups, splits: "" for none.
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

    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of the samples' bytes and of all that is known of each."""
        digest = hashlib.sha256()
        known: dict[str, Any] = {
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
        digest.update(canonical_json(known))
        for part in self.reader.digests():
            digest.update(part)
        return digest.hexdigest()

    def spec(self) -> SourceSpec:
        """The identity of these samples; reads every stored byte once."""
        return SourceSpec(
            kind=self.kind,
            sample=self.sample,
            samples=len(self),
            channels=len(self.channels),
            fingerprint=self.fingerprint(),
            location=self.location,
        )


@dataclass(frozen=True)
class Samples:
    """What was read: raw arrays, a status each, and a message for each that is not OK.

    arrays: (n, *shape) when all shapes agree (zeros where a sample could not be read), else a list.
    """

    arrays: np.ndarray | list[np.ndarray]
    status: np.ndarray
    problems: dict[int, str]


def read_samples(source: Source) -> Samples:
    """Every sample of the source, checked: decodable, right shape, finite, not empty."""
    status = np.zeros(len(source), dtype=np.uint8)
    problems: dict[int, str] = {}
    together = source.reader.read_together()
    arrays: np.ndarray | list[np.ndarray]
    if together is not None:
        arrays = together
    else:
        arrays = _stack(source, _read_each(source, status, problems))
    _check_values(source, arrays, status, problems)
    return Samples(arrays, status, problems)


def _read_each(source: Source, status: np.ndarray, problems: dict[int, str]) -> list[np.ndarray]:
    """One array a sample; a sample that cannot be used is empty and has its status set."""
    arrays = []
    for position, name in enumerate(source.ids):
        try:
            array = source.reader.read(position)
            _check_shape(array, source)
        except SampleError as error:
            status[position] = error.status
            problems[position] = f"{name}: {error}"
            array = np.zeros(tuple(size or 0 for size in source.shape), np.uint8)
        arrays.append(array)
    return arrays


def _check_shape(array: np.ndarray, source: Source) -> None:
    if 0 in array.shape:
        raise SampleError(Status.EMPTY, f"has shape {array.shape}, without any value")
    expected = source.shape
    if len(array.shape) != len(expected) or any(
        want is not None and got != want for got, want in zip(array.shape, expected, strict=True)
    ):
        raise SampleError(
            Status.WRONG_SHAPE,
            f"has shape {array.shape}, expected {expected}; resize it or leave it out",
        )


def _stack(source: Source, arrays: list[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    if None in source.shape:
        return arrays
    kinds = {array.dtype for array in arrays}
    return np.stack(arrays, dtype=max(kinds, key=lambda kind: kind.itemsize))


def _check_values(
    source: Source,
    arrays: np.ndarray | list[np.ndarray],
    status: np.ndarray,
    problems: dict[int, str],
) -> None:
    """Set NAN, INF and CONSTANT (every channel is one value) where nothing else was set."""
    for position in _suspects(arrays):
        if status[position]:
            continue
        array = np.asarray(arrays[position])
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            code = Status.NAN if np.isnan(array).any() else Status.INF
            where = np.unravel_index(np.argmin(np.isfinite(array)), array.shape)
            place = tuple(int(i) for i in where)
            message = f"has {code.name} at {place}; fill or leave out such values before"
        else:
            code, message = Status.CONSTANT, "every channel is constant: its diagrams are empty"
        status[position] = code
        problems[position] = f"{source.ids[position]}: {message}"


def _suspects(arrays: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """Positions of samples with a non-finite value or with no change within any channel."""
    if isinstance(arrays, np.ndarray) and len(arrays):
        inner = tuple(range(1, arrays.ndim - 1))
        low, high = arrays.min(axis=inner), arrays.max(axis=inner)  # (n, C)
        changing = (low != high).any(axis=1)
        if arrays.dtype.kind == "f":
            changing &= (np.isfinite(low) & np.isfinite(high)).all(axis=1)
        return np.flatnonzero(~changing)
    return np.array([i for i, array in enumerate(arrays) if len(_suspects(array[None]))], np.int64)
