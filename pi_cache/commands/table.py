"""Rows of text as lines whose columns line up on a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence


def table_lines(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """A line a row. right: the columns of numbers, which end at one place."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(*shown, strict=True)]
    return [
        "  ".join(_padded(cell, widths[k], k in right) for k, cell in enumerate(row)).rstrip()
        for row in shown
    ]


def width(text: str) -> int:
    """Places that a text takes on a terminal: two for a Korean letter, none for an accent."""
    places = {letter: 2 for letter in text if unicodedata.east_asian_width(letter) in "WF"}
    places |= {letter: 0 for letter in text if unicodedata.combining(letter)}
    return sum(places.get(letter, 1) for letter in text)


def _padded(text: str, places: int, at_the_end: bool) -> str:
    space = " " * (places - width(text))
    return space + text if at_the_end else text + space


def printable(text: str) -> str:
    """The text in composed letters; what would move the cursor is shown as a question mark."""
    composed = unicodedata.normalize("NFC", text)
    return "".join(letter if letter.isprintable() else "?" for letter in composed)
