"""Words of a command line as plain values: numbers, true, false, none, lists."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pi_cache.errors import InvalidSpec

WORDS: Mapping[str, Any] = {"true": True, "false": False, "none": None}


def parse_value(text: str) -> Any:
    """The value of a word: `4`, `1e-3`, `true`, `none`, `0.7,0.3` as a list; else the text."""
    if "," in text:
        return [parse_value(part.strip()) for part in text.split(",") if part.strip()]
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def parse_pairs(words: Iterable[str], what: str) -> dict[str, Any]:
    """Values by name, with _ for -, of words `NAME=VALUE`. Raises as `split_pairs`."""
    found: dict[str, Any] = {}
    for name, value in split_pairs(words, what).items():
        found[name.replace("-", "_")] = parse_value(value)
    return found


def split_pairs(words: Iterable[str], what: str) -> dict[str, str]:
    """Texts by name of words `NAME=TEXT`. Raises InvalidSpec for other words, or a name twice."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.strip()
        if not equals or not name or not value.strip():
            raise InvalidSpec(f"{what} must be NAME=VALUE, got {word!r}")
        if name in found:
            raise InvalidSpec(f"{what} {name} is given twice: {found[name]} and {value}")
        found[name] = value.strip()
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for a name that is nearly a known one, else nothing."""
    plain, names = name.lower().replace("_", "-"), list(known)
    near = difflib.get_close_matches(plain, names, 1, 0.5)
    near = near or [each for each in names if each.startswith(plain)]
    return f"; did you mean {near[0]!r}?" if near else ""
