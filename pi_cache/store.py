"""Begin a store and open it with zarr. The only importer of zarr.

Metadata and tables are made by zarr in memory and published like every other file; the shards are
written by `pi_cache.ledger` in the same format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import ByteRequest
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, MemoryStore, WrapperStore

from pi_cache import files
from pi_cache.catalogue import check_home, read_manifest, read_spec
from pi_cache.errors import (
    AlreadyPublished,
    CorruptStore,
    InvalidSpec,
    SourceError,
    StorageFailed,
)
from pi_cache.layout import POINTS_NOTE, Column, Layout, SampleTable, standard_columns
from pi_cache.ledger import (
    REWRITES,
    Build,
    existing_manifest,
    finish,
    holds,
    missing_shards,
    now,
    open_build,
    publish_or_replace,
    write_files,
    write_shard,
)
from pi_cache.manifest import TABLE_SHARD, Blueprint, FileEntry
from pi_cache.specs import StoreSpec

__all__ = [
    "Build",
    "Column",
    "Layout",
    "SampleTable",
    "begin",
    "finish",
    "missing_shards",
    "open_build",
    "open_zarr",
    "open_zarr_array",
    "standard_columns",
    "write_shard",
]

KEYS: Any = {"name": "default", "configuration": {"separator": "."}}
"""Chunk names without folders: a new folder costs an fsync of its own."""

SAFE_CODECS = {
    "bytes", "blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma", "crc32c", "crc32", "adler32",
    "fletcher32", "transpose", "sharding_indexed", "shuffle", "delta", "fixedscaleoffset",
    "quantize", "packbits", "bitround",
}  # fmt: skip
"""What a user's array may name; `pickle` and object codecs would run or build anything."""


def begin(
    root: Path,
    spec: StoreSpec,
    table: SampleTable,
    columns: Sequence[Column],
    *,
    layout: Layout | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Build:
    """A store ready for `write_shard`: new, or as an earlier builder of the same spec left it.

    root: the cache; the store lies in `stores/<key>`. columns: see `standard_columns`.
    layout: of no effect when the store was begun before; read `Build.layout`.
    attributes: plain JSON values for the Zarr group, `channels` (names) among them.
    """
    if len(table) != spec.source.samples:
        raise InvalidSpec(f"spec has {spec.source.samples} samples, the table {len(table)}")
    path = Path(root) / "stores" / spec.key
    blueprint = Blueprint(
        key=spec.key,
        samples=len(table),
        layout=layout or Layout(),
        columns=tuple(columns),
        tables=_table_names(table),
        label_names=tuple(table.label_names),
        attributes=dict(attributes or {}),
        created=now(),
    )
    build = Build(path, spec, _settle(path, blueprint))
    files.sweep(build.temporary)
    _publish_spec(build)
    if not holds(build, TABLE_SHARD):
        write_files(build, TABLE_SHARD, _metadata(build, table))
    return build


def _settle(path: Path, blueprint: Blueprint) -> Blueprint:
    """The blueprint of the first builder, which may be this one.

    One that is gone or damaged is taken from the manifest, if there is one.
    """
    place = path / "blueprint.json"
    for _ in range(REWRITES):
        manifest = existing_manifest(path)
        try:
            existing = Blueprint.from_bytes(files.read_bytes(place))
        except FileNotFoundError:
            existing = None
        except CorruptStore:
            files.move_aside(place, path / "quarantine")
            existing = None
        if existing is not None:
            _check_agrees(existing, blueprint, place)
            return existing
        settled = blueprint
        if manifest is not None:
            _check_agrees(manifest.blueprint, blueprint, path / "manifest.json")
            settled = manifest.blueprint
        try:
            files.publish(place, settled.to_bytes(), temporary=path / "tmp")
            return settled
        except AlreadyPublished:
            continue
    raise CorruptStore(f"{place}: other builders keep changing it")


def _publish_spec(build: Build) -> None:
    """Publish spec.json, unless one with this key is there (`location` may differ)."""
    try:
        if read_spec(build.path).key == build.spec.key:
            return
    except (FileNotFoundError, CorruptStore):
        pass
    document = json.dumps(build.spec.to_document(), indent=1, ensure_ascii=False) + "\n"
    publish_or_replace(build, {build.path / "spec.json": document.encode()})


def _check_agrees(existing: Blueprint, wanted: Blueprint, place: Path) -> None:
    """Layout may differ; what decides the arrays may not."""
    check_home(place.parent, existing.key)
    mine = [(c.name, c.shape, c.dtype) for c in wanted.columns]
    theirs = [(c.name, c.shape, c.dtype) for c in existing.columns]
    if (existing.key, existing.samples, theirs) != (wanted.key, wanted.samples, mine):
        raise InvalidSpec(
            f"{place}: begun with arrays {theirs}, now asked for {mine}; use another cache root"
        )


def _table_names(table: SampleTable) -> tuple[str, ...]:
    optional = [name for name in ("groups", "splits") if getattr(table, name) is not None]
    return ("ids", "labels", *optional)


def _metadata(build: Build, table: SampleTable) -> dict[str, bytes]:
    """Zarr metadata of every array, and the tables, by path inside the store folder."""
    content: dict[str, Buffer] = {}
    group = zarr.create_group(
        MemoryStore(store_dict=content),
        zarr_format=3,
        attributes={
            **build.blueprint.attributes,
            "label_names": list(build.blueprint.label_names),
            "spec": _portable(build.spec),
            "diagrams": POINTS_NOTE.format(shard_samples=build.layout.shard_samples),
        },
    )
    for column in build.blueprint.columns:
        _create_array(group, build, column)
    for name in build.blueprint.tables:
        _create_table(group, name, getattr(table, name))
    return {f"data.zarr/{name}": value.to_bytes() for name, value in content.items()}


def _portable(spec: StoreSpec) -> dict[str, Any]:
    """The spec without what is no part of the key, so that moved data give the same bytes."""
    return {**spec.replace(recipe="").to_document(), "source": spec.source.identity()}


def _create_array(group: zarr.Group, build: Build, column: Column) -> None:
    shard = column.shard_format(build.layout)
    if column.ragged:
        shape = (build.shards, shard.rows, *shard.row_shape)
        outer, inner = (1, *shape[1:]), (1, shard.chunk_rows, *shard.row_shape)
        first: tuple[str, ...] = ("shard", "point")
    else:
        shape = (build.blueprint.samples, *shard.row_shape)
        outer, inner = (shard.rows, *shape[1:]), (shard.chunk_rows, *shape[1:])
        first = ("sample",)
    group.create_array(
        column.name,
        shape=shape,
        shards=outer,
        chunks=inner,
        dtype=column.dtype,
        fill_value=shard.fill_value,
        filters=None,
        serializer=BytesCodec(endian="little" if shard.dtype.itemsize > 1 else None),
        compressors=_codecs(shard.codec, shard.dtype.itemsize),
        chunk_key_encoding=KEYS,
        dimension_names=[*first, *column.dimensions],
        attributes=dict(column.attributes),
    )


def _create_table(group: zarr.Group, name: str, values: Any) -> None:
    """One array in one chunk: tables are small and read whole."""
    numbers = name == "labels"
    data = np.asarray(values, dtype=np.int64 if numbers else object)
    array = group.create_array(
        name,
        shape=data.shape,
        chunks=data.shape,
        dtype="int64" if numbers else str,
        filters=None,
        compressors=_codecs("blosc-lz4", 8 if numbers else 1),
        chunk_key_encoding=KEYS,
        dimension_names=["sample"],
        config={"write_empty_chunks": True},
    )
    array[:] = data


def _codecs(codec: str, typesize: int) -> list[Any]:
    if codec == "none":
        return [Crc32cCodec()]
    blosc = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=typesize)
    return [blosc, Crc32cCodec()]


