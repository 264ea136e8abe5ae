"""MobileNetV2 of small images.

References: Sandler et al., CVPR 2018; strides for sides of 32, ReLU in place of ReLU6 and no
dropout, as in RepDistiller, whose half-width form is the usual student.
"""

from __future__ import annotations

from torch import Tensor, nn

from pi_cache.errors import InvalidSpec
from training.models.layers import NORMS, begin, conv
from training.models.network import Network, check_numbers

STAGES = (
    ((1, 16, 1, 1), (0, 24, 2, 1)),
    ((0, 32, 3, 2),),
    ((0, 64, 4, 2), (0, 96, 3, 1)),
    ((0, 160, 3, 2), (0, 320, 1, 1)),
)
"""Groups of each stage: expansion (0: the network's own), channels, blocks, stride of the first."""
STEM, LAST = 32, 1280


class MobileNetV2(Network):
    """Inverted residual blocks; the stem and three stages halve the length.

    width: what all channels are multiplied by, rounded down; the last 1,280 never become fewer.
    expansion: how much wider a block is inside. Maps: `stage1` to `stage4`, linear, at a half, a
    quarter, an eighth and a sixteenth of the length.
    Raises InvalidSpec for a width that leaves no channel.
    """

    stages = ("stage1", "stage2", "stage3", "stage4")
    smallest = 16

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        dimensions: int = 2,
        width: float = 1.0,
        expansion: int = 6,
    ) -> None:
        super().__init__(channels=channels, classes=classes, dimensions=dimensions)
        check_numbers(expansion=expansion)
        if not width * STAGES[0][0][1] >= 1:
            raise InvalidSpec(f"width must leave each stage a channel: 0.0625 or more, got {width}")
        before = int(STEM * width)
        self.stem = _normed(dimensions, channels, before, 3, 2)
        for name, groups in zip(self.stages, STAGES, strict=True):
            blocks: list[nn.Module] = []
            for factor, wide, count, stride in groups:
                after = int(wide * width)
                for number in range(count):
                    step = 1 if number else stride
                    blocks.append(Inverted(dimensions, before, after, step, factor or expansion))
                    before = after
            self.add_module(name, nn.Sequential(*blocks))
        last = max(LAST, int(LAST * width))
        self.end = _normed(dimensions, before, last, 1)
        self.head = nn.Linear(last, classes)
        begin(self)
        nn.init.normal_(self.head.weight, 0.0, 0.01)

    def trunk(self, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        maps, last = {}, self.stem(inputs)
        for name in self.stages:
            maps[name] = last = self.get_submodule(name)(last)
        return maps, self.end(last)


class Inverted(nn.Module):
    """1 x 1 to a wider map, 3 x 3 of each channel, 1 x 1 back; the input added where it fits."""

    def __init__(
        self, dimensions: int, before: int, after: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        inner = before * expansion
        self.widen = _normed(dimensions, before, inner, 1)
        self.filter = _normed(dimensions, inner, inner, 3, stride, groups=inner)
        self.narrow = conv(dimensions, inner, after, 1)
        self.norm = NORMS[dimensions](after)
        self.adds = stride == 1 and before == after

    def forward(self, inputs: Tensor) -> Tensor:
        made: Tensor = self.norm(self.narrow(self.filter(self.widen(inputs))))
        return inputs + made if self.adds else made


def _normed(
    dimensions: int, before: int, after: int, size: int, stride: int = 1, *, groups: int = 1
) -> nn.Sequential:
    """A convolution, normed and activated."""
    return nn.Sequential(
        conv(dimensions, before, after, size, stride, groups=groups),
        NORMS[dimensions](after),
        nn.ReLU(inplace=True),
    )
