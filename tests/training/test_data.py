"""What a dataset delivers is what plain zarr-python reads, by every way of asking."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch.utils.data import BatchSampler, ConcatDataset, DataLoader, Subset  # noqa: E402

from pi_cache import open_store, open_zarr  # noqa: E402
from pi_cache.errors import CorruptStore, StoreNotFound, UnfinishedStore  # noqa: E402
from pi_cache.specs import DTYPES, Status  # noqa: E402
from tests.pi_cache.made import (  # noqa: E402
    CHANNELS,
    PIXELS,
    begin_store,
    make_columns,
    make_spec,
    make_store,
    make_table,
)
from tests.training.conftest import LAYOUTS, SAMPLES  # noqa: E402
from training.data import NAMES, Batch, PersistenceImageDataset  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]

ignore_fork_warnings = pytest.mark.filterwarnings(
    # Python 3.12+ warns of any fork beside threads, and torch has threads; what is tested here is
    # that our reader survives it, as DataLoader forks by default on Linux up to Python 3.13.
    "ignore:.*multi-threaded, use of fork:DeprecationWarning",
    # On a machine of one core.
    "ignore:This DataLoader will create:UserWarning",
)


def halved(image: Any) -> Any:
    return image / 2


def damage(path: Path, pattern: str = "data.zarr/images/c.1.*") -> Path:
    """Flip one bit in the middle of a shard, so that its size stays."""
    (shard,) = path.glob(pattern)
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(data)
    return shard


def assert_same(one: Any, other: Any) -> None:
    """Equal structures: tensors with their types, lists and numbers."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), list(other.values())
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


# What is delivered


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_stored_values_are_those_of_zarr(tmp_path: Path, dtype: str, layout: str) -> None:
    path = make_store(tmp_path, make_spec(20, dtype), LAYOUTS[layout])
    group = open_zarr(path)
    ok = np.flatnonzero(group["status"][:] == Status.OK)
    dataset = PersistenceImageDataset(path, dtype="stored")
    images, labels = dataset[:]
    assert images.dtype == getattr(torch, dtype)
    np.testing.assert_array_equal(images.numpy(), group["images"][:][ok])
    np.testing.assert_array_equal(labels.numpy(), group["labels"][:][ok])
    assert dataset.ids.tolist() == group["ids"][:][ok].tolist()
    assert dataset.index.tolist() == ok.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_float32_by_default_and_bytes_in_the_unit_interval(tmp_path: Path, dtype: str) -> None:
    path = make_store(tmp_path, make_spec(20, dtype))
    stored = PersistenceImageDataset(path, dtype="stored")[:][0].numpy()
    images, _ = PersistenceImageDataset(path)[:]
    assert images.dtype == torch.float32
    expected = stored / np.float32(255) if dtype == "uint8" else stored.astype(np.float32)
    np.testing.assert_array_equal(images.numpy(), expected)
    assert 0 <= images.min() <= images.max() <= 1


def test_inputs_come_as_stored_unless_a_dtype_asks(path: Path, ok: np.ndarray) -> None:
    truth = make_columns(make_spec(SAMPLES))["inputs"][ok]
    stored = PersistenceImageDataset(path, names=["inputs"])[:]["inputs"]
    np.testing.assert_array_equal(stored.numpy(), truth)
    assert stored.dtype == torch.uint8
    wide = PersistenceImageDataset(path, names=["inputs"], dtype={"inputs": torch.float64})
    np.testing.assert_array_equal(wide[:]["inputs"].numpy(), truth)


