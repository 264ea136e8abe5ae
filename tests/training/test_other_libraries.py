"""What other libraries are given: the Hugging Face view, and the code of `docs/exports.md`."""

from __future__ import annotations

import pickle
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi_cache import Store  # noqa: E402
from pi_cache.errors import InvalidSpec  # noqa: E402
from pi_cache.sampling.folds import leave_one_group_out, with_validation  # noqa: E402
from tests.pi_cache.people import make_people  # noqa: E402
from training.data import PersistenceImageDataset  # noqa: E402
from training.huggingface import Reader, as_datasets, copied, rows  # noqa: E402

pytestmark = pytest.mark.torch

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "exports.md"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    groups = [f"S{i % 4}" for i in range(24)]
    return make_people(tmp_path_factory.mktemp("a"), groups=groups, status=[2] + [0] * 23)


def test_a_view_reads_images_when_they_are_asked_for(store: Store) -> None:
    pytest.importorskip("datasets")
    dataset = PersistenceImageDataset(store)
    view = as_datasets(dataset)
    assert view.features["label"].names == list(store.label_names)
    assert "image" not in view.column_names
    batch = view[3:6]
    assert torch.equal(batch["image"], dataset[3:6][0])
    assert batch["id"] == dataset.ids[3:6].tolist()
    assert batch["label"] == dataset.labels[3:6].tolist()
    assert batch["group"] == dataset.groups[3:6].tolist()
    kept = view.filter(lambda label: label == 1, input_columns="label", load_from_cache_file=False)
    of_one = np.flatnonzero(dataset.labels == 1)
    assert kept["id"][:] == dataset.ids[of_one].tolist()
    assert torch.equal(kept[:]["image"], dataset.batch(of_one)[0])


def test_what_reads_a_view_travels_to_workers(store: Store) -> None:
    dataset = PersistenceImageDataset(store, names=["labels", "images"])
    reader = pickle.loads(pickle.dumps(Reader(dataset)))
    found = reader({"position": [2, 0]})
    assert torch.equal(found["image"], dataset.batch([2, 0])["images"])
    assert found["position"] == [2, 0]
    assert reader({"label": [1, 2]}) == {"label": [1, 2]}, "as filter asks by label"


def test_a_copy_holds_every_sample(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    dataset = PersistenceImageDataset(store)
    copy = copied(dataset, cache_dir=str(tmp_path))
    assert tuple(copy.features["image"].shape) == tuple(dataset.shape)
    np.testing.assert_array_equal(np.asarray(copy[:]["image"], np.float32), dataset[:][0])
    assert copy["id"][:] == dataset.ids.tolist()
    with pytest.raises(
        InvalidSpec, match="Arrow copies hold float32, float64 or uint8, got float16"
    ):
        copied(PersistenceImageDataset(store, dtype="float16"))


def test_a_dataset_by_names_needs_images(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    named = PersistenceImageDataset(store, names=["labels", "images"])
    assert copied(named, cache_dir=str(tmp_path)).features["image"].shape == named.shape
    for view in (as_datasets, copied):
        with pytest.raises(InvalidSpec, match="the dataset delivers labels; name images too"):
            view(PersistenceImageDataset(store, names=["labels"]))


def test_rows_are_read_in_blocks(store: Store) -> None:
    dataset = PersistenceImageDataset(store)
    found = list(rows(dataset, block=5))
    assert [row["id"] for row in found] == dataset.ids.tolist()
    np.testing.assert_array_equal(torch.stack([row["image"] for row in found]), dataset[:][0])


def test_without_the_library_it_says_what_to_install(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r'pip install "\.\[huggingface\]"'):
        as_datasets(PersistenceImageDataset(store))


# --- Lightning -----------------------------------------------------------------------------------


class DataModule:
    """What a trainer asks of `lightning.LightningDataModule`."""

    def __init__(self) -> None:
        self.prepared = True


def test_the_data_module_of_the_documents(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lightning: Any = types.ModuleType("lightning")
    lightning.LightningDataModule = DataModule
    monkeypatch.setitem(sys.modules, "lightning", lightning)
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if "LightningDataModule" in block]
    names: dict[str, Any] = {}
    exec(code, names)

    fold = with_validation(leave_one_group_out(store)[0], store, 0.3, seed=0)
    module = names["PersistenceImages"](store, fold, batch_size=4)
    assert module.prepared
    for side, loader in {
        "train": module.train_dataloader(),
        "validation": module.val_dataloader(),
        "test": module.test_dataloader(),
    }.items():
        delivered = [labels for images, labels in loader if len(images) <= 4]
        assert sorted(torch.cat(delivered).tolist()) == sorted(
            store.labels[fold.sides[side]].tolist()
        )
