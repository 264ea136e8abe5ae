"""Arrays with an image a row: `.npy`, `.npz`, `.mat`; one file, or one a fold or split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache.errors import SourceError
from pipeline.legacy.arrange import Changed, Parts, parse_axes
from pipeline.legacy.matlab import LARGEST, read_mat
from pipeline.legacy.tables import one_a_sample, read_values
from pipeline.sources.arrays import columns_beside
from pipeline.sources.base import Reader
from pipeline.sources.folders import SPLITS, some
from pipeline.sources.npyfile import open_npy, open_npz, read_members, stamp_of
from pipeline.sources.readers import ArrayReader, MemoryReader

KNOWN = ("labels", "ids", "groups", "splits", "label_names")
"""Members of an `.npz` that are no images."""
SUFFIXES = (".npy", ".npz", ".mat")

FOLD = re.compile(r"x(?P<split>train|test|val)_org(?P<fold>\d+)\.npy")
"""Files of TDA_KD: the windows of one split of the fold that leaves subject number `fold` out."""
PARTNER = re.compile(r"[xX](?=[_.]|train|test|val)")
"""How a file of images begins whose labels are in the file with a `y` there."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Images (H, W, C) of one or several arrays, and what of each is known from the files."""

    files: tuple[Path, ...]
    reader: Reader
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    count: int
    format: str
    known: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def fold_files(folder: Path) -> list[Path]:
    """The files of folds in a folder of TDA_KD, by fold. Raises SourceError for a mixture.

    Those of the test windows hold every window once; those for training repeat them.
    """
    found = [(FOLD.fullmatch(path.name), path) for path in folder.iterdir()]
    named = [(int(m["fold"]), m["split"], path) for m, path in found if m]
    splits, folds = {split for _, split, _ in named}, {fold for fold, _, _ in named}
    if len(splits) > 1 and len(folds) > 1:
        raise SourceError(
            f"{folder} holds files of {', '.join(sorted(splits))} for {len(folds)} folds, in which"
            " most windows occur several times; give the files of one split, or of one fold"
        )
    return [path for _, _, path in sorted(named, key=lambda item: item[:2])]


def open_stack(
    files: Sequence[Path], *, key: str | None = None, shape: tuple[int, int, int] | None = None,
    channels: str | None = None,
) -> Stack:  # fmt: skip
    """The images of these files, one after the other. Raises SourceError.

    key: the array of an `.npz` or `.mat`. shape, channels: see `parse_axes`.
    """
    opened = [_open(file, key) for file in files]
    arrays = [array for array, _ in opened]
    alike = {(array.shape[1:], array.dtype) for array in arrays}
    if len(alike) > 1:
        listed = ", ".join(
            f"{f.name} {a.dtype}{list(a.shape)}" for f, a in zip(files, arrays, strict=True)
        )
        raise SourceError(f"images of several kinds: {listed}; import each kind by itself")
    where = str(files[0])
    _check(arrays[0], where)
    axes = parse_axes(arrays[0].shape[1:], shape=shape, channels=channels, where=where)
    count, height, width = axes.shape
    counts = tuple(array.shape[0] for array in arrays)
    known, notes = _known(files, counts, [columns for _, columns in opened])
    return Stack(
        files=tuple(files),
        reader=Changed(arrays[0] if len(arrays) == 1 else Parts(tuple(arrays), counts), axes),
        shape=(height, width, count),
        dtype=arrays[0].dtype,
        count=sum(counts),
        format="-".join(sorted({file.suffix[1:].lower() for file in files})),
        known=known,
        notes=(*_reading(axes, arrays[0]), *notes),
    )


