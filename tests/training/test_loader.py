"""Every sample once an epoch, in one order for any number of ranks, wherever a job goes on."""

from __future__ import annotations

import gc
import json
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch.utils.data import DataLoader, Subset  # noqa: E402

from pi_cache.errors import CorruptStore, InvalidSpec  # noqa: E402
from pi_cache.layout import Layout  # noqa: E402
from tests.pi_cache.made import make_spec, make_store  # noqa: E402
from tests.training.test_data import assert_same, damage, ignore_fork_warnings  # noqa: E402
from training.background import in_background  # noqa: E402
from training.data import PersistenceImageDataset  # noqa: E402
from training.holding import choose  # noqa: E402
from training.holding.choose import hold  # noqa: E402
from training.loader import Loader, _differ  # noqa: E402
from training.order import Blocks, EpochBatches, epoch_order, shares  # noqa: E402

pytestmark = pytest.mark.torch

Begun = Callable[[], list[threading.Thread]]

NAMED = ["images", "inputs", "labels", "index"]
HOW = ["resident", "streaming"]


SAMPLES = 120
LAYOUTS = {
    "chunked": Layout(shard_samples=16, chunk_samples=4, point_capacity=40_000),
    "mapped": Layout.mapped(shard_samples=1024, point_capacity=40_000),
}


