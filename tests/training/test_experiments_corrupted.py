"""Images of corrupted samples: those of level 0 are the stored ones, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from socket import gethostname
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from pi_cache.specs import DiagramSpec, GramianSpec, ImageSpec  # noqa: E402
from pipeline.build import Options, build, build_gramian  # noqa: E402
from pipeline.sources import open_source  # noqa: E402
from tests.training.runs_case import data, trained  # noqa: E402
from tests.training.runs_case import spec as run_spec  # noqa: E402
from training.augment.corruptions import Corruption, Levels  # noqa: E402
from training.evaluation.evaluate import (  # noqa: E402
    evaluate,
    read_evaluation,
    write_evaluation,
)
from training.evaluation.predict import predict  # noqa: E402
from training.experiments import corrupted  # noqa: E402
from training.experiments.calls import caller  # noqa: E402
from training.experiments.corrupted import Corrupted, corrupted_inputs  # noqa: E402
from training.experiments.measure import Measurer  # noqa: E402
from training.experiments.run import _placed  # noqa: E402
from training.joined import JoinedDataset  # noqa: E402
from training.reports.experiment import read_experiment  # noqa: E402
from training.runs.execute import run  # noqa: E402
from training.tasks import DataSpec, Task, open_task  # noqa: E402
from training.trained import read_trained  # noqa: E402

pytestmark = pytest.mark.torch

CLEAN, NOISY = (Corruption(kind="noise", level=level) for level in (0, 1))


@pytest.fixture(scope="module", params=["image", "signal"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of photographs in bytes, or of windows in floats; a third of them test."""
    folder, rng = tmp_path_factory.mktemp(request.param), np.random.default_rng(3)
    shape = {"image": (30, 9, 8, 3), "signal": (30, 40, 2)}[request.param]
    values = rng.random(shape)
    values = (255 * values).astype(np.uint8) if request.param == "image" else values
    splits = np.where(np.arange(30) % 3 < 2, "train", "test")
    np.savez(folder / "a.npz", data=values, labels=np.arange(30) % 2, splits=splits)
    source = open_source(f"array:{folder / 'a.npz'}", sample=request.param)
    image = ImageSpec(pixels=8, birth_range=(0, 1), persistence_range=(0, 1), dtype="uint8")
    return build(
        source, DiagramSpec(), image, root=folder / "cache", options=Options(with_inputs=True)
    ).path


@pytest.fixture(scope="module")
def task(store: Path) -> Task:
    return open_task(data(store))


