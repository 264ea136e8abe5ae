"""Every installed engine on the same samples: times, differences, the smallest disagreement."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pi_cache.errors import InvalidSpec, SampleError
from pi_cache.specs import DiagramSpec
from pipeline.bottleneck import bottleneck
from pipeline.diagrams import Diagrams, compute_diagrams, tiny_fields
from pipeline.engines import ENGINES, holds_single, installed, missing
from pipeline.fields import Fields, make_fields
from pipeline.shard import USABLE
from pipeline.sources.base import Source, read_samples

SINGLE = 1e-6
"""What engines may differ by where one holds float32, as part of the largest value of a sample."""
FIRST = 16
"""Samples that are compared where no number is asked for."""


@dataclass(kw_only=True)
class Run:
    """One engine: samples it computed, seconds of each on average, and what it refused, by id."""

    engine: str
    samples: int = 0
    seconds: float = 0.0
    refused: dict[str, str] = field(default_factory=dict)


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
    """Runs of the engines, and pairs of the first one with each other."""

    runs: list[Run]
    pairs: list[Pair]

    @property
    def agree(self) -> bool:
        """Whether no sample differed by more than was allowed."""
        return not any(pair.differing for pair in self.pairs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them; an infinite difference is null."""
        document = asdict(self) | {"agree": self.agree}
        for pair in document["pairs"]:
            pair["largest"] = pair["largest"] if np.isfinite(pair["largest"]) else None
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
    for each in specs.values():  # compile, start, import
        compute_diagrams(tiny_fields(each), each, time_limit=time_limit)
    runs = {name: Run(engine=name) for name in specs}
    first, *others = specs
    pairs = {name: Pair(one=first, other=name) for name in others}
    for position in range(len(source)):
        part = source[position : position + 1]
        samples = read_samples(part)
        if samples.status[0] not in USABLE:
            continue
        fields = make_fields(samples, part, spec)
        found = {name: _timed(fields, specs[name], runs[name], part.ids[0], time_limit)
                 for name in specs}  # fmt: skip
        for name, pair in pairs.items():
            one, other = found[first], found[name]
            if one is not None and other is not None:
                exact = not (holds_single(specs[first]) or holds_single(specs[name]))
                values = int(np.size(samples.arrays[0]))
                _add(pair, one, other, 0.0 if exact else SINGLE, part.ids[0], values)
    for run in runs.values():
        run.seconds /= max(run.samples, 1)
    return Comparison(runs=list(runs.values()), pairs=list(pairs.values()))


def _timed(
    fields: Fields, spec: DiagramSpec, run: Run, name: str, time_limit: float | None
) -> Diagrams | None:
    """The diagrams of a sample's fields; None where the engine refuses them."""
    start = time.perf_counter()
    try:
        found = compute_diagrams(fields, spec, time_limit=time_limit)
    except SampleError as error:
        run.refused[name] = str(error)
        return None
    run.seconds += time.perf_counter() - start
    run.samples += 1
    return found


def _add(
    pair: Pair, one: Diagrams, other: Diagrams, tolerance: float, name: str, values: int
) -> None:
    """Count one sample."""
    known = one.points[np.isfinite(one.points)]
    allowed = tolerance * float(np.abs(known).max(initial=0.0))
    apart = max(bottleneck(one[k], other[k]) for k in range(len(one)))
    pair.samples += 1
    if apart >= pair.largest:
        pair.largest, pair.allowed = apart, allowed
    if apart > allowed:
        pair.differing += 1
        if not pair.smallest or values < pair.values:
            pair.smallest, pair.values = name, values


def comparison_lines(found: Comparison) -> list[str]:
    """The comparison as two tables."""
    lines = [f"{'engine':<16} {'s a sample':>11} {'samples':>8}  refused"]
    for run in found.runs:
        why = next(iter(run.refused.values()), "")
        refused = f"{len(run.refused)}, such as: {why}" if why else "none"
        lines.append(f"{run.engine:<16} {run.seconds:>11.3g} {run.samples:>8}  {refused}")
    if found.pairs:
        head = f"{'engines':<16} {'largest':>11} {'allowed':>8}  smallest sample that differs"
        lines += ["", head]
    for pair in found.pairs:
        smallest = f"{pair.smallest}, {pair.values:,} values, of {pair.differing}"
        lines.append(
            f"{f'{pair.one}, {pair.other}':<16} {pair.largest:>11.3g} {pair.allowed:>8.2g}  "
            f"{smallest if pair.differing else 'none'}"
        )
    return lines
