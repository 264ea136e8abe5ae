"""Small trees of image files, written where a test wants them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image


def encode(array: np.ndarray, suffix: str = "png", mode: str | None = None) -> bytes:
    """The bytes of an image file of uint8 values (H, W) or (H, W, 3)."""
    image = Image.fromarray(array)
    stream = io.BytesIO()
    (image.convert(mode) if mode else image).save(stream, "JPEG" if suffix == "jpg" else "PNG")
    return stream.getvalue()


def pixels(seed: int, size: tuple[int, int] = (6, 5)) -> np.ndarray:
    """Colour noise (H, W, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def write(root: Path, names: dict[str, bytes]) -> Path:
    """The folder, with these files in it."""
    for name, data in names.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def make_tree(root: Path, folders: tuple[str, ...] = ("cat", "dog"), count: int = 3) -> Path:
    """`root/FOLDER/0.png ...` of colour noise, every image another."""
    names = [f"{folder}/{k}.png" for folder in folders for k in range(count)]
    return write(root, {name: encode(pixels(seed)) for seed, name in enumerate(names)})
