"""Any Zarr reader opens a store; what users hand us is opened with care."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr

from pi_cache import open_zarr
from pi_cache.errors import CorruptStore, SourceError, UnfinishedStore
from pi_cache.store import open_zarr_array
from tests.pi_cache.made import begin_store, make_columns, make_spec, make_store


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
