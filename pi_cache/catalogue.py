"""Which stores lie under a root: find one, say why none fits, share diagrams."""

from __future__ import annotations

import json
import os
import string
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from pi_cache import files
from pi_cache.errors import (
    CorruptStore,
    PiCacheError,
    StorageFailed,
    StoreNotFound,
    UnfinishedStore,
    UnsupportedFormat,
)
from pi_cache.manifest import MALFORMED, ShardRecord, StoreManifest
from pi_cache.remote.address import is_remote
from pi_cache.root import STORES, check_root
from pi_cache.specs import RETRIED, SPEC_FORMAT, StoreSpec, differences

SHORTEST_PREFIX = 4
KEY_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One folder under `stores`.

    state: `finished`, `unfinished`, `damaged`, `unreadable` (the file system refuses), or `newer`
    (of a release after this one); problem says why it is not finished.
    """

    key: str
    path: Path
    state: str
    spec: StoreSpec | None = None
    manifest: StoreManifest | None = None
    problem: str = ""


def default_root() -> Path:
    """The cache root: $PI_CACHE, else the user's cache folder."""
    named = os.environ.get("PI_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("pi-cache", appauthor=False)


def parse_root(root: str | Path | None) -> Path:
    """`root`, or the default one."""
    return default_root() if root is None else Path(root)


def stores(root: str | Path | None = None) -> list[Entry]:
    """Every store under a root, by key; broken ones too."""
    return [read_entry(path) for path in folders(parse_root(root))]


def read_entry(path: Path) -> Entry:
    """What lies in one store folder; never raises for its content."""
    try:
        manifest = read_manifest(path)
        return Entry(path.name, path, "finished", manifest.spec, manifest)
    except PiCacheError as error:
        problem, state = str(error), _state(error)
    try:
        return Entry(path.name, path, state, read_spec(path), None, problem)
    except FileNotFoundError:
        return Entry(path.name, path, state, None, None, problem)
    except PiCacheError as error:
        return Entry(path.name, path, _state(error), None, None, str(error))


def _state(error: PiCacheError) -> str:
    """The state of a store whose document could not be read."""
    if isinstance(error, UnsupportedFormat):
        return "newer"
    if isinstance(error, StorageFailed):
        return "unreadable"
    return "unfinished" if isinstance(error, FileNotFoundError) else "damaged"


def core_seconds(entry: Entry) -> float:
    """Seconds that one core took for what a store holds: what is lost with it, and saved by it.

    As far as its files can be read.
    """
    if entry.manifest is not None:
        return float(sum(entry.manifest.seconds.values()))
    total, places = 0.0, []
    with suppress(StorageFailed):
        places = files.listing(entry.path / "ledger")
    for place in places:
        with suppress(FileNotFoundError, PiCacheError, *MALFORMED):
            total += sum(ShardRecord.from_bytes(files.read_bytes(place)).seconds.values())
    return total


def locate(store: str | Path, root: str | Path | None = None) -> Path:
    """The folder of a store named by path, key or unique start of a key. Raises StoreNotFound."""
    if is_remote(store):
        raise StoreNotFound(
            f"{store}: lies on another machine; copy it into a cache first: pi-cache pull {store}"
        )
    path = Path(store)
    if isinstance(store, Path) or files.is_folder(path):
        return path.absolute()
    return find(parse_root(root), str(store))


def find(root: str | Path, key_prefix: str) -> Path:
    """The only store folder under `root` whose key starts so. Raises StoreNotFound."""
    by_name = {path.name: path for path in folders(Path(root))}
    name = unique(key_prefix, by_name)
    if name is None:
        raise StoreNotFound(f"no store {key_prefix!r} under {root}; pi-cache ls lists the stores")
    return by_name[name]


def unique(key_prefix: str, names: Iterable[str]) -> str | None:
    """The only name that starts so, None where there is none. Raises StoreNotFound."""
    if len(key_prefix) < SHORTEST_PREFIX or set(key_prefix) - set(string.hexdigits):
        raise StoreNotFound(
            f"{key_prefix!r} is neither a folder nor the first {SHORTEST_PREFIX} or more"
            " characters of a key; pi-cache ls lists the stores"
        )
    found = [name for name in names if name.startswith(key_prefix.lower())]
    if len(found) > 1:
        listed = ", ".join(name[:12] for name in found)
        raise StoreNotFound(f"{key_prefix!r} fits {len(found)} stores: {listed}; give more of it")
    return found[0] if found else None


def nearest(root: str | Path, spec: StoreSpec) -> tuple[Entry, dict[str, tuple[Any, Any]]] | None:
    """The computed store that differs in the fewest fields, and those: (there, asked for).

    One of another representation is further than any of the same one.
    """
    found = [
        (entry, differences(entry.spec, spec))
        for entry in stores(root)
        if entry.spec is not None and entry.state in ("finished", "unfinished")
        if entry.spec.origin is None
    ]
    return min(found, key=lambda pair: ("representation" in pair[1], len(pair[1])), default=None)


def with_diagrams(root: str | Path, spec: StoreSpec) -> Path | None:
    """Another finished store that holds the diagrams of this spec: that of most of its samples."""
    found = []
    for entry in stores(root):
        manifest = entry.manifest
        if manifest is None or manifest.key == spec.key:
            continue
        if manifest.diagram_key != spec.diagram_key:
            continue
        if any(column.name == "points" for column in manifest.columns):
            found.append((lost_samples(manifest.status), entry.path))
    return min(found, default=(0, None))[1]


def lost_samples(status: Mapping[str, int]) -> int:
    """How many samples another attempt may compute, by the counts of a record or a manifest."""
    return sum(status.get(code.name, 0) for code in RETRIED)


def read_manifest(path: Path) -> StoreManifest:
    """The manifest of a store folder.

    Raises UnfinishedStore when it was begun only, StoreNotFound when nothing is there,
    CorruptStore, UnsupportedFormat.
    """
    place = path / "manifest.json"
    try:
        manifest = StoreManifest.from_bytes(files.read_bytes(place))
        check_home(path, manifest.key)
        return manifest
    except (CorruptStore, UnsupportedFormat) as error:
        raise type(error)(f"{place}: {error}") from error
    except FileNotFoundError:
        pass
    if files.exists(path / "spec.json") or files.exists(path / "blueprint.json"):
        raise UnfinishedStore(f"{path}: begun and not finished; run the same build again")
    raise StoreNotFound(f"no store in {path}; pi-cache ls lists the stores")


def check_home(path: Path, key: str) -> None:
    """Raise CorruptStore when a folder with the name of one key holds the store of another."""
    is_key = len(path.name) == KEY_LENGTH and not set(path.name) - set(string.hexdigits)
    if is_key and path.name != key:
        raise CorruptStore(
            f"another store lies here: the folder of {path.name[:12]} holds store {key[:12]};"
            " move it away"
        )


def read_spec(path: Path) -> StoreSpec:
    """The spec of a store folder. Raises FileNotFoundError, CorruptStore, UnsupportedFormat."""
    place = path / "spec.json"
    data = files.read_bytes(place)
    try:
        document = json.loads(data)
        if not isinstance(document.get("format_version"), int):
            raise ValueError("it has no format version")
        return _parse_spec(document)
    except UnsupportedFormat as error:
        raise UnsupportedFormat(f"{place}: {error}") from error
    except (CorruptStore, *MALFORMED) as error:
        raise CorruptStore(f"{place}: cannot be read: {error}") from error


def _parse_spec(document: dict[str, Any]) -> StoreSpec:
    """The spec; a key that fits our own version says that it is the version that was damaged."""
    try:
        return StoreSpec.from_document(document)
    except UnsupportedFormat:
        with suppress(*MALFORMED):
            StoreSpec.from_document({**document, "format_version": SPEC_FORMAT})
            if document["key"] is not None:
                raise CorruptStore("its format version is damaged") from None
        raise


def folders(root: Path) -> list[Path]:
    """The folder of every store under a root. Raises UnsupportedFormat for a newer root."""
    check_root(root)
    return [path for path in files.listing(root.absolute() / STORES) if files.is_folder(path)]
