"""The errors of a PI-Net on a side of a task."""

from __future__ import annotations

import torch

from training.joined import JoinedDataset
from training.parts import Part
from training.pinets.batches import in_order, predicted
from training.pinets.errors import Errors, Sums, mean_image
from training.trained import Trained


def measure(
    trained: Trained,
    side: JoinedDataset,
    train: JoinedDataset,
    target: str,
    *,
    device: str | torch.device = "cpu",
) -> Errors:
    """Errors on the samples of a side.

    target: the name of the exact images. train: the samples whose mean image is compared with.
    Raises InvalidSpec for a network that gives no images, or images of another shape.
    """
    sums = Sums(mean_image(batch[target] for batch in in_order(train, [target])))
    for images, batch in predicted(trained, side, [target], device=device):
        sums.add(images, batch[target])
    return sums.errors(channel_names(side.parts[target]))


def channel_names(part: Part) -> tuple[str, ...]:
    """The name of each channel of images, such as `rows/red/H0`; numbers where they have none."""
    names = tuple(getattr(part.source, "channels", ()))
    if part.channels is not None and names:
        names = tuple(names[number] for number in part.channels)
    return names or tuple(str(number) for number in range(part.shape[0]))
