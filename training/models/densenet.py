"""DenseNets of small images.

PI-Net classifies images by a DenseNet as published; its depth and growth are not known. Here 40
layers of growth 12, and the BC form of 100 layers, the smallest of each form in the paper.

References: Huang et al., "Densely Connected Convolutional Networks", CVPR 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pi_cache.errors import InvalidSpec
from training.models.layers import AVERAGE_POOLS, NORMS, begin, conv, relu
from training.models.network import Network, check_numbers


class DenseNet(Network):
    """Three dense blocks; between them a 1 x 1 convolution and a mean over 2.

    growth: channels that each layer adds. compact: the BC form, whose layers begin with 1 x 1 to
    4 x growth, and whose blocks hand on half of their channels. Maps: `stage1` to `stage3`, the
    blocks before their norm, at full, half and quarter length (rounded down).
    Raises InvalidSpec for a depth that is not 3 N + 4, or 6 N + 4 where compact.
    """

    smallest = 4

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        dimensions: int = 2,
        depth: int = 40,
        growth: int = 12,
        compact: bool = False,
    ) -> None:
        super().__init__(channels=channels, classes=classes, dimensions=dimensions)
        check_numbers(depth=depth, growth=growth)
        each = 6 if compact else 3
        if depth <= 4 or (depth - 4) % each:
            raise InvalidSpec(f"the depth must be {each} N + 4, such as {4 + each}, got {depth}")
        layers, width = (depth - 4) // each, 2 * growth if compact else 16
        self.stem = conv(dimensions, channels, width, 3)
        for name in self.stages:
            if name != self.stages[0]:
                after = width // 2 if compact else width
                self.add_module(f"before_{name}", _transition(dimensions, width, after))
                width = after
            self.add_module(name, _block(dimensions, layers, width, growth, compact=compact))
            width += layers * growth
        self.norm = NORMS[dimensions](width)
        self.head = nn.Linear(width, classes)
        begin(self)

    def trunk(self, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        maps: dict[str, Tensor] = {}
        last = self.stem(inputs)
        for name in self.stages:
            shrunk = self.get_submodule(f"before_{name}")(last) if maps else last
            maps[name] = last = self.get_submodule(name)(shrunk)
        return maps, relu(self.norm(last))


class Dense(nn.Module):
    """The input, and behind it `growth` channels made of it."""

    def __init__(self, dimensions: int, before: int, growth: int, *, compact: bool) -> None:
        super().__init__()
        inner = 4 * growth
        narrow = _activated(dimensions, before, inner, 1) if compact else ()
        last = _activated(dimensions, inner if compact else before, growth, 3)
        self.made = nn.Sequential(*narrow, *last)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([inputs, self.made(inputs)], dim=1)


def _block(
    dimensions: int, layers: int, before: int, growth: int, *, compact: bool
) -> nn.Sequential:
    """Dense layers in a row."""
    return nn.Sequential(
        *(
            Dense(dimensions, before + number * growth, growth, compact=compact)
            for number in range(layers)
        )
    )


def _transition(dimensions: int, before: int, after: int) -> nn.Sequential:
    """Norm, ReLU, 1 x 1, mean over 2."""
    return nn.Sequential(*_activated(dimensions, before, after, 1), AVERAGE_POOLS[dimensions](2))


def _activated(dimensions: int, before: int, after: int, size: int) -> tuple[nn.Module, ...]:
    """Norm, ReLU, convolution."""
    return NORMS[dimensions](before), nn.ReLU(inplace=True), conv(dimensions, before, after, size)
