"""Gramian angular fields reach a batch as the values in [-1, 1] that their bytes stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi_cache.errors import InvalidSpec  # noqa: E402
from pi_cache.layout import Layout, SampleTable, gramian_columns  # noqa: E402
from pi_cache.ledger import finish, write_shard  # noqa: E402
from pi_cache.specs import GramianSpec, SourceSpec, StoreSpec  # noqa: E402
from pi_cache.store import begin  # noqa: E402
from training.data import PersistenceImageDataset  # noqa: E402

pytestmark = pytest.mark.torch

SAMPLES, SIZE = 8, 16


def make_store(root: Path, dtype: str) -> tuple[Path, np.ndarray]:
    """A store of fields of two channels, and its stored images."""
    gramian = GramianSpec(size=SIZE, dtype=dtype)
    source = SourceSpec(
        kind="array", sample="signal", samples=SAMPLES, channels=2, fingerprint="b" * 64
    )
    build = begin(
        root,
        StoreSpec(source=source, gramian=gramian),
        SampleTable(ids=[str(k) for k in range(SAMPLES)], labels=np.arange(SAMPLES)),
        gramian_columns(gramian, 2, extent=3.0, unit="second"),
        layout=Layout(shard_samples=SAMPLES),
        attributes={"channels": ["x/GASF", "y/GASF"]},
    )
    rng = np.random.default_rng(1)
    values = rng.uniform(-1, 1, (SAMPLES, 2, SIZE, SIZE))
    if dtype == "uint8":
        values = rng.permuted(np.resize(np.arange(256), values.shape), axis=0)
    images = values.astype(dtype)
    write_shard(build, 0, {"images": images, "status": np.zeros(SAMPLES, np.uint8)})
    finish(build)
    return build.path, images


def test_bytes_are_mapped_to_what_they_stand_for(tmp_path: Path) -> None:
    path, stored = make_store(tmp_path, "uint8")
    images, labels = PersistenceImageDataset(path)[:]
    expected = 2 * stored.astype(np.float64) / 255 - 1
    assert images.dtype == torch.float32 and labels.tolist() == list(range(SAMPLES))
    np.testing.assert_allclose(images.numpy(), expected, atol=1e-7)
    assert (images.min(), images.max()) == (-1, 1), "the ends are exact"
    half = PersistenceImageDataset(path, dtype="float16")[:][0]
    np.testing.assert_array_equal(half.numpy(), images.numpy().astype(np.float16))
    assert torch.equal(
        PersistenceImageDataset(path, dtype="stored")[:][0], torch.from_numpy(stored)
    )


def test_floats_are_served_as_they_are(tmp_path: Path) -> None:
    path, stored = make_store(tmp_path, "float16")
    data = PersistenceImageDataset(path, channels=["y/GASF"])
    np.testing.assert_array_equal(data[:][0].numpy(), stored[:, 1:].astype(np.float32))
    assert data.shape == (1, SIZE, SIZE)
    np.testing.assert_allclose(data.axis("time"), np.arange(SIZE) * 3 / SIZE)
    with pytest.raises(InvalidSpec, match="time or other_time"):
        data.axis("persistence")
