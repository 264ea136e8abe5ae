"""Mutated and hostile files: whatever is in them, an error of ours or a status, and no wrong data.

A round changes one file of something that can be read, and has a child of little memory read it.
The child lives for many rounds; what kills or stops it is a violation of the round that it was in.
"""

from __future__ import annotations

import os
import random
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pi_cache.errors import PiCacheError
from tests.faults import Loop, demand, lasting
from tests.faults.child import Child

MEMORY = 1 << 30
"""Bytes that the child may take beyond what it begins with; each input has far fewer."""
SLOW = 20.0
"""Seconds above which reading a small file counts as hanging."""

Content = bytes | str
"""Of a file; or a word of SPECIAL, for what is no file."""
Files = Mapping[str, bytes]


def _link(target: str) -> Callable[[Path], None]:
    return lambda place: place.symlink_to(target)


def _sparse(place: Path) -> None:
    place.touch()
    os.truncate(place, BOMB)


BOMB = 2 << 30
"""Bytes that come out of a bomb, more than its reader may take."""

SPECIAL: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "endless": _link("/dev/zero"),
    "sparse": _sparse,
    "loop": lambda place: place.symlink_to(place.name),
    "folder": Path.mkdir,
    "dangling": _link("nowhere"),
    "above": _link("."),
    "sick": _link("/proc/self/mem"),
}
"""What may lie where a file is expected, and how it is made; `sick` opens, and fails to be read."""


@dataclass(frozen=True)
class Target:
    """Something that is read from files.

    files: their bytes by path below one folder. change: the files after a change. read: reads
    everything there is to read in the folder; raises PiCacheError, and Violation for wrong data.
    """

    files: Callable[[], Files]
    change: Callable[[Files, random.Random], Files]
    read: Callable[[Path], None]


def round_of(seed: int) -> str:
    """Change one target and read it; its name, and whether it was read or refused."""
    chance = random.Random(seed)
    targets = known_targets()
    name = sorted(targets)[seed % len(targets)]
    changed = targets[name].change(targets[name].files(), chance)
    word, told, seconds = ask(name, changed)
    demand(word in ("read", "refused"), f"{name}: {told}")
    demand(seconds < SLOW, f"{name}: took {seconds:.0f} seconds")
    return f"{name} {word}"


def ask(name: str, files: Mapping[str, Content]) -> tuple[str, str, float]:
    """What the child says; a new child next time when this one dies."""
    reader = _child()
    try:
        reader.pipe.send((name, dict(files)))
        answer = reader.hear()
    except BaseException:
        _child.cache_clear()
        reader.kill()
        raise
    if answer is None:
        code = reader.exit_code()
        _child.cache_clear()
        return "died", f"the reading process died: exit code {code}", 0.0
    return tuple(answer)  # type: ignore[return-value]


@cache
def _child() -> Child:
    return Child(serve, _place(), memory=MEMORY)


@cache
def _place() -> Path:
    """Where the child puts files; this process removes it in the end, as a child may be killed."""
    return lasting() / "target"


def serve(pipe: Any, place: Path) -> None:
    """In the child: read what is sent, and say how that went."""
    warnings.simplefilter("ignore")
    while True:
        name, files = pipe.recv()
        shutil.rmtree(place, ignore_errors=True)
        for path, data in files.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            put(place / path, data)
        started = time.monotonic()
        word, told = outcome(lambda: known_targets()[name].read(place))  # noqa: B023
        pipe.send((word, told, time.monotonic() - started))


def put(place: Path, content: Content) -> None:
    """Make a file of these bytes, or what a word stands for."""
    if isinstance(content, str):
        SPECIAL[content](place)
    else:
        place.write_bytes(content)


def outcome(read: Callable[[], object]) -> tuple[str, str]:
    """How reading went: "read", "refused" with the message, or "broken" with the traceback."""
    try:
        read()
    except PiCacheError as error:
        return "refused", str(error)
    except BaseException:
        return "broken", traceback.format_exc(limit=-6)
    return "read", ""


@cache
def known_targets() -> dict[str, Target]:
    """Everything that is read from files, by name."""
    # They import much, and this module.
    from tests.faults import hostile_recordings, hostile_sources, hostile_stores, hostile_tables

    parts = (hostile_recordings, hostile_sources, hostile_stores, hostile_tables)
    return {name: target for part in parts for name, target in part.TARGETS.items()}


LOOPS = {"hostile files": Loop(round_of, 500, 200_000)}
