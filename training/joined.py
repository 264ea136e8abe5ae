"""Several stores as one dataset: signals or photographs, images, labels and groups of each sample.

Samples are matched by id, see `pi_cache.sampling.joins`; positions count in the join.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pi_cache.errors import InvalidSpec
from pi_cache.reader import Check
from pi_cache.sampling.folds import Fold, check_made_of
from pi_cache.sampling.joins import Joined, NotOk, Source, open_together
from pi_cache.sampling.leakage import check_leakage
from pi_cache.sampling.samples import Arrays, coded, usable
from training.data import Batch, collate, parse_positions
from training.parts import Part, Rows, image_part, input_part
from training.selection import DtypeLike, parse_dtype, whole_number
from training.widen import widen

NUMBERS = ("labels", "groups", "index")
"""Names of what is known of each sample beside its arrays."""


class JoinedDataset(Dataset[Any]):
    """The samples that all stores hold, each a dict of tensors.

        JoinedDataset({"rows": KEY, "columns": KEY, "signals": Arrays(ids, {"windows": signals})})

    stores: by a name of your own, as for `open_together`, or a Joined, which says all of the rest.
    A sample has, by that name, the images of each store, and the array of each Arrays
    (`name.array` where it has several); `inputs`, of the first store that holds them; `labels`,
    `groups` and `index` (position in the join) as int64: a group is its place in `group_names`, -1
    for none. names: deliver some of these only.
    dtype: of what stands for real numbers, float32 unless given; `stored` widens nothing. Inputs
    and arrays of whole numbers without a `maximum` come as stored.
    root, check, order, only_common, not_ok: see `open_together`.

    Pickled, its stores are paths, and each process opens them for itself.
    Raises MismatchedStores, InvalidSpec, StoreNotFound, UnfinishedStore, CorruptStore. Reading
    raises CorruptStore.
    """

    def __init__(
        self,
        stores: Mapping[str, Source | str | Path] | Joined,
        *,
        names: Sequence[str] | None = None,
        dtype: DtypeLike = "float32",
        root: str | Path | None = None,
        check: Check = "first-touch",
        order: str | Sequence[str] | NDArray[Any] | None = None,
        only_common: bool = False,
        not_ok: NotOk = "leave-out",
    ) -> None:
        if isinstance(stores, Joined):
            _check_untold(root=root, order=order, only_common=only_common or None)
            self.joined = stores
        else:
            self.joined = open_together(
                stores, root=root, check=check, order=order, only_common=only_common, not_ok=not_ok
            )
        self.dtype = parse_dtype(dtype)
        self.index: NDArray[np.int64] = usable(self.joined)
        self._all = _parts(self.joined)
        self._known = _numbers(self.joined)
        self.names = _parse_names(names, (*self._all, *self._known))
        _check_types(self.parts)

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        shapes = ", ".join(f"{n} {p.dtype}{list(p.shape)}" for n, p in self.parts.items())
        return f"<JoinedDataset: {len(self)} of {len(self.joined)} samples, {shapes}>"

    def __getitem__(self, position: Any) -> dict[str, Any]:
        """One sample; for a slice or several positions what `batch` gives. Raises IndexError."""
        if isinstance(position, slice) or np.ndim(position):
            return self.batch(position)
        number = whole_number(position)
        if number is None:
            raise IndexError(f"a position must be a whole number, got {position!r:.50}")
        sample: dict[str, Any] = Batch(self.batch([number]))[0]
        return sample

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """The samples at `positions`, read together; what torch's DataLoader calls."""
        return Batch(self.batch(positions))

    def batch(self, positions: ArrayLike | slice) -> dict[str, Tensor]:
        """New tensors (n, ...) by name, of positions in any order and number of times.

        Raises IndexError, CorruptStore.
        """
        where = parse_positions(positions, len(self))
        rows = self.index[where]
        found = {}
        for name in self.names:
            if name in self._known:
                found[name] = torch.from_numpy(self._known[name][rows])
            else:
                part = self._all[name]
                dtype = self.dtype if part.is_real else None
                found[name] = widen(torch.from_numpy(part.take(rows)), dtype, part.scale)
        return found

    collate = staticmethod(collate)

    @property
    def parts(self) -> dict[str, Part]:
        """The arrays of `names`, as holders and loaders read them."""
        return {
            name: _at(part, self.index) for name, part in self._all.items() if name in self.names
        }

    @property
    def numbers(self) -> dict[str, NDArray[np.int64]]:
        """(n,) labels, groups and index of each sample, those of `names`."""
        return {n: v[self.index] for n, v in self._known.items() if n in self.names}

    @property
    def dtypes(self) -> dict[str, torch.dtype | None]:
        """In which type each part is delivered, None for as stored."""
        return {n: self.dtype if part.is_real else None for n, part in self.parts.items()}

    @property
    def label_names(self) -> tuple[str, ...]:
        """Name of each label, empty when there are none."""
        return self.joined.label_names

    @property
    def group_names(self) -> tuple[str, ...]:
        """Name of each group, such as a subject; empty when there are none."""
        return _group_names(self.joined)

    @property
    def ids(self) -> NDArray[np.object_]:
        """(n,) id of each sample."""
        return self.joined.ids[self.index]

    def view(self, samples: ArrayLike) -> JoinedDataset:
        """Some of these samples: positions in the join, in this order, or a mask of it.

        Nothing is read or copied. Raises InvalidSpec.
        """
        given = np.asarray(samples)
        if given.dtype == bool:
            given = usable(self.joined, given)
        outside = given.ndim != 1 or (given.size and given.dtype.kind not in "iu")
        if outside or (given.size and not 0 <= given.min() <= given.max() < len(self.joined)):
            raise InvalidSpec(
                f"samples must be positions in 0..{len(self.joined) - 1} of the join or a mask, got"
                f" {given.dtype} of shape {given.shape}"
            )
        seen = object.__new__(JoinedDataset)
        seen.__dict__.update(self.__dict__)
        seen.index = given.astype(np.int64)
        return seen

    def only(self, names: Sequence[str]) -> JoinedDataset:
        """The same samples with some of `names` alone. Raises InvalidSpec for others."""
        seen = object.__new__(JoinedDataset)
        seen.__dict__.update(self.__dict__)
        seen.names = _parse_names(names, self.names)
        return seen

    def split(self, name: str) -> JoinedDataset:
        """The samples of a stored split, such as `train`. Raises InvalidSpec."""
        splits = self.joined.splits
        known = [] if splits is None else sorted(set(splits.tolist()) - {""})
        if splits is None or name not in known:
            raise InvalidSpec(
                f"no split {name!r} in this join, which has {', '.join(known) or 'no splits'}"
            )
        return self.view(self.index[splits[self.index] == name])

    def sides(self, fold: Fold, *, leaks: str = "refuse") -> dict[str, JoinedDataset]:
        """The train, validation and test samples of a fold, without those sides that have none.

        leaks: groups that lie on two sides are refused, unless this is `allow`.
        Raises LeakageError that names them; InvalidFolds for a fold of other samples.
        """
        if leaks not in ("refuse", "allow"):
            raise InvalidSpec(f"leaks must be refuse or allow, got {leaks!r}")
        (fold,) = check_made_of([fold], self.joined)
        if leaks == "refuse":
            check_leakage(fold, self.joined)
        return {side: self.view(numbers) for side, numbers in fold.sides.items() if len(numbers)}


