"""Plain values as TOML, which Python reads and does not write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pi_cache.errors import InvalidSpec


def to_toml(document: Mapping[str, Any]) -> str:
    """A document of plain values; tables within tables stand on one line. Raises InvalidSpec.

    Lists of tables are [[NAME]], tables [NAME]; None is left out, as TOML has no such value.
    """
    plain = {n: v for n, v in document.items() if not _is_table(v) and not _is_tables(v)}
    lines = _pairs(plain)
    for name, value in document.items():
        if _is_table(value):
            lines += ["", f"[{name}]", *_pairs(value)]
        elif _is_tables(value):
            for each in value:
                lines += ["", f"[[{name}]]", *_pairs(each)]
    return "\n".join(lines).strip() + "\n"


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {_value(value)}" for name, value in table.items() if value is not None]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)  # its escapes are TOML's
        return text.replace("\x7f", "\\u007f")  # which JSON leaves as it is
    if isinstance(value, int | float):
        return repr(value)
    if _is_table(value):
        inner = ", ".join(_pairs(value))
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_value, value))}]"
    raise InvalidSpec(f"TOML has no value for {value!r:.60} ({type(value).__name__})")


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_table, value))
