"""One shard: its samples read, filtered, drawn, and written with a record of what was seen.

`build_shard` runs in any process. It knows everything it needs, and can be run twice or killed at
any instant without harm.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache.errors import CorruptStore, EngineNotInstalled, InvalidSpec, SampleError
from pi_cache.ledger import Build, write_shard
from pi_cache.reader import Store, open_store
from pi_cache.specs import RETRIED, DiagramSpec, ImageSpec, Status, StoreSpec
from pipeline.diagrams import Diagrams, compute_diagrams, tiny_fields
from pipeline.engines import isolated
from pipeline.engines.interrupt import interrupted
from pipeline.executors import single_threaded
from pipeline.fields import channel_names, field_names, finite_fields, points_at_most
from pipeline.gramian.fields import gramian_fields
from pipeline.gramian.shard import fields_of
from pipeline.images import block_of, draw, normalise, quantise, render, select
from pipeline.sources.base import Samples, Source, read_samples
from pipeline.statistics import USABLE, Shown, input_statistics, warm_statistics

BLOCK_BYTES = 4 * 2**20
"""Field values computed at a time: they stay in the processor's cache."""
PROBLEMS_KEPT = 20
"""Samples named in a shard's record; the store has the status of every one."""


@dataclass(frozen=True)
class ShardTask:
    """One shard to build; small enough to send.

    source: the samples of the shard alone. donor: a store with the same diagrams, to take them
    from. dataset_max: the largest value of all raw images, for normalise = dataset-max.
    time_limit: seconds a field of a sample may take, None for any. retry: nothing is taken from a
    donor where that would be a sample that took too long or crashed.
    """

    build: Build
    shard: int
    source: Source
    donor: Path | None = None
    dataset_max: float | None = None
    time_limit: float | None = None
    retry: bool = False


@dataclass(frozen=True)
class ShardResult:
    """What is told of a shard that is done; all else is in the store.

    started, stopped: by the clock. seconds: by step. peak_memory: bytes, of the worker.
    """

    shard: int
    samples: int
    started: float
    stopped: float
    seconds: dict[str, float]
    peak_memory: int


@dataclass
class Clock:
    """Seconds by step."""

    seconds: dict[str, float] = field(default_factory=dict)

    def total(self) -> float:
        """Seconds of all steps."""
        return sum(self.seconds.values())

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start


