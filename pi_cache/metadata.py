"""What the Zarr metadata of a store must say, so that any Zarr reader sees what we see.

The expected documents follow from the blueprint, which names only types and codecs that we write:
so nothing else is allowed, before zarr opens or decodes anything. Compared as JSON, without zarr:
another version of it may write the same in another order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pi_cache import files
from pi_cache.errors import CorruptStore, PiCacheError, StorageFailed
from pi_cache.layout import Column
from pi_cache.manifest import MALFORMED, StoreManifest
from pi_cache.shards import POINT_CODEC

GROUP = "data.zarr/zarr.json"
LIMIT = 1 << 24
"""Bytes of one document at most."""

LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
CRC32C = {"name": "crc32c"}
OPTIONAL = {"attributes", "dimension_names", "consolidated_metadata", "storage_transformers"}


def metadata_problems(
    path: Path,
    manifest: StoreManifest,
    whole: set[str],
    read: Callable[[Path], bytes] = files.read_bytes,
) -> Iterator[tuple[str, str]]:
    """File and phrase for each piece of metadata that contradicts the manifest.

    whole: the files to look into. read: the bytes of a file.
    """
    expected = _expected(manifest)
    for name in sorted(expected.keys() - manifest.files.keys()):
        yield "manifest.json", f"does not list {name}"
    for name in sorted(expected.keys() & whole):
        if manifest.files[name].size > LIMIT:
            yield name, f"has {manifest.files[name].size} bytes, at most {LIMIT} are read"
            continue
        try:
            problems = list(_document_problems(json.loads(read(path / name)), expected[name]))
        except (CorruptStore, StorageFailed):
            raise
        except (PiCacheError, *MALFORMED) as error:
            problems = [f"cannot be read: {error!r:.200}"]
        yield from ((name, problem) for problem in problems)


def _expected(manifest: StoreManifest) -> dict[str, dict[str, Any]]:
    """The documents of a store by their paths, without what may differ."""
    group = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {
            "spec": {"key": manifest.key},
            "label_names": list(manifest.blueprint.label_names),
        },
    }
    documents = {GROUP: group}
    for column in manifest.columns:
        documents[f"data.zarr/{column.name}/zarr.json"] = _of_column(column, manifest)
    for table in manifest.blueprint.tables:
        documents[f"data.zarr/{table}/zarr.json"] = _of_table(table, manifest)
    return documents


def _of_column(column: Column, manifest: StoreManifest) -> dict[str, Any]:
    form = column.shard_format(manifest.layout)
    above = [1] if column.ragged else []
    rows = [manifest.shards, form.rows] if column.ragged else [manifest.samples]
    size = form.dtype.itemsize
    sharding = {
        "chunk_shape": [*above, form.chunk_rows, *column.shape],
        "codecs": [
            LITTLE if size > 1 else {"name": "bytes"},
            *([] if form.codec == "none" else [_blosc(size, form.codec)]),
            CRC32C,
        ],
        "index_codecs": [LITTLE, CRC32C],
        "index_location": "end",
    }
    fill = "NaN" if isinstance(form.fill_value, float) else form.fill_value
    return _array(
        data_type=column.dtype,
        shape=[*rows, *column.shape],
        chunk_shape=[*above, form.rows, *column.shape],
        fill_value=bool(fill) if column.dtype == "bool" else fill,
        codecs=[{"name": "sharding_indexed", "configuration": sharding}],
        dimension_names=[
            *(["shard", "point"] if column.ragged else ["sample"]),
            *column.dimensions,
        ],
        attributes=json.loads(json.dumps(dict(column.attributes))),
    )


def _of_table(name: str, manifest: StoreManifest) -> dict[str, Any]:
    numbers = name == "labels"
    return _array(
        data_type="int64" if numbers else "string",
        shape=[manifest.samples],
        chunk_shape=[manifest.samples],
        fill_value=0 if numbers else "",
        codecs=[LITTLE if numbers else {"name": "vlen-utf8"}, _blosc(8 if numbers else 1), CRC32C],
        dimension_names=["sample"],
        attributes={},
    )


def _array(*, chunk_shape: list[int], **document: Any) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk_shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "storage_transformers": [],
        **document,
    }


def _blosc(typesize: int, codec: str = "blosc-lz4") -> dict[str, Any]:
    name, shuffle = ("zstd", "bitshuffle") if codec == POINT_CODEC else ("lz4", "shuffle")
    configuration = {"typesize": typesize, "cname": name, "shuffle": shuffle}
    return {"name": "blosc", "configuration": configuration}


def _document_problems(found: Any, expected: dict[str, Any]) -> Iterator[str]:
    """How a document differs, in phrases."""
    if not isinstance(found, dict):
        yield "is no JSON object"
        return
    known = expected.keys() | OPTIONAL
    yield from (f"{name} is not known here" for name in found.keys() - known)
    if found.get("consolidated_metadata") is not None:
        yield "consolidated_metadata is a copy that nobody checks"
    yield from _differences("", found, expected)


def _differences(where: str, found: Any, expected: Any) -> Iterator[str]:
    """Where the found value lacks or contradicts something expected; more in objects is allowed."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name, value in expected.items():
            default = type(value)() if isinstance(value, dict | list) else None
            yield from _differences(f"{where}.{name}", found.get(name, default), value)
    elif isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        for k, value in enumerate(expected):
            yield from _differences(f"{where}[{k}]", found[k], value)
    elif isinstance(found, bool) is not isinstance(expected, bool) or found != expected:
        yield f"{where.lstrip('.')} is {found!r:.200}, expected {expected!r:.200}"
