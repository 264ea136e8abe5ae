"""Begin a store and open it with zarr. The only importer of zarr.

Metadata and tables are made by zarr in memory and published like every other file; the shards are
written by `pi_cache.ledger` in the same format.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import MemoryStore

from pi_cache import files
from pi_cache.arrays import check_array
from pi_cache.catalogue import check_home, read_manifest, read_spec
from pi_cache.errors import (
    AlreadyPublished,
    CorruptStore,
    InvalidSpec,
    SourceError,
)
from pi_cache.firsttouch import Check, FirstTouch
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
from pi_cache.manifest import TABLE_SHARD, Blueprint, StoreManifest, is_as_written
from pi_cache.metadata import metadata_problems
from pi_cache.remote.address import is_remote
from pi_cache.root import STORES, ensure_root
from pi_cache.shardfile import REMEDY, OpenFile, ShardFile, located
from pi_cache.shards import POINT_CODEC, ZSTD_LEVEL, check_table
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

DATA = "data.zarr/"
KEYS: Any = {"name": "default", "configuration": {"separator": "."}}
"""Chunk names without folders: a new folder costs an fsync of its own."""


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
    ensure_root(Path(root))
    path = Path(root) / STORES / spec.key
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
        write_files(build, TABLE_SHARD, metadata(build, table))
    return build


def _settle(path: Path, blueprint: Blueprint) -> Blueprint:
    """The blueprint of the first builder, which may be this one.

    One that is gone or damaged is taken from the manifest, if there is one.
    """
    place = path / "blueprint.json"
    for _ in range(REWRITES):
        manifest = existing_manifest(path)
        existing, whole = _read_blueprint(place)
        if existing is not None:
            _check_agrees(existing, blueprint, place)
        elif manifest is not None:
            _check_agrees(manifest.blueprint, blueprint, path / "manifest.json")
        if existing is not None and whole:
            return existing
        if not whole:
            files.move_aside(place, path / "quarantine")
        settled = existing or (blueprint if manifest is None else manifest.blueprint)
        try:
            files.publish(place, settled.to_bytes(), temporary=path / "tmp")
            return settled
        except AlreadyPublished:
            continue
    raise CorruptStore(f"{place}: other builders keep changing it")


def _read_blueprint(place: Path) -> tuple[Blueprint | None, bool]:
    """The blueprint that can be read, and whether nothing is wrong with what lies there."""
    try:
        data = files.read_bytes(place)
    except FileNotFoundError:
        return None, True
    try:
        return Blueprint.from_bytes(data), is_as_written(data)
    except CorruptStore:
        return None, False


def _publish_spec(build: Build) -> None:
    """Publish spec.json, unless one with this key is there (`location` may differ)."""
    place = build.path / "spec.json"
    try:
        if read_spec(build.path).key == build.spec.key and is_as_written(files.read_bytes(place)):
            return
    except (FileNotFoundError, CorruptStore):
        pass
    publish_or_replace(build, {place: build.spec.to_bytes()})


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


def metadata(build: Build, table: SampleTable) -> dict[str, bytes]:
    """Zarr metadata of every array, and the tables, by path inside the store folder."""
    content: dict[str, Buffer] = {}
    attributes = {
        **build.blueprint.attributes,
        "label_names": list(build.blueprint.label_names),
        "spec": _portable(build.spec),
    }
    if any(column.ragged for column in build.blueprint.columns):
        attributes["diagrams"] = POINTS_NOTE.format(shard_samples=build.layout.shard_samples)
    group = zarr.create_group(MemoryStore(store_dict=content), zarr_format=3, attributes=attributes)
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
    if codec == POINT_CODEC:
        zstd = BloscCodec(cname="zstd", clevel=ZSTD_LEVEL, shuffle="bitshuffle", typesize=typesize)
        return [zstd, Crc32cCodec()]
    blosc = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=typesize)
    return [blosc, Crc32cCodec()]


def open_zarr(path: str | Path, *, check: Check = "first-touch") -> zarr.Group:
    """The arrays of a finished store as a read-only zarr group.

    check: as in `open_store`. Only what the manifest lists is read, and only types, codecs and
    shapes of its blueprint are opened. A file that is missing or damaged raises CorruptStore
    instead of reading as fill values.
    """
    if is_remote(path):
        raise InvalidSpec(
            f"{path}: zarr reads it there: zarr.open_group('{path}/data.zarr', mode='r'); or"
            f" pi-cache pull {path}"
        )
    path = Path(path)
    manifest = read_manifest(path)
    store = _Finished(path, manifest, check)
    problems = list(metadata_problems(path, manifest, set(manifest.files), store.document))
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        listed = "; ".join(f"{name}: {problem}" for name, problem in problems[:3])
        raise CorruptStore(f"{path}: {listed}{more}; {REMEDY}")
    try:
        group = zarr.open_group(store, mode="r", zarr_format=3, use_consolidated=False)
        for name in (*(column.name for column in manifest.columns), *manifest.blueprint.tables):
            group[name]
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptStore(f"{path}: zarr {zarr.__version__} cannot open it: {error}") from error
    return group


class _Finished(Store):
    """What the manifest of a finished store lists below `data.zarr`, each file checked before."""

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, path: Path, manifest: StoreManifest, check: Check) -> None:
        super().__init__(read_only=True)
        self.path = path
        self.manifest = manifest
        self._touch = FirstTouch(path, manifest.files, check)
        self._touch.check_sizes()
        self._formats = {c.name: c.shard_format(manifest.layout) for c in manifest.columns}
        self._sound: set[str] = set()
        below = len(DATA)
        self._keys = [name[below:] for name in manifest.files if name.startswith(DATA)]

    def __reduce__(self) -> tuple[Any, ...]:
        return _finished, (self.path, self._touch.check, self.manifest.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Finished) and self.__reduce__() == other.__reduce__()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<finished store {self.path}>"

    def document(self, path: Path) -> bytes:
        """All bytes of a listed file."""
        file = self._touch.open(path.relative_to(self.path).as_posix())
        return file.read(0, file.entry.size)

    def _bytes(self, key: str, wanted: ByteRequest | None) -> bytes | None:
        """The wanted bytes; None for what the manifest does not list: it is not of this store."""
        listed = DATA + key
        if listed not in self.manifest.files:
            return None
        file = self._touch.open(listed)
        if listed not in self._sound:
            self._check_blocks(key, file)
            self._sound.add(listed)
        start, stop = _range(wanted, file.entry.size)
        return file.read(start, stop - start)

    def _check_blocks(self, key: str, file: OpenFile) -> None:
        """Zarr hands blocks to decoders that trust them: their lengths and counts must be right."""
        name, _, rest = key.partition("/")
        if rest == "zarr.json" or not rest:
            return
        if name in self._formats:
            ShardFile(file, self._formats[name]).check_blocks()
        else:
            with located(file.path):
                data = file.read(0, file.entry.size)
                check_table(data, self.manifest.samples, numbers=name == "labels")

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Bytes of a file. Raises CorruptStore, StorageFailed."""
        data = await asyncio.to_thread(self._bytes, key, byte_range)
        return None if data is None else prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """As `get`, several times."""
        return [await self.get(key, prototype, wanted) for key, wanted in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether the manifest lists it."""
        return DATA + key in self.manifest.files

    async def list(self) -> AsyncIterator[str]:
        """All keys."""
        for key in self._keys:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """All keys that start so."""
        for key in self._keys:
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names of files and folders in a folder."""
        above = f"{prefix.rstrip('/')}/" if prefix else ""
        inside = (key.removeprefix(above) for key in self._keys if key.startswith(above))
        for name in dict.fromkeys(key.partition("/")[0] for key in inside):
            yield name

    async def set(self, key: str, value: Buffer) -> None:
        """Refused."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refused."""
        self._check_writable()


def _finished(path: Path, check: Check, digest: str) -> _Finished:
    """The same store in another process."""
    store = _Finished(path, read_manifest(path), check)
    if store.manifest.digest != digest:
        raise CorruptStore(f"{path}: another store lies here than when this one was sent")
    return store


def _range(wanted: ByteRequest | None, size: int) -> tuple[int, int]:
    """First byte and end of a request, inside the file."""
    start, stop = 0, size
    if isinstance(wanted, RangeByteRequest):
        start, stop = wanted.start, wanted.end
    elif isinstance(wanted, OffsetByteRequest):
        start = wanted.offset
    elif isinstance(wanted, SuffixByteRequest):
        start = size - wanted.suffix
    start = min(max(start, 0), size)
    return start, min(max(stop, start), size)


def open_zarr_array(path: str | Path) -> zarr.Array[Any]:
    """A user's own array, sliced lazily: Zarr format 2 or 3 with numbers and harmless codecs.

    Raises SourceError before any data is read.
    """
    check_array(Path(path))
    try:
        return zarr.open_array(Path(path), mode="r")
    except Exception as error:  # zarr raises almost anything for metadata of a wrong form
        raise SourceError(f"{path}: zarr cannot open this array ({error!r:.200})") from error
