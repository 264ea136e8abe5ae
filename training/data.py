"""Images of a finished store as a torch dataset, read a batch at a time.

Shapes: C channels, P persistence rows, B birth columns (of Gramian angular fields, P and B are
both time); n samples of a batch. `sample` numbers count in the store, positions count in the
dataset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from pi_cache.errors import InvalidSpec
from pi_cache.reader import Check, Store, open_store
from pi_cache.rows import read_only
from pi_cache.specs import Status, StoreSpec
from training.parts import Part, image_part, input_part
from training.selection import (
    LISTED,
    DtypeLike,
    described,
    parse_channels,
    parse_dtypes,
    parse_samples,
    whole_number,
)
from training.widen import Scale, widen

NAMES = ("images", "inputs", "labels", "index", "ids", "groups", "splits")
"""What a sample can be delivered with."""
TEXTS = ("ids", "groups", "splits")

Transform = Callable[[Tensor], Tensor]


class PersistenceImageDataset(Dataset[Any]):
    """The OK samples of a store: (image, label), or what `names` asks for.

    store: an open Store, a path, an address, a key, or the start of a key under `root` (the cache).
    split: deliver this split only, such as `train`.
    samples: deliver these: sample numbers or ids, in this order, all of which must be OK; or a
    mask of all samples of the store, of which the OK ones are delivered.
    channels: names or numbers of the channels to deliver, in this order; None for all.
    names: some of `images`, `inputs`, `labels`, `index` (sample number), `ids`, `groups`,
    `splits`; samples are then dicts. None is (image (C, P, B), label).
    dtype: of the images, float32 unless given; `stored` widens nothing. uint8 images made float
    are divided by 255; those of Gramian angular fields are then mapped to -1..1, which they stand
    for. A mapping such as {"inputs": "float32"} speaks of images and inputs one by one. Inputs come
    as stored, raw and with the axes of `store.column("inputs")`; made float they are divided by
    their attribute `maximum`, as before the filtration.
    check: when the SHA-256 of a file is computed, see `open_store`; an open Store keeps its own.
    transform: applied to each image (C, P, B) after its dtype; gives tensors of one shape.

    Samples that are not OK are left out and counted in `left_out`, by status. Pickled, it is a
    path and settings: each process opens the store for itself.
    Raises InvalidSpec when there is nothing to deliver, or an argument names what is not there;
    StoreNotFound, UnfinishedStore, CorruptStore. Reading raises CorruptStore.
    """

    def __init__(
        self,
        store: Store | str | Path,
        *,
        root: str | Path | None = None,
        split: str | None = None,
        samples: ArrayLike | Sequence[str] | None = None,
        channels: Sequence[str | int] | None = None,
        names: Sequence[str] | None = None,
        dtype: DtypeLike | Mapping[str, DtypeLike] = None,
        check: Check = "first-touch",
        transform: Transform | None = None,
    ) -> None:
        if not isinstance(store, Store):
            store = open_store(store, root=root, check=check)
        self.store = store
        self.names = _parse_names(names, store)
        self.dtypes = parse_dtypes(dtype)
        self.transform = transform
        self._named = names is not None
        self._channels = None if channels is None else parse_channels(channels, store)
        self._split = split
        self._samples = None if samples is None else parse_samples(samples, store)
        self.left_out = self._check_selection()

    def __getstate__(self) -> dict[str, Any]:
        derived = ("index", "labels", "ids", "groups", "splits")
        return {name: value for name, value in self.__dict__.items() if name not in derived}

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        images = self.dtypes["images"] or self.store.column("images").dtype
        left = ", ".join(f"{name} {count}" for name, count in self.left_out.items())
        return (
            f"<PersistenceImageDataset {self.key[:12]}: {len(self)} of {len(self.store)} samples,"
            f" images {str(images).removeprefix('torch.')}{list(self.shape)}"
            + (f"; left out: {left}>" if left else ">")
        )

    def __getitem__(self, position: Any) -> Any:
        """One sample; for a slice or several positions what `batch` gives. Raises IndexError."""
        if isinstance(position, slice) or np.ndim(position):
            return self.batch(position)
        number = whole_number(position)
        if number is None:
            raise IndexError(f"a position must be a whole number, got {described(position)}")
        return _split_batch(self.batch([number]))[0]

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """The samples at `positions`, read together; what torch's DataLoader calls."""
        return Batch(self.batch(positions))

    def batch(self, positions: ArrayLike | slice) -> Any:
        """(images (n, C, P, B), labels (n,)), or a dict by name; ids, groups and splits are lists.

        positions: in any order and number of times, negative from the end; `dataset[:]` is all.
        Where that fits in memory, indexing it is the fastest way to train: random rows of a
        compressed store cost the decoding of the whole chunks they lie in.
        The tensors are new and own their memory. Raises IndexError, CorruptStore.
        """
        where = parse_positions(positions, len(self))
        columns = {name: self._column(name, where) for name in self.names}
        return columns if self._named else tuple(columns.values())

    def loader(
        self,
        batch_size: int | None = 128,
        *,
        shuffle: bool = False,
        workers: int = 0,
        **options: Any,
    ) -> DataLoader[Any]:
        """A DataLoader that hands on whole batches, each stacked once.

        batch_size: None hands on what `sampler` asks for, a sample or a list of them, through no
        collate but yours; a `batch_sampler` takes its place. workers: processes; 0 is fastest
        unless `transform` is slow, since a worker copies every batch. options: as DataLoader;
        `seed` gives it a generator of its own.
        """
        if options.get("batch_sampler") is not None:
            batch_size = 1  # what torch wants beside one
        if "seed" in options:
            options["generator"] = torch.Generator().manual_seed(options.pop("seed"))
        options.setdefault("persistent_workers", workers > 0)
        if batch_size is not None:
            options.setdefault("collate_fn", self.collate)
        return DataLoader(self, batch_size, shuffle=shuffle, num_workers=workers, **options)

    @staticmethod
    def collate(samples: Any) -> Any:
        """The batch of `__getitems__` as it is; other samples are stacked by torch."""
        return collate(samples)

    @property
    def key(self) -> str:
        """The key of the store."""
        return self.store.key

    @property
    def spec(self) -> StoreSpec:
        """What was computed, from what."""
        return self.store.spec

    @property
    def label_names(self) -> tuple[str, ...]:
        """Name of each label, empty when there are none."""
        return self.store.label_names

    @property
    def channels(self) -> tuple[str, ...]:
        """Name of each delivered channel."""
        names = self.store.channels
        return names if self._channels is None else tuple(names[c] for c in self._channels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, P, B) of an image before `transform`."""
        _, persistence, birth = self.store.column("images").shape
        return len(self.channels), persistence, birth

    def axis(self, name: str) -> NDArray[np.float64]:
        """Lower cell edges along `birth` or `persistence`, or `time` or `other_time`, as stored."""
        return self.store.axis(name)

    @cached_property
    def index(self) -> NDArray[np.intp]:
        """(n,) number in the store of each delivered sample, read-only like all of these."""
        chosen = self._chosen()
        index: NDArray[np.intp] = chosen[self.store.status[chosen] == Status.OK]
        return read_only(index)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(n,) label of each delivered sample."""
        return read_only(self.store.labels[self.index])

    @cached_property
    def ids(self) -> NDArray[np.object_]:
        """(n,) id of each delivered sample."""
        return read_only(self.store.ids[self.index])

    @cached_property
    def groups(self) -> NDArray[np.object_] | None:
        """(n,) group of each delivered sample, None when the store has none."""
        groups = self.store.groups
        return None if groups is None else read_only(groups[self.index])

    @cached_property
    def splits(self) -> NDArray[np.object_] | None:
        """(n,) split of each delivered sample, None when the store has none."""
        splits = self.store.splits
        return None if splits is None else read_only(splits[self.index])

    @property
    def parts(self) -> dict[str, Part]:
        """The arrays of `names`, as holders and loaders read them.

        Raises InvalidSpec where `names` has texts, which no tensor holds, or there is a transform.
        """
        if texts := [name for name in self.names if name in TEXTS]:
            raise InvalidSpec(
                f"{', '.join(texts)}: texts, which no tensor holds; name index, and find them by"
                f" it, such as store.{texts[0]}[batch['index']]"
            )
        if self.transform is not None:
            raise InvalidSpec(
                "a transform of single images is for torch's DataLoader; give Loader a transform"
                " of whole batches instead"
            )
        channels = None if self._channels is None else tuple(self._channels)
        made = {
            "images": lambda: image_part(self.store, self.index, channels),
            "inputs": lambda: input_part(self.store, self.index),
        }
        return {name: made[name]() for name in self.names if name in made}

    @property
    def numbers(self) -> dict[str, NDArray[np.int64]]:
        """The labels and the index of each sample, where `names` has them."""
        known = {"labels": self.labels, "index": self.index.astype(np.int64)}
        return {name: known[name] for name in self.names if name in known}

    def _chosen(self) -> NDArray[np.intp]:
        """Sample numbers before those that are not OK are left out."""
        if self._samples is not None:
            return np.flatnonzero(self._samples) if self._is_mask else self._samples
        if self._split is None:
            return np.arange(len(self.store))
        splits = self.store.splits
        known = [] if splits is None else sorted(set(splits.tolist()))
        if splits is None or self._split not in known:
            raise InvalidSpec(
                f"split {self._split!r} is not in store {self.key[:12]}, which has"
                f" {', '.join(known) or 'no splits'}; choose one, or give samples"
            )
        return np.flatnonzero(splits == self._split)

    @property
    def _is_mask(self) -> bool:
        return self._samples is not None and self._samples.dtype == bool

    def _check_selection(self) -> dict[str, int]:
        """How many chosen samples are left out, by status. Raises InvalidSpec."""
        if self._split is not None and self._samples is not None:
            raise InvalidSpec("split and samples were both given; give one of them")
        chosen = self._chosen()
        codes = self.store.status[chosen]
        left = Counter(_status_name(code) for code in codes[codes != Status.OK].tolist())
        if left and self._samples is not None and not self._is_mask:
            raise InvalidSpec(self._explain(chosen[codes != Status.OK]))
        if sum(left.values()) == len(chosen):
            found = ", ".join(f"{name} {count}" for name, count in sorted(left.items()))
            raise InvalidSpec(
                f"nothing to deliver from store {self.key[:12]}: of {len(chosen)} chosen samples"
                f" none is OK ({found or 'none was chosen'}); see `pi-cache show {self.key[:12]}`"
            )
        return dict(sorted(left.items()))

    def _explain(self, bad: NDArray[np.intp]) -> str:
        ids, status = self.store.ids, self.store.status
        named = [f"{ids[i]} (sample {i}) is {_status_name(status[i])}" for i in bad[:LISTED]]
        more = f" and {len(bad) - LISTED} more" if len(bad) > LISTED else ""
        return (
            f"samples: {', '.join(named)}{more}; only OK samples can be delivered: take these out,"
            " or give a mask, whose other samples are left out"
        )

    def _column(self, name: str, where: NDArray[np.intp]) -> Any:
        if name in TEXTS:
            return getattr(self, name)[where].tolist()
        if name == "labels":
            return torch.from_numpy(self.labels[where])
        if name == "index":
            return torch.from_numpy(self.index[where])
        rows = self.store.take(name, self.index[where])
        if name == "inputs":
            return widen(torch.from_numpy(rows), self.dtypes["inputs"], self._scale("inputs"))
        if self._channels is not None:
            rows = np.take(rows, self._channels, axis=1)
        images = widen(torch.from_numpy(rows), self.dtypes["images"], self._scale("images"))
        if self.transform is None or not len(images):
            return images
        return torch.stack([self.transform(image) for image in images])  # (n, C, P, B)

    def _scale(self, name: str) -> Scale:
        """What the stored numbers of images or inputs stand for."""
        return (image_part if name == "images" else input_part)(self.store, self.index).scale


