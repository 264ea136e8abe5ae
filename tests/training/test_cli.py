"""The `training` command as a user types it; every example of every help text."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

torch = pytest.importorskip("torch")

from pi_cache.specs import DiagramSpec, ImageSpec  # noqa: E402
from pipeline.build import Options, build  # noqa: E402
from pipeline.sources import open_source  # noqa: E402
from tests.shared import shared_data  # noqa: E402
from training.cli import main  # noqa: E402
from training.commands.group import cli  # noqa: E402
from training.methods.catalogue import METHODS  # noqa: E402
from training.presets import PRESETS  # noqa: E402
from training.runs.plan import parse_plan  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 30
NEEDS_EXTRA = {
    "report": ("sklearn", "matplotlib"),
    "experiment": ("sklearn", "matplotlib", "numba"),
}
FIRST = ("fit", "distill", "pi-net", "repeat")
"""Commands whose examples make the runs that the other ones read."""
PLAN = """
seeds = [0, 1]
[data]
stores = { pi = "STORE" }
[defaults]
model = "resnet-8"
config = { epochs = 1, batch_size = 16, threads = 1 }
[[arms]]
name = "teacher"
view = "pi"
seeds = [0]
[[arms]]
name = "student"
view = "inputs"
[[arms]]
name = "kd"
view = "inputs"
method = "kd"
teachers = ["teacher"]
"""


def run(words: str | list[str]) -> Result:
    name, *arguments = shlex.split(words) if isinstance(words, str) else words
    assert name == "training"
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def run_json(words: str | list[str]) -> Any:
    result = run(words)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def examples(*names: str) -> list[str]:
    """Example lines of the help of these commands, in their order."""
    lines = []
    for name in names:
        text = (cli.commands[name].epilog or "").removeprefix("\b\nExamples:\n")
        lines += [line.strip() for line in text.splitlines() if line.strip()]
    return lines


OTHERS = [line for line in examples(*cli.commands) if line.split()[1] not in FIRST]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Of torch: networks of these sizes only lose by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of noise in three classes, a third of them test."""
    folder = tmp_path_factory.mktemp("캐시")
    rng = np.random.default_rng(8)
    labels = np.arange(SAMPLES) % 3
    images = rng.random((SAMPLES, 8, 8, 3)) / 2 + labels[:, None, None, None] / 6
    splits = np.where(np.arange(SAMPLES) % 5 < 3, "train", "test")
    np.savez(folder / "a.npz", data=images, labels=labels, splits=splits)
    source = open_source(f"array:{folder / 'a.npz'}", sample="image")
    options = Options(with_inputs=True)
    return build(source, DiagramSpec(), ImageSpec(pixels=16), root=folder, options=options).path


