"""Every installed engine on the same samples: times, differences, the smallest disagreement."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pi_cache.errors import EngineNotInstalled, InvalidSpec, SampleError
from pi_cache.specs import DiagramSpec, Status
from pipeline.bottleneck import bottleneck
from pipeline.diagrams import Diagrams, compute_diagrams
from pipeline.engines import ENGINES, holds_single, installed, missing
from pipeline.engines.interrupt import interrupted
from pipeline.fields import Fields, finite_fields
from pipeline.measuring import start_engine
from pipeline.sources.base import Samples, Source, read_samples
from pipeline.statistics import USABLE

SINGLE = 1e-6
"""What engines may differ by where one holds float32, as part of the largest value of a sample."""
FIRST = 16
"""Samples that are compared where no number is asked for."""


@dataclass(kw_only=True)
class Run:
    """One engine: samples it computed, seconds of each on average, and what it refused, by id.

    problem: why it could not be started, and so computed nothing; "" where it could.
    """

    engine: str
    samples: int = 0
    seconds: float = 0.0
    refused: dict[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(kw_only=True)
class Pair:
    """Two engines: the largest bottleneck distance of two diagrams of one field, over all samples.

    allowed: how much was allowed in that sample. samples: compared. differing: how many differed by
    more than was allowed; smallest: the one of fewest values among them, by id; "" for none.
    """

    one: str
    other: str
    samples: int = 0
    largest: float = 0.0
    allowed: float = 0.0
    differing: int = 0
    smallest: str = ""
    values: int = 0


@dataclass(kw_only=True)
class Comparison:
    """Runs of the engines, and pairs of the first one with each other.

    left_out: samples that no engine was given, and why, by id.
    """

    runs: list[Run]
    pairs: list[Pair]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def compared(self) -> int:
        """Samples that two engines computed, summed over the pairs."""
        return sum(pair.samples for pair in self.pairs)

    @property
    def agree(self) -> bool:
        """Whether something was compared, and no sample differed by more than was allowed."""
        return self.compared > 0 and not any(pair.differing for pair in self.pairs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them; a difference that is not finite is null.

        So is one of a pair that has no sample.
        """
        document = asdict(self) | {"agree": self.agree, "compared": self.compared}
        for pair in document["pairs"]:
            known = pair["samples"] and np.isfinite(pair["largest"])
            pair["largest"] = pair["largest"] if known else None
        return document


def compare(source: Source, spec: DiagramSpec, *, time_limit: float | None = None) -> Comparison:
    """Every installed engine that covers the spec, on every usable sample of the source.

    spec: its engine is of no matter, and pairs of any persistence are compared: whether one is
    just over `min_persistence` may depend on rounding. Raises InvalidSpec where no engine covers
    the spec. time_limit: seconds a field may take.
    """
    specs = {
        name: spec.replace(engine=name, min_persistence=0.0)
        for name, engine in ENGINES.items()
        if missing(engine, spec) is None and installed(name)
    }
    if not specs:
        raise InvalidSpec("no engine that is installed covers this; see `pipeline engines`")
    runs = {name: Run(engine=name) for name in specs}
    for name in specs:
        runs[name].problem = _started(specs[name], time_limit)
    able = [name for name, run in runs.items() if not run.problem]
    pairs = {name: Pair(one=able[0], other=name) for name in able[1:]}
    found = Comparison(runs=list(runs.values()), pairs=list(pairs.values()))
    for position in range(len(source)):
        part = source[position : position + 1]
        samples = read_samples(part)
        try:
            fields = _fields(samples, part, spec)
        except SampleError as error:
            found.left_out[part.ids[0]] = str(error)
            continue
        each = {name: _timed(fields, specs[name], runs[name], part.ids[0], time_limit)
                for name in able}  # fmt: skip
        for name, pair in pairs.items():
            one, other = each[pair.one], each[name]
            if one is not None and other is not None:
                exact = not (holds_single(specs[pair.one]) or holds_single(specs[name]))
                apart = max(bottleneck(one[k], other[k]) for k in range(len(one)))
                allowed = 0.0 if exact else SINGLE * _largest(one)
                _count(pair, apart, allowed, part.ids[0], int(np.size(samples.arrays[0])))
    for run in runs.values():
        run.seconds /= max(run.samples, 1)
    return found


