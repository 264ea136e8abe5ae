"""Which samples a run is given, what a network reads of them, and the file that keeps both."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from pi_cache import Store, files  # noqa: E402
from pi_cache.errors import (  # noqa: E402
    AlreadyPublished,
    InvalidSpec,
    LeakageError,
    UnsupportedFormat,
)
from pi_cache.sampling.foldfiles import to_file  # noqa: E402
from pi_cache.sampling.folds import leave_one_group_out, stratified  # noqa: E402
from pi_cache.specs import DiagramSpec, ImageSpec  # noqa: E402
from tests.pi_cache.people import GROUPS, IDS, make_people  # noqa: E402
from training.models.features import statistics  # noqa: E402
from training.tasks import DataSpec, Task, open_task, prepare  # noqa: E402
from training.trained import (  # noqa: E402
    ModelSpec,
    Trained,
    check_same_classes,
    find_trained,
    read_trained,
    write_trained,
)
from training.views import Piece, View, fit_view, parse_terms  # noqa: E402

pytestmark = pytest.mark.torch

SPLITS = ["train" if i % 4 else "test" for i in range(24)]
SIGNALS = np.random.default_rng(0).normal(2, 3, (24, 2, 30)).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """24 samples of 4 people; the labels 0 and 2 of three names occur."""
    return make_people(
        tmp_path_factory.mktemp("a"),
        labels=[2 * (i // 4 % 2) for i in range(24)],
        groups=GROUPS,
        splits=SPLITS,
    )


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Signals of one's own, the last sample first."""
    path = tmp_path_factory.mktemp("own") / "신호.npz"
    np.savez(path, ids=np.array(IDS[::-1]), signals=SIGNALS[::-1])
    return path


@pytest.fixture
def spec(store: Store, own: Path) -> DataSpec:
    return DataSpec(stores={"pi": str(store.path)}, arrays={"signals": str(own)}, validation=1 / 3)


@pytest.fixture
def task(spec: DataSpec) -> Task:
    return open_task(spec)


def test_sides_are_disjoint_and_told(task: Task) -> None:
    ids = {name: set(side.ids.tolist()) for name, side in task.sides.items()}
    assert ids["test"] == {one for one, split in zip(IDS, SPLITS, strict=True) if split == "test"}
    assert set.union(*ids.values()) == set(IDS)
    assert sum(map(len, ids.values())) == 24
    assert task.record["samples"] == {"train": 12, "validation": 6, "test": 6}
    json.dumps(task.record)


def test_the_validation_part_is_the_same_for_all_runs(spec: DataSpec, task: Task) -> None:
    again = open_task(spec)
    assert again.record == task.record
    assert (again.validation.ids == task.validation.ids).all()


def test_classes_are_those_that_occur(task: Task) -> None:
    assert task.class_names == ("walk", "run")
    batch = task.prepare(task.train[:])
    assert set(batch["labels"].tolist()) == {0, 1}
    assert prepare({"labels": torch.tensor([-1, 2])}, task.numbers)["labels"].tolist() == [-1, 1]


def test_inputs_come_channels_first(task: Task) -> None:
    raw = task.train[:]
    made = task.prepare(raw)["inputs"]
    assert made.dtype == torch.float32
    assert torch.equal(made, raw["inputs"].movedim(-1, 1).float())


def test_limit_takes_of_training_samples_only(spec: DataSpec, task: Task) -> None:
    few = open_task(DataSpec(**{**spec.to_dict(), "limit": 6}))
    assert few.record["samples"] == {"train": 6, "validation": 6, "test": 6}
    assert set(few.train.ids) < set(task.train.ids)
    labels = few.train.numbers["labels"].tolist()
    assert labels.count(0) == labels.count(2) == 3


def test_a_limit_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    splits = ["train"] * 3 + ["test"] * 21
    store = make_people(tmp_path, labels=[0, 1, 2] * 8, splits=splits)
    with pytest.raises(InvalidSpec, match="a limit of 2 takes none of 3 training samples"):
        open_task(DataSpec(stores={"pi": str(store.path)}, validation=0, limit=2))


