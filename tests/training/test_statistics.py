"""Statistics of training samples: against exact fractions, and refused for any other samples."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi_cache.errors import (  # noqa: E402
    AlreadyPublished,
    InvalidSpec,
    MismatchedStores,
    UnsupportedFormat,
)
from pi_cache.reader import Store, open_store  # noqa: E402
from pi_cache.sampling.folds import leave_one_group_out  # noqa: E402
from tests.pi_cache.made import make_spec, make_store  # noqa: E402
from tests.pi_cache.people import IDS, make_people  # noqa: E402
from training import statistics  # noqa: E402
from training.data import PersistenceImageDataset  # noqa: E402
from training.statistics import (  # noqa: E402
    Statistics,
    fit,
    fit_or_read,
    read_statistics,
    write_statistics,
)

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module", params=["uint8", "float16", "float32"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(make_store(tmp_path_factory.mktemp("통계"), make_spec(40, request.param)))


def ok(store: Store) -> np.ndarray:
    return np.flatnonzero(store.status == 0)


def exact(values: list[float]) -> tuple[float, float]:
    """Mean and deviation of the population, by fractions."""
    numbers = [Fraction(value) for value in values]
    mean = sum(numbers) / len(numbers)
    variance = sum((value - mean) ** 2 for value in numbers) / len(numbers)
    return float(mean), math.sqrt(variance)


def test_equal_to_fractions(store: Store) -> None:
    numbers = ok(store)[:6]
    rows = store.read("images", numbers).astype(float)
    divisor = 255 if store.spec.image.dtype == "uint8" else 1
    values, windows = fit(store, numbers), fit(store, numbers, kind="windows")
    for channel in range(rows.shape[1]):
        mean, std = exact(rows[:, channel].ravel().tolist())
        assert values.mean[channel] == pytest.approx(mean / divisor, rel=1e-14)
        assert values.std[channel] == pytest.approx(std / divisor, rel=1e-14)
        own = [exact(row[channel].ravel().tolist())[1] for row in rows]
        assert windows.std[channel] == pytest.approx(sum(own) / len(own) / divisor, rel=1e-14)
    assert windows.mean == values.mean


def test_neither_order_nor_blocks_matter(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = ok(store)
    whole = fit(store, numbers)
    monkeypatch.setattr(statistics, "BLOCK", 2000)  # two samples
    assert fit(store, numbers[::-1]) == whole
    assert fit(store, store.ids[numbers].tolist()) == whole
    mask = np.zeros(len(store), bool)
    mask[numbers] = True
    assert fit(store, mask) == whole


def test_a_large_mean_hides_no_deviation() -> None:
    rows = 1e8 + np.random.default_rng(0).random((3, 2, 50))
    means, squares = statistics._of_floats(rows)
    mean, std = exact(rows[1, 1].tolist())
    assert means[1, 1] == pytest.approx(mean, rel=1e-15)
    assert math.sqrt(squares[1, 1] / 50) == pytest.approx(std, rel=1e-7)


def test_what_a_dataset_delivers_becomes_mean_0_and_deviation_1(store: Store) -> None:
    dataset = PersistenceImageDataset(store)
    found = fit(store, dataset.index)
    images, _ = dataset[:]
    normal = found(images)
    assert normal.dtype == torch.float32
    assert normal.mean((0, 2, 3)).abs().max() < 1e-5
    assert (normal.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5
    assert torch.allclose(found.undo(normal), images, atol=1e-6)
    stored = torch.from_numpy(store.read("images", dataset.index))
    if stored.dtype == torch.uint8:
        assert torch.allclose(found(stored), normal, atol=1e-6), "stored bytes are divided first"


def test_inputs_along_their_own_axis(store: Store) -> None:
    inputs = store.read("inputs", ok(store)).astype(float)
    found = fit(store, ok(store), array="inputs", channels=[2, 0])
    assert found.mean == pytest.approx(inputs[:, [2, 0]].mean((0, 2, 3)))
    with pytest.raises(InvalidSpec, match="2 channels along axis 1, got a batch of shape"):
        found(torch.zeros(4, 3, 30, 30))
    assert found(torch.zeros(4, 2, 30, 30)).shape == (4, 2, 30, 30)
    with pytest.raises(InvalidSpec, match=r"channels of inputs are some of 0\.\.2, got \[0, 3\]"):
        fit(store, ok(store), array="inputs", channels=[0, 3])


def test_a_constant_channel(tmp_path: Path) -> None:
    store = make_people(tmp_path)  # an image of theirs is one value everywhere
    batch = torch.full((1, 3, 6, 6), 0.75, dtype=torch.float64)
    one, epsilon = (fit(store, range(24), kind="windows", zero=zero) for zero in ("one", "epsilon"))
    assert one.std == (0, 0, 0)
    assert torch.allclose(one(batch), batch - one.mean[0])
    assert epsilon(batch).abs().min() > 1e13, "as published: any other value becomes huge"


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e8 + 0.1, -0.7])
def test_the_mean_of_equal_numbers_is_that_number(value: float) -> None:
    """Rounding has it otherwise, and then the deviation of a constant is 1e-17 and divides."""
    means, squares = statistics._of_floats(np.full((3, 2, 77), value))
    assert (means == value).all() and not squares.any()
    total = np.full(1, math.fsum([value] * 3) / 3)
    assert statistics._between(total, np.full((3, 1), value), 0) == value


def test_bytes_of_a_large_picture_do_not_overflow() -> None:
    """The number of values times the sum of their squares has more than 64 bits."""
    rows = np.full((1, 1, 2**24), 255, np.uint8)
    rows[0, 0, : 2**22] = 0
    means, squares = statistics._of_bytes(rows)
    assert means[0, 0] == 255 * 0.75
    assert squares[0, 0] == 2**24 * 255**2 * 0.75 * 0.25


# --- Kept by name --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Store:
    groups = [f"S{i % 4}" for i in range(24)]
    return make_people(tmp_path_factory.mktemp("사람"), groups=groups)


def test_they_are_found_by_name(people: Store, tmp_path: Path) -> None:
    folds = leave_one_group_out(people)
    named = {fold.name: fit(people, fold.train) for fold in folds}
    path = tmp_path / "통계.json"
    write_statistics(path, named)
    write_statistics(path, named)  # the same again is nothing new
    for fold in folds:
        found = read_statistics(path, fold.name)
        assert found == named[fold.name]
        found.check(people, fold.train)
        found.check(people, people.ids[fold.train[::-1]].tolist())
    with pytest.raises(AlreadyPublished, match="holds other statistics"):
        write_statistics(path, {"other": named["S0"]})
    with pytest.raises(InvalidSpec, match="no statistics 'S9'; there are S0, S1, S2, S3"):
        read_statistics(path, "S9")


def test_another_split_is_refused(people: Store, tmp_path: Path) -> None:
    first, second = list(leave_one_group_out(people))[:2]
    found = fit(people, first.train)
    with pytest.raises(MismatchedStores, match="fitted on 18 samples of split") as caught:
        found.check(people, second.train)
    assert len(caught.value.problems) == 1
    with pytest.raises(MismatchedStores, match="fitted on 18 samples"):
        found.check(people, first.train[:-1])
    other = make_people(tmp_path, IDS, groups=[f"S{i % 4}" for i in range(24)], sigma=0.1)
    with pytest.raises(MismatchedStores, match=f"of store {people.key[:12]}, this is"):
        found.check(other, first.train)


def test_fitted_once_and_read_afterwards(people: Store, tmp_path: Path) -> None:
    fold, other = list(leave_one_group_out(people))[:2]
    path = tmp_path / "run" / "statistics.json"
    found = fit_or_read(path, "train", people, fold.train, kind="windows")
    written = path.read_bytes()
    assert fit_or_read(path, "train", people, fold.train, kind="windows") == found
    assert path.read_bytes() == written
    with pytest.raises(MismatchedStores, match="statistics of other data"):
        fit_or_read(path, "train", people, other.train)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "kind 'windows' there, 'values' asked for"),
        ({"kind": "windows", "zero": "epsilon"}, "zero 'one' there, 'epsilon' asked for"),
        ({"kind": "windows", "channels": [1, 0]}, r"channels \(0, 1\) there, \(1, 0\) asked for"),
    ],
)
def test_statistics_fitted_in_another_way_are_no_answer(
    how: dict[str, object], message: str, people: Store, tmp_path: Path
) -> None:
    path, names = tmp_path / "statistics.json", list(people.channels[:2])
    found = fit_or_read(path, "train", people, range(24), kind="windows", channels=names)
    again = fit_or_read(path, "train", people, range(24), kind="windows", channels=[0, 1])
    assert again == found and found.channels == (0, 1)
    with pytest.raises(MismatchedStores, match=message):
        fit_or_read(path, "train", people, range(24), **how)
    with pytest.raises(TypeError, match="unexpected keyword argument 'kinds'"):
        fit_or_read(path, "train", people, range(24), kinds="windows")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"[]", InvalidSpec, "holds no statistics"),
        (b"\xff", InvalidSpec, "holds no statistics"),
        (b'{"format_version": 9, "statistics": {}}', UnsupportedFormat, "format 9 of statistics"),
        (b'{"format_version": 1, "statistics": {"a": {"kind": "values"}}}', InvalidSpec, "no stat"),
    ],
)
def test_damaged_files(content: bytes, error: type, message: str, tmp_path: Path) -> None:
    path = tmp_path / "statistics.json"
    path.write_bytes(content)
    with pytest.raises(error, match=message):
        read_statistics(path, "a")


def test_wrong_numbers_in_a_file_are_refused(people: Store, tmp_path: Path) -> None:
    path = tmp_path / "statistics.json"
    write_statistics(path, {"a": fit(people, range(24))})
    document = json.loads(path.read_bytes())
    for field, value in {"std": [1.0], "mean": [1, 2, math.inf], "zero": "two"}.items():
        wrong = json.loads(json.dumps(document))
        wrong["statistics"]["a"][field] = value
        path.write_text(json.dumps(wrong))
        with pytest.raises(InvalidSpec, match="Statistics: "):
            read_statistics(path, "a")


def test_what_cannot_be_fitted(people: Store) -> None:
    with pytest.raises(InvalidSpec, match="there are none"):
        fit(people, [])
    with pytest.raises(InvalidSpec, match="statistics are of values or windows"):
        fit(people, [0], kind="median")
    with pytest.raises(InvalidSpec, match="statistics are of values or windows"):
        fit(people, [0], array="labels")
    with pytest.raises(InvalidSpec, match="channel 7 is not in this store"):
        fit(people, [0], channels=[7])


def test_samples_that_are_not_ok_are_refused(store: Store) -> None:
    bad = int(np.flatnonzero(store.status)[0])
    with pytest.raises(InvalidSpec, match=r"samples must be OK: .* is "):
        fit(store, [bad])


def test_bytes_may_stand_for_a_range_from_below_zero(people: Store) -> None:
    """As those of Gramian angular fields: 0 is -1, and 255 is 1."""
    found = fit(people, range(24))
    ranged = Statistics(**{**statistics.asdict(found), "maximum": 127.5, "low": -1.0})
    stored = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    delivered = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert torch.allclose(ranged(stored), ranged(delivered), atol=1e-6)
