"""The known name that somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

ALIKE = 0.5
"""How much of two names must agree, from 0 to 1."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, or the first that begins with it; None where none is.

    Case, and `_` for `-`, make no difference.
    """
    plain, names = _plain(name), {_plain(each): each for each in known}
    if not plain:
        return None
    near = difflib.get_close_matches(plain, names, n=1, cutoff=ALIKE)
    near = near or [each for each in names if each.startswith(plain)]
    return names[near[0]] if near else None


def hint(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'X'?` for the end of a message, nothing where no known name is like it."""
    near = nearest(name, known)
    return "" if near is None else f"; did you mean {near!r}?"


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-")
