"""What the processes do that are killed; each says what it has done by then."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pi_cache.errors import PiCacheError
from pi_cache.keeping import removal
from pi_cache.keeping.pins import is_pinned, pin
from pi_cache.ledger import take_back
from tests.faults.damage import any_file, damage
from tests.faults.small import Small

Say = Callable[[Any], None]


def build(say: Say, samples: int, shard_samples: int, root: str) -> None:
    """Build the small store, or go on with it."""
    manifest = Small(samples, shard_samples).build(Path(root), say)
    say([manifest.key, manifest.digest])


def retry(say: Say, samples: int, shard_samples: int, root: str, unwanted: list[int]) -> None:
    """Compute some shards of a store again, as --retry does."""
    small = Small(samples, shard_samples)
    take_back(small.begin(Path(root)), lambda record: record.shard in unwanted)
    build(say, samples, shard_samples, root)


def mend(say: Say, samples: int, shard_samples: int, root: str) -> None:
    """Build on in a store of which something is damaged."""
    build(say, samples, shard_samples, root)


def remove(
    say: Say, samples: int, shard_samples: int, root: str, neighbour: str, unfinished: bool
) -> None:
    """Remove the store, if it is there, with what an earlier removal left."""
    small = Small(samples, shard_samples)
    keys = [small.key] if small.path(Path(root)).exists() else []
    removal.remove(Path(root), removal.removable(Path(root), keys))


def collect(
    say: Say, samples: int, shard_samples: int, root: str, neighbour: str, unfinished: bool
) -> None:
    """Collect all garbage down to no bytes; the neighbour is pinned before."""
    if not is_pinned(Path(root), neighbour):
        pin(Path(root), neighbour)
    removal.remove(Path(root), removal.collectable(Path(root), max_bytes=0).targets)


def race(say: Say, samples: int, shard_samples: int, root: str) -> None:
    """Build beside others; says key and digest, or what failed."""
    try:
        manifest = Small(samples, shard_samples).build(Path(root))
    except PiCacheError as error:
        say({"failed": type(error).__name__, "message": str(error)})
    else:
        say([manifest.key, manifest.digest])


def vandalise(say: Say, seed: int, store: str, wait: float) -> None:
    """After a while, damage a file of a store that others build; says which and how."""
    choose = random.Random(seed)
    time.sleep(wait)
    path = any_file(Path(store), choose)
    if path is not None:
        say([path.relative_to(store).as_posix(), damage(path, choose)])
