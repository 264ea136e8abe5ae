"""The loop against the loop that anybody would write, and what it refuses."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from pi_cache.errors import InvalidSpec, NotFinite, TrackerNotInstalled  # noqa: E402
from tests.training.made_runs import (  # noqa: E402
    Hinted,
    augmented,
    built,
    config,
    distilled,
    make_model,
    make_signals,
    make_teacher,
    open_signals,
    supervised,
)
from training.loader import Loader  # noqa: E402
from training.methods.base import Term, Terms  # noqa: E402
from training.models.outputs import Outputs  # noqa: E402
from training.trained import ModelSpec, read_trained  # noqa: E402
from training.trainer.events import curves, open_events  # noqa: E402
from training.trainer.loop import Result, train  # noqa: E402
from training.trainer.objectives import Distilled, Regression  # noqa: E402
from training.trainer.sides import Sides  # noqa: E402
from training.trainer.stepper import MOST_SKIPPED  # noqa: E402
from training.views import fit_view  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_signals(tmp_path_factory.mktemp("signals"))


@pytest.fixture
def task(store: Any) -> Any:
    return open_signals(store)


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_loop_is_the_plain_loop(task: Any, tmp_path: Path, optimizer: str) -> None:
    """No dropout, so that nothing is drawn but the order, which a loader gives to both."""
    settings = config(optimizer=optimizer, learning_rate=0.02, schedule="steps:0.5@1", clip=0.5)
    objective, model = supervised(task, dropout=0.0)
    train(objective, task, settings, tmp_path, model=model)

    plain, view = built(model), objective.view
    family = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    momentum = {"momentum": 0.9} if optimizer == "sgd" else {}
    steps = family[optimizer](plain.parameters(), 0.02, weight_decay=1e-4, **momentum)
    loader = Loader(task.train, 8, seed=0)
    for epoch in range(3):
        steps.param_groups[0]["lr"] = 0.02 if epoch == 0 else 0.01
        plain.train()
        for batch in loader:
            seen = task.prepare(batch)
            loss = nn.functional.cross_entropy(plain(view(seen)).logits, seen["labels"])
            steps.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
            steps.step()
    found = read_trained(f"{tmp_path}:last").network.state_dict()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def test_the_log_has_weighted_means(task: Any, tmp_path: Path) -> None:
    objective, model = distilled(task)
    objective.method = Hinted(weight=0.25)
    result = train(objective, task, config(clip=100.0), tmp_path, model=model)
    lines = log(tmp_path)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert set(lines[0]["terms"]) == {"ce", "kd", "hint"}
    for line in lines:
        assert line["loss"] == pytest.approx(sum(line["terms"].values()))
        assert line["samples"] == len(task.train) == 38
        assert line["gradient_norm"] > 0
    assert result == Result.from_dict(json.loads((tmp_path / "result.json").read_text()))
    assert result.epochs == 3


def test_the_best_epoch_is_the_earliest_of_equal_ones(task: Any, tmp_path: Path) -> None:
    objective, model = supervised(task)
    result = train(objective, task, config(epochs=6), tmp_path, model=model)
    scores = [line["validation"]["accuracy"] for line in log(tmp_path)]
    assert result.chosen == scores.index(max(scores)) + 1
    assert result.score == max(scores)
    best, last = read_trained(tmp_path), read_trained(f"{tmp_path}:last")
    assert (best.record["epoch"], last.record["epoch"]) == (result.chosen, 6)
    batch = task.prepare(task.validation.batch(slice(None)))
    right = (best(batch).logits.argmax(1) == batch["labels"]).double().mean()
    assert float(right) == pytest.approx(max(scores))


def test_selection_sees_the_test_side_only_under_its_name(task: Any, tmp_path: Path) -> None:
    objective, model = supervised(task)
    with pytest.raises(InvalidSpec, match="is given no test side"):
        sides = Sides(train=task.train, validation=task.validation, test=task.test)
        train(objective, sides, config(), tmp_path, model=model)
    without = replace(task, validation=None)
    with pytest.raises(InvalidSpec, match="no validation side to choose an epoch by; hold back"):
        train(objective, without, config(), tmp_path, model=model)
    with pytest.raises(InvalidSpec, match="best-on-test needs a test side"):
        bare = replace(task, test=None)
        train(objective, bare, config(select="best-on-test"), tmp_path, model=model)
    assert not list(tmp_path.iterdir()), "a refusal writes nothing"
    result = train(objective, task, config(select="best-on-test"), tmp_path, model=model)
    assert (result.select, result.measured) == ("best-on-test", "accuracy of test")
    assert all(line["select"] == "best-on-test" and "test" in line for line in log(tmp_path))
    assert json.loads((tmp_path / "run.json").read_text())["config"]["select"] == "best-on-test"


def test_the_last_epoch_needs_nothing_to_choose_by(task: Any, tmp_path: Path) -> None:
    objective, model = supervised(task)
    alone = replace(task, validation=None)
    result = train(objective, alone, config(select="last"), tmp_path, model=model)
    assert (result.chosen, result.score) == (3, None)
    best, last = (tmp_path / f"{name}.safetensors" for name in ("best", "last"))
    assert read_trained(best).record["epoch"] == read_trained(last).record["epoch"] == 3


def test_samples_without_labels_are_refused(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    labels = [-1 if i == 3 else i % 3 for i in range(60)]
    root = tmp_path_factory.mktemp("unlabelled")
    task = open_signals(make_signals(root, labels=labels))
    objective, model = supervised(task)
    with pytest.raises(InvalidSpec, match=r"1 of \d+ (training|validation) samples have no label"):
        train(objective, task, config(), tmp_path / "run", model=model)


def test_classes_that_a_network_does_not_know_are_refused(task: Any, tmp_path: Path) -> None:
    """Once for all samples: losses do not look at labels that lie on a device."""
    objective, model = supervised(task)
    labels = task.train.numbers["labels"]
    sides = Sides(
        train=task.train,
        validation=task.validation,
        numbers=torch.tensor([0, 3, 1]),
        class_names=task.class_names,
    )
    match = f"{(labels == 1).sum()} of 38 training samples have a class outside 0..2"
    with pytest.raises(InvalidSpec, match=match):
        train(objective, sides, config(), tmp_path / "run", model=model)
    beyond = replace(sides, numbers=torch.tensor([0, 1]))
    match = f"{(labels == 2).sum()} of 38 training samples have a class outside 0..2"
    with pytest.raises(InvalidSpec, match=match):
        train(objective, beyond, config(), tmp_path / "run", model=model)
    bare = replace(sides, train=task.train.only(["inputs", "index"]))
    with pytest.raises(
        InvalidSpec, match="training samples have no labels, which Supervised needs"
    ):
        train(objective, bare, config(), tmp_path / "run", model=model)
    assert not (tmp_path / "run").exists(), "a refusal writes nothing"


def test_a_side_without_samples_is_none(task: Any, tmp_path: Path) -> None:
    objective, model = supervised(task)
    empty = replace(task, validation=task.validation.view([]))
    with pytest.raises(InvalidSpec, match="no validation side to choose an epoch by"):
        train(objective, empty, config(), tmp_path, model=model)
    assert train(objective, empty, config(select="last"), tmp_path, model=model).score is None


@pytest.mark.parametrize(
    ("differs", "match"),
    [
        ({"options": {"layers": 3, "width": 9, "dropout": 0.3}}, "the network is another one"),
        (
            {"classes": 4},
            "it has 4 classes, the samples have 3 class names; the network is another",
        ),
        ({"channels": 23}, "it has 23 channels and 0 dimensions, the view.* has 24 and 0"),
    ],
)
def test_a_model_that_would_make_unreadable_files_is_refused_first(
    task: Any, tmp_path: Path, differs: dict[str, Any], match: str
) -> None:
    objective, model = supervised(task)
    with pytest.raises(InvalidSpec, match=match):
        train(objective, task, config(), tmp_path / "run", model=replace(model, **differs))
    assert not (tmp_path / "run").exists(), "a refusal writes nothing"


def test_a_device_that_is_not_there_is_refused(task: Any, tmp_path: Path) -> None:
    objective, model = supervised(task)
    settings = config(device=f"cuda:{torch.cuda.device_count()}")
    with pytest.raises(InvalidSpec, match=r"device 'cuda:\d' cannot be used here .*cpu always"):
        train(objective, task, settings, tmp_path / "run", model=model)
    assert not (tmp_path / "run").exists(), "a refusal writes nothing"


def test_a_record_is_of_plain_values(task: Any, tmp_path: Path) -> None:
    objective, model = supervised(task)
    with pytest.raises(InvalidSpec, match=r"PosixPath is not JSON serializable.*make paths"):
        train(objective, task, config(), tmp_path, model=model, record={"path": tmp_path})
    assert not list(tmp_path.iterdir()), "a refusal writes nothing"


def test_a_pi_net_learns_images(store: Any, tmp_path: Path) -> None:
    task = open_signals(store)
    view = fit_view("inputs", task.train)
    options = {"image_channels": 2, "pixels": 4}
    model = ModelSpec(name="pi-net-signal", channels=2, classes=0, dimensions=1, options=options)
    sides = Sides(train=task.train, validation=task.validation)
    settings = config(epochs=2, optimizer="adam", learning_rate=1e-3)
    result = train(Regression(built(model), view, "pi"), sides, settings, tmp_path, model=model)
    scores = [line["validation"]["mse"] for line in log(tmp_path)]
    assert result.measured == "mse of validation"
    assert result.score == min(scores)
    batch = task.prepare(task.validation.batch(slice(None)))
    made = read_trained(tmp_path)(batch).images
    assert float((made - batch["pi"]).square().mean()) == pytest.approx(min(scores), rel=1e-5)


# Teachers.


def test_what_teachers_gave_is_kept_and_changes_nothing(task: Any, tmp_path: Path) -> None:
    said = list[str]()
    for name, settings in {
        "kept": config(),
        "asked": config(cache_teachers=False),
        "small": config(cache_bytes=10),
    }.items():
        objective, model = distilled(task)
        train(objective, task, settings, tmp_path / name, model=model, say=said.append)
        for teacher in objective.teachers.members:
            assert not any(weights.requires_grad for weights in teacher.network.parameters())
    assert "teachers were asked once about 38 samples: 3,192 bytes are kept" in said
    assert "teachers run in every step: 3,192 bytes, 10 may be kept" in said
    kept, asked, small = (
        [line["loss"] for line in log(tmp_path / n)] for n in ("kept", "asked", "small")
    )
    assert kept == pytest.approx(asked)
    assert small == asked


def test_teachers_are_asked_anew_where_batches_change(
    store: Any, task: Any, tmp_path: Path
) -> None:
    said = list[str]()
    objective, model = distilled(task)
    train(
        objective,
        task,
        config(epochs=1),
        tmp_path,
        model=model,
        transform=augmented(store),
        say=said.append,
    )
    assert "teachers run in every step: batches are augmented" in said


def test_a_method_takes_so_many_teachers(task: Any) -> None:
    view = fit_view("vector(inputs)", task.train)
    with pytest.raises(InvalidSpec, match="hinted learns from 1 teacher, got 2"):
        Distilled(built(make_model(view)), view, Hinted(), [make_teacher(task)] * 2)


def test_what_is_trained_is_no_teacher(task: Any) -> None:
    """It would be frozen, and only what the method learns would be trained."""
    teacher = make_teacher(task)
    with pytest.raises(InvalidSpec, match="a teacher has weights of the network that is trained"):
        Distilled(teacher.network, teacher.view, Hinted(), [teacher])


# Numbers that are not finite.


@dataclass(frozen=True, kw_only=True)
class Spoilt(Hinted):
    """A term that is NaN, or has a gradient that is, in the call `at`."""

    at: int = 0
    gradient: bool = False
    calls: ClassVar[list[int]] = []

    def terms(
        self,
        student: Outputs,
        teachers: Sequence[Outputs],
        targets: Tensor,
        learned: nn.ModuleDict,
    ) -> Terms:
        found = super().terms(student, teachers, targets, learned)
        if student.logits.requires_grad:  # else an objective tries what its method can compare
            self.calls.append(len(self.calls))
        if len(self.calls) == self.at:
            zero = student.logits.sum() * 0
            spoilt = zero.sqrt() if self.gradient else zero * float("nan")
            found["hint"] = Term(1.0, spoilt)
        return found


def test_a_term_that_is_no_number_stops_the_run(task: Any, tmp_path: Path) -> None:
    Spoilt.calls.clear()
    objective, model = distilled(task)
    objective.method = Spoilt(at=8)  # 5 steps an epoch
    with pytest.raises(
        NotFinite, match=r"epoch 2, step 3: hint is NaN; the largest logit is \d.*lower the"
    ):
        train(objective, task, config(), tmp_path, model=model)
    assert [path.name for path in tmp_path.glob("state-*")] == ["state-0001.safetensors"]
    assert len(log(tmp_path)) == 1


@pytest.mark.parametrize("select", ["last", "best-on-validation"])
def test_a_last_step_that_spoils_weights_leaves_no_state(
    task: Any, tmp_path: Path, select: str
) -> None:
    Spoilt.calls.clear()
    objective, model = distilled(task)
    objective.method = Spoilt(at=10, gradient=True)
    given = replace(task, validation=None) if select == "last" else task
    match = {"last": r"epoch 2: network/\S+ is not finite", "best-on-validation": "of the valid"}
    with pytest.raises(NotFinite, match=match[select]):
        train(objective, given, config(select=select), tmp_path, model=model)
    assert [path.name for path in tmp_path.glob("state-*")] == ["state-0001.safetensors"]


def test_float16_counts_what_it_skips(task: Any, tmp_path: Path) -> None:
    objective, model = distilled(task)
    objective.method = Hinted(weight=300.0)
    settings = config(precision="float16", learning_rate=1e-4)
    result = train(objective, task, settings, tmp_path, model=model)
    lines = log(tmp_path)
    assert 0 < result.skipped == sum(line["skipped"] for line in lines)
    assert lines[-1]["skipped"] == 0, "its scale has come down"


def test_float16_gives_up_where_every_step_overflows(task: Any, tmp_path: Path) -> None:
    objective, model = distilled(task)
    objective.method = Hinted(weight=1e30)
    settings = config(precision="float16", epochs=10)
    with pytest.raises(NotFinite, match=f"overflowed float16 in {MOST_SKIPPED} steps in a row"):
        train(objective, task, settings, tmp_path, model=model)


# Batches.


@pytest.mark.parametrize(("smallest", "steps"), [(2, 4), (3, 3)])
def test_a_last_batch_that_is_too_small_is_left_out(
    task: Any, tmp_path: Path, smallest: int, steps: int
) -> None:
    """38 samples in batches of 12 leave 2."""
    said = list[str]()
    objective, model = supervised(task)
    objective.smallest = smallest
    train(objective, task, config(batch_size=12), tmp_path, model=model, say=said.append)
    assert [line["steps"] for line in log(tmp_path)] == [steps] * 3
    assert [line["samples"] for line in log(tmp_path)] == [36 + 2 * (smallest == 2)] * 3
    told = [text for text in said if "is left out" in text]
    assert len(told) == (smallest == 3)


@pytest.mark.parametrize(
    ("compares", "batch_size", "told"), [(True, 12, True), (False, 12, False), (True, 15, False)]
)
def test_a_small_last_batch_is_told_where_samples_are_compared(
    task: Any, tmp_path: Path, compares: bool, batch_size: int, told: bool
) -> None:
    """38 samples in batches of 12 leave 2, in batches of 15 they leave 8."""
    said = list[str]()
    objective, model = supervised(task)
    objective.compares = compares
    made = config(batch_size=batch_size, epochs=1)
    train(objective, task, made, tmp_path, model=model, say=said.append)
    assert any("drop_last=true leaves them out" in text for text in said) == told


def test_no_batch_that_is_large_enough_is_refused(task: Any, tmp_path: Path) -> None:
    objective, model = supervised(task)
    with pytest.raises(InvalidSpec, match="no step would have 2 samples"):
        train(objective, task, config(batch_size=1), tmp_path, model=model)


# Options.


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "bfloat16"},
        {"compile": "aot_eager"},
        {"threads": 1, "deterministic": False},
        {"how": "streaming", "save_steps": 2},
        {"nesterov": True, "drop_last": True},
    ],
    ids=str,
)
def test_options_train_too(task: Any, tmp_path: Path, settings: dict[str, Any]) -> None:
    objective, model = supervised(task, dropout=0.0)
    train(objective, task, config(**settings), tmp_path, model=model)
    losses = [line["loss"] for line in log(tmp_path)]
    assert losses[-1] < losses[0]
    assert not any("_orig_mod" in name for name in read_trained(tmp_path).network.state_dict())


def test_channels_last_changes_no_result(store: Any, task: Any, tmp_path: Path) -> None:
    losses = []
    for last in (False, True):
        view = fit_view("pi", task.train)
        model = ModelSpec(name="resnet-8", channels=2, classes=3, dimensions=2)
        objective = supervised(task)[0]
        objective = type(objective)(built(model), view)
        folder = tmp_path / str(last)
        train(objective, task, config(epochs=2, channels_last=last), folder, model=model)
        losses.append([line["loss"] for line in log(folder)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_torch_is_as_it_was_afterwards(task: Any, tmp_path: Path) -> None:
    torch.manual_seed(11)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    objective, model = supervised(task)
    drawn = torch.get_rng_state()
    train(objective, task, config(threads=1), tmp_path, model=model)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not torch.equal(drawn, before), "networks are drawn before the run"
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_same_seed_gives_the_same_bits_and_another_does_not(task: Any, tmp_path: Path) -> None:
    losses = []
    for number, seed in enumerate((0, 0, 1)):
        objective, model = supervised(task)
        folder = tmp_path / str(number)
        train(objective, task, config(seed=seed), folder, model=model)
        losses.append([line["loss"] for line in log(folder)])
    assert losses[0] == losses[1] != losses[2]


# TensorBoard.


def test_tensorboard_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.trainer.events.importlib.util.find_spec", lambda name: None)
    with pytest.raises(TrackerNotInstalled, match="pip install tensorboard"):
        open_events(tmp_path, 0, True)
    open_events(tmp_path, 0, None).add({"epoch": 1})
    assert not list(tmp_path.iterdir())


def test_curves_are_drawn_where_it_is_installed(
    task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for the writer, which takes what torch's takes."""
    points: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            assert (folder, purge_step) == (str(tmp_path / "tensorboard"), 1)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            points.append((name, value, step))

        def close(self) -> None:
            points.append(("closed", 0.0, 0))

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr("training.trainer.events.importlib.util.find_spec", lambda name: name)
    objective, model = supervised(task)
    train(objective, task, config(), tmp_path, model=model)
    line = log(tmp_path)[1]
    assert ("terms/ce", line["terms"]["ce"], 2) in points
    assert points[-1][0] == "closed"
    assert "epoch" not in curves(line)
