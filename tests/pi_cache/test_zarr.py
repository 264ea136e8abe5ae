"""Any Zarr reader opens a store; what users hand us is opened with care."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from numcodecs import blosc

from pi_cache import open_store, open_zarr
from pi_cache.errors import CorruptStore, SourceError, StoreNotFound, UnfinishedStore
from pi_cache.layout import Layout, standard_columns
from pi_cache.shards import CHECKSUM, parse_index
from pi_cache.store import open_zarr_array
from tests.pi_cache.forged import forge_json, with_checksum
from tests.pi_cache.hashing import flip
from tests.pi_cache.made import begin_store, make_columns, make_spec, make_store
from tests.pi_cache.resealed import forge


def test_plain_zarr_reads_a_store_without_our_help(tmp_path: Path) -> None:
    path = make_store(tmp_path)
    group: Any = zarr.open_group(path / "data.zarr", mode="r")
    truth = make_columns(make_spec())
    assert sorted(group.array_keys()) == sorted(
        ["images", "status", "inputs", "points", "offsets", "ids", "labels", "groups", "splits"]
    )
    np.testing.assert_array_equal(group["images"][:], truth["images"])
    assert group["images"].metadata.dimension_names == (
        "sample",
        "channel",
        "persistence",
        "birth",
    )
    assert len(group["images"].attrs["lower_cell_edges"]["birth"]) == 6
    assert group["status"].attrs["codes"]["OK"] == 0
    assert "points[s, offsets[i, c]" in group.attrs["diagrams"]
    assert group.attrs["spec"]["key"] == make_spec().key
    assert "somewhere" not in json.dumps(dict(group.attrs))


def test_a_store_is_read_only(tmp_path: Path) -> None:
    group: Any = open_zarr(make_store(tmp_path))
    with pytest.raises(ValueError, match="read-only"):
        group["status"][0] = 1


def test_a_lost_shard_does_not_read_as_fill(tmp_path: Path) -> None:
    path = make_store(tmp_path)
    group: Any = open_zarr(path)
    (path / "data.zarr/images/c.1.0.0.0").unlink()
    assert np.isfinite(group["images"][:8]).all()
    with pytest.raises(CorruptStore, match=r"images/c.1.0.0.0: the file is missing"):
        group["images"][8:16]
    with pytest.raises(CorruptStore, match="the file is missing"):
        group["images"][8]
    with pytest.raises(CorruptStore, match=r"images/c.1.0.0.0 is missing"):
        open_zarr(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """A store that the test may damage."""
    return shutil.copytree(made, tmp_path / made.name)


@pytest.mark.parametrize(
    "listed", ["images/c.1.0.0.0", "points/c.0.0.0", "ids/c.0", "labels/c.0", "offsets/c.2.0"]
)
def test_damage_is_found_before_zarr_decodes_any_byte(own: Path, listed: str) -> None:
    group: Any = open_zarr(own)
    flip(own / "data.zarr" / listed, 17)
    for opened in (group, open_zarr(own)):
        with pytest.raises(
            CorruptStore, match=rf"{listed}: expected SHA-256 \w{{64}}, got \w{{64}}"
        ):
            opened[listed.partition("/")[0]][:]


@pytest.mark.parametrize("listed", ["zarr.json", "images/zarr.json", "ids/zarr.json"])
def test_damaged_metadata_opens_nothing(own: Path, listed: str) -> None:
    flip(own / "data.zarr" / listed, 17)
    with pytest.raises(CorruptStore, match=rf"{listed}: expected SHA-256 \w{{64}}, got \w{{64}}"):
        open_zarr(own)


def test_a_file_that_nobody_lists_is_not_read(own: Path) -> None:
    (own / "data.zarr/foreign").mkdir()
    for name in ("images/c.3.0.0.0", "foreign/zarr.json"):
        shutil.copy(own / "data.zarr/images/zarr.json", own / "data.zarr" / name)
    group: Any = open_zarr(own)
    assert sorted(group) == sorted(zarr_arrays())
    with pytest.raises(KeyError, match="foreign"):
        group["foreign"]


def zarr_arrays() -> list[str]:
    return ["images", "status", "inputs", "points", "offsets", "ids", "labels", "groups", "splits"]


def test_a_group_goes_to_other_processes(own: Path) -> None:
    group: Any = open_zarr(own)
    again = pickle.loads(pickle.dumps(group))
    np.testing.assert_array_equal(again["images"][3:12], group["images"][3:12])
    assert again.store == group.store
    other = make_store(own.parent / "other", make_spec(21))
    data = pickle.dumps(group)
    shutil.rmtree(own)
    other.rename(own.with_name("moved"))
    with pytest.raises(StoreNotFound, match="no store in"):
        pickle.loads(data)


ARRAY, TABLE = "data.zarr/images/zarr.json", "data.zarr/ids/zarr.json"


def inner(document: Any) -> Any:
    return document["codecs"][0]["configuration"]


PICKLE = {"name": "pickle", "configuration": {}}
HOSTILE: dict[str, tuple[str, Callable[[Any], object]]] = {
    "codec": (ARRAY, lambda d: d["codecs"].append(PICKLE)),
    "codec in place of ours": (ARRAY, lambda d: d.update(codecs=[PICKLE])),
    "inner codec": (ARRAY, lambda d: inner(d)["codecs"].insert(1, PICKLE)),
    "codec of numcodecs": (
        ARRAY,
        lambda d: inner(d)["codecs"].insert(1, {"name": "numcodecs.pickle"}),
    ),
    "index codec": (ARRAY, lambda d: inner(d)["index_codecs"].insert(0, PICKLE)),
    "codec by name alone": (ARRAY, lambda d: d.update(codecs=["pickle"])),
    "place of the index": (ARRAY, lambda d: inner(d).update(index_location="start")),
    "codec of a table": (TABLE, lambda d: d["codecs"].__setitem__(0, {"name": "vlen-bytes"})),
    "Blosc of another kind": (
        ARRAY,
        lambda d: inner(d)["codecs"][1]["configuration"].update(cname="zstd"),
    ),
    "objects": (ARRAY, lambda d: d.update(data_type="object")),
    "dtype": (ARRAY, lambda d: d.update(data_type="float64")),
    "dtype of a table": (TABLE, lambda d: d.update(data_type="variable_length_bytes")),
    "shape": (ARRAY, lambda d: d["shape"].__setitem__(0, 2**60)),
    "dimensions": (ARRAY, lambda d: d["shape"].append(1)),
    "chunks": (
        ARRAY,
        lambda d: d["chunk_grid"]["configuration"]["chunk_shape"].__setitem__(0, 2**60),
    ),
    "inner chunks": (ARRAY, lambda d: inner(d)["chunk_shape"].__setitem__(0, 2**40)),
    "keys": (ARRAY, lambda d: d["chunk_key_encoding"].update(name="v2")),
    "fill": (ARRAY, lambda d: d.update(fill_value=0.0)),
    "format": (ARRAY, lambda d: d.update(zarr_format=2)),
    "node": (ARRAY, lambda d: d.update(node_type="group")),
    "transformer": (ARRAY, lambda d: d.update(storage_transformers=[{"name": "x"}])),
    "something new": (ARRAY, lambda d: d.update(plugin={"must_understand": False})),
    "axes": (ARRAY, lambda d: d["attributes"].clear()),
    "names of axes": (ARRAY, lambda d: d.update(dimension_names=["a", "b", "c", "d"])),
    "a copy of all metadata": (
        "data.zarr/zarr.json",
        lambda d: d.update(consolidated_metadata={"metadata": {}}),
    ),
    "group of another store": (
        "data.zarr/zarr.json",
        lambda d: d["attributes"]["spec"].update(key="0" * 64),
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_only_what_we_write_is_opened(
    own: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Its digests are right: somebody made this store. Zarr is not even asked."""
    listed, change = HOSTILE[what]
    forge_json(own, listed, change)
    monkeypatch.delattr(zarr, "open_group")
    with pytest.raises(CorruptStore, match=rf"{listed}: .*(expected|not known here|nobody checks)"):
        open_zarr(own)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"3", b'{"a":' * 100_000, b"\xff" * 9])
