"""PI-Nets: fitted to cached images, measured, used in place of exact ones, and timed."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from pi_cache import Store, open_store  # noqa: E402
from pi_cache.errors import AlreadyPublished, InvalidSpec, LeakageError  # noqa: E402
from tests.training.waves import CHANNELS, PIXELS, SAMPLES, made_store  # noqa: E402
from training.commands.pinet import pi_net, predict_pis  # noqa: E402
from training.joined import JoinedDataset  # noqa: E402
from training.pinets.cores import first_core, one_thread, pinned  # noqa: E402
from training.pinets.errors import Sums, correlations, mean_image  # noqa: E402
from training.pinets.fit import PINetSpec, fit_pi_net, read_errors  # noqa: E402
from training.pinets.measure import measure  # noqa: E402
from training.pinets.npz import Streamed, npz_blocks  # noqa: E402
from training.pinets.predictions import write_predictions  # noqa: E402
from training.pinets.timing import measure_timing  # noqa: E402
from training.tasks import DataSpec, open_task  # noqa: E402
from training.trained import ModelSpec, Trained, read_trained  # noqa: E402
from training.trainer.config import TrainConfig  # noqa: E402
from training.trainer.loop import train  # noqa: E402
from training.trainer.objectives import Regression, Supervised  # noqa: E402
from training.views import View, fit_view  # noqa: E402

pytestmark = pytest.mark.torch

QUIET = {"config": TrainConfig(epochs=1, how="resident", batch_size=16)}


def spec_of(store: Store, **changes: Any) -> PINetSpec:
    config = TrainConfig(
        epochs=changes.pop("epochs", 12),
        batch_size=18,
        optimizer="adam",
        learning_rate=2e-4,
        weight_decay=0.0,
        how="resident",
        save_every=100,
        seed=changes.pop("seed", 0),
    )
    data = DataSpec(stores={"pi": str(store.path)}, limit=changes.pop("limit", None))
    return PINetSpec(data=data, net="pi-net-signal", config=config, **changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made_store(tmp_path_factory.mktemp("signals"))


@pytest.fixture(scope="module")
def fitted(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PI-Net that has learned these images.

    Its norms forget sooner, to learn in 50 steps; and its pixels begin above 0 and close together,
    or those that the last ReLU holds at 0 for every sample would stay there.
    """
    folder = tmp_path_factory.mktemp("runs") / "pi-net"
    spec = spec_of(store, epochs=25)
    task = open_task(spec.data)
    view = fit_view("inputs", task.train)
    options = {"image_channels": CHANNELS, "pixels": PIXELS}
    model = ModelSpec(
        name="pi-net-signal", channels=CHANNELS, classes=0, dimensions=1, options=options
    )
    torch.manual_seed(0)
    network = model.build()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = 0.3
    torch.nn.init.constant_(network.dense.bias, 0.3)
    network.dense.weight.data.mul_(0.1)
    train(Regression(network, view, "pi"), task, spec.config, folder, model=model)
    return folder


def test_images_are_learned_in_their_own_order_of_pixels(store: Store, fitted: Path) -> None:
    """The images are (C, persistence, birth): any other order of the same pixels fits worse."""
    trained, task = read_trained(fitted), open_task(DataSpec(stores={"pi": str(store.path)}))
    assert task.test is not None
    batch = task.prepare(task.test.batch(slice(None)))
    given, exact = trained(batch).images, batch["pi"]
    right = (given - exact).square().mean().item()
    assert right < 0.1 * (exact - exact.mean(0)).square().mean().item()
    for other in (given.mT, given.flip(1), given.flip(2), given.flip(3)):
        assert (other - exact).square().mean().item() > 3 * right
    flat = given.permute(0, 2, 3, 1).reshape(given.shape)  # channels last, read as channels first
    assert (flat - exact).square().mean().item() > 3 * right


def test_errors_are_written_for_each_side_that_was_held_back(
    store: Store, fitted: Path, tmp_path: Path
) -> None:
    task = open_task(DataSpec(stores={"pi": str(store.path)}))
    assert task.test is not None
    learned = measure(read_trained(fitted), task.test, task.train, "pi")
    assert learned.explained is not None and learned.explained > 0.9
    spec = spec_of(store, epochs=1, measured=5)
    _, errors = fit_pi_net(spec, tmp_path / "run", say=lambda text: None)
    found = read_errors(tmp_path / "run")
    assert found == {side: each.to_dict() for side, each in errors.items()}
    assert {side: each["samples"] for side, each in found.items()} == {"validation": 4, "test": 5}
    assert list(found["test"]["by_channel"]) == list(store.channels)


