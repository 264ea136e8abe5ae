"""What a run trains on, chooses by and is tested on: stores joined by id, and divided.

A trainer is given the training and the validation side; the test side is for `evaluate` alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pi_cache.errors import InvalidSpec
from pi_cache.reader import Store
from pi_cache.sampling.draws import draw, ranks
from pi_cache.sampling.foldfiles import from_file
from pi_cache.sampling.folds import Fold, class_name, from_splits
from pi_cache.sampling.joins import Source, open_together
from pi_cache.sampling.leakage import check_leakage
from pi_cache.sampling.samples import Arrays
from training.joined import JoinedDataset
from training.unlabelled import with_validation_part

VALIDATION = 0.1
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """Which samples, and how they are divided.

    stores: keys, paths or addresses by a name of one's own, such as `pi`; the first that holds raw
    samples gives `inputs`. arrays: .npz files with `ids` and arrays of one's own, by name.
    folds, fold: a file of `pi-cache folds` and a fold of it; without, the stored splits divide.
    validation: the share of the training side that validates where the fold has no such side; 0
    for none. by_group: people, not samples, are drawn for it. seed: of these drawings, so that it
    is the same for all runs. limit: so many training samples at most, every class by its share.
    root: the cache.
    """

    stores: Mapping[str, str]
    arrays: Mapping[str, str] = field(default_factory=dict)
    folds: str | None = None
    fold: str | None = None
    validation: float = VALIDATION
    by_group: bool = False
    seed: int = SEED
    limit: int | None = None
    root: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.validation < 1:
            raise InvalidSpec(f"validation must be a share in 0..1, got {self.validation}")
        if (self.folds is None) != (self.fold is None):
            raise InvalidSpec("give both a file of folds and the name of a fold in it, or neither")
        if self.limit is not None and self.limit < 1:
            raise InvalidSpec(f"limit must be at least 1 sample, got {self.limit}")

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """The sides of a division, and the classes that a network tells apart.

    train, validation, test: None where there is no such side. class_names: of the labels that
    occur in the join, in their order. numbers: (labels of the data set,) the class of each label,
    -1 for one that does not occur. record: stores, the digests of their files, samples and their
    digests, as plain values.
    """

    train: JoinedDataset
    validation: JoinedDataset | None
    test: JoinedDataset | None
    class_names: tuple[str, ...]
    numbers: Tensor
    record: Mapping[str, Any]

    @property
    def sides(self) -> dict[str, JoinedDataset]:
        """Those that there are, by name."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: side for name, side in named.items() if side is not None}

    def prepare(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A batch as views and objectives take it, see `prepare`."""
        return prepare(batch, self.numbers)


def prepare(batch: Mapping[str, Tensor], numbers: Tensor) -> dict[str, Tensor]:
    """A batch as views take it: `inputs` floats, channels first, labels as classes; else as it is.

    numbers: the class of each label. A label -1, for none, stays -1.
    """
    made = dict(batch)
    if "inputs" in made:
        moved = made["inputs"].movedim(-1, 1).contiguous()
        made["inputs"] = moved if moved.is_floating_point() else moved.float()
    if "labels" in made:
        labels = made["labels"]
        classes = numbers.to(labels.device)[labels.clamp(min=0)]
        made["labels"] = torch.where(labels < 0, labels, classes)
    return made


def open_task(spec: DataSpec, *, labelled: bool = True) -> Task:
    """The stores of a spec, joined and divided; nothing is read but who the samples are.

    labelled: False takes samples of which none has a label, as the regression of images does.
    Raises MismatchedStores, InvalidFolds, LeakageError, InvalidSpec, StoreNotFound.
    """
    dataset = JoinedDataset(open_together(_sources(spec), root=spec.root))
    fold = _fold(spec, dataset)
    sides = dataset.sides(fold, leaks="allow")  # judged in _fold
    labels = dataset.numbers.get("labels")
    if labels is None and labelled:
        raise InvalidSpec("these stores have no labels; train a PI-Net on them, or add labels")
    labels = np.empty(0, np.int64) if labels is None else labels
    present = np.unique(labels[labels >= 0])
    numbers = torch.full((int(present.max(initial=0)) + 1,), -1, dtype=torch.int64)
    numbers[torch.from_numpy(present)] = torch.arange(len(present))
    return Task(
        train=sides["train"],
        validation=sides.get("validation"),
        test=sides.get("test"),
        class_names=tuple(class_name(dataset.joined, label) for label in present.tolist()),
        numbers=numbers,
        record=_record(spec, dataset, fold, sides),
    )


def fold_names(spec: DataSpec) -> tuple[str, ...]:
    """The folds in the file of a spec, whichever of them it names. Raises as `open_task`."""
    joined = open_together(_sources(spec), root=spec.root)
    return tuple(fold.name for fold in from_file(str(spec.folds), joined))


def _sources(spec: DataSpec) -> dict[str, Source | str | Path]:
    taken = set(spec.stores) & set(spec.arrays)
    if taken or not spec.stores:
        raise InvalidSpec(
            f"{', '.join(sorted(taken)) or 'no store'}: give each store and array a name of its own"
            ", and one store at least"
        )
    own = {name: _read_own(Path(path)) for name, path in spec.arrays.items()}
    return {**spec.stores, **own}


def _read_own(path: Path) -> Arrays:
    """Arrays of one's own in an .npz file, joined by its `ids`. Raises InvalidSpec."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except (ValueError, OSError, BadZipFile, AttributeError, TypeError) as error:  # of a .npy
        raise InvalidSpec(f"{path} is no .npz file of plain arrays ({error!s:.100})") from error
    if "ids" not in arrays:
        raise InvalidSpec(f"{path} has no array 'ids', which says whose row is whose")
    return Arrays(arrays.pop("ids").astype(str), arrays)


def _fold(spec: DataSpec, dataset: JoinedDataset) -> Fold:
    """The division that a spec asks for, found free of leaks, with its validation part."""
    joined = dataset.joined
    fold = from_splits(joined) if spec.folds is None else _named_fold(spec, dataset)
    if spec.by_group and joined.groups is None:
        raise InvalidSpec("by_group: these samples have no groups, such as people")
    check_leakage(fold, joined)  # before samples are drawn for validation from the training side
    if spec.validation and not len(fold.validation):
        fold = with_validation_part(
            fold, joined, spec.validation, seed=spec.seed, by_group=spec.by_group
        )
    return fold if spec.limit is None else _limited(fold, spec, dataset)


def _named_fold(spec: DataSpec, dataset: JoinedDataset) -> Fold:
    folds = list(from_file(str(spec.folds), dataset.joined))
    for fold in folds:
        if fold.name == spec.fold:
            return fold
    names = ", ".join(fold.name for fold in folds)
    raise InvalidSpec(f"{spec.folds} has no fold {spec.fold!r}; there are {names}")


def _limited(fold: Fold, spec: DataSpec, dataset: JoinedDataset) -> Fold:
    """The fold with fewer training samples, of every class its share; drawn by id."""
    count = len(fold.train)
    if spec.limit is None or spec.limit >= count:
        return fold
    labels = dataset.joined.labels
    labels = np.zeros(len(dataset.joined), np.int64) if labels is None else labels
    order = ranks(dataset.joined.ids[fold.train], spec.seed)
    taken: NDArray[np.bool_] = draw(labels[fold.train], order, spec.limit / count)
    if not taken.any():
        raise InvalidSpec(
            f"a limit of {spec.limit} takes none of {count} training samples, as no class gives"
            " all that it has; give a larger one"
        )
    return Fold(
        name=fold.name,
        train=fold.train[taken],
        validation=fold.validation,
        test=fold.test,
        made_of=fold.made_of,
    )


def _record(
    spec: DataSpec, dataset: JoinedDataset, fold: Fold, sides: Mapping[str, JoinedDataset]
) -> dict[str, Any]:
    members = dataset.joined.members
    opened = {n: m.source for n, m in members.items() if isinstance(m.source, Store)}
    stores = {name: store.key for name, store in opened.items()}
    digests = {
        side: hashlib.sha256(json.dumps(sorted(data.ids.tolist())).encode()).hexdigest()
        for side, data in sides.items()
    }
    return {
        "data": spec.to_dict(),
        "stores": stores,
        "files": {name: store.manifest.digest for name, store in opened.items()},
        "fold": fold.name,
        "samples": {side: len(data) for side, data in sides.items()},
        "digests": digests,
    }
