"""A sample of a joined dataset is that id's row of every store, whatever the order of each."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402

from pi_cache import Store  # noqa: E402
from pi_cache.errors import (  # noqa: E402
    InvalidFolds,
    InvalidSpec,
    LeakageError,
    MismatchedStores,
)
from pi_cache.sampling.folds import leave_one_group_out, stratified, with_validation  # noqa: E402
from pi_cache.sampling.joins import open_together  # noqa: E402
from pi_cache.sampling.samples import Arrays  # noqa: E402
from tests.pi_cache.made import make_columns  # noqa: E402
from tests.pi_cache.people import GROUPS, IDS, LABELS, image_value, make_people  # noqa: E402
from tests.training.test_data import assert_same, ignore_fork_warnings  # noqa: E402
from training.holding.resident import Resident  # noqa: E402
from training.holding.streaming import Streaming  # noqa: E402
from training.joined import JoinedDataset  # noqa: E402
from training.loader import Loader  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]
STATUS = [2 if i in (2, 5) else 0 for i in range(24)]
SPLITS = ["train" if i % 4 else "test" for i in range(24)]
SIGNALS = np.arange(24 * 5, dtype=np.float32).reshape(24, 5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_people(tmp_path_factory.mktemp("a"), groups=GROUPS, status=STATUS, splits=SPLITS)


@pytest.fixture(scope="module")
def reverse(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same samples, last first, another of them not OK, and other images."""
    return make_people(
        tmp_path_factory.mktemp("b"),
        IDS[::-1],
        labels=LABELS[::-1],
        groups=GROUPS[::-1],
        splits=SPLITS[::-1],
        status=[1 if i == 23 else 0 for i in range(24)],
        sigma=0.1,
    )


@pytest.fixture
def joined(store: Store, reverse: Store) -> JoinedDataset:
    signals = Arrays(IDS[3:] + IDS[:3], {"windows": np.roll(SIGNALS, -3, axis=0)})
    return JoinedDataset({"rows": store, "other": reverse, "signals": signals})


def check(dataset: JoinedDataset, batch: dict[str, Any]) -> None:
    """Every tensor of a batch is what the ids of its samples say."""
    ids = dataset.joined.ids[batch["index"].numpy()]
    number = np.array([IDS.index(name) for name in ids])
    for name in ("rows", "other"):
        values = torch.tensor([image_value(one) for one in ids], dtype=torch.float32)
        assert torch.equal(batch[name], values[:, None, None, None].expand_as(batch[name]))
    np.testing.assert_array_equal(batch["signals"].numpy(), SIGNALS[number])
    np.testing.assert_array_equal(batch["labels"].numpy(), np.array(LABELS)[number])
    groups = [dataset.group_names[g] for g in batch["groups"].tolist()]
    assert groups == [GROUPS[i] for i in number]
    truth = make_columns(dataset.joined.member("rows").source.spec)["inputs"]
    np.testing.assert_array_equal(batch["inputs"].numpy(), truth[number])


def test_every_tensor_is_of_the_same_sample(joined: JoinedDataset) -> None:
    assert len(joined) == 24 - 3, "two are not OK in one store, one in the other"
    assert joined.names == ("rows", "other", "signals", "inputs", "labels", "groups", "index")
    check(joined, joined[:])
    check(joined, joined[[3, 0, 3, -1]])
    sample = joined[4]
    assert sample["index"] == 4
    assert torch.equal(sample["rows"], joined[[4]]["rows"][0])
    assert joined.group_names == ("S0", "S1", "S2", "S3")
    assert joined.label_names == ("walk", "앉기", "run")
    assert len(list(joined)) == len(joined)
    with pytest.raises(IndexError, match="not in a dataset of 21"):
        joined[21]
    with pytest.raises(IndexError, match="whole number"):
        joined["rows"]


@pytest.mark.parametrize("how", ["resident", "streaming"])
def test_loaders_deliver_it(joined: JoinedDataset, how: Any) -> None:
    loader = Loader(joined, 4, how=how, seed=1)
    seen = []
    for batch in loader:
        check(joined, batch)
        assert batch["rows"].dtype == torch.float32
        seen += batch["index"].tolist()
    assert sorted(seen) == list(range(21))
    assert seen != sorted(seen)


@ignore_fork_warnings
@pytest.mark.parametrize("workers", [0, 2])
def test_plain_torch_delivers_it(joined: JoinedDataset, workers: int) -> None:
    loader = DataLoader(
        joined, 4, shuffle=True, num_workers=workers,
        multiprocessing_context="fork" if workers else None, collate_fn=joined.collate,
    )  # fmt: skip
    batches = list(loader)
    for batch in batches:
        check(joined, batch)
    assert sorted(i for b in batches for i in b["index"].tolist()) == list(range(21))
    assert_same(next(iter(DataLoader(joined, 21))), joined[:])


def test_some_names_only(store: Store) -> None:
    joined = JoinedDataset({"rows": store}, names=["rows", "labels"], dtype="float16")
    assert list(joined[:]) == ["rows", "labels"]
    assert joined[:]["rows"].dtype == torch.float16
    assert JoinedDataset({"rows": store})[:]["inputs"].dtype == torch.uint8, "as stored"
    with pytest.raises(InvalidSpec, match="names must be a list of some of rows, inputs"):
        JoinedDataset({"rows": store}, names=["colums"])
    with pytest.raises(InvalidSpec, match="inputs cannot be the name of a store here"):
        JoinedDataset({"inputs": store})


def test_several_arrays_of_ones_own(store: Store) -> None:
    own = Arrays(IDS, {"x": SIGNALS, "count": np.arange(24)})
    batch = JoinedDataset({"rows": store, "own": own})[:]
    assert {"own.x", "own.count"} < set(batch)
    assert batch["own.count"].dtype == torch.int64
    np.testing.assert_array_equal(batch["own.x"].numpy()[:, 0] / 5, batch["own.count"].numpy())


