"""Networks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pi_cache.errors import InvalidSpec
from pi_cache.nearest import hint
from training.models.cifar_resnet import CifarResNet
from training.models.cnn1d import Cnn1d
from training.models.densenet import DenseNet
from training.models.mlp import Mlp
from training.models.mobilenet import MobileNetV2
from training.models.network import Network
from training.models.pinet import ImagePINet, PINet, SignalPINet
from training.models.shufflenet import ShuffleNetV2
from training.models.vgg import BLOCKS, Vgg
from training.models.wrn import WideResNet

Family = Callable[..., Network]
WIDE = ((16, 1), (16, 2), (16, 3), (16, 8), (28, 1), (28, 3), (40, 1), (40, 2))

MODELS: Mapping[str, tuple[Family, Mapping[str, Any]]] = {
    **{f"wrn-{d}-{k}": (WideResNet, {"depth": d, "widen": k}) for d, k in WIDE},
    **{f"resnet-{d}": (CifarResNet, {"depth": d}) for d in (8, 14, 20, 26, 32, 44, 56, 110)},
    **{f"resnet-{d}x4": (CifarResNet, {"depth": d, "stem": 32, "base": 64}) for d in (8, 32)},
    **{
        f"resnet-{d}-bottleneck": (CifarResNet, {"depth": d, "bottleneck": True})
        for d in (29, 47, 56, 110, 164)
    },
    **{f"vgg-{d}": (Vgg, {"depth": d}) for d in BLOCKS},
    "mobilenetv2": (MobileNetV2, {}),
    "mobilenetv2-half": (MobileNetV2, {"width": 0.5}),
    "shufflenetv2": (ShuffleNetV2, {}),
    "shufflenetv2-half": (ShuffleNetV2, {"size": 0.5}),
    "densenet-40-12": (DenseNet, {}),
    "densenet-bc-100-12": (DenseNet, {"depth": 100, "compact": True}),
    "mlp-8": (Mlp, {}),
    "cnn1d-10": (Cnn1d, {}),
    "cnn1d-10-statistics": (Cnn1d, {"with_statistics": True}),
}
PI_NETS: Mapping[str, type[PINet]] = {
    "pi-net-signal": SignalPINet,
    "pi-net-image": ImagePINet,
}


def build(name: str, channels: int, classes: int, dimensions: int = 2, **options: Any) -> Network:
    """A new classifier by its name in MODELS, its weights drawn from torch's seed.

    channels: of the input; of vectors, their length. classes: logits of a sample. dimensions: 0
    for vectors (n, channels), 1 for signals (n, channels, length), 2 for images (n, channels,
    height, width). options: what else the family takes, such as `dropout` of the MLP.
    Raises InvalidSpec for an unknown name, with the nearest one, and for what the family refuses.
    """
    if name in PI_NETS:
        raise InvalidSpec(f"{name} gives images, not classes; use build_pi_net")
    family, settings = MODELS[_known(name, MODELS)]
    try:
        return family(
            channels=channels, classes=classes, dimensions=dimensions, **{**settings, **options}
        )
    except TypeError as error:
        raise InvalidSpec(f"{name} does not take these options: {error}") from error


def build_pi_net(name: str, channels: int, *, image_channels: int = 3, pixels: int = 50) -> PINet:
    """A new PI-Net by its name in PI_NETS, for images (image_channels, pixels, pixels).

    Raises InvalidSpec for an unknown name, with the nearest one, and for numbers below 1.
    """
    family = PI_NETS[_known(name, PI_NETS)]
    return family(channels=channels, image_channels=image_channels, pixels=pixels)


def _known(name: str, known: Mapping[str, object]) -> str:
    """The name, if it is a known one. Raises InvalidSpec with the nearest one otherwise."""
    if name in known:
        return name
    raise InvalidSpec(f"unknown model {name!r}{hint(name, known)}; models: {', '.join(known)}")
