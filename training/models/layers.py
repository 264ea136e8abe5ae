"""Layers of signals and of images by one argument, and how their weights begin."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torch.nn import functional

CONVOLUTIONS: Mapping[int, Callable[..., nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d}
NORMS: Mapping[int, Callable[..., nn.Module]] = {
    0: nn.BatchNorm1d,
    1: nn.BatchNorm1d,
    2: nn.BatchNorm2d,
}
MAX_POOLS: Mapping[int, Callable[..., nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d}
AVERAGE_POOLS: Mapping[int, Callable[..., nn.Module]] = {1: nn.AvgPool1d, 2: nn.AvgPool2d}


def conv(
    dimensions: int,
    before: int,
    after: int,
    size: int,
    stride: int = 1,
    *,
    groups: int = 1,
    bias: bool = False,
) -> nn.Module:
    """A convolution from `before` to `after` channels; odd sizes keep the length at stride 1."""
    return CONVOLUTIONS[dimensions](
        before, after, size, stride=stride, padding=size // 2, groups=groups, bias=bias
    )


def relu(normed: Tensor) -> Tensor:
    """max(0, normed), in place: give it only what nothing else reads, such as a fresh norm."""
    return functional.relu(normed, inplace=True)


def begin(network: nn.Module) -> None:
    """Draw all weights: convolutions of deviation sqrt(2 / (kernel area x out channels)).

    Norms begin at 1 and 0, biases at 0; other linear weights stay as torch draws them.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            fan_out = math.prod(module.kernel_size) * module.out_channels
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
