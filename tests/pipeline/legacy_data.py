"""Persistence images as labs keep them, of real photographs: trees of PNG, folds, MATLAB files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import load_sample_image

from pipeline.recipes import find_recipe
from pipeline.shard import Clock, diagrams_of, images_of
from pipeline.sources.arrays import from_arrays
from pipeline.sources.base import Source, read_samples

CLASSES = ("airplane", "bird", "cat")
SIDE = 32


def photos(count: int) -> np.ndarray:
    """The liveliest pieces (count, 32, 32, 3) uint8 of a photograph that scikit-learn has."""
    whole = load_sample_image("china.jpg")[:416]
    rows, columns = whole.shape[0] // SIDE, whole.shape[1] // SIDE
    pieces = whole.reshape(rows, SIDE, columns, SIDE, 3).swapaxes(1, 2).reshape(-1, SIDE, SIDE, 3)
    order = np.argsort(-pieces.std(axis=(1, 2, 3)), kind="stable")
    return pieces[order[:count]]


def images_by(recipe: str, source: Source, dtype: str) -> np.ndarray:
    """Images (n, channels, pixels, pixels) of a recipe."""
    found = find_recipe(recipe)
    diagrams, status, _ = diagrams_of(read_samples(source), source, found.diagram, Clock())
    return images_of(diagrams, status, found.image.replace(dtype=dtype), Clock())[0]


def save(path: Path, picture: np.ndarray) -> None:
    """An image file of uint8 values (H, W) or (H, W, C)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(picture)).save(path)


def make_tgd(root: Path, count: int = 12) -> np.ndarray:
    """The folders of TGD, originals included; images (count, 6, 50, 50) by split, class, name."""
    pieces = photos(count)
    images = images_by("tgd-cifar10", from_arrays(pieces), "uint8")
    lines: dict[str, list[str]] = {"train": ["name,label"], "test": ["name,label"]}
    for k, (piece, image) in enumerate(zip(pieces, images, strict=True)):
        split = "train" if k < count * 3 // 4 else "test"
        name = f"{CLASSES[k % 3]}/{k:04d}.png"
        save(root / split / name, piece)
        save(root / f"{split}_PIr" / name, np.moveaxis(image[:3], 0, -1))
        save(root / f"{split}_PIc" / name, np.moveaxis(image[3:], 0, -1))
        lines[split].append(f"{name},{CLASSES[k % 3]}")
    for split, table in lines.items():
        (root / f"{split}.csv").write_text("\n".join(table) + "\n")
    order = sorted(range(count), key=lambda k: (k >= count * 3 // 4, k % 3, k))
    return images[order]


def windows(count: int, channels: int = 4) -> np.ndarray:
    """Signals (count, 100, channels) in 0..1, of rows of a photograph."""
    picture = load_sample_image("china.jpg") / 255.0
    step = (picture.shape[0] * 6) // (count * channels)
    rows = picture[:, :600].reshape(-1, 100, 3)[:: max(step, 1), :, 0][: count * channels]
    return np.ascontiguousarray(rows.reshape(count, channels, 100).swapaxes(1, 2))


def make_folds(root: Path, counts: tuple[int, ...] = (5, 4, 3)) -> tuple[np.ndarray, np.ndarray]:
    """Files of TDA_KD for three held-out subjects; the signals, and the images of all."""
    signals = windows(sum(counts))
    images = images_by("tda-kd-pamap2", from_arrays(signals, sample="signal"), "float64")
    root.mkdir(parents=True, exist_ok=True)
    start = 0
    for fold, count in enumerate(counts):
        np.save(root / f"xtest_org{fold}.npy", images[start : start + count])
        labels = np.arange(start, start + count)[:, None] % 3
        np.save(root / f"ytest_org{fold}.npy", labels.astype(np.float64))
        start += count
    return signals, images


def make_pi_net(path: Path, count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """The MATLAB file of PI-Net: photographs, and flattened images; both as arrays too."""
    pieces = photos(count)
    images = images_by("pi-net-cifar10", from_arrays(pieces), "float64")
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"imgs": pieces, "PIs": images.reshape(count, -1)})
    return pieces, images


def make_examples(folder: Path) -> None:
    """What the examples of `pi-cache import` name."""
    tgd = folder / "Data" / "cifar10"
    make_tgd(tgd)
    make_folds(folder / "Result_img_id")
    make_pi_net(folder / "Sample_Images_PI.mat")
    for name, place in (
        ("images", "train_PIr"),
        *((n, n) for n in ("train", "train_PIr", "train_PIc")),
    ):
        (folder / name).symlink_to(tgd / place)
