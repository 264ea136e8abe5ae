"""Words of a command line as plain values: numbers, true, false, none, lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from numbers import Integral, Real
from types import NoneType
from typing import Any

from pi_cache.errors import InvalidSpec

WORDS: Mapping[str, Any] = {"true": True, "false": False, "none": None}
KINDS: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "bool": (bool, "true or false"),
    "str": (str, "a word"),
    "int": (Integral, "a whole number"),
    "int | None": ((Integral, NoneType), "a whole number, or none"),
    "float": (Real, "a number"),
    "float | None": ((Real, NoneType), "a number, or none"),
    "tuple[float, float]": ((list, tuple), "two numbers"),
}
"""What a field of a dataclass takes, by its type as it is written there; others are free."""


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
    pairs = split_pairs(words, what, dashes=True)
    return {name: parse_value(value) for name, value in pairs.items()}


def parse_for(of: type, name: str, text: str) -> Any:
    """The value of a word for a field of a dataclass: the text where it takes texts."""
    kinds = {field.name: str(field.type) for field in fields(of)}
    return text if kinds.get(name) == "str" else parse_value(text)


def split_pairs(words: Iterable[str], what: str, *, dashes: bool = False) -> dict[str, str]:
    """Texts by name of words `NAME=TEXT`. dashes: names may have - for _, which they get.

    Raises InvalidSpec for other words, or a name twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.strip()
        if not equals or not name or not value.strip():
            raise InvalidSpec(f"{what} must be NAME=VALUE, got {word!r}")
        name = name.replace("-", "_") if dashes else name
        if name in found:
            raise InvalidSpec(f"{what} {name} is given twice: {found[name]} and {value}")
        found[name] = value.strip()
    return found


def check_kinds(of: type, settings: Mapping[str, Any], what: str) -> None:
    """Raise InvalidSpec where a setting is no value of its kind, such as a word for true or false.

    of: the dataclass that takes the settings; names that it does not have are another's matter.
    """
    kinds = {field.name: str(field.type) for field in fields(of)}
    problems = []
    for name, value in settings.items():
        accepted, shown = KINDS.get(kinds.get(name, ""), (object, ""))
        truth = isinstance(value, bool) and accepted not in (bool, object)  # it is a number, too
        if truth or not isinstance(value, accepted):
            problems.append(f"{name} must be {shown}, got {value!r}")
    if problems:
        raise InvalidSpec(f"{what}: {'; '.join(problems)}")
