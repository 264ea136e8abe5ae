"""A convolutional network of signals with ten convolutions, and features beside them.

The paper gives 10 convolutions, max pooling, ReLU, global average pooling and a dense end. Widths,
kernels, and how features join are not known: here five pairs of length 3 with 64 to 512 channels,
normed, a maximum over 2 after each pair but the last, and the statistics of the window, normed,
beside what the dense end reads.

References: Som et al., arXiv 1906.01769.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.models.features import count_statistics, statistics
from training.models.layers import MAX_POOLS, NORMS, begin, conv
from training.models.network import Network, average

WIDTHS = (64, 128, 256, 256, 512)
SIZE = 3


class Cnn1d(Network):
    """Signals (n, channels, length) to logits.

    with_statistics: the dense end also reads the statistics of the window, 19 for 3 channels.
    Maps: `stage1` to `stage5`, a pair of convolutions each, before its pooling.
    """

    allowed = (1,)
    stages = ("stage1", "stage2", "stage3", "stage4", "stage5")
    smallest = 16

    def __init__(
        self, *, channels: int, classes: int, dimensions: int = 1, with_statistics: bool = False
    ) -> None:
        super().__init__(channels=channels, classes=classes, dimensions=dimensions)
        for name, before, after in zip(self.stages, (channels, *WIDTHS[:-1]), WIDTHS, strict=True):
            self.add_module(name, _pair(dimensions, before, after))
        self.shrink = MAX_POOLS[dimensions](2)
        added = count_statistics(channels) if with_statistics else 0
        self.norm = nn.BatchNorm1d(added) if with_statistics else None
        self.head = nn.Linear(WIDTHS[-1] + added, classes)
        begin(self)

    def trunk(self, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        maps: dict[str, Tensor] = {}
        last = inputs
        for name in self.stages:
            shrunk = self.shrink(last) if maps else last
            maps[name] = last = self.get_submodule(name)(shrunk)
        return maps, last

    def pool(self, inputs: Tensor, last: Tensor) -> Tensor:
        pooled = average(last)  # (n, 512)
        if self.norm is None:
            return pooled
        return torch.cat([pooled, self.norm(statistics(inputs))], dim=1)  # (n, 512 + F)


def _pair(dimensions: int, before: int, after: int) -> nn.Sequential:
    """Two normed and activated convolutions."""
    return nn.Sequential(
        conv(dimensions, before, after, SIZE),
        NORMS[dimensions](after),
        nn.ReLU(inplace=True),
        conv(dimensions, after, after, SIZE),
        NORMS[dimensions](after),
        nn.ReLU(inplace=True),
    )
