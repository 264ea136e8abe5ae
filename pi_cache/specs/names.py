"""Fields of specs by their dotted names: what is known of each, and which differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from pi_cache.specs.base import Spec
from pi_cache.specs.origin import STATEABLE
from pi_cache.specs.store import StoreSpec

UNKNOWN = "unknown"
"""What is said of a field that nobody stated of imported images."""
COMPUTED = "computed"
"""The origin of a store whose images were computed from its source."""


def known_fields(spec: Spec, *, key_only: bool = False) -> dict[str, Any]:
    """Every field by its dotted name; UNKNOWN where an imported store does not know its value.

    A computed store has the origin COMPUTED. key_only: without fields that are no part of the key.
    """
    found = dict(_flat(spec, "", key_only=key_only))
    if isinstance(spec, StoreSpec):
        found["representation"] = spec.representation
        found["origin"] = COMPUTED if spec.origin is None else spec.origin.kind
        if spec.origin is not None:
            unknown = set(STATEABLE) - set(spec.origin.given)
            found |= dict.fromkeys((name for name in found if name in unknown), UNKNOWN)
    return found


def _flat(spec: Spec, prefix: str, *, key_only: bool) -> Iterator[tuple[str, Any]]:
    absent = spec.lacking if isinstance(spec, StoreSpec) else ()
    for f in fields(spec):
        value = getattr(spec, f.name)
        if f.name in absent:
            continue
        if isinstance(value, Spec):
            yield from _flat(value, f"{prefix}{f.name}.", key_only=key_only)
        elif f.compare or not key_only:
            yield prefix + f.name, value


def differences(one: Spec, other: Spec, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Fields of the key that differ, by dotted name, with both values; UNKNOWN is one too.

    How images were imported is compared where both were; how they were computed, where both stores
    hold the same representation.
    """
    mine, theirs = (known_fields(spec, key_only=True) for spec in (one, other))
    if mine.get("representation") != theirs.get("representation"):
        del mine["algorithm"]  # its versions count something else in each
    return {
        prefix + name: (value, theirs[name])
        for name, value in mine.items()
        if name in theirs and value != theirs[name]
    }