def build_shard(task: ShardTask) -> ShardResult:
    """Compute and publish one shard, with its ledger record."""
    with single_threaded():
        warm(task.build.spec)
        started, clock = time.time(), Clock()
        columns, statistics = compute(task, clock)
        computed = dict(clock.seconds)
        with clock("write"):
            write_shard(task.build, task.shard, columns, statistics=statistics, seconds=computed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = (peak if sys.platform == "darwin" else peak * 1024) + isolated.peak_memory()
    return ShardResult(
        shard=task.shard,
        samples=len(task.source),
        started=started,
        stopped=time.time(),
        seconds=clock.seconds,
        peak_memory=peak,
    )


def warm(spec: StoreSpec) -> None:
    """Compile, or load from the disk cache, the kernels that this spec uses; a moment if done."""
    warm_statistics(spec)
    if spec.gramian is not None:
        gramian_fields(np.linspace(0, 1, spec.gramian.pixels), spec.gramian)
        return
    points = np.array([[0.5, 1.0], [0.0, np.inf]], spec.diagram.precision)
    if spec.diagram.engine == "native":
        from pipeline.engines import native  # kernels: only who uses them waits for their import

        native.compute(tiny_fields(spec.diagram), spec.diagram, None)
    render(points, np.array([0, len(points)]), spec.image, dataset_max=1.0)


def compute(task: ShardTask, clock: Clock) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a shard by name, and what was seen in it."""
    spec = task.build.spec
    with_inputs = any(column.name == "inputs" for column in task.build.blueprint.columns)
    samples: Samples | None = None
    with clock("read"):
        given = None if task.donor is None else diagrams_of_donor(task.donor, task)
        if given is None or with_inputs:
            samples = read_samples(task.source)
    if given is None:
        assert samples is not None
        columns, seen = columns_from(task, samples, clock)
    else:
        columns, seen = columns_of(task, *given, samples, clock)
    if samples is not None:
        with clock("count"):
            seen |= input_statistics(samples, task.source, spec.diagram)
    if with_inputs and samples is not None:
        columns["inputs"] = np.asarray(samples.arrays)
    if given is None and spec.gramian is None:
        seen["time_limits"] = {f"{task.time_limit:g}" if task.time_limit else "none": 1}
    return columns, seen


def columns_from(
    task: ShardTask, samples: Samples, clock: Clock
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays that are computed from samples by name, and what was seen in them."""
    spec = task.build.spec
    if spec.gramian is None:
        given = diagrams_of(samples, task.source, spec.diagram, clock, time_limit=task.time_limit)
        return columns_of(task, *given, samples, clock)
    columns, seen, problems = fields_of(samples, task.source, spec.gramian, clock)
    named = {task.source.ids[position]: text for position, text in problems.items()}
    seen["flat_channels"] = samples.flat
    seen["problems"] = dict(list(named.items())[:PROBLEMS_KEPT])
    return columns, seen


def columns_of(
    task: ShardTask,
    diagrams: Diagrams,
    status: np.ndarray,
    problems: dict[str, str],
    samples: Samples | None,
    clock: Clock,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays that diagrams give by name (status is changed here), and what was seen in them.

    problems: by id. samples: what the diagrams are of, None where these were stored.
    """
    spec = task.build.spec
    diagrams, crowded = with_room(diagrams, status, room_for(task, samples, len(diagrams.points)))
    problems |= {task.source.ids[position]: text for position, text in crowded.items()}
    images, seen, failed = images_of(diagrams, status, spec.image, clock, task.dataset_max)
    problems |= {task.source.ids[position]: text for position, text in failed.items()}
    offsets = diagrams.offsets
    each = (len(offsets) - 1) // len(status)  # diagrams a sample
    columns = {
        "images": images,
        "status": status,
        "points": diagrams.points,
        "offsets": np.column_stack([offsets[:-1].reshape(-1, each), offsets[each::each]]),
    }
    if samples is not None:
        seen["flat_channels"] = samples.flat
    if task.dataset_max is not None:
        seen["max_dataset"] = task.dataset_max
    seen["problems"] = dict(list(problems.items())[:PROBLEMS_KEPT])
    return columns, seen


def diagrams_of(
    samples: Samples,
    source: Source,
    spec: DiagramSpec,
    clock: Clock,
    *,
    time_limit: float | None = None,
) -> tuple[Diagrams, np.ndarray, dict[str, str]]:
    """Diagrams of every sample (none where one is unusable), statuses, and problems by id.

    A bad sample costs itself and not its shard. time_limit: seconds a field of it may take.
    """
    status = samples.status.copy()
    problems = {source.ids[i]: text for i, text in samples.problems.items()}
    if spec.filtration == "rips" and source.sample == "image":  # a flat channel is a grid of points
        for i in np.flatnonzero(status == Status.CONSTANT).tolist():
            status[i] = Status.OK
            del problems[source.ids[i]]
    usable = np.flatnonzero(np.isin(status, USABLE))
    parts: list[Diagrams] = []
    owners: list[np.ndarray] = []
    waiting = _blocks(samples, usable, spec)[::-1]
    while waiting:
        block = waiting.pop()
        try:
            parts.append(_diagrams(samples, block, source, spec, clock, time_limit))
            owners.append(block)
        except (EngineNotInstalled, InvalidSpec, MemoryError):
            raise
        except Exception as error:
            if interrupted(error):
                raise KeyboardInterrupt from None
            failed, rest = _taken_apart(block, error, len(field_names(source, spec)))
            waiting += [some for some in rest[::-1] if len(some)]
            if failed is not None:
                status[failed] = getattr(error, "status", Status.CRASH)
                known = isinstance(error, SampleError)
                text = str(error) if known else f"{type(error).__name__}: {error}"
                problems[source.ids[failed]] = text
    return _assemble(parts, owners, len(status), source, spec), status, problems


def _taken_apart(
    block: np.ndarray, error: Exception, fields: int
) -> tuple[int | None, list[np.ndarray]]:
    """The sample of a block that failed, if that is known, and what is still to be computed.

    fields: of a sample. An error that names its field may have taken long: the others are computed
    again, and it is not. One that does not is looked for sample by sample.
    """
    number = getattr(error, "field", None)
    if len(block) == 1:
        return int(block[0]), []
    if number is None:
        return None, [one[None] for one in block]
    position = number // fields
    return int(block[position]), [block[:position], block[position + 1 :]]


def _diagrams(
    samples: Samples,
    block: np.ndarray,
    source: Source,
    spec: DiagramSpec,
    clock: Clock,
    time_limit: float | None,
) -> Diagrams:
    with clock("fields"):
        arrays = (
            samples.arrays[block[0] : block[-1] + 1]
            if isinstance(samples.arrays, np.ndarray) and len(block) == block[-1] + 1 - block[0]
            else [samples.arrays[i] for i in block]
        )
        taken = replace(samples, arrays=arrays)
        fields = finite_fields(taken, source, spec)
    with clock("diagrams"):
        return compute_diagrams(fields, spec, time_limit=time_limit)


def _blocks(samples: Samples, usable: np.ndarray, spec: DiagramSpec) -> list[np.ndarray]:
    """Usable positions, a few megabytes of values at a time.

    A library takes one field at a time, so nothing is lost if its samples go one by one, and no
    hour of work where one of them fails.
    """
    if not len(usable):
        return []
    largest = max(np.size(samples.arrays[usable[0]]), 1) * 8
    size = max(BLOCK_BYTES // largest, 1) if spec.engine == "native" else 1
    return [usable[start : start + size] for start in range(0, len(usable), size)]


def _assemble(
    parts: list[Diagrams], owners: list[np.ndarray], count: int, source: Source, spec: DiagramSpec
) -> Diagrams:
    """Diagrams of all samples, in order; those without any have `each` empty ones."""
    each = len(channel_names(source, spec))
    lengths = np.zeros((count, each), np.int64)
    for positions, diagrams in zip(owners, parts, strict=True):
        lengths[positions] = np.diff(diagrams.offsets).reshape(len(positions), each)
    points = [part.points for part in parts]
    return Diagrams(
        np.concatenate([*points, np.empty((0, 2), spec.precision)]),
        np.concatenate([[0], np.cumsum(lengths)]),
    )


def diagrams_of_donor(
    donor: Path, task: ShardTask
) -> tuple[Diagrams, np.ndarray, dict[str, str]] | None:
    """Diagrams and statuses of the same samples, from a store that has them.

    None where that is damaged, or has a sample that is to be tried again.
    """
    try:
        found = stored_diagrams(open_store(donor), task)
    except CorruptStore:
        return None
    return None if task.retry and np.isin(found[1], RETRIED).any() else found


def stored_diagrams(store: Store, task: ShardTask) -> tuple[Diagrams, np.ndarray, dict[str, str]]:
    """Diagrams, statuses and problems of the samples of a shard, as they are stored."""
    samples = task.build.sample_range(task.shard)
    points, ends = store.diagrams(slice(samples.start, samples.stop))
    status = store.read("status", slice(samples.start, samples.stop))
    offsets = np.append(ends[:, :-1].reshape(-1), len(points))
    named = store.manifest.statistics.get("problems", {})
    mine = set(task.source.ids)
    return Diagrams(points, offsets), status, {k: v for k, v in named.items() if k in mine}


def room_for(task: ShardTask, samples: Samples | None, points: int) -> np.ndarray:
    """The most points (n,) that each sample may have. points: of all together.

    That depends on the sample alone: a store has room for as many of each as its shape allows. One
    that was begun with less room, by an earlier version, gives each an equal part where all have
    too many.
    """
    layout, spec = task.build.layout, task.build.spec.diagram
    share = layout.point_capacity // layout.shard_samples
    most = share if points > layout.point_capacity else points
    if samples is None:
        return np.full(len(task.source), most)
    shapes = [np.shape(array) for array in samples.arrays]
    known = {shape: points_at_most(shape, task.source, spec) for shape in set(shapes)}
    return np.array([min(known[shape], most) for shape in shapes])


def with_room(
    diagrams: Diagrams, status: np.ndarray, room: np.ndarray
) -> tuple[Diagrams, dict[int, str]]:
    """Diagrams without those of samples of too many points, whose status is set here; messages."""
    each = len(diagrams) // max(len(status), 1)
    lengths = np.diff(diagrams.offsets).reshape(-1, each)
    counts = lengths.sum(axis=1)
    over = (counts > room) & np.isin(status, USABLE)
    if not over.any():
        return diagrams, {}
    status[over] = Status.TOO_LARGE
    problems = {
        position: f"has {counts[position]:,} points in its diagrams, and there is room for "
        f"{room[position]:,}; use a --min-persistence, a smaller --max-length or fewer points"
        for position in np.flatnonzero(over).tolist()
    }
    points = diagrams.points[~np.repeat(over, counts)]
    lengths = np.where(over[:, None], 0, lengths)
    return Diagrams(points, np.concatenate([[0], np.cumsum(lengths)])), problems


def images_of(
    diagrams: Diagrams,
    status: np.ndarray,
    spec: ImageSpec,
    clock: Clock,
    dataset_max: float | None = None,
) -> tuple[np.ndarray, dict[str, Any], dict[int, str]]:
    """Images (n, channels, pixels, pixels), NaN (0 for uint8) where a sample is not usable.

    Also what was seen: the share of the window, in all and by channel, the largest raw value, and
    how many images were faint (their maximum under a millionth of the largest one of the shard).
    Last, a message for every sample that could not be drawn, whose status is set here.
    """
    drawing = _Drawing(diagrams, len(status), spec, dataset_max)
    problems: dict[int, str] = {}
    step = max(1, block_of(spec) // drawing.each)
    with clock("images"):
        for start in range(0, len(status), step):
            stop = min(start + step, len(status))
            try:
                drawing.draw(start, stop)
            except SampleError:
                for one in range(start, stop):
                    try:
                        drawing.draw(one, one + 1)
                    except SampleError as error:
                        status[one], problems[one] = error.status, str(error)
    usable = np.isin(status, USABLE)
    drawing.images[~usable] = 0 if spec.dtype == "uint8" else np.nan
    lengths, maxima = drawing.lengths[usable], drawing.maxima[usable]
    drawn = maxima[maxima > 0]
    seen: dict[str, Any] = {
        "window": {
            "diagrams": lengths.size,
            "empty": int((lengths == 0).sum()),
            **drawing.shown.totals(),
        },
        "shown": drawing.shown.to_dict(),
        "essential": int(np.isinf(diagrams.points[:, 1]).sum()),
        "max_value": float(maxima.max(initial=0)),
        "faint_images": int((drawn < 1e-6 * drawn.max(initial=0)).sum()),
    }
    return drawing.images, seen, problems


class _Drawing:
    """Images of a shard as they are made, some samples at a time."""

    def __init__(
        self, diagrams: Diagrams, samples: int, spec: ImageSpec, dataset_max: float | None
    ) -> None:
        self.diagrams, self.spec, self.dataset_max = diagrams, spec, dataset_max
        self.each = len(diagrams) // max(samples, 1)
        self.images = np.empty((samples, self.each, spec.pixels, spec.pixels), spec.dtype)
        self.maxima = np.zeros((samples, self.each))
        self.lengths = np.zeros((samples, self.each), np.int64)
        self.shown = Shown(self.each)

    def draw(self, start: int, stop: int) -> None:
        """Draw samples start..stop. Raises SampleError, with nothing counted."""
        spec, size = self.spec, self.spec.pixels
        offsets = self.diagrams.offsets[start * self.each : stop * self.each + 1]
        selection = select(self.diagrams.points, offsets, spec)
        raw = draw(selection, spec)
        finished = quantise(normalise(raw, spec, self.dataset_max), spec)
        self.images[start:stop] = finished.reshape(-1, self.each, size, size)
        self.maxima[start:stop] = raw.max(axis=(1, 2), initial=0).reshape(-1, self.each)
        self.lengths[start:stop] = np.diff(selection.offsets).reshape(-1, self.each)
        self.shown.add(selection, spec)