def test_the_same_command_again_goes_on_and_another_is_refused(
    store: Store, tmp_path: Path
) -> None:
    spec = spec_of(store, epochs=2)
    first, errors = fit_pi_net(spec, tmp_path / "run", say=lambda text: None)
    again, same = fit_pi_net(spec, tmp_path / "run", say=lambda text: None)
    assert (again, same) == (first, errors)
    with pytest.raises(AlreadyPublished, match=r"config\.epochs is 2 there and 3 here"):
        fit_pi_net(spec_of(store, epochs=3), tmp_path / "run", say=lambda text: None)


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_small_types_are_widened(dtype: str, tmp_path: Path) -> None:
    small = made_store(tmp_path, dtype=dtype)
    _, errors = fit_pi_net(spec_of(small, epochs=1), tmp_path / "run", say=lambda text: None)
    assert errors["test"].over_zero is not None
    truth = small.read("images", np.flatnonzero(small.splits == "test")).astype(np.float64)
    truth /= 255 if dtype == "uint8" else 1
    zero = errors["test"].mse / (1 - errors["test"].over_zero)
    np.testing.assert_allclose(zero, np.square(truth).mean(), rtol=1e-6)


def test_samples_need_no_labels(tmp_path: Path) -> None:
    bare = made_store(tmp_path, labels=None)
    result, errors = fit_pi_net(spec_of(bare, epochs=1), tmp_path / "run", say=lambda text: None)
    assert result.measured.startswith("mse") and errors["validation"].samples == 4
    with pytest.raises(InvalidSpec, match="no labels; train a PI-Net"):
        open_task(DataSpec(stores={"pi": str(bare.path)}))


def test_a_subset_fine_tunes_a_network(store: Store, fitted: Path, tmp_path: Path) -> None:
    said = [spec_of(store, epochs=1, limit=8, start=start) for start in (None, str(fitted))]
    fresh, tuned = (
        fit_pi_net(spec, tmp_path / str(number), say=lambda text: None)[1]["test"]
        for number, spec in enumerate(said)
    )
    assert tuned.mse < 0.5 * fresh.mse
    start, here = read_trained(fitted), read_trained(tmp_path / "1")
    assert here.view == start.view
    refitted = spec_of(store, epochs=1, limit=8, start=str(fitted), normalise="windows")
    fit_pi_net(refitted, tmp_path / "2", say=lambda text: None)
    assert read_trained(tmp_path / "2").view != start.view


def test_a_fit_is_the_same_one_wherever_it_lies(store: Store, fitted: Path, tmp_path: Path) -> None:
    shutil.copytree(fitted, tmp_path / "start")
    spec = spec_of(store, epochs=1, limit=8, start=str(fitted))
    fit_pi_net(spec, tmp_path / "run", say=lambda text: None)
    shutil.move(tmp_path / "run", tmp_path / "moved")
    said: list[str] = []
    other = replace(spec, start=str(tmp_path / "start"))
    fit_pi_net(other, tmp_path / "moved", say=said.append)
    assert not any("epoch 1 of" in line for line in said), "nothing was trained again"
    fit_pi_net(replace(spec, start=None), tmp_path / "bare", say=lambda text: None)
    bare = replace(spec, start=str(tmp_path / "bare"))
    with pytest.raises(AlreadyPublished, match=r"pi_net\.start is"):
        fit_pi_net(bare, tmp_path / "moved", say=lambda text: None)


