"""How jobs are submitted: what SLURM is asked for, and what prepares the environment of a job.

From options, and from a profile: a small TOML file with the same names, for what is the same in
every build. Options win.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from pi_cache import files
from pi_cache.errors import InvalidSpec

MOST_ELEMENTS = 1000
"""The largest array that SLURM takes as it comes (MaxArraySize = 1001)."""
TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d{1,2}))?(?::(\d{1,2}))?")
LINES = ("sbatch_lines", "setup")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What jobs are submitted with; None leaves it to the plan, or to SLURM.

    time: of an element, as SLURM writes it (minutes, MM:SS, HH:MM:SS, D-HH:MM:SS). memory: of an
    element, such as 4G. cpus: workers of an element. array_limit: elements that run at a time.
    elements: how many there are. rounds: how often missing shards are submitted again.
    sbatch_lines: more lines of `#SBATCH`. setup: lines of shell before the work. python: the
    interpreter.
    """

    partition: str | None = None
    account: str | None = None
    time: str | None = None
    memory: str | None = None
    cpus: int = 1
    array_limit: int | None = None
    elements: int | None = None
    rounds: int = 3
    sbatch_lines: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    python: str = sys.executable

    def __post_init__(self) -> None:
        problems = [*self._types(), *self._values()]
        if problems:
            raise InvalidSpec(f"settings of jobs: {'; '.join(problems)}")

    def _types(self) -> list[str]:
        wrong = []
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in LINES:
                good = isinstance(value, tuple) and all(isinstance(line, str) for line in value)
                wanted = "lines of text"
            else:
                kind = int if "int" in str(f.type) else str
                optional = "None" in str(f.type) and value is None
                good = optional or (isinstance(value, kind) and not isinstance(value, bool))
                wanted = "a whole number" if kind is int else "text"
            if not good:
                wrong.append(f"{f.name} must be {wanted}, got {value!r}")
        return wrong

    def _values(self) -> list[str]:
        texts = [getattr(self, name) for name in ("partition", "account", "time", "memory")]
        wrong = [f"{text!r} is more than a word" for text in texts if _is_odd(text)]
        if isinstance(self.time, str) and not TIME.fullmatch(self.time):
            wrong.append(f"time must be written as SLURM does, such as 01:30:00, got {self.time!r}")
        elif isinstance(self.time, str) and time_seconds(self.time) < 60:
            wrong.append(f"time must be at least a minute, got {self.time!r}")
        least = {"cpus": 1, "array_limit": 1, "elements": 1, "rounds": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if isinstance(value, int) and value < low:
                wrong.append(f"{name} must be at least {low}, got {value}")
        if isinstance(self.elements, int) and self.elements > MOST_ELEMENTS:
            wrong.append(f"elements must be at most {MOST_ELEMENTS:,}, got {self.elements:,}")
        lines = self.sbatch_lines if isinstance(self.sbatch_lines, tuple) else ()
        wrong += [
            f"an sbatch line is one line, got {line!r}" for line in lines if "\n" in str(line)
        ]
        return wrong

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return found | {name: list(found[name]) for name in LINES}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The settings of plain values. Raises InvalidSpec naming what is not known."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(document) - known)
        if unknown:
            raise InvalidSpec(
                f"settings of jobs: unknown {', '.join(unknown)} (there are "
                f"{', '.join(f.name for f in fields(cls))})"
            )
        return cls(**{name: _lines(value) if name in LINES else value
                      for name, value in document.items()})  # fmt: skip


def _lines(value: Any) -> Any:
    """Lines of a list, or of one text with line breaks."""
    if isinstance(value, str):
        return tuple(value.splitlines())
    return tuple(value) if isinstance(value, list | tuple) else value


def _is_odd(text: Any) -> bool:
    """Whether a word would become something else on a line of a script."""
    return isinstance(text, str) and not re.fullmatch(r"[\w.,:/@+-]+", text)


def read_profile(path: Path) -> dict[str, Any]:
    """The settings of a profile. Raises InvalidSpec naming the file."""
    try:
        document = tomllib.loads(files.read_bytes(path).decode())
        Settings.from_dict(document)
    except (OSError, ValueError) as error:
        raise InvalidSpec(f"{path}: no profile of jobs: {error}") from None
    return document


def settings_of(profile: Path | None, given: Mapping[str, Any]) -> Settings:
    """The settings that a profile and options make; lines of both are taken, the profile's first.

    given: options by name, None or empty where not given. Raises InvalidSpec.
    """
    known = {} if profile is None else read_profile(profile)
    for name, value in given.items():
        if name in LINES:
            known[name] = (*_lines(known.get(name, ())), *value)
        elif value is not None:
            known[name] = value
    return Settings.from_dict(known)


def time_seconds(text: str) -> int:
    """Seconds of a time as SLURM writes it."""
    match = TIME.fullmatch(text)
    assert match is not None, text
    days, first, second, third = (int(part) if part else 0 for part in match.groups())
    if match[1]:  # D-HH[:MM[:SS]]
        return days * 86_400 + first * 3600 + second * 60 + third
    if match[4]:
        return first * 3600 + second * 60 + third
    return first * 60 + second


def time_text(seconds: float) -> str:
    """HH:MM:SS, rounded up to whole minutes, which is all that SLURM counts."""
    minutes = max(-(-int(seconds) // 60), 1)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"
