"""Wide residual networks with pre-activation: teachers and students of TGD and TPKD.

References: Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016; sizes and initial
weights as in the code released with TGD (arXiv 2407.05316) and TDA_KD.
"""

from __future__ import annotations

from torch import Tensor, nn

from pi_cache.errors import InvalidSpec
from training.models.layers import NORMS, begin, conv, relu
from training.models.network import Network, check_numbers

STEM = 16


class WideResNet(Network):
    """WRN-depth-widen: a stem of 16 channels, three groups of (depth - 4) / 6 blocks, a linear end.

    Maps: `stage1`, `stage2`, `stage3` are the raw outputs of the groups, 16, 32 and 64 times
    `widen` channels, at the length of the input, a half and a quarter (rounded up).
    Raises InvalidSpec for a depth that is not 6 N + 4.
    """

    smallest = 4

    def __init__(
        self, *, channels: int, classes: int, dimensions: int = 2, depth: int = 16, widen: int = 1
    ) -> None:
        super().__init__(channels=channels, classes=classes, dimensions=dimensions)
        check_numbers(depth=depth, widen=widen)
        if depth < 10 or depth % 6 != 4:
            raise InvalidSpec(f"the depth must be 6 N + 4, such as 16, 28 or 40, got {depth}")
        blocks, widths = (depth - 4) // 6, [factor * widen for factor in (16, 32, 64)]
        self.stem = conv(dimensions, channels, STEM, 3)
        self.stage1 = _group(dimensions, blocks, STEM, widths[0], 1)
        self.stage2 = _group(dimensions, blocks, widths[0], widths[1], 2)
        self.stage3 = _group(dimensions, blocks, widths[1], widths[2], 2)
        self.norm = NORMS[dimensions](widths[2])
        self.head = nn.Linear(widths[2], classes)
        begin(self)

    def trunk(self, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        first = self.stage1(self.stem(inputs))  # (n, 16 k, H, W)
        second = self.stage2(first)  # (n, 32 k, H / 2, W / 2)
        third = self.stage3(second)  # (n, 64 k, H / 4, W / 4)
        return {"stage1": first, "stage2": second, "stage3": third}, relu(self.norm(third))


class Block(nn.Module):
    """BN, ReLU, conv, BN, ReLU, conv, added to the input.

    Where the shape changes, a 1 x 1 convolution of the activated input takes the input's place.
    """

    def __init__(self, dimensions: int, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm1 = NORMS[dimensions](before)
        self.conv1 = conv(dimensions, before, after, 3, stride)
        self.norm2 = NORMS[dimensions](after)
        self.conv2 = conv(dimensions, after, after, 3)
        changes = stride != 1 or before != after
        self.shortcut = conv(dimensions, before, after, 1, stride) if changes else None

    def forward(self, inputs: Tensor) -> Tensor:
        active = relu(self.norm1(inputs))
        added: Tensor = self.conv2(relu(self.norm2(self.conv1(active))))
        return added + (inputs if self.shortcut is None else self.shortcut(active))


def _group(dimensions: int, blocks: int, before: int, after: int, stride: int) -> nn.Sequential:
    """Blocks in a row; the first one changes the width and the length."""
    rest = [Block(dimensions, after, after, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Block(dimensions, before, after, stride), *rest)
