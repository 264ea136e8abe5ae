"""PI-Nets: networks that give persistence images at once, without a diagram.

The layers are those of the released code, which differs from some descriptions of the paper:
widths 128, 256, 512, 1024, and ReLU at the end. Norms, padding and initial weights are those of
Keras, in which it is written.

References: Som et al., "PI-Net: A Deep Learning Approach to Extract Topological Persistence
Images", CVPR Workshops 2020, arXiv 1906.01769.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.layers import CONVOLUTIONS, NORMS, relu
from training.models.network import average, check_inputs, check_numbers
from training.models.outputs import Prediction

WIDTHS = (128, 256, 512, 1024)
KERAS = {"eps": 1e-3, "momentum": 0.01}
"""Keras' batch norm: its momentum of 0.99 is the share that is kept, torch's that is replaced."""


class Stage(nn.Module):
    """conv of 3, BN, ReLU, and where `pooled` a maximum over 3 at every second place."""

    def __init__(self, dimensions: int, before: int, after: int, *, pooled: bool) -> None:
        super().__init__()
        self.conv = CONVOLUTIONS[dimensions](before, after, 3, padding=1)
        self.norm = NORMS[dimensions](after, **KERAS)
        self.pooled = pooled

    def forward(self, inputs: Tensor) -> Tensor:
        active = relu(self.norm(self.conv(inputs)))
        return halve(active) if self.pooled else active


class PINet(nn.Module):
    """The stages of both PI-Nets: inputs to (n, 1024). A child makes images of that.

    channels: of the input. image_channels, pixels: of the image, (image_channels, pixels, pixels).
    Maps: `stage1` to `stage4`, with 128, 256, 512 and 1024 channels, then `pooled` (n, 1024);
    the first three halve the length (rounded up).
    Raises InvalidSpec when a number is below 1, and for inputs of another shape.
    """

    stages = ("stage1", "stage2", "stage3", "stage4")
    smallest = 8
    dimensions: int

    def __init__(self, *, channels: int, image_channels: int = 3, pixels: int = 50) -> None:
        super().__init__()
        check_numbers(channels=channels, image_channels=image_channels, pixels=pixels)
        self.channels, self.image_channels, self.pixels = channels, image_channels, pixels
        for number, (before, after) in enumerate(
            zip((channels, *WIDTHS[:-1]), WIDTHS, strict=True), start=1
        ):
            stage = Stage(self.dimensions, before, after, pooled=after != WIDTHS[-1])
            self.add_module(f"stage{number}", stage)

    def draw(self, pooled: Tensor) -> Tensor:
        """Persistence images (n, C, P, P) of what the stages found, (n, 1024)."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Prediction:
        """Images and maps of a batch."""
        check_inputs(inputs, self.channels, self.dimensions, self.smallest)
        maps, last = {}, inputs
        for name in self.stages:
            maps[name] = last = self.get_submodule(name)(last)
        maps["pooled"] = average(last)
        return Prediction(self.draw(maps["pooled"]), maps)


class SignalPINet(PINet):
    """Signals (n, channels, length) to images: the dense end gives every pixel.

    9,762,636 parameters with the running ones, for 3 channels and 3 x 50 x 50 pixels.
    """

    dimensions = 1

    def __init__(self, *, channels: int, image_channels: int = 3, pixels: int = 50) -> None:
        super().__init__(channels=channels, image_channels=image_channels, pixels=pixels)
        self.dense = nn.Linear(WIDTHS[-1], image_channels * pixels**2)
        begin_as_keras(self)

    def draw(self, pooled: Tensor) -> Tensor:
        drawn = relu(self.dense(pooled))  # (n, C P P), a channel after the other
        return drawn.reshape(-1, self.image_channels, self.pixels, self.pixels)


class ImagePINet(PINet):
    """Images (n, channels, height, width) to images: a dense end, spread by a transposed conv.

    The kernel is as large as the image. Each channel of its result is a channel of the image. The
    released network flattens its result (n, C, P, P) with the channels last, while its script reads
    targets and predictions as (3, 50, 50): with released weights the images of this network are
    `images.permute(0, 2, 3, 1).reshape(n, 3, 50, 50)`. 8,776,223 parameters with the running ones,
    for 3 channels and 3 x 50 x 50 pixels, of which 8,772,377 are trained.
    """

    dimensions = 2

    def __init__(self, *, channels: int, image_channels: int = 3, pixels: int = 50) -> None:
        super().__init__(channels=channels, image_channels=image_channels, pixels=pixels)
        self.dense = nn.Linear(WIDTHS[-1], pixels**2)
        # Keras' "same": of 2 P - 1 places the P from (P - 1) // 2 on; forward cuts the last ones.
        self.spread = nn.ConvTranspose2d(1, image_channels, pixels, padding=(pixels - 1) // 2)
        self.norm = nn.BatchNorm2d(image_channels, eps=KERAS["eps"], momentum=KERAS["momentum"])
        begin_as_keras(self)

    def draw(self, pooled: Tensor) -> Tensor:
        side = self.pixels
        small = relu(self.dense(pooled)).reshape(-1, 1, side, side)
        spread = self.spread(small)[..., :side, :side]  # (n, C, P, P)
        return relu(self.norm(spread))


def halve(maps: Tensor) -> Tensor:
    """Maxima over 3 at every second place, with Keras' padding "same": ceil(length / 2).

    Of an even length only the end is padded, of an odd one both ends.
    """
    padding: list[int] = []
    for side in reversed(maps.shape[2:]):
        padding += [side % 2, 1]
    padded = functional.pad(maps, padding, value=-math.inf)
    pool = functional.max_pool1d if maps.ndim == 3 else functional.max_pool2d
    return torch.as_tensor(pool(padded, 3, stride=2))


def begin_as_keras(network: nn.Module) -> None:
    """Draw all weights as Keras does: Glorot's uniform range; biases at 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
