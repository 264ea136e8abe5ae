"""PI-Nets: published parameter counts, and Keras' padding against slow loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi_cache.errors import InvalidSpec  # noqa: E402
from training.models import PI_NETS, build_pi_net, count_parameters  # noqa: E402
from training.models.pinet import ImagePINet, begin_as_keras, halve  # noqa: E402

pytestmark = pytest.mark.torch

SIDES = {"pi-net-signal": (29,), "pi-net-image": (9, 13)}


def test_parameters_are_the_published_ones() -> None:
    with torch.device("meta"):
        signal, image = build_pi_net("pi-net-signal", 3), build_pi_net("pi-net-image", 3)
    assert count_parameters(signal, running=True) == 9_762_636
    assert count_parameters(image, running=True) == 8_776_223
    assert count_parameters(image) == 8_772_377


@pytest.mark.parametrize(("name", "shape"), [("pi-net-signal", (250,)), ("pi-net-image", (32, 32))])
def test_maps_and_images_have_the_published_shapes(name: str, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        given = build_pi_net(name, 3)(torch.empty(2, 3, *shape))
    assert given.images.shape == (2, 3, 50, 50)
    lengths = [maps.shape[2] for name, maps in given.maps.items() if name != "pooled"]
    assert lengths == ([125, 63, 32, 32] if name == "pi-net-signal" else [16, 8, 4, 4])
    assert [maps.shape[1] for maps in given.maps.values()] == [128, 256, 512, 1024, 1024]


@pytest.mark.parametrize("name", PI_NETS)
def test_images_of_any_size_are_made_and_learned(name: str) -> None:
    torch.manual_seed(0)
    model = build_pi_net(name, 2, image_channels=4, pixels=7)
    inputs, targets = torch.randn(6, 2, *SIDES[name]), torch.rand(6, 4, 7, 7)
    given = model(inputs)
    assert given.images.shape == (6, 4, 7, 7)
    assert (given.images >= 0).all()
    (given.images - targets).square().mean().backward()
    without = [n for n, w in model.named_parameters() if w.grad is None or not w.grad.any()]
    # A bias before a norm of a batch has a gradient of nothing but rounding, if any.
    assert [n for n in without if not n.endswith(("conv.bias", "spread.bias"))] == []
    assert model.eval()(inputs[:1]).images.shape == (1, 4, 7, 7)


def same_maximum(row: np.ndarray) -> list[float]:
    """Keras' MaxPool1D(3, strides=2, padding="same") of a row."""
    after = -(-len(row) // 2)
    total = max((after - 1) * 2 + 3 - len(row), 0)
    windows = [range(2 * i - total // 2, 2 * i - total // 2 + 3) for i in range(after)]
    return [max(row[i] for i in window if 0 <= i < len(row)) for window in windows]


@pytest.mark.parametrize("length", [*range(1, 10), 250, 125, 63])
def test_halving_pads_as_keras_does(length: int) -> None:
    row = np.random.default_rng(length).normal(size=length)
    halved = halve(torch.from_numpy(row)[None, None])[0, 0]
    assert halved.tolist() == same_maximum(row)


def test_both_axes_of_images_are_halved() -> None:
    image = np.random.default_rng(0).normal(size=(5, 8))
    rows = np.array([same_maximum(row) for row in image])
    both = np.array([same_maximum(column) for column in rows.T]).T
    np.testing.assert_array_equal(halve(torch.from_numpy(image)[None, None])[0, 0], both)


def same_transposed(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Keras' Conv2DTranspose of stride 1 and padding "same"."""
    side = len(image)
    before = (len(kernel) - 1) // 2
    spread = np.zeros_like(image)
    for i, j in np.ndindex(image.shape):
        for a, b in np.ndindex(kernel.shape):
            row, column = i + a - before, j + b - before
            if 0 <= row < side and 0 <= column < side:
                spread[row, column] += image[i, j] * kernel[a, b]
    return spread


@pytest.mark.parametrize("pixels", [1, 2, 5, 6])
def test_the_end_spreads_as_keras_does(pixels: int) -> None:
    torch.manual_seed(0)
    model = ImagePINet(channels=3, image_channels=2, pixels=pixels).double().eval()
    torch.nn.init.normal_(model.spread.bias)
    pooled = torch.randn(1, 1024, dtype=torch.float64)
    with torch.no_grad():
        small = model.dense(pooled).clamp(min=0).reshape(pixels, pixels).numpy()
        drawn = model.draw(pooled)[0].numpy()
    for channel, image in enumerate(drawn):
        kernel: Any = model.spread.weight[0, channel].detach().numpy()
        spread = same_transposed(small, kernel) + model.spread.bias[channel].item()
        expected = np.maximum(spread / np.sqrt(1 + 1e-3), 0)  # running mean 0, variance 1
        np.testing.assert_allclose(image, expected, atol=1e-12)


def test_weights_begin_in_the_range_of_glorot() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(20, 30, 3)
    begin_as_keras(layer)
    limit = (6 / (9 * (20 + 30))) ** 0.5
    assert 0.95 * limit < layer.weight.abs().max().item() <= limit
    assert not layer.bias.any()


def test_inputs_it_does_not_take_are_refused() -> None:
    model = build_pi_net("pi-net-signal", 3, pixels=5)
    for shape, words in (
        ((2, 3, 8, 8), "takes signals"),
        ((2, 2, 8), "takes 3 channels"),
        ((2, 3, 7), "at least 8"),
    ):
        with pytest.raises(InvalidSpec, match=words):
            model(torch.zeros(shape))
    with pytest.raises(InvalidSpec, match=r"channels must be .* got 0; pixels must be"):
        build_pi_net("pi-net-image", 0, pixels=0)
