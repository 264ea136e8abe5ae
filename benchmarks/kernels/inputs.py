"""What is measured: photographs, noise, clouds and delay embeddings, all of them distinct.

A processor learns the branches of a few repeated inputs by heart, and then a kernel looks half as
slow again as it is on data that it has not seen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from pipeline.fields import delay_embedding, image_clouds
from tests.photographs import channels

SAMPLES = 500
"""Of a signal that is embedded."""
DELAY = 5


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured.

    channels: distinct image channels, or signals. large: images of `side` pixels a side. clouds:
    of a channel of `cloud_side` pixels a side. embedded: clouds a kind and dimension. few, slow:
    inputs that the other libraries get of what takes under a millisecond, and of clouds. rounds: at
    most. scale: the sizes of the scaling table are at most this part of the largest ones.
    """

    channels: int = 1250
    large: int = 8
    side: int = 224
    clouds: int = 60
    cloud_side: int = 32
    embedded: int = 10
    samples: int = SAMPLES
    few: int = 25
    slow: int = 6
    slow_embedded: int = 3
    rounds: int = 7
    scale: float = 1.0


QUICK = Sizes(
    channels=10,
    large=2,
    side=40,
    clouds=3,
    cloud_side=8,
    embedded=2,
    samples=80,
    few=2,
    slow=2,
    slow_embedded=2,
    rounds=2,
    scale=0.07,
)
"""To see that all of it runs: the figures mean nothing."""


@functools.cache
def photographs(count: int) -> tuple[np.ndarray, str]:
    """Distinct image channels (count, 32, 32) uint8, and where they are from."""
    try:
        return channels(count), "CIFAR-10 test images (JPEG)"
    except pytest.skip.Exception:  # where the shared data are not
        return _tiles(count), "tiles of two photographs that scikit-learn brings"


def _tiles(count: int) -> np.ndarray:
    from sklearn.datasets import load_sample_images

    tiles = [
        picture[row : row + 32, column : column + 32, channel]
        for picture in load_sample_images().images
        for channel in range(3)
        for row in range(0, picture.shape[0] - 31, 32)
        for column in range(0, picture.shape[1] - 31, 32)
    ]
    return np.stack(tiles[:: max(1, len(tiles) // count)][:count])


def signals(sizes: Sizes) -> np.ndarray:
    """Channels read row by row: (channels, 1024) float64 in 0..1."""
    return photographs(sizes.channels)[0].reshape(-1, 1024) / 255


def photos(sizes: Sizes, count: int, side: int) -> np.ndarray:
    """Channels (count, side, side) float64 in 0..1; enlarged where side is not 32."""
    images = spread(photographs(sizes.channels)[0], count)
    if side != 32:
        images = np.stack([enlarged(image, side) for image in images])
    return images / 255


def enlarged(image: np.ndarray, side: int) -> np.ndarray:
    """The uint8 image with `side` pixels a side, by bicubic interpolation."""
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def noise(count: int, side: int) -> np.ndarray:
    """White noise (count, side, side) float64 in 0..1."""
    return np.random.default_rng(side).random((count, side, side))


def clouds(sizes: Sizes) -> np.ndarray:
    """Clouds (x, y, intensity) of channels: (clouds, points, 3) float64."""
    side = sizes.cloud_side
    return image_clouds(photos(sizes, sizes.clouds, 32)[:, None, :side, :side])[:, 0]


def _periodic(t: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return _quasi_periodic(t, random) + 0.05 * random.normal(size=len(t))


def _quasi_periodic(t: np.ndarray, random: np.random.Generator) -> np.ndarray:
    first, second = random.random(2) * 2 * np.pi
    return np.sin(t / 9 + first) + 0.3 * np.sin(t / 23.7 + second)


def _walk(t: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return 0.2 * random.normal(size=len(t)).cumsum()


def _noise(t: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return random.normal(size=len(t))


def _beats(t: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A spike every 60 samples on a slow wave, as of a heart."""
    phase = random.random() * 60
    spikes = np.exp(-(((t + phase) % 60 - 20) ** 2) / 8)
    return spikes + 0.2 * np.sin(2 * np.pi * t / 60) + 0.02 * random.normal(size=len(t))


KINDS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "periodic": _periodic,
    "quasi-periodic": _quasi_periodic,
    "walk": _walk,
    "noise": _noise,
    "beats": _beats,
}


def embedded(kind: str, dimension: int, sizes: Sizes) -> np.ndarray:
    """Delay embeddings (count, points, dimension) of signals of one kind."""
    random = np.random.default_rng(dimension)
    t = np.arange(float(sizes.samples))
    many = np.stack([KINDS[kind](t, random) for _ in range(sizes.embedded)])
    return delay_embedding(many, dimension, DELAY)


def spread(items: np.ndarray, count: int) -> np.ndarray:
    """So many of the items, from all over."""
    return items[np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)]
