"""What a choice of delay and dimension comes to, in words and as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.delays.choice import Summary
from pipeline.delays.embedding import Chosen, Embedding

ALL = "all"
HEADINGS = ("channel", "delay", "quartiles", "seconds", "none", "dimension", "quartiles", "weak")
FAR_APART = 2.0
"""Times the smallest median of a channel that the largest one may be before that is told."""


def document_of(embedding: Embedding) -> dict[str, Any]:
    """Everything but the curves of windows, as `--json` prints it."""
    channels = {
        name: {
            part: None if chosen.choices is None else chosen.choices.summary(place).to_dict()
            for part, chosen in _parts(embedding)
        }
        | {"curves": {part: _curve(chosen, place) for part, chosen in _parts(embedding)}}
        for place, name in enumerate(embedding.part.channels)
    }
    return {
        **embedding.record(),
        "rate": embedding.part.rate,
        "channels": channels,
        "options": options_of(embedding),
    }


def options_of(embedding: Embedding) -> str | None:
    """The options of build-pis to use, None where a number was not found."""
    delay, dimension = embedding.delay.number, embedding.dimension.number
    if delay is None or dimension is None:
        return None
    return f"--filtration rips --embedding-delay {delay} --embedding-dimension {dimension}"


def table_lines(embedding: Embedding) -> list[str]:
    """A line for each channel and one for all, under headings."""
    rows: list[tuple[str, ...]] = [HEADINGS]
    rows += [_row(embedding, name, place) for place, name in enumerate(embedding.part.channels)]
    rows.append(_row(embedding, ALL, None))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    return ["  ".join(row) for row in aligned]


def chosen_lines(embedding: Embedding) -> Iterator[str]:
    """How each number that a rule chose came, a line each: what a build says."""
    for name, chosen in _parts(embedding):
        if chosen.choices is not None:
            summary = chosen.choices.summary()
            yield (
                f"{name} {chosen.number}, by {chosen.rule}: quartiles {_quartiles(summary)} of"
                f" {summary.used} channels of windows" + _seconds_of(embedding, name)
            )


def warning_lines(embedding: Embedding) -> Iterator[str]:
    """What makes the numbers doubtful."""
    part = embedding.part
    for name, chosen in _parts(embedding):
        if chosen.choices is None:
            continue
        medians = [chosen.choices.summary(k).median for k in range(len(part.channels))]
        known = [median for median in medians if median is not None]
        if known and max(known) > FAR_APART * min(known):
            yield (
                f"one {name} serves all channels, and the medians of channels run from {min(known)}"
                f" to {max(known)}"
            )
        summary = chosen.choices.summary()
        if summary.unusable:
            yield (
                f"{summary.unusable} of {summary.used + summary.unusable} channels of windows are"
                f" constant, not finite or too short, and have no {name}"
            )
        if 2 * summary.weak > summary.used:
            yield (
                f"in {summary.weak} of {summary.used} channels of windows more than"
                f" {embedding.limits.threshold:.2%} of the nearest neighbours stay false, and the"
                " dimension is where their share falls no further: noise or short windows decide it"
            )


def _parts(embedding: Embedding) -> tuple[tuple[str, Chosen], ...]:
    return ("delay", embedding.delay), ("dimension", embedding.dimension)


def _curve(chosen: Chosen, place: int) -> dict[str, Any] | None:
    """The median curve of a channel over what was tried; None where there is none."""
    if chosen.choices is None or not len(chosen.choices.tried):
        return None
    median = chosen.choices.band(place)[1]
    return {
        "tried": chosen.choices.tried.tolist(),
        "median": [None if value != value else value for value in median.tolist()],
    }


def _row(embedding: Embedding, name: str, place: int | None) -> tuple[str, ...]:
    delay, dimension = (_summary(chosen, place) for _, chosen in _parts(embedding))
    rate, median = embedding.part.rate, delay.median
    return (
        name,
        _number(median),
        _quartiles(delay),
        "-" if rate is None or median is None else f"{median / rate:.3g}",
        str(delay.beyond),
        _number(dimension.median),
        _quartiles(dimension),
        str(dimension.weak),
    )


def _summary(chosen: Chosen, place: int | None) -> Summary:
    """Of a channel or of all; of a number that was given, that number alone."""
    if chosen.choices is not None:
        return chosen.choices.summary(place)
    number = chosen.number
    return Summary(lower=number, median=number, upper=number, used=0, unusable=0, beyond=0, weak=0)


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _quartiles(summary: Summary) -> str:
    if not summary.used:
        return "-"
    return f"{_number(summary.lower)}..{_number(summary.upper)}"


def _seconds_of(embedding: Embedding, name: str) -> str:
    rate, number = embedding.part.rate, embedding.delay.number
    return f"; {number / rate:.3g} s" if name == "delay" and rate and number else ""