@pytest.fixture(scope="module", params=list(LAYOUTS))
def dataset(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> PersistenceImageDataset:
    root = tmp_path_factory.mktemp("stores") / "위상 이미지"
    return PersistenceImageDataset(
        make_store(root, make_spec(SAMPLES), LAYOUTS[request.param]), names=NAMED
    )


def delivered(loader: Any) -> list[int]:
    return [int(i) for batch in loader for i in batch["index"]]


# The order


@settings(max_examples=200, deadline=None)
@given(
    samples=st.integers(1, 60),
    batch=st.integers(1, 9),
    ranks=st.integers(1, 4),
    drop_last=st.booleans(),
)
def test_ranks_share_every_step(samples: int, batch: int, ranks: int, drop_last: bool) -> None:
    """No sample twice or never, as many steps on each rank, no batch too large or empty."""

    def of(rank: int) -> list[Any]:
        return shares(samples, batch, rank=rank, ranks=ranks, drop_last=drop_last)

    try:
        each = [of(rank) for rank in range(ranks)]
    except InvalidSpec as error:
        assert "drop_last=True" in str(error)
        assert samples % (batch * ranks) < ranks
        assert batch == 1 or samples < batch * ranks
        return
    assert len({len(steps) for steps in each}) == 1
    taken = [i for steps in zip(*each, strict=True) for s in steps for i in range(s.start, s.stop)]
    left = samples % (batch * ranks) if drop_last else 0
    assert taken == list(range(samples - left)), "in the order of the epoch, step after step"
    sizes = [[s.stop - s.start for s in steps] for steps in zip(*each, strict=True)]
    for step, shared in zip(zip(*each, strict=True), sizes, strict=True):
        assert {s.total for s in step} == {sum(shared)}
        assert min(shared) >= 1 and max(shared) - min(shared) <= 1 and max(shared) <= batch


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**70), epoch=st.integers(0, 1000), samples=st.integers(1, 50))
def test_an_order_is_a_function(seed: int, epoch: int, samples: int) -> None:
    blocks = Blocks(np.arange(samples) // 3, 10)
    for given_blocks in (None, blocks):
        one, other = (
            epoch_order(samples, seed=seed, epoch=epoch, blocks=given_blocks) for _ in range(2)
        )
        assert torch.equal(one, other)
        assert sorted(one.tolist()) == list(range(samples))


def test_seeds_and_epochs_differ() -> None:
    orders = {
        tuple(epoch_order(30, seed=seed, epoch=epoch).tolist())
        for seed in range(4)
        for epoch in range(4)
    }
    assert len(orders) == 16
    assert epoch_order(5, seed=1, epoch=2, shuffle=False).tolist() == [0, 1, 2, 3, 4]


def test_blocks_stay_within_their_window() -> None:
    of = np.repeat(np.arange(16), 4)
    order = epoch_order(64, seed=3, epoch=0, blocks=Blocks(of, 16)).numpy()
    for window in order.reshape(4, 16):
        assert len(set(of[window])) == 4, "whole blocks, each decoded once"
    assert not np.array_equal(np.sort(order[:16]), order[:16])
    assert len({tuple(sorted(set(of[w]))) for w in order.reshape(4, 16)}) == 4


@pytest.mark.parametrize(("rank", "ranks", "size"), [(1, 1, 4), (-1, 2, 4), (0, 1, 0)])
def test_what_cannot_be_shared_is_refused(rank: int, ranks: int, size: int) -> None:
    with pytest.raises(InvalidSpec, match=r"rank must lie|at least one sample"):
        EpochBatches(samples=10, batch_size=size, rank=rank, ranks=ranks)


# The loader


@pytest.mark.parametrize("how", HOW)
def test_batches_are_those_of_the_dataset(dataset: PersistenceImageDataset, how: Any) -> None:
    loader = Loader(dataset, 4, how=how, seed=5)
    place = {int(number): i for i, number in enumerate(dataset.index)}
    assert loader.why.startswith(how)
    for _ in range(2):
        seen = []
        for batch in loader:
            where = [place[int(i)] for i in batch["index"]]
            assert_same(batch, dataset.batch(where))
            seen += where
        assert sorted(seen) == list(range(len(dataset)))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", ["float32", "float16", "stored"])
def test_dtypes(tmp_path: Path, how: Any, dtype: str) -> None:
    path = make_store(tmp_path, make_spec(20, "uint8"))
    asked = PersistenceImageDataset(path, dtype=dtype, names=["images"])
    plain = PersistenceImageDataset(path, names=["images"])
    for loader in (
        Loader(asked, 100, how=how, shuffle=False),
        Loader(plain, 100, how=how, shuffle=False, dtype=dtype),
    ):
        (batch,) = loader
        assert_same(batch, asked[:])


def test_it_counts_as_torch_does(dataset: PersistenceImageDataset) -> None:
    n = len(dataset)
    for size in (1, 4, n, n + 1):
        for drop_last in (False, True):
            loader = Loader(dataset, size, drop_last=drop_last, how="resident")
            expected = len(DataLoader(dataset, size, drop_last=drop_last))
            assert len(loader) == len(list(loader)) == expected


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_and_epochs(dataset: PersistenceImageDataset, how: Any, ranks: int) -> None:
    loaders = [Loader(dataset, 2, how=how, seed=1, rank=rank, ranks=ranks) for rank in range(ranks)]
    alone = Loader(dataset, 2 * ranks, how="resident", seed=1)
    orders = []
    for epoch in range(3):
        assert {loader.epoch for loader in loaders} == {epoch}
        steps = list(zip(*(map(list, loaders)), strict=True))
        orders.append([int(i) for step in steps for batch in step for i in batch["index"]])
        assert sorted(orders[-1]) == dataset.index.tolist()
        if how == "resident" or loaders[0].batches.blocks is None:
            assert orders[-1] == delivered(alone), "a step is the same, however many share it"
    assert orders[0] != orders[1] != orders[2]
    loaders[0].set_epoch(1)
    again = Loader(dataset, 2, how=how, seed=1, ranks=ranks)
    again.set_epoch(1)
    assert delivered(loaders[0]) == delivered(again)


@pytest.mark.parametrize("how", HOW)
def test_a_job_goes_on_where_it_was(dataset: PersistenceImageDataset, how: Any) -> None:
    whole = Loader(dataset, 3, how=how, seed=9)
    next(iter(whole))
    whole.set_epoch(4)
    order = delivered(whole)
    for stop in range(len(whole) + 1):
        first = Loader(dataset, 3, how=how, seed=9)
        first.set_epoch(4)
        batches = iter(first)
        seen = [int(i) for _ in range(stop) for i in next(batches)["index"]]
        state = first.state_dict()
        second = Loader(dataset, 3, how=how, seed=9)
        second.load_state_dict(state)
        second.set_epoch(4)  # as a training loop does
        assert second.state_dict() == state
        assert seen + delivered(second) == order
        assert second.epoch == 5
        assert sorted(delivered(second)) == dataset.index.tolist()


def test_a_job_goes_on_with_other_ranks(dataset: PersistenceImageDataset) -> None:
    first = Loader(dataset, 4, how="resident", seed=2)
    batches = iter(first)
    seen = [int(i) for _ in range(2) for i in next(batches)["index"]]
    rest = []
    for rank in range(3):
        loader = Loader(dataset, 1, how="resident", seed=2, rank=rank, ranks=3, drop_last=True)
        loader.load_state_dict(first.state_dict())
        rest += delivered(loader)
    left = len(dataset) - len(seen)
    assert len(rest) == left - left % 3
    assert len({*seen, *rest}) == len(seen) + len(rest)


def test_a_state_of_another_order_is_refused(dataset: PersistenceImageDataset) -> None:
    state = Loader(dataset, 4, how="resident", seed=2).state_dict()
    with pytest.raises(InvalidSpec, match="seed was 2 and is 3"):
        Loader(dataset, 4, how="resident", seed=3).load_state_dict(state)
    with pytest.raises(InvalidSpec, match="shuffle was True and is False"):
        Loader(dataset, 4, how="resident", seed=2, shuffle=False).load_state_dict(state)


def test_a_state_is_plain_numbers(dataset: PersistenceImageDataset) -> None:
    loader = Loader(dataset, np.int64(4), seed=np.int64(3), how="streaming")  # type: ignore[arg-type]
    loader.set_epoch(np.int32(2))  # type: ignore[arg-type]
    next(iter(loader))
    assert json.loads(json.dumps(loader.state_dict())) == loader.state_dict()
    for wrong in (None, 1.0, "1", True):
        with pytest.raises(InvalidSpec, match="seed must be a whole number, got"):
            Loader(dataset, 4, seed=wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidSpec, match="epoch must be a whole number, got"):
            loader.set_epoch(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"delivered": -1}, {"delivered": 121}, {"epoch": "2"}])
