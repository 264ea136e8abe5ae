"""Stage shapes as papers and released code give them, and residual networks by plain operations."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from training.models import build  # noqa: E402
from training.models.catalogue import MODELS  # noqa: E402
from training.models.checkpoints import load_released  # noqa: E402

pytestmark = pytest.mark.torch

SIDE, LENGTH = 32, 250
Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

THREE = ((32, 16, 8), (250, 125, 63))
"""Groups of residual networks: a 3 x 3 convolution of stride 2 and padding 1 rounds up."""
POOLED = ((32, 16, 8), (250, 125, 62))
"""Dense blocks: average pooling over 2 rounds down."""
VGG = ((64, 128, 256, 512, 512), (32, 16, 8, 4, 4), (250, 125, 62, 31, 31))
TABLE: dict[str, Shapes] = {
    # Zagoruyko and Komodakis, BMVC 2016, table 1: 16 k, 32 k, 64 k
    **{f"wrn-{depth}-1": ((16, 32, 64), *THREE) for depth in (16, 28, 40)},
    **{f"wrn-{depth}-2": ((32, 64, 128), *THREE) for depth in (16, 40)},
    **{f"wrn-{depth}-3": ((48, 96, 192), *THREE) for depth in (16, 28)},
    "wrn-16-8": ((128, 256, 512), *THREE),
    # He et al., CVPR 2016, section 4.2: 16, 32, 64; RepDistiller's x4: 64, 128, 256
    **{f"resnet-{depth}": ((16, 32, 64), *THREE) for depth in (8, 14, 20, 26, 32, 44, 56, 110)},
    **{f"resnet-{depth}x4": ((64, 128, 256), *THREE) for depth in (8, 32)},
    **{f"resnet-{depth}-bottleneck": ((64, 128, 256), *THREE) for depth in (29, 47, 56, 110, 164)},
    # RepDistiller's vgg: features before pooling, and no pooling after the fourth block
    **{f"vgg-{depth}": VGG for depth in (8, 11, 13, 16, 19)},
    # RepDistiller's MobileNetV2: f1 to f4, a stem of stride 2, strides 1, 1, 2, 2, 1, 2, 1
    "mobilenetv2": ((24, 32, 96, 320), (16, 8, 4, 2), (125, 63, 32, 16)),
    "mobilenetv2-half": ((12, 16, 48, 160), (16, 8, 4, 2), (125, 63, 32, 16)),
    # Ma et al., ECCV 2018, table 5: 1x and 0.5x; RepDistiller's stem keeps the side
    "shufflenetv2": ((116, 232, 464), (16, 8, 4), (125, 63, 32)),
    "shufflenetv2-half": ((48, 96, 192), (16, 8, 4), (125, 63, 32)),
    # Huang et al., CVPR 2017, section 3: 16 + 12 x 12 = 160, 304, 448; 24 + 16 x 12 = 216,
    # halved to 108, + 192 = 300, halved to 150, + 192 = 342
    "densenet-40-12": ((160, 304, 448), *POOLED),
    "densenet-bc-100-12": ((216, 300, 342), *POOLED),
}
POOLS = {
    "mobilenetv2": 1280,
    "mobilenetv2-half": 1280,
    "shufflenetv2": 1024,
    "shufflenetv2-half": 1024,
}
"""What the linear end reads, where a last convolution makes it wider than the last stage."""
OWN = ("mlp-8", "cnn1d-10", "cnn1d-10-statistics")
"""Ours: no paper gives their widths."""


def test_the_table_has_every_network_that_is_published() -> None:
    assert set(TABLE) == set(MODELS) - set(OWN)


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("name", TABLE)
def test_stages_have_the_shapes_of_the_papers(name: str, dimensions: int) -> None:
    widths, sides, lengths = TABLE[name]
    inputs = (2, 3, LENGTH) if dimensions == 1 else (2, 3, SIDE, SIDE)
    with torch.device("meta"):
        maps = build(name, 3, 10, dimensions)(torch.empty(inputs)).maps
    expected = [
        (2, width, *[length] * dimensions)
        for width, length in zip(widths, lengths if dimensions == 1 else sides, strict=True)
    ]
    assert [tuple(given.shape) for stage, given in maps.items() if stage != "pooled"] == expected
    assert tuple(maps["pooled"].shape) == (2, POOLS.get(name, widths[-1]))


# --- residual networks by plain operations --------------------------------------------------------


def released(
    depth: int, channels: int, classes: int, dimensions: int, *, bottleneck: bool, base: int = 16
) -> dict[str, Any]:
    """A state dict with the names and shapes of RepDistiller's resnet, and drawn values."""
    generator, state = torch.Generator().manual_seed(depth), {}

    def draw(*shape: int) -> Any:
        return torch.randn(shape, generator=generator) / 4

    def conv(name: str, before: int, after: int, size: int) -> None:
        state[f"{name}.weight"] = draw(after, before, *[size] * dimensions) / before**0.5

    def norm(name: str, width: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = 1 + draw(width), draw(width)
        state[f"{name}.running_mean"] = draw(width)
        state[f"{name}.running_var"] = 1 + draw(width).abs()
        state[f"{name}.num_batches_tracked"] = torch.tensor(3)

    factor, blocks = (4, (depth - 2) // 9) if bottleneck else (1, (depth - 2) // 6)
    conv("conv1", channels, base, 3)
    norm("bn1", base)
    before = base
    for group, width in enumerate((base, 2 * base, 4 * base), start=1):
        for block in range(blocks):
            name, after = f"layer{group}.{block}", width * factor
            sizes = (1, 3, 1) if bottleneck else (3, 3)
            widths = (before, width, width, after) if bottleneck else (before, width, width)
            for number, size in enumerate(sizes, start=1):
                conv(f"{name}.conv{number}", widths[number - 1], widths[number], size)
                norm(f"{name}.bn{number}", widths[number])
            if block == 0 and (group > 1 or before != after):
                conv(f"{name}.downsample.0", before, after, 1)
                norm(f"{name}.downsample.1", after)
            before = after
    state["fc.weight"], state["fc.bias"] = draw(classes, before), draw(classes)
    return state


def plainly(state: dict[str, Any], inputs: Any, *, bottleneck: bool) -> list[Any]:
    """Outputs of the three groups and the logits, straight from RepDistiller's names."""
    convolve = functional.conv1d if inputs.ndim == 3 else functional.conv2d

    def normed(name: str, maps: Any) -> Any:
        parts = [state[f"{name}.{part}"] for part in ("running_mean", "running_var")]
        affine = [state[f"{name}.{part}"] for part in ("weight", "bias")]
        return functional.batch_norm(maps, *parts, *affine)

    def step(name: str, number: int, maps: Any, stride: int) -> Any:
        weight = state[f"{name}.conv{number}.weight"]
        made = convolve(maps, weight, stride=stride, padding=weight.shape[-1] // 2)
        return normed(f"{name}.bn{number}", made)

    maps = normed("bn1", convolve(inputs, state["conv1.weight"], padding=1)).clamp(min=0)
    given = []
    for group in (1, 2, 3):
        block = 0
        while f"layer{group}.{block}.conv1.weight" in state:
            name = f"layer{group}.{block}"
            stride = 2 if group > 1 and block == 0 else 1
            strides = (1, stride, 1) if bottleneck else (stride, 1)
            inner = maps
            for number, own in enumerate(strides, start=1):
                inner = step(name, number, inner, own)
                inner = inner.clamp(min=0) if number < len(strides) else inner
            short = state.get(f"{name}.downsample.0.weight")
            if short is not None:
                maps = normed(f"{name}.downsample.1", convolve(maps, short, stride=stride))
            maps = (inner + maps).clamp(min=0)
            block += 1
        given.append(maps)
    pooled = maps.flatten(2).mean(dim=2)
    return [*given, pooled @ state["fc.weight"].T + state["fc.bias"]]


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize(
    ("name", "depth", "bottleneck"), [("resnet-20", 20, False), ("resnet-29-bottleneck", 29, True)]
)
def test_residual_networks_are_their_plain_operations(
    name: str, depth: int, bottleneck: bool, dimensions: int
) -> None:
    """Released names and weights mean the same here; the oracle shares no code with the network."""
    state = released(depth, 3, 7, dimensions, bottleneck=bottleneck)
    model = build(name, 3, 7, dimensions)
    load_released(model, state, layout="repdistiller-resnet")
    inputs = torch.randn(2, 3, *[13] * dimensions, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        outputs = model.eval()(inputs)
    given = [*(outputs.maps[stage] for stage in model.stages), outputs.logits]
    for ours, theirs in zip(given, plainly(state, inputs, bottleneck=bottleneck), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_names_are_those_that_were_released() -> None:
    state = released(20, 3, 10, 2, bottleneck=False)
    named = {"conv1.weight", "bn1.bias", "layer2.0.downsample.0.weight", "fc.bias"}
    assert named | {"layer1.0.bn1.weight", "layer3.2.conv2.weight"} <= set(state)
    assert "layer1.0.downsample.0.weight" not in state
