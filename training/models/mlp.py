"""A multilayer perceptron of vectors: hand-made features, or a persistence image as a vector.

The paper gives 8 dense layers, ReLU, dropout of 0.2 and batch norm. Its widths, and the order of
the four, are not known: here 256, an argument, and dense, norm, ReLU, dropout.

References: Som et al., arXiv 1906.01769.
"""

from __future__ import annotations

from torch import Tensor, nn

from pi_cache.errors import InvalidSpec
from training.models.layers import begin
from training.models.network import Network, check_numbers


class Mlp(Network):
    """Vectors (n, channels) to logits by `layers` dense layers, the last of them linear.

    dropout: share of the values that each layer drops in training. Maps: `stage1` and so on,
    the hidden layers (n, width). Raises InvalidSpec for a dropout outside [0, 1).
    """

    allowed = (0,)

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        dimensions: int = 0,
        layers: int = 8,
        width: int = 256,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(channels=channels, classes=classes, dimensions=dimensions)
        check_numbers(layers=layers, width=width)
        if not 0 <= dropout < 1:
            raise InvalidSpec(f"dropout must be from 0 to below 1, got {dropout!r}")
        widths = [channels, *[width] * (layers - 1)]
        self.stages = tuple(f"stage{number}" for number in range(1, layers))
        for name, before in zip(self.stages, widths, strict=False):
            self.add_module(name, _dense(before, width, dropout))
        self.head = nn.Linear(widths[-1], classes)
        begin(self)

    def trunk(self, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        maps, last = {}, inputs
        for name in self.stages:
            maps[name] = last = self.get_submodule(name)(last)  # (n, width)
        return maps, last


def _dense(before: int, after: int, dropout: float) -> nn.Sequential:
    """A hidden layer: dense, norm, ReLU, dropout."""
    # Out of place: the map that is kept must not be what the dropout changed.
    return nn.Sequential(
        nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(), nn.Dropout(dropout)
    )
