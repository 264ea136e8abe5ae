"""A source and two specs to a finished store: begin, build each missing shard, finish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pi_cache import catalogue
from pi_cache.catalogue import lost_samples, read_manifest
from pi_cache.errors import (
    CorruptStore,
    InvalidSpec,
    PiCacheError,
    StorageFull,
    StoreNotFound,
    UnfinishedStore,
)
from pi_cache.integrity.repair import repair
from pi_cache.integrity.verification import verify
from pi_cache.ledger import Build, finish, missing_shards, records_of, take_back
from pi_cache.manifest import StoreManifest, merged
from pi_cache.reader import Store, open_store
from pi_cache.root import check_root
from pi_cache.specs import RETRIED, DiagramSpec, GramianSpec, ImageSpec, Status, StoreSpec
from pipeline.buildoptions import Options, Say, choose_executor
from pipeline.cutting import differing_layout, raw_image
from pipeline.engines import ENGINES, engine_of
from pipeline.executors import EXECUTORS, single_threaded
from pipeline.measuring import measure
from pipeline.plan import Cost
from pipeline.planning import check_size
from pipeline.prepare import find_begun, prepare
from pipeline.recipes import recorded_name
from pipeline.rescue import rescue_shard
from pipeline.shard import (
    Clock,
    ShardResult,
    ShardTask,
    build_shard,
    warm,
)
from pipeline.sharing import shared
from pipeline.sources.base import Source

REUSED_SECONDS = 0.001
"""About what a sample takes whose diagrams are reused."""

Progress = Callable[[int, int, int, int], None]


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What a build did.

    seconds: all of the work without start-up (imports, compiling, starting workers). times:
    seconds by part; those that begin with `core_` are added up over the workers. peak_memory:
    bytes, of one worker.
    """

    manifest: StoreManifest
    path: Path
    found: bool = False
    kept: int = 0
    built: int = 0
    reused_diagrams: bool = False
    seconds: float = 0.0
    times: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0
    executor: str = "serial"
    workers: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        manifest = self.manifest
        return {
            "key": manifest.key,
            "path": str(self.path),
            "samples": manifest.samples,
            "status": dict(manifest.status),
            "seconds": round(self.seconds, 3),
            "times": {name: round(value, 3) for name, value in self.times.items()},
            "digest": manifest.digest,
            "files": sum(1 for file in self.path.rglob("*") if file.is_file()),
            "bytes": manifest.size,
            "shards": manifest.shards,
            "kept": self.kept,
            "built": self.built,
            "found": self.found,
            "reused_diagrams": self.reused_diagrams,
            "executor": self.executor,
            "workers": self.workers,
            "peak_memory": self.peak_memory,
            "statistics": dict(manifest.statistics),
        }


def build(
    source: Source,
    diagram: DiagramSpec,
    image: ImageSpec,
    *,
    root: Path,
    recipe: str = "",
    options: Options | None = None,
    following: ImageSpec | None = None,
    progress: Progress | None = None,
    say: Say = lambda text: None,
) -> BuildReport:
    """The finished store of these specs: found, gone on with, or built from the start.

    recipe: the name to remember them by, kept with ", changed" where they differ from the recipe of
    that name. following: an image of the same diagrams whose store is
    built next, so that there must be room for both. progress is called with the shards done, the
    shards in all, the samples just done and the samples of this run; say with a line of talk.
    Raises any PiCacheError; what was finished is kept, and calling again goes on.
    """
    clock = Clock()
    with clock("identify"):
        spec = StoreSpec(source=source.spec(), diagram=diagram, image=image)
        spec = spec.replace(recipe=recorded_name(recipe, spec.diagram, spec.image))
    return build_spec(
        source,
        spec,
        root=root,
        options=options,
        following=following,
        progress=progress,
        say=say,
        clock=clock,
    )


def build_gramian(
    source: Source,
    gramian: GramianSpec,
    *,
    root: Path,
    options: Options | None = None,
    progress: Progress | None = None,
    say: Say = lambda text: None,
) -> BuildReport:
    """The finished store of Gramian angular fields of a source of signals; else as `build`."""
    clock = Clock()
    with clock("identify"):
        spec = gramian_store(source, gramian)
    return build_spec(
        source, spec, root=root, options=options, progress=progress, say=say, clock=clock
    )


def gramian_store(source: Source, gramian: GramianSpec) -> StoreSpec:
    """The spec of the store of these fields, with a size. Raises InvalidSpec where none fits."""
    if source.sample == "signal":  # StoreSpec refuses other samples, in its own words
        gramian = gramian.sized(source.shape[0])
    return StoreSpec(source=source.spec(), gramian=gramian)