def test_inputs_made_float_are_divided_by_their_maximum(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = PersistenceImageDataset(path, names=["inputs"], dtype={"inputs": "float32"})
    raw = dataset[:]["inputs"]
    attributes = dataset.store.column("inputs").attributes
    monkeypatch.setitem(attributes, "maximum", 16.0)  # type: ignore[arg-type]
    assert torch.equal(dataset[:]["inputs"], raw / 16)


def test_named_samples(path: Path, ok: np.ndarray) -> None:
    dataset, table = PersistenceImageDataset(path, names=NAMES), make_table(SAMPLES)
    sample = dataset[1]
    assert set(sample) == set(NAMES)
    assert sample["index"] == ok[1]
    assert sample["labels"] == table.labels[ok[1]]
    for name in ("ids", "groups", "splits"):
        assert sample[name] == getattr(table, name)[ok[1]]
        assert dataset[:][name] == [getattr(table, name)[i] for i in ok]
        assert getattr(dataset, name).tolist() == dataset[:][name]


def test_it_describes_itself(path: Path) -> None:
    store, dataset = open_store(path), PersistenceImageDataset(path)
    assert (dataset.key, dataset.spec) == (store.key, store.spec)
    assert dataset.label_names == ("걷기", "sit", "stand", "lie")
    assert dataset.shape == (CHANNELS, PIXELS, PIXELS) == tuple(dataset[0][0].shape)
    np.testing.assert_array_equal(dataset.axis("birth"), store.axis("birth"))
    assert PersistenceImageDataset(dataset.key[:8], root=path.parents[1]).key == dataset.key


def test_a_store_that_is_not_there_or_not_finished(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound, match="no store"):
        PersistenceImageDataset("abcdef", root=tmp_path)
    with pytest.raises(UnfinishedStore, match="not finished"):
        PersistenceImageDataset(begin_store(tmp_path, make_spec()).path)


# Every way of asking gives the same


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_batch_is_its_samples(path: Path, data: st.DataObject) -> None:
    dataset = PersistenceImageDataset(
        path,
        names=data.draw(st.sampled_from([None, NAMES, ("images",)])),
        transform=data.draw(st.sampled_from([None, halved])),
    )
    n = len(dataset)
    positions = data.draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=20))
    samples = [dataset[i] for i in positions]
    read = dataset.__getitems__(positions)
    assert isinstance(read, Batch)
    assert_same(list(read), samples)
    assert len(read) == len(samples)
    assert_same(dataset[positions], read.whole)
    assert_same(dataset.collate(samples), dataset.collate(read))
    assert_same(torch.utils.data.default_collate(read), torch.utils.data.default_collate(samples))


@pytest.mark.parametrize("names", [None, NAMES])
def test_loaders_in_this_process(path: Path, names: Any) -> None:
    dataset = PersistenceImageDataset(path, names=names)
    own = list(dataset.loader(4))
    plain = list(DataLoader(dataset, batch_size=4))
    sampler = BatchSampler(range(len(dataset)), 4, drop_last=False)
    bulk = list(DataLoader(dataset, batch_size=None, sampler=sampler))
    subset = Subset(dataset, list(range(len(dataset))))
    part = list(DataLoader(subset, batch_size=4, collate_fn=dataset.collate))
    for k, first in enumerate(range(0, len(dataset), 4)):
        expected = dataset.batch(range(first, min(first + 4, len(dataset))))
        assert_same(expected, own[k])
        assert_same(list(expected) if names is None else expected, plain[k])
        assert_same(expected, part[k])
        assert_same(list(expected) if names is None else expected, listed(bulk[k]))


def listed(batch: Any) -> Any:
    return batch if isinstance(batch, dict) else list(batch)


@pytest.mark.parametrize("names", [None, NAMES])
def test_loaders_of_single_samples_and_of_given_batches(path: Path, names: Any) -> None:
    dataset = PersistenceImageDataset(path, names=names)
    for loaded, sample in zip(dataset.loader(None), dataset, strict=True):
        assert_same(listed(loaded), listed(sample))
    sampler = BatchSampler(range(len(dataset)), 4, drop_last=False)
    expected = [dataset.batch(positions) for positions in sampler]
    for bulk, batch in zip(dataset.loader(None, sampler=sampler), expected, strict=True):
        assert_same(listed(bulk), listed(batch))
    assert_same(list(dataset.loader(batch_sampler=sampler)), expected)
    assert_same(list(dataset.loader(None, batch_sampler=sampler)), expected)
    assert_same(list(dataset.loader(4, batch_sampler=None)), expected)


def test_a_collate_of_ones_own(path: Path) -> None:
    dataset = PersistenceImageDataset(path)
    assert next(iter(dataset.loader(4, collate_fn=len))) == 4
    assert list(dataset.loader(None, collate_fn=type)) == [tuple] * len(dataset)