def test_a_state_of_nowhere_is_refused(dataset: PersistenceImageDataset, wrong: Any) -> None:
    loader = Loader(dataset, 4, how="resident")
    before = loader.state_dict()
    with pytest.raises(
        InvalidSpec, match=r"an epoch and what was delivered in it, 0\.\.\d+ samples"
    ):
        loader.load_state_dict(before | wrong)
    assert loader.state_dict() == before


def test_blocks_of_another_size_are_another_order(tmp_path: Path) -> None:
    """One store built twice, in chunks of 4 and of 2: the windows are equal, their samples not."""
    loaders = []
    for size in (4, 2):
        layout = Layout(shard_samples=16, chunk_samples=size, point_capacity=40_000)
        path = make_store(tmp_path / str(size), make_spec(SAMPLES), layout)
        loaders.append(Loader(PersistenceImageDataset(path, names=NAMED), 4, how="streaming"))
    one, other = (loader.state_dict() for loader in loaders)
    assert one["window"] == other["window"]
    with pytest.raises(InvalidSpec, match=r"blocks was \d+ and is \d+; make the loader with what"):
        loaders[1].load_state_dict(one)


def test_ranks_do_not_choose_orders_each_for_itself(
    dataset: PersistenceImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One rank finds memory for all samples, the next one does not."""
    loaders = []
    for rank, free in enumerate((1 << 40, 1)):
        monkeypatch.setattr(choose, "free_memory", lambda device, free=free: free)
        if free == 1 and not dataset.store.is_mapped("inputs"):
            with pytest.raises(InvalidSpec, match=r"auto chooses for this rank alone: streaming"):
                Loader(dataset, 3, rank=rank, ranks=2)
            return
        loaders.append(Loader(dataset, 3, rank=rank, ranks=2))
    assert [loader.why.split(",")[0] for loader in loaders] == ["resident on cpu", "streaming"]
    assert sorted(delivered(loaders[0]) + delivered(loaders[1])) == dataset.index.tolist()


# Iterators


def test_of_several_iterators_the_last_counts(dataset: PersistenceImageDataset) -> None:
    loader = Loader(dataset, 4, how="resident", seed=1)
    first, last = iter(loader), iter(loader)
    next(first), next(last), next(first)
    assert loader.state_dict()["delivered"] == 4
    list(first)
    assert (loader.epoch, loader.state_dict()["delivered"]) == (0, 4)
    list(last)
    assert (loader.epoch, loader.state_dict()["delivered"]) == (1, 0)


def test_an_iterator_of_before_counts_no_more(dataset: PersistenceImageDataset) -> None:
    loader = Loader(dataset, 4, how="resident", seed=1)
    state = loader.state_dict() | {"delivered": 8}
    for go_on in (lambda: loader.set_epoch(5), lambda: loader.load_state_dict(state)):
        batches = iter(loader)
        next(batches)
        go_on()
        expected = loader.state_dict()
        list(batches)
        assert loader.state_dict() == expected


def test_what_a_transform_fails_on_was_not_delivered(dataset: PersistenceImageDataset) -> None:
    def fail_once(batch: dict[str, Any]) -> dict[str, Any]:
        calls.append(1)
        if len(calls) == 3:
            raise ZeroDivisionError("a batch")
        return batch

    calls: list[int] = []
    loader = Loader(dataset, 4, how="resident", transform=fail_once)
    seen: list[int] = []
    with pytest.raises(ZeroDivisionError, match="a batch"):
        for batch in loader:
            seen += batch["index"].tolist()
    loader.load_state_dict(loader.state_dict())
    assert sorted(seen + delivered(loader)) == dataset.index.tolist()


@pytest.mark.parametrize("how", HOW)
def test_a_closed_loader_delivers_nothing(dataset: PersistenceImageDataset, how: Any) -> None:
    loader = Loader(dataset, 4, how=how)
    loader.close()
    with pytest.raises(InvalidSpec, match="this loader was closed"):
        iter(loader)


def test_a_holder_that_stops_ends_no_epoch() -> None:
    """A StopIteration of its own would look like the end of the samples."""

    class Stops:
        why = "because"

        def __len__(self) -> int:
            return 10

        def batch(self, positions: Any) -> dict[str, Any]:
            return next(iter([{"index": positions}][int(positions[0]) // 4 :]))

        def close(self) -> None: ...

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(Loader(Stops(), 4, shuffle=False))


def test_an_abandoned_epoch_begins_again(dataset: PersistenceImageDataset) -> None:
    loader = Loader(dataset, 4, how="streaming", seed=2)
    first = next(iter(loader))
    assert torch.equal(next(iter(loader))["index"], first["index"])
    assert delivered(loader) == delivered(Loader(dataset, 4, how="streaming", seed=2))


def test_a_transform_has_the_whole_batch(dataset: PersistenceImageDataset) -> None:
    def negate(batch: dict[str, Any]) -> dict[str, Any]:
        return {**batch, "images": -batch["images"]}

    plain, negated = (
        Loader(dataset, 4, how="resident", transform=transform) for transform in (None, negate)
    )
    for one, other in zip(plain, negated, strict=True):
        assert torch.equal(one["images"], -other["images"])
    single = PersistenceImageDataset(dataset.store, transform=torch.neg)
    with pytest.raises(InvalidSpec, match="transform of whole batches"):
        Loader(single, 4)


@pytest.mark.parametrize("leave", ["end", "close"])
def test_what_is_held_elsewhere_is_sent(
    dataset: PersistenceImageDataset, leave: str, begun: Begun
) -> None:
    """To a device without memory, on which tensors have a shape and a type."""
    loader = Loader(hold(dataset, "streaming"), 4, device="meta", dtype="float16")
    batches = iter(loader)
    batch = next(batches)
    assert {tensor.device.type for tensor in batch.values()} == {"meta"}
    assert (batch["images"].dtype, batch["inputs"].dtype) == (torch.float16, torch.uint8)
    assert len(batch["labels"]) == 4
    assert len(list(batches)) == len(loader) - 1 if leave == "end" else batches.close() is None  # type: ignore[attr-defined]
    assert not begun()


class Elsewhere:
    """A holder of numbers on a device of one's choice."""

    why = "because"

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def __len__(self) -> int:
        return 10

    def batch(self, positions: Any) -> dict[str, Any]:
        return {"index": positions.to(self.device)}

    def close(self) -> None: ...


def test_batches_stay_where_a_holder_has_them() -> None:
    loader = Loader(Elsewhere("meta"), 4)
    assert loader.device.type == "meta"
    assert {b["index"].device.type for b in loader} == {"meta"}
    assert Loader(Elsewhere("cpu"), 4, device="meta").device.type == "meta"


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("cuda", "cuda:1", False),
        ("cuda:0", "cuda:1", True),
        ("cuda:1", "cuda:1", False),
        ("cpu", "cuda", True),
        ("cpu", "cpu", False),
    ],
)
def test_which_devices_differ(one: str, other: str, differ: bool) -> None:
    for pair in ((one, other), (other, one)):
        assert _differ(*map(torch.device, pair)) is differ


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_what_a_gpu_holds_is_there_when_it_is_delivered() -> None:
    """Sent to the CPU, numbers must have arrived before anybody reads them."""
    assert delivered(Loader(Elsewhere("cuda"), 4, device="cpu", shuffle=False)) == list(range(10))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
