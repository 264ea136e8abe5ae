"""A table with typed cells, as CSV for programs, Markdown and LaTeX for people."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pi_cache.commands.table import printable
from training.reports.spread import Spread

NOTHING = "\u2013"
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    NOTHING: "--",
    "±": r"$\pm$",
    "<": r"$<$",
    ">": r"$>$",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{letter: f"{{{letter}}}" for letter in "[]*"},  # after \\ they would be its arguments
}
FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d.]+$)")
"""How a text begins that spreadsheets compute; numbers stay numbers."""
MARKDOWN = re.compile(r"([\\`*_|\[\]<>#~])")


class Measured(NamedTuple):
    """Mean and deviation of a metric. factor: 100 for percent. digits: after the point."""

    spread: Spread
    factor: float
    digits: int

    def text(self, sign: str = "±") -> str:
        """`84.21 ± 0.30`; `84.21` of a single value."""
        mean, deviation, _ = self.spread
        if mean is None:
            return NOTHING
        shown = f"{self.factor * mean:.{self.digits}f}"
        return (
            shown
            if deviation is None
            else f"{shown} {sign} {self.factor * deviation:.{self.digits}f}"
        )


class PValue(NamedTuple):
    """A p-value, None where a test says nothing."""

    value: float | None

    def text(self) -> str:
        """Four digits; fewer of a large one."""
        if self.value is None:
            return NOTHING
        return "< 0.0001" if self.value < 1e-4 else f"{self.value:.4f}"


Cell = str | int | Measured | PValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """name: of its files. columns: headings. rows: as long as the headings. notes: below it."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def shown(cell: Cell) -> str:
    """A cell as it is read."""
    return cell.text() if isinstance(cell, Measured | PValue) else printable(str(cell))


def to_csv(table: Table) -> str:
    """Numbers in full and not in percent; a metric has columns for mean, deviation and number."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_csv_heading(table))
    for row in table.rows:
        writer.writerow([value for cell in row for value in _csv_cell(cell)])
    return out.getvalue()


def to_markdown(table: Table) -> str:
    """A pipe table with its title and notes."""
    lines = [[_markdown(text) for text in table.columns]]
    lines += [[_markdown(shown(cell)) for cell in row] for row in table.rows]
    rule = ["---" if k == 0 else "---:" for k in range(len(table.columns))]
    text = [f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:])]
    notes = [f"{_markdown(note)}\n" for note in table.notes]
    return "\n".join([f"### {_markdown(table.title)}", "", *text, "", *notes])


def to_latex(table: Table) -> str:
    """A `table` of booktabs. Its letters are those of the data: Korean ones need kotex."""
    columns = "l" + "r" * (len(table.columns) - 1)
    lines = [" & ".join(_latex(text) for text in table.columns)]
    lines += [" & ".join(_latex_cell(cell) for cell in row) for row in table.rows]
    heading, *body = [f"{line} \\\\" for line in lines]
    caption = " ".join([_sentence(table.title), *table.notes])
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex(caption)}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            heading,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _csv_heading(table: Table) -> list[str]:
    """Headings, three of a column that holds a metric anywhere."""
    names = []
    for k, name in enumerate(table.columns):
        plain = name.removesuffix(" %")
        measured = any(isinstance(row[k], Measured) for row in table.rows)
        names += [f"{plain} mean", f"{plain} sd", f"{plain} n"] if measured else [plain]
    return [_csv_text(name) for name in names]


def _csv_cell(cell: Cell) -> list[str]:
    if isinstance(cell, Measured):
        mean, deviation, count = cell.spread
        return [*("" if v is None else repr(v) for v in (mean, deviation)), str(count)]
    if isinstance(cell, PValue):
        return ["" if cell.value is None else repr(cell.value)]
    return [_csv_text(str(cell))]


def _csv_text(text: str) -> str:
    """A text that a spreadsheet takes for no formula, as the names of folds are anybody's."""
    return f"'{text}" if FORMULA.match(text) else text


def _latex_cell(cell: Cell) -> str:
    if isinstance(cell, Measured) and cell.spread.mean is not None:
        return f"${cell.text(sign=chr(92) + 'pm')}$"
    return _latex(shown(cell))


def _latex(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in text)


def _markdown(text: str) -> str:
    return MARKDOWN.sub(r"\\\1", text)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def table_texts(table: Table) -> Sequence[Sequence[str]]:
    """Headings and rows as texts, for a terminal."""
    return [table.columns, *[[shown(cell) for cell in row] for row in table.rows]]
