"""Conditions on the fields of a spec, as typed on a command line: `image.sigma=0.05`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pi_cache.catalogue import Entry
from pi_cache.errors import InvalidSpec
from pi_cache.nearest import hint
from pi_cache.specs import StoreSpec, known_fields

WORD = re.compile(r"([\w.-]+?)(!=|=|~)(.*)", re.DOTALL)
NOTHING = ("", "none", "null")


@dataclass(frozen=True, slots=True)
class Condition:
    """That a field equals a text (`=`), does not (`!=`), or contains it (`~`, in any case)."""

    field: str
    operator: str
    text: str

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether values by dotted name meet it; a field that is not among them has no value."""
        value = values.get(self.field)
        if self.operator == "~":
            return value is not None and self.text.lower() in str(value).lower()
        return equal(value, self.text) == (self.operator == "=")


def parse_condition(word: str) -> Condition:
    """The condition of a word. Raises InvalidSpec with what is expected."""
    found = WORD.fullmatch(word)
    if found is None:
        raise InvalidSpec(f"{word!r} must be FIELD=VALUE, FIELD!=VALUE or FIELD~PART")
    return Condition(*found.groups())


def select(entries: Iterable[Entry], conditions: Sequence[Condition]) -> list[Entry]:
    """The stores that meet every condition.

    Of a store whose spec cannot be read only key and state are known, and no other condition is
    met. Raises InvalidSpec for a field that none of them has, with the nearest one.
    """
    held = [(entry, _values(entry)) for entry in entries]
    known = {name for _, values in held for name in values}
    if any(entry.spec is not None for entry, _ in held):
        conditions = [replace(c, field=full_name(c.field, known)) for c in conditions]
    return [
        entry
        for entry, values in held
        if all(
            (entry.spec is not None or c.field in values) and c.holds(values) for c in conditions
        )
    ]


def _values(entry: Entry) -> dict[str, Any]:
    values = {"key": entry.key, "state": entry.state}
    return values if entry.spec is None else values | field_values(entry.spec)


def field_values(spec: StoreSpec) -> dict[str, Any]:
    """Every field of a spec by its dotted name, the options of the source each by its own."""
    values = known_fields(spec)
    options = values.pop("source.options")
    return values | {f"source.options.{name}": value for name, value in options.items()}


def full_name(name: str, known: set[str]) -> str:
    """A known field; the last word of its name will do where only one ends so."""
    if name in known:
        return name
    endings = [field for field in sorted(known) if field.rpartition(".")[2] == name]
    if len(endings) == 1:
        return endings[0]
    several = f"; did you mean {' or '.join(endings)}?" if endings else ""
    raise InvalidSpec(f"no store here has a field {name!r}{several or hint(name, sorted(known))}")


def equal(value: Any, text: str) -> bool:
    """Whether a value is what a text says: numbers as numbers, whatever way they are written."""
    if value is None:
        return text.lower() in NOTHING
    if isinstance(value, tuple | list):
        parts = text.strip("[]()").split(",")
        return len(parts) == len(value) and all(map(equal, value, parts))
    if isinstance(value, bool):
        return text.lower() == str(value).lower()
    if isinstance(value, int | float):
        return _number(text) == value
    return str(value) == text or _word_and_number(str(value)) == _word_and_number(text)


def _word_and_number(text: str) -> tuple[str, float | None]:
    """`power:2` in its parts; any other text whole."""
    word, _, number = text.partition(":")
    amount = _number(number)
    return (text, None) if amount is None else (word, amount)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
