"""Real photographs for tests: CIFAR-10 as JPEG, where the shared data are."""

from __future__ import annotations

import functools
import io
import tarfile

import numpy as np
from PIL import Image

from tests.shared import shared_data


@functools.cache
def photographs(count: int) -> np.ndarray:
    """Distinct test images (count, 32, 32, 3) uint8, over all classes; skips where there are none.

    At most 2,500.
    """
    archive = shared_data("cifar10_jpeg") / "test_0000-0499.tar.xz"
    step = 5000 // count
    images = []
    with tarfile.open(archive, "r|xz") as members:
        files = (member for member in members if member.isfile())
        for number, member in enumerate(files):
            stream = members.extractfile(member)
            if stream is not None and number % step == 0 and len(images) < count:
                images.append(np.asarray(Image.open(io.BytesIO(stream.read()))))
    return np.stack(images)


def channels(count: int, *, smaller: int = 32) -> np.ndarray:
    """Distinct image channels (count, smaller, smaller) float64 in 0..1: corners of photographs."""
    images = photographs(max(count, 100) if count <= 2500 else 2500)
    planes = images.transpose(0, 3, 1, 2).reshape(-1, 32, 32)[:: 1 if count > 2500 else 3]
    return np.ascontiguousarray(planes[:count, :smaller, :smaller] / 255)