@pytest.mark.parametrize("names", [None, NAMES])
def test_a_batch_pins_its_tensors(path: Path, names: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch does to the batches of an identity collate; its pinning needs an accelerator."""
    from torch.utils.data._utils.pin_memory import pin_memory

    pinned: list[Any] = []

    def pin(tensor: Any, device: Any = None) -> Any:
        pinned.append(tensor)
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    dataset = PersistenceImageDataset(path, names=names)
    read = dataset.__getitems__([2, 0, 1])
    moved = pin_memory(read)
    assert isinstance(moved, Batch)
    assert_same(moved.whole, read.whole)
    assert_same(list(moved), list(read))
    columns = read.whole.values() if names else read.whole
    tensors = [column for column in columns if isinstance(column, torch.Tensor)]
    assert list(map(id, pinned)) == list(map(id, tensors))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinning needs an accelerator")
def test_an_identity_collate_under_pin_memory(path: Path) -> None:
    dataset = PersistenceImageDataset(path, names=NAMES)
    for batch in dataset.loader(4, collate_fn=identity, pin_memory=True):
        assert isinstance(batch, Batch)
        assert batch.whole["images"].is_pinned()


def identity(batch: Any) -> Any:
    return batch


def test_concatenated_datasets(path: Path) -> None:
    parts = [PersistenceImageDataset(path, split=name) for name in ("train", "test")]
    loader = DataLoader(ConcatDataset(parts), batch_size=100, collate_fn=parts[0].collate)
    ((images, labels),) = loader
    assert torch.equal(images, torch.cat([part[:][0] for part in parts]))
    assert torch.equal(labels, torch.cat([part[:][1] for part in parts]))


def test_positions(path: Path) -> None:
    dataset = PersistenceImageDataset(path)
    assert len(list(dataset)) == len(dataset)
    assert_same(dataset[torch.tensor(2)], dataset[2])
    assert_same(dataset[torch.tensor([2, 1])], dataset[[2, 1]])
    assert_same(dataset[np.int64(-1)], dataset[len(dataset) - 1])
    assert dataset[[]][0].shape == (0, CHANNELS, PIXELS, PIXELS)
    lists: list[Any] = [[0, len(dataset)], [0.5], [True], torch.ones(1, dtype=torch.bool)]
    single: list[Any] = [len(dataset), -len(dataset) - 1, 0.5, "0", None]
    single += [True, np.True_, torch.tensor(True)]
    for wrong in lists + single:
        with pytest.raises(IndexError, match="position"):
            dataset[wrong]


def test_a_refused_mask_is_not_printed(path: Path) -> None:
    dataset = PersistenceImageDataset(path)
    for mask in (torch.ones(900, dtype=torch.bool), [True] * 900):
        with pytest.raises(IndexError, match=r"whole numbers, got bool of shape \(900,\)"):
            dataset[mask]


def test_batches_may_be_written_to(path: Path) -> None:
    dataset = PersistenceImageDataset(path, dtype="stored", names=["images", "labels", "inputs"])
    for read in (lambda: dataset[:], lambda: dataset[0], lambda: next(iter(dataset.loader(4)))):
        before = read()
        kept = copy.deepcopy(before)
        for name in ("images", "inputs"):
            before[name].add_(1)
        assert_same(read(), kept)
    dataset[:]["labels"].zero_()
    np.testing.assert_array_equal(dataset.labels, dataset[:]["labels"].numpy())
    assert dataset.labels.any()


@pytest.mark.parametrize("name", ["index", "labels", "ids", "groups", "splits"])
def test_tables_are_read_only(path: Path, name: str) -> None:
    table = getattr(PersistenceImageDataset(path), name)
    before = table.copy()
    with pytest.raises(ValueError, match="read-only"):
        table[0] = table[1]
    np.testing.assert_array_equal(table, before)


def test_seeded_shuffles(path: Path) -> None:
    dataset = PersistenceImageDataset(path, names=["index"])

    def epochs(seed: int) -> list[list[int]]:
        loader = dataset.loader(4, shuffle=True, seed=seed)
        return [torch.cat([b["index"] for b in loader]).tolist() for _ in range(2)]

    assert epochs(1) == epochs(1) != epochs(2)
    assert epochs(1)[0] != epochs(1)[1]
    assert sorted(epochs(1)[0]) == dataset.index.tolist()


# Other processes


@ignore_fork_warnings
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_give_the_same(path: Path, method: str) -> None:
    dataset = PersistenceImageDataset(path, names=NAMES, transform=halved)
    whole = dataset[:]  # opened, mapped and verified before any worker starts
    loader = dataset.loader(4, shuffle=True, workers=2, seed=3, multiprocessing_context=method)
    for _ in range(2):  # the workers persist
        batches = list(loader)
        order = np.concatenate([batch["index"].numpy() for batch in batches])
        assert sorted(order.tolist()) == dataset.index.tolist()
        where = np.searchsorted(dataset.index, order)
        for name in ("images", "inputs", "labels"):
            assert torch.equal(torch.cat([batch[name] for batch in batches]), whole[name][where])
        ids = [name for batch in batches for name in batch["ids"]]
        assert ids == dataset.ids[where].tolist()


@ignore_fork_warnings
def test_workers_and_the_default_collate(path: Path) -> None:
    dataset = PersistenceImageDataset(path)
    dataset[:]
    loader = DataLoader(dataset, batch_size=4, num_workers=2, multiprocessing_context="fork")
    for batch, expected in zip(loader, dataset.loader(4), strict=True):
        assert_same(batch, list(expected))


def test_pickled_it_is_settings(path: Path) -> None:
    dataset = PersistenceImageDataset(path, split="train", channels=["y"], transform=halved)
    dataset[:], dataset.ids, dataset.groups, dataset.splits
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 1500
    assert b"\xed\x91\x9c\xeb\xb3\xb8" not in pickled  # 표본: no id travels
    again = pickle.loads(pickled)
    assert again.store is not dataset.store
    assert_same(again[:], dataset[:])
    assert (repr(again), again.left_out) == (repr(dataset), dataset.left_out)
    assert again.ids.tolist() == dataset.ids.tolist()


def test_a_training_process_imports_no_topology(path: Path) -> None:
    script = """
import sys, training, training.data
dataset = training.data.PersistenceImageDataset(sys.argv[1], names=training.data.NAMES)
next(iter(dataset.loader(4, shuffle=True)))
print(*{name.partition(".")[0] for name in sys.modules})
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(path)],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert done.stderr == ""
    assert "torch" in done.stdout.split()
    absent = {"numba", "ripser", "gudhi", "gtda", "persim", "scipy", "joblib", "dask", "zarr"}
    assert not set(done.stdout.split()) & (absent | {"sklearn", "pipeline"})


