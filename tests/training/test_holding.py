"""However samples are held, they are the same; and the way is chosen by size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi_cache.errors import InvalidSpec  # noqa: E402
from pi_cache.layout import Layout  # noqa: E402
from tests.pi_cache.made import make_spec, make_store  # noqa: E402
from tests.training.conftest import SAMPLES  # noqa: E402
from tests.training.test_data import assert_same  # noqa: E402
from training.data import PersistenceImageDataset  # noqa: E402
from training.holding import memory, streaming  # noqa: E402
from training.holding.choose import hold  # noqa: E402
from training.holding.resident import Resident  # noqa: E402
from training.holding.streaming import Streaming  # noqa: E402
from training.holding.windows import Recycled  # noqa: E402
from training.parts import total_bytes  # noqa: E402

pytestmark = pytest.mark.torch

EVERY = {
    "chunked": Layout(shard_samples=8, chunk_samples=4, point_capacity=40_000),
    "single": Layout(shard_samples=8, chunk_samples=1, point_capacity=40_000),
    "mapped": Layout.mapped(shard_samples=1024, point_capacity=40_000),
    "mapped apart": Layout.mapped(shard_samples=8, point_capacity=40_000),
}
HOLDERS = [Resident, Streaming]


@pytest.fixture(scope="module", params=list(EVERY))
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("stores"), make_spec(SAMPLES), EVERY[request.param])


def stored(path: Path, **options: Any) -> PersistenceImageDataset:
    names = ["images", "inputs", "labels", "index"]
    return PersistenceImageDataset(path, dtype="stored", names=names, **options)


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("options", [{}, {"channels": ["z", "x"]}, {"split": "train"}])
def test_batches_are_what_the_dataset_reads(path: Path, holder: Any, options: Any) -> None:
    dataset = stored(path, **options)
    held = holder(dataset)
    n = len(held)
    assert n == len(dataset)
    for positions in (
        [0],
        [n - 1, 0, 0],
        list(range(n)),
        [],
        np.random.default_rng(0).permutation(n),
    ):
        where = torch.tensor(positions, dtype=torch.int64)
        assert_same(held.batch(where), dataset.batch(positions))
    held.close()


@pytest.mark.parametrize("holder", HOLDERS)
def test_samples_in_an_order_of_ones_own(path: Path, holder: Any) -> None:
    index = stored(path).index
    order = np.random.default_rng(1).permutation(index)
    dataset = stored(path, samples=order)
    held = holder(dataset)
    batch = held.batch(torch.arange(len(held)))
    assert batch["index"].tolist() == order.tolist()
    assert_same(batch, dataset[:])


def test_batches_may_be_written_to(path: Path) -> None:
    for held in (Resident(stored(path)), Streaming(stored(path))):
        where = torch.arange(3)
        before = {name: tensor.clone() for name, tensor in held.batch(where).items()}
        for tensor in held.batch(where).values():
            tensor.zero_()
        assert_same(held.batch(where), before)


@pytest.mark.parametrize("together", [1, 1 << 12, 1 << 25])
def test_a_stream_is_its_batches(
    path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    """Windows smaller than an epoch, some of one batch; kept batches stay as they were."""
    monkeypatch.setattr(streaming, "GROUP_BYTES", together)
    monkeypatch.setattr(streaming, "WINDOW_BYTES", 1)
    monkeypatch.setattr(streaming, "BLOCKS_A_SAMPLE", 1)
    held = Streaming(stored(path), batch_size=1)
    order = torch.randperm(len(held), generator=torch.Generator().manual_seed(0))
    for sizes in (1, 2, 3, 100):
        batches = list(order.split(sizes))
        kept = list(held.stream(batches))
        assert len(kept) == len(batches)
        for batch, where in zip(kept, batches, strict=True):
            assert_same(batch, held.batch(where))
    assert list(held.stream([])) == []


def test_which_layouts_are_read_in_blocks(path: Path) -> None:
    held = Streaming(stored(path))
    assert list(held.parts) == ["inputs"], "images of 6 x 6 are kept in memory"
    chunked = held.parts["inputs"].chunk == 4
    assert (held.blocks is not None) == chunked
    if held.blocks is not None:
        assert held.blocks.of.tolist() == (stored(path).index // 4).tolist()


def test_memory_is_used_again_when_nobody_holds_it() -> None:
    pool = Recycled((4, 3), np.dtype(np.float32))
    array, tensor = pool.take()
    address = tensor.data_ptr()
    part = tensor.split(2)[1]
    del array, tensor
    other, taken = pool.take()
    assert taken.data_ptr() != address, "a part of it is held"
    del part
    assert pool.take()[1].data_ptr() == address
    del other, taken


# Which way


def test_the_way_is_chosen_by_size(path: Path) -> None:
    dataset = stored(path)
    size = total_bytes(dataset)
    assert size == sum(v.nbytes for n, v in dataset[:].items() if n in ("images", "inputs"))
    resident = hold(dataset, memory=2 * size)
    assert isinstance(resident, Resident)
    assert "resident on cpu, decoded once" in resident.why
    assert "of memory are free on cpu, of which 70% may be taken" in resident.why
    found = hold(dataset, memory=size)
    assert isinstance(found, Streaming)
    assert found.why.startswith("streaming, ")
    assert "of samples" in found.why
    assert hold(dataset, "streaming").why.endswith("as asked")
    with pytest.raises(InvalidSpec, match=r"resident: .* let hold choose with auto"):
        hold(dataset, "resident", memory=size)
    with pytest.raises(InvalidSpec, match="how must be one of auto, resident, streaming, rendered"):
        hold(dataset, "somehow")  # type: ignore[arg-type]


def test_a_dataset_without_tensors_is_refused(path: Path) -> None:
    texts = PersistenceImageDataset(path, names=["ids", "groups"])
    with pytest.raises(InvalidSpec, match="ids, groups: texts, which no tensor holds"):
        hold(texts)


def test_free_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    assert 0 < memory.free_memory(cpu) < 1 << 50
    info = tmp_path / "meminfo"
    info.write_text("MemTotal: 9 kB\nMemAvailable:    4000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", info)
    monkeypatch.setattr(memory, "GROUPS", ())
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert memory.free_memory(cpu) == 4_096_000
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert memory.free_memory(cpu) == 1_024_000


@pytest.mark.parametrize(("limit", "expected"), [("3000", 3000 - 1000 + 500), ("max", 4_096_000)])
def test_the_limit_of_a_container_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, expected: int
) -> None:
    (tmp_path / "meminfo").write_text("MemAvailable: 4000 kB\n")
    files = {"max": limit, "current": "1000", "memory.stat": "anon 7\ninactive_file 500\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    group = (str(tmp_path / "max"), str(tmp_path / "current"), "inactive_file")
    monkeypatch.setattr(memory, "GROUPS", (group,))
    monkeypatch.setattr(memory, "OWN", tmp_path / "of no group")
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert memory.free_memory(torch.device("cpu")) == expected


@pytest.mark.parametrize("limited", ["slurm/job_7", "slurm/job_7/step_0"])
def test_the_limits_of_a_job_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limited: str
) -> None:
    """SLURM limits a group some folders down, and the groups around it may have limits too."""
    (tmp_path / "meminfo").write_text("MemAvailable: 4000 kB\n")
    (tmp_path / "own").write_text("5:cpu,cpuacct:/other\n0::/slurm/job_7/step_0\n")
    limits = dict.fromkeys(["", "slurm", "slurm/job_7", "slurm/job_7/step_0"], "max")
    limits |= {limited: "3000", "other": "10", "slurm/job_8": "20"}
    for folder, limit in limits.items():
        group = tmp_path / "groups" / folder
        group.mkdir(parents=True, exist_ok=True)
        for name, text in {"max": limit, "current": "1000", "memory.stat": "anon 7\n"}.items():
            (group / name).write_text(text)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "OWN", tmp_path / "own")
    names = [str(tmp_path / "groups" / name) for name in ("max", "current")]
    monkeypatch.setattr(memory, "GROUPS", ((*names, "inactive_file"),))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert memory.free_memory(torch.device("cpu")) == 2000
    (tmp_path / "own").write_text("not a list of groups\n")
    assert memory.free_memory(torch.device("cpu")) == 4_096_000
