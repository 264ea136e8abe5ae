"""Removing stores and what builds left behind: only under a known root, never what is in use.

A store is first renamed into the trash of its root, durably, and then deleted there, so that it is
whole or gone for everyone else at every instant. A removal that was killed is finished by the next.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pi_cache import files
from pi_cache.catalogue import core_seconds, read_entry
from pi_cache.checked import forget
from pi_cache.errors import PiCacheError, RemovalRefused, StorageFailed
from pi_cache.folders import Extent, Folder, Gone, opened
from pi_cache.keeping.pins import Pin, is_pinned, read_pins
from pi_cache.quantities import seconds_text
from pi_cache.root import PINS, RECORD, STORES, TEMPORARY, TRASH, require_root

YOUNG = 3600.0
"""Seconds without a change after which no build is thought to be at work in a store."""

SHOWN = 3
"""Problems that a message tells in full."""

KEY = re.compile(r"[0-9a-f]{64}")
TRASHED = re.compile(rf"({KEY.pattern}|{re.escape(RECORD)})\.[0-9a-f]{{16}}")
"""What a removal has renamed; anything else in the trash was put there by somebody."""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to remove.

    what: a store by its state, `quarantine`, `temporary` or `trash`. place: names from the root on.
    age: seconds since it was written. core_seconds: what computing it again takes.
    """

    what: str
    place: tuple[str, ...]
    extent: Extent
    age: float
    core_seconds: float = 0.0

    @property
    def key(self) -> str | None:
        """The key of the store that it is, or lies in."""
        return self.place[1] if self.place[0] == STORES else None

    @property
    def name(self) -> str:
        """The start of the key, or of the name of what belongs to no store."""
        return (self.key or self.place[-1])[:12]


@dataclass(frozen=True, slots=True)
class Collection:
    """What a garbage collection removes: targets, and why stores stay that are over a limit.

    left: bytes of the stores afterwards. kept: a reason by key. closed: names of what this account
    may not read, so that it is kept and not counted.
    """

    targets: tuple[Target, ...]
    left: int
    kept: Mapping[str | None, str]
    closed: tuple[str, ...] = ()


def removable(root: Path, keys: Sequence[str], *, young: bool = False) -> list[Target]:
    """What removing these stores removes, with what earlier removals left in the trash.

    keys: whole ones. young: also stores that were changed a moment ago.
    Raises RemovalRefused with every reason against it.
    """
    with _known(root) as folder, folder.inner(STORES) as stores:
        now, pins = files.clock(root), read_pins(root)
        found = [_store(stores, key, now) for key in dict.fromkeys(keys)]
        reasons = [_refusal(target, pins, now, young=young) for target in found]
        if any(reasons):
            raise RemovalRefused("; ".join(filter(None, reasons)))
        return [*_trash(folder, pins, now), *found]


def collectable(
    root: Path, *, older_than: float | None = None, max_bytes: int | None = None
) -> Collection:
    """What is garbage under a root, and which stores go to keep within limits.

    Garbage is what removals left in the trash, and temporaries of writers that are gone.
    older_than: seconds; stores that were written before that go, finished or not, and what lies in
    quarantine for so long. max_bytes: of those that stay the ones written first go, until the root
    holds no more. Pinned and young stores, those of newer releases and those that may not be read
    stay as they are.
    """
    limit = float("inf") if older_than is None else older_than
    with _known(root) as folder:
        now, pins = files.clock(root), read_pins(root)
        garbage = [*_trash(folder, pins, now), *_temporaries(folder, (), now)]
        found = _stores(folder, now)
        kept = {t.key: reason for t in found if (reason := _refusal(t, pins, now))}
        free = [target for target in found if target.key not in kept]
        going = [target for target in free if target.age > limit]
        inside = {t.key: _leftovers(folder, t, now, limit) for t in free if t not in going}
        closed = tuple(target.name for target in found if target.extent.closed)
    left = _bytes(found) - _bytes(going) - sum(map(_bytes, inside.values()))
    for target in sorted(free, key=lambda target: -target.age):
        if target.key in inside and max_bytes is not None and left > max_bytes:
            left -= target.extent.bytes - _bytes(inside.pop(target.key))
            going.append(target)
    leftovers = [target for targets in inside.values() for target in targets]
    return Collection((*garbage, *leftovers, *going), left, kept, closed)


