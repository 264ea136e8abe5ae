"""Results, and how they are printed: as text in columns, or as a table of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.machine import duration, three_digits

Rows = list[tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Somebody else's time. seconds: an item. ratio: that by ours. inputs: how many it got.

    by_hand: no library does it so.
    """

    name: str
    seconds: float
    ratio: float
    inputs: int
    by_hand: bool = False


@dataclass(frozen=True, kw_only=True)
class Result:
    """A work, and who did it. seconds: an item, ours. bound: seconds that it must take, or 0."""

    work: str
    unit: str
    seconds: float
    inputs: int
    peers: Sequence[Peer] = ()
    bound: float = 0.0

    @property
    def best(self) -> Peer | None:
        """The fastest library."""
        libraries = (peer for peer in self.peers if not peer.by_hand)
        return min(libraries, key=lambda peer: peer.ratio, default=None)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of what is printed: a title, lines of text and a table."""

    title: str
    lines: Sequence[str] = ()
    titles: tuple[str, ...] = ()
    rows: Rows = field(default_factory=list)


def compared(title: str, results: Sequence[Result], lines: Sequence[str] = ()) -> Section:
    """The section of some results."""
    titles = ("work", "unit", "ours", "best peer", "ratio", "the others", "bound", "above it")
    return Section(title=title, lines=lines, titles=titles, rows=[_row(r) for r in results])


def _row(result: Result) -> tuple[str, ...]:
    best = result.best
    others = sorted((p for p in result.peers if p is not best), key=lambda peer: peer.ratio)
    return (
        result.work,
        f"{result.unit} ({result.inputs:,})",
        duration(result.seconds),
        "-" if best is None else f"{best.name} {duration(best.seconds)} ({best.inputs})",
        "-" if best is None else three_digits(best.ratio),
        ", ".join(f"{p.name} {three_digits(p.ratio)} ({p.inputs})" for p in others) or "-",
        duration(result.bound) if result.bound else "-",
        three_digits(result.seconds / result.bound) if result.bound else "-",
    )


def show(sections: Sequence[Section], *, markdown: bool) -> str:
    """All of it as text."""
    return "\n\n".join((_markdown if markdown else _text)(section) for section in sections)


def _markdown(section: Section) -> str:
    parts = [f"### {section.title}"]
    if section.lines:
        parts.append("\n".join(f"- {line}" for line in section.lines))
    if section.rows:
        table = [section.titles, tuple("---" for _ in section.titles), *section.rows]
        parts.append("\n".join("| " + " | ".join(cells) + " |" for cells in table))
    return "\n\n".join(parts)


def _text(section: Section) -> str:
    table = [section.titles, *section.rows] if section.rows else []
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    aligned = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    return "\n".join([section.title, *(f"  {line}" for line in section.lines), *aligned])
