"""How recordings become windows: every choice named, checked, and stored with what is built."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from pi_cache.errors import UnknownSource

LENGTH = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s?)")
FITS = ("minmax", "zscore")
MOST_SAMPLES = 10**8
"""Of a window: more is a slip of the hand."""

HELP = {
    "window": "length of a window: samples at its rate (100) or seconds (3s); there is no default",
    "step": "from the start of one window to that of the next, alike; there is no default",
    "start": "where the first window of a stretch starts, alike [default: 0]",
    "resample": (
        "none; thin:K, every K-th sample; mean:K, the means of blocks of K; linear:HZ, straight"
        " lines between samples [default: none]"
    ),
    "label_rule": (
        "label of a window: all, the one that all its samples have; majority, the one of over half"
        " of them; majority:0.8, of so large a share; ends, the one of its first and its last;"
        " first; last. A window without such a label is left out [default: all]"
    ),
    "gaps": (
        "cut, no window spans a gap in time or a dropped row; bridge, they are not looked at"
        " [default: cut]"
    ),
    "missing": (
        "windows with missing values: drop; keep, with the status NAN; interpolate:5 or"
        " interpolate:0.1s, straight lines over so many samples as recorded, and drop what is"
        " longer [default: drop]"
    ),
    "channels": "those to take, in their order [default: all]",
    "scale": (
        "none; published, by the constants of a paper; fitted:minmax, the range to 0..1;"
        " fitted:zscore, the mean to 0 and the deviation to 1 [default: none]"
    ),
    "fit_on": "subjects:A,B or split:train, the part that a fitted scale is found on",
    "prepare": "none, or published: what the paper does before windows are cut [default: none]",
}
"""What each option says, by its name."""


@dataclass(frozen=True, slots=True)
class Length:
    """A length in samples or in seconds."""

    amount: float
    seconds: bool = False

    @classmethod
    def parse(cls, value: object) -> Self:
        """The length of 100, "100" or "3s". Raises ValueError saying what was expected."""
        if isinstance(value, cls):
            return value
        found = None if isinstance(value, bool) else LENGTH.fullmatch(str(value).strip())
        if found is None or not (found[2] or float(found[1]).is_integer()):
            raise ValueError(f"samples such as 100, or seconds such as 3s, got {value!r:.40}")
        return cls(float(found[1]), bool(found[2]))

    def plain(self) -> int | str:
        """As it is stored, and parsed again."""
        return f"{_positional(self.amount)}s" if self.seconds else int(self.amount)

    def samples(self, rate: float) -> int:
        """The nearest whole number of samples at a rate in Hz."""
        return round(self.amount * rate) if self.seconds else int(self.amount)


def _positional(number: float) -> str:
    """The shortest text that reads back equal, without an exponent."""
    return np.format_float_positional(float(number), trim="-")


@dataclass(frozen=True, slots=True)
class Rule:
    """A choice by its name, and the amount that goes with it."""

    name: str
    amount: Any = None

    def plain(self) -> str:
        """As it is written."""
        if self.amount is None:
            return self.name
        if isinstance(self.amount, Length):
            return f"{self.name}:{self.amount.plain()}"
        if isinstance(self.amount, tuple):
            return f"{self.name}:{','.join(self.amount)}"
        if isinstance(self.amount, str):
            return f"{self.name}:{self.amount}"
        return f"{self.name}:{_positional(self.amount)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSpec:
    """Which windows are cut out of recordings, in the words of `HELP`.

    The fields are taken as text or numbers and become a Length, a Rule or names. window, step and
    start count samples after resampling; interpolation those as recorded. Raises UnknownSource
    with every problem.
    """

    window: Length
    step: Length
    start: Length = Length(0)
    resample: Rule = Rule("none")
    label_rule: Rule = Rule("all")
    gaps: Rule = Rule("cut")
    missing: Rule = Rule("drop")
    channels: tuple[str, ...] = ()
    scale: Rule = Rule("none")
    fit_on: Rule = Rule("none")
    prepare: Rule = Rule("none")

    def __post_init__(self) -> None:
        problems = []
        for name, parse in PARSERS.items():
            try:
                object.__setattr__(self, name, parse(getattr(self, name)))
            except ValueError as error:
                problems.append(f"{name} must be {error}")
        problems = problems or list(self._misfits())
        if problems:
            raise UnknownSource(f"windows: {'; '.join(problems)}")

    def _misfits(self) -> Iterator[str]:
        """What does not go together, where each field alone is right."""
        for name in ("window", "step"):
            if not 0 < getattr(self, name).amount <= MOST_SAMPLES:
                yield f"{name} must be above 0 and no more than {MOST_SAMPLES}"
        if len(set(self.channels)) != len(self.channels):
            yield f"the channels {', '.join(self.channels)} must differ"
        if (self.scale.name == "fitted") != (self.fit_on.name != "none"):
            yield (
                "a fitted scale and fit_on go together: fit_on=subjects:A,B or fit_on=split:train,"
                " the part that is never tested"
            )

    @property
    def takes_rows_as_they_are(self) -> bool:
        """Whether a window, before any scale, is a run of whole rows of its recording."""
        rules = (self.resample.name, self.prepare.name)
        return (
            rules == ("none", "none") and self.missing.name != "interpolate" and not self.channels
        )

    def to_options(self) -> dict[str, Any]:
        """Plain values by name; `WindowSpec(**options)` is equal. Empty ones are left out."""
        plain: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            plain[f.name] = list(value) if f.name == "channels" else value.plain()
        return {name: value for name, value in plain.items() if name not in OPTIONAL or value}


OPTIONAL = ("channels",)


def names_of(value: object) -> tuple[str, ...]:
    """Names joined by commas, or a list of them. Raises ValueError."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"names joined by commas, got {value!r:.60}")
    names = tuple(part.strip() for part in parts)
    if not all(names):
        raise ValueError(f"names joined by commas, got an empty one in {value!r:.60}")
    return names


