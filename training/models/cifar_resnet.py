"""Residual networks of small images: 6 N + 2 layers, or 9 N + 2 with bottlenecks.

References: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2;
shortcuts by a normed 1 x 1 convolution as in RepDistiller, whose teachers MIX-KD reads.
"""

from __future__ import annotations

from torch import Tensor, nn

from pi_cache.errors import InvalidSpec
from training.models.layers import NORMS, begin, conv, relu
from training.models.network import Network, check_numbers

EXPANSION = 4


class CifarResNet(Network):
    """ResNet of `depth` layers: a stem, three groups of blocks, a linear end.

    stem, base: channels of the stem and of the first group, whose width doubles twice; the forms
    "x4" have 32 and 64. bottleneck: blocks of 1 x 1, 3 x 3 and 1 x 1 that give four times their
    width. Maps: `stage1` to `stage3`, activated, at full, half and quarter length.
    Raises InvalidSpec for a depth that the blocks do not make.
    """

    smallest = 4

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        dimensions: int = 2,
        depth: int = 20,
        stem: int = 16,
        base: int = 16,
        bottleneck: bool = False,
    ) -> None:
        super().__init__(channels=channels, classes=classes, dimensions=dimensions)
        check_numbers(depth=depth, stem=stem, base=base)
        each = 9 if bottleneck else 6
        if depth <= 2 or (depth - 2) % each:
            raise InvalidSpec(f"the depth must be {each} N + 2, such as {2 + each}, got {depth}")
        expansion, blocks = EXPANSION if bottleneck else 1, (depth - 2) // each
        self.stem = conv(dimensions, channels, stem, 3)
        self.norm = NORMS[dimensions](stem)
        self.stage1 = _group(dimensions, blocks, stem, base, 1, expansion)
        self.stage2 = _group(dimensions, blocks, base * expansion, 2 * base, 2, expansion)
        self.stage3 = _group(dimensions, blocks, 2 * base * expansion, 4 * base, 2, expansion)
        self.head = nn.Linear(4 * base * expansion, classes)
        begin(self)

    def trunk(self, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        first = self.stage1(relu(self.norm(self.stem(inputs))))  # (n, C, H, W)
        second = self.stage2(first)  # (n, 2 C, H / 2, W / 2)
        third = self.stage3(second)  # (n, 4 C, H / 4, W / 4)
        return {"stage1": first, "stage2": second, "stage3": third}, third


class Basic(nn.Module):
    """conv, BN, ReLU, conv, BN, plus the shortcut, then ReLU."""

    def __init__(self, dimensions: int, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(dimensions, before, width, 3, stride)
        self.norm1 = NORMS[dimensions](width)
        self.conv2 = conv(dimensions, width, width, 3)
        self.norm2 = NORMS[dimensions](width)
        self.shortcut = _shortcut(dimensions, before, width, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        added = relu(self.norm1(self.conv1(inputs)))
        return relu(self.norm2(self.conv2(added)) + self.shortcut(inputs))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions, each normed, plus the shortcut, then ReLU."""

    def __init__(self, dimensions: int, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(dimensions, before, width, 1)
        self.norm1 = NORMS[dimensions](width)
        self.conv2 = conv(dimensions, width, width, 3, stride)
        self.norm2 = NORMS[dimensions](width)
        self.conv3 = conv(dimensions, width, width * EXPANSION, 1)
        self.norm3 = NORMS[dimensions](width * EXPANSION)
        self.shortcut = _shortcut(dimensions, before, width * EXPANSION, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        added = relu(self.norm1(self.conv1(inputs)))
        added = relu(self.norm2(self.conv2(added)))
        return relu(self.norm3(self.conv3(added)) + self.shortcut(inputs))


def _shortcut(dimensions: int, before: int, after: int, stride: int) -> nn.Module:
    """The input as it is, or by a normed 1 x 1 convolution where the shape changes."""
    if stride == 1 and before == after:
        return nn.Identity()
    return nn.Sequential(conv(dimensions, before, after, 1, stride), NORMS[dimensions](after))


def _group(
    dimensions: int, blocks: int, before: int, width: int, stride: int, expansion: int
) -> nn.Sequential:
    """Blocks in a row; the first one changes the width and the length."""
    block = Basic if expansion == 1 else Bottleneck
    rest = [block(dimensions, width * expansion, width, 1) for _ in range(blocks - 1)]
    return nn.Sequential(block(dimensions, before, width, stride), *rest)
