"""Which files of a data set lie below a folder: by name, without opening any."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pi_cache.errors import SourceError

DEEPEST = 16
"""Folders within folders; a link to a folder above would never end."""


class Found(NamedTuple):
    """A file whose name fits: its path below the root with `/`, its size, and the groups."""

    file: str
    bytes: int
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Listing:
    """The files found below `root` in natural order (2 before 10), and what was left out."""

    root: str
    files: list[Found]
    notes: tuple[str, ...]


def list_files(path: str | Path, pattern: str) -> Listing:
    """Files below a folder whose path ends in the pattern, or the one file at `path`.

    pattern: of the last parts of a path, joined with `/`; letter case does not matter. The folder's
    own name counts, so that a folder of one subject can be given. Hidden files and `__MACOSX` are
    passed over. Raises SourceError where nothing is, or a folder cannot be listed.
    """
    given = Path(path).expanduser().absolute()
    root = given.parent if given.is_file() else given
    if not root.is_dir():
        raise SourceError(f"{given}: no such folder; give the folder of the unpacked data set")
    names = [given.name] if root != given else _walk(root, "", 0)
    expression = re.compile(rf"(?:.*/)?{pattern}", re.IGNORECASE | re.DOTALL)
    fits = [(name, expression.fullmatch(f"{root.name}/{name}")) for name in names]
    files, broken = [], []
    for name, match in sorted(fits, key=lambda pair: _natural(pair[0])):
        if match is not None:
            size = _size(root / name)
            if size is None:
                broken.append(name)
            else:
                files.append(Found(_checked(root, name), size, match.groups()))
    return Listing(str(root), files, tuple(_left_out(broken)))


def _walk(root: Path, below: str, depth: int) -> Iterator[str]:
    """Paths of all that is no folder, at any depth, with `/`."""
    if depth > DEEPEST:
        raise SourceError(f"{root}/{below}: folders nest deeper than {DEEPEST}; remove the loop")
    try:
        with os.scandir(root / below) as entries:
            listed = [(entry.name, _is_folder(entry)) for entry in entries]
    except OSError as error:
        raise SourceError(f"{error.filename}: cannot be listed ({error.strerror})") from error
    for name, is_folder in listed:
        if name.startswith(".") or name == "__MACOSX":
            continue
        if is_folder:
            yield from _walk(root, f"{below}{name}/", depth + 1)
        else:
            yield below + name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _natural(name: str) -> list[str | int]:
    """A key that sorts numbers in names by value; texts and numbers alternate."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if k % 2 else part for k, part in enumerate(parts)]


def _size(path: Path) -> int | None:
    """Bytes of a file; None for a pipe, a device or a link to nothing: opening it may hang."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _checked(root: Path, name: str) -> str:
    """The name, which becomes part of ids, and ids are UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise SourceError(
            f"{root}: the file name {name!a} is not UTF-8; rename it (convmv does many at once)"
        ) from None
    return name


def _left_out(broken: Sequence[str]) -> Iterator[str]:
    if broken:
        yield f"{len(broken)} names are no readable files and left out, such as {broken[0]}"


def composed(name: str) -> str:
    """A name in the one form in which letters and their marks are together (NFC).

    Macs may write Hangul and accents in pieces: a name that looks the same would be another id.
    """
    return unicodedata.normalize("NFC", name)


def check_once(listing: Listing, key: Callable[[Found], Hashable]) -> None:
    """Refuse a recording that lies in two places: one copy could be trained, the other tested on.

    key: what one recording is known by, whatever its folder. Raises SourceError.
    """
    seen: dict[Hashable, str] = {}
    for found in listing.files:
        first = seen.setdefault(key(found), found.file)
        if first != found.file:
            raise SourceError(
                f"{listing.root}: {first} and {found.file} have the names of one recording;"
                " move one copy away, or give the folder of the other"
            )