def test_stores_of_other_samples_are_refused(store: Store, tmp_path: Path) -> None:
    other = make_people(tmp_path, IDS[:20])
    with pytest.raises(MismatchedStores, match="lacks 4 of the 24 samples"):
        JoinedDataset({"rows": store, "fewer": other})
    assert len(JoinedDataset({"rows": store, "fewer": other}, only_common=True)) == 18


def test_names_that_would_hide_each_other_are_refused(store: Store) -> None:
    own = Arrays(IDS, {"x": SIGNALS, "count": np.arange(24)})
    with pytest.raises(InvalidSpec, match=r"own\.x cannot be the name of a store here"):
        JoinedDataset({"own.x": store, "own": own})


@pytest.mark.parametrize("values", [np.array(IDS), SIGNALS.astype(">f4"), np.array([None] * 24)])
def test_arrays_that_no_tensor_holds_are_named(store: Store, values: Any) -> None:
    stores = {"rows": store, "own": Arrays(IDS, {"mine": values})}
    with pytest.raises(InvalidSpec, match=r"own is .*, which no tensor holds; give numbers"):
        JoinedDataset(stores)
    assert list(JoinedDataset(stores, names=["rows"])[:]) == ["rows"]


def test_what_is_no_mapping_is_refused(store: Store) -> None:
    for wrong in (store, [store], {}):
        with pytest.raises(InvalidSpec, match="stores must name at least one, such as"):
            JoinedDataset(wrong)  # type: ignore[arg-type]


def test_a_join_that_is_made_is_told_nothing(store: Store) -> None:
    made = open_together({"rows": store})
    for told in ({"order": "rows"}, {"only_common": True}, {"root": "/elsewhere"}):
        with pytest.raises(InvalidSpec, match="cannot be said of a join that is made already"):
            JoinedDataset(made, **told)  # type: ignore[arg-type]


@pytest.mark.parametrize("holder", [Resident, Streaming])
def test_nothing_can_be_held(joined: JoinedDataset, holder: Any) -> None:
    """As of a side without samples: tensors of no rows, as `dataset[:]` gives them."""
    empty = joined.view([])
    assert_same(holder(empty).batch(torch.arange(0)), empty[:])


# Folds and splits


def test_the_sides_of_folds_are_views(joined: JoinedDataset) -> None:
    tested: list[int] = []
    for fold in leave_one_group_out(joined.joined):
        fold = with_validation(fold, joined.joined, 0.3, seed=0, groups=joined.joined.groups)
        sides = joined.sides(fold)
        assert list(sides) == ["train", "validation", "test"]
        for side, data in sides.items():
            assert np.array_equal(data.index, fold.sides[side])
            check(joined, data[:])
            assert data.joined is joined.joined
        assert set(sides["test"][:]["groups"].tolist()) == {joined.group_names.index(fold.name)}
        check(joined, next(iter(Loader(sides["train"], 3))))
        tested += sides["test"].index.tolist()
    assert sorted(tested) == list(range(21))


def test_groups_on_two_sides_are_refused(joined: JoinedDataset) -> None:
    fold = stratified(joined.joined, 3, seed=0)[0]
    with pytest.raises(LeakageError, match="share 3 groups"):
        joined.sides(fold)
    assert set(joined.sides(fold, leaks="allow")) == {"train", "test"}
    with pytest.raises(InvalidSpec, match="leaks must be refuse or allow"):
        joined.sides(fold, leaks="perhaps")
    with pytest.raises(InvalidFolds, match="made of other samples"):
        joined.sides(stratified(Arrays(IDS, labels=LABELS), 3, seed=0)[0])


def test_splits_and_masks(joined: JoinedDataset) -> None:
    train = joined.split("train")
    assert {IDS.index(name) % 4 for name in train.ids} == {1, 2, 3}
    assert len(train) + len(joined.split("test")) == len(joined)
    mask = joined.joined.labels == 1
    assert set(joined.view(mask)[:]["labels"].tolist()) == {1}
    assert joined.view([5, 2])[:]["index"].tolist() == [5, 2]
    with pytest.raises(InvalidSpec, match="no split 'val' in this join, which has test, train"):
        joined.split("val")
    for wrong in ([21], [-1], [0.5], [[1]]):
        with pytest.raises(InvalidSpec, match=r"positions in 0\.\.20"):
            joined.view(wrong)


def test_a_join_that_was_made_before(store: Store, reverse: Store) -> None:
    made = open_together({"rows": store, "other": reverse}, order="other")
    joined = JoinedDataset(made)
    assert joined.ids.tolist() == made.ids.tolist()
    assert joined.ids[0] == IDS[-1]
    assert "21 of 21 samples, other float32[3, 6, 6], rows float32" in repr(joined)


def test_the_page_about_it_runs(tmp_path: Path) -> None:
    """Every block of Python in the document, one after the other, on a store of this test."""
    store = make_people(tmp_path, groups=GROUPS, splits=["train"] * 24)
    text = (ROOT / "docs" / "training-data.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 4
    known: dict[str, Any] = {}
    for block in blocks:
        exec(block.replace('"3f2a9c"', repr(str(store.path))), known)
    assert known["state"]["delivered"] == len(known["dataset"]) == 24
    assert set(known["batch"]) == {"pi", "signals", "inputs", "labels", "groups", "index"}


def test_pickled_it_opens_its_stores_again(joined: JoinedDataset) -> None:
    again = pickle.loads(pickle.dumps(joined.view([3, 1])))
    assert again.joined.members["rows"].source is not joined.joined.members["rows"].source
    assert_same(again[:], joined[[3, 1]])