def test_arrays_of_other_bytes_are_another_fit(store: Store, tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((len(store), CHANNELS, PIXELS, PIXELS), np.float32)
    own = {"own": str(tmp_path / "own.npz")}
    bare = spec_of(store, epochs=1)
    spec = replace(bare, target="own", data=replace(bare.data, arrays=own))
    for content in (images, 1 - images):
        np.savez(own["own"], ids=np.array(store.ids, dtype=str), images=content)
        if content is images:
            fit_pi_net(spec, tmp_path / "run", say=lambda text: None)
    with pytest.raises(AlreadyPublished, match=r"pi_net\.data\.arrays\.own is"):
        fit_pi_net(spec, tmp_path / "run", say=lambda text: None)


def test_a_start_that_gives_other_images_is_refused(fitted: Path, tmp_path: Path) -> None:
    wider = made_store(tmp_path, channels=3)
    spec = spec_of(wider, start=str(fitted))
    with pytest.raises(
        InvalidSpec, match=r"gives images \(2, 5, 5\), pi are \(3, 5, 5\); it reads"
    ):
        fit_pi_net(spec, tmp_path / "run", say=lambda text: None)
    assert not (tmp_path / "run").exists()


def test_a_start_that_has_seen_what_is_held_back_is_refused(
    store: Store, fitted: Path, tmp_path: Path
) -> None:
    spec = spec_of(store, start=str(fitted))
    wider = replace(spec, data=replace(spec.data, validation=0.5))
    with pytest.raises(LeakageError, match=r"was trained on \d+ validation samples of this run"):
        fit_pi_net(wider, tmp_path / "run", say=lambda text: None)


def test_a_network_of_images_takes_no_signals(store: Store, tmp_path: Path) -> None:
    spec = replace(spec_of(store), net="pi-net-image")
    with pytest.raises(InvalidSpec, match=r"takes images .* \(2, 8\) a sample; take pi-net-signal"):
        fit_pi_net(spec, tmp_path / "run", say=lambda text: None)
    assert not (tmp_path / "run").exists()


def test_specs_name_every_problem() -> None:
    with pytest.raises(InvalidSpec, match=r"net must be .* normalise must .* no 'pi' to learn"):
        PINetSpec(data=DataSpec(stores={"x": "y"}), net="wrn-16-1", normalise="max", **QUIET)


# --- errors ---------------------------------------------------------------------------------------


def test_errors_are_those_of_plain_formulas() -> None:
    rng = np.random.default_rng(1)
    exact, given, train = (rng.random((7, 3, 4, 4)) for _ in range(3))
    given[2] = 0.5  # constant: no correlation
    mean = mean_image(torch.from_numpy(part) for part in (train[:3], train[3:]))
    sums = Sums(mean)
    for part in (slice(0, 3), slice(3, 7)):
        sums.add(torch.from_numpy(given[part]).float(), torch.from_numpy(exact[part]))
    found = sums.errors(["a", "b", "c"])
    apart = given - exact
    np.testing.assert_allclose(found.mse, np.mean(apart**2), rtol=1e-6)
    np.testing.assert_allclose(found.rmse, np.sqrt(np.mean(apart**2)), rtol=1e-6)
    np.testing.assert_allclose(found.mae, np.mean(np.abs(apart)), rtol=1e-6)
    np.testing.assert_allclose(
        found.explained, 1 - np.sum(apart**2) / np.sum((exact - train.mean(0)) ** 2), rtol=1e-6
    )
    np.testing.assert_allclose(found.over_zero, 1 - np.sum(apart**2) / np.sum(exact**2), rtol=1e-6)
    for number, name in enumerate("abc"):
        np.testing.assert_allclose(
            found.by_channel[name]["mae"], np.abs(apart[:, number]).mean(), rtol=1e-6
        )
    one_by_one = [np.corrcoef(given[i].ravel(), exact[i].ravel())[0, 1] for i in range(7) if i != 2]
    assert found.undefined == 1
    np.testing.assert_allclose(found.correlation["mean"], np.mean(one_by_one), rtol=1e-5)
    np.testing.assert_allclose(found.correlation["median"], np.median(one_by_one), rtol=1e-5)


def test_the_mean_image_explains_nothing_and_the_exact_one_all() -> None:
    exact = torch.rand(5, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    mean = mean_image([exact])
    for given, share in ((mean.expand_as(exact), 0.0), (exact, 1.0)):
        sums = Sums(mean)
        sums.add(given, exact)
        assert sums.errors("ab").explained == pytest.approx(share, abs=1e-12)


def test_correlation_ignores_scale_and_offset_and_is_undefined_for_constants() -> None:
    images = torch.rand(3, 2, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(correlations(3 * images + 1, images), torch.ones(3).double())
    torch.testing.assert_close(correlations(-images, images), -torch.ones(3).double())
    assert correlations(torch.zeros_like(images), images).isnan().all()


def test_images_of_another_shape_are_not_compared() -> None:
    with pytest.raises(InvalidSpec, match=r"predicted images are \(1, 2, 3, 3\)"):
        Sums(torch.zeros(2, 3, 3)).add(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 4, 4))
    with pytest.raises(InvalidSpec, match="no images to compare"):
        Sums(torch.zeros(2, 3, 3)).errors("ab")


# --- predictions ----------------------------------------------------------------------------------


def test_streamed_files_are_what_numpy_writes(tmp_path: Path) -> None:
    rows = np.arange(24, dtype=np.float16).reshape(6, 2, 2)
    blocks = Streamed(shape=rows.shape, dtype="float16", blocks=lambda: iter((rows[:4], rows[4:])))
    file = tmp_path / "a.npz"
    made = [b"".join(npz_blocks({"ids": np.array(["가", "b"]), "images": blocks})) for _ in "12"]
    assert made[0] == made[1]
    file.write_bytes(made[0])
    with np.load(file, allow_pickle=False) as found:
        np.testing.assert_array_equal(found["images"], rows)
        assert found["images"].dtype == np.float16
        assert found["ids"].tolist() == ["가", "b"]


def test_predicted_images_train_a_network_in_place_of_exact_ones(
    store: Store, fitted: Path, tmp_path: Path
) -> None:
    file = tmp_path / "predicted.npz"
    trained = read_trained(fitted)
    task = open_task(DataSpec(stores={"pi": str(store.path)}))
    everything = task.train.view(np.arange(SAMPLES))
    write_predictions(file, trained, everything, every=True, dtype="float32", record={})
    joined = open_task(DataSpec(stores={"pi": str(store.path)}, arrays={"pinet": str(file)}))
    batch = joined.prepare(joined.train.batch([3, 1]))
    torch.testing.assert_close(batch["pinet"], trained(batch).images, rtol=1e-5, atol=1e-6)
    view = fit_view("pinet", joined.train)
    assert view.shape == (CHANNELS, PIXELS, PIXELS)
    model = ModelSpec(name="resnet-8", channels=CHANNELS, classes=2, dimensions=2)
    objective = Supervised(model.build(), view)
    result = train(objective, joined, QUIET["config"], tmp_path / "run", model=model)
    assert result.epochs == 1 and str(read_trained(tmp_path / "run").view) == "pinet"


def test_samples_that_are_not_ok_have_no_image(fitted: Path, tmp_path: Path) -> None:
    broken = made_store(tmp_path / "cache", status={5: 1, 47: 2})
    task = open_task(DataSpec(stores={"pi": str(broken.path)}))
    everything = task.train.view(np.arange(len(task.train.joined)))
    file = tmp_path / "a.npz"
    document = write_predictions(file, read_trained(fitted), everything, every=True, record={})
    assert (document["samples"], document["predicted"]) == (48, 46)
    with np.load(file, allow_pickle=False) as found:
        lost = np.isnan(found["images"]).any(axis=(1, 2, 3))
        assert found["ids"].tolist() == broken.ids.tolist()
    assert np.flatnonzero(lost).tolist() == [5, 47]
    assert json.loads(file.with_suffix(".json").read_text())["predicted"] == 46
    joined = open_task(DataSpec(stores={"pi": str(broken.path)}, arrays={"pinet": str(file)}))
    assert joined.train.batch(slice(None))["pinet"].isfinite().all()


def test_a_file_is_never_replaced_by_other_images(
    store: Store, fitted: Path, tmp_path: Path
) -> None:
    task = open_task(DataSpec(stores={"pi": str(store.path)}))
    assert task.test is not None
    trained, file = read_trained(fitted), tmp_path / "a.npz"
    for _ in "12":
        write_predictions(file, trained, task.test, every=False, record={})
    before = file.read_bytes()
    with pytest.raises(AlreadyPublished, match="holds other images; name another"):
        write_predictions(file, trained, task.train, every=False, record={})
    assert file.read_bytes() == before
    with pytest.raises(InvalidSpec, match=r"name it a\.npz"):
        write_predictions(tmp_path / "a.npy", trained, task.test, every=False, record={})


def test_a_classifier_predicts_no_images(store: Store, tmp_path: Path) -> None:
    task = open_task(DataSpec(stores={"pi": str(store.path)}))
    classifier = classifier_of(task)
    with pytest.raises(InvalidSpec, match="resnet-8 gives classes, not persistence images"):
        write_predictions(tmp_path / "a.npz", classifier, task.train, every=False, record={})
    with pytest.raises(InvalidSpec, match="gives classes"):
        measure_timing(classifier, store)


def classifier_of(task: Any) -> Trained:
    view: View = fit_view("inputs", task.train)
    model = ModelSpec(name="resnet-8", channels=CHANNELS, classes=2, dimensions=1)
    return Trained(network=model.build(), model=model, view=view, class_names=("a",), record={})


# --- timing ---------------------------------------------------------------------------------------


def test_pinning_is_undone() -> None:
    core = first_core()
    if core is None:
        pytest.skip("this system pins no process")
    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    with pytest.raises(ZeroDivisionError, match="division"), pinned(core), one_thread():
        assert os.sched_getaffinity(0) == {core} and torch.get_num_threads() == 1
        _ = 1 / 0
    assert os.sched_getaffinity(0) == before and torch.get_num_threads() == threads


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that the pipeline made, which can be made again."""
    from pipeline.cli import cli

    root = tmp_path_factory.mktemp("digits")
    words = ["build-pis", "digits", "--limit", "24", "--pixels", "8", "--dtype", "uint8", "--json"]
    done = CliRunner().invoke(cli, [*words, "--cache", str(root)], catch_exceptions=False)
    return open_store(json.loads(done.stdout)["path"])


def untrained(store: Store) -> Trained:
    view = fit_view("inputs", JoinedDataset({"pi": store}))
    options = {"image_channels": store.column("images").shape[0], "pixels": 8}
    model = ModelSpec(
        name="pi-net-image", channels=view.channels, classes=0, dimensions=2, options=options
    )
    return Trained(network=model.build(), model=model, view=view, class_names=(), record={})


def test_exact_images_are_made_again_bit_for_bit_and_both_sides_are_timed(digits: Store) -> None:
    found = measure_timing(untrained(digits), digits, samples=10, repeats=1)
    assert found.exact["identical"] == found.exact["samples"] == 10
    assert [(row.batch, row.samples) for row in found.rows] == [
        (None, 10), (None, 10), (1, 10), (128, 10),
    ]  # fmt: skip
    assert found.rows[0].ratio == 1 and all(row.milliseconds > 0 for row in found.rows)
    steps = found.exact["steps"]
    topology = sum(steps[name] for name in ("fields", "diagrams", "images"))
    assert found.rows[0].milliseconds == pytest.approx(100 * topology)
    assert any("10 of 10 exact ones" in line for line in found.notes())
    assert found.to_dict()["hardware"] == found.hardware


def test_timing_refuses_what_it_cannot_compare(digits: Store) -> None:
    network = untrained(digits)
    other = replace(network.view.pieces[0], name="pi")
    with pytest.raises(InvalidSpec, match="one that reads inputs alone"):
        measure_timing(replace(network, view=View((other,))), digits)
    if not torch.cuda.is_available():
        with pytest.raises(InvalidSpec, match="no GPU for --device cuda"):
            measure_timing(network, digits, device="cuda")


# --- commands -------------------------------------------------------------------------------------


def test_the_commands_fit_and_predict(store: Store, tmp_path: Path) -> None:
    run, file = tmp_path / "run", tmp_path / "predicted.npz"
    words = ["--store", f"pi={store.path}", "--net", "pi-net-signal", "--epochs", "1"]
    done = CliRunner().invoke(pi_net, [*words, "--out", str(run)], catch_exceptions=False)
    assert done.exit_code == 0 and "test, 12 samples" in done.stdout
    config = json.loads((run / "run.json").read_text())["config"]
    assert (config["betas"], config["epsilon"], config["seed"]) == ([0.99, 0.999], 0.1, 100)
    assert config["schedule"] == "values:1e-3@0,1e-4@300,1e-5@600"
    done = CliRunner().invoke(
        predict_pis, [str(run), "--out", str(file), "--json"], catch_exceptions=False
    )
    assert json.loads(done.stdout)["predicted"] == SAMPLES
    wrong = CliRunner().invoke(
        pi_net, [*words, "--target", "no", "--out", str(run)], catch_exceptions=False
    )
    assert wrong.exit_code == 2 and "no 'no' to learn" in wrong.stderr
