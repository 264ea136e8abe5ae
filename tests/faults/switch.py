"""Switches of guards: edits of the product's source, made while Python imports it.

Nothing is written, and the product has no way to be switched. A guard that is off for a process is
off for every Python that it starts, where the path leads to `site` (see `sabotage`).
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from types import CodeType, ModuleType
from typing import Any


@dataclass(frozen=True)
class Guard:
    """module: where it is. text: of its source, once. instead: what makes of it no guard.

    noticed_by: the tests of which one must fail then. root: they need root.
    """

    module: str
    text: str
    instead: str
    noticed_by: str
    root: bool = False

    def edited(self, source: str) -> str:
        """The source without the guard. Raises LookupError where it has changed."""
        found = source.count(self.text)
        if found != 1:
            raise LookupError(
                f"{self.module} has {self.text!r} {found} times; see tests/faults/guards.py"
            )
        return source.replace(self.text, self.instead)


class _Switch(MetaPathFinder):
    """Finds one module and gives it the edited source; no compiled copy is read or written."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module of the guard; all others are found as ever."""
        if name != self.guard.module:
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert found is not None and found.origin is not None
        loader = _Edited(name, found.origin)
        loader.guard = self.guard
        return importlib.util.spec_from_file_location(name, found.origin, loader=loader)


class _Edited(importlib.machinery.SourceFileLoader):
    guard: Guard

    def get_code(self, name: str) -> CodeType:
        """The code of the source without the guard."""
        source = self.guard.edited(self.get_data(self.path).decode())
        code: Any = self.source_to_code(source.encode(), self.path)
        return code  # type: ignore[no-any-return]


def switch_off(guard: Guard) -> None:
    """Switch a guard off in this process. Raises RuntimeError when it is too late for that."""
    if guard.module in sys.modules:
        raise RuntimeError(f"{guard.module} is imported already")
    sys.meta_path.insert(0, _Switch(guard))