def _channels(value: object) -> tuple[str, ...]:
    return names_of(value) if value else ()


Amounts = Mapping[str, Callable[[str], Any] | None]


def _as_amount(text: str, amounts: Amounts) -> str:
    """The rule whose amount a text is, as a hint: minmax may mean fitted:minmax."""
    for name, parse in amounts.items():
        if parse is not None and not text[:1].isdigit():
            with suppress(ValueError):
                parse(text)
                return f"; did you mean {name}:{text}?"
    return ""


def _rule(amounts: Amounts) -> Callable[[object], Rule]:
    """A parser of rules by name, each with a parser of its amount, None where it has none."""

    def parse(value: object) -> Rule:
        if isinstance(value, Rule):
            value = value.plain()
        name, colon, text = str(value).strip().partition(":")
        if name not in amounts:
            hint = _as_amount(name, amounts)
            raise ValueError(f"one of {', '.join(amounts)}, got {str(value)[:40]!r}{hint}")
        parse_amount = amounts[name]
        if parse_amount is None:
            if colon:
                raise ValueError(f"{name} without an amount, got {str(value)[:40]!r}")
            return Rule(name)
        try:
            return Rule(name, parse_amount(text))
        except ValueError as error:
            raise ValueError(f"{name}:{error}, got {str(value)[:40]!r}") from None

    return parse


def _factor(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 2:
        raise ValueError("K with a whole number from 2")
    return int(text)


def _hertz(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise ValueError("HZ with a rate above 0")
    return rate


def _share(text: str) -> float | None:
    if not text:
        return None
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0.5 < share <= 1:
        raise ValueError("SHARE with a share above 0.5 and at most 1")
    return share


def _fit(text: str) -> str:
    if text not in FITS:
        raise ValueError(" or fitted:".join(FITS))
    return text


def _one_name(text: str) -> str:
    if not text:
        raise ValueError("NAME with the name of a split")
    return text


PARSERS: dict[str, Callable[[object], Any]] = {
    "window": Length.parse,
    "step": Length.parse,
    "start": Length.parse,
    "resample": _rule({"none": None, "thin": _factor, "mean": _factor, "linear": _hertz}),
    "label_rule": _rule(
        {"all": None, "majority": _share, "ends": None, "first": None, "last": None}
    ),
    "gaps": _rule({"cut": None, "bridge": None}),
    "missing": _rule({"drop": None, "keep": None, "interpolate": Length.parse}),
    "channels": _channels,
    "scale": _rule({"none": None, "published": None, "fitted": _fit}),
    "fit_on": _rule({"none": None, "subjects": names_of, "split": _one_name}),
    "prepare": _rule({"none": None, "published": None}),
}
"""How each field is read, by name."""
