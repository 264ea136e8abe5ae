"""A report as lines: what is one number first, then a table for each noun."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pi_cache.commands.table import printable
from pi_cache.commands.table import width as places
from pipeline.reports.coverage import empty_lines, problem_lines
from pipeline.reports.inputs import CLIPPED_RULE, NOT_COUNTED
from pipeline.reports.units import percent, with_unit

WIDTH = 100
"""Letters of a line, where a terminal does not say how many it has."""
TABLES = ("windows", "inputs", "channels", "empty_parts", "problems")
SHARES = ("points_inside", "persistence_inside")


def report_lines(facts: dict[str, Any], width: int = WIDTH) -> list[str]:
    """What `coverage` found, in words. width: of a table; one that is wider is continued below."""
    lines = [
        f"{name:<20} {percent(value) if name in SHARES else _fact(value)}"
        for name, value in facts.items()
        if name not in TABLES
    ]
    for axis, found in (facts.get("empty_parts") or {}).items():
        text = "; ".join(empty_lines({axis: found}, 0)) or "none"
        lines.append(f"{f'empty {axis}':<20} {text}")
    lines += [f"{'problems':<20} {line}" for line in problem_lines(facts) or ["-"]]
    if facts["windows"] is not None:
        lines += ["", *window_table(facts["windows"], width)]
    if "channels" in facts:
        lines += ["", *_coverage_table(facts["channels"], width)]
    if facts["inputs"] != []:
        lines += ["", *_input_table(facts["inputs"], width)]
    return [printable(line) for line in lines]


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_fact(item)}" for name, item in value.items()) or "-"
    if isinstance(value, list):
        return "..".join(f"{item:.12g}" for item in value)
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def window_table(facts: Mapping[str, Any], width: int = WIDTH) -> list[str]:
    """Windows by subject and class, a class that a subject lacks as `-`, and what columns mean."""
    codes, counts = facts["codes"], facts["counts"]
    total = sum(map(sum, counts))
    lost = sorted({name for row in facts["lost"] for name in row})
    header = ["subject", *(codes[name] for name in facts["classes"]), "OK", *lost]
    rows = [
        [subject, *(str(count or "-") for count in row), str(sum(row)),
         *(str(left.get(name, "-")) for name in lost)]
        for subject, row, left in zip(facts["subjects"], counts, facts["lost"], strict=True)
    ]  # fmt: skip
    sums = [sum(column) for column in zip(*counts, strict=True)]
    left = [sum(row.get(name, 0) for row in facts["lost"]) for name in lost]
    rows.append(["all", *map(str, [*sums, total, *left])])
    title = (
        f"windows: {total:,} with the status OK, of {facts['recordings']:,} recordings of"
        f" {len(facts['subjects'])} subjects in {len(facts['classes'])} classes"
    )
    lines = [*_wrapped(title, width), *table([header, *rows], width)]
    lines += [f"  {codes[name]}: {name}" for name in facts["classes"] if codes[name] != name]
    for subject, names in facts["missing"].items():
        told = ", ".join(codes[name] for name in names)
        lines += _wrapped(f"no window of {subject}: {told}", width)
    if facts["absent"]:
        named = (
            name if codes[name] == name else f"{codes[name]} {name}" for name in facts["absent"]
        )
        lines += _wrapped(f"no window at all of {'; '.join(named)}", width)
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)


def _coverage_table(channels: Sequence[Mapping[str, Any]] | None, width: int) -> list[str]:
    if channels is None:
        return [f"window of the images by channel: {NOT_COUNTED}"]
    header = [
        "channel", "points", "inside", "persistence inside", "births below", "births above",
        "persistences above", "births from..to", "persistence up to", "birth axis empty",
        "persistence axis empty",
    ]  # fmt: skip
    shares = (
        "points_inside", "persistence_inside", "births_below", "births_above", "persistences_above",
    )  # fmt: skip
    rows = [
        [fact["name"], f"{fact['points']:,}", *(percent(fact[name]) for name in shares),
         "-" if fact["birth"][0] is None else "{:.4g}..{:.4g}".format(*fact["birth"]),
         _number(fact["persistence"]), percent(fact["birth_empty"]),
         percent(fact["persistence_empty"])]
        for fact in channels
    ]  # fmt: skip
    title = "window of the images by channel, in shares of points, of persistence and of axes"
    return [title, *_channel_table([header, *rows], width)]


def _input_table(inputs: Sequence[Mapping[str, Any]] | None, width: int) -> list[str]:
    if inputs is None:
        return [f"values that were filtered: {NOT_COUNTED}"]
    numbers = ("min", "max", "mean", "std")
    shares = ("flat", "clipped_low", "clipped_high", "missing")
    header = ["channel", *numbers, "constant", "clipped low", "clipped high", "missing"]
    rows = [
        [with_unit(fact["name"], fact["unit"]), *(_number(fact[name]) for name in numbers),
         *(percent(fact[name]) for name in shares)]
        for fact in inputs
    ]  # fmt: skip
    title = "values that were filtered, by channel"
    return [title, *_channel_table([header, *rows], width), *_wrapped(CLIPPED_RULE, width)]


def _channel_table(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """A table with a row a channel; columns that are alike in all of several rows as a line."""
    header, *channels = rows
    columns = list(zip(*rows, strict=True))
    alike = [k for k, column in enumerate(columns) if len(channels) > 1 == len(set(column[1:]))]
    differ = [k for k in range(len(header)) if k not in alike]
    lines = table([[row[k] for k in differ] for row in rows], width)
    told = ", ".join(f"{header[k]} {channels[0][k]}" for k in alike)
    return [*lines, *(_wrapped(f"all channels: {told}", width) if alike else [])]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def table(rows: Sequence[Sequence[str]], width: int = WIDTH) -> list[str]:
    """Rows of cells in columns, the first one to the left; what does not fit is continued below."""
    return [line for part in _parts(rows, width) for line in part]


def _parts(rows: Sequence[Sequence[str]], width: int) -> Iterator[list[str]]:
    widths = [max(map(places, column)) for column in zip(*rows, strict=True)]
    start = 1
    while start < len(widths) or start == 1:
        stop, used = start, widths[0]
        while stop < len(widths) and (stop == start or used + 2 + widths[stop] <= width):
            used += 2 + widths[stop]
            stop += 1
        yield [_line(row, widths, range(start, stop)) for row in rows]
        start = max(stop, start + 1)


def _line(row: Sequence[str], widths: Sequence[int], columns: range) -> str:
    """The first cell and some others; a letter may be two places wide, such as a Korean one."""
    first = row[0] + " " * (widths[0] - places(row[0]))
    others = (" " * (widths[k] - places(row[k])) + row[k] for k in columns)
    return "  ".join([first, *others]).rstrip()
