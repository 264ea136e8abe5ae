"""Methods by name, made from plain values or from words of a command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from pi_cache.errors import InvalidSpec
from pi_cache.nearest import hint
from training.methods.afd import Afd
from training.methods.amd import Amd, AmdGlobalLocal
from training.methods.base import Method, how_many
from training.methods.features import L2, FitNet
from training.methods.kd import Eskd, FullKd, Kd
from training.methods.logits import Lsd, MixupKd
from training.methods.maps import At, Rkd, Sp
from training.methods.several import CaMkd, Multi
from training.methods.topology import TdaKd, Tgd, Tpkd

CLASSES: tuple[type[Method], ...] = (
    *(Kd, Eskd, FullKd, Lsd, MixupKd),
    *(At, Sp, Rkd, FitNet, L2, Afd, Amd, AmdGlobalLocal),
    *(Multi, CaMkd, Tgd, TdaKd, Tpkd),
)
METHODS: Mapping[str, type[Method]] = {method.name: method for method in CLASSES}
BOOLEANS = {"true": True, "false": False}


def make_method(name: str, **settings: Any) -> Method:
    """The method of that name.

    settings: by name, as values or as words: `0.9`, `none`, `true`, `0.7,0.3`, `stage1,stage2`.
    Raises InvalidSpec for an unknown name, with the nearest one, and with all settings that are
    unknown or wrong.
    """
    if name not in METHODS:
        raise InvalidSpec(
            f"unknown method {name!r}{hint(name, METHODS)}; there are {', '.join(METHODS)}"
        )
    kinds = {field.name: str(field.type) for field in fields(METHODS[name])}
    problems, parsed = [], {}
    for setting, value in settings.items():
        if setting not in kinds:
            problems.append(f"it has no setting {setting!r}{hint(setting, kinds)}")
            continue
        try:
            parsed[setting] = PARSERS[kinds[setting]](value)
        except (ValueError, TypeError, OverflowError):
            problems.append(f"{setting} must be {KINDS[kinds[setting]]}, got {value!r:.60}")
    if problems:
        known = ", ".join(kinds)
        raise InvalidSpec(f"{name}: {'; '.join(problems)}; its settings are {known}")
    return METHODS[name](**parsed)


def describe(method: type[Method]) -> dict[str, Any]:
    """What there is to know of a method, as plain values.

    name, summary, teachers in words, roles of the paper's teachers in order, names of the terms,
    settings with their defaults, stages, needs_start, pick, source.
    """
    return {
        "name": method.name,
        "summary": str(method.__doc__).splitlines()[0],
        "teachers": how_many(method),
        "roles": list(method.roles),
        "terms": list(method.term_names),
        "settings": {field.name: _plain(field.default) for field in fields(method)},
        "stages": method.stages,
        "needs_start": method.needs_start,
        "pick": method.pick,
        "source": method.source,
    }


def _plain(default: Any) -> Any:
    assert default is not MISSING  # a test makes every method without settings
    return list(default) if isinstance(default, tuple) else default


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(value)
    return float(value)


def _whole(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError(value)
    return int(number)


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() not in BOOLEANS:
        raise ValueError(value)
    return BOOLEANS[str(value).lower()]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value.strip()


def _optional(value: Any) -> float | None:
    absent = value is None or (isinstance(value, str) and value.lower() == "none")
    return None if absent else _number(value)


def _several(value: Any, parse: Callable[[Any], Any]) -> tuple[Any, ...]:
    """A comma list, a sequence, or one value alone."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    return tuple(parse(each) for each in (value if isinstance(value, Sequence) else [value]))


PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "float": _number,
    "int": _whole,
    "bool": _truth,
    "str": _text,
    "float | None": _optional,
    "tuple[float, ...]": lambda value: _several(value, _number),
    "tuple[str, ...]": lambda value: _several(value, _text),
}
"""By the type of a setting, as it is written in the dataclass."""
KINDS: Mapping[str, str] = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "str": "a word",
    "float | None": "a number, or none",
    "tuple[float, ...]": "numbers joined by commas",
    "tuple[str, ...]": "names joined by commas",
}
