"""A store as plain files for programs that do not know it: what goes out, and how it is resumed.

A folder that is exported into says so first (`export.json`: of which store, in which form), then
has its files, one after the other, and last `spec.json`, which lists them with their digests. An
export that was stopped goes on where the same is asked for; a folder with anything else in it is
refused.
"""

from __future__ import annotations

import errno
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cache import files
from pi_cache.errors import AlreadyPublished, InvalidSpec, StorageFull
from pi_cache.keeping.space import Need, room_of, shortages
from pi_cache.reader import Store
from pi_cache.specs import Status

FORMAT = 1
BEGUN, DONE = "export.json", "spec.json"
BLOCK = 1 << 24
"""Bytes of samples that are read at a time."""

Blocks = Callable[[], Iterable[files.Buffer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The OK samples of a store that go out: their numbers, ascending; inputs too where asked."""

    store: Store
    samples: NDArray[np.int64]
    split: str | None
    inputs: bool
    left_out: Mapping[str, int]

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that go out."""
        return ("images", "inputs") if self.inputs else ("images",)

    def shape(self, name: str) -> tuple[int, ...]:
        """(n, ...) of an array that goes out."""
        return (len(self.samples), *self.store.column(name).shape)

    def dtype(self, name: str) -> np.dtype[Any]:
        """Of an array that goes out, little-endian."""
        return np.dtype(self.store.column(name).dtype).newbyteorder("<")

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> Iterator[NDArray[Any]]:
        """Rows of an array in order, a block at a time."""
        numbers = self.samples[start:stop]
        size = int(np.prod(self.store.column(name).shape)) * self.dtype(name).itemsize
        step = max(1, BLOCK // max(1, size))
        for begin in range(0, len(numbers), step):
            rows = self.store.read(name, numbers[begin : begin + step])
            yield np.ascontiguousarray(rows, self.dtype(name))

    def texts(self, name: str) -> list[str] | None:
        """`ids`, `groups` or `splits` of the samples, None where the store has none."""
        column = getattr(self.store, name)
        return None if column is None else [str(text) for text in column[self.samples]]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of an export: its name, its exact size, and what it holds."""

    name: str
    size: int
    blocks: Blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export came to.

    found: it was there already, with the digests that it had. kept: files of an earlier attempt.
    """

    folder: Path
    form: str
    samples: int
    files: int
    bytes: int
    kept: int
    found: bool
    left_out: Mapping[str, int]


def select(store: Store, *, split: str | None = None, inputs: bool = False) -> Selected:
    """The OK samples of a store, of one split where it is named. Raises InvalidSpec for none."""
    chosen = np.arange(len(store))
    if split is not None:
        known = [] if store.splits is None else sorted(set(store.splits.tolist()))
        if store.splits is None or split not in known:
            raise InvalidSpec(
                f"no split {split!r} in this store; it has {', '.join(known) or 'none'}"
            )
        chosen = np.flatnonzero(store.splits == split)
    if inputs and "inputs" not in store.columns:
        raise InvalidSpec("this store has no inputs: build it without --no-inputs")
    status = store.status[chosen]
    left = Counter(_name(code) for code in status[status != Status.OK].tolist())
    samples = chosen[status == Status.OK].astype(np.int64)
    if not len(samples):
        raise InvalidSpec(f"nothing to export: none of {len(chosen)} samples is OK ({dict(left)})")
    return Selected(store=store, samples=samples, split=split, inputs=inputs, left_out=left)


def export(
    selected: Selected,
    folder: Path,
    form: str,
    contents: Iterable[File],
    *,
    settings: Mapping[str, Any] | None = None,
    check_space: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Exported:
    """Write the files of an export into a folder, or those that it lacks.

    form: `npy` or `webdataset`. settings: what else the bytes depend on. Raises AlreadyPublished
    where the folder holds something else, StorageFull before anything is written, CorruptStore.
    """
    identity = {**_identity(selected, form), **(settings or {})}
    every = list(contents)
    missing = [file for file in every if not _is_there(folder / file.name, file.size)]
    new = {file.name for file in missing}
    finished = not missing and files.exists(folder / DONE)
    _check_folder(folder, identity)
    if check_space and not finished:
        _check_space(folder, missing)
    files.sweep(folder)
    files.publish(folder / BEGUN, _json(identity), temporary=folder)
    listed = {}
    for number, file in enumerate(every):
        listed[file.name] = _publish(folder, file, new=file.name in new)
        say(f"{file.name}: {number + 1} of {len(every)} files")
    _finish(folder, {**identity, "files": listed, **_described(selected)})
    files.sweep(folder, older=0)
    return Exported(
        folder=folder,
        form=form,
        samples=len(selected.samples),
        files=len(every),
        bytes=sum(file.size for file in every),
        kept=len(every) - len(missing),
        found=finished,
        left_out=selected.left_out,
    )


def _finish(folder: Path, document: Mapping[str, Any]) -> None:
    """Write `spec.json`, or see that the one that is there says the same."""
    try:
        files.publish(folder / DONE, _json(document), temporary=folder)
    except AlreadyPublished as error:
        raise AlreadyPublished(
            f"{folder}: its files are not those that its {DONE} lists: they were changed since;"
            " export into another folder",
            (folder / DONE,),
        ) from error


def text_file(name: str, content: bytes) -> File:
    """A small file."""
    return File(name=name, size=len(content), blocks=lambda: (content,))


def _publish(folder: Path, file: File, *, new: bool) -> dict[str, Any]:
    """Write a file, unless it is there; its size and digest."""
    path = folder / file.name
    try:
        size, sha256 = (
            files.publish_blocks(path, file.blocks, temporary=folder) if new else files.digest(path)
        )
    except AlreadyPublished as error:
        raise AlreadyPublished(
            f"{path}: is not what this export writes; move it away, or export into another folder",
            (path,),
        ) from error
    return {"bytes": size, "sha256": sha256}


def _is_there(path: Path, size: int) -> bool:
    """Whether a file is there in its size; a file appears whole or not at all."""
    try:
        return files.size(path) == size
    except FileNotFoundError:
        return False


def _identity(selected: Selected, form: str) -> dict[str, Any]:
    """What the bytes of an export depend on."""
    return {
        "format_version": FORMAT,
        "form": form,
        "key": selected.store.key,
        "digest": selected.store.manifest.digest,
        "split": selected.split,
        "arrays": list(selected.arrays),
        "samples": len(selected.samples),
    }


def _described(selected: Selected) -> dict[str, Any]:
    """What there is to know of the samples, beside their numbers."""
    store = selected.store
    return {
        "left_out": dict(selected.left_out),
        "channels": list(store.channels),
        "label_names": list(store.label_names),
        "images": dict(store.column("images").attributes),
        "shapes": {name: list(selected.shape(name)) for name in selected.arrays},
        "dtypes": {name: selected.dtype(name).name for name in selected.arrays},
        "spec": store.spec.to_document(),
    }


def _check_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    """Raise AlreadyPublished unless a folder is empty, or holds some of this export."""
    try:
        begun = json.loads(files.read_bytes(folder / BEGUN))
        if not isinstance(begun, dict):
            raise ValueError
    except FileNotFoundError:
        others = [path for path in files.listing(folder) if not files.is_temporary(path.name)]
        if others:
            raise AlreadyPublished(
                f"{folder}: is not empty, it holds {others[0].name}; export into a new folder",
                tuple(others),
            ) from None
        return
    except ValueError:
        begun = {}
    differs = [
        f"{name} {begun.get(name)!r:.40} there, {value!r:.40} asked for"
        for name, value in identity.items()
        if begun.get(name) != value
    ]
    if differs:
        raise AlreadyPublished(
            f"{folder}: holds another export ({'; '.join(differs)}); choose another folder",
            (folder / BEGUN,),
        )


def _check_space(folder: Path, missing: Iterable[File]) -> None:
    sizes = [file.size for file in missing]
    found = shortages(room_of(folder), Need(bytes=sum(sizes), files=len(sizes) + 2))
    if found:
        raise files.failure(
            StorageFull,
            errno.ENOSPC,
            f"{folder}: too little room for this export: {'; '.join(found)}; choose another folder,"
            " export one --split, or insist with --no-space-check",
        )


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def _name(code: int) -> str:
    return Status(code).name if code in set(Status) else f"code {code}"
