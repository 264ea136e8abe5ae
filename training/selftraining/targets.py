"""What a student learns of each sample: its label, or what a teacher said of it.

A transform of batches writes it as shares of classes, by `batch["index"]`. The labels themselves
are taken out of the batch, so that a hidden one cannot be learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from pi_cache.errors import InvalidSpec
from pi_cache.sampling.samples import listed
from training.joined import JoinedDataset
from training.parts import Part
from training.selftraining.pseudo import Pseudo
from training.tasks import prepare

Batch = dict[str, Tensor]
NO_NUMBERS = torch.empty(0, dtype=torch.int64)


class Targets:
    """A transform: batches with `targets` (n, K) of each sample, and without `labels`.

    table: (N, K) float32 by position in the join, see `target_table`; NaN for samples that are not
    learned. before: what augments inputs, as AugmentedBatches does, and leaves classes as they are.
    prepared: says that it takes batches as they are stored.
    Raises InvalidSpec where samples are mixed: their targets would have to be mixed with them.
    """

    prepared = True

    def __init__(self, table: Tensor, before: Callable[[Batch], Batch] | None = None) -> None:
        self.table, self.before = table, before
        if _mixes(before):
            raise InvalidSpec(
                "augmentations that mix samples do not go with pseudo-labels here: leave out mixup"
                " and the like, or train on labels alone"
            )

    def __getattr__(self, name: str) -> Any:
        """What the augmentation has: what its state is, whether it is made for a dataset."""
        if name in ("before", "table") or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.before, name)

    def __call__(self, batch: Batch) -> Batch:
        """Raises InvalidSpec for a sample that has no target."""
        batch = {name: value for name, value in batch.items() if name != "labels"}
        batch = prepare(batch, NO_NUMBERS) if self.before is None else self.before(batch)
        self.table = self.table.to(batch["index"].device)
        targets = self.table[batch["index"]]
        if bool(targets.isnan().any()):
            raise InvalidSpec("a batch has samples with neither a label nor a pseudo-label")
        return batch | {"targets": targets}

    def check_parts(self, parts: Mapping[str, Part]) -> None:
        """As of the augmentation; all is well without one."""
        check = getattr(self.before, "check_parts", None)
        if check is not None:
            check(parts)


def _mixes(before: object) -> bool:
    augmenter = getattr(before, "augmenter", None)
    return any(each.mixes for each in getattr(augmenter, "augmentations", ()))


def target_table(labelled: JoinedDataset, pseudo: Pseudo, numbers: Tensor) -> Tensor:
    """(N, K) shares by position in the join: of labels, and of pseudo-labels; NaN for the rest.

    numbers: the class of each label, see `tasks.prepare`. Raises InvalidSpec where a sample has
    both, or ids are not of this join.
    """
    classes = len(pseudo.class_names)
    table = torch.full((len(labelled.joined), classes), torch.nan)
    labels = torch.from_numpy(labelled.numbers["labels"])
    index = torch.from_numpy(labelled.index)
    table[index] = one_hot(numbers[labels], classes).float()
    places = torch.from_numpy(positions(labelled, pseudo))
    twice = ~table[places].isnan().any(1)
    if bool(twice.any()):
        both = pseudo.ids[twice.numpy()].tolist()
        raise InvalidSpec(f"{len(both)} samples have a label and a pseudo-label ({listed(both)})")
    table[places] = pseudo.shares
    return table


def positions(dataset: JoinedDataset, pseudo: Pseudo) -> np.ndarray:
    """(n,) where each row of pseudo-labels is in the join. Raises InvalidSpec for unknown ids."""
    place = {name: number for number, name in enumerate(dataset.joined.ids.tolist())}
    missing = [name for name in pseudo.ids.tolist() if name not in place]
    if missing:
        raise InvalidSpec(
            f"{len(missing)} pseudo-labelled samples are not in these stores ({listed(missing)});"
            " name the stores that the pool was taken from"
        )
    return np.array([place[name] for name in pseudo.ids.tolist()], np.int64)