# Damage


@pytest.mark.parametrize("check", ["first-touch", "always", "size"])
def test_damage_is_never_delivered(tmp_path: Path, check: Any) -> None:
    path = make_store(tmp_path, make_spec(SAMPLES), LAYOUTS["chunked"])
    dataset = PersistenceImageDataset(path, check=check)
    shard = damage(path)
    for read in (lambda: dataset[:], lambda: list(dataset.loader(4)), lambda: list(dataset)):
        with pytest.raises(CorruptStore, match=shard.name):
            read()


@ignore_fork_warnings
def test_damage_reaches_the_caller_through_a_worker(tmp_path: Path) -> None:
    path = make_store(tmp_path, make_spec(SAMPLES), LAYOUTS["chunked"])
    dataset = PersistenceImageDataset(path)
    shard = damage(path)
    # One worker: after an error torch waits five seconds for each to stop.
    loader = dataset.loader(4, workers=1, multiprocessing_context="fork")
    with pytest.raises(CorruptStore, match=shard.name):
        list(loader)


def test_a_lost_shard_never_reads_as_fill(tmp_path: Path) -> None:
    path = make_store(tmp_path, make_spec(SAMPLES))
    dataset = PersistenceImageDataset(path)
    (shard,) = path.glob("data.zarr/images/c.1.*")
    shard.unlink()
    with pytest.raises(CorruptStore, match=r"c\.1\..*missing"):
        dataset[:]
    with pytest.raises(CorruptStore, match=r"c\.1\..*missing"):
        PersistenceImageDataset(path)


def test_another_store_in_its_place_is_refused(tmp_path: Path) -> None:
    pickled = pickle.dumps(PersistenceImageDataset(make_store(tmp_path / "one", make_spec(20))))
    other = make_store(tmp_path / "two", make_spec(24))
    here = tmp_path / "one" / "stores"
    (old,) = here.iterdir()
    old.rename(tmp_path / "old")
    other.rename(old)
    with pytest.raises(CorruptStore, match="another store"):
        pickle.loads(pickled)
