"""Folders with a file for each sample: pictures, or arrays; `CLASS/NAME` or `train/CLASS/NAME`."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pi_cache import files
from pi_cache.errors import SampleError, SourceError
from pi_cache.specs import Status
from pipeline.legacy.arrange import Axes, Beside, Changed, check_square, parse_axes
from pipeline.legacy.matching import matched_all
from pipeline.legacy.matlab import read_mat
from pipeline.sources.base import Reader
from pipeline.sources.folders import (
    FolderReader,
    Row,
    Scan,
    find_root,
    tree_rows,
)
from pipeline.sources.npyfile import read_header
from pipeline.sources.pictures import MODES, SUFFIXES, decode, mode_of
from pipeline.sources.readers import native

ARRAYS = (".npy", ".mat")
LARGEST_FILE = 1 << 28
"""Bytes of the file of one sample; a larger one is refused before it is read."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Images (H, W, C) of one tree, in the order of `rows`.

    ids: paths below the folder, as `imagefolder:` has them; of arrays without the ending.
    """

    scan: Scan
    rows: list[Row]
    ids: list[str]
    reader: Reader
    shape: tuple[int, int, int]
    dtype: np.dtype
    format: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SampleFiles(FolderReader):
    """Files of one sample each, none of which is read where it is too large for that."""

    def small(self, name: str) -> bytes:
        """The bytes of a file. Raises SampleError (TOO_LARGE), or SourceError."""
        try:
            size = Path(self.root, name).stat().st_size
            if size > LARGEST_FILE:
                raise SampleError(
                    Status.TOO_LARGE, f"has {size} bytes, at most {LARGEST_FILE} are read a sample"
                )
            return self._bytes(name)
        except OSError as error:
            raise self._lost(name, error) from error

    def digests(self) -> Iterator[bytes]:
        """SHA-256 of each file. Raises SourceError."""
        for name in self.names:
            try:
                yield bytes.fromhex(files.digest(Path(self.root, name))[1])
            except OSError as error:
                raise self._lost(name, error) from error

    def _lost(self, name: str, error: OSError) -> SourceError:
        return SourceError(
            f"{self.root}/{name}: could be listed and now cannot be read"
            f" ({error.strerror or error});"
            " make it readable or move it away"
        )


@dataclass(frozen=True)
class PictureReader(SampleFiles):
    """PNG or JPEG files whose pixels are numbers: none is converted to another mode."""

    def read(self, position: int) -> np.ndarray:
        """The image (H, W, C) as uint8. Raises SampleError."""
        return decode(self.small(self.names[position]), self.mode, self.size, exact=True)


@dataclass(frozen=True)
class ArrayFileReader(SampleFiles):
    """`.npy` or `.mat` files of one sample each. key: the array of a `.mat`.

    stored, dtype: shape and type of each, "" and () while they are not known.
    """

    key: str | None = None
    stored: tuple[int, ...] = ()
    dtype: str = ""

    def read(self, position: int) -> np.ndarray:
        """The array as stored. Raises SampleError."""
        name = self.names[position]
        data = self.small(name)
        if not data:
            raise SampleError(Status.EMPTY, "is a file of 0 bytes; replace it or leave it out")
        try:
            array = _array_of(data, name, self.key)
        except SourceError as error:
            raise SampleError(Status.UNDECODABLE, f"cannot be read: {error}") from error
        if self.dtype and (array.shape, array.dtype.str) != (self.stored, self.dtype):
            raise SampleError(
                Status.WRONG_SHAPE,
                f"holds {array.dtype}{list(array.shape)}, expected {np.dtype(self.dtype)}"
                f"{list(self.stored)} as in the first file",
            )
        return array


def _array_of(data: bytes, name: str, key: str | None) -> np.ndarray:
    if name.lower().endswith(".mat"):
        return read_mat(data, key, name)
    stream = io.BytesIO(data)
    shape, fortran, dtype = read_header(stream, name)
    rest = stream.read()
    if len(rest) != math.prod(shape) * dtype.itemsize or dtype.kind not in "uif":
        raise SourceError(f"{name} holds {len(rest)} bytes of {dtype}, expected {list(shape)}")
    return native(np.frombuffer(rest, dtype).reshape(shape, order="F" if fortran else "C"))


def open_tree(
    path: str, *, key: str | None = None, shape: tuple[int, int, int] | None = None,
    channels: str | None = None,
) -> Tree:  # fmt: skip
    """The images below one folder. Raises SourceError where there are none, or two kinds."""
    scan = Scan(find_root(path), (*SUFFIXES, *ARRAYS))
    return read_tree(scan, list(tree_rows(scan)), key=key, shape=shape, channels=channels)


def read_tree(
    scan: Scan, rows: list[Row], *, key: str | None = None,
    shape: tuple[int, int, int] | None = None, channels: str | None = None,
) -> Tree:  # fmt: skip
    """The images of these rows; the first that can be read gives size and type of all."""
    names = [row.name for row in rows]
    pictures = [name for name in names if name.lower().endswith(SUFFIXES)]
    if not names:
        raise SourceError(
            f"{scan.root}: no image files found ({', '.join(scan.suffixes)});"
            f" expected {scan.root}/CLASS/*.png or {scan.root}/train/CLASS/*.png"
        )
    if pictures and len(pictures) < len(names):
        raise SourceError(
            f"{scan.root} holds {len(pictures)} pictures and {len(names) - len(pictures)} arrays;"
            " import one kind: move the other away"
        )
    if pictures:
        return _pictures(scan, rows, names)
    return _arrays(scan, rows, names, key, shape, channels)


def _pictures(scan: Scan, rows: list[Row], names: list[str]) -> Tree:
    reader, mode = _first_picture(PictureReader(str(scan.root), names, ""))
    height, width = reader.size or (0, 0)
    check_square((height, width), str(scan.root))
    lossy = sum(1 for name in names if not name.lower().endswith(".png"))
    notes = [f"{lossy} files are JPEG, which does not keep pixel values: audit them"] * bool(lossy)
    return Tree(
        scan=scan,
        rows=rows,
        ids=names,
        reader=reader,
        shape=(height, width, 3 if mode == "RGB" else 1),
        dtype=np.dtype(np.uint8),
        format="jpeg-tree" if lossy == len(names) else "png-tree",
        notes=tuple(notes),
    )


def _first_picture(reader: PictureReader) -> tuple[PictureReader, str]:
    """The reader that expects mode and size of its first usable picture."""
    first: SampleError | None = None
    for position, name in enumerate(reader.names):
        try:
            mode = mode_of(reader.small(name))
            wanted = replace(reader, mode=mode if mode in MODES.values() else "RGB")
            height, width, _ = wanted.read(position).shape
            return replace(wanted, size=(height, width)), wanted.mode
        except SampleError as error:
            first = first or error
    raise _none_usable(reader, first)


def _none_usable(reader: FolderReader, first: SampleError | None) -> SourceError:
    return SourceError(
        f"{reader.root}: none of {len(reader.names)} files can be used; the first,"
        f" {reader.names[0]}, {first}"
    )


def _arrays(
    scan: Scan, rows: list[Row], names: list[str], key: str | None,
    shape: tuple[int, int, int] | None, channels: str | None,
) -> Tree:  # fmt: skip
    reader, axes = _first_array(
        ArrayFileReader(str(scan.root), names, "", key=key), shape, channels
    )
    count, height, width = axes.shape
    kinds = {Path(name).suffix.lower() for name in names}
    return Tree(
        scan=scan,
        rows=rows,
        ids=[name[: -len(Path(name).suffix)] for name in names],
        reader=Changed(reader, axes),
        shape=(height, width, count),
        dtype=np.dtype(reader.dtype),
        format="-".join(sorted(kind[1:] for kind in kinds)) + "-tree",
    )


def _first_array(
    reader: ArrayFileReader, shape: tuple[int, int, int] | None, channels: str | None
) -> tuple[ArrayFileReader, Axes]:
    first: SampleError | None = None
    for position, name in enumerate(reader.names):
        try:
            array = reader.read(position)
        except SampleError as error:
            first = first or error
            continue
        where = f"{reader.root}/{name}"
        axes = parse_axes(array.shape, shape=shape, channels=channels, where=where)
        return replace(reader, stored=array.shape, dtype=array.dtype.str), axes
    raise _none_usable(reader, first)


def beside(rows: Tree, columns: Tree) -> Tree:
    """One tree with the channels of both: first those of rows. Raises SourceError."""
    place = matched_all(rows.ids, columns.ids, "images of rows", "images of columns")
    if rows.shape != columns.shape or rows.dtype != columns.dtype:
        raise SourceError(
            f"images of rows are {rows.dtype}{list(rows.shape)}, those of columns"
            f" {columns.dtype}{list(columns.shape)}; they must be alike"
        )
    ordered = _in_order(columns, place)
    height, width, channels = rows.shape
    return replace(
        rows,
        reader=Beside((rows.reader, ordered)),
        shape=(height, width, 2 * channels),
        notes=tuple(dict.fromkeys((*rows.notes, *columns.notes))),
    )


def _in_order(tree: Tree, place: Sequence[int]) -> Reader:
    """The tree's reader with its files in another order."""
    changed = tree.reader if isinstance(tree.reader, Changed) else None
    inner = changed.reader if changed else tree.reader
    assert isinstance(inner, FolderReader)
    ordered = replace(inner, names=[inner.names[k] for k in place])
    return Changed(ordered, changed.change) if changed else ordered
