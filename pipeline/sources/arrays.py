"""Arrays of samples: `.npy`, `.npz` and Zarr files, and arrays in memory.

Beside `x.npy` (and `x.zarr`) may lie, one value a sample:

| file                             | what it holds                                        |
| -------------------------------- | ---------------------------------------------------- |
| `x.labels.npy`, `x.labels.txt`   | whole numbers (-1 for none), or names ("" for none)  |
| `x.ids.npy`, `x.ids.txt`         | unique names; else the index, as `000000`            |
| `x.groups.npy`, `x.groups.txt`   | whom or what a sample comes from, such as a subject  |
| `x.splits.npy`, `x.splits.txt`   | `train`, `test`, ...                                 |
| `x.label_names.txt`, `.npy`      | one name a label, from label 0                       |

Text files are UTF-8 with one value a line. An `.npz` holds the same as members of those names, and
the samples as its only other array. Nothing is ever unpickled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache.errors import SourceError
from pipeline.sources.base import POINTS, Source
from pipeline.sources.columns import COLUMNS, parse_columns
from pipeline.sources.npyfile import (
    LARGEST_COLUMN,
    open_npy,
    open_npz,
    read_column,
    read_members,
)
from pipeline.sources.readers import ArrayReader, MemoryReader, ZarrReader

KNOWN = (*COLUMNS, "label_names")
AXES = {"image": (3, 4), "signal": (2, 3), "cloud": (3,), "distances": (3,)}
"""Axes of the array, counting the samples, that each kind of sample may have."""

LETTER = np.dtype("U1").itemsize
"""Bytes of a letter in an array of text."""

MOST_SAMPLES = 10**8
"""Of an array; a Zarr array can claim any number of them and have no bytes."""
MOST_CHANNELS = 4
"""A last axis up to this long can be the channels of an image."""


def open_array(
    path: str | Path,
    *,
    sample: str | None = None,
    maximum: float | str = "default",
    channels: Iterable[str] = (),
    **columns: Any,
) -> Source:
    """The samples of `x.npy`, `x.npz` or `x.zarr`, with what lies beside them.

    columns: `labels`, `ids`, `groups`, `splits`, `label_names` by hand, each the path of an
    `.npy` or `.txt` file or a sequence. The others are those of from_arrays. Raises SourceError.
    """
    file = Path(path).expanduser()
    if not file.exists():
        raise SourceError(f"{file}: no such file")
    reader, stored = _open(file)
    given = {name: _load(value) for name, value in columns.items() if value is not None}
    return make_source(
        reader, {**stored, **given}, str(file), sample=sample, maximum=maximum, channels=channels
    )


def from_arrays(
    array: np.ndarray,
    *,
    labels: Sequence[Any] | np.ndarray | None = None,
    ids: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    label_names: Sequence[str] | None = None,
    sample: str | None = None,
    maximum: float | str = "default",
    channels: Iterable[str] = (),
) -> Source:
    """The samples of an array in memory; slices sent to workers carry their own rows.

    array: images (n, H, W) or (n, H, W, C), signals (n, T) or (n, T, C), clouds (n, P, D), distance
    matrices (n, P, P). sample: "image", "signal", "cloud" or "distances"; needed where the shape
    can be read in several ways. maximum: what values are divided by; "none" takes them as they are;
    by default 255 for uint8 images and none for all else. labels: whole numbers (-1 for none), or
    names. Raises SourceError.
    """
    values = (labels, ids, groups, splits, label_names)
    columns = {
        name: np.asarray(value)
        for name, value in zip(KNOWN, values, strict=True)
        if value is not None
    }
    array = np.asarray(array)
    _check(array.shape, array.dtype, "the array")
    reader = MemoryReader.of(array)
    return make_source(reader, columns, "memory", sample=sample, maximum=maximum, channels=channels)


def make_source(
    reader: ArrayReader,
    columns: Mapping[str, np.ndarray],
    location: str,
    *,
    sample: str | None,
    maximum: float | str,
    channels: Iterable[str],
) -> Source:
    """The source of the rows of an array; where they have no channel axis, one is added."""
    shape, dtype = reader.shape, reader.dtype
    _check(shape, dtype, location)
    kind = _parse_sample(sample, shape, dtype, location)
    if kind not in POINTS and len(shape) == min(AXES[kind]):
        reader, shape = replace(reader, lifted=True), (*shape, 1)
    known = parse_columns(columns, shape[0], location)
    return Source(
        kind="array",
        location=location,
        sample=kind,
        shape=shape[1:],
        channels=_channels(tuple(channels), kind, shape[-1], location),
        dtype=dtype,
        maximum=_parse_maximum(maximum, kind, dtype),
        ids=known.ids,
        labels=known.labels,
        reader=reader,
        label_names=known.label_names,
        groups=known.groups,
        splits=known.splits,
    )


def _check(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
    """Refuse what are no samples: other types than numbers, other axes, no values."""
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        remedies = {
            "b": "save it with .astype('uint8')",
            "c": "save its real and imaginary part as two channels",
            "O": "pad rows of different lengths, or use UCR .ts files; objects are never read",
        }
        remedy = remedies.get(dtype.kind, "save it with .astype('float64')")
        raise SourceError(
            f"{where} has values of {dtype}, expected whole or real numbers; {remedy}"
        )
    if not 2 <= len(shape) <= 4:
        raise SourceError(
            f"{where} has shape {shape}, expected images (n, H, W) or (n, H, W, C),"
            " signals (n, T) or (n, T, C), clouds (n, P, D) or distances (n, P, P); reshape it"
        )
    if 0 in shape:
        raise SourceError(f"{where} has shape {shape} and so no values; give at least one sample")
    if shape[0] > MOST_SAMPLES:
        raise SourceError(
            f"{where} has {shape[0]} samples, at most {MOST_SAMPLES} are read; give it in parts"
        )


def _parse_sample(
    sample: str | None, shape: tuple[int, ...], dtype: np.dtype[Any], where: str
) -> str:
    """What a sample is: as told, or where type and shape leave one reading only."""
    fits = [kind for kind, axes in AXES.items() if len(shape) in axes]
    if len(shape) == 3 and shape[1] != shape[2]:
        fits.remove("distances")
    if sample is not None:
        if sample in fits:
            return sample
        raise SourceError(
            f"{where} has shape {shape}, so sample must be {' or '.join(fits)}, got {sample!r}"
        )
    if len(shape) == 2 and dtype.kind == "f":
        return "signal"
    if len(shape) == 3 and dtype == np.uint8 and min(shape[1:]) > MOST_CHANNELS:
        return "image"
    if len(shape) == 4 and shape[3] <= MOST_CHANNELS:
        return "image"
    raise SourceError(f"{where} has shape {shape} of {dtype}{_readings(shape)}")


def _readings(shape: tuple[int, ...]) -> str:
    """Why a shape is not read without being told, and what to say."""
    if len(shape) == 2:
        return ": signals (n, T) or flattened images? Say sample=signal, or reshape to (n, H, W)"
    if len(shape) == 3:
        square = " or distances (n, P, P)" if shape[1] == shape[2] else ""
        return (
            f": images (n, H, W), signals (n, T, C) or clouds (n, P, D){square}?"
            " Say sample=image, sample=signal or sample=cloud"
        ) + (", sample=distances" if square else "")
    if shape[1] <= MOST_CHANNELS:
        return ", expected (n, H, W, C); move the channels last with .transpose(0, 2, 3, 1)"
    return f": images of {shape[3]} channels? Say sample=image"


def _parse_maximum(maximum: float | str, kind: str, dtype: np.dtype[Any]) -> float | None:
    if maximum == "default":
        return 255.0 if kind == "image" and dtype == np.uint8 else None
    if maximum == "none":
        return None
    try:
        value = float(maximum)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise SourceError(f"maximum must be a positive number or none, got {maximum!r}")
    return value


def _channels(names: tuple[str, ...], kind: str, count: int, where: str) -> tuple[str, ...]:
    """The names given, or usual ones."""
    count = 1 if kind in POINTS else count
    if names and len(names) != count:
        raise SourceError(f"{where} has {count} channels, got {len(names)} names for them: {names}")
    usual = {("image", 1): ("grey",), ("image", 3): ("red", "green", "blue")}
    numbered = (kind,) if count == 1 else tuple(f"channel{k}" for k in range(count))
    return names or usual.get((kind, count), numbered)


def _open(file: Path) -> tuple[ArrayReader, dict[str, np.ndarray]]:
    """The rows of a file, and the columns in it or beside it."""
    if file.suffix == ".npz":
        others, columns = read_members(file, KNOWN)
        if len(others) != 1:
            raise SourceError(
                f"{file} holds {', '.join(others) or 'nothing'} beside {', '.join(columns) or '-'},"
                f" expected one array of samples, and the rest among {', '.join(KNOWN)}"
            )
        return open_npz(file, others[0]), columns
    if file.suffix == ".npy":
        return open_npy(file), columns_beside(file)
    if any((file / name).is_file() for name in ("zarr.json", ".zarray")):
        return _open_zarr(file), columns_beside(file)
    raise SourceError(f"{file}: expected a .npy or .npz file, or the folder of a Zarr array")


def _open_zarr(path: Path) -> ZarrReader:
    from pi_cache.store import open_zarr_array  # zarr: only who reads one waits for its import

    array = open_zarr_array(path)
    _check(array.shape, array.dtype, str(path))
    return ZarrReader(path=str(path), shape=array.shape, dtype=array.dtype.newbyteorder("="))


def columns_beside(file: Path) -> dict[str, np.ndarray]:
    """The columns in files beside this one."""
    columns = {}
    for name in KNOWN:
        places = [file.with_name(f"{file.stem}.{name}{suffix}") for suffix in (".npy", ".txt")]
        found = [place for place in places if place.exists()]
        if len(found) > 1:
            raise SourceError(f"{file} has two files of {name}: {found[0]}, {found[1]}; keep one")
        if found:
            columns[name] = _load(found[0])
    return columns


def _load(value: Any) -> np.ndarray:
    """A column from an `.npy` or text file, or as given."""
    if not isinstance(value, str | Path):
        return np.asarray(value)
    file = Path(value).expanduser()
    if file.suffix == ".npy":
        return read_column(file)
    try:
        # utf-8-sig: editors on Windows put a mark before the first line.
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise SourceError(f"{file}: expected UTF-8 text, one value a line ({error})") from error
    longest = max(map(len, lines), default=0)
    if longest * len(lines) * LETTER > LARGEST_COLUMN:  # an array has room for the longest in each
        line = next(number for number, text in enumerate(lines, 1) if len(text) == longest)
        raise SourceError(
            f"{file}: line {line} has {longest} characters, too many for a column of {len(lines)}"
            " values; give one short value a line"
        )
    return np.array(lines, dtype=np.str_)