def build_spec(
    source: Source,
    spec: StoreSpec,
    *,
    root: Path,
    options: Options | None = None,
    following: ImageSpec | None = None,
    progress: Progress | None = None,
    say: Say = lambda text: None,
    clock: Clock | None = None,
) -> BuildReport:
    """The finished store of a spec, whatever it holds, made of its source; else as `build`.

    clock: what has passed before, to be counted too.
    """
    options, clock = options or Options(), clock or Clock()
    with clock("identify"):
        found = find_finished(root, spec, say, mend=True)
    if found is not None and not (options.retry and lost(found.manifest)):
        for line in differing_layout(found.manifest.blueprint, options):
            say(line)
        _say_lost(found.manifest, say)
        return BuildReport(
            manifest=found.manifest, path=found.path, found=True, seconds=clock.total()
        )
    with clock("start_up"), single_threaded():
        if spec.gramian is None:
            engine_of(spec.diagram)
        if catalogue.with_diagrams(root, spec) is None:
            check_size(source, spec)
        warm(spec)
    dataset_max = None
    if spec.image.normalise == "dataset-max":
        with clock("raw_store"):
            dataset_max = _dataset_max(source, spec, root, options, progress, say)
    with clock("prepare"):
        donor = catalogue.with_diagrams(root, spec)
        given = donor is not None and not (options.retry and lost(read_manifest(donor)))
        cost = None if given else _cost(source, spec, root, options, say)
        begun = prepare(
            source,
            spec,
            cost,
            root=root,
            options=options,
            donor=donor,
            following=following,
            say=say,
        )
        take_back_unwanted(begun, dataset_max, options, say)
        tasks = _tasks(source, begun, donor, dataset_max, options)
    kept = begun.shards - len(tasks)
    if donor is not None and tasks:
        but = "no topology is computed" if given else "but where a sample is tried again"
        say(f"diagrams are taken from {donor}: {but}")
    if kept:
        say(f"{kept} of {begun.shards} shards are kept from an earlier run")
    samples = sum(len(task.source) for task in tasks)
    spent = samples * (REUSED_SECONDS if cost is None else cost.seconds)
    executor, workers = choose_executor(options, spent, len(tasks))
    if options.workers is not None and options.scheduler_place is not None:
        say("--workers is not used: a scheduler elsewhere has workers of its own")
    with clock("running"), _telling_what_is_kept(begun, say):
        results = _run(tasks, executor, workers, options.scheduler_place, kept, progress, say)
    with clock("finish"), _telling_what_is_kept(begun, say):
        manifest = finish(begun, versions=versions_of(spec))
    _say_lost(manifest, say)
    clock.seconds["shards"] = _span(results)
    clock.seconds["start_up"] += clock.seconds.pop("running") - clock.seconds["shards"]
    by_step = merged(r.seconds for r in results)
    return BuildReport(
        manifest=manifest,
        path=begun.path,
        kept=begun.shards - len(results),
        built=len(results),
        reused_diagrams=donor is not None,
        seconds=clock.total() - clock.seconds["start_up"],
        times=clock.seconds | {f"core_{name}": spent for name, spent in by_step.items()},
        peak_memory=max((r.peak_memory for r in results), default=0),
        executor=executor,
        workers=workers,
    )


@contextmanager
def _telling_what_is_kept(begun: Build, say: Say) -> Iterator[None]:
    """Say how much of a build is done when the disk runs full: nothing of it is lost."""
    try:
        yield
    except StorageFull:
        done = len(records_of(begun))
        say(f"the disk is full: {done} of {begun.shards} shards are finished and kept")
        raise


def _span(results: list[ShardResult]) -> float:
    """Seconds from the first shard's start to the last one's end."""
    if not results:
        return 0.0
    return max(r.stopped for r in results) - min(r.started for r in results)


def find_finished(
    root: Path, spec: StoreSpec, say: Say = lambda text: None, *, mend: bool = False
) -> Store | None:
    """The finished store of this spec with every byte as it was written, or None.

    mend: restore lost records from the manifest, rather than only look past them.
    Raises UnsupportedFormat where a newer release has made the cache.
    """
    check_root(root)
    try:
        store = open_store(root / "stores" / spec.key)
    except (StoreNotFound, UnfinishedStore):
        return None
    except CorruptStore as error:
        say(f"damaged, and built again where it is: {error}")
        return None
    damage = [finding for finding in verify(store.path) if finding.kind != "orphan"]
    if damage and all(finding.path.startswith("ledger/") for finding in damage):
        if mend:
            repair(store.path, say=say)
        return store
    for finding in damage:
        say(f"damaged, and built again: {finding}")
    return None if damage else store


def _tasks(
    source: Source,
    begun: Build,
    donor: Path | None,
    dataset_max: float | None,
    options: Options,
) -> list[ShardTask]:
    missing = missing_shards(begun)
    ranges = [begun.sample_range(k) for k in missing]
    limit, retry = options.time_limit, options.retry
    return [
        ShardTask(begun, k, source[r.start : r.stop], donor, dataset_max, limit, retry)
        for k, r in zip(missing, ranges, strict=True)
    ]


