"""One damaged shard: the ways in which what it has lost can be had again, the least work first.

Whatever the way, an array counts when its file has the digest that the manifest lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pi_cache.errors import PiCacheError
from pi_cache.integrity.mending import entry_of, put
from pi_cache.ledger import Build
from pi_cache.manifest import StoreManifest
from pi_cache.reader import Store
from pi_cache.shards import encode
from pi_cache.specs import StoreSpec
from pipeline.executors import single_threaded
from pipeline.shard import (
    Clock,
    ShardTask,
    columns_from,
    columns_of,
    diagrams_of_donor,
    stored_diagrams,
    warm,
)
from pipeline.sources.base import Source, read_samples
from pipeline.stored import (
    check_computed_here,
    dataset_max_of,
    part_of_store,
    stored_source,
    time_limit_of,
    with_known,
)

DIAGRAMS = {"status", "points", "offsets"}
"""The arrays from which images are drawn."""
COMPUTED = {"images", *DIAGRAMS}

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class MendTask:
    """One damaged shard.

    manifest: what the store is to be again. lost: arrays whose file is damaged. source: the samples
    of the shard alone, None as long as it is not asked. donor: a store of the same diagrams.
    """

    build: Build
    manifest: StoreManifest
    shard: int
    lost: frozenset[str]
    source: Source | None = None
    donor: Path | None = None

    @property
    def samples(self) -> range:
        """Those of the shard."""
        return self.build.sample_range(self.shard)

    @property
    def arrays(self) -> set[str]:
        """Names of the arrays that the store has."""
        return {column.name for column in self.manifest.columns}

    def store(self) -> Store:
        """What is whole of this shard, as a store that lists nothing else."""
        whole = {c.shard_file(self.shard) for c in self.manifest.columns if c.name not in self.lost}
        return part_of_store(self.build.path, self.manifest, whole)

    def rows(self, name: str) -> np.ndarray:
        """Stored rows of the shard."""
        return self.store().read(name, slice(self.samples.start, self.samples.stop))

    def shard_task(self, source: Source) -> ShardTask:
        """The same shard, as a build computes it."""
        statistics = self.manifest.statistics
        return ShardTask(
            build=self.build,
            shard=self.shard,
            source=source,
            dataset_max=dataset_max_of(self.manifest),
            time_limit=time_limit_of(statistics),
        )


@dataclass(frozen=True)
class Mended:
    """What became of a damaged shard. made: from what each array was. left: what is still lost."""

    task: MendTask
    made: dict[str, str]
    left: frozenset[str]

    def lines(self) -> Iterator[str]:
        """What was made, in words."""
        for way in dict.fromkeys(self.made.values()):
            names = ", ".join(sorted(name for name, by in self.made.items() if by == way))
            yield f"shard {self.task.shard}: {names} from {way}"


@dataclass(frozen=True)
class Way:
    """One way to have lost arrays of a shard again.

    gives: those that it can make. serves: whether there is what it takes. make: the arrays.
    """

    gives: Set[str]
    serves: Callable[[MendTask], bool]
    make: Callable[[MendTask], Columns]


def mend_shard(task: MendTask) -> Mended:
    """Make the lost arrays of a shard again, way after way, until all have their digest."""
    made: dict[str, str] = {}
    with single_threaded():
        warm(task.build.spec)
        for title, way in ways_of(task).items():
            right = _put_right(task, way.make(task)) if task.lost & way.gives else set()
            made |= dict.fromkeys(right, title)
            task = replace(task, lost=task.lost - right)
    return Mended(replace(task, source=None), made, task.lost)


def _put_right(task: MendTask, columns: Columns) -> set[str]:
    """Publish what has the digest that is listed; the names of these arrays."""
    right = set()
    for column in task.manifest.columns:
        if column.name in task.lost & columns.keys():
            data = encode(columns[column.name], column.shard_format(task.manifest.layout))
            name = column.shard_file(task.shard)
            if entry_of(data) == task.manifest.files[name]:
                put(task.build, name, data)
                right.add(column.name)
    return right


def _from_diagrams(task: MendTask) -> Columns:
    """Images of the stored diagrams."""
    store = task.store()
    shard = task.shard_task(stored_source(store, task.samples, values=False))
    return columns_of(shard, *stored_diagrams(store, shard), None, Clock())[0]


def _from_inputs(task: MendTask) -> Columns:
    return _computed(task, stored_source(task.store(), task.samples))


def _from_donor(task: MendTask) -> Columns:
    """What another store of the same diagrams gives; nothing where that is damaged too."""
    shard = task.shard_task(stored_source(task.store(), task.samples, values=False))
    given = None if task.donor is None else diagrams_of_donor(task.donor, shard)
    return {} if given is None else columns_of(shard, *given, None, Clock())[0]


def _from_source(task: MendTask) -> Columns:
    assert task.source is not None
    columns = _computed(task, task.source) if task.lost & COMPUTED else {}
    if "inputs" in task.lost:
        columns["inputs"] = np.asarray(read_samples(task.source).arrays)
    return columns


def _computed(task: MendTask, source: Source) -> Columns:
    """All but the inputs, from samples; those known not to be usable are not tried again."""
    known = None if "status" in task.lost else task.rows("status")
    samples, shard = with_known(read_samples(source), known), task.shard_task(source)
    return columns_from(shard, samples, Clock())[0]


def _is_current(spec: StoreSpec) -> bool:
    """Whether this release computes the numbers that a spec stands for."""
    try:
        check_computed_here(spec)
    except PiCacheError:
        return False
    return True


def _has_diagrams(task: MendTask) -> bool:
    return task.arrays - task.lost >= DIAGRAMS


def _has_donor(task: MendTask) -> bool:
    return task.donor is not None


def _has_inputs(task: MendTask) -> bool:
    return "inputs" in task.arrays - task.lost and _is_current(task.manifest.spec)


WAYS = {
    "its stored diagrams": Way({"images"}, _has_diagrams, _from_diagrams),
    "the diagrams of another store": Way(COMPUTED, _has_donor, _from_donor),
    "its stored inputs": Way(COMPUTED, _has_inputs, _from_inputs),
}
"""What needs no source; the least work first."""
SOURCE = {"the source": Way({"inputs", *COMPUTED}, lambda task: True, _from_source)}


def ways_of(task: MendTask) -> dict[str, Way]:
    """How a shard may be mended: from the source where that is given, else without it."""
    ways = WAYS if task.source is None else SOURCE
    return {title: way for title, way in ways.items() if way.gives & task.lost and way.serves(task)}
