"""From samples and specs to a plan that jobs can read, its store begun."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pi_cache import catalogue
from pi_cache.catalogue import read_manifest
from pi_cache.errors import InvalidSpec, PiCacheError
from pi_cache.ledger import missing_shards, now
from pi_cache.root import STORES
from pi_cache.specs import DiagramSpec, GramianSpec, ImageSpec, StoreSpec
from pipeline.build import (
    find_finished,
    gramian_store,
    lost,
    take_back_unwanted,
    versions_of,
)
from pipeline.buildoptions import Options
from pipeline.claims import recorded_shards
from pipeline.cluster.settings import Settings
from pipeline.cluster.workplan import PLANS, SHOWN, Planned, WorkPlan, publish_plan, runs_of
from pipeline.cutting import raw_image
from pipeline.plan import Plan
from pipeline.planning import make_plan
from pipeline.prepare import find_begun, prepare
from pipeline.recipes import recorded_name
from pipeline.sources.base import Source

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be built: persistence images, or Gramian angular fields where gramian is given.

    recipe: its name, "" for none. opening: seconds that the source took.
    """

    source: Source
    diagram: DiagramSpec = field(default_factory=DiagramSpec)
    image: ImageSpec = field(default_factory=ImageSpec)
    gramian: GramianSpec | None = None
    recipe: str = ""
    root: Path
    options: Options
    settings: Settings
    opening: float

    def spec(self) -> StoreSpec:
        """That of the store; reads the source. Raises InvalidSpec, SourceError."""
        if self.gramian is not None:
            return gramian_store(self.source, self.gramian)
        spec = StoreSpec(source=self.source.spec(), diagram=self.diagram, image=self.image)
        return spec.replace(recipe=recorded_name(self.recipe, spec.diagram, spec.image))


def plan_jobs(wish: Wish, say: Say, *, dry: bool = False) -> Planned | None:
    """The plan of a build, its store begun; None where the store is finished.

    dry: nothing is written, and the plan is one that was not published.
    Raises any PiCacheError.
    """
    started = time.perf_counter()
    spec = wish.spec()
    reading = time.perf_counter() - started
    found = find_finished(wish.root, spec, say, mend=not dry)
    if found is not None and not (wish.options.retry and lost(found.manifest)):
        return None
    dataset_max = _dataset_max(wish.root, spec)
    planned = make_plan(wish.source, spec, options=wish.options, root=wish.root, say=say)
    donor = catalogue.with_diagrams(wish.root, spec)
    shards = list(range(len(planned.shards)))
    if dry:
        begun = find_begun(wish.root, spec)
        shards = shards if begun is None else sorted(set(shards) - recorded_shards(begun))
    else:
        begun = prepare(
            wish.source,
            spec,
            planned.cost,
            root=wish.root,
            options=wish.options,
            donor=donor,
            say=say,
        )
        take_back_unwanted(begun, dataset_max, wish.options, say)
        shards = missing_shards(begun)
    plan = WorkPlan(
        spec=spec.to_document(),
        table=wish.source.table_digest(),
        samples=len(wish.source),
        shard_samples=planned.shard_samples if begun is None else begun.layout.shard_samples,
        shards=runs_of(shards),
        donor="" if donor is None else donor.name,
        dataset_max=dataset_max,
        time_limit=wish.options.time_limit,
        settings=wish.settings.to_dict(),
        cost=_cost(planned, wish.opening, reading),
        created=now(),
        retry=wish.options.retry,
        versions=versions_of(spec),
    )
    if dry:
        return Planned(wish.root.absolute() / PLANS / f"{spec.key[:SHOWN]}-000000", plan)
    return publish_plan(wish.root, plan)


def _cost(planned: Plan, opening: float, reading: float) -> dict[str, float]:
    return {
        "seconds": planned.cost.seconds,
        "stored": planned.cost.stored,
        "memory": float(planned.memory),
        "opening": opening,
        "reading": reading,
    }


def _dataset_max(root: Path, spec: StoreSpec) -> float | None:
    """The largest value of the raw images, where images are divided by it.

    Raises InvalidSpec where their store is not finished: it is a build of its own.
    """
    if spec.image.normalise != "dataset-max":
        return None
    raw = spec.replace(image=raw_image(spec.image))
    try:
        manifest = read_manifest(root / STORES / raw.key)
    except PiCacheError:
        raise InvalidSpec(
            "--normalise dataset-max needs the store of the raw images first: submit the same with "
            "--normalise none --dtype float32, and this one when that is finished"
        ) from None
    return float(manifest.statistics["max_value"])