def take_back_unwanted(begun: Build, dataset_max: float | None, options: Options, say: Say) -> None:
    """Make shards missing that are to be computed again, or were divided by another maximum."""
    taken = []
    if options.retry:
        _check_retry(begun, options.time_limit)
        taken = take_back(begun, lambda record: lost_samples(record.status) > 0)
    if dataset_max is not None:
        take_back(
            begun, lambda record: record.statistics.get("max_dataset", dataset_max) != dataset_max
        )
    if taken:
        say(f"retry: {len(taken)} of {begun.shards} shards are computed again")


def _check_retry(begun: Build, time_limit: float | None) -> None:
    """Raise InvalidSpec where samples that an earlier run computed may now take too long."""
    before = _recorded_limits(begun)
    if time_limit and before and max(before) > time_limit:
        raise InvalidSpec(
            f"--retry with a --time-limit of {time_limit:g} s, but shards were computed with "
            f"{max(before):g} s: samples that they hold might be lost; give at least that, or 0"
        )


def _recorded_limits(begun: Build) -> list[float]:
    """Time limits of the shards to be computed again; inf for none."""
    names = [
        name
        for record in records_of(begun)
        if lost_samples(record.status)
        for name in record.statistics.get("time_limits", {})
    ]
    return [float("inf") if name == "none" else float(name) for name in names]


def lost(manifest: StoreManifest) -> str:
    """The samples of a store that took too long or crashed, in words; "" where there are none."""
    counts = ((code.name, manifest.status.get(code.name, 0)) for code in RETRIED)
    return ", ".join(f"{count:,} {name}" for name, count in counts if count)


def _say_lost(manifest: StoreManifest, say: Say) -> None:
    if lost(manifest):
        say(f"{lost(manifest)}: {remedy(manifest)}")


def remedy(manifest: StoreManifest) -> str:
    """How to compute samples again that took too long or crashed."""
    limits = manifest.statistics.get("time_limits", {})
    was = f" (it was {', '.join(limits)})" if limits else ""
    more = f" --time-limit SECONDS{was}" if manifest.status.get(Status.TIMEOUT.name) else ""
    return f"these samples have no image; to compute them again, add --retry{more}"


def expected_losses(root: Path, spec: StoreSpec, options: Options) -> list[str]:
    """What a plan says of samples that are known to be lost, in the store or in its donor."""
    donor = catalogue.with_diagrams(root, spec)
    for path in (root / "stores" / spec.key, donor):
        try:
            manifest = None if path is None else read_manifest(path)
        except PiCacheError:
            continue
        if manifest is not None and lost(manifest):
            again = f"--retry computes their shards again, in {path}"
            return [f"{lost(manifest)}: {again if options.retry else remedy(manifest)}"]
        if manifest is not None:
            return []
    return []


def _cost(source: Source, spec: StoreSpec, root: Path, options: Options, say: Say) -> Cost | None:
    """What a sample costs, where that decides anything."""
    decided = options.shard_samples is not None or find_begun(root, spec) is not None
    if decided and (options.executor is not None or options.workers is not None):
        return None
    return measure(source, spec, time_limit=options.time_limit, say=say)


def _run(
    tasks: list[ShardTask],
    executor: str,
    workers: int,
    scheduler: str | Path | None,
    kept: int,
    progress: Progress | None,
    say: Say,
) -> list[ShardResult]:
    """Every task, by the executor."""
    results: list[ShardResult] = []
    if not tasks:
        return results
    samples = sum(len(task.source) for task in tasks)
    with single_threaded():
        run = partial(EXECUTORS[executor], workers=workers, scheduler=scheduler, say=say)
        each = shared(partial(run, rescue=rescue_shard), build_shard, tasks)
        for done, result in enumerate(each, start=kept + 1):
            if isinstance(result, ShardResult):
                results.append(result)
            if progress is not None:
                progress(done, kept + len(tasks), result.samples, samples)
    return results


def _dataset_max(
    source: Source,
    spec: StoreSpec,
    root: Path,
    options: Options,
    progress: Progress | None,
    say: Say,
) -> float:
    """The largest value of all raw images, from a store of them, which also has the diagrams."""
    say("dataset-max: first a store of the images as they are, to find their largest value")
    report = build(
        source,
        spec.diagram,
        raw_image(spec.image),
        root=root,
        options=options,
        following=spec.image,
        progress=progress,
        say=say,
    )
    return float(report.manifest.statistics["max_value"])


def versions_of(spec: StoreSpec) -> dict[str, str]:
    """Versions of what computes a store, by name, for the record."""
    found = {}
    for name in ("pi-cache", "numba", "scipy") if spec.gramian is None else ("pi-cache", "numba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found if spec.gramian is not None else found | ENGINES[spec.diagram.engine].versions()
