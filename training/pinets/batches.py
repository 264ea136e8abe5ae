"""Batches of some arrays of a dataset, in order, as a network takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec
from training.joined import JoinedDataset
from training.models.catalogue import PI_NETS
from training.tasks import prepare
from training.trained import Trained

BATCH = 128
NO_NUMBERS = torch.empty(0, dtype=torch.int64)


def in_order(
    side: JoinedDataset, names: Sequence[str], *, size: int = BATCH
) -> Iterator[dict[str, Tensor]]:
    """The arrays of all samples in batches, channels first, in the order of the side."""
    dataset = side.only(list(dict.fromkeys(names)))
    for start in range(0, len(dataset), size):
        yield prepare(dataset.batch(slice(start, start + size)), NO_NUMBERS)


def predicted(
    trained: Trained,
    side: JoinedDataset,
    names: Sequence[str] = (),
    *,
    size: int = BATCH,
    device: str | torch.device = "cpu",
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Images (n, C, P, P) that a PI-Net gives, and the batch that they are of.

    names: arrays to deliver beside those that the network reads.
    Raises InvalidSpec for a network that gives no images.
    """
    check_pi_net(trained)
    for batch in in_order(side, (*trained.view.names, *names), size=size):
        yield trained({name: value.to(device) for name, value in batch.items()}).images, batch


def check_pi_net(trained: Trained) -> None:
    """Raise InvalidSpec unless the network gives persistence images."""
    if trained.model.name not in PI_NETS:
        raise InvalidSpec(
            f"a {trained.model.name} gives classes, not persistence images; name the run of a"
            f" PI-Net ({', '.join(PI_NETS)}), which `training pi-net` fits"
        )