def _parts(joined: Joined) -> dict[str, Part]:
    """Every array that can be delivered, by its name, of all samples of the join."""
    found: dict[str, Part] = {}
    inputs: dict[str, Part] = {}
    taken: list[str] = []
    for name, member in joined.members.items():
        rows = member.rows.astype(np.intp)
        if isinstance(member.source, Arrays):
            own = _own(name, rows, member.source)
        else:
            own = {name: image_part(member.source, rows)}
            if "inputs" in member.source.columns and not inputs:
                inputs["inputs"] = input_part(member.source, rows)
        taken += [name for name in own if name in found]
        found |= own
    taken += [name for name in found if name in (*NUMBERS, *inputs)]
    if taken:
        raise InvalidSpec(
            f"{', '.join(taken)} cannot be the name of a store here: a sample has something else of"
            " that name; name it otherwise"
        )
    return found | inputs


def _own(name: str, rows: Rows, source: Arrays) -> dict[str, Part]:
    several = len(source.arrays) > 1
    return {
        f"{name}.{array}" if several else name: Part(source, array, rows) for array in source.arrays
    }


def _check_types(parts: Mapping[str, Part]) -> None:
    """Raise InvalidSpec that names every array which torch has no type for."""
    wrong = []
    for name, part in parts.items():
        try:
            torch.from_numpy(np.empty(0, part.dtype))
        except (TypeError, ValueError):  # texts and objects; another byte order
            wrong.append(f"{name} is {part.dtype}")
    if wrong:
        raise InvalidSpec(
            f"{', '.join(wrong)}, which no tensor holds; give numbers in this machine's byte order,"
            " such as array.astype('float32'), or leave it out of names"
        )


def _check_untold(**told: object) -> None:
    """Raise InvalidSpec where a join that is made already is told how to be made."""
    names = [name for name, value in told.items() if value is not None]
    if names:
        raise InvalidSpec(
            f"{', '.join(names)} cannot be said of a join that is made already; say it to"
            " open_together, which made it"
        )


def _numbers(joined: Joined) -> dict[str, NDArray[np.int64]]:
    """(N,) what is known of each sample of the join, by name."""
    known = {"index": np.arange(len(joined))}
    if joined.labels is not None:
        known["labels"] = joined.labels
    if joined.groups is not None:
        place = {name: number for number, name in enumerate(_group_names(joined))}
        known["groups"] = np.array([place.get(group, -1) for group in joined.groups.tolist()])
    return {name: known[name].astype(np.int64) for name in NUMBERS if name in known}


def _group_names(joined: Joined) -> tuple[str, ...]:
    names = [] if joined.groups is None else coded(joined.groups)[0]
    return tuple(name for name in names if name)


def _at(part: Part, positions: Rows) -> Part:
    return Part(part.source, part.array, part.rows[positions], part.channels, part.scale)


def _parse_names(names: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    if names is None:
        return tuple(known)
    wrong = [repr(name) for name in names if name not in known]
    if isinstance(names, str) or wrong or not names:
        raise InvalidSpec(
            f"names must be a list of some of {', '.join(known)}, got"
            f" {', '.join(wrong) or repr(names)}"
        )
    return tuple(dict.fromkeys(names))
