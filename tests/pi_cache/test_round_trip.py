"""What was written is what is read, by our reader and by zarr-python alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pi_cache import open_store, open_zarr
from pi_cache.layout import Layout
from pi_cache.specs import DTYPES
from tests.pi_cache.made import (
    CHANNELS,
    make_columns,
    make_spec,
    make_store,
    make_table,
)

CHUNKED = Layout(shard_samples=8, chunk_samples=4, point_capacity=40_000)
MAPPED = Layout.mapped(shard_samples=8)


@pytest.mark.parametrize("layout", [CHUNKED, MAPPED], ids=["chunked", "mapped"])
@pytest.mark.parametrize("samples", [1, 3, 8, 13, 20])
@pytest.mark.parametrize("dtype", DTYPES)
def test_both_readers_give_what_was_written(
    tmp_path: Path, layout: Layout, samples: int, dtype: str
) -> None:
    spec = make_spec(samples, dtype)
    path = make_store(tmp_path, spec, layout)
    store, group, truth = open_store(path), open_zarr(path), make_columns(spec)
    for name in ("images", "status", "inputs"):
        np.testing.assert_array_equal(store.read_all(name), truth[name])
        np.testing.assert_array_equal(group[name][:], truth[name])
        assert store.read_all(name).dtype == truth[name].dtype
    points, offsets = store.diagrams(slice(None))
    np.testing.assert_array_equal(points, truth["points"])
    np.testing.assert_array_equal(offsets, truth["offsets"])
    for i in range(samples):
        for c in range(CHANNELS):
            mine = store.diagram(i, c)
            start, stop = group["offsets"][i, c : c + 2]
            k = i // store.manifest.layout.shard_samples
            np.testing.assert_array_equal(mine, group["points"][k, start:stop])


def test_tables(tmp_path: Path) -> None:
    path = make_store(tmp_path)
    store, group, table = open_store(path), open_zarr(path), make_table(20)
    for name in ("ids", "groups", "splits", "labels"):
        assert list(getattr(store, name)) == list(getattr(table, name))
        assert list(group[name][:]) == list(getattr(table, name))
    assert store.label_names == tuple(table.label_names)
    assert store.channels == ("x", "y", "z")
    assert dict(group.attrs)["channels"] == ["x", "y", "z"]
