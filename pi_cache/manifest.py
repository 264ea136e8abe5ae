"""What a store says about itself: blueprint when begun, a record a shard, manifest when finished.

Each is a JSON document with a format version and the SHA-256 of its own content, so that a
damaged document is refused and never half believed.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple, Self

from pi_cache.errors import CorruptStore, InvalidSpec, UnsupportedFormat
from pi_cache.layout import Column, Layout
from pi_cache.specs import StoreSpec, canonical_digest

FORMAT_VERSION = 1
TABLE_SHARD = -1
"""Number of the record that holds the metadata and the tables rather than a shard."""


class FileEntry(NamedTuple):
    """Size in bytes and SHA-256 of a file."""

    size: int
    sha256: str


INSIDE = re.compile(r"data\.zarr(/(?!\.{1,2}(/|$))[^/\\\0]+)+")
"""A path that stays inside data.zarr."""

MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What content of a wrong form makes a parser raise."""

Files = Mapping[str, FileEntry]

TYPES: dict[str, type] = {"int": int, "str": str, "Mapping": Mapping, "Files": Mapping}
"""The annotations that are checked when a document is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A sealed JSON document; subclasses say how their fields become plain values."""

    what: ClassVar[str]

    def __post_init__(self) -> None:
        for f in fields(self):
            wanted, value = TYPES.get(str(f.type).partition("[")[0]), getattr(self, f.name)
            if wanted and (not isinstance(value, wanted) or isinstance(value, bool)):
                raise TypeError(f"{f.name} must be {f.type}, got {value!r:.50}")

    def to_bytes(self) -> bytes:
        """The stored form."""
        content = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        sealed = {"format_version": FORMAT_VERSION, **content}
        sealed["checksum"] = canonical_digest(sealed)
        return json.dumps(sealed, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The document. Raises UnsupportedFormat, or CorruptStore when it is damaged."""
        content = _parse_sealed(data, cls.what)
        try:
            document = cls(**cls._parse(content))
            problems = ", ".join(document._problems())
        except (CorruptStore, UnsupportedFormat):
            raise
        except MALFORMED as error:
            raise CorruptStore(f"this {cls.what} cannot be read: {error}") from error
        if problems:
            raise CorruptStore(f"this {cls.what} disagrees with itself: {problems}")
        return document

    def _problems(self) -> Iterator[str]:
        """What in a document contradicts the rest of it."""
        yield from ()

    @classmethod
    def _parse(cls, content: dict[str, Any]) -> dict[str, Any]:
        return content


def _parse_column(content: dict[str, Any]) -> Column:
    """A sealed document that says more of an array than we know was written by a newer release."""
    unknown = ", ".join(sorted(set(content) - {f.name for f in fields(Column)}))
    if unknown:
        raise UnsupportedFormat(
            f"this release does not know {unknown} of the array {content.get('name')!r}; a newer"
            " one wrote it: pip install -U pi-cache"
        )
    return Column(**content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint(Document):
    """What was settled when a store was begun; the first builder decides, the others follow."""

    what = "blueprint"

    key: str
    samples: int
    layout: Layout
    columns: tuple[Column, ...]
    tables: tuple[str, ...]
    label_names: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""

    def __post_init__(self) -> None:
        Document.__post_init__(self)
        for column in self.columns:
            column.shard_format(self.layout)  # refuses what no reader could hold in memory

    @classmethod
    def _parse(cls, content: dict[str, Any]) -> dict[str, Any]:
        return content | {
            "layout": Layout(**content["layout"]),
            "columns": tuple(_parse_column(column) for column in content["columns"]),
            "tables": _strings(content["tables"]),
            "label_names": _strings(content["label_names"]),
        }

    @property
    def digest(self) -> str:
        """SHA-256 of what decides the bytes of a shard beside its numbers."""
        columns = [column.to_dict() for column in self.columns]
        return canonical_digest({"layout": self.layout.to_dict(), "columns": columns})

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.samples // self.layout.shard_samples)

    def sample_range(self, k: int) -> range:
        """The samples of shard k."""
        size = self.layout.shard_samples
        if not 0 <= k < self.shards:
            raise InvalidSpec(f"shard must lie in 0..{self.shards - 1}, got {k}")
        return range(k * size, min((k + 1) * size, self.samples))

    def column(self, name: str) -> Column:
        """The column of that name. Raises InvalidSpec with the known names."""
        for column in self.columns:
            if column.name == name:
                return column
        known = ", ".join(column.name for column in self.columns)
        raise InvalidSpec(f"no array {name!r} in this store; it has {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecord(Document):
    """One shard that is done: its samples `start`..`stop`, its files, and what was seen.

    blueprint: digest of the blueprint it was written for. statistics: numbers, lists or mappings
    of them; see `merged`. seconds: time by step.
    """

    what = "shard record"

    key: str
    blueprint: str
    shard: int
    start: int
    stop: int
    files: Files
    status: Mapping[str, int] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def _parse(cls, content: dict[str, Any]) -> dict[str, Any]:
        return content | {"files": parse_files(content["files"])}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreManifest(Document):
    """A finished store; it exists only when all of its files do.

    digest: SHA-256 over path and SHA-256 of every file of `data.zarr`, independent of time.
    """

    what = "manifest"

    key: str
    diagram_key: str
    spec: StoreSpec
    blueprint: Blueprint
    samples: int
    shards: int
    files: Files
    digest: str
    status: Mapping[str, int]
    statistics: Mapping[str, Any]
    seconds: Mapping[str, float]
    versions: Mapping[str, str]
    created: str

    @classmethod
    def _parse(cls, content: dict[str, Any]) -> dict[str, Any]:
        return content | {
            "spec": StoreSpec.from_dict(content["spec"]),
            "blueprint": Blueprint(**Blueprint._parse(content["blueprint"])),
            "files": parse_files(content["files"]),
            "created": _text(content, "created"),
        }

    def _problems(self) -> Iterator[str]:
        spec, blueprint = self.spec, self.blueprint
        if not spec.key == blueprint.key == self.key or spec.diagram_key != self.diagram_key:
            yield "keys"
        if files_digest(self.files) != self.digest:
            yield "digest of the files"
        if not spec.source.samples == blueprint.samples == self.samples:
            yield "number of samples"
        if self.shards != blueprint.shards or not self._is_complete():
            yield "shards and files"
        names = {column.name for column in self.columns}
        if "status" in names and sum(self.status.values()) != self.samples:
            yield "status counts"
        if not all(type(spent) in (int, float) for spent in self.seconds.values()):
            yield "seconds"
        channels = blueprint.attributes.get("channels")
        count = len(_strings(channels)) if channels else 0
        if count and "images" in names and blueprint.column("images").shape[0] != count:
            yield "names of channels"

    def _is_complete(self) -> bool:
        """Whether the file of every shard and table is listed, shards long enough for an index."""
        if len(self.files) < self.shards * len(self.columns):
            return False  # before so many names are made
        for column in self.columns:
            least = column.shard_format(self.layout).index_bytes
            for k in range(self.shards):
                entry = self.files.get(column.shard_file(k))
                if entry is None or entry.size < least:
                    return False
        return all(f"data.zarr/{name}/c.0" in self.files for name in self.blueprint.tables)

    @property
    def layout(self) -> Layout:
        """Sizes of files and chunks."""
        return self.blueprint.layout

    @property
    def columns(self) -> tuple[Column, ...]:
        """The arrays with a row for every sample."""
        return self.blueprint.columns

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files.values())


def parse_files(document: Mapping[str, Any]) -> Files:
    """The files of a document. Raises CorruptStore for a path that leaves the store."""
    files = {}
    for path, entry in document.items():
        if not INSIDE.fullmatch(path):
            raise CorruptStore(f"a store lists only files inside data.zarr, got {path!r}")
        size, sha256 = entry["size"], entry["sha256"]
        if type(size) is not int or size < 0 or not isinstance(sha256, str):
            raise CorruptStore(f"{path}: size and SHA-256 are {size!r:.50} and {sha256!r:.50}")
        files[path] = FileEntry(size, sha256)
    return files


def _text(content: Mapping[str, Any], name: str) -> str:
    value = content[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, got {value!r:.50}")
    return value


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"expected a list of strings, got {value!r:.50}")
    return tuple(value)


def files_digest(files: Files) -> str:
    """SHA-256 over the sorted paths and digests."""
    lines = (f"{path}\0{files[path].sha256}\n" for path in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def merged(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Statistics of several shards as one.

    Numbers and lists of one length are added; a name that starts with `min` or `max` keeps the
    smallest or largest; mappings are merged name by name. `lowest` and `highest` are lists of pairs
    (value, count): the smallest or largest value stays, with the counts of those that have it.
    None is nothing.
    """
    total: dict[str, Any] = {}
    for document in documents:
        for name, value in document.items():
            total[name] = _merge(name, total[name], value) if name in total else value
    return total


EXTREMES = {"lowest": min, "highest": max}
"""Names of lists of extreme values with their counts."""


def _merge(name: str, one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, Mapping):
        return merged((one, other))
    if name in EXTREMES:
        return [_extreme(EXTREMES[name], a, b) for a, b in zip(one, other, strict=True)]
    if isinstance(one, list | tuple):
        return [_merge(name, a, b) for a, b in zip(one, other, strict=True)]
    choose = {"min": min, "max": max}.get(name[:3])
    return choose(one, other) if choose else _sum(one, other)


def _sum(one: Any, other: Any) -> Any:
    """Of numbers; of floats the largest one where it is larger: a document holds finite numbers."""
    total = one + other
    return min(total, sys.float_info.max) if isinstance(total, float) else total


def _extreme(
    choose: Callable[..., Any], one: Sequence[Any] | None, other: Sequence[Any] | None
) -> list[Any] | None:
    """The pair of the extreme value, or both counts with it."""
    pairs = [pair for pair in (one, other) if pair is not None]
    if not pairs:
        return None
    value = choose(value for value, _ in pairs)
    return [value, sum(count for found, count in pairs if found == value)]


def _parse_sealed(data: bytes, what: str) -> dict[str, Any]:
    try:
        content = json.loads(data, object_pairs_hook=_unique, parse_constant=_refuse)
        if not isinstance(content, dict):
            raise ValueError("it is no object")
        checksum = content.pop("checksum", None)
        version = content.pop("format_version", None)
        whole = checksum == canonical_digest({"format_version": FORMAT_VERSION, **content})
    except MALFORMED as error:
        raise CorruptStore(f"this {what} is not valid JSON: {error}") from None
    # A checksum that fits our own version says that it is the version that was damaged.
    if type(version) is int and version != FORMAT_VERSION and not whole:
        raise UnsupportedFormat(
            f"{what} format {version} is not supported, this release reads {FORMAT_VERSION};"
            " install a newer release"
        )
    if type(version) is not int or version != FORMAT_VERSION or not whole:
        raise CorruptStore(f"this {what} is damaged: its checksum does not match its content")
    return content


def is_as_written(data: bytes) -> bool:
    """Whether a document that was read has the very bytes that were written for what it says."""
    try:
        written = json.dumps(json.loads(data), indent=1, ensure_ascii=False).encode() + b"\n"
    except MALFORMED:  # damaged since it was read
        return False
    return written == data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name occurs twice")
    return content


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number of JSON")


def _plain(value: Any) -> Any:
    if isinstance(value, FileEntry):
        return value._asdict()
    if isinstance(value, Document):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
