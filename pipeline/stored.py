"""What a finished store says of its own making: source, limits, and what of it serves as a source.

A store is computed again from where its samples were, from where they are now, or from the inputs
that it holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache.errors import CorruptStore, InvalidSpec, SourceError
from pi_cache.manifest import StoreManifest
from pi_cache.reader import Store
from pi_cache.sampling.samples import listed
from pi_cache.specs import SourceSpec, StoreSpec
from pipeline.sources import KINDS, open_source, written
from pipeline.sources.base import Samples, Source, read_samples
from pipeline.sources.readers import MemoryReader
from pipeline.statistics import USABLE

SCANNED = 256
"""Samples compared at a time where a source has changed."""


def source_of(spec: SourceSpec, place: str | None = None) -> Source:
    """The samples that a store was made of, where they were or at another place.

    place: as on the command line (KIND:PATH), or a path of the same kind. Split, limit and options
    are those of the store. Raises SourceError.
    """
    text = _text(spec, place)
    try:
        source = open_source(text, split=spec.split or None, **_options(spec, text))
    except SourceError as error:
        raise SourceError(
            f"the source of this store cannot be opened: {error}; name the place where it is now"
            " with --source"
        ) from error
    if spec.limit is not None:
        source = replace(source[: spec.limit], limit=spec.limit)
    found = (source.sample, len(source), len(source.channels))
    wanted = (spec.sample, spec.samples, spec.channels)
    if found != wanted:
        raise SourceError(
            f"{text} holds other samples than this store was made of: {_counted(*found)}, expected"
            f" {_counted(*wanted)}; name the right place with --source"
        )
    return source


def _text(spec: SourceSpec, place: str | None) -> str:
    """The source in the words of the command line."""
    if place is None:
        return written(spec.kind, spec.location)
    return place if place.partition(":")[0] in KINDS else written(spec.kind, place)


def _options(spec: SourceSpec, text: str) -> dict[str, Any]:
    """The options of the kind; another kind has none of them.

    A file that is named there, and is no more, is looked for beside the samples.
    """
    kind, _, place = text.partition(":")
    beside = Path(place).expanduser().parent
    return {
        name: str(beside / Path(value).name) if _has_moved(value, beside) else value
        for name, value in spec.options.items()
        if kind == spec.kind
    }


def _has_moved(value: Any, beside: Path) -> bool:
    """Whether the value of an option is the name of a file that is now in another folder."""
    if not isinstance(value, str) or Path(value).exists():
        return False
    return (beside / Path(value).name).is_file()


def _counted(sample: str, samples: int, channels: int) -> str:
    return f"{samples:,} {sample} samples of {channels} channels"


def check_computed_here(spec: StoreSpec) -> None:
    """Raise InvalidSpec where this release would compute other numbers, or none, for this spec."""
    if spec.origin is not None:
        raise InvalidSpec(
            f"these images were imported ({spec.origin.format}) and not computed here; import them"
            " again from where they came"
        )
    current = spec.replace(algorithm=0).algorithm
    if spec.algorithm != current:
        raise InvalidSpec(
            f"this store was computed by algorithm version {spec.algorithm}, and this release"
            f" computes by version {current}, which gives other numbers; install the release of"
            " pi-cache that its manifest names, or build it anew"
        )


def time_limit_of(statistics: Mapping[str, Any]) -> float | None:
    """Seconds a field was given, the most of all shards; None for any time."""
    limits = statistics.get("time_limits", {})
    if not limits or "none" in limits:
        return None
    return max(float(limit) for limit in limits)


def dataset_max_of(manifest: StoreManifest) -> float | None:
    """What images were divided by, None where by their own maximum or not at all."""
    if manifest.spec.image.normalise != "dataset-max":
        return None
    found = manifest.statistics.get("max_dataset")
    if found is None:
        raise InvalidSpec(
            "this store does not say what its images were divided by: an earlier version wrote it;"
            " build it anew"
        )
    return float(found)


def part_of_store(path: Path, manifest: StoreManifest, listed: Collection[str]) -> Store:
    """A store that is whole as far as these files go, and says of all others that it has them not.

    Raises CorruptStore where one of these is damaged, when it is read.
    """
    files = {name: entry for name, entry in manifest.files.items() if name in listed}
    return Store(path, replace(manifest, files=files), "first-touch")


def stored_source(store: Store, samples: range, *, values: bool = True) -> Source:
    """Samples of a store as a source: its inputs are the raw samples, as they were read.

    values: False for a source of so many samples that is not to be read.
    """
    spec, maximum = store.spec.source, None
    rows = np.empty((len(samples), 0), np.uint8)
    if values:
        rows = store.read("inputs", slice(samples.start, samples.stop))
        maximum = store.column("inputs").attributes.get("maximum")
    reader = MemoryReader.of(rows)
    return Source(
        kind=spec.kind,
        location=str(store.path),
        sample=spec.sample,
        shape=reader.shape[1:],
        channels=tuple(f"channel{k}" for k in range(spec.channels)),
        dtype=reader.dtype,
        maximum=maximum,
        ids=[str(i) for i in samples],
        labels=np.full(len(samples), -1),
        reader=reader,
    )


def with_known(samples: Samples, known: np.ndarray | None) -> Samples:
    """Samples of which none is usable that was not when the store was made; so none is tried again.

    known: the stored statuses (n,), None where these are lost.
    """
    if known is None:
        return samples
    status = np.where(np.isin(known, USABLE), samples.status, known)
    return replace(samples, status=status)


def check_same(store: Store, source: Source) -> None:
    """Raise SourceError where the source is not what the store was made of, and say what differs.

    Reads the whole source.
    """
    fingerprint = source.fingerprint()
    if fingerprint != store.spec.source.fingerprint:
        raise SourceError(
            f"{source.kind}:{source.location} has changed since this store was made of it"
            f" (fingerprint {fingerprint[:12]}, expected {store.spec.source.fingerprint[:12]}):"
            f" {'; '.join(_changes(store, source))}; build a store of what it holds now, or name"
            " the unchanged samples with --source"
        )


def _changes(store: Store, source: Source) -> list[str]:
    """How samples differ from those of the store, a phrase each."""
    words = other_words(store, source)
    found = [f"other {table} of {number:,} samples ({names})" for table, number, names in words]
    if "inputs" in store.columns and source.shape == store.column("inputs").shape:
        changed = np.concatenate(list(_changed_values(store, source)))
        if len(changed):
            found.append(f"other values of {len(changed):,} samples ({_named(store, changed)})")
    elif not found:
        found.append("which samples differ is not known, as the store does not hold the inputs")
    return found or ["the names of channels or labels, or the range of values, are others"]


def _changed_values(store: Store, source: Source) -> Iterator[np.ndarray]:
    """Positions of the samples whose raw values are not the stored ones, as far as these are."""
    size = store.manifest.layout.shard_samples
    yield np.empty(0, int)
    for start in range(0, len(store), size):
        with suppress(CorruptStore):
            rows = store.read("inputs", slice(start, start + size))
            for first in range(0, len(rows), SCANNED):
                part = source[start + first : start + min(first + SCANNED, len(rows))]
                arrays = np.asarray(read_samples(part).arrays)
                pairs = zip(arrays, rows[first : first + SCANNED], strict=True)
                other = [one.tobytes() != stored.tobytes() for one, stored in pairs]
                yield start + first + np.flatnonzero(other)


def other_words(store: Store, source: Source) -> Iterator[tuple[str, int, str]]:
    """Tables of the store that are not those of the source, for how many samples, and for which."""
    for table in ("ids", "labels", "groups", "splits"):
        mine, theirs = getattr(store, table), np.array(list(getattr(source, table)), object)
        mine = np.full(len(store), "", object) if mine is None else mine.astype(object)
        changed = np.flatnonzero(mine != theirs)
        if len(changed):
            yield table, len(changed), _named(store, changed)


def _named(store: Store, samples: np.ndarray) -> str:
    return listed([str(store.ids[i]) for i in samples])
