"""Mean and standard deviation of each channel, of the training samples only; kept and named.

Both are of the values that a batch delivers, not of the bytes that uint8 images are stored as. They
are computed from the mean and the sum of squares of every sample, which for uint8 come from whole
sums and are exact; these are added without rounding (`math.fsum`), so the result depends neither
on the order of the samples nor on how they are read.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pi_cache import files
from pi_cache.errors import AlreadyPublished, InvalidSpec, MismatchedStores, UnsupportedFormat
from pi_cache.reader import Store
from training.parts import image_part, input_part
from training.selection import parse_channels, parse_usable, whole_number
from training.widen import Scale, widen

FORMAT = 1
BLOCK = 1 << 25
"""Bytes of samples, as float64, that are looked at together."""
KINDS = ("values", "windows")
EPSILON = float(np.finfo(np.float64).eps)
ZEROS = {"one": 1.0, "epsilon": EPSILON}
"""What stands for a deviation of 0: 1 leaves such a channel at 0; 2.2e-16 is what TDA_KD does, and
makes about 1e15 of any other value in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Mean and deviation (C,) of each channel, and of which samples.

    kind: `values`, the deviation of all values of a channel; or `windows`, the mean of the
    deviations that each sample has, as the PAMAP2 recipe of TDA_KD divides its signals and images.
    Deviations are of the whole population (divided by n). array: `images` or `inputs`. axis: of the
    channels in a sample, None where there are none. maximum, low: a stored number stands for
    number / maximum + low, see `widen.Scale`. zero: what stands for a deviation of 0, `one` or
    `epsilon`. samples, split: how many samples, and the digest of their ids. store: the key.
    channels: the numbers of those in the store, None where all are there.
    """

    kind: str
    array: str
    axis: int | None
    maximum: float | None
    low: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    zero: str
    samples: int
    split: str
    store: str
    channels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        if self.channels is not None:
            object.__setattr__(self, "channels", tuple(self.channels))
        problems = [
            *_wrong("kind", self.kind, KINDS),
            *_wrong("array", self.array, ("images", "inputs")),
            *_wrong("zero", self.zero, tuple(ZEROS)),
        ]
        if len(self.mean) != len(self.std) or not self.mean:
            problems.append(f"{len(self.mean)} means and {len(self.std)} deviations")
        if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std, default=0) < 0:
            problems.append("means and deviations must be finite, and no deviation negative")
        if problems:
            raise InvalidSpec(f"Statistics: {'; '.join(problems)}")

    def __call__(self, batch: Tensor) -> Tensor:
        """The batch (n, ...) with its channels at mean 0 and deviation 1, in its floating type.

        A batch of whole numbers is what is stored: it is widened to float32 first. Raises
        InvalidSpec where it has another number of channels.
        """
        if not batch.is_floating_point():
            batch = widen(batch, torch.float32, Scale(self.maximum, self.low))
        mean, std = (self._along(values, batch) for values in (self.mean, self._divisors))
        return (batch - mean) / std

    def undo(self, batch: Tensor) -> Tensor:
        """The delivered values of a batch that was normalised."""
        mean, std = (self._along(values, batch) for values in (self.mean, self._divisors))
        return batch * std + mean

    def check(self, store: Store, samples: ArrayLike | Sequence[str]) -> None:
        """Raise MismatchedStores unless these are the samples that it was fitted on."""
        numbers = parse_training(samples, store)
        problems = []
        if store.key != self.store:
            problems.append(f"they are of store {self.store[:12]}, this is {store.key[:12]}")
        if split_digest(store, numbers) != self.split:
            problems.append(
                f"they were fitted on {self.samples:,} samples of split {self.split[:12]}, these"
                f" are {len(numbers):,} of split {split_digest(store, numbers)[:12]}"
            )
        if problems:
            raise MismatchedStores(
                f"statistics of other data: {'; '.join(problems)}; fit them on the training part"
                " of this fold, under a name of their own",
                tuple(problems),
            )

    @property
    def _divisors(self) -> tuple[float, ...]:
        return tuple(value or ZEROS[self.zero] for value in self.std)

    def _along(self, values: tuple[float, ...], batch: Tensor) -> Tensor:
        """The values along the channels of a batch."""
        axis = 0 if self.axis is None else self.axis + 1
        if self.axis is not None and (batch.ndim <= axis or batch.shape[axis] != len(values)):
            raise InvalidSpec(
                f"statistics of {len(values)} channels along axis {axis}, got a batch of shape"
                f" {tuple(batch.shape)}; fit them for the channels that are delivered"
            )
        shape = [1] * batch.ndim
        shape[axis] = len(values)
        return torch.tensor(values, dtype=batch.dtype, device=batch.device).view(shape)


def fit(
    store: Store,
    samples: ArrayLike | Sequence[str],
    *,
    kind: str = "values",
    array: str = "images",
    channels: Sequence[str | int] | None = None,
    zero: str = "one",
) -> Statistics:
    """The statistics of some samples, such as `fold.train`; each is read once.

    samples: numbers or ids, or a mask; all must be OK. channels: numbers, of images names too;
    None for all. Raises InvalidSpec, CorruptStore.
    """
    if kind not in KINDS or array not in ("images", *set(store.columns) & {"inputs"}):
        raise InvalidSpec(
            f"statistics are of {' or '.join(KINDS)}, of images or of stored inputs; got"
            f" {kind!r} of {array!r}"
        )
    numbers = np.sort(parse_training(samples, store))
    axis, scale = _layout(store, array)
    chosen = _parse_chosen(channels, store, array, axis)
    means, squares, size = _moments(store, numbers, array, axis, chosen)
    divisor = scale.maximum or 1.0
    mean = np.array([math.fsum(column) for column in means.T]) / len(numbers)
    mean = _between(mean, means, 0)
    if kind == "windows":
        own = np.sqrt(squares / size)
        std = np.array([math.fsum(column) for column in own.T]) / len(numbers)
    else:
        between = size * (means - mean) ** 2
        total = [math.fsum(column) for column in np.concatenate([squares, between]).T]
        std = np.sqrt(np.array(total) / (size * len(numbers)))
    return Statistics(
        kind=kind,
        array=array,
        axis=axis,
        maximum=scale.maximum,
        low=scale.low,
        mean=tuple(mean / divisor + scale.low),
        std=tuple(std / divisor),
        zero=zero,
        samples=len(numbers),
        split=split_digest(store, numbers),
        store=store.key,
        channels=chosen,
    )


def fit_or_read(
    path: Path, name: str, store: Store, samples: ArrayLike | Sequence[str], **how: Any
) -> Statistics:
    """The statistics of that name in a file, or new ones, for which the file is written.

    how: of `fit`. Raises MismatchedStores where those in the file are of other samples or of
    another store, or were fitted in another way.
    """
    asked = inspect.signature(fit).bind(store, samples, **how)
    if not files.exists(path):
        write_statistics(path, {name: fit(*asked.args, **asked.kwargs)})
    found = read_statistics(path, name)
    found.check(store, samples)
    asked.apply_defaults()
    _check_how(found, store, asked.kwargs)
    return found


def _check_how(found: Statistics, store: Store, asked: dict[str, Any]) -> None:
    """Raise MismatchedStores unless statistics are what `fit` makes with these options."""
    if asked["array"] == found.array:
        chosen = _parse_chosen(asked["channels"], store, found.array, found.axis)
        asked = {**asked, "channels": chosen}
    problems = [
        f"{name} {getattr(found, name)!r} there, {value!r} asked for"
        for name, value in asked.items()
        if getattr(found, name) != value
    ]
    if problems:
        raise MismatchedStores(
            f"statistics fitted in another way: {'; '.join(problems)}; choose another file",
            tuple(problems),
        )


def write_statistics(path: Path, named: Mapping[str, Statistics]) -> None:
    """Write statistics by name, as JSON. Raises AlreadyPublished where the file says otherwise."""
    content = {name: asdict(one) for name, one in named.items()}
    document = {"format_version": FORMAT, "statistics": content}
    data = json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"
    place = path.absolute()
    try:
        files.publish(place, data, temporary=place.parent)
    except AlreadyPublished as error:
        raise AlreadyPublished(
            f"{place}: holds other statistics, and is not written over; choose another file",
            (place,),
        ) from error


def read_statistics(path: Path, name: str) -> Statistics:
    """The statistics of that name in a file.

    Raises FileNotFoundError, UnsupportedFormat for another format version, InvalidSpec for a name
    that is not there or a file that holds something else.
    """
    try:
        document = json.loads(files.read_bytes(path))
        version, named = document["format_version"], document["statistics"]
        if version != FORMAT:
            raise UnsupportedFormat(
                f"{path}: format {version!r} of statistics, this release reads {FORMAT}"
            )
        if name not in named:
            raise InvalidSpec(f"{path}: no statistics {name!r}; there are {', '.join(named)}")
        known = {f.name for f in fields(Statistics)}
        return Statistics(**{key: value for key, value in named[name].items() if key in known})
    except (UnsupportedFormat, InvalidSpec):
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidSpec(f"{path}: holds no statistics ({error!r:.200}); fit them anew") from None


def split_digest(store: Store, numbers: NDArray[Any]) -> str:
    """SHA-256 of the ids of some samples, in any order."""
    ids = sorted(store.ids[numbers].tolist())
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()


def parse_training(samples: ArrayLike | Sequence[str], store: Store) -> NDArray[np.int64]:
    """Sample numbers (n,), ascending and each once. Raises InvalidSpec as `parse_usable`."""
    return np.unique(parse_usable(samples, store))


def _layout(store: Store, array: str) -> tuple[int | None, Scale]:
    """The axis of channels in a sample, and what stored numbers stand for."""
    dimensions = store.column(array).dimensions
    axis = dimensions.index("channel") if "channel" in dimensions else None
    rows = np.empty(0, np.intp)
    part = image_part(store, rows) if array == "images" else input_part(store, rows)
    return axis, part.scale


def _parse_chosen(
    channels: Sequence[str | int] | None, store: Store, array: str, axis: int | None
) -> tuple[int, ...] | None:
    """Numbers of channels of an array, None for all. Raises InvalidSpec for one that is not."""
    if channels is None:
        return None
    if array == "images":
        return tuple(parse_channels(channels, store))
    count = 1 if axis is None else store.column(array).shape[axis]
    numbers = [whole_number(channel) for channel in channels]
    chosen = tuple(number for number in numbers if number is not None and 0 <= number < count)
    if not chosen or len(chosen) < len(numbers):
        raise InvalidSpec(f"channels of {array} are some of 0..{count - 1}, got {channels!r:.80}")
    return chosen


def _moments(
    store: Store,
    numbers: NDArray[np.int64],
    array: str,
    axis: int | None,
    channels: tuple[int, ...] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Mean and sum of squared deviations (n, C) of each sample, and values (m) of a channel."""
    shape = store.column(array).shape
    step = max(1, BLOCK // (8 * math.prod(shape)))
    parts, size = [], 0
    for start in range(0, len(numbers), step):
        rows = store.read(array, numbers[start : start + step])
        rows = rows[:, None] if axis is None else np.moveaxis(rows, axis + 1, 1)
        if channels is not None:
            rows = rows[:, list(channels)]
        rows = rows.reshape(*rows.shape[:2], -1)  # (n, C, m)
        size = rows.shape[2]
        parts.append(_of_bytes(rows) if rows.dtype.itemsize == 1 else _of_floats(rows))
    means, squares = (np.concatenate(column) for column in zip(*parts, strict=True))
    return means, squares, size


def _of_bytes(rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """From whole sums, which are exact: their products are Python's integers, of any size."""
    wide, size = rows.astype(np.int64), rows.shape[2]
    sums, squares = wide.sum(2).astype(object), (wide * wide).sum(2).astype(object)
    means, deviations = sums / size, (size * squares - sums * sums) / size
    return means.astype(np.float64), deviations.astype(np.float64)


def _of_floats(rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    wide = rows.astype(np.float64)
    means = _between(wide.mean(2), wide, 2)
    wide -= means[:, :, None]
    return means, np.square(wide, out=wide).sum(2)


def _between(means: NDArray[Any], values: NDArray[Any], axis: int) -> NDArray[np.float64]:
    """Means that lie between the extremes of their values, as rounding may not have it.

    So a constant channel has its constant as mean, and the deviation 0 and not 1e-17.
    """
    found: NDArray[np.float64] = np.clip(means, values.min(axis), values.max(axis))
    return found


def _wrong(name: str, value: str, choices: tuple[str, ...]) -> list[str]:
    return [] if value in choices else [f"{name} must be one of {', '.join(choices)}: {value!r}"]
