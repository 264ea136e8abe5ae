"""Stores to be changed: their documents and shards, also with every checksum made right again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from pi_cache import catalogue, open_store, open_zarr
from pi_cache.errors import PiCacheError
from pi_cache.integrity.verification import verify
from pi_cache.specs import canonical_digest
from tests.faults import demand, scratch
from tests.faults.hostile import Files, Target, outcome
from tests.faults.mutations import mutated, mutated_document
from tests.pi_cache.made import (
    begin_store,
    fill_store,
    make_columns,
    make_spec,
    make_store,
)

SPEC = make_spec(20)
HOME = f"stores/{SPEC.key}/"
SEALED = ("manifest.json", "blueprint.json", "ledger/000001.json", "ledger/table.json")
TABLES = ("labels", "ids", "groups", "splits")


@cache
def store_files() -> Files:
    """The files of a finished store, by path below the cache."""
    with scratch() as root:
        make_store(root, SPEC)
        paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def read_cache(root: Path) -> None:
    """Everything that is done with a store. Raises Violation where what is delivered is wrong."""
    path = root / HOME
    uses: list[Callable[[], Any]] = [
        lambda: _check(path),
        lambda: verify(path),
        lambda: catalogue.stores(root),
        lambda: _read_zarr(path),
        lambda: fill_store(begin_store(root, SPEC)),
    ]
    for use in uses:
        with suppress(PiCacheError):
            use()
    _check(path)


def read_forged(root: Path) -> None:
    """The same, where what is delivered cannot be told from what was written."""
    path = root / HOME
    for use in (lambda: _read(path), lambda: verify(path), lambda: _read_zarr(path)):
        with suppress(PiCacheError):
            use()
    catalogue.stores(root)


def use_cache(pipe: Any, root: Path) -> None:
    """In a child: `read_cache`, and how that went."""
    pipe.send(outcome(lambda: read_cache(root)))


def _read(path: Path) -> dict[str, np.ndarray]:
    store = open_store(path)
    points, offsets = store.diagrams(slice(None))
    arrays = {name: store.read_all(name) for name in store.columns if name != "offsets"}
    arrays |= {name: np.asarray(getattr(store, name)) for name in TABLES}
    store.read("images", [3, 1, 1])
    return arrays | {"points": points, "offsets": offsets}


def _check(path: Path) -> None:
    expected = make_columns(SPEC)
    for name, found in _read(path).items():
        same = name not in expected or np.array_equal(found, expected[name], equal_nan=True)
        demand(same, f"{name} is read as other values than were written")


def _read_zarr(path: Path) -> None:
    """Some rows by zarr, whose own errors are no errors of ours once it has been let in."""
    group = open_zarr(path)
    with suppress(ValueError, RuntimeError, OSError, MemoryError):
        for name, array in sorted(group.arrays()):
            array[(0, slice(9)) if name == "points" else slice(9)]


def change_raw(files: Files, chance: random.Random) -> Files:
    """Any document of the store, changed as bytes."""
    names = [name for name in files if name.endswith(".json")]
    name = chance.choice(names)
    return {**files, name: mutated(files[name], chance, list(files.values()))}


def change_sealed(files: Files, chance: random.Random) -> Files:
    """A document with something nasty in it, and the right checksum."""
    name = HOME + chance.choice(SEALED)
    return {**files, name: sealed(mutated_document(json.loads(files[name]), chance))}


def change_spec(files: Files, chance: random.Random) -> Files:
    """The spec with something nasty in it."""
    name = f"{HOME}spec.json"
    changed = mutated_document(json.loads(files[name]), chance)
    return {**files, name: json.dumps(changed).encode()}


def change_shard(files: Files, chance: random.Random) -> Files:
    """A shard or table changed, with the digest of what it is now in every document."""
    names = [name for name in files if "/c." in name]
    name = chance.choice(names)
    change = chance.choice([_change_any, _change_chunk, _change_index])
    return forged(files, name, change(files[name], chance))


def change_metadata(files: Files, chance: random.Random) -> Files:
    """Metadata for zarr with something nasty in it, and the digest of that in every document."""
    name = chance.choice([name for name in files if name.endswith("zarr.json")])
    if chance.random() < 0.3:
        return forged(files, name, mutated(files[name], chance))
    changed = mutated_document(json.loads(files[name]), chance)
    return forged(files, name, json.dumps(changed).encode())


def sealed(document: Any) -> bytes:
    """The document with the right checksum, if it can have one at all."""
    if not isinstance(document, dict):
        return json.dumps(document).encode()
    content = {name: value for name, value in document.items() if name != "checksum"}
    with suppress(Exception):  # where the list of files is no such list any more
        lines = (f"{p}\0{entry['sha256']}\n" for p, entry in sorted(content["files"].items()))
        if "digest" in content:
            content["digest"] = sha256("".join(lines).encode()).hexdigest()
    with suppress(ValueError):  # NaN has none
        content["checksum"] = canonical_digest(content)
    return json.dumps(content).encode()


def forged(files: Files, name: str, data: bytes) -> Files:
    """The files with other bytes under one name, whose digest all documents say."""
    changed = {**files, name: data}
    listed = name.removeprefix(HOME)
    for place in [f"{HOME}manifest.json", *(n for n in files if "/ledger/" in n)]:
        document = json.loads(files[place])
        if listed in document["files"]:
            entry = {"size": len(data), "sha256": sha256(data).hexdigest()}
            changed[place] = sealed(document | {"files": document["files"] | {listed: entry}})
    return changed


def _change_any(data: bytes, chance: random.Random) -> bytes:
    return mutated(data, chance)


def _change_chunk(data: bytes, chance: random.Random) -> bytes:
    """The bytes before some checksum, with that checksum made right: what Blosc is given.

    The first chunk begins the file and has its own length in its header.
    """
    size = int.from_bytes(data[12:16], "little")
    if not 16 < size < len(data) - 4:
        return mutated(data, chance)
    chunk = mutated(data[:size], chance)[:size].ljust(size, b"\0")
    return _with_checksum(chunk) + data[size + 4 :]


def _change_index(data: bytes, chance: random.Random) -> bytes:
    """The index at the end, with its checksum made right."""
    size = chance.choice([16, 32, 48]) if len(data) < 10_000 else 16 * 1024
    size = min(size, len(data) - 4)
    index = mutated(data[-size - 4 : -4], chance)[:size].ljust(size, b"\xff")
    return data[: -size - 4] + _with_checksum(index)


def _with_checksum(data: bytes) -> bytes:
    return data + int(google_crc32c.value(data)).to_bytes(4, "little")


TARGETS = {
    "document": Target(store_files, change_raw, read_cache),
    "spec": Target(store_files, change_spec, read_cache),
    "sealed document": Target(store_files, change_sealed, read_forged),
    "shard": Target(store_files, change_shard, read_forged),
    "zarr metadata": Target(store_files, change_metadata, read_forged),
    "manifest": Target(store_files, change_sealed, lambda root: _read(root / HOME) and None),
}