def _started(spec: DiagramSpec, time_limit: float | None) -> str:
    """Why an engine does not start; "" where it has, compiled or imported."""
    try:
        start_engine(spec, time_limit)
    except SampleError as error:
        return str(error)
    return ""


def _fields(samples: Samples, part: Source, spec: DiagramSpec) -> Fields:
    """The fields of one sample. Raises SampleError where a build would leave it out."""
    if samples.status[0] not in USABLE:
        code = Status(int(samples.status[0]))
        raise SampleError(code, samples.problems.get(0, code.name))
    return finite_fields(samples, part, spec)


def _timed(
    fields: Fields, spec: DiagramSpec, run: Run, name: str, time_limit: float | None
) -> Diagrams | None:
    """The diagrams of a sample's fields; None where the engine refuses them."""
    start = time.perf_counter()
    try:
        found = compute_diagrams(fields, spec, time_limit=time_limit)
    except (EngineNotInstalled, InvalidSpec, MemoryError):
        raise
    except Exception as error:  # as in a build: it costs this sample
        if interrupted(error):
            raise KeyboardInterrupt from None
        known = isinstance(error, SampleError)
        run.refused[name] = str(error) if known else f"{type(error).__name__}: {error}"
        return None
    run.seconds += time.perf_counter() - start
    run.samples += 1
    return found


def _largest(found: Diagrams) -> float:
    """The largest |value| of all diagrams."""
    return float(np.abs(found.points[np.isfinite(found.points)]).max(initial=0.0))


def _count(pair: Pair, apart: float, allowed: float, name: str, values: int) -> None:
    """Count one sample. apart: NaN, of what is no diagram, is no agreement either."""
    pair.samples += 1
    apart = np.inf if np.isnan(apart) else apart
    if apart >= pair.largest:
        pair.largest, pair.allowed = apart, allowed
    if not apart <= allowed:
        pair.differing += 1
        if not pair.smallest or values < pair.values:
            pair.smallest, pair.values = name, values


def comparison_lines(found: Comparison) -> list[str]:
    """The comparison as two tables, and what was left out."""
    lines = [f"{'engine':<16} {'s a sample':>11} {'samples':>8}  refused"]
    for run in found.runs:
        seconds = f"{run.seconds:.3g}" if run.samples else "-"
        refused = f"not started: {run.problem}" if run.problem else _some(run.refused)
        lines.append(f"{run.engine:<16} {seconds:>11} {run.samples:>8}  {refused}")
    if found.pairs:
        head = f"{'engines':<16} {'largest':>11} {'allowed':>8} {'samples':>8}  "
        lines += ["", f"{head}smallest sample that differs"]
    for pair in found.pairs:
        numbers = [f"{pair.largest:.3g}", f"{pair.allowed:.2g}"] if pair.samples else ["-", "-"]
        smallest = f"{pair.smallest}, {pair.values:,} values, of {pair.differing}"
        if not pair.differing:
            smallest = "none" if pair.samples else "-"
        lines.append(
            f"{f'{pair.one}, {pair.other}':<16} {numbers[0]:>11} {numbers[1]:>8} "
            f"{pair.samples:>8}  {smallest}"
        )
    if found.left_out:
        lines += ["", f"left out: {_some(found.left_out)}"]
    return lines


def _some(messages: dict[str, str]) -> str:
    """How many samples have a message, and the first of them."""
    if not messages:
        return "none"
    name, text = next(iter(messages.items()))
    return f"{len(messages)}, such as {name}: {text}"
