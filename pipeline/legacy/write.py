"""The store of imported images: cut into shards, each read, checked and written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache.errors import InvalidSpec
from pi_cache.keeping.space import check_space
from pi_cache.layout import Column, Layout, imported_columns
from pi_cache.ledger import Build, missing_shards, write_shard
from pi_cache.shards import encode
from pi_cache.specs import Status, StoreSpec
from pipeline.cutting import table_of
from pipeline.growth import growth_of
from pipeline.legacy.audit import Audit
from pipeline.legacy.found import Found
from pipeline.plan import Cost, choose_shard_samples, spread
from pipeline.prepare import find_begun
from pipeline.shard import PROBLEMS_KEPT
from pipeline.sources.base import Samples, Source, read_samples
from pipeline.statistics import USABLE

COPIES = 4
"""How often the images of a shard are held: as read, with their axes moved, encoded, and packed."""
MEASURED = 16
"""Samples that are encoded beforehand, to see how small they become."""


def write_store(
    found: Found, spec: StoreSpec, done: Audit | None, root: Path, *, space_check: bool,
    progress: Callable[[int, int, int, int], None],
) -> tuple[Build, int]:  # fmt: skip
    """The store with all its shards, and how many of them an earlier run had written.

    A shard is all that is held in memory. progress: as for a build. Raises StorageFull where there
    is too little room.
    """
    from pi_cache.store import begin  # zarr: only who begins a store waits for its import

    source, columns = found.source, imported_columns(spec, found.channels)
    held = COPIES * sum(column.row_bytes for column in columns)
    rows = choose_shard_samples(len(source), 0.0, held)
    layout = Layout(shard_samples=rows)
    if space_check:
        grows = growth_of(source, columns, layout, before=find_begun(root, spec))
        check_space(root, grows.need(None if grows.is_known else _cost(source, columns)))
    attributes: dict[str, Any] = {"channels": list(source.channels)}
    if done is not None:
        attributes["audit"] = done.to_dict()
    build = begin(root, spec, table_of(source), columns, layout=layout, attributes=attributes)
    missing = missing_shards(build)
    kept, left = build.shards - len(missing), sum(len(build.sample_range(k)) for k in missing)
    for number, k in enumerate(missing, start=kept + 1):
        samples = build.sample_range(k)
        arrays, seen = read_shard(source[samples.start : samples.stop], spec.image.dtype)
        write_shard(build, k, arrays, statistics=seen)
        progress(number, build.shards, len(samples), left)
    return build, kept


def _cost(source: Source, columns: tuple[Column, ...]) -> Cost:
    """What a sample takes on disk, from a few; nothing is computed."""
    places = spread(len(source), MEASURED)
    parts = [read_shard(source[k : k + 1], columns[0].dtype)[0]["images"] for k in places]
    layout = Layout(shard_samples=len(places))
    size = len(encode(np.concatenate(parts), columns[0].shard_format(layout))) / len(places)
    return Cost(read=0, diagrams=0, images=0, encode=0, points=0, stored=size, held=size)


def read_shard(source: Source, dtype: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a shard, and what was seen in it."""
    samples = read_samples(source)
    status = _statuses(samples)
    images = np.moveaxis(np.asarray(samples.arrays), -1, 1)  # (n, C, P, P)
    usable = np.isin(status, USABLE)
    stored, rounding = _stored(images, usable, dtype)
    problems = {source.ids[k]: text for k, text in samples.problems.items() if status[k]}
    seen = {
        "max_value": max((float(images[k].max()) for k in np.flatnonzero(usable)), default=0.0),
        "max_rounding": rounding,
        "blank_images": int((~np.asarray(images.any(axis=(2, 3)))[usable]).sum()),
        "problems": dict(list(problems.items())[:PROBLEMS_KEPT]),
    }
    return {"images": stored, "status": status}, seen


def _stored(images: np.ndarray, usable: np.ndarray, dtype: str) -> tuple[np.ndarray, float]:
    """Images (n, C, P, P) as a type, nothing where they are not usable; and the largest rounding.

    Raises InvalidSpec for values beyond the type.
    """
    with np.errstate(over="ignore"):
        stored = images.astype(dtype, order="C")  # a copy
    rounding = 0.0
    for k in np.flatnonzero(usable) if stored.dtype != images.dtype else ():
        rounding = max(rounding, float(np.abs(stored[k].astype(np.float64) - images[k]).max()))
    if not np.isfinite(rounding):
        raise InvalidSpec(f"some values are beyond {dtype}: store them as {images.dtype}")
    stored[~usable] = 0 if dtype == "uint8" else np.nan
    return stored, rounding


def _statuses(samples: Samples) -> np.ndarray:
    """Statuses of images without their source: a blank one is an empty diagram, and OK.

    One that is a single value other than 0 throughout is no persistence image: CONSTANT.
    """
    status = samples.status.copy()
    for k in np.flatnonzero(status == Status.CONSTANT):
        if not np.asarray(samples.arrays[k]).any():
            status[k] = Status.OK
    return status
