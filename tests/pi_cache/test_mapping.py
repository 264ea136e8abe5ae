"""Shards mapped one behind the other: the rows of `read`, in one indexing."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pi_cache.mapping
import pi_cache.reader
from pi_cache import Store, open_store
from pi_cache.errors import CorruptStore, InvalidSpec
from pi_cache.layout import Layout, standard_columns
from pi_cache.ledger import finish, missing_shards, write_shard
from pi_cache.mapping import Mapping, fits
from pi_cache.store import begin
from tests.pi_cache.hashing import flip
from tests.pi_cache.made import (
    CHANNELS,
    INPUTS,
    make_columns,
    make_spec,
    make_table,
    shard_columns,
)

NAME = "inputs"  # images of 6 x 6 are too small to be mapped
WHOLE = 1024  # samples of which a shard of any row is a whole number of pages
MAPPED = Layout.mapped(shard_samples=WHOLE, point_capacity=40_000)


def rows_of(samples: int, dtype: str) -> np.ndarray[Any, Any]:
    return (make_columns(make_spec(samples))[NAME] / 3).astype(dtype)


def make(root: Path, samples: int, layout: Layout = MAPPED, dtype: str = "uint8") -> Store:
    spec = make_spec(samples)
    columns = standard_columns(spec.image, CHANNELS, inputs=replace(INPUTS, dtype=dtype))
    build = begin(root, spec, make_table(samples), columns, layout=layout)
    arrays = make_columns(spec) | {NAME: rows_of(samples, dtype)}
    for k in missing_shards(build):
        write_shard(build, k, shard_columns(arrays, build.sample_range(k)))
    finish(build)
    return open_store(build.path)


def several(root: Path) -> Store:
    """A store of three shards."""
    return make(root, 2 * WHOLE + 30)


def damaged(store: Store, k: int) -> Path:
    shard = store.path / f"data.zarr/{NAME}/c.{k}.0.0.0"
    shard.chmod(0o644)
    flip(shard, 1000)
    return shard


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
@pytest.mark.parametrize("samples", [70, 2 * WHOLE + 30])
def test_rows_are_those_that_were_stored(tmp_path: Path, samples: int, dtype: str) -> None:
    store, truth = make(tmp_path, samples, dtype=dtype), rows_of(samples, dtype)
    assert store.is_mapped(NAME)
    rows = np.random.default_rng(0).integers(0, samples, 300)
    for wanted in (rows, np.array([samples - 1, 0, 0]), np.arange(samples)[::-1]):
        store.ahead(NAME, wanted)
        np.testing.assert_array_equal(store.take(NAME, wanted), truth[wanted])
        np.testing.assert_array_equal(store.read(NAME, wanted), truth[wanted])
        np.testing.assert_array_equal(store.read(NAME, -1 - wanted), truth[-1 - wanted])
        out = np.empty((len(wanted), *truth.shape[1:]), dtype)
        np.testing.assert_array_equal(store.read(NAME, wanted, out=out), truth[wanted])
    assert store.take(NAME, rows[:0]).shape == (0, *truth.shape[1:])
    with pytest.raises(IndexError, match="out of bounds"):
        store.take(NAME, np.array([samples]))


def test_what_is_taken_outlives_the_store(tmp_path: Path) -> None:
    store = several(tmp_path)
    rows = np.arange(0, len(store), 7)
    taken = store.take(NAME, rows)
    taken[0] += 0  # a copy that may be written to
    del store
    np.testing.assert_array_equal(taken, rows_of(2 * WHOLE + 30, "uint8")[rows])


@pytest.mark.parametrize(
    "layout",
    [
        Layout(shard_samples=8, chunk_samples=4),
        Layout(shard_samples=8, chunk_samples=1),
        Layout.mapped(shard_samples=8),  # no whole number of pages
    ],
)
def test_other_layouts_are_read_as_ever(tmp_path: Path, layout: Layout) -> None:
    store = make(tmp_path, 70, layout)
    assert not store.is_mapped(NAME)
    rows = np.array([69, 0, 5])
    store.ahead(NAME, rows)
    np.testing.assert_array_equal(store.take(NAME, rows), rows_of(70, "uint8")[rows])
    with pytest.raises(InvalidSpec, match="labels"):
        store.is_mapped("labels")


def test_a_row_that_is_not_aligned_is_not_mapped(tmp_path: Path) -> None:
    store = make(tmp_path, 30, dtype="float64")  # its checksum has half the bytes of a number
    assert not store.is_mapped(NAME)
    rows = np.array([29, 2])
    np.testing.assert_array_equal(store.take(NAME, rows), rows_of(30, "float64")[rows])


def test_a_damaged_shard_gives_no_row(tmp_path: Path) -> None:
    shard = damaged(several(tmp_path), 1)
    store = open_store(shard.parents[2])
    assert store.take(NAME, np.array([0, 2 * WHOLE])).shape[0] == 2
    for rows in (np.array([WHOLE]), np.arange(len(store))):
        for read in (store.take, store.read):
            with pytest.raises(CorruptStore, match=r"c\.1\.0\.0\.0"):
                read(NAME, rows)


@pytest.mark.parametrize("method", ["take", "read"])
def test_a_file_that_is_written_to_is_noticed(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = several(tmp_path)
    store.take(NAME, np.arange(len(store)))
    os.utime(damaged(store, 1), ns=(1, 1))
    monkeypatch.setattr(pi_cache.reader, "UNWATCHED", -1.0)
    with pytest.raises(CorruptStore, match=r"c\.1\.0\.0\.0"):
        getattr(store, method)(NAME, np.array([WHOLE + 3]))


def test_a_shard_that_lacks_rows_is_not_placed(tmp_path: Path) -> None:
    store = make(tmp_path, 70)
    mapping = Mapping(store._formats[NAME], 71)
    assert not mapping.place(0, store._shard(NAME, 0))
    assert not mapping.holds(0)


def test_a_forked_process_reads_the_same(tmp_path: Path) -> None:
    store = several(tmp_path)
    truth = store.take(NAME, np.arange(len(store)))
    child = os.fork()
    if not child:
        same = np.array_equal(store.take(NAME, np.arange(len(store))), truth)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_advice_that_the_system_refuses_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it is short of memory, or knows no such advice."""
    store, asked = make(tmp_path, 70), []

    def refuse(*arguments: int) -> int:
        asked.append(arguments)
        return -1

    functions = pi_cache.mapping._functions() | {"madvise": refuse}
    monkeypatch.setattr(pi_cache.mapping, "_functions", lambda: functions)
    rows = np.array([69, 0, 5])
    store.ahead(NAME, rows)
    np.testing.assert_array_equal(store.take(NAME, rows), rows_of(70, "uint8")[rows])
    assert len(asked) > len(rows)


def test_only_mapped_forms_fit(tmp_path: Path) -> None:
    store = make(tmp_path, 70)
    assert fits(store._formats[NAME], 70)
    assert not fits(store._formats[NAME], 0)
    assert not fits(store._formats["status"], 70)
