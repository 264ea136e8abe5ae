"""Before the first shard: a store's folder, begun or as an earlier run left it."""

from __future__ import annotations

from pathlib import Path

from pi_cache import catalogue
from pi_cache.errors import CorruptStore, StoreNotFound
from pi_cache.keeping.space import check_space, room_of, shortages
from pi_cache.layout import Column
from pi_cache.ledger import Build, open_build
from pi_cache.quantities import value_text
from pi_cache.specs import ImageSpec, StoreSpec
from pipeline.buildoptions import Options, Say
from pipeline.cutting import (
    choose_layout,
    differing_layout,
    image_channels,
    store_columns,
    table_of,
)
from pipeline.growth import growth_of
from pipeline.measuring import measure
from pipeline.plan import Cost
from pipeline.sources.base import Source


def prepare(
    source: Source,
    spec: StoreSpec,
    cost: Cost | None,
    *,
    root: Path,
    options: Options,
    donor: Path | None = None,
    following: ImageSpec | None = None,
    say: Say = lambda text: None,
) -> Build:
    """The store's folder with all but its shards: as an earlier run left it, or begun now.

    cost: of a sample, to choose the size of a shard by; None where that is settled or cheap.
    donor: a store with the same diagrams. following: another image of these diagrams, whose store
    is to be built next, and for which there must be room too.
    Raises StorageFull where there is too little of it, before anything is written.
    """
    from pi_cache.store import begin  # zarr: only who begins a store waits for its import

    before = find_begun(root, spec)
    attributes = {
        "channels": image_channels(source, spec),
        "source": {name: getattr(source, name) for name in ("kind", "citation", "licence")},
        "inputs": {name: list(getattr(source, name)) for name in ("channels", "units")},
    }
    if source.id_form:
        attributes["ids"] = source.id_form
    attributes |= options.notes
    if before is not None:
        columns, layout = before.blueprint.columns, before.layout
        for line in differing_layout(before.blueprint, options):
            say(line)
    else:
        say(explain_miss(root, spec))
        columns = store_columns(source, spec, with_inputs=options.with_inputs)
        layout = choose_layout(source, spec, cost, options)
    if options.space_check:
        also = columns_of(following, source, spec, options)
        grows = growth_of(
            source, columns, layout, before=before, donor=donor, also=also, retry=options.retry
        )
        if cost is None and not grows.is_known and shortages(room_of(root), grows.need()):
            # As large as that only where nothing is compressed: better to measure than to refuse.
            cost = measure(source, spec, time_limit=options.time_limit, say=say)
        check_space(root, grows.need(cost))
    return begin(root, spec, table_of(source), columns, layout=layout, attributes=attributes)


def columns_of(
    image: ImageSpec | None, source: Source, spec: StoreSpec, options: Options
) -> tuple[Column, ...]:
    """The arrays of a store of another image; none without one."""
    if image is None:
        return ()
    return store_columns(source, spec.replace(image=image), with_inputs=options.with_inputs)


def find_begun(root: Path, spec: StoreSpec) -> Build | None:
    """The store of this spec as an earlier run began it, or None."""
    try:
        return open_build(root / "stores" / spec.key)
    except (StoreNotFound, CorruptStore):  # `begin` mends what is damaged
        return None


def explain_miss(root: Path, spec: StoreSpec) -> str:
    """Why no finished store serves: which fields differ from the nearest one."""
    nearest = catalogue.nearest(root, spec)
    if nearest is None:
        return f"no store under {root} yet"
    entry, changed = nearest
    listed = ", ".join(
        f"{name} {value_text(a)} -> {value_text(b)}" for name, (a, b) in changed.items()
    )
    return f"not in the cache; the nearest store, {entry.key[:12]}, differs in {listed}"
