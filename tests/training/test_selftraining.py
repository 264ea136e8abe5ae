"""Pseudo-labels: what is kept of what a teacher says, what reaches a student, and what must not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from pi_cache import Store  # noqa: E402
from pi_cache.errors import (  # noqa: E402
    AlreadyPublished,
    InvalidSpec,
    LeakageError,
    UnsupportedFormat,
)
from pi_cache.sampling.draws import ranks  # noqa: E402
from tests.training.waves import CHANNELS, LABELS, SAMPLES, made_store  # noqa: E402
from training.augment.augmenter import Augmenter  # noqa: E402
from training.augment.batches import AugmentedBatches  # noqa: E402
from training.augment.mixing import Mixup  # noqa: E402
from training.commands.selftrain import noisy_students, pseudo_label  # noqa: E402
from training.runs.execute import run  # noqa: E402
from training.runs.spec import RunSpec  # noqa: E402
from training.selftraining.pool import label_pool  # noqa: E402
from training.selftraining.pseudo import (  # noqa: E402
    Choice,
    Pseudo,
    check_pool,
    chosen,
    pseudo_labels,
    read_pseudo,
    write_pseudo,
)
from training.selftraining.student import (  # noqa: E402
    SelfTraining,
    Student,
    divide,
    noisy_student,
)
from training.selftraining.targets import Targets, target_table  # noqa: E402
from training.tasks import DataSpec, open_task  # noqa: E402
from training.trained import ModelSpec, Trained, read_trained  # noqa: E402
from training.trainer.config import TrainConfig  # noqa: E402
from training.views import fit_view  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made_store(tmp_path_factory.mktemp("waves"))


def run_spec(store: Store, **changes: Any) -> RunSpec:
    config = TrainConfig(
        epochs=changes.pop("epochs", 6),
        batch_size=16,
        learning_rate=0.02,
        how="resident",
        save_every=100,
    )
    given = {
        "data": DataSpec(stores={"pi": str(store.path)}, validation=0.2),
        "view": "inputs",
        "model": "resnet-8",
        "config": config,
    }
    return RunSpec(**{**given, **changes})


def chain(spec: SelfTraining, folder: Path) -> list[Any]:
    return list(noisy_student(spec, folder, say=lambda text: None))


@pytest.fixture(scope="module")
def teacher(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    run(run_spec(store, epochs=1), folder)
    return folder


def untrained(store: Store) -> tuple[Trained, Any]:
    task = open_task(DataSpec(stores={"pi": str(store.path)}, validation=0.2))
    torch.manual_seed(0)
    model = ModelSpec(name="resnet-8", channels=CHANNELS, classes=2, dimensions=1)
    view = fit_view("inputs", task.train)
    names = task.class_names
    return Trained(
        network=model.build(), model=model, view=view, class_names=names, record={}
    ), task


# --- what is kept ---------------------------------------------------------------------------------


def slowly_chosen(
    confidence: list[float], classes: list[int], ids: list[str], choice: Choice, count: int
) -> list[int]:
    """Rows to keep, one after another."""
    place = ranks(ids, choice.seed).tolist()
    kept = []
    for number in range(count):
        mine = [
            i for i in range(len(ids)) if classes[i] == number and confidence[i] >= choice.threshold
        ]
        surest = sorted(mine, key=lambda i: (-confidence[i], place[i]))
        if len(surest) >= (choice.per_class or 0):
            kept += surest[: choice.per_class]
            continue
        left = list(surest)
        while surest and len(left) < (choice.per_class or 0):
            missing = (choice.per_class or 0) - len(left)
            drawn = sorted(surest, key=lambda i: place[i])
            left += surest if missing >= len(surest) else drawn[:missing]
        kept += left
    return kept


@pytest.mark.parametrize("per_class", [1, 3, 7, 20])
@pytest.mark.parametrize("threshold", [0.0, 0.6])
def test_classes_are_evened_out_as_the_slow_way_says(per_class: int, threshold: float) -> None:
    rng = np.random.default_rng(per_class)
    confidence, classes = rng.random(30).round(1), rng.integers(0, 3, 30)
    confidence[classes == 2] = 0.5  # all alike: ties go by id
    ids = [f"s{i}" for i in range(30)]
    choice = Choice(threshold=threshold, per_class=per_class, seed=4)
    rows = chosen(
        torch.from_numpy(confidence), torch.from_numpy(classes), np.array(ids, object), choice, 4
    )
    slow = slowly_chosen(confidence.tolist(), classes.tolist(), ids, choice, 4)
    assert rows.tolist() == slow
    assert set(np.bincount(classes[rows], minlength=4)) <= {0, per_class}


def test_all_that_are_sure_enough_are_kept_in_their_order() -> None:
    sure = torch.tensor([0.9, 0.2, 0.5, 0.3])
    ids = np.array(list("abcd"), object)
    rows = chosen(sure, torch.tensor([0, 1, 0, 1]), ids, Choice(threshold=0.3), 2)
    assert rows.tolist() == [0, 2, 3]


def test_a_choice_names_every_problem() -> None:
    with pytest.raises(
        InvalidSpec, match=r"kind must .* threshold must .* per_class .* temperature"
    ):
        Choice(kind="firm", threshold=1.5, per_class=0, temperature=0)


# --- what a teacher says --------------------------------------------------------------------------


def test_shares_are_the_softmax_of_what_the_network_gives(store: Store) -> None:
    trained, task = untrained(store)
    batch = task.prepare(task.train.batch(slice(None)))
    logits = trained(batch).logits.double()
    for kind, temperature in (("soft", 1.0), ("soft", 4.0), ("hard", 1.0)):
        choice = Choice(kind=kind, threshold=0, temperature=temperature)
        made = pseudo_labels(trained, task.train, choice, record={})
        expected = torch.exp(logits / temperature)
        expected /= expected.sum(1, keepdim=True)
        assert made.ids.tolist() == task.train.ids.tolist()
        torch.testing.assert_close(made.confidence.double(), expected.amax(1), rtol=1e-5, atol=0)
        if kind == "hard":
            expected = torch.nn.functional.one_hot(expected.argmax(1), 2).double()
        torch.testing.assert_close(made.shares.double(), expected, rtol=1e-5, atol=1e-7)
        assert made.labels.tolist() == logits.argmax(1).tolist()
        assert sum(made.counts.values()) == len(made) == made.record["pool"]


def test_no_sure_sample_is_an_error(store: Store) -> None:
    trained, task = untrained(store)
    with pytest.raises(InvalidSpec, match=r"none of \d+ samples reaches the confidence 1"):
        pseudo_labels(trained, task.train, Choice(threshold=1), record={})
    with pytest.raises(InvalidSpec, match="no samples without a label"):
        pseudo_labels(trained, task.train.view([]), Choice(), record={})


def test_a_file_gives_back_what_was_written(store: Store, tmp_path: Path) -> None:
    trained, task = untrained(store)
    made = pseudo_labels(trained, task.train, Choice(threshold=0, per_class=9), record={"a": 1})
    file = tmp_path / "pseudo.safetensors"
    for _ in "12":
        write_pseudo(file, made)
    found = read_pseudo(file)
    assert found.ids.tolist() == made.ids.tolist() and found.record == made.record
    assert torch.equal(found.shares, made.shares) and found.class_names == made.class_names
    with pytest.raises(AlreadyPublished, match="exists with other bytes"):
        write_pseudo(file, replace(made, record={}))
    file.with_name("other").write_bytes(b"{}")
    with pytest.raises(UnsupportedFormat, match="holds no pseudo-labels"):
        read_pseudo(file.with_name("other"))
    with pytest.raises(FileNotFoundError, match="no pseudo-labels; `training pseudo-label`"):
        read_pseudo(tmp_path / "absent")


# --- the pool -------------------------------------------------------------------------------------


def test_a_pool_with_samples_that_are_held_back_is_refused(store: Store) -> None:
    task = open_task(DataSpec(stores={"pi": str(store.path)}, validation=0.2))
    assert task.test is not None and task.validation is not None
    check_pool(task.train, task)
    for side, name in ((task.test, "test"), (task.validation, "validation")):
        mixed = task.train.view(np.concatenate([task.train.index, side.index[:2]]))
        with pytest.raises(LeakageError, match=f"2 samples of the pool are on the {name} side"):
            check_pool(mixed, task)


def test_people_who_are_tested_are_not_in_the_pool(tmp_path: Path) -> None:
    groups = ["kim" if i % 4 == 0 else "lee" for i in range(SAMPLES)]
    people = made_store(tmp_path, groups=groups)
    task = open_task(DataSpec(stores={"pi": str(people.path)}, validation=0))
    check_pool(task.train, task)
    groups = ["lee" if i % 4 == 0 else "kim" for i in range(SAMPLES)]
    others = made_store(tmp_path / "others", groups=groups)
    pool = open_task(DataSpec(stores={"pi": str(others.path)}, validation=0)).train
    assert task.test is not None and not set(pool.ids) & set(task.test.ids)
    with pytest.raises(LeakageError, match=r"samples of kim, who are on the test side"):
        check_pool(pool, task)


def test_a_share_of_each_class_hides_its_labels(store: Store) -> None:
    train = open_task(DataSpec(stores={"pi": str(store.path)}, validation=0)).train
    labelled, pool = divide(train, 0.75, seed=3)
    assert not set(labelled.ids) & set(pool.ids)
    assert set(labelled.ids) | set(pool.ids) == set(train.ids)
    assert np.bincount(train.numbers["labels"]).tolist() == [12, 24]
    assert np.bincount(pool.numbers["labels"]).tolist() == [9, 18]
    again = divide(train.view(train.index[::-1]), 0.75, seed=3)[1]
    assert set(again.ids) == set(pool.ids) != set(divide(train, 0.75, seed=4)[1].ids)
    with pytest.raises(InvalidSpec, match="all 36 training samples are with a label"):
        divide(train, 0, seed=0)


def test_samples_without_a_label_in_the_store_are_the_pool(tmp_path: Path) -> None:
    labels = [-1 if i % 4 == 1 else label for i, label in enumerate(LABELS)]
    bare = made_store(tmp_path, labels=labels)
    task = open_task(DataSpec(stores={"pi": str(bare.path)}, validation=0.25))
    _, pool = divide(task.train, 0, seed=0)
    assert len(pool) == 12 and (pool.numbers["labels"] == -1).all()
    assert task.validation is not None and (task.validation.numbers["labels"] >= 0).all()
    made = chain(SelfTraining(run=run_spec(bare, epochs=1), rounds=1), tmp_path / "out")
    assert made[1].pool == 12 and made[1].correct is None


# --- what reaches a student -----------------------------------------------------------------------


def pseudo_of(ids: list[str], shares: list[list[float]]) -> Pseudo:
    return Pseudo(
        ids=np.array(ids, object),
        shares=torch.tensor(shares),
        confidence=torch.tensor(shares).amax(1),
        class_names=("walk", "run"),
        record={},
    )


def test_targets_are_labels_and_pseudo_labels_by_sample(store: Store) -> None:
    task = open_task(DataSpec(stores={"pi": str(store.path)}, validation=0))
    labelled, pool = divide(task.train, 0.5, seed=0)
    said = pseudo_of(pool.ids[:2].tolist(), [[0.25, 0.75], [1, 0]])
    transform = Targets(target_table(labelled, said, task.numbers))
    where = [*labelled.index[:3], *pool.index[:2]]
    stored = task.train.view(where).only(["inputs", "labels", "index"]).batch(slice(None))
    batch = transform(stored)
    expected = torch.nn.functional.one_hot(torch.from_numpy(labelled.numbers["labels"][:3]), 2)
    assert batch["targets"].tolist() == [*expected.float().tolist(), [0.25, 0.75], [1, 0]]
    assert "labels" not in batch and batch["inputs"].shape[1] == CHANNELS
    unknown = task.train.view(pool.index[2:4]).batch(slice(None))
    with pytest.raises(InvalidSpec, match="neither a label nor a pseudo-label"):
        transform(unknown)


def test_what_does_not_fit_together_is_refused(store: Store) -> None:
    task = open_task(DataSpec(stores={"pi": str(store.path)}, validation=0))
    labelled, _ = divide(task.train, 0.5, seed=0)
    with pytest.raises(InvalidSpec, match="1 samples have a label and a pseudo-label"):
        target_table(labelled, pseudo_of([labelled.ids[0]], [[1, 0]]), task.numbers)
    with pytest.raises(InvalidSpec, match=r"1 pseudo-labelled samples are not in these stores \(x"):
        target_table(labelled, pseudo_of(["x"], [[1, 0]]), task.numbers)
    mixing = AugmentedBatches(Augmenter([Mixup()], seed=0), {}, classes=2)
    with pytest.raises(InvalidSpec, match="mix samples do not go with pseudo-labels"):
        Targets(torch.zeros(2, 2), mixing)
    student = Student(torch.nn.Identity(), fit_view("inputs", task.train))
    with pytest.raises(InvalidSpec, match="a student of self-training needs targets"):
        student.terms(task.prepare(task.train.batch([0])))
    with pytest.raises(InvalidSpec, match=r"rounds must be .* unlabelled_share must be"):
        SelfTraining(run=run_spec(store), rounds=0, unlabelled_share=1)


def test_hidden_labels_decide_nothing(store: Store, tmp_path: Path) -> None:
    """Labels that are hidden, and labels that are not there at all: the same bits."""
    bare = run_spec(store, epochs=2)
    config = replace(bare.config, select="last")
    known = replace(bare, config=config, data=replace(bare.data, validation=0))
    _, pool = divide(open_task(known.data).train, 0.5, 0)
    without = [
        -1 if name in set(pool.ids) else label
        for name, label in zip(store.ids, LABELS, strict=True)
    ]
    other = made_store(tmp_path / "bare", labels=without)
    unknown = replace(known, data=replace(known.data, stores={"pi": str(other.path)}))
    folders = [tmp_path / "a", tmp_path / "b"]
    one = chain(SelfTraining(run=known, rounds=2, unlabelled_share=0.5), folders[0])
    two = chain(SelfTraining(run=unknown, rounds=2), folders[1])
    for name in ("round-0", "round-1", "round-2"):
        first, second = (read_trained(folder / name).network.state_dict() for folder in folders)
        assert all(torch.equal(first[key], second[key]) for key in first)
    assert one[2].correct is not None and two[2].correct is None


def test_rounds_are_taken_up_again_where_they_were_killed(store: Store, tmp_path: Path) -> None:
    spec = SelfTraining(
        run=run_spec(store, epochs=2), rounds=2, unlabelled_share=0.5, choice=Choice(per_class=8)
    )
    whole = chain(spec, tmp_path / "whole")
    rounds = noisy_student(spec, tmp_path / "killed", say=lambda text: None)
    next(rounds), next(rounds)
    rounds.close()
    assert not (tmp_path / "killed" / "round-2").exists()
    again = chain(spec, tmp_path / "killed")
    first, second = (
        read_trained(tmp_path / name / "round-2").network.state_dict()
        for name in ("whole", "killed")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert [one.rows for one in again] == [one.rows for one in whole]
    assert all(one.rows and one.rows % 8 == 0 for one in again[1:])
    other = replace(spec, choice=Choice(per_class=9))
    with pytest.raises(AlreadyPublished, match="holds another run"):
        chain(other, tmp_path / "killed")


def test_a_chain_is_known_by_contents_and_not_by_places(store: Store, tmp_path: Path) -> None:
    own = tmp_path / "own.npz"
    np.savez(own, ids=np.array(store.ids, dtype=str), more=np.zeros((SAMPLES, 1), np.float32))
    plain = run_spec(store, epochs=1)
    run = replace(plain, data=replace(plain.data, arrays={"own": str(own)}))
    spec = SelfTraining(run=run, rounds=1, unlabelled_share=0.5)
    chain(spec, tmp_path / "first")
    taught = replace(spec, teacher=str(tmp_path / "first" / "round-0"))
    [made] = chain(taught, tmp_path / "out")
    (tmp_path / "first").rename(tmp_path / "moved")
    moved = replace(spec, teacher=str(tmp_path / "moved" / "round-0"))
    assert chain(moved, tmp_path / "out") == [made]
    np.savez(own, ids=np.array(store.ids, dtype=str), more=np.ones((SAMPLES, 1), np.float32))
    with pytest.raises(AlreadyPublished, match=r"run\.data\.arrays\.own is"):
        chain(moved, tmp_path / "out")


def test_a_teacher_that_was_told_the_hidden_labels_is_refused(
    store: Store, teacher: Path, tmp_path: Path
) -> None:
    spec = SelfTraining(run=run_spec(store), unlabelled_share=0.5, teacher=str(teacher))
    with pytest.raises(LeakageError, match=r"was trained on the labels of \d+ samples of the pool"):
        chain(spec, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # a student of the same hidden labels may teach; one of fewer hidden labels knows some of them
    first = SelfTraining(run=run_spec(store, epochs=1), unlabelled_share=0.5, rounds=1)
    chain(first, tmp_path / "first")
    begun = replace(first, teacher=str(tmp_path / "first" / "round-1"))
    assert len(chain(begun, tmp_path / "second")) == 1
    with pytest.raises(LeakageError, match=r"was trained on the labels of \d+ samples of the pool"):
        chain(replace(begun, unlabelled_share=0.7), tmp_path / "third")


def test_the_pool_of_a_run_is_on_its_training_side(store: Store, teacher: Path) -> None:
    made = label_pool(str(teacher), None, Choice(threshold=0), share=0.5)
    data = DataSpec(stores={"pi": str(store.path)}, validation=0.2)
    assert set(made.ids) <= set(open_task(data).train.ids)
    with pytest.raises(LeakageError, match="of the pool are on the validation side of"):
        label_pool(str(teacher), replace(data, validation=0), Choice(threshold=0), share=0.9)


def test_the_commands_say_what_was_kept(store: Store, teacher: Path, tmp_path: Path) -> None:
    words = [str(teacher), "--unlabelled-share", "0.5", "--threshold", "0", "--json"]
    file = tmp_path / "pseudo.safetensors"
    done = CliRunner().invoke(pseudo_label, [*words, "--out", str(file)], catch_exceptions=False)
    assert json.loads(done.stdout)["kept"] == len(read_pseudo(file))
    words = ["--store", f"pi={store.path}", "--view", "inputs", "--model", "resnet-8"]
    words += ["--epochs", "1", "--rounds", "1", "--unlabelled-share", "0.5", "--out"]
    done = CliRunner().invoke(
        noisy_students, [*words, str(tmp_path / "out")], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["round 0", "round 1"]
    wrong = CliRunner().invoke(noisy_students, [*words, "x", "--temperature", "0"])
    assert wrong.exit_code == 2 and "temperature must be positive" in wrong.stderr


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_people_who_validate_bring_nothing_without_a_label(share: float, tmp_path: Path) -> None:
    labels = [-1 if i % 8 in (1, 6) else label for i, label in enumerate(LABELS)]
    groups = [f"test {i}" if i % 4 == 0 else f"person {i % 3}" for i in range(SAMPLES)]
    people = made_store(tmp_path, labels=labels, groups=groups)
    data = {"stores": {"pi": str(people.path)}, "validation": share}
    task = open_task(DataSpec(**data, by_group=True))
    assert task.validation is not None and (task.validation.numbers["labels"] >= 0).all()
    train, held = (
        {side.group_names[n] for n in side.numbers["groups"]}
        for side in (task.train, task.validation)
    )
    assert held and not train & held
    known = {i for i in range(SAMPLES) if i % 4 and labels[i] >= 0}
    used = set(task.train.index.tolist()) | set(task.validation.index.tolist())
    assert known <= used and (task.train.numbers["labels"] == -1).any()
    alone = open_task(DataSpec(**data))
    assert alone.validation is not None and (alone.validation.numbers["labels"] >= 0).all()
    assert len(alone.train) + len(alone.validation) == 36