def collate(samples: Any) -> Any:
    """The batch of `__getitems__` as it is; other samples are stacked by torch."""
    if isinstance(samples, Batch):
        return samples.whole
    stacked = default_collate(samples)
    return tuple(stacked) if isinstance(stacked, list) else stacked


class Batch(Sequence[Any]):
    """Samples that were read together: a sequence of them, `whole` the stacked tensors.

    The samples are views, made when the first one is asked for.
    """

    def __init__(self, whole: Any) -> None:
        self.whole = whole

    def pin_memory(self) -> Batch:
        """The same samples, their tensors in pinned memory; what a pinning DataLoader calls."""
        if isinstance(self.whole, dict):
            return Batch({name: _pinned(column) for name, column in self.whole.items()})
        return Batch(tuple(_pinned(column) for column in self.whole))

    def __len__(self) -> int:
        columns = self.whole.values() if isinstance(self.whole, dict) else self.whole
        return len(next(iter(columns)))

    def __getitem__(self, position: Any) -> Any:
        return self._samples[position]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._samples)

    @cached_property
    def _samples(self) -> list[Any]:
        return _split_batch(self.whole)


def _split_batch(whole: Any) -> list[Any]:
    """Each sample of a batch: a tuple or a dict of views, numbers and strings."""
    if isinstance(whole, dict):
        return [dict(zip(whole, row, strict=True)) for row in _rows(whole.values())]
    return list(_rows(whole))


