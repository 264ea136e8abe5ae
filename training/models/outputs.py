"""What a network gives: logits or images, and the maps of its stages by name."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """What a classifier gives for a batch of n samples.

    logits: (n, K), before the softmax. maps: in the order of the network, `stage1`, `stage2`, ...
    as (n, C, L) of signals, (n, C, H, W) of images or (n, F) of vectors, and last `pooled`
    (n, F), what the linear end reads. `network.stages` names them without `pooled`.
    """

    logits: Tensor
    maps: dict[str, Tensor]


class Prediction(NamedTuple):
    """What a PI-Net gives: persistence images (n, C, P, P), and maps as in Outputs."""

    images: Tensor
    maps: dict[str, Tensor]
