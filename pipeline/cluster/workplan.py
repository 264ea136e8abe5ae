"""The plan of a build that many jobs share: which shards, of which samples, for which store.

It lies in a folder of the cache, with the scripts, logs and notes of its jobs:
`plans/NAME/{plan.json, round-1.sh, logs/, elements/, failures/, jobs/}`. Its place says which cache
it is of, so that nodes may see the cache under another path.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pi_cache import files
from pi_cache.catalogue import KEY_LENGTH, SHORTEST_PREFIX, unique
from pi_cache.errors import (
    CorruptStore,
    InvalidSpec,
    PiCacheError,
    SourceError,
    StoreNotFound,
    UnsupportedFormat,
)
from pi_cache.ledger import Build, open_build
from pi_cache.manifest import Document
from pi_cache.root import STORES
from pi_cache.specs import StoreSpec

if TYPE_CHECKING:  # the element and the commands need no numerical library
    from pipeline.shard import ShardTask
    from pipeline.sources.base import Source

PLANS = "plans"
PLAN = "plan.json"
SHOWN = 12
"""Letters of a key in the name of a plan."""


class PlanNotFound(PiCacheError, FileNotFoundError):
    """No plan under that name."""


class OtherRelease(PiCacheError, RuntimeError):
    """A plan whose numbers this release computes in another way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkPlan(Document):
    """What jobs need to know.

    spec: of the store, with where the samples lie. table: SHA-256 of ids, labels, groups and splits
    of the samples. shards: those that were missing, as runs (start, stop). donor: key of a store
    with the same diagrams, "" for none. settings: see `pipeline.cluster.settings`. cost: measured
    `seconds` of a sample on one core, `opening` seconds of the source, `reading` seconds of all its
    bytes, `memory` bytes of a worker. retry: as in `pipeline.shard.ShardTask`. versions: of this
    package and the libraries that compute, by name, where the plan was made.
    """

    what = "plan of jobs"

    spec: Mapping[str, Any]
    table: str
    samples: int
    shard_samples: int
    shards: tuple[tuple[int, int], ...]
    donor: str
    dataset_max: float | None
    time_limit: float | None
    settings: Mapping[str, Any]
    cost: Mapping[str, float]
    created: str
    retry: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def _parse(cls, content: dict[str, Any]) -> dict[str, Any]:
        return content | {"shards": tuple((int(a), int(b)) for a, b in content["shards"])}

    def _problems(self) -> Iterator[str]:
        stops = [0, *(stop for _, stop in self.shards)]
        if any(not before <= a < b for before, (a, b) in zip(stops, self.shards, strict=False)):
            yield "runs of shards"
        elif stops[-1] > -(-self.samples // self.shard_samples):
            yield "number of shards"

    @property
    def numbers(self) -> list[int]:
        """The shards of the plan, rising."""
        return [k for start, stop in self.shards for k in range(start, stop)]

    @property
    def planned_samples(self) -> int:
        """Samples of the shards of the plan."""
        return self.samples_of(self.numbers)

    def samples_of(self, shards: Iterable[int]) -> int:
        """Samples of some shards: the last one of all may have fewer."""
        last = -(-self.samples // self.shard_samples) - 1
        short = (last + 1) * self.shard_samples - self.samples
        return sum(self.shard_samples - short * (k == last) for k in shards)

    def store_spec(self) -> StoreSpec:
        """The spec of the store. Raises UnsupportedFormat, CorruptStore."""
        return StoreSpec.from_document(self.spec)


@dataclass(frozen=True)
class Planned:
    """A plan in its folder."""

    folder: Path
    plan: WorkPlan

    @property
    def root(self) -> Path:
        """The cache root."""
        return self.folder.parent.parent

    @property
    def quoted(self) -> str:
        """The folder as a shell takes it."""
        return shlex.quote(str(self.folder))

    @property
    def logs(self) -> Path:
        """Where jobs write what they say."""
        return self.folder / "logs"

    def store(self) -> Path:
        """The folder of the store."""
        return self.root / STORES / str(self.plan.spec["key"])

    def build(self) -> Build:
        """The store as it was begun. Raises StoreNotFound, CorruptStore.

        And InvalidSpec where it was removed, and begun again with other shards.
        """
        plan = self.plan
        try:
            build = open_build(self.store())
        except StoreNotFound as error:
            raise StoreNotFound(
                f"{error}: it was removed since {self.folder.name} was planned; submit the same "
                "again to plan anew"
            ) from None
        if (build.blueprint.samples, build.layout.shard_samples) != (
            plan.samples, plan.shard_samples,
        ):  # fmt: skip
            raise InvalidSpec(
                f"{self.store()} was begun again since {self.folder.name} was planned, with "
                f"{build.layout.shard_samples} samples a shard and not {plan.shard_samples}; "
                "submit the same again to plan anew"
            )
        return build

    def source(self, say: Callable[[str], None]) -> Source:
        """The samples, opened where they were when the plan was made. Raises SourceError."""
        from pipeline.options import open_request
        from pipeline.request import Wanted, samples_of

        return open_request(Wanted(**samples_of(self.plan.store_spec())), say)

    def publish(self, place: str, data: bytes) -> Path:
        """Publish a file of the plan's folder, by its path in it."""
        path = self.folder / place
        files.publish(path, data, temporary=self.folder / "tmp")
        return path

    def task(self, build: Build, source: Source, shard: int) -> ShardTask:
        """What it takes to compute a shard. source: all samples of the store."""
        from pipeline.shard import ShardTask

        samples, plan = build.sample_range(shard), self.plan
        return ShardTask(
            build,
            shard,
            source[samples.start : samples.stop],
            self.root / STORES / plan.donor if plan.donor else None,
            plan.dataset_max,
            plan.time_limit,
            plan.retry,
        )

    def check(self, source: Source) -> None:
        """Raise SourceError where the samples are not those that were planned.

        By what is known of each: their bytes are compared when the store is finished.
        """
        found = source.table_digest()
        if found != self.plan.table:
            raise SourceError(
                f"{source.kind}:{source.location} has other samples than when {self.folder.name} "
                "was planned (their ids, labels or shapes differ); submit again to plan anew"
            )

    def check_release(self, say: Callable[[str], None]) -> None:
        """Raise OtherRelease where other numbers would be computed here than were planned.

        say: told of other versions that compute the same numbers.
        """
        from pipeline.build import versions_of

        spec, planned = self.plan.store_spec(), self.plan.versions
        here, current = versions_of(spec), spec.replace(algorithm=0).algorithm
        if spec.algorithm != current:
            was, ours = (which.get("pi-cache", "of another release") for which in (planned, here))
            raise OtherRelease(
                f"{self.folder.name} was planned by pi-cache {was} for algorithm version "
                f"{spec.algorithm}, and pi-cache {ours} here computes by version {current}, which "
                "gives other numbers; install one release on all nodes, or submit again with this "
                "one, for a store of its own"
            )
        others = [
            f"{name} {version}, here {here.get(name, 'none')}"
            for name, version in planned.items()
            if here.get(name) != version
        ]
        if others:
            say(f"note: planned with {'; '.join(others)}; the algorithm is the same, so it goes on")


def runs_of(numbers: list[int]) -> tuple[tuple[int, int], ...]:
    """Rising numbers as runs (start, stop)."""
    runs: list[tuple[int, int]] = []
    for k in numbers:
        if runs and runs[-1][1] == k:
            runs[-1] = (runs[-1][0], k + 1)
        else:
            runs.append((k, k + 1))
    return tuple(runs)


def part_of(numbers: list[int], part: int, parts: int) -> list[int]:
    """The shards of part 1, 2, ... of so many: neighbours, and as many as any other part's."""
    count = len(numbers)
    return numbers[(part - 1) * count // parts : part * count // parts]


def publish_plan(root: Path, plan: WorkPlan) -> Planned:
    """The plan in a new folder of the cache."""
    name = f"{plan.spec['key'][:SHOWN]}-{secrets.token_hex(3)}"
    planned = Planned(root.absolute() / PLANS / name, plan)
    files.make_directory(planned.logs)
    planned.publish(PLAN, plan.to_bytes())
    return planned


def read_plan(folder: Path) -> Planned:
    """The plan of a folder. Raises PlanNotFound, CorruptStore, UnsupportedFormat."""
    folder = folder.absolute()
    try:
        return Planned(folder, WorkPlan.from_bytes(files.read_bytes(folder / PLAN)))
    except FileNotFoundError:
        raise PlanNotFound(
            f"no plan in {folder}; `pipeline submit` writes one and says where"
        ) from None
    except (CorruptStore, UnsupportedFormat) as error:
        raise type(error)(f"{folder / PLAN}: {error}") from error


def find_plan(named: str, root: Path) -> Planned:
    """The plan of a folder, of a name below a root, or the newest one of a store.

    named: a path of a plan or a store, or the start of a plan's name or of a key.
    Raises PlanNotFound, and as `read_plan`.
    """
    path = Path(named)
    if path.name == PLAN:
        return read_plan(path.parent)
    if files.exists(path / PLAN):
        return read_plan(path)
    key, where = named, root
    if files.is_folder(path) and len(path.name) == KEY_LENGTH:
        key, where = path.name, path.absolute().parent.parent
    found = _of_name(key, where) if len(key) >= SHORTEST_PREFIX else None
    if found is None:
        raise PlanNotFound(
            f"no plan {named!r} under {where / PLANS}; `pipeline submit` writes one and says "
            f"where; give its folder, or the first {SHORTEST_PREFIX} or more letters of its name"
        )
    return read_plan(found)


def _of_name(named: str, root: Path) -> Path | None:
    """The folder of the only plan whose name starts so, or of the newest plan of one store."""
    found = {
        path.name: path
        for path in files.listing(root / PLANS)
        if files.exists(path / PLAN) and _names(path.name, named)
    }
    keys = {name.partition("-")[0]: name for name in found}
    if len(keys) > 1:
        unique(named, list(keys))  # raises, with the list
    return max(found.values(), key=lambda path: files.changed(path / PLAN), default=None)


def _names(name: str, named: str) -> bool:
    """Whether a plan of this name may be meant: by the start of its name, or by a longer key."""
    return name.startswith(named) or (
        len(named) > SHOWN and "-" not in named and named.startswith(name.partition("-")[0])
    )