def remove(root: Path, targets: Sequence[Target], *, young: bool = False) -> None:
    """Remove what `removable` or `collectable` found.

    Each store is looked at once more, just before it goes. What cannot be removed stops nothing
    else. Raises RemovalRefused, in the end, for stores that are pinned or in use by now, and
    StorageFailed for what the file system does not let go.
    """
    places: dict[str, list[tuple[str, ...]]] = {}
    for target in targets:
        if target.key:
            places.setdefault(target.key, []).append(target.place)
    problems: list[PiCacheError] = []
    with _known(root) as folder:
        now = files.clock(root)
        for key, inside in places.items():
            with _gathered(problems):
                _remove(root, folder, key, inside, now, young=young)
        for target in targets:
            if target.place[0] == TEMPORARY:
                with _gathered(problems):
                    _delete(folder, target.place)
        _empty_trash(root, folder, problems)
    raise_all(problems)


def gone(root: Path, targets: Iterable[Target]) -> list[Target]:
    """Those of which nothing is left, in its place or in the trash: what a removal removed."""
    renamed = {place.name.partition(".")[0] for place in files.listing(root / TRASH)}
    return [
        target
        for target in targets
        if not files.exists(root.joinpath(*target.place))
        and not (len(target.place) == 2 and target.key in renamed)
    ]


def _remove(
    root: Path, folder: Folder, key: str, places: Sequence[tuple[str, ...]], now: float, *,
    young: bool,
) -> None:  # fmt: skip
    """Remove one store, or some of what lies in it. Raises RemovalRefused, StorageFailed."""
    with folder.inner(STORES) as stores:
        found = _store(stores, key, now)
    if found.what == "absent":  # another removal was faster
        return
    if reason := _refusal(found, read_pins(root), now, young=young):
        raise RemovalRefused(reason)
    if len(places[0]) == 2:
        return _retire(root, folder, key)
    for place in places:
        _delete(folder, place)


def first_of(problems: Sequence[object]) -> str:
    """The first of many problems in full, and how many more there are."""
    more = len(problems) - SHOWN
    return "; ".join(map(str, problems[:SHOWN])) + (f"; and {more} more" if more > 0 else "")


@contextmanager
def _gathered(problems: list[PiCacheError]) -> Iterator[None]:
    """Keep what goes wrong for the end."""
    try:
        yield
    except (RemovalRefused, StorageFailed) as error:
        problems.append(error)


def raise_all(problems: Sequence[PiCacheError]) -> None:
    """Raise what was gathered as one error: the first, with the words of the others."""
    if len(problems) < 2:
        for problem in problems:
            raise problem
        return
    text = f"{first_of(problems)}; all else is removed"
    first = problems[0]
    if isinstance(first, StorageFailed):
        raise files.failure(type(first), first.errno, text) from first
    raise RemovalRefused(text) from first


@contextmanager
def _known(root: Path) -> Iterator[Folder]:
    """A cache root, open, of which no folder is a link. Raises RemovalRefused."""
    require_root(root)
    with opened(root) as folder:
        for name in (STORES, PINS, TRASH, TEMPORARY):
            if folder.kind(name) not in ("folder", "absent"):
                raise RemovalRefused(
                    f"{root / name}: nothing is removed through a {folder.kind(name)}; put the"
                    " cache where it leads, or give that as --cache"
                )
        yield folder


def _refusal(target: Target, pins: Mapping[str, Pin], now: float, *, young: bool = False) -> str:
    """Why a store must stay; "" where nothing speaks against removing it."""
    if target.key and KEY.fullmatch(target.key) is None:
        return f"{target.key!r} is no key, so no build made it: look at it and remove it by hand"
    if target.what in ("absent", "link", "file"):
        is_what = "gone" if target.what == "absent" else f"a {target.what} and no folder"
        return f"{target.name} is {is_what}: nothing is removed"
    if pin := pins.get(target.key or ""):
        return f"{target.name} is {pin}; pi-cache unpin {target.name} first"
    if target.extent.closed:
        return f"{target.name} may not be read by this account: its owner can remove it"
    if target.what == "newer store":
        return f"{target.name} was made by a newer release; use that to remove it"
    unchanged = now - target.extent.changed
    if unchanged < YOUNG and not young:
        return (
            f"{target.name} was changed {seconds_text(max(unchanged, 0.0))} ago and a build may be"
            f" at work in it: wait until nothing has changed for {seconds_text(YOUNG)}, or insist"
            " with pi-cache rm --young"
        )
    return ""