@pytest.fixture(scope="module")
def made(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Corrupted:
    folder = tmp_path_factory.mktemp("corrupted")
    assert task.test is not None
    return Corrupted(task.test, {}, caller(folder, lambda _: None), folder, seed=0)


def test_level_0_gives_the_stored_images(task: Task, made: Corrupted) -> None:
    found, clean = made.side(CLEAN), task.test
    assert clean is not None and found.ids.tolist() == clean.ids.tolist()
    everything = slice(None)
    one, two = found.batch(everything), clean.batch(everything)
    assert torch.equal(one["pi"], two["pi"])
    assert torch.equal(one["inputs"], two["inputs"].float())
    assert torch.equal(one["labels"], two["labels"])


@pytest.mark.parametrize("store", ["signal"], indirect=True)
def test_gramian_fields_are_made_anew_as_well(store: Path, tmp_path: Path) -> None:
    source = open_source(f"array:{store.parents[2] / 'a.npz'}", sample="signal")
    root = store.parents[1]
    fields = build_gramian(source, GramianSpec(size=8, dtype="uint8"), root=root).path
    clean = JoinedDataset({"pi": store, "gaf": fields})
    made = Corrupted(clean, {}, caller(tmp_path, lambda _: None), tmp_path)
    assert made.names == {"inputs", "pi", "gaf"}
    stored, same, noisy = (
        side.batch(slice(None)) for side in (clean, made.side(CLEAN), made.side(NOISY))
    )
    for name in ("pi", "gaf"):
        assert torch.equal(same[name], stored[name]), name
        assert not torch.equal(noisy[name], stored[name]), name


def test_noise_is_that_of_a_network_of_raw_samples(
    task: Task, made: Corrupted, store: Path, tmp_path: Path
) -> None:
    network = read_trained(trained(store, tmp_path / "raw"))
    assert task.test is not None
    plain = predict(network, task.test, task, corrupt=NOISY, seed=0)
    found = predict(network, made.side(NOISY), task)
    assert np.array_equal(found.logits, plain.logits)
    noisy = made.side(NOISY).batch(slice(None))
    assert not torch.equal(noisy["pi"], task.test.batch(slice(None))["pi"])
    given = corrupted_inputs(task.test, NOISY, seed=0)
    assert np.array_equal(given, noisy["inputs"].numpy())


def test_a_pi_net_is_asked_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def predicted(net: Any, side: Any, *, device: Any) -> list[Any]:
        asked.append(device)
        return [(torch.zeros(2, 1, 4, 4), {})]

    monkeypatch.setattr(corrupted, "predicted", predicted)
    net: Any = SimpleNamespace(network=torch.nn.Linear(1, 1, device="meta"))
    side: Any = SimpleNamespace(ids=np.array(["a", "b"], dtype=object))
    assert corrupted._given(net, side).ids.tolist() == ["a", "b"]
    assert asked == [torch.device("meta")]


def test_every_run_is_measured_and_once(store: Path, tmp_path: Path) -> None:
    for name, view in {"raw": "inputs", "images": "pi"}.items():
        trained(store, tmp_path / name / "splits" / "seed-0", view=view)
    for name in ("raw", "images"):
        folder = tmp_path / name / "splits" / "seed-0"
        write_evaluation(folder, evaluate(read_trained(folder), "test", open_task(data(store))))
    said: list[str] = []
    aside = tmp_path / "corrupted"
    here, elsewhere = gethostname(), "elsewhere"
    owners = (here, 2**30), (here, os.getppid()), (elsewhere, 1), (elsewhere, 2)
    killed, other, far, old = (aside / f"{host}.{number}.{0:016}" for host, number in owners)
    for folder in (killed, other, far, old):
        (folder / "task-1").mkdir(parents=True)
        (folder / "task-1" / "samples.npz").write_bytes(b"of another call")
    os.utime(old, (0, 0))
    call = caller(tmp_path, said.append)
    own: list[Path] = []

    def slow(*words: Any) -> dict[str, Any]:
        found = call(*words)
        own.extend(aside.glob(f"{here}.{os.getpid()}.*"))
        os.utime(own[0], (0, 0))
        return found

    for _ in range(2):
        with Measurer(
            (Levels("noise"),),
            {},
            slow,
            aside,
            device="cpu",
            say=said.append,
            numbers=(1,),
        ) as measurer:
            measurer.measure(read_experiment(tmp_path))
            assert all(path.stat().st_mtime for path in own if path.exists()), "others see it"
    assert [line for line in said if "under noise" in line] == [
        "images/splits/seed-0 under noise",
        "raw/splits/seed-0 under noise",
    ]
    assert sum(line.startswith("$ pipeline") for line in said) == 1
    assert {*aside.iterdir()} == {other, far}, "whose calls go on, or may"


def amounts_of(folder: Path) -> list[float]:
    """At which a run was measured."""
    levels = read_evaluation(folder / "robustness-test-noise.json")["levels"]
    return [level["amount"] for level in levels]


def forget_fill(file: Path) -> None:
    """Leave a file as it was written before it said what missing points became."""
    document = read_evaluation(file)
    for row in document["levels"]:
        row.pop("fill", None)
    file.unlink()
    file.write_text(json.dumps(document))


@pytest.mark.parametrize("store", ["image"], indirect=True)
def test_data_are_read_where_they_lie_now(store: Path, tmp_path: Path) -> None:
    """Results and their cache were moved; a folder of the user's own by that name is kept."""
    root, folder = tmp_path / "cache", tmp_path / "raw" / "splits" / "seed-0"
    shutil.copytree(store.parents[1], root)
    spec = data(store, root=str(root), stores={"pi": store.name})
    run(replace(run_spec(store), data=spec), folder)
    write_evaluation(folder, evaluate(read_trained(folder), "test", open_task(spec)))
    root.rename(tmp_path / "moved")
    aside = tmp_path / "corrupted"
    aside.mkdir()
    (aside / "own.npy").write_bytes(b"a user's")
    built: Any = SimpleNamespace(folds=None)
    place: Any = SimpleNamespace(folder=tmp_path, root=tmp_path / "moved", built=built)
    given = {"device": "cpu", "say": print, "placed": partial(_placed, place), "numbers": (0, 1)}
    with Measurer((Levels("noise"),), {}, caller(tmp_path, print), aside, **given) as measurer:
        measurer.measure(read_experiment(tmp_path))
        amounts = amounts_of(folder)
        measurer.corrupt = (Levels("noise", (0.2, 0.4)),)
        for _ in range(2):
            measurer.measure(read_experiment(tmp_path))
        for fill in (0.0, 0.0, 0.5, 0.5):
            measurer.corrupt = (Levels("missing", fill=fill),)
            measurer.measure(read_experiment(tmp_path))
            if not fill:
                forget_fill(folder / "robustness-test-missing.json")
    assert amounts_of(folder) == [0, 0.2] != amounts, "those that were asked for last"
    rows = read_evaluation(folder / "robustness-test-missing.json")["levels"]
    assert [row["fill"] for row in rows] == [0.5, 0.5]
    assert len([*(folder / "replaced").iterdir()]) == 2
    assert [path.name for path in aside.iterdir()] == ["own.npy"]


def test_folds_and_arrays_lie_in_the_folder_of_the_results() -> None:
    built: Any = SimpleNamespace(folds=Path("/new/folds.json"))
    place: Any = SimpleNamespace(folder=Path("/new"), root=Path("/cache"), built=built)
    old = {"folds": "/old/folds.json", "fold": "1", "arrays": {"net": "/old/net.npz"}, "root": "/c"}
    found = _placed(place, DataSpec(stores={"pi": "key"}, **old))
    new = {"folds": "/new/folds.json", "arrays": {"net": "/new/net.npz"}, "root": "/cache"}
    assert found == DataSpec(stores={"pi": "key"}, **{**old, **new})
