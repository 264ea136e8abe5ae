"""Real photographs for tests and benchmarks: CIFAR-10 as JPEG, where the shared data are."""

from __future__ import annotations

import functools
import io
import tarfile

import numpy as np
from PIL import Image

from tests.shared import shared_data

IN_ALL = 5000


@functools.cache
def photographs(count: int) -> np.ndarray:
    """Distinct test images (count, 32, 32, 3) uint8, over all classes; at most 2,500 or 5,000.

    The test is skipped where there are none.
    """
    archive = shared_data("cifar10_jpeg") / "test_0000-0499.tar.xz"
    step = IN_ALL // count
    images: list[np.ndarray] = []
    with tarfile.open(archive, "r|xz") as members:
        for number, member in enumerate(member for member in members if member.isfile()):
            stream = members.extractfile(member)
            if stream is not None and number % step == 0 and len(images) < count:
                images.append(np.asarray(Image.open(io.BytesIO(stream.read()))))
    return np.stack(images)


def channels(count: int) -> np.ndarray:
    """Distinct image channels (count, 32, 32) uint8: one of each photograph, in turn."""
    images = photographs(count)
    return np.stack([image[:, :, k % 3] for k, image in enumerate(images)])