def _stores(folder: Folder, now: float) -> list[Target]:
    """Every store; a folder whose name is no key is none of ours."""
    if folder.kind(STORES) == "absent":
        return []
    with folder.inner(STORES) as stores:
        return [_store(stores, key, now) for key in stores.names() if KEY.fullmatch(key)]


def _store(stores: Folder, key: str, now: float) -> Target:
    """A store, or what stands in its place."""
    kind, extent = stores.kind(key), stores.extent(key)
    age = now - (extent.written or extent.changed)
    if kind != "folder":
        return Target(kind, (STORES, key), extent, age)
    entry = read_entry(stores.path / key)
    what = "store" if entry.state == "finished" else f"{entry.state} store"
    return Target(what, (STORES, key), extent, age, core_seconds(entry))


def _leftovers(folder: Folder, target: Target, now: float, limit: float) -> list[Target]:
    """Temporaries and old quarantine of a store that stays."""
    with folder.inner(STORES) as stores, stores.inner(target.place[1]) as store:
        found = list(_temporaries(store, target.place, now))
        aside = store.extent("quarantine")
    age = now - aside.changed
    if aside.files and age > limit:
        found.append(Target("quarantine", (*target.place, "quarantine"), aside, age))
    return found


def _bytes(targets: Iterable[Target]) -> int:
    return sum(target.extent.bytes for target in targets)


def _temporaries(folder: Folder, place: tuple[str, ...], now: float) -> Iterator[Target]:
    """What writers left in `tmp` that are gone."""
    if folder.kind(TEMPORARY) != "folder":
        return
    with folder.inner(TEMPORARY) as temporary:
        for name in filter(files.is_left, temporary.names()):
            extent = temporary.extent(name)
            if now - extent.changed > files.LEFT:
                yield Target("temporary", (*place, TEMPORARY, name), extent, now - extent.changed)


def _trash(folder: Folder, pins: Mapping[str, Pin], now: float) -> Iterator[Target]:
    """What earlier removals have renamed and not deleted."""
    if folder.kind(TRASH) != "folder":
        return
    with folder.inner(TRASH) as trash:
        for name in trash.names():
            if _is_refuse(folder, name, pins):
                if (extent := trash.extent(name)).closed:
                    continue
                yield Target("trash", (TRASH, name), extent, now - extent.changed)


def _is_refuse(root: Folder, name: str, pins: Mapping[str, Pin]) -> bool:
    """Whether it was renamed by a removal that will not put it back because of a pin."""
    if TRASHED.fullmatch(name) is None:
        return False
    key = name.partition(".")[0]
    return key not in pins or files.exists(root.path / STORES / key)


def _retire(root: Path, folder: Folder, key: str) -> None:
    """Rename a store into the trash, and back where it has been pinned meanwhile; see `_remove`."""
    files.make_directory(root / TRASH)
    name = f"{key}.{secrets.token_hex(8)}"
    with suppress(Gone), folder.inner(STORES) as stores, folder.inner(TRASH) as trash:
        stores.move(key, trash, name)
        if is_pinned(root, key):
            trash.move(name, stores, key)
            raise RemovalRefused(f"{key[:12]} was pinned a moment ago, and is kept")
    forget(root / STORES / key)


def _empty_trash(root: Path, folder: Folder, problems: list[PiCacheError]) -> None:
    """Delete what lies in the trash; of a store first what makes it one."""
    if folder.kind(TRASH) != "folder":
        return
    with folder.inner(TRASH) as trash:
        for name in trash.names():
            with _gathered(problems):
                if _is_refuse(folder, name, read_pins(root)):
                    _discard(trash, name)


def _discard(trash: Folder, name: str) -> None:
    """Delete what lies in the trash; what may not be read is left to its owner."""
    try:
        trash.delete(name, first="manifest.json")
    except StorageFailed:
        if not trash.extent(name).closed:
            raise


def _delete(folder: Folder, place: Sequence[str]) -> None:
    """Delete what lies at the end of some names, each looked up in the folder before it."""
    first, *rest = place
    if not rest:
        folder.delete(first)
    elif folder.kind(first) == "folder":
        with folder.inner(first) as inner:
            _delete(inner, rest)