@pytest.mark.parametrize("how", HOW)
def test_batches_on_a_gpu_are_the_same(dataset: PersistenceImageDataset, how: Any) -> None:
    here, there = (Loader(dataset, 4, how=how, seed=3, device=d) for d in ("cpu", "cuda"))
    for one, other in zip(here, there, strict=True):
        assert {tensor.device.type for tensor in other.values()} == {"cuda"}
        assert_same({name: tensor.cpu() for name, tensor in other.items()}, one)


def test_any_holder_will_do() -> None:
    class Squares:
        why = "because"

        def __len__(self) -> int:
            return 10

        def batch(self, positions: Any) -> dict[str, Any]:
            return {"index": positions, "squares": positions**2}

        def close(self) -> None:
            self.closed = True

    holder = Squares()
    loader = Loader(holder, 4, shuffle=False)
    assert delivered(loader) == list(range(10))
    assert torch.equal(torch.cat([b["squares"] for b in loader]), torch.arange(10) ** 2)
    loader.close()
    assert holder.closed


def test_what_has_no_parts_is_refused(dataset: PersistenceImageDataset) -> None:
    for wrong in (Subset(dataset, [0, 1]), [1, 2], dataset.store, str(dataset.store.path)):
        with pytest.raises(InvalidSpec, match="Loader takes a PersistenceImageDataset"):
            Loader(wrong, 2)  # type: ignore[arg-type]