def open_zarr(path: str | Path) -> zarr.Group:
    """The arrays of a finished store as a read-only zarr group.

    A file that is missing raises CorruptStore instead of reading as fill values.
    """
    path = Path(path)
    manifest = read_manifest(path)
    store = _Complete(LocalStore(path / "data.zarr", read_only=True), manifest.files)
    return zarr.open_group(store, mode="r", zarr_format=3, use_consolidated=False)


class _Complete(WrapperStore[LocalStore]):
    """A store in which every listed file must be there: zarr itself reads a lost one as fill."""

    def __init__(self, store: LocalStore, listed: Mapping[str, FileEntry]) -> None:
        super().__init__(store)
        self.listed = listed

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As in zarr, but a listed file that is gone raises CorruptStore."""
        place = self._store.root / key
        try:
            value = await super().get(key, prototype, byte_range)
        except OSError as error:
            message = f"{place}: cannot be read: {error.strerror}"
            raise files.failure(StorageFailed, error.errno, message) from error
        if value is None and f"data.zarr/{key}" in self.listed:
            raise CorruptStore(f"{place}: the file is missing; run pi-cache verify")
        return value


def open_zarr_array(path: str | Path) -> zarr.Array[Any]:
    """A user's own array, sliced lazily: Zarr format 2 or 3 with numbers and harmless codecs.

    Raises SourceError before any data is read.
    """
    path = Path(path)
    dtype, names = _array_metadata(path)
    if "O" in dtype or dtype in ("string", "variable_length_bytes", "struct"):
        raise SourceError(f"{path}: arrays of {dtype} are not read; store numbers")
    refused = sorted(names - SAFE_CODECS)
    if refused:
        raise SourceError(
            f"{path}: codec {', '.join(refused)} is not allowed; write the array again with"
            " zstd, blosc, gzip or no compression"
        )
    return zarr.open_array(path, mode="r")


def _array_metadata(path: Path) -> tuple[str, set[str]]:
    """Data type and the names of all codecs, from the metadata alone."""
    for name in ("zarr.json", ".zarray"):
        try:
            metadata = json.loads(files.read_bytes(path / name))
            if name == ".zarray":
                stages = [metadata["compressor"], *(metadata["filters"] or [])]
                return str(metadata["dtype"]), {stage["id"] for stage in stages if stage}
            return _data_type(metadata["data_type"]), set(_codec_names(metadata["codecs"]))
        except (FileNotFoundError, StorageFailed):
            continue
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"{path}: no metadata of a Zarr array ({error!r})") from error
    raise SourceError(f"{path}: no Zarr array here; give the folder that holds zarr.json")


def _data_type(document: Any) -> str:
    return document if isinstance(document, str) else str(document["name"])


def _codec_names(codecs: Sequence[Any]) -> list[str]:
    """Names of codecs, with those inside a sharding codec."""
    names = []
    for codec in codecs:
        name = codec if isinstance(codec, str) else codec["name"]
        names.append(str(name).removeprefix("numcodecs."))
        inner = {} if isinstance(codec, str) else codec.get("configuration", {})
        names += _codec_names([*inner.get("codecs", []), *inner.get("index_codecs", [])])
    return names
