"""Single faults, made on purpose, that no loop meets often enough by chance."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pi_cache import files
from pi_cache.catalogue import read_manifest, read_spec
from pi_cache.errors import CorruptStore, UnfinishedStore
from pi_cache.integrity.verification import verify
from pi_cache.ledger import finish, write_shard
from pi_cache.manifest import StoreManifest
from pi_cache.shardfile import OpenFile
from pi_cache.shards import encode
from tests.faults import scratch
from tests.faults.hostile import ask
from tests.faults.hostile_stores import HOME, SPEC, forged, store_files
from tests.faults.small import Small
from tests.faults.struck import installed
from tests.pi_cache.made import begin_store, make_columns, make_store, shard_columns

SMALL = Small(16, 8)


class Naming(files.System):
    """The system, and the names that appeared by links, in order."""

    def __init__(self) -> None:
        self.names: list[Path] = []

    def link(self, source: Path, target: Path) -> None:  # type: ignore[override]
        os.link(source, target)
        self.names.append(target)


def test_files_then_their_record_then_the_manifest(tmp_path: Path) -> None:
    system = Naming()
    with installed(system):
        manifest = SMALL.build(tmp_path)
    store = SMALL.path(tmp_path)
    order = [path.relative_to(store).as_posix() for path in system.names if store in path.parents]
    place = {name: k for k, name in enumerate(order)}
    for k in range(manifest.shards):
        last = max(place[column.shard_file(k)] for column in manifest.columns)
        assert last < place[f"ledger/{k:06d}.json"]
    assert order[-1] == "manifest.json" and set(manifest.files) <= set(order)


def test_a_shard_that_is_damaged_before_the_end_is_no_part_of_a_store(tmp_path: Path) -> None:
    build = begin_store(tmp_path, SPEC)
    columns = make_columns(SPEC)
    for k in range(build.shards):
        write_shard(build, k, shard_columns(columns, build.sample_range(k)))
    shard = build.path / "data.zarr/images/c.1.0.0.0"
    data = bytearray(shard.read_bytes())
    data[30] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UnfinishedStore, match="1 of 3 shards are missing, the first is 1"):
        finish(build)
    assert not (build.path / "manifest.json").exists()


def test_a_flipped_bit_in_what_is_no_part_of_the_key_is_found(tmp_path: Path) -> None:
    path = make_store(tmp_path)
    spec = path / "spec.json"
    spec.write_bytes(spec.read_bytes().replace(b"/somewhere", b"/somewherf"))
    assert [(found.kind, found.path) for found in verify(path)] == [("corrupt", "spec.json")]
    with pytest.raises(CorruptStore, match="does not have its checksum"):
        read_spec(path)


def test_a_name_that_occurs_twice_is_damage(tmp_path: Path) -> None:
    place = make_store(tmp_path) / "manifest.json"
    document = json.loads(place.read_bytes())
    text = place.read_text(encoding="utf-8").replace('{\n "', '{\n "samples": 7,\n "', 1)
    assert json.loads(text) == document, "most parsers take the last one"
    with pytest.raises(CorruptStore, match="a name occurs twice"):
        StoreManifest.from_bytes(text.encode())


def test_a_file_that_changes_while_it_is_hashed_is_not_believed(tmp_path: Path) -> None:
    path = make_store(tmp_path)
    name = "data.zarr/images/c.0.0.0.0"
    entry = read_manifest(path).files[name]
    times = iter(range(1, 1_000_000_000))

    def touch() -> None:
        os.utime(path / name, ns=(0, next(times)))

    file = OpenFile(path / name, entry)
    with pytest.raises(CorruptStore, match="changes while it is read"):
        file.verify(touch)
    file.verify()


@pytest.mark.parametrize("end", [-5, 1 << 40])
def test_offsets_that_are_none_are_refused(end: int) -> None:
    """A store of which every digest is right, made by somebody else."""
    with scratch() as root:
        build = begin_store(root, SPEC)
        columns = shard_columns(make_columns(SPEC), build.sample_range(0))
        columns["offsets"][1, -1] = end
        column = build.blueprint.column("offsets")
        data = encode(columns["offsets"], column.shard_format(build.layout))
    word, told, _ = ask("manifest", forged(store_files(), f"{HOME}{column.shard_file(0)}", data))
    assert word == "refused" and "offsets of diagrams run from" in told, told
