"""Networks measured on a side of their task: in order, clean, corrupted, and where they lie."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from pi_cache import files  # noqa: E402
from pi_cache.errors import AlreadyPublished, InvalidSpec, UnsupportedFormat  # noqa: E402
from tests.training.trained_case import build_signals, signal_network, signal_task  # noqa: E402
from training.augment.corruptions import Corruption, Levels  # noqa: E402
from training.commands.evaluate import evaluate_runs  # noqa: E402
from training.evaluation import metrics  # noqa: E402
from training.evaluation import predict as predict_module  # noqa: E402
from training.evaluation.evaluate import (  # noqa: E402
    Evaluation,
    evaluate,
    levels_of,
    read_evaluation,
    write_evaluation,
)
from training.evaluation.opened import differences, open_run  # noqa: E402
from training.evaluation.predict import predict  # noqa: E402
from training.evaluation.predictions import read_predictions, write_predictions  # noqa: E402
from training.reports.robustness import level_name  # noqa: E402
from training.tasks import Task  # noqa: E402
from training.trained import ModelSpec, Trained, write_trained  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_signals(tmp_path_factory.mktemp("캐시"))


@pytest.fixture(scope="module")
def task(store: Path) -> Task:
    return signal_task(store)


@pytest.fixture(scope="module")
def trained(task: Task) -> Trained:
    return signal_network(task)


@pytest.fixture
def run(trained: Trained, tmp_path: Path) -> Path:
    """The folder of a run that has ended."""
    folder = tmp_path / "runs" / "wrn" / "seed-0"
    folder.mkdir(parents=True)
    for name in ("best", "last"):
        write_trained(folder / f"{name}.safetensors", trained)
    return folder


def call(*words: str) -> Any:
    return CliRunner().invoke(evaluate_runs, list(words), catch_exceptions=False)


# --- Predictions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 256])
def test_predictions_are_what_the_network_says_of_each_sample(
    trained: Trained, task: Task, size: int
) -> None:
    assert task.test is not None
    found = predict(trained, task.test, task, features=True, batch_size=size)
    batch = task.prepare(task.test[:])
    outputs = trained(batch)
    torch.testing.assert_close(torch.from_numpy(found.logits), outputs.logits)
    torch.testing.assert_close(torch.from_numpy(found.features), outputs.maps["pooled"])
    assert found.ids.tolist() == task.test.ids.tolist()
    assert found.labels.tolist() == batch["labels"].tolist()
    assert found.index.tolist() == task.test.index.tolist()
    assert found.record["digest"] == task.record["digests"]["test"]
    assert not trained.network.training


@pytest.mark.parametrize("how", ["resident", "streaming"])
def test_predictions_do_not_depend_on_how_samples_are_held(
    trained: Trained, task: Task, how: Any
) -> None:
    again = predict(trained, task.test, task, how=how)
    assert np.array_equal(again.logits, predict(trained, task.test, task).logits)


def test_samples_without_a_label_keep_their_prediction(trained: Trained, task: Task) -> None:
    unknown = dataclasses.replace(task, numbers=torch.tensor([0, 1, -1]))
    found = evaluate(trained, "test", unknown)
    known = found.predictions.labelled
    assert known.sum() == (task.prepare(task.test[:])["labels"] != 2).sum() < len(known)
    document = found.to_dict()
    assert document["unlabelled"] == len(known) - known.sum() > 0
    assert np.sum(document["confusion"]) == known.sum()
    nobody = dataclasses.replace(task, numbers=torch.tensor([-1, -1, -1]))
    with pytest.raises(InvalidSpec, match="none of 24 samples has a label"):
        evaluate(trained, "test", nobody)


def test_predictions_are_read_back(trained: Trained, task: Task, tmp_path: Path) -> None:
    found = predict(trained, task.test, task, features=True)
    path = tmp_path / "예측.safetensors"
    write_predictions(path, found)
    again = read_predictions(path)
    for name in ("logits", "labels", "index", "features", "ids"):
        assert np.array_equal(getattr(again, name), getattr(found, name)), name
    assert again.class_names == found.class_names == ("sit", "stand", "걷기")
    assert again.record == found.record
    (tmp_path / "torn.safetensors").write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UnsupportedFormat, match="holds no predictions"):
        read_predictions(tmp_path / "torn.safetensors")
    write_trained(tmp_path / "net.safetensors", trained)
    with pytest.raises(UnsupportedFormat, match="holds no predictions"):
        read_predictions(tmp_path / "net.safetensors")
    with pytest.raises(FileNotFoundError, match="training evaluate writes predictions"):
        read_predictions(tmp_path / "none.safetensors")


def test_logits_that_are_not_finite_name_a_sample(trained: Trained, task: Task) -> None:
    torch.manual_seed(0)
    broken = dataclasses.replace(trained, network=trained.model.build())
    with torch.no_grad():
        next(broken.network.parameters()).fill_(float("nan"))
    with pytest.raises(InvalidSpec, match=r"logits of 24 of 24 samples are NaN .* the first of"):
        predict(broken, task.test, task)


def test_another_network_or_other_classes_are_refused(trained: Trained, task: Task) -> None:
    other = dataclasses.replace(trained, class_names=("걷기", "sit", "stand"))
    with pytest.raises(InvalidSpec, match="the network knows 3 classes"):
        predict(other, task.test, task)
    images = ModelSpec(name="pi-net-signal", channels=2, classes=0, dimensions=1)
    with pytest.raises(InvalidSpec, match=r"gives images, not classes"):
        predict(dataclasses.replace(trained, model=images), task.test, task)


# --- Evaluations ---------------------------------------------------------------------------------


def test_an_evaluation_is_the_metrics_of_its_predictions(trained: Trained, task: Task) -> None:
    found = evaluate(trained, "validation", task)
    said = found.predictions
    document = json.loads(json.dumps(found.to_dict()))
    assert document["metrics"] == metrics.summary(said.logits, said.labels)
    assert document["samples"] == task.record["samples"]["validation"]
    assert document["confusion"] == metrics.confusion(said.logits, said.labels).tolist()
    assert sum(each["samples"] for each in document["reliability"]) == document["samples"]
    assert document["digest"] == task.record["digests"]["validation"]
    assert document["levels"] == [] and document["not_corrupted"] == []
    with pytest.raises(InvalidSpec, match="no side 'tests' here; there are train, validation"):
        evaluate(trained, "tests", task)


def test_corruptions_reach_the_raw_samples(trained: Trained, task: Task) -> None:
    levels = levels_of(Levels("noise"), task)
    assert [each.level for each in levels] == [0, 1, 2, 3]
    found = evaluate(trained, "test", task, corruptions=levels, seed=3)
    amounts = [level["amount"] for level in found.levels]
    assert amounts == [0, 0.06, 0.09, 0.12]
    clean, noisy = found.levels[0], found.levels[-1]
    assert {name: clean[name] for name in found.metrics} == dict(found.metrics)
    assert noisy["nll"] != clean["nll"]
    generator = torch.Generator().manual_seed(3)
    batch = task.prepare(task.test[:])
    batch["inputs"] = Corruption(kind="noise", level=3)(batch["inputs"], generator)[0]
    logits = trained(batch).logits.numpy()
    assert noisy["nll"] == pytest.approx(metrics.nll(logits, batch["labels"].numpy()))
    again = evaluate(trained, "test", task, corruptions=levels, seed=3)
    assert again.levels == found.levels
    other = evaluate(trained, "test", task, corruptions=levels, seed=4)
    assert other.levels[0] == found.levels[0] | {"seed": 4}
    assert other.levels[-1]["nll"] != noisy["nll"]


@pytest.mark.parametrize(
    ("kind", "amounts"), [("missing", [0, 0.15, 0.22, 0.3]), ("blur", [0, 1, 2, 4])]
)
def test_each_kind_has_the_levels_of_its_table(
    trained: Trained, task: Task, kind: str, amounts: list[float]
) -> None:
    found = evaluate(trained, "test", task, corruptions=levels_of(Levels(kind), task))
    assert [level["amount"] for level in found.levels] == amounts
    assert len({level["nll"] for level in found.levels}) == len(amounts)


def test_amounts_of_ones_own(trained: Trained, task: Task) -> None:
    levels = levels_of(Levels("noise", (0.2, 0.8)), task)
    found = evaluate(trained, "test", task, corruptions=levels).levels
    names = [level_name((level["level"], level["amount"])) for level in found]
    assert names == ["0: 0", "0.2", "0.8"]
    assert len({level["nll"] for level in found}) == 3
    assert levels_of(Levels("noise", (0.2, 0.8)), task, [1]) == levels[:2]


def test_what_missing_points_become_is_kept(trained: Trained, task: Task) -> None:
    kinds = (Levels("missing"), Levels("missing", fill=0.5), Levels("noise"))
    zeros, halves, noisy = (
        evaluate(trained, "test", task, corruptions=levels_of(kind, task, [1])) for kind in kinds
    )
    assert [level["fill"] for level in (*zeros.levels, *halves.levels)] == [0, 0, 0.5, 0.5]
    assert zeros.levels[0]["nll"] == halves.levels[0]["nll"], "level 0 changes nothing"
    assert zeros.levels[1]["nll"] != halves.levels[1]["nll"]
    assert not any("fill" in level for level in noisy.levels)
    with pytest.raises(InvalidSpec, match="fill is of missing points, not of noise"):
        Levels("noise", fill=0.5)


def test_levels_by_number(task: Task) -> None:
    assert [each.level for each in levels_of(Levels("noise"), task, [3, 1])] == [0, 3, 1]
    with pytest.raises(InvalidSpec, match=r"noise of a signal has levels 0\.\.3, got 5"):
        levels_of(Levels("noise"), task, [5])
    with pytest.raises(InvalidSpec, match="corrupt must be one of noise, missing, blur"):
        levels_of(Levels("fog"), task)


def test_a_network_of_images_only_is_not_called_robust(task: Task) -> None:
    images = signal_network(task, "pi", steps=1)
    with pytest.raises(InvalidSpec, match="would seem robust and was not tested"):
        evaluate(images, "test", task, corruptions=levels_of(Levels("noise"), task))
    both = signal_network(task, "statistics(inputs) + vector(pi)", steps=1)
    found = evaluate(both, "test", task, corruptions=levels_of(Levels("noise"), task))
    assert found.to_dict()["not_corrupted"] == ["pi"]
    assert found.levels[1]["nll"] != found.levels[0]["nll"]


def test_a_level_0_that_changes_predictions_is_found(
    trained: Trained, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        predict_module, "_corruption", lambda *ignored: lambda batch: batch * 1.0000001
    )
    with pytest.raises(InvalidSpec, match="noise of level 0 changes predictions"):
        evaluate(trained, "test", task, corruptions=[Corruption()])


# --- Files ---------------------------------------------------------------------------------------


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_of_an_evaluation(trained: Trained, task: Task, tmp_path: Path) -> None:
    clean = evaluate(trained, "test", task)
    write_evaluation(tmp_path, clean)
    assert written(tmp_path) == ["evaluation-test.json", "predictions-test.safetensors"]
    write_evaluation(tmp_path, clean)
    levels = levels_of(Levels("noise"), task)
    more = evaluate(trained, "test", task, corruptions=levels, features=True)
    write_evaluation(tmp_path, more)
    assert written(tmp_path) == [
        "evaluation-test.json",
        "features-test.safetensors",
        "predictions-test.safetensors",
        "robustness-test-noise.json",
    ]
    assert read_evaluation(tmp_path / "evaluation-test.json") == clean.to_dict()
    robust = read_evaluation(tmp_path / "robustness-test-noise.json")
    assert [level["level"] for level in robust["levels"]] == [0, 1, 2, 3]
    assert read_predictions(tmp_path / "predictions-test.safetensors").features is None
    assert read_predictions(tmp_path / "features-test.safetensors").features is not None
    other = Evaluation(
        predictions=clean.predictions, metrics={**clean.metrics, "nll": 0.0}, record=clean.record
    )
    with pytest.raises(AlreadyPublished, match="another evaluation is in this folder"):
        write_evaluation(tmp_path, other)
    before = written(tmp_path)
    for name, value in (("select", "last"), ("stores", {"pi": "f"}), ("digest", "other")):
        mixed = dataclasses.replace(more, record={**more.record, name: value})
        with pytest.raises(AlreadyPublished, match=f"of other samples: {name} is"):
            write_evaluation(tmp_path, mixed)
    retrained = dataclasses.replace(more, metrics={**more.metrics, "nll": 9.0})
    with pytest.raises(AlreadyPublished, match=r"NLL is .* there and 9 here"):
        write_evaluation(tmp_path, retrained)
    assert written(tmp_path) == before
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(UnsupportedFormat, match="is no evaluation"):
        read_evaluation(tmp_path / "a.json")
    (tmp_path / "b.json").write_text('{"format_version": 9}')
    with pytest.raises(UnsupportedFormat, match="format 9, this release reads 1"):
        read_evaluation(tmp_path / "b.json")


# --- Runs and the command ------------------------------------------------------------------------


def test_a_run_is_opened_with_the_samples_of_its_record(run: Path, task: Task) -> None:
    trained, opened = open_run(run)
    assert opened.record == task.record
    assert differences(trained, opened, "test") == []
    assert open_run(f"{run}:last")[1].record == task.record


def test_a_record_one_level_down_is_found(run: Path, trained: Trained, task: Task) -> None:
    deep = dataclasses.replace(trained, record={"epoch": 3, "task": dict(task.record)})
    write_trained(run / "deep.safetensors", deep)
    assert open_run(run / "deep.safetensors")[1].record == task.record
    bare = dataclasses.replace(trained, record={"epoch": 3})
    write_trained(run / "bare.safetensors", bare)
    with pytest.raises(InvalidSpec, match="does not say which stores it read"):
        open_run(run / "bare.safetensors")


def test_stores_that_moved(run: Path, store: Path, task: Task, tmp_path: Path) -> None:
    moved = shutil.copytree(store, tmp_path / "moved" / "stores" / store.name)
    trained, opened = open_run(run, stores={"pi": str(moved)})
    assert opened.test.ids.tolist() == task.test.ids.tolist()
    assert differences(trained, opened, "test") == []
    with pytest.raises(InvalidSpec, match="the run has no store gaf; it read pi"):
        open_run(run, stores={"gaf": str(moved)})


def test_other_samples_are_told(run: Path, tmp_path: Path) -> None:
    trained, opened = open_run(run)
    record = dict(opened.record)
    record["digests"] = {**record["digests"], "test": "another"}
    record["stores"] = {"pi": "f" * 64}
    found = differences(trained, dataclasses.replace(opened, record=record), "test")
    assert "other samples than when the network was trained (24 now, 24 then)" in found[0]
    assert found[1].startswith("pi is the store ffffffffffff, it was ")
    dependent = dataclasses.replace(opened, record=record)
    assert evaluate(trained, "test", dependent).to_dict()["unlike_training"] == found
    assert "unlike_training" not in evaluate(trained, "test", opened).record


def test_another_file_of_arrays_is_told(trained: Trained, store: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    ids = np.array(signal_task(store).train.joined.ids.tolist())
    np.savez(path, ids=ids, own=np.zeros((len(ids), 2), np.float32))
    task = signal_task(store, arrays={"own": str(path)})
    for digest, told in ((files.digest(path)[1], 0), ("0" * 64, 1)):
        identity = {"data": {"arrays": {"own": digest}}}
        record = {**task.record, "record": {"identity": identity}}
        lines = differences(dataclasses.replace(trained, record=record), task, "test")
        assert len(lines) == told and all("another file of own" in line for line in lines)


@pytest.mark.parametrize(
    ("pick", "select", "told"),
    [("best", "best-on-test", True), ("last", "best-on-test", False), ("best", "last", False)],
)
def test_an_epoch_chosen_by_test_samples_is_told(
    trained: Trained, task: Task, pick: str, select: str, told: bool
) -> None:
    record = {**task.record, "pick": pick, "config": {"select": select}}
    chosen = dataclasses.replace(trained, record=record)
    lines = differences(chosen, task, "test")
    assert bool(lines) == told and all("chosen by these test samples" in line for line in lines)
    assert differences(chosen, task, "validation") == []
    by_validation = {**record, "config": {"select": "best-on-validation"}}
    lines = differences(dataclasses.replace(trained, record=by_validation), task, "validation")
    assert ["chosen by these validation samples" in line for line in lines] == [True][
        : pick == "best"
    ]
    assert evaluate(chosen, "test", task).record["select"] == ("last" if pick == "last" else select)


def test_the_command_prints_and_writes(run: Path, trained: Trained, task: Task) -> None:
    result = call(str(run), "--corrupt", "noise", "--levels", "0-2", "--in-place", "--features")
    assert result.exit_code == 0, result.output
    clean = evaluate(trained, "test", task)
    assert f"accuracy %     {100 * clean.metrics['accuracy']:.2f}" in result.stdout
    assert "24 test samples" in result.stdout
    assert "label \\ predicted" in result.stdout and "2 걷기" in result.stdout
    assert result.stderr.count("wrote") == 4
    assert read_evaluation(run / "evaluation-test.json")["metrics"] == dict(clean.metrics)
    levels = read_evaluation(run / "robustness-test-noise.json")["levels"]
    assert [level["level"] for level in levels] == [0, 1, 2]


def test_a_corruption_named_twice_is_measured_once(run: Path) -> None:
    words = ["--corrupt", "noise", "--corrupt", "noise", "--levels", "1", "--json"]
    document = json.loads(call(str(run), *words).stdout)
    assert [level["level"] for level in document["levels"]] == [0, 1]


def test_missing_points_become_what_is_said(run: Path) -> None:
    words = ["--corrupt", "noise", "--corrupt", "missing", "--levels", "1", "--json"]
    zeros, halves = (json.loads(call(str(run), *words, "--fill", fill).stdout) for fill in "01")
    assert [level.get("fill") for level in halves["levels"]] == [None, None, 1, 1]
    nll = [[level["nll"] for level in document["levels"]] for document in (zeros, halves)]
    assert nll[0][:3] == nll[1][:3] and nll[0][3] != nll[1][3]


def test_the_command_prints_a_line_of_json_a_run(run: Path) -> None:
    result = call(str(run), f"{run}:last", "--json", "--side", "validation")
    first, last = (json.loads(line) for line in result.stdout.splitlines())
    assert first["run"] == str(run) and last["run"] == f"{run}:last"
    assert first["metrics"] == last["metrics"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--levels", "1-2"], "--levels are of a corruption"),
        (["--corrupt", "noise", "--levels", "3-1"], "levels are such as 0-3 or 1,3"),
        (["--corrupt", "noise", "--fill", "1"], "--fill is of missing points"),
        (["--corrupt", "fog"], "Invalid value for '--corrupt'"),
        (["--out", "a", "--in-place"], "--out is the folder of one RUN"),
        (["--store", "pi"], "give NAME=KEY, got pi"),
    ],
)
def test_misuse_of_the_command(run: Path, words: list[str], message: str) -> None:
    result = call(str(run), *words)
    assert result.exit_code == 2 and message in result.stderr
