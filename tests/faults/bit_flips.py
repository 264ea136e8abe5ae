"""Damage of one file of a finished store: found by `verify`, and before a reader gets a byte.

A round damages one file, looks, and mends it. Whatever a reader delivers until it raises must be
what was written.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache import files, open_store
from pi_cache.errors import CorruptStore, PiCacheError, UnfinishedStore
from pi_cache.integrity.verification import verify
from pi_cache.layout import Layout
from pi_cache.reader import Check, Store
from tests.faults import Loop, demand, lasting
from tests.pi_cache.made import make_spec, make_store

PAGE = 512
"""Bytes that are zeroed together; small, as the files are."""
UNTOUCHED = 0xA5
"""What the bytes of an array are before a reader fills them."""
TABLES = ("labels", "ids", "groups", "splits")

Damage = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, chance: random.Random) -> bytes:
    """One bit."""
    position = chance.randrange(len(data) * 8)
    changed = bytearray(data)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


def truncate(data: bytes, chance: random.Random) -> bytes:
    """Cut short, perhaps to nothing."""
    return data[: chance.randrange(len(data))]


def extend(data: bytes, chance: random.Random) -> bytes:
    """Something after the end; it may be blank."""
    return data + chance.choice([b"\n", b"\0", b" " * 9, data, chance.randbytes(30)])


def zero(data: bytes, chance: random.Random) -> bytes:
    """A page of zeros, as a disk gives that lost one."""
    start = chance.randrange(0, len(data), PAGE)
    return data[:start] + bytes(len(data[start : start + PAGE])) + data[start + PAGE :]


CHANGES: Mapping[str, Damage] = {
    "bit": flip,
    "truncation": truncate,
    "extension": extend,
    "zeros": zero,
}
OTHERS = ("deletion", "swap", "foreign")


@dataclass(frozen=True)
class Whole:
    """A finished store with the bytes of its files, and what it delivers, by array."""

    path: Path
    content: Mapping[str, bytes]
    arrays: Mapping[str, np.ndarray]

    def kinds(self) -> dict[str, list[str]]:
        """The files of each kind: an array's shards, records, each document."""
        kinds: dict[str, list[str]] = {}
        for name in sorted(self.content):
            kind = "zarr.json" if name.endswith("zarr.json") else name.rpartition("/")[0] or name
            kinds.setdefault(kind, []).append(name)
        return kinds


def round_of(seed: int) -> str:
    """Damage one file and look for it; the kind of damage."""
    chance = random.Random(seed)
    whole = wholes()[seed % len(wholes())]
    name = chance.choice(chance.choice(list(whole.kinds().values())))
    what = chance.choice([*CHANGES, *OTHERS])
    if what == "foreign":
        with _foreign(whole, name, chance) as foreign:
            _look(whole, foreign, what, chance)
        return what
    content = None
    if what != "deletion":
        change = CHANGES.get(what, lambda data, chance: _another(whole, name, chance))
        content = change(whole.content[name], chance)
        if content == whole.content[name]:
            what, content = "bit", flip(content, chance)
    with _damaged(whole, name, content):
        _look(whole, name, what, chance)
    return what


def _another(whole: Whole, name: str, chance: random.Random) -> bytes:
    """The content of another file of the same kind where there is one, of any kind otherwise."""
    kind = next(names for names in whole.kinds().values() if name in names)
    other = [n for n in kind if whole.content[n] != whole.content[name]]
    return whole.content[chance.choice(other or sorted(whole.content.keys() - {name}))]


@contextmanager
def _damaged(whole: Whole, name: str, content: bytes | None) -> Iterator[None]:
    """The store while a file holds something else, or is gone."""
    path = whole.path / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(whole.content[name])


@contextmanager
def _foreign(whole: Whole, beside: str, chance: random.Random) -> Iterator[str]:
    """The name of a file that no document lists, which lies there for a while."""
    name = f"{beside}.{chance.randrange(9)}"
    path = whole.path / name
    path.write_bytes(chance.choice([whole.content[beside], b"", b"foreign"]))
    try:
        yield name
    finally:
        path.unlink()


def _look(whole: Whole, name: str, what: str, chance: random.Random) -> None:
    """Raise Violation unless the damage is found as it must be."""
    _verify(whole, name, what)
    needed = what != "foreign" and _is_needed(whole, name)
    check: Check = chance.choice(["first-touch", "always"])
    _read(whole, name, what, check, needed=needed)
    if what == "bit" and needed and whole is wholes()[0]:  # a mapped shard has no checksums read
        _read(whole, name, what, "size", needed=True)


