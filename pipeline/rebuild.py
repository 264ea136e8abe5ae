"""Compute again what a damaged store has lost, exactly: a file counts when its digest is right.

Of a shard whose diagrams are whole only the images are drawn again; of one whose inputs are whole
nothing is read from the source; and another store of the same diagrams serves too. Only what is
left then needs the samples themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from pi_cache import catalogue, files
from pi_cache.errors import CorruptStore, InvalidSpec, SourceError
from pi_cache.integrity.mending import Say, Work, entry_of, put
from pi_cache.integrity.verification import Finding
from pi_cache.ledger import Build
from pi_cache.manifest import StoreManifest
from pi_cache.root import STORES
from pi_cache.sampling.samples import listed
from pi_cache.specs import StoreSpec
from pipeline.build import build_spec, versions_of
from pipeline.buildoptions import Options
from pipeline.cutting import table_of
from pipeline.executors import run_as_needed
from pipeline.lostshard import COMPUTED, Mended, MendTask, mend_shard, ways_of
from pipeline.progress import Progress
from pipeline.recompute import recompute as recompute
from pipeline.sources.base import Source
from pipeline.stored import (
    check_computed_here,
    check_same,
    part_of_store,
    source_of,
)


def repair(
    path: Path, manifest: StoreManifest | None, findings: Sequence[Finding], work: Work
) -> None:
    """Make files of a store again. findings: of files that the manifest lists.

    manifest: what the store is to be again; where that is not known, what the ledger still holds is
    built upon. work: its source is where the samples are now, as for `source_of`. Raises any
    PiCacheError where something cannot be had again; what was made before stays.
    """
    if manifest is None:
        _build_again(path, work)
        return
    build = Build(path, manifest.spec, manifest.blueprint)
    shards, others = _sorted(manifest, findings)
    donor = _donor(path, manifest.spec)
    tasks = [
        MendTask(build, _of_shard(manifest, k), k, lost, donor=donor) for k, lost in shards.items()
    ]
    waiting = [done for done in _mended(tasks, work) if done.left]
    if not waiting and not others:
        return
    needed = [*_lost(waiting), *others]
    computes = any(done.left & COMPUTED for done in waiting)
    data = _source(manifest.spec, work.source, needed, computes=computes)
    tasks = [_with_samples(done, data) for done in waiting]
    left = _lost([done for done in _mended(tasks, work) if done.left])
    left += _mend_tables(build, manifest, data, others, work)
    if left:
        _refuse(manifest, data, left, path)


def _sorted(
    manifest: StoreManifest, findings: Sequence[Finding]
) -> tuple[dict[int, frozenset[str]], list[str]]:
    """The lost arrays of every damaged shard; and the other files, of tables and metadata."""
    places = {
        c.shard_file(k): (k, c.name) for c in manifest.columns for k in range(manifest.shards)
    }
    shards: dict[int, set[str]] = defaultdict(set)
    for k, name in (places[f.path] for f in findings if f.path in places):
        shards[k].add(name)
    others = [finding.path for finding in findings if finding.path not in places]
    return {k: frozenset(shards[k]) for k in sorted(shards)}, others


def _of_shard(manifest: StoreManifest, k: int) -> StoreManifest:
    """The manifest as far as it speaks of one shard, so that tasks are small to send."""
    names = [column.shard_file(k) for column in manifest.columns]
    return replace(manifest, files={name: manifest.files[name] for name in names})


def _donor(path: Path, spec: StoreSpec) -> Path | None:
    """Another store of the same cache that has the same diagrams."""
    folder = path.parent
    return catalogue.with_diagrams(folder.parent, spec) if folder.name == STORES else None


def _foretold(tasks: Sequence[MendTask], say: Say) -> Iterator[Mended]:
    """What would become of every damaged shard, if each way gives all that it can."""
    for task in tasks:
        made: dict[str, str] = {}
        for title, way in ways_of(task).items():
            made |= dict.fromkeys(task.lost & way.gives - made.keys(), title)
        done = Mended(task, made, frozenset(task.lost - made.keys()))
        for line in done.lines():
            say(line)
        yield done


def _mended(tasks: Sequence[MendTask], work: Work) -> Iterator[Mended]:
    """Every damaged shard, mended as far as possible, as it is done."""
    if work.dry_run:
        yield from _foretold(tasks, work.say)
        return
    samples = sum(len(task.samples) for task in tasks)
    with Progress() as progress:
        for count, done in enumerate(run_as_needed(mend_shard, tasks, work.workers), start=1):
            progress(count, len(tasks), len(done.task.samples), samples)
            for line in done.lines():
                work.say(line)
            yield done


def _lost(mended: Sequence[Mended]) -> list[str]:
    """What is lost still, in words."""
    return [f"{', '.join(sorted(done.left))} of shard {done.task.shard}" for done in mended]


def _source(spec: StoreSpec, place: str | None, needed: Sequence[str], *, computes: bool) -> Source:
    """The samples. computes: whether they are computed, or only read.

    Raises SourceError and InvalidSpec, which say what for they are needed.
    """
    try:
        if computes or spec.origin is not None:
            check_computed_here(spec)
        return source_of(spec.source, place)
    except (InvalidSpec, SourceError) as error:
        raise type(error)(f"for {listed(needed, '; ')}: {error}") from error


def _with_samples(done: Mended, data: Source) -> MendTask:
    """What is left of a shard, with its samples."""
    samples = done.task.samples
    return replace(done.task, lost=done.left, source=data[samples.start : samples.stop])


def _mend_tables(
    build: Build, manifest: StoreManifest, data: Source, names: Sequence[str], work: Work
) -> list[str]:
    """Publish tables and metadata as a build from this source would; what would be others."""
    if not names:
        return []
    from pi_cache.store import metadata  # zarr: only who writes metadata waits for its import

    made = metadata(build, table_of(data))
    right = [
        name for name in names if name in made and entry_of(made[name]) == manifest.files[name]
    ]
    for name in right:
        work.do(f"{name}: from the source", put, build, name, made[name])
    return [name for name in names if name not in right]


def _refuse(manifest: StoreManifest, data: Source, wrong: Sequence[str], path: Path) -> NoReturn:
    """Say why the source gives other bytes than the listed ones. Raises SourceError, CorruptStore.

    None of them has been published.
    """
    what = listed(wrong, "; ")
    try:
        check_same(part_of_store(path, manifest, _there(path, manifest)), data)
    except CorruptStore:  # tables that are damaged themselves
        raise SourceError(f"{path}: {what} cannot be had from a source that has changed") from None
    except SourceError as error:
        raise SourceError(f"{path}: {what} cannot be had again: {error}") from error
    here = versions_of(manifest.spec)
    here |= {name: version(name) for name in ("numpy", "zarr", "numcodecs")}
    others = [
        f"{name} {was}, here {here[name]}"
        for name, was in manifest.versions.items()
        if here.get(name, was) != was
    ]
    raise CorruptStore(
        f"{path}: {what} computed again have other digests than the manifest lists, and were not"
        f" stored; this store was computed with {'; '.join(others) or 'the same libraries'}: repair"
        " it where it was computed, or build it anew"
    )


def _there(path: Path, manifest: StoreManifest) -> set[str]:
    """The listed files that are there with their size; their digests are checked when read."""
    sizes = {name: files.size(path / name) for name in manifest.files if files.exists(path / name)}
    return {name for name, size in sizes.items() if size == manifest.files[name].size}


def _build_again(path: Path, work: Work) -> None:
    """Go on with a store of which manifest and ledger are damaged, as if it had been begun only.

    Shards whose records hold are kept. Raises CorruptStore where even the spec is gone.
    """
    try:
        spec = catalogue.read_spec(path)
    except (FileNotFoundError, CorruptStore) as error:
        raise CorruptStore(
            f"{path}: manifest, ledger and spec are damaged, so nobody knows what this store was;"
            " remove it and build it from its source"
        ) from error
    if path.parent.name != STORES or path.name != spec.key:
        raise CorruptStore(
            f"{path}: manifest and ledger are damaged, and this is not the folder of a store in a"
            f" cache, where it could be built upon; move it to stores/{spec.key} below a cache root"
        )
    check_computed_here(spec)
    data = source_of(spec.source, work.source)
    if spec.replace(source=data.spec()).key != spec.key:
        raise SourceError(
            f"{data.kind}:{data.location} has changed since this store was made of it; name the"
            " unchanged samples with --source"
        )
    if not work.dry_run:
        with Progress() as progress:
            report = build_spec(
                data,
                spec.replace(source=data.spec()),
                root=path.parents[1],
                options=Options(workers=work.workers),
                progress=progress,
            )
        work.say(f"{report.built} of {report.manifest.shards} shards from the source")
    work.say("manifest.json: anew, from the ledger and what is computed where that is damaged")
