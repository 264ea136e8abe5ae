"""Folds and joins go straight into datasets: what is delivered is the sample of that id."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi_cache import Store  # noqa: E402
from pi_cache.errors import InvalidSpec, LeakageError  # noqa: E402
from pi_cache.sampling.folds import leave_one_group_out, stratified, with_validation  # noqa: E402
from pi_cache.sampling.joins import open_together  # noqa: E402
from pi_cache.sampling.leakage import check_leakage  # noqa: E402
from tests.pi_cache.people import GROUPS, IDS, image_value, make_people  # noqa: E402
from training.data import PersistenceImageDataset  # noqa: E402

pytestmark = pytest.mark.torch

STATUS = [2 if i in (2, 5) else 0 for i in range(24)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_people(tmp_path_factory.mktemp("a"), groups=GROUPS, status=STATUS)


@pytest.fixture(scope="module")
def reverse(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same samples, last first, another of them not OK."""
    return make_people(
        tmp_path_factory.mktemp("b"),
        IDS[::-1],
        labels=[i % 3 for i in range(24)][::-1],
        groups=GROUPS[::-1],
        status=[1 if i == 23 else 0 for i in range(24)],
        sigma=0.1,
    )


def test_the_sides_of_a_fold_are_datasets(store: Store) -> None:
    delivered: list[str] = []
    for fold in leave_one_group_out(store):
        fold = with_validation(fold, store, 0.3, seed=0, groups=store.groups)
        assert check_leakage(fold, store) == ("groups",)
        for side, numbers in fold.sides.items():
            data = PersistenceImageDataset(store, samples=numbers)
            assert len(data) == len(numbers) and not data.left_out
            assert np.array_equal(data.index, numbers)
            if side == "test":
                delivered += data.ids.tolist()
                assert set(np.asarray(data.groups)) == {fold.name}
    assert sorted(delivered) == sorted(
        name for name, code in zip(IDS, STATUS, strict=True) if not code
    )


def test_a_trainer_is_stopped_by_one_line(store: Store) -> None:
    with pytest.raises(LeakageError, match="share 4 groups"):
        check_leakage(stratified(store, 3, seed=0), PersistenceImageDataset(store).store)


def test_members_of_a_join_deliver_one_sample_at_one_position(store: Store, reverse: Store) -> None:
    joined = open_together({"rows": store, "columns": reverse})
    assert len(joined) == 21, "two are not OK here, one there"
    (fold, *_) = leave_one_group_out(joined)
    sets = [
        PersistenceImageDataset(member.source, samples=member.rows[fold.train])
        for member in joined.members.values()
        if isinstance(member.source, Store)
    ]
    one, other = (data[:] for data in sets)
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    expected = [image_value(name) for name in joined.ids[fold.train]]
    assert np.array_equal(one[0][:, 0, 0, 0].numpy(), np.array(expected, np.float32))
    with pytest.raises(InvalidSpec, match="only OK samples"):
        PersistenceImageDataset(store, samples=[*joined.member("rows").rows, 2])