def _is_needed(whole: Whole, name: str) -> bool:
    """Whether a reader must notice: it needs the file, or at least its size is looked at."""
    path = whole.path / name
    if not path.exists():
        return name == "manifest.json" or name.startswith("data.zarr/")
    if name == "manifest.json":
        return path.read_bytes().strip() != whole.content[name].strip()  # blanks mean nothing
    if name.endswith("zarr.json"):
        return path.stat().st_size != len(whole.content[name])
    return name.startswith("data.zarr/")


def _verify(whole: Whole, name: str, what: str) -> None:
    if name == "manifest.json" and what == "deletion":
        try:
            verify(whole.path)
        except UnfinishedStore:
            return
        demand(False, "verify takes a store without a manifest for a finished one")
    found = verify(whole.path)
    demand({finding.path for finding in found} == {name}, f"{what} of {name}: verify says {found}")
    kinds = {"deletion": {"missing"}, "foreign": {"orphan"}}.get(what, {"corrupt"})
    demand({f.kind for f in found} == kinds, f"{what} of {name}: verify says {found}")


def _read(whole: Whole, name: str, what: str, check: Check, *, needed: bool) -> None:
    """Read everything; what is delivered must be right, and the damage raise if it is `needed`."""
    raised: list[PiCacheError] = []
    try:
        store = open_store(whole.path, check=check)
    except (CorruptStore, UnfinishedStore) as error:
        raised.append(error)
    else:
        raised += _deliver(whole, store)
    demand(bool(raised) == needed, f"{what} of {name}, check {check}: the reader met {raised}")
    for error in raised:
        unfinished = isinstance(error, UnfinishedStore)
        demand(unfinished or name in str(error), f"{what} of {name}: the reader says only {error}")
        same_size = what in ("bit", "zeros") and name != "manifest.json" and check != "size"
        digests = _digests(whole, name) if same_size else ()
        demand(all(d in str(error) for d in digests), f"{name}: no digests in {error}")


def _digests(whole: Whole, name: str) -> tuple[str, str]:
    """What it should be, and what it is."""
    here = (whole.path / name).read_bytes()
    return sha256(whole.content[name]).hexdigest(), sha256(here).hexdigest()


def _deliver(whole: Whole, store: Store) -> list[PiCacheError]:
    """Read every array and table. Raises Violation for wrong values; the errors met otherwise."""
    raised: list[PiCacheError] = []
    for name, expected in whole.arrays.items():
        out = np.empty_like(expected)
        if name in store.columns:
            out.reshape(-1).view(np.uint8)[:] = UNTOUCHED
        try:
            got = _take(store, name, out)
        except CorruptStore as error:
            raised.append(error)
            got = out
            if name not in store.columns:
                continue
        demand(got.shape == expected.shape, f"{name} has shape {got.shape}")
        demand(_right_or_untouched(got, expected), f"{name}: wrong values are delivered")
    return raised


def _take(store: Store, name: str, out: np.ndarray) -> Any:
    if name in TABLES:
        return getattr(store, name)
    if name == "points":
        return store.diagrams(slice(None))[0]
    return store.read_all(name, out=out)


def _right_or_untouched(got: np.ndarray, expected: np.ndarray) -> bool:
    """Whether every row is what was written, or was never written to."""
    if got.dtype == object:
        return bool((got == expected).all())
    rows = got.reshape(len(got), -1).view(np.uint8)
    right = rows == expected.reshape(len(got), -1).view(np.uint8)
    return bool((right.all(axis=1) | (rows == UNTOUCHED).all(axis=1)).all())


@cache
def wholes() -> tuple[Whole, ...]:
    """One store of each layout, made once a process."""
    layouts = Layout(shard_samples=8, chunk_samples=4), Layout.mapped(shard_samples=8)
    return tuple(_whole(lasting(), layout) for layout in layouts)


def _whole(root: Path, layout: Layout) -> Whole:
    path = make_store(root, make_spec(12), layout)
    store = open_store(path)
    arrays = {name: store.read_all(name) for name in store.columns}
    arrays |= {name: getattr(store, name) for name in TABLES}
    arrays["points"] = store.diagrams(slice(None))[0]
    names = [place.relative_to(path).as_posix() for place in files.tree(path)]
    return Whole(path, {name: (path / name).read_bytes() for name in names}, arrays)


LOOPS = {"bit flips": Loop(round_of, 2_000, 1_000_000)}
