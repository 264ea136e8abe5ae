"""One thing wrong with a store, chosen at random."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path


def flip(path: Path, choose: random.Random) -> None:
    """One bit, in place."""
    data = bytearray(path.read_bytes())
    data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
    path.write_bytes(data)


def truncate(path: Path, choose: random.Random) -> None:
    """The end is gone."""
    os.truncate(path, choose.randrange(path.stat().st_size))


def extend(path: Path, choose: random.Random) -> None:
    """Bytes too many."""
    path.write_bytes(path.read_bytes() + choose.randbytes(choose.randint(1, 9)))


def zero(path: Path, choose: random.Random) -> None:
    """Zeros of the same length."""
    path.write_bytes(bytes(path.stat().st_size))


def delete(path: Path, choose: random.Random) -> None:
    """Gone."""
    path.unlink()


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    damage.__name__: damage for damage in (flip, truncate, extend, zero, delete)
}


def damage(path: Path, choose: random.Random) -> str:
    """Damage one file in one way; returns which."""
    name = choose.choice(sorted(DAMAGES))
    DAMAGES[name](path, choose)
    return name


def any_file(store: Path, choose: random.Random) -> Path | None:
    """One of the published files of a store, None where there is none."""
    kept = [path for path in sorted(store.rglob("*")) if path.is_file()]
    kept = [path for path in kept if path.relative_to(store).parts[0] not in ("tmp", "quarantine")]
    return choose.choice(kept) if kept else None