def test_metadata_that_is_none(own: Path, data: bytes) -> None:
    forge(own, ARRAY, data)
    with pytest.raises(CorruptStore, match=r"images/zarr.json: (cannot be read|is no JSON object)"):
        open_zarr(own)


def test_metadata_without_end_is_not_read(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pi_cache.metadata.LIMIT", 500)
    with pytest.raises(CorruptStore, match=r"images/zarr.json: has \d+ bytes, at most 500"):
        open_zarr(own)


def test_metadata_that_zarr_refuses_is_one_sentence(own: Path) -> None:
    def more(document: Any) -> None:
        inner(document)["codecs"][1]["configuration"]["surprise"] = 1

    forge_json(own, ARRAY, more)
    with pytest.raises(CorruptStore, match=r"zarr \S+ cannot open it: .*surprise"):
        open_zarr(own)


def test_blocks_that_lie_are_refused_before_zarr_sees_them(own: Path) -> None:
    """Blosc reads as far as its header says."""
    listed = "data.zarr/images/c.0.0.0.0"
    shard = standard_columns(make_spec().image, 3)[0].shard_format(
        Layout(shard_samples=8, chunk_samples=4)
    )
    data = (own / listed).read_bytes()
    offset, size = parse_index(data[-shard.index_bytes :], shard)[0].tolist()
    block = bytearray(data[offset : offset + size - CHECKSUM])
    block[12:16] = (1 << 20).to_bytes(4, "little")
    forge(own, listed, data[:offset] + with_checksum(bytes(block)) + data[offset + size :])
    group: Any = open_zarr(own)
    with pytest.raises(CorruptStore, match=r"c.0.0.0.0: a Blosc block of \d+ bytes says that it"):
        group["images"][0]
    assert np.isfinite(group["images"][8:]).all()


def table(packed: bytes) -> bytes:
    return with_checksum(blosc.compress(packed, b"lz4", 5, blosc.SHUFFLE))


@pytest.mark.parametrize(
    ("name", "packed", "message"),
    [
        ("ids", (2**32 - 1).to_bytes(4, "little"), "says that it has 4294967295 strings"),
        ("ids", bytes(4), "has 0 entries, the store 20 samples"),
        ("labels", bytes(8 * 21), "has 21 entries, the store 20 samples"),
        ("labels", bytes(3), "has 0.375 entries"),
        ("ids", (20).to_bytes(4, "little") + bytes([9, 9, 9, 9]) * 20, "corrupt|truncated|beyond"),
    ],
)
def test_tables_that_lie_are_refused(own: Path, name: str, packed: bytes, message: str) -> None:
    forge(own, f"data.zarr/{name}/c.0", table(packed))
    with pytest.raises(CorruptStore, match=rf"{name}/c.0: .*({message})"):
        getattr(open_store(own), name)
    if "corrupt" not in message:  # this one any decoder refuses itself
        with pytest.raises(CorruptStore, match=rf"{name}/c.0: .*{message}"):
            open_zarr(own)[name][:]  # type: ignore[index]


def test_an_unfinished_store_is_not_opened(tmp_path: Path) -> None:
    build = begin_store(tmp_path, make_spec())
    with pytest.raises(UnfinishedStore, match="begun and not finished"):
        open_zarr(build.path)
    group: Any = zarr.open_group(build.path / "data.zarr", mode="r")
    assert np.isnan(group["images"][:]).all() and (group["status"][:] == 255).all()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_users_array(tmp_path: Path, zarr_format: Any, dtype: str) -> None:
    path = tmp_path / "사용자 배열"
    data = np.arange(60, dtype=dtype).reshape(10, 6)
    array = zarr.create_array(
        path, shape=data.shape, chunks=(4, 6), dtype=dtype, zarr_format=zarr_format
    )
    array[:] = data
    opened = open_zarr_array(path)
    assert opened.shape == (10, 6) and opened.dtype == dtype
    np.testing.assert_array_equal(opened[3:5], data[3:5])


def test_sharded_users_array(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "a", shape=(8, 2), shards=(4, 2), chunks=(2, 2), dtype="f4"
    )
    array[:] = 3
    assert (np.asarray(open_zarr_array(tmp_path / "a")[:]) == 3).all()


def v2(path: Path, **changes: Any) -> Path:
    """Metadata of a version 2 array, with what an attacker would put there."""
    path.mkdir()
    metadata = {
        "zarr_format": 2,
        "shape": [1],
        "chunks": [1],
        "dtype": "<f4",
        "order": "C",
        "fill_value": 0,
        "compressor": None,
        "filters": None,
    }
    (path / ".zarray").write_text(json.dumps(metadata | changes))
    (path / "0").write_bytes(numcodecs.Pickle().encode(np.array([1.0], dtype=object)))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "|O"}, "arrays of |O are not read"),
        ({"filters": [{"id": "pickle"}]}, "codec pickle is not allowed"),
        ({"compressor": {"id": "pickle"}}, "codec pickle is not allowed"),
        ({"compressor": {"id": "json2"}}, "codec json2 is not allowed"),
    ],
)
def test_codecs_that_could_run_code_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SourceError, match=message.replace("|", r"\|")):
        open_zarr_array(v2(tmp_path / "a", **changes))


def test_version_3_codecs_are_checked_inside_shards(tmp_path: Path) -> None:
    path = tmp_path / "a"
    zarr.create_array(path, shape=(8,), shards=(4,), chunks=(2,), dtype="f4")
    metadata = json.loads((path / "zarr.json").read_text())
    inner = metadata["codecs"][0]["configuration"]["codecs"]
    inner.append({"name": "numcodecs.pickle", "configuration": {}})
    (path / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(SourceError, match="codec pickle is not allowed"):
        open_zarr_array(path)


def test_what_is_no_array(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"give the folder that holds zarr.json"):
        open_zarr_array(tmp_path)
    zarr.create_group(tmp_path / "group")
    with pytest.raises(SourceError, match="no metadata of a Zarr array"):
        open_zarr_array(tmp_path / "group")
    strings = zarr.create_array(tmp_path / "strings", shape=(2,), dtype=str)
    assert strings.shape == (2,)
    with pytest.raises(SourceError, match="arrays of string are not read"):
        open_zarr_array(tmp_path / "strings")
