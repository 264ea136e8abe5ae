"""The store of transformed samples that lies beside a store: found by what it must hold."""

from __future__ import annotations

import numpy as np

from pi_cache.errors import InvalidSpec, MismatchedStores, StoreNotFound
from pi_cache.reader import Check, Store
from pi_cache.remote.address import is_remote
from pi_cache.specs import VARIANT, Status, StoreSpec

LISTED = 3
"""How many samples an error names."""


def variant_spec(spec: StoreSpec, variant: str) -> StoreSpec:
    """The spec of the store of the same samples, transformed: `flip`, `reverse`, ...

    Raises InvalidSpec for imported images, and for a variant.
    """
    if spec.origin is not None:
        raise InvalidSpec(
            "imported images have no variants: nothing here computed them; build a store of the"
            " samples themselves"
        )
    there = spec.source.options.get(VARIANT)
    if there is not None:
        raise InvalidSpec(f"the store is a variant already, {there}; open that of the plain store")
    return spec.replace(source=spec.source.varied(variant))


def open_variant(store: Store, variant: str, *, check: Check = "first-touch") -> Store:
    """The finished variant of a store in the same cache; its samples have the same numbers.

    Raises InvalidSpec as `variant_spec`, StoreNotFound with the command that builds it,
    UnfinishedStore, CorruptStore, and MismatchedStores where a sample that is usable in the store
    is not in the variant.
    """
    spec = variant_spec(store.spec, variant)
    try:
        found = store.beside(spec.key, check=check)
    except StoreNotFound:
        raise StoreNotFound(
            f"store {store.key[:12]} has no variant {variant!r} beside it; build it with"
            f" `{building(store, variant)}`"
        ) from None
    lost = np.flatnonzero((store.status == Status.OK) & (found.status != Status.OK))
    if len(lost):
        words = [f"{store.ids[i]} {Status(int(found.status[i])).name}" for i in lost[:LISTED]]
        raise MismatchedStores(
            f"{len(lost)} samples are usable in store {store.key[:12]} and not in its variant"
            f" {variant!r} ({', '.join(words)}); build the variant again with --retry",
            tuple(words),
        )
    return found


def building(store: Store, variant: str) -> str:
    """The command that builds the variant of a store, in the same cache."""
    if is_remote(store.address):
        return f"pipeline build-pis ... --variants {variant}, where {store.address} was built"
    root = store.path.parent.parent
    if store.spec.gramian is not None:
        return f"pipeline build-gafs ... --source-option variant={variant} --cache {root}"
    spec = store.path / "spec.json"
    return f"pipeline build-pis --spec {spec} --variants {variant} --cache {root}"
