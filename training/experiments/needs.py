"""The data of an experiment: samples of a data set, and the stores that are built of them.

Archives are unpacked once below the cache root; at a small scale only some of their members are.
"""

from __future__ import annotations

import lzma
import os
import re
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pi_cache import files
from pi_cache.errors import PiCacheError, SourceError

SHARED = "PI_SHARED_DATA"
BESIDE = Path("..") / "shared" / "data"
UNPACKED = "unpacked"
BROKEN = (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error)
"""What reading an archive raises that ends too early, or is none."""
Say = Callable[[str], None]


class DataNotFound(PiCacheError, FileNotFoundError):
    """Raw data that an experiment needs are not where they were looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Samples of each side in one fold, folds, and classes: what the time depends on."""

    train: int
    validation: int
    test: int
    classes: int
    folds: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Data, and the stores that are built of them.

    data: in words, for people. archives: of a data set in the folder of the data, as a glob, empty
    where it is no archive. inside: the folder within them that the source reads. keep: a pattern of
    the members that are unpacked, and `name` of the folder that they are unpacked to. source: of
    the pipeline, with {path}. whole: (folder of the data, source) of a data set that needs no
    unpacking, taken where it is there.
    stores: words of `pipeline build-pis` or `build-gafs` by the name that the plan gives them.
    shapes: of one sample, by that name and `inputs`, channels first. folds: words of `pi-cache
    folds`; none where the stored splits divide. samples: how many the data set has, of a source
    that also reads a part of it; 0 where that is not checked.
    """

    data: str
    stores: Mapping[str, tuple[str, ...]]
    shapes: Mapping[str, tuple[int, ...]]
    counts: Counts
    archives: str = ""
    name: str = ""
    inside: str = ""
    source: str = ""
    keep: str = ".*"
    whole: tuple[str, str] | None = None
    options: tuple[str, ...] = ()
    folds: tuple[str, ...] = ()
    samples: int = 0


def data_folder(given: Path | None) -> Path:
    """Where raw data lie: as given, $PI_SHARED_DATA, or ../shared/data. Raises DataNotFound."""
    told = os.environ.get(SHARED)
    folder = given or (Path(told) if told else BESIDE)
    if not files.is_folder(folder):
        raise DataNotFound(
            f"no raw data in {folder}: give --data DIR or set {SHARED}; docs/experiments.md says"
            " what lies in it"
        )
    return folder.absolute()


def open_source(needs: Needs, data: Path | None, root: Path, say: Say) -> str:
    """The source of the pipeline, unpacked where it is an archive.

    Raises DataNotFound, SourceError for an archive that is damaged.
    """
    folder = data_folder(data)
    if needs.whole is not None and files.is_folder(folder / needs.whole[0]):
        return needs.whole[1].format(path=folder / needs.whole[0])
    archives = sorted(folder.glob(needs.archives)) if needs.archives else []
    if not archives:
        missing = needs.archives or (needs.whole or (needs.data,))[0]
        raise DataNotFound(
            f"{folder} has no {missing}, which this experiment reads ({needs.data}); give"
            " --data DIR"
        )
    unpacked = root / UNPACKED / needs.name
    for archive in archives:
        _unpack(archive, unpacked, re.compile(needs.keep), say)
    return needs.source.format(path=unpacked / needs.inside)


def _unpack(archive: Path, folder: Path, keep: re.Pattern[str], say: Say) -> None:
    """Put the members whose name matches below a folder; what was unpacked once stays.

    Each appears there whole, as another experiment may read the folder already.
    """
    done = folder / f".{archive.name}.done"
    if files.exists(done):
        return
    say(f"unpacking {archive.name} to {folder}")
    files.make_directory(folder)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as aside:
        _extract(archive, Path(aside), keep)
        found = list(files.tree(Path(aside)))
        for path in found:
            place = folder / path.relative_to(aside)
            files.make_directory(place.parent)
            path.replace(place)
    if not found:
        raise DataNotFound(
            f"{archive} holds nothing that this experiment reads; docs/experiments.md says what"
            " lies in it"
        )
    files.publish(done, b"", temporary=folder)


def _extract(archive: Path, folder: Path, keep: re.Pattern[str]) -> None:
    """Extract the members whose name matches. Not as a stream, which may end early unnoticed."""
    try:
        with tarfile.open(archive, "r:*") as members:
            for member in members:
                if member.isfile() and keep.fullmatch(member.name):
                    members.extract(member, folder, filter="data")
    except BROKEN as error:
        said = (str(error).splitlines() or ["it ends too early"])[0]
        raise SourceError(
            f"{archive} cannot be unpacked ({said}); it is damaged, or no archive: get it anew"
        ) from error
