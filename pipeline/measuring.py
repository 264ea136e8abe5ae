"""What a sample costs: a few of them, from all over the source, are computed before a build."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pi_cache.errors import SampleError
from pi_cache.layout import Layout
from pi_cache.shards import encode
from pi_cache.specs import DiagramSpec, Status, StoreSpec
from pipeline.buildoptions import Say
from pipeline.cutting import store_columns
from pipeline.diagrams import compute_diagrams, tiny_fields
from pipeline.engines.libraries import LONG
from pipeline.engines.limits import coordinates_of, count_edges, estimate, overtime, size_of
from pipeline.executors import single_threaded
from pipeline.fields import make_fields
from pipeline.gramian.shard import fields_of
from pipeline.plan import Cost
from pipeline.shard import Clock, diagrams_of, images_of, warm
from pipeline.sources.base import Samples, Source, read_samples
from pipeline.sources.windowreader import WindowReader
from pipeline.statistics import USABLE

PLACES = 12
"""A few samples are computed before a build, from so many places of the source..."""
MEASURED_SECONDS = 0.1
"""...as many as take about so long, and one a place..."""
LONGEST_MEASURED = 3.0
"""...unless these take longer than that..."""
MOST_MEASURED = 512
"""...and at most so many."""
MEASURING_LIMIT = 20.0
"""Seconds a field may take while it is measured; one that takes longer counts as long as that."""
ANNOUNCED = 5.0
"""Seconds of measuring that are announced before they pass."""
START_LIMIT = 120.0
"""Seconds for a first, tiny field, whatever the limit of others: an engine is started by it."""
WRITE_RATE = 3e8
"""Bytes a second that a worker hashes, writes and reads back, about."""


def measure(
    source: Source,
    spec: StoreSpec,
    *,
    with_inputs: bool = True,
    time_limit: float | None = None,
    say: Say = lambda text: None,
) -> Cost:
    """Seconds and bytes of one sample, from a few that are spread over the source.

    time_limit: as that of a build. say: told beforehand where this takes long, or the limit is
    likely to be too short, and afterwards where a sample takes longer than measuring allows.
    """
    if spec.gramian is None:
        for line in expectations(source, spec.diagram, time_limit):
            say(line)
    limit = min(time_limit or MEASURING_LIMIT, MEASURING_LIMIT)
    if spec.image.normalise == "dataset-max":  # as much work, and no maximum is known yet
        spec = spec.replace(image=spec.image.replace(normalise="own-max"))
    with single_threaded():
        warm(spec)
        if spec.gramian is None:
            start_engine(spec.diagram, limit)
        count, wanted, near = 0, 1, at_hand(source)
        while wanted > 2 * count:  # too few for their time to be that of one among many
            clock, parts = Clock(), places(near, wanted)
            samples, drawn, points, late = _compute(parts, spec, clock, limit)
            count = len(drawn)
            wanted = _affordable(clock.total() / count, len(near))
    if late and limit != time_limit:
        say(f"{late} of {count} measured samples took over {limit:g} s: all may take longer")
    columns = {c.name: c for c in store_columns(source, spec, with_inputs=with_inputs)}
    layout = Layout(shard_samples=count)
    with clock("encode"):
        stored = len(encode(drawn, columns["images"].shard_format(layout)))
        if "inputs" in columns:
            inputs = np.asarray(samples.arrays)
            stored += len(encode(inputs, columns["inputs"].shard_format(layout)))
    point_bytes = points / count * 2 * np.dtype(spec.diagram.precision).itemsize
    each = {name: seconds / count for name, seconds in clock.seconds.items()}
    if isinstance(source.reader, WindowReader) and source.reader.kept_from() == len(source):
        # Of each recording that was read for it, one window was measured.
        once = source.reader.seconds_of_workers(len(source), 1) / len(source)
        each["read"] = min(each["read"], once)
    return Cost(
        read=each.get("read", 0.0),
        diagrams=each.get("fields", 0.0) + each.get("diagrams", 0.0),
        images=each.get("images", 0.0),
        encode=each.get("encode", 0.0) + (stored / count + point_bytes) / WRITE_RATE,
        points=points / count,
        stored=stored / count + point_bytes,
        held=sum(c.row_bytes for c in columns.values() if not c.ragged) + 2 * point_bytes,
    )


def _affordable(seconds: float, samples: int) -> int:
    """How many of so many samples to compute, where one takes so long."""
    longest = max(PLACES * seconds, MEASURED_SECONDS)
    return min(int(min(longest, LONGEST_MEASURED) / seconds), MOST_MEASURED, samples)


def _compute(
    parts: list[Source],
    spec: StoreSpec,
    clock: Clock,
    time_limit: float | None,
) -> tuple[Samples, np.ndarray, int, int]:
    """The samples of all parts, their images, and the numbers of points and of late samples.

    They are computed together, as in a shard: the first cloud of a call takes longer than others.
    """
    with clock("read"):
        samples = joined([read_samples(part) for part in parts])
    source = replace(
        parts[0],  # only the reader is not that of all parts
        ids=[name for part in parts for name in part.ids],
        labels=np.concatenate([part.labels for part in parts]),
        groups=[name for part in parts for name in part.groups],
        splits=[name for part in parts for name in part.splits],
    )
    if spec.gramian is not None:
        columns, _, _ = fields_of(samples, source, spec.gramian, clock)
        return samples, columns["images"], 0, 0
    diagrams, status, _ = diagrams_of(samples, source, spec.diagram, clock, time_limit=time_limit)
    late = int(np.count_nonzero(status == Status.TIMEOUT))
    drawn, _, _ = images_of(diagrams, status, spec.image, clock)
    return samples, drawn, len(diagrams.points), late


def start_engine(spec: DiagramSpec, time_limit: float | None) -> None:
    """Compile it, or start its child process and import its library. Raises SampleError.

    time_limit: as that of the fields to come, which says where the engine runs.
    """
    compute_diagrams(tiny_fields(spec), spec, time_limit=START_LIMIT if time_limit else None)


def expectations(source: Source, spec: DiagramSpec, time_limit: float | None) -> list[str]:
    """Lines to say before measuring: that it takes long, and that fields may take too long."""
    if spec.filtration not in LONG:
        return []
    fields = few_fields(source, spec)
    sizes = [size_of(field, spec) for field in fields]
    edges = [None if spec.max_length is None else count_edges(field, spec) for field in fields]
    needs = [
        estimate(spec, size, count, coordinates=coordinates_of(field, spec))
        for field, size, count in zip(fields, sizes, edges, strict=True)
    ]
    lines = []
    slowest = max(range(len(needs)), key=lambda k: needs[k].seconds, default=None)
    if slowest is not None:
        why = overtime(spec, sizes[slowest], needs[slowest], time_limit)
        lines += [] if why is None else [f"warning: {why}"]
    if sum(min(need.seconds, MEASURING_LIMIT) for need in needs) > ANNOUNCED:
        each = f"each field of them at most {MEASURING_LIMIT:g} s"
        lines.append(f"first a few samples are computed, to see how long one takes; {each}")
    return lines


def few_fields(source: Source, spec: DiagramSpec) -> list[np.ndarray]:
    """The fields of a few usable samples, from all over the source."""
    found: list[np.ndarray] = []
    near = at_hand(source)
    for part in places(near, min(PLACES, len(near))):
        samples = read_samples(part)
        if samples.status[0] not in USABLE:
            continue
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                fields = make_fields(samples, part, spec)
        except SampleError:
            continue
        if fields.finite():
            found += list(fields)
    return found


def at_hand(source: Source) -> Source:
    """The samples that are read at once: of recordings those that are kept, else all.

    So that no whole recording is read again for the few windows that are measured.
    """
    first = source.reader.kept_from() if isinstance(source.reader, WindowReader) else 0
    return source[first:] if 0 < first < len(source) else source


def places(source: Source, wanted: int) -> list[Source]:
    """About so many samples, in runs from all over the source."""
    count = min(PLACES, wanted)
    run = wanted // count
    starts = (k * len(source) // count for k in range(count))
    return [source[start : start + run] for start in starts]


def joined(parts: list[Samples]) -> Samples:
    """Samples one after the other."""
    arrays: list[np.ndarray] = []
    problems: dict[int, str] = {}
    for part in parts:
        problems |= {len(arrays) + position: text for position, text in part.problems.items()}
        arrays += list(part.arrays)
    together = len({array.shape for array in arrays}) == 1
    status = np.concatenate([part.status for part in parts])
    return Samples(np.stack(arrays) if together else arrays, status, problems)