# Workers of plain torch


@ignore_fork_warnings
@pytest.mark.parametrize(
    ("workers", "method"), [(0, None), (1, "fork"), (2, "fork"), (2, "spawn"), (2, "forkserver")]
)
def test_a_plain_dataloader_has_the_same_order(
    dataset: PersistenceImageDataset, workers: int, method: str | None
) -> None:
    """Every index once an epoch for one, two and three ranks; the workers persist."""
    dataset[:]
    costly = method in ("spawn", "forkserver")  # each worker imports torch again
    if costly and dataset.store.is_mapped("inputs"):
        pytest.skip("a store is opened anew, however it lies")
    for ranks in (1,) if costly else (1, 2, 3):
        for epoch in range(1 if costly else 2):
            seen = []
            for rank in range(ranks):
                batches = EpochBatches(
                    samples=len(dataset), batch_size=3, seed=4, rank=rank, ranks=ranks
                )
                loader = DataLoader(
                    dataset, batch_sampler=batches, num_workers=workers,
                    multiprocessing_context=method, persistent_workers=workers > 0,
                    collate_fn=dataset.collate,
                )  # fmt: skip
                batches.set_epoch(epoch)
                own = Loader(dataset, 3, how="resident", seed=4, rank=rank, ranks=ranks)
                own.set_epoch(epoch)
                mine = delivered(loader)
                assert mine == delivered(own)
                seen += mine
            assert sorted(seen) == dataset.index.tolist()


# Threads


@pytest.mark.parametrize("leave", ["close", "collect", "end", "raise"])
def test_nothing_is_left_running(
    dataset: PersistenceImageDataset, leave: str, begun: Begun
) -> None:
    loader = Loader(dataset, 1, how="streaming")
    batches = iter(loader)
    next(batches)
    if leave == "close":
        batches.close()  # type: ignore[attr-defined]
    elif leave == "collect":
        del batches
        gc.collect()
    elif leave == "end":
        list(batches)
    else:
        with pytest.raises(ZeroDivisionError, match="division"):
            for _ in batches:
                1 / 0  # noqa: B018
        del batches
    assert not begun()
    assert len(delivered(loader)) == len(dataset)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_damage_is_raised_where_batches_are_used(tmp_path: Path, layout: str, begun: Begun) -> None:
    path = make_store(tmp_path, make_spec(SAMPLES), LAYOUTS[layout])
    dataset = PersistenceImageDataset(path, names=NAMED)
    loader = Loader(dataset, 4, how="streaming")
    shard = damage(path, "data.zarr/inputs/c.0.*")
    with pytest.raises(CorruptStore, match=shard.name):
        list(loader)
    with pytest.raises(CorruptStore, match=shard.name):
        Loader(dataset, 4, how="resident")
    assert not begun()


def test_items_made_ahead_are_bounded() -> None:
    made: list[int] = []

    def numbers() -> Any:
        for i in range(10):
            made.append(i)
            yield i

    items = in_background(numbers(), depth=2)
    for i in items:
        assert len(made) <= i + 3
    assert made == list(range(10))


@ignore_fork_warnings
def test_a_forked_process_makes_its_own_batches(dataset: PersistenceImageDataset) -> None:
    import multiprocessing

    loader = Loader(dataset, 2, how="streaming")
    items, batches = in_background(range(10)), iter(loader)
    next(items), next(batches)

    def child(results: Any) -> None:
        try:
            next(items)
        except RuntimeError as error:
            results.put(str(error))
        results.put(sorted(delivered(loader)))

    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=child, args=(results,))
    process.start()
    assert "call iter() on the loader again" in results.get(timeout=60)
    assert results.get(timeout=60) == dataset.index.tolist()
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("how", HOW)
def test_ten_epochs_take_no_more_memory(dataset: PersistenceImageDataset, how: Any) -> None:
    loader = Loader(dataset, 4, how=how)
    for _ in range(2):
        delivered(loader)
    gc.collect()
    tracemalloc.start()
    try:
        delivered(loader)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(10):
            delivered(loader)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000, "bytes; ten epochs deliver ten times that"
