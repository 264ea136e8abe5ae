"""CIFAR-10 and CIFAR-100 as released: 32 x 32 colour images in binary records or Python batches.

Binary records (`*.bin`) are one label byte (CIFAR-100: coarse, then fine) and 3,072 pixel bytes in
the order channel, row, column; a worker reads the records it was given. Python batches are pickles:
a loader that makes byte arrays and nothing else reads them, a whole batch at a time (30 MB,
CIFAR-100 150 MB, in each process), so prefer the binary release. The same images have the same
fingerprint from either.

Reference: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache.errors import SourceError
from pipeline.sources.base import Source
from pipeline.sources.batches import describe, load_batch

PLANES = 3 * 32 * 32
"""Bytes of an image: channel, row, column."""

RECORDS_AT_ONCE = 4096


@dataclass(frozen=True)
class _Release:
    """One data set's files. batches: (file stem, split, records); label_at: label byte taken."""

    kind: str
    folders: tuple[str, str]
    batches: tuple[tuple[str, str, int], ...]
    label_bytes: int
    label_at: int
    label_key: bytes
    classes: int
    names_text: str
    names_pickle: str
    names_key: bytes
    known_names: tuple[str, ...] = ()


CIFAR10 = _Release(
    kind="cifar10",
    folders=("cifar-10-batches-bin", "cifar-10-batches-py"),
    batches=(
        *((f"data_batch_{k}", "train", 10_000) for k in range(1, 6)),
        ("test_batch", "test", 10_000),
    ),
    label_bytes=1,
    label_at=0,
    label_key=b"labels",
    classes=10,
    names_text="batches.meta.txt",
    names_pickle="batches.meta",
    names_key=b"label_names",
    known_names=(
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
)

CIFAR100 = _Release(
    kind="cifar100",
    folders=("cifar-100-binary", "cifar-100-python"),
    batches=(("train", "train", 50_000), ("test", "test", 10_000)),
    label_bytes=2,
    label_at=1,
    label_key=b"fine_labels",
    classes=100,
    names_text="fine_label_names.txt",
    names_pickle="meta",
    names_key=b"fine_label_names",
)

COARSE: dict[str, Any] = {
    "label_at": 0,
    "label_key": b"coarse_labels",
    "classes": 20,
    "names_text": "coarse_label_names.txt",
    "names_key": b"coarse_label_names",
}


def open_cifar10(path: str | Path) -> Source:
    """60,000 images (32, 32, 3) uint8 of CIFAR-10, the 50,000 for training first.

    path: the folder of data_batch_1.bin .. test_batch.bin or of the Python batches, or its parent.
    Raises SourceError where files are missing, of another size, or not what they should be.
    """
    return _open(Path(path), CIFAR10)


def open_cifar100(path: str | Path, *, labels: str = "fine") -> Source:
    """60,000 images (32, 32, 3) uint8 of CIFAR-100, the 50,000 for training first.

    path: the folder of train.bin and test.bin or of the Python files, or its parent.
    labels: `fine` (100 classes) or `coarse` (20); a source carries one of the two, and each choice
    has a fingerprint of its own.
    Raises SourceError where files are missing, of another size, or not what they should be.
    """
    if labels not in ("fine", "coarse"):
        raise SourceError(f"labels of cifar100 must be fine or coarse, got {labels!r}")
    release = CIFAR100 if labels == "fine" else replace(CIFAR100, **COARSE)
    other = "coarse" if labels == "fine" else "fine"
    note = f"labels are the {labels} ones; open with labels={other} for the {other} ones"
    return replace(_open(Path(path), release), notes=(note,))


def _open(path: Path, release: _Release) -> Source:
    parts = _find_parts(path, release)
    splits = [part.split for part in parts for _ in range(part.count)]
    train = splits.count("train")
    numbers = [*range(train), *range(len(splits) - train)]
    return Source(
        kind=release.kind,
        location=str(path),
        sample="image",
        shape=(32, 32, 3),
        channels=("red", "green", "blue"),
        dtype=np.dtype(np.uint8),
        maximum=255.0,
        ids=[f"{split}-{number:05d}" for split, number in zip(splits, numbers, strict=True)],
        labels=np.concatenate([_labels(part, release) for part in parts]),
        reader=_Images(parts, 0, len(splits)),
        label_names=_label_names(parts[0].path.parent, release),
        splits=splits,
        citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        licence="none stated; its authors ask for the citation",
    )


@dataclass(frozen=True)
class _Part:
    """One file of `count` records; label_bytes is 0 for a Python batch."""

    path: Path
    split: str
    count: int
    label_bytes: int

    def records(self, start: int, stop: int) -> np.ndarray:
        """Records start..stop as (m, label bytes + 3072) uint8."""
        self.check_size()  # a file that was cut meanwhile is an error, and no killed process
        width = self.label_bytes + PLANES
        data = np.fromfile(self.path, np.uint8, (stop - start) * width, offset=start * width)
        return data.reshape(stop - start, width)

    def batch(self) -> dict[Any, Any]:
        """The dictionary of a Python batch."""
        self.check_size()
        return load_batch(self.path)

    def check_size(self) -> None:
        """Raises SourceError for a file that is missing or not of the released size."""
        expected = self.count * (self.label_bytes + PLANES)
        # A batch also holds labels and file names, and its bytes may be written as UTF-8 text.
        limit = expected if self.label_bytes else 3 * expected
        says = f"{expected}" if self.label_bytes else f"{expected} to {limit}"
        try:
            size = self.path.stat().st_size
        except OSError as error:
            raise SourceError(
                f"{self.path} cannot be read ({error.strerror}), expected {says} bytes; unpack the "
                "whole archive again"
            ) from None
        if not expected <= size <= limit:
            raise SourceError(
                f"{self.path} has {size} bytes, expected {says} for {self.count} records; "
                "download and unpack it again"
            )


def _find_parts(path: Path, release: _Release) -> tuple[_Part, ...]:
    """The files of the release in `path` or below it, binary ones first, all of the right size."""
    if path.is_file():
        raise SourceError(
            f"{path} is a file, expected a folder; unpack an archive once (`tar -xzf`, or "
            f"`pipeline fetch {release.kind}`, which also checks it) and give that folder"
        )
    first = release.batches[0][0]
    for folder in (path, *(path / name for name in release.folders)):
        for suffix, label_bytes in ((".bin", release.label_bytes), ("", 0)):
            if not (folder / f"{first}{suffix}").is_file():
                continue
            parts = tuple(
                _Part(folder / f"{stem}{suffix}", split, count, label_bytes)
                for stem, split, count in release.batches
            )
            for part in parts:
                part.check_size()
            return parts
    raise SourceError(
        f"{path} has no {first}.bin and no {first}, nor has a folder {' or '.join(release.folders)}"
        f" in it; download the data with `pipeline fetch {release.kind}`, give the folder it prints"
    )


def _labels(part: _Part, release: _Release) -> np.ndarray:
    """Labels (count,) int64 of one file, all below the number of classes."""
    if part.label_bytes:
        labels = part.records(0, part.count)[:, release.label_at].astype(np.int64)
    else:
        labels = _batch_labels(part, release.label_key)
    wrong = np.flatnonzero((labels < 0) | (labels >= release.classes))
    if len(wrong):
        raise SourceError(
            f"{part.path} has label {labels[wrong[0]]} at record {wrong[0]}, expected "
            f"0..{release.classes - 1}; is this the {release.kind} release?"
        )
    return labels


def _batch_labels(part: _Part, key: bytes) -> np.ndarray:
    labels = part.batch().get(key)
    if (
        not isinstance(labels, list)
        or len(labels) != part.count
        or not all(type(label) is int for label in labels)
    ):
        raise SourceError(
            f"{part.path} holds {describe(labels)} as its {key.decode()}, expected a list of "
            f"{part.count} whole numbers; download and unpack it again"
        )
    # Clipped to what int64 holds, so that an absurd label is reported as one.
    return np.array([min(max(label, -1), 2**31) for label in labels], dtype=np.int64)


def _label_names(folder: Path, release: _Release) -> tuple[str, ...]:
    """From the text or pickled list beside the data, else the known ones (none for CIFAR-100)."""
    found = folder / release.names_text
    if found.is_file():
        names = tuple(found.read_text(encoding="utf-8", errors="replace").split())
    elif (found := folder / release.names_pickle).is_file():
        listed = load_batch(found).get(release.names_key)
        names = tuple(
            name.decode(errors="replace") if isinstance(name, bytes) else str(name)
            for name in (listed if isinstance(listed, list) else ())
        )
    else:
        return release.known_names
    if len(set(names)) != release.classes:
        raise SourceError(
            f"{found} has {len(set(names))} label names, expected {release.classes}; unpack the "
            "archive again, or remove the file to go without"
        )
    return names


class _Images:
    """Samples start..stop of the files, counted through all of them."""

    def __init__(self, parts: tuple[_Part, ...], start: int, stop: int) -> None:
        self.parts, self.start, self.stop = parts, start, stop
        self._loaded: tuple[_Part, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": None}

    def read(self, position: int) -> np.ndarray:
        """One image (32, 32, 3) uint8."""
        one = self.slice(position, position + 1)
        image: np.ndarray = one.read_together()[0]
        self._loaded = one._loaded
        return image

    def read_together(self) -> np.ndarray:
        """All images (n, 32, 32, 3) uint8."""
        images = np.empty((self.stop - self.start, 32, 32, 3), np.uint8)
        done = 0
        for planes in self._blocks():
            rows = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            images[done : done + len(rows)] = rows
            done += len(rows)
        return images

    def slice(self, start: int, stop: int) -> _Images:
        """A reader of these samples; pickled as names and numbers only."""
        part = _Images(self.parts, self.start + start, self.start + stop)
        part._loaded = self._loaded
        return part

    def digests(self) -> Iterable[bytes]:
        """One SHA-256 of all pixel bytes in the order channel, row, column."""
        digest = hashlib.sha256()
        for planes in self._blocks():
            digest.update(np.ascontiguousarray(planes).data)
        yield digest.digest()

    def _blocks(self) -> Iterator[np.ndarray]:
        """Pixels (m, 3072), a few megabytes at a time."""
        first = 0
        for part in self.parts:
            start, stop = max(self.start - first, 0), min(self.stop - first, part.count)
            for at in range(start, stop, RECORDS_AT_ONCE):
                yield self._planes(part, at, min(at + RECORDS_AT_ONCE, stop))
            first += part.count

    def _planes(self, part: _Part, start: int, stop: int) -> np.ndarray:
        """Pixels (m, 3072) of records start..stop. The last Python batch stays in memory."""
        if part.label_bytes:
            return part.records(start, stop)[:, part.label_bytes :]
        if self._loaded is None or self._loaded[0] != part:
            self._loaded = (part, _batch_planes(part))
        return self._loaded[1][start:stop]


def _batch_planes(part: _Part) -> np.ndarray:
    planes = part.batch().get(b"data")
    if not isinstance(planes, np.ndarray) or planes.shape != (part.count, PLANES):
        raise SourceError(
            f"{part.path} holds {describe(planes)} as its data, expected an array of shape "
            f"({part.count}, {PLANES}); download and unpack it again"
        )
    return planes