def test_folds_by_name(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    to_file(path, leave_one_group_out(store), store)
    stores = {"pi": str(store.path)}
    task = open_task(
        DataSpec(stores=stores, folds=str(path), fold="S2", validation=0.3, by_group=True)
    )
    people = {side: set(data.joined.groups[data.index]) for side, data in task.sides.items()}
    assert people["test"] == {"S2"}
    assert len(people["validation"]) == 1
    assert set.union(*people.values()) == {"S0", "S1", "S2", "S3"}
    assert sum(map(len, people.values())) == 4
    with pytest.raises(InvalidSpec, match="no fold 'S9'; there are S0, S1, S2, S3"):
        open_task(DataSpec(stores=stores, folds=str(path), fold="S9"))


def test_a_person_on_two_sides_is_refused(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    to_file(path, stratified(store, 3, seed=0), store)
    with pytest.raises(LeakageError, match="train and test share"):
        open_task(DataSpec(stores={"pi": str(store.path)}, folds=str(path), fold="1"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"validation": 1.0}, "validation must be a share"),
        ({"folds": "a.json"}, "give both a file of folds and the name"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"stores": {}}, "no store"),
        ({"arrays": {"pi": "a.npz"}}, "a name of its own"),
    ],
)
def test_a_spec_that_makes_no_sense(spec: DataSpec, change: dict, message: str) -> None:
    change.setdefault("arrays", {})
    with pytest.raises(InvalidSpec, match=message):
        open_task(DataSpec(**{**spec.to_dict(), **change}))


def test_arrays_of_ones_own_need_ids_and_are_not_unpickled(store: Store, tmp_path: Path) -> None:
    stores = {"pi": str(store.path)}
    np.savez(tmp_path / "a.npz", signals=SIGNALS)
    with pytest.raises(InvalidSpec, match="no array 'ids'"):
        open_task(DataSpec(stores=stores, arrays={"own": str(tmp_path / "a.npz")}))
    np.savez(tmp_path / "b.npz", ids=np.array([object()]))
    with pytest.raises(InvalidSpec, match=r"no \.npz file of plain arrays"):
        open_task(DataSpec(stores=stores, arrays={"own": str(tmp_path / "b.npz")}))
    with pytest.raises(FileNotFoundError):
        open_task(DataSpec(stores=stores, arrays={"own": str(tmp_path / "c.npz")}))
    np.save(tmp_path / "d.npy", SIGNALS)
    with pytest.raises(InvalidSpec, match=r"no \.npz file of plain arrays"):
        open_task(DataSpec(stores=stores, arrays={"own": str(tmp_path / "d.npy")}))


@pytest.mark.parametrize("name", ["pi", "signals"])
def test_a_view_is_normalised_by_the_training_side(task: Task, name: str) -> None:
    view = fit_view(name, task.train)
    seen = view(task.prepare(task.train[:])).double()
    flat = seen.transpose(0, 1).flatten(1)
    assert view.shape == tuple(seen.shape[1:])
    assert view.dimensions == seen.ndim - 2
    torch.testing.assert_close(flat.mean(1), torch.zeros(view.channels).double(), atol=1e-5, rtol=0)
    deviation = flat.std(1, correction=0)
    assert torch.allclose(deviation, torch.where(deviation > 0, 1.0, 0.0).double(), atol=1e-5)
    other = view(task.prepare(task.test[:]))
    assert other.double().mean().abs() > 1e-4  # of other samples: not normalised by themselves


