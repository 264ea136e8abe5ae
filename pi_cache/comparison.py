"""What differs between two stores: in their numbers, and beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pi_cache.catalogue import Entry
from pi_cache.errors import StoreNotFound
from pi_cache.manifest import StoreManifest
from pi_cache.metadata import GROUP
from pi_cache.query import field_values
from pi_cache.specs import StoreSpec, differences

Pairs = Mapping[str, tuple[Any, Any]]


TYPES = {f"{part}.{name}" for part in ("image", "gramian") for name in ("dtype", "rounding")}


@dataclass(frozen=True, slots=True)
class Comparison:
    """fields: of the key, by dotted name, with both values. beside: what is no part of the key.

    finished: whether both stores are, so that more than the spec is known of them.
    """

    fields: Pairs
    beside: Pairs
    finished: bool = True

    @property
    def verdict(self) -> str:
        """What the differences amount to, "" where the fields say all there is to say."""
        parts = {name.partition(".")[0] for name in self.fields}
        if not self.fields and not self.beside:
            return "they are the same" if self.finished else "the specs are the same"
        if not self.fields and not self.finished:
            return "one key, and only the specs are compared: not both are finished"
        if not self.fields and "digest" in self.beside:
            return "one key and other bytes: by other versions of libraries, or one is damaged"
        if not self.fields:
            where = sorted({name.partition(".")[0] for name in self.beside})
            return f"the numbers are the same: what differs is {', '.join(where)}"
        if self.fields.keys() == {"representation"}:
            return "other images of the same samples: they join"
        if self.fields.keys() <= TYPES:
            return "only the type of the stored images differs"
        if parts == {"image"}:
            return "only the images differ: the diagrams are the same"
        if self.fields.keys() == {"source.fingerprint"}:
            return "only the content of the samples differs"
        return "only the source differs" if parts == {"source"} else ""


def compare(one: Entry, other: Entry) -> Comparison:
    """What differs between two stores; of one that is not finished only the spec is known.

    Raises StoreNotFound for a store without a readable spec.
    """
    mine, theirs = _spec(one), _spec(other)
    fields = differences(mine, theirs)
    beside = _pairs(field_values(mine), field_values(theirs))
    if one.manifest is not None and other.manifest is not None:
        beside |= _pairs(_built(one.manifest), _built(other.manifest))
        if not fields:
            beside |= _pairs(_noted(one.manifest), _noted(other.manifest))
            if _data(one.manifest) == _data(other.manifest):
                beside.pop("digest", None)  # notes lie in a file too
    apart = {"algorithm", *mine.parts, *theirs.parts} if "representation" in fields else set()
    beside = {
        name: pair
        for name, pair in beside.items()
        if name not in fields and name.partition(".")[0] not in apart
    }
    if fields or any(name.partition(".")[0] in ("layout", "arrays") for name in beside):
        beside.pop("digest", None)  # of other files
    return Comparison(fields, beside, None not in (one.manifest, other.manifest))


def _pairs(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [*mine, *(name for name in theirs if name not in mine)]
    pairs = {name: (mine.get(name), theirs.get(name)) for name in names}
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b}


def _built(manifest: StoreManifest) -> dict[str, Any]:
    """How a finished store was built, by dotted name."""
    arrays = ", ".join(f"{column.name} {column.dtype}" for column in manifest.columns)
    return {
        **{f"layout.{name}": value for name, value in manifest.layout.to_dict().items()},
        **{f"versions.{name}": value for name, value in manifest.versions.items()},
        "arrays": arrays,
        "digest": manifest.digest,
    }


def _noted(manifest: StoreManifest) -> dict[str, Any]:
    """What builders noted of a store, by dotted name."""
    return {f"notes.{name}": value for name, value in manifest.blueprint.attributes.items()}


def _data(manifest: StoreManifest) -> dict[str, Any]:
    """The files of a store but for the one in which its notes lie."""
    return {name: entry for name, entry in manifest.files.items() if name != GROUP}


def _spec(entry: Entry) -> StoreSpec:
    if entry.spec is None:
        raise StoreNotFound(f"{entry.path}: nothing to compare: {entry.problem}")
    return entry.spec
