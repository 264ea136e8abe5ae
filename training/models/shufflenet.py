"""ShuffleNetV2 of small images.

References: Ma et al., ECCV 2018; a 1 x 1 stem without pooling, for sides of 32, as in RepDistiller.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pi_cache.errors import InvalidSpec
from training.models.layers import NORMS, begin, conv
from training.models.network import Network

STEM = 24
WIDTHS: Mapping[float, tuple[int, int, int, int]] = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
"""Channels of the three stages and of the end, by the size of the network (table 5 of the paper).

RepDistiller has 224 in place of 244 in the largest one.
"""
BLOCKS = (3, 7, 3)


class ShuffleNetV2(Network):
    """Blocks that mix half of the channels and shuffle; three stages halve the length.

    size: 0.5, 1.0, 1.5 or 2.0. Maps: `stage1` to `stage3`, at a half, a quarter and an eighth.
    Raises InvalidSpec for another size.
    """

    smallest = 8

    def __init__(
        self, *, channels: int, classes: int, dimensions: int = 2, size: float = 1.0
    ) -> None:
        super().__init__(channels=channels, classes=classes, dimensions=dimensions)
        if size not in WIDTHS:
            raise InvalidSpec(f"the size must be one of {list(WIDTHS)}, got {size!r}")
        *widths, last = WIDTHS[size]
        self.stem = _normed(dimensions, channels, STEM)
        for name, before, after, count in zip(
            self.stages, (STEM, *widths[:-1]), widths, BLOCKS, strict=True
        ):
            mixers = [Mix(dimensions, after) for _ in range(count)]
            self.add_module(name, nn.Sequential(Down(dimensions, before, after), *mixers))
        self.end = _normed(dimensions, widths[-1], last)
        self.head = nn.Linear(last, classes)
        begin(self)

    def trunk(self, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        maps, last = {}, self.stem(inputs)
        for name in self.stages:
            maps[name] = last = self.get_submodule(name)(last)
        return maps, self.end(last)


class Mix(nn.Module):
    """Half of the channels as they are, half by 1 x 1, 3 x 3 of each channel, 1 x 1; shuffled."""

    def __init__(self, dimensions: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            *_normed(dimensions, half, half), *_filter(dimensions, half, 1, half)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        kept, mixed = inputs.chunk(2, dim=1)
        return shuffle(torch.cat([kept, self.branch(mixed)], dim=1))


class Down(nn.Module):
    """All channels by two branches of stride 2, side by side; shuffled."""

    def __init__(self, dimensions: int, before: int, after: int) -> None:
        super().__init__()
        half = after // 2
        self.left = _filter(dimensions, before, 2, half)
        self.right = nn.Sequential(
            *_normed(dimensions, before, half), *_filter(dimensions, half, 2, half)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return shuffle(torch.cat([self.left(inputs), self.right(inputs)], dim=1))


def shuffle(maps: Tensor) -> Tensor:
    """Channels of both halves in turn: 0, C / 2, 1, C / 2 + 1, ..."""
    halves = maps.reshape(
        maps.shape[0], 2, maps.shape[1] // 2, *maps.shape[2:]
    )  # (n, 2, C / 2, ...)
    return halves.transpose(1, 2).flatten(1, 2)


def _normed(dimensions: int, before: int, after: int) -> nn.Sequential:
    """A 1 x 1 convolution, normed and activated."""
    return nn.Sequential(
        conv(dimensions, before, after, 1), NORMS[dimensions](after), nn.ReLU(inplace=True)
    )


def _filter(dimensions: int, before: int, stride: int, after: int) -> nn.Sequential:
    """A 3 x 3 convolution of each channel, normed, then 1 x 1, normed and activated."""
    return nn.Sequential(
        conv(dimensions, before, before, 3, stride, groups=before),
        NORMS[dimensions](before),
        *_normed(dimensions, before, after),
    )
