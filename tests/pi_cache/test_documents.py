"""Blueprint, record and manifest: whole or refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pi_cache import open_store
from pi_cache.errors import CorruptStore, InvalidSpec, SourceError, UnsupportedFormat
from pi_cache.layout import Column, Layout, SampleTable
from pi_cache.manifest import Blueprint, ShardRecord, StoreManifest, merged, parse_files
from pi_cache.specs import canonical_digest
from tests.pi_cache.made import begin_store, fill_store, make_spec, make_store

KINDS: dict[str, Any] = {
    "blueprint.json": Blueprint,
    "ledger/000001.json": ShardRecord,
    "ledger/table.json": ShardRecord,
    "manifest.json": StoreManifest,
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("name", KINDS)
def test_round_trip(path: Path, name: str) -> None:
    data = (path / name).read_bytes()
    assert KINDS[name].from_bytes(data).to_bytes() == data


@pytest.mark.parametrize("name", KINDS)
def test_any_flipped_bit_is_refused(path: Path, name: str) -> None:
    data = bytearray((path / name).read_bytes())
    document = json.loads(data)
    for position in range(0, len(data), 7):
        data[position] ^= 1
        try:
            same = json.loads(data) == document
        except ValueError:
            same = False
        if not same:
            with pytest.raises((CorruptStore, UnsupportedFormat), match=r"this|format"):
                KINDS[name].from_bytes(bytes(data))
        data[position] ^= 1


@pytest.mark.parametrize("version", [0, 2, 99])
@pytest.mark.parametrize("name", KINDS)
def test_another_format_version_is_refused(path: Path, name: str, version: int) -> None:
    document = json.loads((path / name).read_bytes())
    document["format_version"] = version
    with pytest.raises(UnsupportedFormat, match=f"format {version} .* reads 1; install a newer"):
        KINDS[name].from_bytes(seal(document))


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_format_version_is_damage(path: Path, name: str) -> None:
    document = json.loads((path / name).read_bytes())
    for version in (0, 3, 5, 9, True, 1.0, "1"):
        with pytest.raises(CorruptStore, match="is damaged: its checksum"):
            KINDS[name].from_bytes(json.dumps(document | {"format_version": version}).encode())


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    path = make_store(tmp_path)
    document = json.loads((path / "manifest.json").read_bytes())
    (path / "manifest.json").write_bytes(seal(document | {"format_version": 2}))
    with pytest.raises(UnsupportedFormat, match=r"manifest.json: manifest format 2"):
        open_store(path)


def seal(document: dict[str, Any]) -> bytes:
    document.pop("checksum", None)
    return json.dumps(document | {"checksum": canonical_digest(document)}).encode()


def test_a_manifest_must_agree_with_itself(path: Path) -> None:
    document = json.loads((path / "manifest.json").read_bytes())
    for change in ({"key": "0" * 64}, {"digest": "0" * 64}):
        with pytest.raises(CorruptStore, match="disagrees with itself"):
            StoreManifest.from_bytes(seal(document | change))
    with pytest.raises(CorruptStore, match="cannot be read"):
        StoreManifest.from_bytes(seal(document | {"more": 1}))


def test_an_array_described_by_a_newer_release(path: Path) -> None:
    document = json.loads((path / "blueprint.json").read_bytes())
    document["columns"][0]["encryption"] = "none"
    with pytest.raises(UnsupportedFormat, match="does not know encryption of the array 'images'"):
        Blueprint.from_bytes(seal(document))


def changed(document: dict[str, Any], place: str, value: Any) -> bytes:
    """The document with one value changed, its digests made to fit again."""
    *folders, last = place.split(" > ")
    inner = document
    for name in folders:
        inner = inner[name]
    if value is None:
        inner.pop(last)
    else:
        inner[last] = value
    if isinstance(document["files"], dict):
        entries = {k: v for k, v in document["files"].items() if isinstance(v, dict)}
        lines = (f"{name}\0{entries[name]['sha256']}\n" for name in sorted(entries))
        document["digest"] = hashlib.sha256("".join(lines).encode()).hexdigest()
    return seal(document)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("samples", 10),
        ("samples", 1000),
        ("samples", "20"),
        ("samples", 20.0),
        ("shards", 1),
        ("shards", True),
        ("key", 5),
        ("diagram_key", "0" * 64),
        ("files", []),
        ("files", {}),
        ("status", {"OK": 5}),
        ("status", {"OK": "20"}),
        ("status", [20]),
        ("statistics", 3),
        ("versions", "new"),
        ("created", 5),
        ("spec", 3),
        ("spec > source > samples", 21),
        ("spec > source", "here"),
        ("blueprint", []),
        ("blueprint > samples", 5),
        ("blueprint > samples", 10**30),
        ("blueprint > key", "0" * 64),
        ("blueprint > columns", 3),
        ("blueprint > columns", [3]),
        ("blueprint > tables", "ids"),
        ("blueprint > tables", ["ids", "other"]),
        ("blueprint > label_names", [1]),
        ("blueprint > attributes", 3),
        ("blueprint > attributes > channels", ["x"]),
        ("blueprint > attributes > channels", 3),
        ("blueprint > layout > shard_samples", "8"),
        ("blueprint > layout > shard_samples", 0),
        ("blueprint > layout > shard_samples", 16),
        ("files > data.zarr/images/c.1.0.0.0", None),
        ("files > data.zarr/ids/c.0", None),
        ("files > x", 3),
        ("files > data.zarr", {"size": "a", "sha256": "0"}),
        ("files > data.zarr", {"size": -1, "sha256": "0"}),
    ],
)
def test_a_manifest_that_was_changed_with_care_is_refused(
    path: Path, place: str, value: Any
) -> None:
    document = json.loads((path / "manifest.json").read_bytes())
    with pytest.raises(CorruptStore, match=r"this manifest|inside data.zarr|size and SHA-256"):
        StoreManifest.from_bytes(changed(document, place, value))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("what", ["deep", "infinite", "surrogate", "digits"])
def test_json_that_python_chokes_on_is_damage(path: Path, name: str, what: str) -> None:
    data = {
        "deep": b'{"a":' * 100_000,
        "infinite": (path / name).read_bytes().replace(b": 1,", b": 1e999,", 1),
        "surrogate": (path / name).read_bytes().replace(b'"key": "', b'"key": "\\ud800', 1),
        "digits": b'{"format_version": ' + b"1" * 10_000 + b"}",
    }[what]
    with pytest.raises(CorruptStore, match="this "):
        KINDS[name].from_bytes(data)


@pytest.mark.parametrize(
    "name", ["../x", "data.zarr/../../x", "/etc/passwd", "manifest.json", "", "data.zarr\\..\\x"]
)
def test_paths_stay_in_the_store(name: str) -> None:
    with pytest.raises(CorruptStore, match=r"only files inside data.zarr"):
        parse_files({name: {"size": 1, "sha256": "0" * 64}})


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"a": NaN}', b'{"a": 1, "a": 1}', b"\xff"])
def test_what_is_no_document(text: bytes) -> None:
    with pytest.raises(CorruptStore, match="this shard record"):
        ShardRecord.from_bytes(text)


def test_statistics_are_merged_by_name() -> None:
    one = {"count": 2, "max_x": 3, "min_x": 1, "histogram": [1, 2], "deep": {"min": 4}}
    two = {"count": 5, "max_x": 2, "min_x": 0, "histogram": [3, 4], "deep": {"min": 9}, "new": 1}
    assert merged([one, two]) == {
        "count": 7,
        "max_x": 3,
        "min_x": 0,
        "histogram": [4, 6],
        "deep": {"min": 4},
        "new": 1,
    }


def test_layout_and_columns_are_checked() -> None:
    assert Layout(shard_samples=100).shard_samples == 104
    assert Layout.mapped(shard_samples=100).shard_samples == 100
    with pytest.raises(InvalidSpec, match="codec must be one of blosc-lz4, none"):
        Layout(codec="zip")
    with pytest.raises(InvalidSpec, match="shard_samples must be at least 1"):
        Layout(shard_samples=0)
    with pytest.raises(InvalidSpec, match="plain word"):
        Column(name="../x", shape=(), dtype="uint8", dimensions=())
    with pytest.raises(InvalidSpec, match="dtype must be one of"):
        Column(name="x", shape=(), dtype="object", dimensions=())
    with pytest.raises(InvalidSpec, match="of one length"):
        Column(name="x", shape=(2,), dtype="uint8", dimensions=())


def test_tables_are_checked() -> None:
    with pytest.raises(SourceError, match="2 ids has 1 labels, 3 groups"):
        SampleTable(ids=["a", "b"], labels=[0], groups=["a", "b", "c"])  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="must be unique"):
        SampleTable(ids=["a", "a"], labels=[0, 1])  # type: ignore[arg-type]


def test_a_table_may_have_neither_groups_nor_splits(tmp_path: Path) -> None:
    from pi_cache.layout import standard_columns
    from pi_cache.store import begin
    from tests.pi_cache.made import CHANNELS

    spec = make_spec(2)
    table = SampleTable(ids=["a", "b"], labels=[0, 1])  # type: ignore[arg-type]
    build = begin(tmp_path, spec, table, standard_columns(spec.image, CHANNELS))
    assert not (build.path / "data.zarr/groups").exists()
    assert begin_store(tmp_path / "x", spec).blueprint.tables == (
        "ids",
        "labels",
        "groups",
        "splits",
    )
    assert fill_store(begin_store(tmp_path / "x", spec)).samples == 2
