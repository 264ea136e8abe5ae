"""The example learns what can be learnt, is repeatable, and keeps its test part to itself."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi_cache.errors import InvalidSpec  # noqa: E402
from pi_cache.layout import Layout, SampleTable, standard_columns  # noqa: E402
from pi_cache.ledger import finish, write_shard  # noqa: E402
from pi_cache.specs import DiagramSpec, ImageSpec, SourceSpec, Status, StoreSpec  # noqa: E402
from pi_cache.store import begin  # noqa: E402
from training.data import PersistenceImageDataset  # noqa: E402
from training.examples import digits_cnn  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]
CLASSES, PIXELS, SAMPLES = 4, 16, 200


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise with a bright spot whose place is the label; the last four samples are not OK."""
    rng = np.random.default_rng(5)
    labels = np.arange(SAMPLES) % CLASSES
    images = rng.random((SAMPLES, 2, PIXELS, PIXELS)) / 2
    for image, label in zip(images, labels, strict=True):
        image[0, 2:5, 4 * label : 4 * label + 3] += 0.5
    status = np.full(SAMPLES, Status.OK, dtype=np.uint8)
    status[-CLASSES:] = Status.EMPTY
    spec = StoreSpec(
        source=SourceSpec(
            kind="arrays", sample="signal", samples=SAMPLES, channels=2, fingerprint="0" * 64
        ),
        diagram=DiagramSpec(),
        image=ImageSpec(pixels=PIXELS),
    )
    table = SampleTable(ids=[f"점 {i:03d}" for i in range(SAMPLES)], labels=labels)
    build = begin(
        tmp_path_factory.mktemp("저장소"),
        spec,
        table,
        standard_columns(spec.image, 2),
        layout=Layout(shard_samples=SAMPLES),
    )
    columns = {
        "images": images.astype(np.float16),
        "status": status,
        "points": np.empty((0, 2)),
        "offsets": np.zeros((SAMPLES, 3), dtype=np.int64),
    }
    write_shard(build, 0, columns)
    finish(build)
    return build.path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "training.examples.digits_cnn", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


def test_it_learns_and_repeats_itself(store: Path) -> None:
    said: list[str] = []
    result = digits_cnn.train(store, epochs=4, seed=1, say=said.append)
    assert result.test_accuracy > 0.9
    assert len(said) == 4
    assert f"{result.validation_accuracy:.3f}" in said[result.epoch - 1]
    assert result.left_out == {"EMPTY": CLASSES}
    assert sum(result.samples.values()) == SAMPLES - CLASSES
    again = digits_cnn.train(store, epochs=4, seed=1)
    assert again == dataclasses.replace(result, seconds=again.seconds)


def test_the_command_prints_what_train_returns(store: Path) -> None:
    done = run(str(store), "--epochs", "2", "--seed", "3", "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert done.stderr.count("validation accuracy") == 2
    assert printed["key"] == store.name
    assert (printed["seed"], printed["epochs"]) == (3, 2)
    text = run(store.name[:6], "--cache", str(store.parents[1]), "--epochs", "2", "--seed", "3")
    assert f"test accuracy {printed['test_accuracy']:.3f} (n = 40, seed 3" in text.stdout
    assert store.name in text.stdout
    assert "left out: 4 EMPTY" in text.stdout


def test_refusals_are_one_sentence(tmp_path: Path) -> None:
    absent = run("abcd", "--cache", str(tmp_path))
    assert (absent.returncode, absent.stdout) == (1, "")
    assert absent.stderr.startswith("digits_cnn: no store 'abcd'")
    assert absent.stderr.count("\n") == 1
    assert run("abcd", "--epochs", "0").returncode == 2


def test_without_torch_it_says_what_to_install() -> None:
    script = """
import runpy, sys
sys.modules["torch"] = None  # import finds this and raises ModuleNotFoundError
runpy.run_module("training.examples.digits_cnn", run_name="__main__", alter_sys=True)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ('digits_cnn: torch is not installed: pip install "pi-cache[train]"\n')


@pytest.mark.parametrize("seed", range(3))
def test_the_split_is_stratified_and_follows_the_ids(rng: np.random.Generator, seed: int) -> None:
    labels = rng.integers(0, 5, 300)
    ids = np.array([f"s{i}" for i in range(300)])
    parts = digits_cnn.split_by_class(ids, labels, seed=seed)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(300))
    for label in range(5):
        count = (labels == label).sum()
        for share, part in zip(digits_cnn.SHARES, parts.values(), strict=True):
            assert abs((labels[part] == label).sum() - share * count) <= 1
    order = rng.permutation(300)
    moved = digits_cnn.split_by_class(ids[order], labels[order], seed=seed)
    for name, part in parts.items():
        assert set(ids[order][moved[name]]) == set(ids[part])


def test_a_class_too_small_to_divide() -> None:
    with pytest.raises(InvalidSpec, match="label 1 has 2 samples, each class needs at least 3"):
        digits_cnn.split_by_class(list("abcdef"), np.array([0, 0, 0, 0, 1, 1]), seed=0)


def test_the_digits_from_pixels_to_accuracy(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    pytest.importorskip("sklearn")
    from pipeline.build import build
    from pipeline.sources import open_source

    source = open_source("digits")
    built = build(source, DiagramSpec(scan="both"), ImageSpec(pixels=20), root=tmp_path)
    data = PersistenceImageDataset(built.path)
    assert len(data) == 1797
    assert data.shape == (2, 20, 20)
    assert digits_cnn.train(data, epochs=3).test_accuracy > 0.25  # chance is 0.1
