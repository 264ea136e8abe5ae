"""Time series of the UCR and UEA archives, in their `.ts` text format.

A file is a header of `@name value` lines, then a line a sample: the values of a dimension joined by
commas, the dimensions and the class label joined by colons. `?` or `NaN` is a missing value. The
parser is ours because the libraries that read these few lines bring a whole framework with them.

Reference: aeon's description of the format, https://www.aeon-toolkit.org (data format of `.ts`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pi_cache.errors import SourceError
from pipeline.sources.base import Source

SPLITS = {"_train": "train", "_test": "test"}
MOST_DIGITS = 9
"""Of a number of dimensions; Python itself refuses to read thousands of digits."""
CITATION = (
    "Dau et al., The UCR time series archive, IEEE/CAA J. Autom. Sinica 6, 2019; Bagnall et al., "
    "The UEA multivariate time series classification archive, arXiv:1811.00075, 2018"
)


def open_ucr(path: str | Path) -> Source:
    """Signals (T, C) float64 of a `.ts` file, or of NAME_TRAIN.ts and NAME_TEST.ts in a folder.

    The split is that of the file name, labels count in the order of @classLabel. Where lengths
    differ, T is None in the shape. A missing value is NaN, and `read_samples` gives its sample the
    status NAN. Every value is read when the source is opened.
    Raises SourceError, naming file and line, for a file that is not of the format.
    """
    files = [_parse(file, split) for file, split in _find_files(Path(path))]
    _check_alike(files)
    names = files[0].header.label_names
    rows = [(file, row) for file in files for row in file.rows]
    series = [row.values for _, row in rows]
    lengths = {len(values) for values in series}
    together = np.stack(series) if len(lengths) == 1 else None
    dimensions = files[0].dimensions
    return Source(
        kind="ucr",
        location=str(path),
        sample="signal",
        shape=(lengths.pop() if len(lengths) == 1 else None, dimensions),
        channels=("value",) if dimensions == 1 else tuple(f"dim{k}" for k in range(dimensions)),
        dtype=np.dtype(np.float64),
        maximum=None,
        ids=[f"{file.split or 'sample'}-{k:04d}" for file in files for k in range(len(file.rows))],
        labels=np.array([names.index(row.label) if names else -1 for _, row in rows], np.int64),
        reader=_Series(series if together is None else together),
        label_names=names,
        splits=[file.split for file, _ in rows],
        citation=CITATION,
        licence="stated per data set; the archives ask to be cited",
    )


@dataclass(frozen=True)
class _Series:
    """Samples in memory: (n, T, C), or a list of (T, C). A slice pickles its own samples only."""

    series: np.ndarray | Sequence[np.ndarray]

    def read(self, position: int) -> np.ndarray:
        """One sample (T, C)."""
        return self.series[position]

    def read_together(self) -> np.ndarray | None:
        """All samples (n, T, C), or None where their lengths differ."""
        return self.series if isinstance(self.series, np.ndarray) else None

    def slice(self, start: int, stop: int) -> _Series:
        """The samples start..stop."""
        return _Series(self.series[start:stop])

    def digests(self) -> Iterator[bytes]:
        """One SHA-256 a sample, of its shape and values; comments and spelling do not count."""
        for values in self.series:
            little = np.ascontiguousarray(values, dtype="<f8")
            yield hashlib.sha256(str(values.shape).encode() + little.tobytes()).digest()


@dataclass(frozen=True)
class _Header:
    """What `@` lines say: label_names is () without class labels."""

    label_names: tuple[str, ...] = ()
    dimensions: int | None = None
    equal_length: bool = False


@dataclass(frozen=True)
class _Row:
    values: np.ndarray
    label: str


@dataclass(frozen=True)
class _File:
    path: Path
    split: str
    header: _Header
    rows: list[_Row] = field(default_factory=list)

    @property
    def dimensions(self) -> int:
        return int(self.rows[0].values.shape[1])


def _find_files(path: Path) -> list[tuple[Path, str]]:
    """The `.ts` files of one problem with their splits, train before test."""
    if not path.is_dir():
        if path.suffix.lower() != ".ts" or not path.is_file():
            state = "is not a .ts file" if path.exists() else "does not exist"
            raise SourceError(
                f"{path} {state}; expected NAME_TRAIN.ts, or a folder with it and NAME_TEST.ts"
            )
        return [(path, _split(path))]
    found = [file for file in sorted(path.iterdir()) if file.suffix.lower() == ".ts"]
    problems = {_problem(file) for file in found}
    if len(problems) != 1 or len({_split(file) for file in found}) != len(found):
        names = ", ".join(file.name for file in found[:4]) or "none"
        raise SourceError(
            f"{path} has the .ts files {names}; expected NAME_TRAIN.ts and NAME_TEST.ts of one "
            "problem, give the folder of one or a single file"
        )
    return sorted(((file, _split(file)) for file in found), key=lambda pair: pair[1] != "train")


def _split(file: Path) -> str:
    return next((split for end, split in SPLITS.items() if file.stem.lower().endswith(end)), "")


def _problem(file: Path) -> str:
    split = _split(file)
    return file.stem[: -len(split) - 1] if split else file.stem


def _check_alike(files: list[_File]) -> None:
    """Both files of a problem have the same classes, in any order, and as many dimensions."""
    first = files[0]
    for other in files[1:]:
        mine, theirs = first.header.label_names, other.header.label_names
        if set(mine) != set(theirs):
            raise SourceError(
                f"{other.path} has classes {' '.join(theirs) or 'none'}, but {first.path.name} has "
                f"{' '.join(mine) or 'none'}; are they of one problem?"
            )
        if first.dimensions != other.dimensions:
            raise SourceError(
                f"{other.path} has {other.dimensions} dimensions, but {first.path.name} has "
                f"{first.dimensions}; are they of one problem?"
            )


def _parse(path: Path, split: str) -> _File:
    """The whole file. Raises SourceError with the line of the first problem."""
    try:
        # Comments of the archives are in several encodings; they must not stop the reading.
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            numbered = enumerate(lines, start=1)
            header = _parse_header(path, numbered)
            file = _File(path, split, header)
            for number, line in numbered:
                if line.strip() and not line.startswith("#"):
                    file.rows.append(_parse_row(line.strip(), file, f"{path}, line {number}"))
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
    if not file.rows:
        raise SourceError(f"{path} has no samples after @data; download it again")
    return file


def _parse_header(path: Path, numbered: Iterator[tuple[int, str]]) -> _Header:
    """The header; `numbered` stands behind @data afterwards."""
    known: dict[str, list[str]] = {}
    for number, line in numbered:
        if not line.strip() or line.startswith("#"):
            continue
        if not line.startswith("@"):
            raise SourceError(
                f"{path}, line {number}: expected a header line with @ or a comment with # before "
                f"@data, got {line.strip()[:40]!r}; is this a .ts file?"
            )
        name, *values = line[1:].split() or [""]
        if name.lower() == "data":
            return _make_header(path, known)
        known[name.lower()] = values
    raise SourceError(f"{path} has no @data line; is it a whole .ts file?")


def _make_header(path: Path, known: dict[str, list[str]]) -> _Header:
    for name, means in (("timestamps", "time stamps"), ("targetlabel", "numbers as targets")):
        if _flag(known, name):
            raise SourceError(
                f"{path} has {means} (@{name} true), which this release does not read; write the "
                "values as a .npy array with labels beside it"
            )
    names = tuple(known.get("classlabel", [])[1:]) if _flag(known, "classlabel") else ()
    if _flag(known, "classlabel") and len(set(names)) != max(len(names), 1):
        raise SourceError(
            f"{path}: @classLabel true needs each class once after it, got {' '.join(names)!r}"
        )
    return _Header(names, _dimensions(path, known), _flag(known, "equallength"))


def _flag(known: dict[str, list[str]], name: str) -> bool:
    return [value.lower() for value in known.get(name, [])[:1]] == ["true"]


def _dimensions(path: Path, known: dict[str, list[str]]) -> int | None:
    """How many dimensions the header declares, None where it says nothing."""
    says = known.get("dimensions") or known.get("dimension")
    if says is None:
        return 1 if _flag(known, "univariate") else None
    if not says[0].isdecimal() or len(says[0]) > MOST_DIGITS or int(says[0]) < 1:
        raise SourceError(f"{path}: @dimensions must be a whole number from 1, got {says[0]!r:.40}")
    return int(says[0])


def _parse_row(line: str, file: _File, where: str) -> _Row:
    """One sample (T, C) and its label. Raises SourceError that begins with `where`."""
    parts = line.split(":")
    names = file.header.label_names
    label = parts.pop().strip() if names else ""
    if names and label not in names:
        raise SourceError(
            f"{where}: the label is {label[:40]!r}, expected one of {' '.join(names)[:80]} after "
            "the last colon; the line may be cut"
        )
    expected = file.dimensions if file.rows else file.header.dimensions
    if not parts or (expected is not None and len(parts) != expected):
        raise SourceError(
            f"{where}: has {len(parts)} dimensions, expected {expected or 'at least one'}; "
            "the line may be cut"
        )
    values = [_parse_values(part, where) for part in parts]
    lengths = {len(value) for value in values}
    if len(lengths) != 1:
        raise SourceError(
            f"{where}: its dimensions have lengths {sorted(lengths)}, expected one length"
        )
    if file.header.equal_length and file.rows and len(file.rows[0].values) not in lengths:
        raise SourceError(
            f"{where}: has length {lengths.pop()}, the first sample has "
            f"{len(file.rows[0].values)} and the header says @equalLength true"
        )
    return _Row(np.stack(values, axis=1), label)  # (T, C)


def _parse_values(text: str, where: str) -> np.ndarray:
    """Values (T,) of one dimension, NaN for a missing one."""
    if not text.strip():
        return np.empty(0)
    try:
        return np.array([float(value) for value in text.replace("?", "nan").split(",")])
    except ValueError as error:
        raise SourceError(f"{where}: {error}, expected numbers, or ? for a missing one") from None