def test_raw_samples_are_normalised_by_their_channels(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    from pipeline.build import Options, build
    from pipeline.sources import open_source

    signals = np.random.default_rng(0).normal([1, 5], [1, 3], (40, 30, 2))
    labels = np.arange(40) % 2
    splits = np.array(["train", "test"])[np.arange(40) // 20]
    np.savez(tmp_path / "a.npz", data=signals, labels=labels, splits=splits)
    source = open_source(f"array:{tmp_path / 'a.npz'}", sample="signal")
    window = ImageSpec(pixels=8, birth_range=(-9, 9), persistence_range=(0, 9))
    built = build(source, DiagramSpec(), window, root=tmp_path, options=Options(with_inputs=True))
    task = open_task(DataSpec(stores={"pi": str(built.path)}))
    view = fit_view("inputs", task.train)
    assert view.shape == (2, 30)
    ids = task.train.joined.ids[task.train.index]
    rows = signals[[int(one) for one in ids]]
    expected = (rows - rows.mean((0, 1))) / rows.std((0, 1))
    seen = view(task.prepare(task.train[:])).double().numpy()
    np.testing.assert_allclose(seen, expected.transpose(0, 2, 1), atol=1e-5)


def test_pieces_are_joined_along_channels(task: Task) -> None:
    batch = task.prepare(task.train[:])
    view = fit_view("statistics(signals)+ vector(pi)", task.train, normalise="none")
    expected = torch.cat([statistics(batch["signals"]), batch["pi"].flatten(1)], dim=1)
    assert torch.equal(view(batch), expected)
    assert view.names == ("signals", "pi")
    twice = fit_view("pi+pi", task.train)
    assert twice.shape == (2 * batch["pi"].shape[1], *batch["pi"].shape[2:])
    assert View.from_dict(json.loads(json.dumps(view.to_dict()))) == view


def test_statistics_are_normalised_each(task: Task) -> None:
    seen = fit_view("statistics(signals)", task.train)(task.prepare(task.train[:])).double()
    torch.testing.assert_close(seen.mean(0), torch.zeros(11).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.std(0, correction=0), torch.ones(11).double())


def test_deviations_of_windows_are_those_of_each_sample(task: Task) -> None:
    (piece,) = fit_view("signals", task.train, normalise="windows").pieces
    own = task.train[:]["signals"].double().numpy()
    np.testing.assert_allclose(piece.mean, own.mean((0, 2)), rtol=1e-6)
    np.testing.assert_allclose(piece.std, own.std(2).mean(0), rtol=1e-6)


@pytest.mark.parametrize("text", ["", "a b", "mean(pi)", "pi+", "vector(pi", "vector(a b)"])
def test_no_view(text: str) -> None:
    with pytest.raises(InvalidSpec, match="a view is names joined by"):
        parse_terms(text)


def test_views_that_do_not_fit(task: Task) -> None:
    with pytest.raises(InvalidSpec, match="must agree in all but channels"):
        fit_view("signals + pi", task.train)
    with pytest.raises(InvalidSpec, match="no array 'gaf' to view; there are"):
        fit_view("gaf", task.train)
    with pytest.raises(InvalidSpec, match="normalise must be one of"):
        fit_view("pi", task.train, normalise="all")
    view = fit_view("pi", task.train)
    with pytest.raises(InvalidSpec, match="this view reads 'pi', the batch has labels"):
        view({"labels": torch.zeros(2)})
    with pytest.raises(InvalidSpec, match="pi must be floats"):
        view({"pi": torch.zeros(2, *view.shape, dtype=torch.uint8)})


def make_trained(task: Task) -> Trained:
    view = fit_view("signals", task.train)
    model = ModelSpec(name="wrn-16-1", channels=2, classes=2, dimensions=1)
    torch.manual_seed(0)
    return Trained(
        network=model.build(),
        model=model,
        view=view,
        class_names=task.class_names,
        record={"epoch": 3, "data": task.record},
    )


def test_a_network_and_all_it_needs_in_one_file(task: Task, tmp_path: Path) -> None:
    trained = make_trained(task)
    batch = task.prepare(task.test[:])
    before = trained(batch)
    write_trained(tmp_path / "best.safetensors", trained)
    again = read_trained(tmp_path)
    assert find_trained(f"{tmp_path}:best") == find_trained(tmp_path / "best.safetensors")
    assert (again.model, again.view, again.class_names) == (
        trained.model,
        trained.view,
        trained.class_names,
    )
    assert again.record == trained.record
    assert torch.equal(again(batch).logits, before.logits)
    assert not again(batch).logits.requires_grad
    with pytest.raises(AlreadyPublished):
        write_trained(
            tmp_path / "best.safetensors",
            Trained(
                network=trained.network,
                model=trained.model,
                view=trained.view,
                class_names=("a", "b"),
                record={},
            ),
        )


def test_files_that_are_no_network(task: Task, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such network"):
        read_trained(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="is no folder of a run"):
        read_trained(tmp_path)
    (tmp_path / "run.json").write_bytes(b"{}")
    with pytest.raises(FileNotFoundError, match="the run has not ended"):
        read_trained(f"{tmp_path}:last")
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(UnsupportedFormat, match="holds no network of this project"):
        read_trained(tmp_path / "a.safetensors")
    save_file({"w": torch.zeros(1)}, tmp_path / "b.safetensors")
    with pytest.raises(UnsupportedFormat, match="holds no network of this project"):
        read_trained(tmp_path / "b.safetensors")


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 100, 1000, -1])
def test_a_torn_file_is_refused(task: Task, tmp_path: Path, cut: int) -> None:
    write_trained(tmp_path / "best.safetensors", make_trained(task))
    whole = files.read_bytes(tmp_path / "best.safetensors", 1 << 30)
    (tmp_path / "torn.safetensors").write_bytes(whole[:cut])
    with pytest.raises(UnsupportedFormat, match="holds no network"):
        read_trained(tmp_path / "torn.safetensors")


def test_a_flipped_bit_is_found(task: Task, tmp_path: Path) -> None:
    write_trained(tmp_path / "best.safetensors", make_trained(task))
    whole = bytearray(files.read_bytes(tmp_path / "best.safetensors", 1 << 30))
    whole[-100] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(whole)
    with pytest.raises(UnsupportedFormat, match="is damaged: its SHA-256 is"):
        read_trained(tmp_path / "flipped.safetensors")


def test_teachers_of_other_classes_are_refused(task: Task) -> None:
    trained = make_trained(task)
    check_same_classes(("walk", "run"), trained, "RUN")
    with pytest.raises(InvalidSpec, match="teacher RUN knows 2 classes"):
        check_same_classes(("run", "walk"), trained, "RUN")


def test_a_piece_is_checked() -> None:
    with pytest.raises(InvalidSpec, match="no piece of a view"):
        Piece(name="pi", kind="mean", shape=(1,))
    with pytest.raises(InvalidSpec, match="no view"):
        View.from_dict([{"name": "pi", "unknown": 1}])
    sound = Piece(name="pi", kind="whole", shape=(2, 4), mean=(0, 1), std=(1, 2))
    for change in (
        {"mean": (0.0,) * 3, "std": (1.0,) * 3},
        {"std": (0.0, 1.0)},
        {"std": (float("nan"), 1.0)},
        {"mean": ("a", "b")},
        {"shape": ("a",)},
    ):
        with pytest.raises(InvalidSpec, match="no piece of a view"):
            dataclasses.replace(sound, **change)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("class_names", ["walk"], "1 names of 2 classes"),
        ("record", None, "its record is NoneType"),
        ("model", {"name": None, "channels": 2, "classes": 2, "dimensions": 1}, "do not fit"),
        ("view", [{"name": "pi", "kind": "whole", "shape": [2, 8, 8]}], "2 and 1"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(
    task: Task, tmp_path: Path, part: str, change: object, message: str
) -> None:
    trained = make_trained(task)
    document = {
        "format_version": 1,
        "model": dataclasses.asdict(trained.model),
        "view": trained.view.to_dict(),
        "class_names": list(trained.class_names),
        "record": {},
    }
    text = json.dumps(document | {part: change})
    save_file(trained.network.state_dict(), tmp_path / "a.safetensors", {"pi_cache": text})
    with pytest.raises(UnsupportedFormat, match=message):
        read_trained(tmp_path / "a.safetensors")


def test_a_device_that_is_not_there_is_not_blamed_on_the_file(task: Task, tmp_path: Path) -> None:
    write_trained(tmp_path / "best.safetensors", make_trained(task))
    with pytest.raises(InvalidSpec, match="no network can be put on device 'gpu' here"):
        read_trained(tmp_path, device="gpu")
