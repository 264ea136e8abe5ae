"""Stores of format 1 stay readable, and `docs/format.md` is enough to read them.

The reader below imports nothing of this project: it is written from that page.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr
from numcodecs import blosc
from numpy.typing import NDArray

from pi_cache.integrity.verification import verify
from pi_cache.reader import open_store

FIXTURES = Path(__file__).parents[1] / "fixtures" / "format-1"
LAYOUTS = ("compressed", "mapped")
KEY = "b3ab1f9ca1f0e1e996a5891897f84ceffba3864dff428d2f0c54244fcae28592"


def canonical(document: object) -> bytes:
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class ByThePage:
    """A store, read as `docs/format.md` says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = self.sealed("manifest.json")
        self.blueprint = self.manifest["blueprint"]
        self.samples, self.layout = self.manifest["samples"], self.blueprint["layout"]

    def sealed(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.path / name).read_bytes())
        checksum = document.pop("checksum")
        assert document["format_version"] == 1
        assert checksum == sha256(canonical(document)), name
        return document

    def file(self, name: str) -> bytes:
        data = (self.path / name).read_bytes()
        entry = self.manifest["files"][name]
        assert (len(data), sha256(data)) == (entry["size"], entry["sha256"]), name
        return data

    def unpacked(self, data: bytes, codec: str) -> bytes:
        body, checksum = data[:-4], struct.unpack("<I", data[-4:])[0]
        assert google_crc32c.value(body) == checksum
        return body if codec == "none" else bytes(blosc.decompress(body))

    def shard(self, column: dict[str, Any], k: int, rows: int) -> NDArray[Any]:
        """The first `rows` rows of shard k of an array."""
        dtype = np.dtype(column["dtype"]).newbyteorder("<")
        size = self.layout["shard_samples"]
        row_bytes = dtype.itemsize * int(np.prod(column["shape"]))
        chunk, codec = self.layout["chunk_samples"], self.layout["codec"]
        if column["ragged"]:
            size, chunk, codec = self.layout["point_capacity"], 16_384, "blosc"
        elif row_bytes < 512:
            chunk, codec = size, "blosc"
        zeros = ".0.0" if column["ragged"] else ".0" * len(column["shape"])
        data = self.file(f"data.zarr/{column['name']}/c.{k}{zeros}")
        tail = data[-16 * (size // chunk) - 4 :]
        assert google_crc32c.value(tail[:-4]) == struct.unpack("<I", tail[-4:])[0]
        index = np.frombuffer(tail[:-4], "<u8").reshape(-1, 2).tolist()
        places = [place for place in index if place[0] != 2**64 - 1]
        chunks = [self.unpacked(data[a : a + n], codec) for a, n in places]
        values = np.frombuffer(b"".join(chunks), dtype)
        return values.reshape(-1, *column["shape"])[:rows]

    def array(self, name: str) -> NDArray[Any]:
        column = next(c for c in self.blueprint["columns"] if c["name"] == name)
        size = self.layout["shard_samples"]
        counts = [min(size, self.samples - k * size) for k in range(self.manifest["shards"])]
        return np.concatenate([self.shard(column, k, n) for k, n in enumerate(counts)])

    def points(self, sample: int, channel: int) -> NDArray[Any]:
        column = next(c for c in self.blueprint["columns"] if c["name"] == "points")
        first, last = self.array("offsets")[sample, channel : channel + 2].tolist()
        return self.shard(column, sample // self.layout["shard_samples"], last)[first:]

    def labels(self) -> NDArray[Any]:
        return np.frombuffer(self.unpacked(self.file("data.zarr/labels/c.0"), "blosc"), "<i8")

    def strings(self, name: str) -> list[str]:
        data = self.unpacked(self.file(f"data.zarr/{name}/c.0"), "blosc")
        (count,), place, found = struct.unpack("<I", data[:4]), 4, []
        for _ in range(count):
            (length,) = struct.unpack("<I", data[place : place + 4])
            found.append(data[place + 4 : place + 4 + length].decode())
            place += 4 + length
        return found


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(layout: str) -> Path:
    return FIXTURES / layout / "stores" / KEY


@pytest.fixture
def truth(layout: str) -> dict[str, NDArray[Any]]:
    with np.load(FIXTURES / f"{layout}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def test_the_page_is_enough_to_read_a_store(path: Path, truth: dict[str, NDArray[Any]]) -> None:
    store = ByThePage(path)
    for name in ("images", "status", "inputs"):
        np.testing.assert_array_equal(store.array(name), truth[name])
    np.testing.assert_array_equal(store.labels(), truth["labels"])
    for name in ("ids", "groups", "splits"):
        assert store.strings(name) == truth[name].tolist()
    assert truth["offsets"].shape[1] == 2 and not np.isfinite(truth["points"]).all()
    for sample, (first, last) in enumerate(truth["offsets"].tolist()):
        np.testing.assert_array_equal(store.points(sample, 0), truth["points"][first:last])
    assert store.array("images")[3].max() == 0 and store.array("status")[3] == 5


def test_the_page_gives_keys_and_digests(path: Path) -> None:
    store, spec = ByThePage(path), json.loads((path / "spec.json").read_bytes())
    identity = ("kind", "sample", "samples", "channels", "fingerprint")
    named = {
        "algorithm": spec["algorithm"],
        "diagram": spec["diagram"],
        "source": {name: spec["source"][name] for name in identity},
    }
    assert store.manifest["diagram_key"] == sha256(canonical(named))
    assert path.name == sha256(canonical(named | {"image": spec["image"]}))
    files = store.manifest["files"]
    lines = "".join(f"{name}\0{files[name]['sha256']}\n" for name in sorted(files))
    assert store.manifest["digest"] == sha256(lines.encode())
    assert sum(store.manifest["status"].values()) == store.samples
    cut = {name: store.blueprint[name] for name in ("columns", "layout")}
    for k in range(store.manifest["shards"]):
        record = store.sealed(f"ledger/{k:06d}.json")
        assert record["blueprint"] == sha256(canonical(cut)) and record["shard"] == k
        assert record["files"].items() <= files.items()
    assert store.sealed("ledger/table.json")["shard"] == -1
    assert {k: v for k, v in store.sealed("blueprint.json").items() if k != "format_version"} == (
        store.blueprint
    )


def test_this_release_reads_it(path: Path, truth: dict[str, NDArray[Any]]) -> None:
    store = open_store(path)
    for name in ("images", "status", "inputs"):
        np.testing.assert_array_equal(store.read_all(name), truth[name])
    points, offsets = store.diagrams(slice(None))
    np.testing.assert_array_equal(points, truth["points"])
    np.testing.assert_array_equal(offsets, truth["offsets"])
    assert store.ids.tolist() == truth["ids"].tolist()
    assert store.labels.tolist() == truth["labels"].tolist()
    assert verify(path) == []


def test_any_zarr_reader_reads_it(path: Path, truth: dict[str, NDArray[Any]]) -> None:
    group: Any = zarr.open_group(path / "data.zarr", mode="r")
    for name in ("images", "status", "inputs", "labels", "ids", "groups", "splits"):
        np.testing.assert_array_equal(group[name][:], truth[name])


def test_a_build_finds_it(path: Path) -> None:
    """The key of the same request is still the same: nothing is computed twice."""
    assert open_store(path).spec.key == KEY
