"""The data that builds may be asked of: each has a name, and only its name is ever a client's."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pi_cache import files
from pi_cache.errors import InvalidSpec

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MEMBERS = ("source", "split", "options")
LARGEST_FILE = 1 << 20
"""Bytes of a file that lists sources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSource:
    """Samples by a name. text: as on the command line of `pipeline`, `digits` or KIND:PATH.

    split: the only part that is offered, "" for any. options: of its kind of source.
    """

    name: str
    text: str
    split: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise InvalidSpec(
                f"a source needs a name of letters, digits, dot, dash and underscore, at most 64"
                f" of them; got {self.name!r}"
            )
        if not self.text or not isinstance(self.text, str) or not isinstance(self.split, str):
            raise InvalidSpec(f"source {self.name}: source and split must be text")
        if not isinstance(self.options, Mapping):
            raise InvalidSpec(f"source {self.name}: options must be names and values")

    @property
    def kind(self) -> str:
        """The word before the colon."""
        return self.text.partition(":")[0]

    @property
    def place(self) -> str:
        """The path after the colon, "" where there is none."""
        return self.text.partition(":")[2]

    @property
    def absolute(self) -> str:
        """The same as the pipeline has it: other programs run in other folders."""
        return str(Path(self.place).expanduser().absolute()) if self.place else ""

    @property
    def paths(self) -> dict[str, str]:
        """What stands for its paths in a sentence for a client; those in its options too."""
        named = [value for value in self.options.values() if isinstance(value, str)]
        found = {value: f".../{Path(value).name}" for value in named if Path(value).is_absolute()}
        return found | ({self.absolute: self.name} if self.place else {})


Listed = Mapping[str, ListedSource]


def parse_listed(words: Iterable[str]) -> dict[str, ListedSource]:
    """Sources of NAME=KIND:PATH words, by name. Raises InvalidSpec."""
    found: list[ListedSource] = []
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise InvalidSpec(f"{word!r} is not NAME=SOURCE, such as digits=digits")
        found.append(ListedSource(name=name, text=text))
    return _by_name(found)


def read_listed(path: Path) -> dict[str, ListedSource]:
    """Sources of a TOML file: a table a name, with `source`, `split` and `options`.

    Raises InvalidSpec that names the file and the problem.
    """
    try:
        tables = tomllib.loads(files.read_bytes(path, LARGEST_FILE).decode())
        return _by_name(_parse_table(name, table) for name, table in tables.items())
    except (OSError, ValueError) as error:
        raise InvalidSpec(f"{path}: {error}") from None


def _parse_table(name: str, table: Any) -> ListedSource:
    if not isinstance(table, Mapping) or "source" not in table:
        raise InvalidSpec(f'[{name}] must be a table with source = "KIND:PATH"')
    unknown = ", ".join(sorted(set(table) - set(MEMBERS)))
    if unknown:
        raise InvalidSpec(f"[{name}] has unknown {unknown}; it may have {', '.join(MEMBERS)}")
    return ListedSource(
        name=name,
        text=table["source"],
        split=table.get("split", ""),
        options=table.get("options", {}),
    )


def _by_name(found: Iterable[ListedSource]) -> dict[str, ListedSource]:
    listed: dict[str, ListedSource] = {}
    for source in found:
        if source.name in listed:
            raise InvalidSpec(f"two sources have the name {source.name}")
        listed[source.name] = source
    return listed
