"""Where a benchmark ran: what every printed figure needs beside it."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """The versions of those that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """The name of the processor, with family and model, since some names say little."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    parts = (line.partition(":") for line in lines)
    known = {key.strip(): value.strip() for key, _, value in parts}
    if "model name" not in known:
        return platform.machine()
    widest = "AVX-512" if "avx512f" in known.get("flags", "").split() else "no AVX-512"
    family = f"family {known.get('cpu family', '?')}, model {known.get('model', '?')}"
    return f"{known['model name']} ({family}, {widest}), {os.cpu_count()} cores"


def heading(packages: tuple[str, ...]) -> list[str]:
    """The date, the processor, and the versions of packages; which are not installed."""
    found = versions(packages)
    lines = [
        f"{datetime.date.today()}, {processor()}, Python {platform.python_version()}",
        ", ".join(f"{name} {number}" for name, number in found.items()),
    ]
    missing = [name for name in packages if name not in found]
    if missing:
        lines.append(f"not installed here, and so missing: {', '.join(missing)}")
    return lines


def single_threaded(**more: str) -> Mapping[str, str]:
    """The environment of a child process that computes with one thread."""
    return {**os.environ, **dict.fromkeys(ONE_THREAD, "1"), **more}


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= 0.9995 * size:
            return f"{three_digits(seconds / size)} {unit}"
    return f"{three_digits(seconds * 1e9)} ns"


def three_digits(value: float) -> str:
    """12.3, 123, 1,234."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