def _rows(columns: Any) -> Iterator[tuple[Any, ...]]:
    """One tuple a sample; (n,) tensors become Python numbers."""
    return zip(*(_parts(column) for column in columns), strict=True)


def _parts(column: Any) -> Sequence[Any]:
    if isinstance(column, list):
        return column
    parts: Sequence[Any] = column.unbind() if column.ndim > 1 else column.tolist()
    return parts


def _pinned(column: Any) -> Any:
    return column.pin_memory() if isinstance(column, Tensor) else column


def _parse_names(names: Sequence[str] | None, store: Store) -> tuple[str, ...]:
    if names is None:
        return ("images", "labels")
    there = {name: getattr(store, name) is not None for name in ("groups", "splits")}
    there["inputs"] = "inputs" in store.columns
    known = [name for name in NAMES if there.get(name, True)]
    wrong = [repr(name) for name in names if name not in known]
    if isinstance(names, str) or wrong or not names:
        raise InvalidSpec(
            f"names must be a list of some of {', '.join(known)} in this store, got"
            f" {', '.join(wrong) or repr(names)}"
        )
    return tuple(dict.fromkeys(names))


def parse_positions(positions: ArrayLike | slice, count: int) -> NDArray[np.intp]:
    """(n,) positions from 0 in a dataset of `count` samples. Raises IndexError."""
    if isinstance(positions, slice):
        return np.arange(count)[positions]
    where = np.asarray(positions)
    if where.ndim != 1 or (where.size and where.dtype.kind not in "iu"):
        raise IndexError(
            f"positions must be a list of whole numbers, got {where.dtype} of shape {where.shape}"
        )
    low, high = (int(where.min()), int(where.max())) if where.size else (0, 0)
    if low < -count or high >= count:
        outside = where[(where < -count) | (where >= count)]
        raise IndexError(f"position {outside[0]} is not in a dataset of {count} samples")
    where = where.astype(np.intp)
    return where if low >= 0 else np.where(where < 0, where + count, where)


def _status_name(code: int) -> str:
    try:
        return Status(code).name
    except ValueError:
        return f"code {code}"
