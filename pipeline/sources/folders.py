"""Trees of image files: a folder a class, with or without a folder a split above."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from pi_cache.errors import SampleError, SourceError
from pipeline.sources.base import Source
from pipeline.sources.kinds import KINDS
from pipeline.sources.pictures import MODES, SUFFIXES, decode

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Folder names that are a split when every folder beside them is one too."""

CINIC10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

SHOWN = 5
"""Files named in a message about many."""


class Row(NamedTuple):
    """One image: path below the root with `/`, class name ("" for none), split ("" for none)."""

    name: str
    category: str
    split: str


@dataclass(frozen=True)
class FolderReader:
    """Image files below one folder; pickles as the folder and the names."""

    root: str
    names: Sequence[str]
    mode: str
    size: tuple[int, int] | None = None

    def read(self, position: int) -> np.ndarray:
        """The image (H, W, C) as uint8. Raises SampleError, or SourceError for a lost file."""
        try:
            return decode(self._bytes(self.names[position]), self.mode, self.size)
        except OSError as error:
            raise SourceError(
                f"{self.root}/{self.names[position]}: could be read before and now cannot"
                f" ({error.strerror}); look at the disk and run again"
            ) from error

    def _bytes(self, name: str) -> bytes:
        with open(f"{self.root}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 - twice as fast
            return file.read()

    def read_together(self) -> None:
        """None: the files are read one by one."""

    def slice(self, start: int, stop: int) -> Self:
        """A reader of these files alone."""
        return replace(self, names=self.names[start:stop])

    def digests(self) -> Iterator[bytes]:
        """SHA-256 of each file. Raises SourceError with the list of all that cannot be read."""
        lost: list[str] = []
        for name in self.names:
            try:
                yield hashlib.sha256(self._bytes(name)).digest()
            except OSError as error:
                lost.append(f"{name} ({error.strerror})")
        if lost:
            raise SourceError(
                f"{self.root}: {len(lost)} of {len(self.names)} files cannot be read: "
                f"{some(lost)}; make them readable or move them away"
            )


@dataclass
class Scan:
    """What lies below a folder, and what of it was left out."""

    root: Path
    suffixes: tuple[str, ...] = SUFFIXES
    hidden: list[str] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)

    def listing(self, below: str = "") -> tuple[list[str], list[str]]:
        """Sorted names of folders and of image files of one folder, paths below the root."""
        folders, images = [], []
        prefix = f"{below}/" if below else ""
        try:
            with os.scandir(self.root / below) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith(".") or name == "__MACOSX":
                        self.hidden.append(prefix + name)
                    elif name.lower().endswith(self.suffixes) and _may_be_read(entry):
                        images.append(prefix + name)
                    elif entry.is_dir():
                        folders.append(prefix + name)
                    else:
                        self.other[os.path.splitext(name)[1].lower() or name] += 1  # noqa: PTH122
        except OSError as error:
            raise SourceError(f"{error.filename}: cannot be listed ({error.strerror})") from error
        return sorted(folders), sorted(images)

    def images(self, below: str, depth: int = 0) -> list[str]:
        """Sorted names of all image files below one folder, at any depth."""
        if depth > 16:  # a link to a folder above would never end
            raise SourceError(f"{self.root}/{below}: folders nest deeper than 16; remove the loop")
        folders, images = self.listing(below)
        for folder in folders:
            images += self.images(folder, depth + 1)
        return images

    def notes(self) -> Iterator[str]:
        """A sentence for each kind of file left out."""
        if self.hidden:
            yield f"{len(self.hidden)} hidden files or folders left out: {some(self.hidden)}"
        if self.other:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.other.most_common(SHOWN))
            wanted = "neither PNG nor JPEG" if self.suffixes == SUFFIXES else "something else"
            yield f"files that are {wanted} left out: {kinds}"


