"""What all classifiers share: which inputs they take, and how stages become logits."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from pi_cache.errors import InvalidSpec
from training.models.outputs import Outputs

KINDS = {
    0: "vectors (n, channels)",
    1: "signals (n, channels, length)",
    2: "images (n, channels, height, width)",
}


class Network(nn.Module):
    """A classifier: inputs to Outputs.

    channels: of the input; of vectors, their length. classes: logits of a sample. dimensions: 0
    for vectors, 1 for signals, 2 for images. A child gives `trunk` and a linear `head`.
    Raises InvalidSpec when a number is below 1, or the family has no form of these dimensions.
    """

    allowed: ClassVar[tuple[int, ...]] = (1, 2)
    stages: tuple[str, ...] = ("stage1", "stage2", "stage3")
    smallest: int = 1
    """The shortest length or side: below it a stage would have less than one value."""
    head: nn.Module

    def __init__(self, *, channels: int, classes: int, dimensions: int) -> None:
        super().__init__()
        check_numbers(channels=channels, classes=classes)
        if dimensions not in self.allowed:
            kinds = " or ".join(f"{number} for {KINDS[number]}" for number in self.allowed)
            raise InvalidSpec(
                f"{type(self).__name__} has no form of {dimensions!r} dimensions; give {kinds}"
            )
        self.channels, self.classes, self.dimensions = int(channels), int(classes), dimensions

    def trunk(self, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The maps of the stages by name, and the last map, activated: (n, C, ...)."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Outputs:
        """Logits and maps of a batch. Raises InvalidSpec when the inputs are none it takes."""
        check_inputs(inputs, self.channels, self.dimensions, self.smallest)
        maps, last = self.trunk(inputs)
        maps["pooled"] = self.pool(inputs, last)
        return Outputs(self.head(maps["pooled"]), maps)

    def pool(self, inputs: Tensor, last: Tensor) -> Tensor:
        """What the head reads, (n, F): the mean of each channel of the last map."""
        return average(last)


def average(maps: Tensor) -> Tensor:
    """The mean of each channel: (n, C, ...) to (n, C). Vectors (n, C) stay as they are."""
    return maps.mean(dim=tuple(range(2, maps.ndim))) if maps.ndim > 2 else maps


def check_numbers(**numbers: int | np.integer[Any]) -> None:
    """Raise InvalidSpec with every number that is no whole number from 1 on."""
    wrong = [
        f"{name} must be a whole number from 1 on, got {number!r}"
        for name, number in numbers.items()
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1
    ]
    if wrong:
        raise InvalidSpec("; ".join(wrong))


def check_inputs(inputs: Tensor, channels: int, dimensions: int, smallest: int) -> None:
    """Raise InvalidSpec unless inputs are floats (n, channels, ...) of enough length."""
    shape = tuple(inputs.shape)
    if inputs.ndim != dimensions + 2:
        raise InvalidSpec(
            f"this network takes {KINDS[dimensions]}, got the shape {shape};"
            " build it with other dimensions, or reshape the batch"
        )
    if inputs.shape[1] != channels:
        raise InvalidSpec(
            f"this network takes {channels} channels, got the shape {shape} with"
            f" {inputs.shape[1]}; channels are the second axis"
        )
    if any(side < smallest for side in inputs.shape[2:]):
        raise InvalidSpec(
            f"the inputs {shape} are too small: this network needs at least {smallest}"
            f" along each axis; pad or resize them"
        )
    if not inputs.is_floating_point():
        raise InvalidSpec(f"inputs must be floats, got {inputs.dtype}; scale and convert them")


def count_parameters(network: nn.Module, *, running: bool = False) -> int:
    """Trainable numbers of a network; running=True adds the means and variances of its norms.

    Keras counts the latter as parameters, and papers that use it print that count.
    """
    counted = sum(weights.numel() for weights in network.parameters())
    if not running:
        return counted
    buffers = dict(network.named_buffers())
    return counted + sum(b.numel() for name, b in buffers.items() if "running_" in name)
