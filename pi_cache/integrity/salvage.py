"""What was settled when a store was begun, read out of its Zarr metadata and its ledger.

For a store that has lost spec or blueprint together with its manifest. The ledger proves what is
found: its records hold the digest of the blueprint, and that of the table holds the digests of the
metadata. Where the samples lay, and the name of the recipe, are lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pi_cache import files
from pi_cache.catalogue import read_spec
from pi_cache.errors import CorruptStore, PiCacheError
from pi_cache.layout import SMALL_ROW, Column, Layout
from pi_cache.ledger import Build
from pi_cache.manifest import MALFORMED, Blueprint, ShardRecord
from pi_cache.shards import CODECS, POINT_CODEC
from pi_cache.specs import StoreSpec

COLUMNS = ("images", "status", "points", "offsets", "inputs")
TABLES = ("ids", "labels", "groups", "splits")
"""In the order in which a build settles them."""
ADDED = ("label_names", "spec", "diagrams")
"""Attributes of the group that are not those of the blueprint."""


def salvaged_build(path: Path) -> Build:
    """The build that a store was, by its metadata and ledger. Raises CorruptStore."""
    try:
        record = ShardRecord.from_bytes(files.read_bytes(path / "ledger" / "table.json"))
        group = _document(path, "data.zarr/zarr.json", record)["attributes"]
        spec = _spec(path, group)
        arrays = {
            name: _document(path, f"data.zarr/{name}/zarr.json", record)
            for name in (*COLUMNS, *TABLES)
            if f"data.zarr/{name}/zarr.json" in record.files
        }
        for layout in _layouts(arrays):
            blueprint = _blueprint(spec, group, arrays, layout)
            if blueprint.digest == record.blueprint and spec.key == record.key:
                return Build(path, spec, blueprint)
    except (PiCacheError, FileNotFoundError, *MALFORMED) as error:
        raise CorruptStore(f"{path}: what this store was cannot be read: {error}") from error
    raise CorruptStore(f"{path}: its metadata and its ledger are not of one store")


def _document(path: Path, name: str, record: ShardRecord) -> dict[str, Any]:
    """A `zarr.json` that has the digest which the ledger lists."""
    problem = files.difference(path / name, *record.files[name])
    if problem is not None:
        raise CorruptStore(f"{name}: {problem}")
    document: dict[str, Any] = json.loads(files.read_bytes(path / name))
    return document


def _spec(path: Path, group: Mapping[str, Any]) -> StoreSpec:
    """The spec of the folder if it can be read, else what the metadata say of it."""
    try:
        return read_spec(path)
    except (FileNotFoundError, PiCacheError):
        return StoreSpec.from_document(group["spec"])


def _blueprint(
    spec: StoreSpec, group: Mapping[str, Any], arrays: Mapping[str, Any], layout: Layout
) -> Blueprint:
    return Blueprint(
        key=spec.key,
        samples=spec.source.samples,
        layout=layout,
        columns=tuple(_column(name, arrays[name]) for name in COLUMNS if name in arrays),
        tables=tuple(name for name in TABLES if name in arrays),
        label_names=tuple(group["label_names"]),
        attributes={name: value for name, value in group.items() if name not in ADDED},
    )


def _column(name: str, document: Mapping[str, Any]) -> Column:
    names = document["dimension_names"]
    ragged = names[0] == "shard"
    own = 2 if ragged else 1
    fill = document["fill_value"]
    return Column(
        name=name,
        shape=document["shape"][own:],
        dtype=document["data_type"],
        dimensions=names[own:],
        fill=None if fill == "NaN" else int(fill) or None,
        attributes=document["attributes"],
        ragged=ragged,
        codec=POINT_CODEC if ragged and "zstd" in _compressors(document) else "",
    )


def _compressors(document: Mapping[str, Any]) -> list[str]:
    """What the inner chunks of an array are compressed with."""
    inner = document["codecs"][0]["configuration"]["codecs"]
    return [codec["configuration"]["cname"] for codec in inner if codec["name"] == "blosc"]


def _layouts(arrays: Mapping[str, Any]) -> Iterator[Layout]:
    """Layouts that these arrays may have; small ones do not tell how large arrays are cut."""
    columns = [_column(name, arrays[name]) for name in COLUMNS if name in arrays]
    shards = {c.name: _shard_shape(arrays[c.name]) for c in columns}
    rows = next(shards[column.name][0] for column in columns if not column.ragged)
    capacities = [shards[column.name][1] for column in columns if column.ragged]
    sizes = {"shard_samples": rows, **({"point_capacity": capacities[0]} if capacities else {})}
    large = [c for c in columns if not c.ragged and c.row_bytes >= SMALL_ROW]
    if large:
        inner = arrays[large[0].name]["codecs"][0]["configuration"]
        packed = any(codec["name"] == "blosc" for codec in inner["codecs"])
        chunks, codecs = [inner["chunk_shape"][0]], ["blosc-lz4" if packed else "none"]
    else:
        chunks, codecs = [n for n in range(1, rows + 1) if rows % n == 0], list(CODECS)
    for chunk in chunks:
        for codec in codecs:
            yield Layout(chunk_samples=chunk, codec=codec, **sizes)


def _shard_shape(document: Mapping[str, Any]) -> list[int]:
    shape: list[int] = document["chunk_grid"]["configuration"]["chunk_shape"]
    return shape