def _may_be_read(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or a link; reading a pipe would wait for ever."""
    return entry.is_file() or entry.is_symlink()


def open_imagefolder(path: str, *, mode: str = "rgb") -> Source:
    """Images below `CLASS/` or `train|val|test/CLASS/`; labels are the sorted class names.

    mode: "rgb" (3 channels) or "grey" (1). `valid` and `validation` are the split "val". Images
    right in `path`, without any folder, have no label. Raises SourceError.
    """
    scan = Scan(find_root(path))
    rows = list(tree_rows(scan))
    return make_source("imagefolder", scan, rows, mode=mode)


def open_cinic10(path: str, *, mode: str = "rgb") -> Source:
    """CINIC-10: `train|valid|test/CLASS/`. Ids tell the origin (`cifar10-` or a WordNet id)."""
    scan = Scan(find_root(path))
    rows = list(tree_rows(scan))
    found = {row.category for row in rows}
    if not found <= set(CINIC10_CLASSES) or not all(row.split for row in rows):
        raise SourceError(
            f"{path}: expected train, valid and test with the folders {', '.join(CINIC10_CLASSES)},"
            f" got {some(sorted(found)) or 'no folders'}; for another tree use imagefolder:{path}"
        )
    return make_source("cinic10", scan, rows, mode=mode, classes=CINIC10_CLASSES)


def make_source(
    kind: str,
    scan: Scan,
    rows: list[Row],
    *,
    mode: str,
    classes: Iterable[str] = (),
    label_names: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Source:
    """The source of these images; the first that can be decoded gives the shape of all.

    classes: in label order (default: sorted). label_names: what to call them (default: the same).
    Raises SourceError.
    """
    if mode not in MODES:
        raise SourceError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if not rows:
        left_out = "; ".join(scan.notes())
        raise SourceError(
            f"{scan.root}: no image files ({', '.join(SUFFIXES)}) found{'; ' * bool(left_out)}"
            f"{left_out}; expected {scan.root}/CLASS/*.png or {scan.root}/train/CLASS/*.png"
        )
    order = tuple(classes) or tuple(sorted({row.category for row in rows} - {""}))
    number = {name: label for label, name in enumerate(order)} | {"": -1}
    names = [row.name for row in rows]
    _check_names(scan.root, names)
    reader = _sized(FolderReader(str(scan.root), names, MODES[mode]))
    height, width = reader.size or (0, 0)
    channels = ("red", "green", "blue") if mode == "rgb" else ("grey",)
    return Source(
        kind=kind,
        location=str(scan.root),
        sample="image",
        shape=(height, width, len(channels)),
        channels=channels,
        dtype=np.dtype(np.uint8),
        maximum=255.0,
        ids=names,
        labels=np.array([number[row.category] for row in rows], dtype=np.int64),
        label_names=label_names or order,
        splits=[row.split for row in rows],
        reader=reader,
        citation=KINDS[kind].citation,
        licence=KINDS[kind].licence,
        notes=(*scan.notes(), *_twins(names), *notes),
    )


def find_root(path: str) -> Path:
    """The folder at `path`. Raises SourceError for a file or where nothing is."""
    root = Path(path).expanduser()
    if root.is_file():
        raise SourceError(f"{root} is a file, expected a folder; unpack an archive first")
    if not root.is_dir():
        raise SourceError(f"{root}: no such folder")
    return root


def tree_rows(scan: Scan) -> Iterator[Row]:
    """Rows of a tree by split, class and name. A class may be called `train` beside others."""
    folders, images = scan.listing()
    if folders and all(folder.lower() in SPLITS for folder in folders):
        order = list(dict.fromkeys(SPLITS.values()))
        for split in sorted(folders, key=lambda folder: order.index(SPLITS[folder.lower()])):
            yield from class_rows(scan, split, SPLITS[split.lower()])
    else:
        _check_not_mixed(scan, folders)
        yield from class_rows(scan, "", "", (folders, images))


def _check_not_mixed(scan: Scan, folders: list[str]) -> None:
    """Refuse split folders beside others: read as classes, their names would be the labels."""
    splits = [folder for folder in folders if folder.lower() in SPLITS]
    others = [folder for folder in folders if folder.lower() not in SPLITS]
    for split in splits:
        if any(entry.is_dir() for entry in (scan.root / split).iterdir()):
            raise SourceError(
                f"{scan.root}: {split} holds folders, as a split does, but beside it lie"
                f" {some(others)}; expected splits only or classes only: move {some(others)} away"
            )


def class_rows(
    scan: Scan, below: str, split: str, listed: tuple[list[str], list[str]] | None = None
) -> Iterator[Row]:
    folders, images = listed or scan.listing(below)
    if folders and images:
        raise SourceError(
            f"{scan.root / below}: {len(images)} images beside {len(folders)} class folders,"
            f" such as {images[0]}; move them into a class folder or away"
        )
    for name in images:
        yield Row(name, "", split)
    for folder in folders:
        for name in scan.images(folder):
            yield Row(name, folder.rpartition("/")[2], split)


def _sized(reader: FolderReader) -> FolderReader:
    """The reader that expects the size of its first readable image."""
    first: SampleError | None = None
    for position in range(len(reader.names)):
        try:
            height, width, _ = reader.read(position).shape
            return replace(reader, size=(height, width))
        except SampleError as error:
            first = first or error
    raise SourceError(
        f"{reader.root}: none of {len(reader.names)} images can be decoded;"
        f" the first, {reader.names[0]}, {first}"
    )


def _check_names(root: Path, names: list[str]) -> None:
    """File names become ids, and ids are UTF-8."""
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        bad = [name for name in names if not name.isprintable()]
        raise SourceError(
            f"{root}: {len(bad)} file names are not UTF-8, such as {bad[0]!a};"
            " rename them (convmv does many at once)"
        ) from None


def _twins(names: list[str]) -> Iterator[str]:
    """A note when one name has several suffixes: often the same picture twice."""
    stems = Counter(os.path.splitext(name)[0] for name in names)  # noqa: PTH122
    twins = [stem for stem, count in stems.items() if count > 1]
    if twins:
        yield f"{len(twins)} names exist with several suffixes, such as {some(twins)}"


def some(items: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more