@pytest.fixture(scope="module")
def work(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the examples that make runs were run."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "plan.toml").write_text(PLAN.replace("STORE", str(store)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in examples(*FIRST):
            result = run(real(line, store))
            assert result.exit_code == 0, f"{line}\n{result.output}"
        result = run(real("training repeat plan.toml --out runs/plan", store))
        assert result.exit_code == 0, result.output
    shutil.copytree(folder / "runs" / "student", folder / "runs" / "wrn" / "seed-0")
    return folder


def real(example: str, store: Path) -> str:
    """The example with the store that there is, and a network that takes no minutes."""
    return re.sub(r"\bwrn-16-\d", "resnet-8", re.sub(r"\b3f2a\w*", str(store), example))


@pytest.mark.parametrize("example", [*examples(*FIRST), *OTHERS])
def test_examples_run(
    example: str, work: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that made runs are run again, and find that they have ended."""
    for module in NEEDS_EXTRA.get(example.split()[1], ()):
        pytest.importorskip(module)
    if "experiment" in example:
        monkeypatch.setenv("PI_SHARED_DATA", str(shared_data("cifar10_jpeg").parent))
        monkeypatch.setenv("PI_CACHE", str(work / "cache"))
    monkeypatch.chdir(work)
    result = run(real(example, store))
    assert result.exit_code == 0, result.output
    if "--json" in example:
        assert all(json.loads(line) is not None for line in result.stdout.splitlines())


def test_a_run_goes_on_and_says_what_it_is(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(work)
    shown = run_json("training show runs/tgd --json")
    assert shown["state"] == "ended" and shown["method"]["name"] == "tgd"
    assert shown["method"]["weights"] == [0.9, 0.1]
    assert shown["teachers"] == ["runs/image", "runs/pi:last"] and shown["start"] == "runs/student"
    assert shown["samples"]["test"] == SAMPLES * 2 // 5
    assert shown["provenance"]["command"].startswith("training")
    again = run("training show runs/image")
    assert "resnet-8" in again.stdout and again.stderr == ""


def test_talk_goes_to_stderr_and_numbers_to_stdout(store: Path, tmp_path: Path) -> None:
    words = ["training", "fit", "--store", f"pi={store}", "--view", "inputs", "--model", "resnet-8"]
    words += ["--epochs", "1", "--out", str(tmp_path / "r"), "--json"]
    first, again = run(words), run(words)
    assert "epoch 1 of 1: ce" in first.stderr and len(first.stdout.splitlines()) == 1
    assert json.loads(first.stdout) == json.loads(again.stdout)
    assert "ended before" in again.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("fit --view inputs --model resnet-8 --epochs 1 --out r", "give --store NAME=KEY"),
        ("fit --store KEY --view pi --model resnet-8 --epochs 1 --out r", "store must be NAME="),
        ("fit --store pi=KEY --model resnet-8 --epochs 1 --out r", "a run needs a view"),
        ("fit --store pi=KEY --view pi --model wrn-16 --epochs 1 --out r", "did you mean 'wrn-16-"),
        ("fit --store pi=KEY --view pi --model resnet-8 --out r", "number of epochs"),
        (
            "fit --store pi=KEY --view pi --model resnet-8 --epochs 1 --set epoch=3 --out r",
            "did you mean 'epochs'?",
        ),
        (
            "fit --store pi=KEY --view pi --model resnet-8 --epochs 1 --set epochs=3 --out r",
            "--set epochs and --epochs: give one",
        ),
        (
            "fit --store pi=KEY --view pi --model resnet-8 --epochs 1 --set clip=1 --set clip=2"
            " --out r",
            "--set clip is given twice: 1 and 2",
        ),
        (
            "distill kd --teacher RUN --student resnet-8 --view pi --epochs 1 --out r"
            " --set-method ce-weight=1 --set-method ce_weight=2",
            "--set-method ce_weight is given twice",
        ),
        ("distill kd --teacher '' --student resnet-8 --view pi --epochs 1 --out r", "got ''"),
        ("distill '' --teacher RUN --student resnet-8 --view pi --epochs 1 --out r", "method ''"),
        ("fit --store pi=KEY --view pi --model resnet-8 --epochs 1 --out ''", "needs a name"),
        (
            "fit --store pi=KEY --view pi --model resnet-8 --epochs 1 --schedule step --out r",
            "did you mean 'steps'?",
        ),
        (
            "fit --store pi=KEY --view pi --model resnet-8 --epochs 1 --augment flop --out r",
            "did you mean 'flip'?",
        ),
        ("distill kdd --teacher RUN --student resnet-8 --view pi --out r", "did you mean 'kd'?"),
        (
            "distill kd --teacher RUN --set-method temprature=2 --student resnet-8 --view pi"
            " --epochs 1 --out r",
            "did you mean 'temperature'?",
        ),
        ("distill tgd --teacher RUN --student resnet-8 --view pi --epochs 1 --out r", "2 teachers"),
        ("methods kdd", "did you mean 'kd'?"),
        ("presets tgd", "did you mean 'tgd-"),
    ],
)
def test_misuse_says_what_to_do(
    words: str, message: str, work: Path, store: Path, tmp_path: Path
) -> None:
    words = words.replace("KEY", str(store)).replace("RUN", str(work / "runs" / "image"))
    result = run(f"training {words.replace('--out r', f'--out {tmp_path}/r')}")
    assert result.exit_code == 2, result.output
    assert message in result.stderr and result.stdout == ""
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "fit --store pi=abcd1234 --view pi --model resnet-8 --epochs 1 --out r --cache .",
            "no store 'abcd1234'",
        ),
        (
            "fit --store pi=KEY --view rows --model resnet-8 --epochs 1 --out r",
            "no array 'rows' to view; there are pi, inputs",
        ),
        ("distill kd --teacher nowhere --student resnet-8 --view pi --out r", "no such network"),
        ("show .", "holds no run"),
    ],
)
def test_failures_are_one_sentence(
    words: str,
    message: str,
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = words.replace("KEY", str(store))
    monkeypatch.setattr(sys, "argv", ["training", *shlex.split(words)])
    with pytest.raises(SystemExit, match="1"):
        main()
    said = capsys.readouterr()
    assert message in said.err and said.out == ""
    assert said.err.startswith("training: ") and "Traceback" not in said.err


def test_the_command_is_a_process_of_its_own(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "training.cli", "repeat", "nowhere.toml", "--out", "x"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1 and "nowhere.toml" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_what_there_is_is_listed() -> None:
    names = {row["name"] for row in run_json("training methods --json")}
    assert names == set(METHODS)
    assert {row["name"] for row in run_json("training presets --json")} == set(PRESETS)
    models = {row["name"]: row["parameters"] for row in run_json("training models --json")}
    assert models["wrn-16-1"]["2"] == 175_066 and "0" not in models["wrn-16-1"]
    (one,) = run_json("training presets tgd-cifar10 --json")
    assert one["config"]["schedule"] == "steps:0.2@40,80,120,160"


def test_the_plan_of_the_document_is_one() -> None:
    page = (ROOT / "docs" / "distillation.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    plan = parse_plan(tomllib.loads(text), folder=ROOT)
    assert len(plan.arms) >= 5
