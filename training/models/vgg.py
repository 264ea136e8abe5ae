"""VGG of small images, with one linear end.

References: Simonyan and Zisserman, ICLR 2015; the five blocks and the single linear layer as in
RepDistiller, whose vgg8 and vgg13 AMD uses.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from pi_cache.errors import InvalidSpec
from training.models.layers import MAX_POOLS, NORMS, begin, conv
from training.models.network import Network

WIDTHS = (64, 128, 256, 512, 512)
BLOCKS: Mapping[int, tuple[int, ...]] = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Convolutions of each block, by depth."""


class Vgg(Network):
    """VGG-depth: five blocks of convolutions, a maximum over 2 after each of the first `pools`.

    normed: with batch norm. Students without it have gone to NaN in distillation. pools: 3 for
    sides of 32, 4 for 64, as in RepDistiller. Maps: `stage1` to `stage5`, each block activated,
    before its pooling.
    Raises InvalidSpec for an unknown depth or more than 4 pools.
    """

    stages = ("stage1", "stage2", "stage3", "stage4", "stage5")

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        dimensions: int = 2,
        depth: int = 8,
        normed: bool = True,
        pools: int = 3,
    ) -> None:
        super().__init__(channels=channels, classes=classes, dimensions=dimensions)
        if depth not in BLOCKS:
            raise InvalidSpec(f"the depth must be one of {list(BLOCKS)}, got {depth!r}")
        if pools not in range(len(WIDTHS)):
            raise InvalidSpec(f"pools must be from 0 to {len(WIDTHS) - 1}, got {pools!r}")
        self.pools, self.smallest = pools, 2**pools
        befores = (channels, *WIDTHS[:-1])
        for name, before, after, count in zip(
            self.stages, befores, WIDTHS, BLOCKS[depth], strict=True
        ):
            self.add_module(name, _block(dimensions, before, after, count, normed=normed))
        self.shrink = MAX_POOLS[dimensions](2)
        self.head = nn.Linear(WIDTHS[-1], classes)
        begin(self)

    def trunk(self, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        maps, last = {}, inputs
        for number, name in enumerate(self.stages):
            shrunk = self.shrink(last) if 0 < number <= self.pools else last
            maps[name] = last = self.get_submodule(name)(shrunk)
        return maps, last


def _block(dimensions: int, before: int, after: int, count: int, *, normed: bool) -> nn.Sequential:
    """`count` convolutions of 3 with a bias, each normed or not, and activated."""
    layers: list[nn.Module] = []
    for width in (before, *[after] * (count - 1)):
        layers.append(conv(dimensions, width, after, 3, bias=True))
        if normed:
            layers.append(NORMS[dimensions](after))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
