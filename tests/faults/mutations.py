"""Files changed at random, as a failing disk, a broken program or an attacker would."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

HUGE = (0, 1, -1, 255, 2**15, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1)
NUMBERS = ("-1", "0", "1e400", "-1e400", "1e-400", "NaN", "Infinity", "1" * 40, "9" * 5000, "0.5")
DEEP = 100_000
"""Brackets inside each other, above what a parser that calls itself survives."""

NASTY: tuple[Any, ...] = (
    *(None, True, False, *HUGE, 10**30, 10**400, -1e308, 1e308, 1e-308, float("nan"), float("inf")),
    *(
        "",
        "x" * 10_000,
        "\0",
        "../../etc/passwd",
        "/etc/passwd",
        "한글",
        "-1",
        "pickle",
        "O",
    ),
    *([], {}, [[]], [None], [0] * 1000, [-1, 2**62], {"name": "pickle"}, {"": {}}),
)

Change = Callable[[bytes, random.Random], bytes]


def _place(data: bytes, chance: random.Random) -> int:
    """A position, as often as not near one of the ends, where headers and indices lie."""
    near = min(len(data), 64)
    start = chance.choice([0, max(len(data) - near, 0), chance.randrange(len(data) + 1)])
    return min(start + chance.randrange(near + 1), len(data))


def flip(data: bytes, chance: random.Random) -> bytes:
    """One bit."""
    at = min(_place(data, chance), len(data) - 1)
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def cut(data: bytes, chance: random.Random) -> bytes:
    """Without its end, or its beginning."""
    at = _place(data, chance)
    return data[:at] if chance.random() < 0.8 else data[at:]


def drop(data: bytes, chance: random.Random) -> bytes:
    """Without a piece."""
    at = _place(data, chance)
    return data[:at] + data[at + chance.randint(1, 64) :]


def repeat(data: bytes, chance: random.Random) -> bytes:
    """With a piece twice, or a hundred times."""
    at, size = _place(data, chance), chance.randint(1, 64)
    return data[:at] + data[at : at + size] * chance.choice([2, 100]) + data[at + size :]


def overwrite(data: bytes, chance: random.Random) -> bytes:
    """With an extreme whole number over some bytes."""
    at, size = _place(data, chance), chance.choice([1, 2, 4, 8])
    number = chance.choice(HUGE) % (1 << 8 * size)
    return data[:at] + number.to_bytes(size, chance.choice(["little", "big"])) + data[at + size :]


def noise(data: bytes, chance: random.Random) -> bytes:
    """With noise over some bytes."""
    at, size = _place(data, chance), chance.randint(1, 32)
    return data[:at] + chance.randbytes(size) + data[at + size :]


def renumber(data: bytes, chance: random.Random) -> bytes:
    """With another number in the place of one that is written in digits."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    if not found:
        return noise(data, chance)
    at = chance.choice(found)
    return data[: at.start()] + chance.choice(NUMBERS).encode() + data[at.end() :]


def nest(data: bytes, chance: random.Random) -> bytes:
    """With many brackets somewhere."""
    at = _place(data, chance)
    return data[:at] + chance.choice([b"[", b'{"":', b"(", b"\n"]) * DEEP + data[at:]


def line_twice(data: bytes, chance: random.Random) -> bytes:
    """With a line, and so a name of a document, that occurs twice."""
    lines = data.splitlines(keepends=True)
    at = chance.randrange(len(lines) + 1) - 1
    return b"".join([*lines[: at + 1], *lines[at : at + 1], *lines[at + 1 :]])


CHANGES: tuple[Change, ...] = (flip, cut, drop, repeat, overwrite, noise)
CHANGES_OF_TEXT: tuple[Change, ...] = (*CHANGES, renumber, renumber, nest, line_twice)


def mutated(data: bytes, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """The bytes after one to three changes, or spliced with those of another file."""
    if others and chance.random() < 0.1:
        other = chance.choice(others)
        return data[: _place(data, chance)] + other[_place(other, chance) :]
    text = b"\0" not in data
    for _ in range(chance.randint(1, 3)):
        if data:
            data = chance.choice(CHANGES_OF_TEXT if text else CHANGES)(data, chance)
    return data


def mutated_document(document: Any, chance: random.Random) -> Any:
    """The JSON value with something nasty in one place, or one name missing, new, or changed."""
    copy = json.loads(json.dumps(document))
    parents = [node for node in _nodes(copy) if isinstance(node, dict | list) and node]
    if not parents:
        return chance.choice(NASTY)
    parent = chance.choice(parents)
    keys = sorted(parent) if isinstance(parent, dict) else list(range(len(parent)))
    key, what = chance.choice(keys), chance.random()
    if what < 0.15:
        del parent[key]
    elif what < 0.25 and isinstance(parent, dict):
        parent[chance.choice(["", "name", "__class__", "../x", f"{key}s"])] = parent[key]
    elif what < 0.35:
        parent[key] = parent[chance.choice(keys)]
    else:
        parent[key] = chance.choice(NASTY)
    return copy


def _nodes(node: Any) -> list[Any]:
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [node, *(below for child in inner for below in _nodes(child))]
