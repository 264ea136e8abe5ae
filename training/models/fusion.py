"""A classifier of hand-made features and a persistence image together.

References: Som et al., arXiv 1906.01769: the image as a vector, put behind the features, such as
19 + 7,500 numbers, into the 8-layer MLP.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from pi_cache.errors import InvalidSpec
from training.models.mlp import Mlp
from training.models.network import check_numbers
from training.models.outputs import Outputs

SIDES = ("image channels", "image persistence", "image birth")


class Fusion(nn.Module):
    """Features (n, F) and images (n, C, P, B) to Outputs, whose maps are those of the MLP.

    features: F. image: (C, P, B). The options are those of Mlp: layers, width, dropout.
    Raises InvalidSpec for numbers below 1, and for inputs of other shapes.
    """

    def __init__(
        self,
        *,
        features: int,
        image: tuple[int, int, int],
        classes: int,
        layers: int = 8,
        width: int = 256,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if len(image) != len(SIDES):
            raise InvalidSpec(f"image must be (C, P, B), got {image!r}")
        check_numbers(features=features, **dict(zip(SIDES, image, strict=True)))
        self.features, self.image = features, tuple(image)
        self.mlp = Mlp(
            channels=features + prod(image),
            classes=classes,
            layers=layers,
            width=width,
            dropout=dropout,
        )
        self.stages = self.mlp.stages

    def forward(self, features: Tensor, images: Tensor) -> Outputs:
        """Logits and maps of a batch whose features and images are of the same samples."""
        shapes = tuple(features.shape), tuple(images.shape)
        if shapes != ((len(features), self.features), (len(features), *self.image)):
            raise InvalidSpec(
                f"got features {shapes[0]} and images {shapes[1]}, expected (n, {self.features})"
                f" and (n, {', '.join(map(str, self.image))}) of one n"
            )
        if not (features.is_floating_point() and images.is_floating_point()):
            raise InvalidSpec(
                f"features and images must be floats, got {features.dtype} and {images.dtype};"
                " widen bytes before, by what they stand for"
            )
        outputs: Outputs = self.mlp(torch.cat([features, images.flatten(1)], dim=1))
        return outputs