def _open(file: Path, key: str | None) -> tuple[ArrayReader, dict[str, np.ndarray]]:
    """The rows of a file, and the columns in it."""
    suffix = file.suffix.lower()
    if suffix == ".npy":
        return open_npy(file), columns_beside(file)
    if suffix == ".npz":
        others, columns = read_members(file, KNOWN)
        chosen = [name for name in others if key in (None, name)]
        if len(chosen) != 1:
            raise SourceError(
                f"{file} holds {', '.join(others) or 'nothing'}; name the images with --key"
            )
        return open_npz(file, chosen[0]), columns
    if suffix == ".mat":
        if stamp_of(file)[0] > LARGEST:
            raise SourceError(f"{file} is larger than {LARGEST} bytes; save its images as .npy")
        return MemoryReader.of(read_mat(file.read_bytes(), key, str(file))), {}
    raise SourceError(f"{file}: expected {', '.join(SUFFIXES)}, or a folder of images")


def _check(array: ArrayReader, where: str) -> None:
    """Refuse what are no images with values in 0..1: other whole numbers, complex ones, objects."""
    if array.dtype.kind != "f" and array.dtype != np.uint8:
        raise SourceError(
            f"{where} holds {array.dtype}, expected real numbers, or uint8 for 255 times the value;"
            " save it with .astype('uint8') or .astype('float32')"
        )
    if array.dtype.itemsize > 8 or len(array.shape) < 2 or 0 in array.shape:
        raise SourceError(
            f"{where} holds {array.dtype}{list(array.shape)}, expected an image a row:"
            " (n, C, H, W), (n, H, W, C), (n, H, W) or flattened ones (n, L)"
        )


def _reading(axes: Any, array: ArrayReader) -> list[str]:
    """How a flattened image was read, which nothing in the file says."""
    if len(axes.stored) != 1:
        return []
    return [f"each row of {axes.stored[0]} values is read as (C, H, W) = {axes.shape}"]


def _known(
    files: Sequence[Path], counts: Sequence[int], columns: Sequence[dict[str, np.ndarray]]
) -> tuple[dict[str, Any], list[str]]:
    """Ids, labels, groups and splits that the files and their names tell; and what was assumed."""
    known: dict[str, Any] = {}
    notes: list[str] = []
    for name in KNOWN:
        values = [found[name] for found in columns if name in found]
        if values and len(values) == len(files):
            known[name] = values[0] if name == "label_names" else np.concatenate(values)
    if len(files) > 1 and "ids" not in known:
        known["ids"] = [f"{file.stem}/{row:06d}" for file, count in zip(files, counts, strict=True)
                        for row in range(count)]  # fmt: skip
    labels = [_labels_beside(file, count) for file, count in zip(files, counts, strict=True)]
    if "labels" not in known and all(values is not None for values in labels):
        known["labels"] = np.concatenate([values for values in labels if values is not None])
        notes.append(f"labels are those of {some([partner(file).name for file in files])}")
    words = [_words(file) for file in files]
    for name, position in (("groups", 1), ("splits", 0)):
        told = [word[position] for word in words]
        if name not in known and len(set(told)) > 1 and all(told):
            known[name] = [word for word, count in zip(told, counts, strict=True)
                           for _ in range(count)]  # fmt: skip
            notes.append(f"{name} are those of the file names: {some(list(dict.fromkeys(told)))}")
    return known, notes


def _words(file: Path) -> tuple[str, str]:
    """The split and the fold that a file name tells, "" for none."""
    named = FOLD.fullmatch(file.name)
    if named:
        return named["split"], named["fold"]
    word = re.sub(r"^[xX]_?|_?[xX]$", "", file.stem).lower()
    return SPLITS.get(word, ""), ""


def partner(file: Path) -> Path:
    """The file of labels that goes with one of images: `y` where its name begins with `x`."""
    return file.with_name(PARTNER.sub(lambda m: "yY"[m[0] == "X"], file.name, count=1))


def _labels_beside(file: Path, count: int) -> np.ndarray | None:
    """The labels in the partner of a file, where there is one. Raises SourceError."""
    place = partner(file)
    if place == file or not place.exists():
        return None
    values = read_values([str(place)])
    assert isinstance(values, np.ndarray)
    values = one_a_sample(values)
    if len(values) != count:
        raise SourceError(
            f"{file.name} holds {count} images and {place.name} {len(values)} labels: from number"
            f" {min(count, len(values))} on one has no partner; which of the two is too short?"
        )
    return values
