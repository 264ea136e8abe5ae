"""Bytes, seconds and values as people write them: printed, and read from a command line."""

from __future__ import annotations

import math
import re

BYTE_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}
BINARY_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}
SHORT_UNITS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
SECOND_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
DIGEST = 64
"""Characters of a SHA-256, of which a message shows the start."""


def bytes_text(count: float) -> str:
    """Bytes in the largest unit of which there is one, powers of ten."""
    for unit in ("TB", "GB", "MB"):
        if count >= BYTE_UNITS[unit]:
            return f"{count / BYTE_UNITS[unit]:,.1f} {unit}"
    return f"{count / 1000:.1f} kB"


def seconds_text(seconds: float) -> str:
    """A time in seconds, minutes, hours or days."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86_400:,.0f} d"


def core_time_text(seconds: float) -> str:
    """The time that one core takes; hours of it stay hours, since that is what is paid for."""
    if seconds < 120:
        return f"{seconds:.1f} core-s"
    return f"{seconds / 60:.0f} core-min" if seconds < 7200 else f"{seconds / 3600:,.1f} core-h"


def value_text(value: object) -> str:
    """A value of a spec for a message; of a digest, its start."""
    return value[:12] if isinstance(value, str) and len(value) == DIGEST else repr(value)


def parse_bytes(text: str) -> int:
    """Bytes of `200GB`, `1.5 TB`, `10GiB` or a plain number. Raises ValueError."""
    units = {name.lower(): size for name, size in (BYTE_UNITS | BINARY_UNITS | SHORT_UNITS).items()}
    return int(_parse(text, units, "a size such as 200GB, 1.5TB or 10GiB"))


def parse_seconds(text: str) -> float:
    """Seconds of `30d`, `12h`, `90min`, `2w` or `1y`. Raises ValueError."""
    if re.fullmatch(r"[\d.\s]+", text):
        raise ValueError(f"{text!r} has no unit; give an age such as 30d, 12h or 90min")
    return _parse(text, SECOND_UNITS, "an age such as 30d, 12h or 90min")


def _parse(text: str, units: dict[str, int], wanted: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    unit = found and (units.get(found[2]) if found[2] else 1)
    if not found or not unit or not math.isfinite(amount := float(found[1]) * unit):
        raise ValueError(f"{text!r} is no quantity; give {wanted}")
    return amount
