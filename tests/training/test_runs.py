"""A run is its spec: the same gives the same bits, and what does not fit together is refused."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi_cache.errors import (  # noqa: E402
    AlreadyPublished,
    InvalidSpec,
    LeakageError,
    StaleImages,
)
from pi_cache.sampling.foldfiles import to_file  # noqa: E402
from pi_cache.sampling.folds import stratified  # noqa: E402
from pi_cache.sampling.joins import open_together  # noqa: E402
from pi_cache.specs import DiagramSpec, ImageSpec  # noqa: E402
from pipeline.build import Options, build  # noqa: E402
from pipeline.sources import open_source  # noqa: E402
from tests.training.runs_case import data, spec, trained  # noqa: E402
from tests.training.trained_case import build_signals  # noqa: E402
from training.methods.catalogue import make_method  # noqa: E402
from training.runs.augmentations import AUGMENTATIONS, parse_augmentation  # noqa: E402
from training.runs.execute import prepare_run, run, seeded  # noqa: E402
from training.runs.settings import made_spec  # noqa: E402
from training.runs.spec import RunSpec  # noqa: E402
from training.tasks import open_task  # noqa: E402
from training.trained import ModelSpec, read_trained  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_signals(tmp_path_factory.mktemp("저장소"))


@pytest.fixture(scope="module")
def runs(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher of signals, one of persistence images, and a student alone."""
    folder = tmp_path_factory.mktemp("runs")
    trained(store, folder / "signals")
    trained(store, folder / "pi", view="pi")
    trained(store, folder / "student", config={"seed": 3})
    return folder


@pytest.fixture(scope="module")
def folds(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("folds") / "folds.json"
    joined = open_together({"pi": str(store)})
    to_file(path, stratified(joined, 3, seed=0), joined)
    return path


def test_a_spec_survives_its_dict(store: Path, runs: Path) -> None:
    full = spec(
        store,
        method="eskd",
        teachers=(str(runs / "signals"),),
        start=str(runs / "student"),
        augment=("mixup:kept=0.5", "reverse"),
        allow_stale=True,
        model_options={},
        normalise="windows",
    )
    document = json.loads(json.dumps(full.to_dict()))
    assert RunSpec.from_dict(document) == full
    assert full.teachers == (f"{runs / 'signals'}:best",), "eskd means the best epoch"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "wrn-16-11"}, r"unknown model 'wrn-16-11'; did you mean 'wrn-16-1'\?"),
        ({"model": "pi-net-image"}, "gives images, not classes"),
        ({"normalise": "all"}, "normalise must be one of values"),
        ({"teachers": ("a",)}, "teachers go with a method"),
        ({"method": "tgd", "teachers": ("a",)}, "tgd learns from 2 teachers or more, got 1"),
        ({"method": "kd", "teachers": ("a", "b")}, "kd learns from 1 teacher, got 2"),
        ({"method": "tpkd", "teachers": ("a", "b")}, "starts from the same network"),
        ({"view": "inputs +"}, "a view is names joined by"),
        ({"augment": ("flipp",)}, r"unknown augmentation 'flipp'; did you mean 'flip'\?"),
        ({"augment": ("mixup:keep=1",)}, r"no setting 'keep'; did you mean 'kept'\?"),
        ({"augment": ("mixup:0.5",)}, "must be NAME or NAME:setting=value"),
        ({"augment": ("mixup:both=no",)}, "both must be true or false, got 'no'"),
        ({"augment": ("mixup:kept=true",)}, "kept must be a number, got True"),
        ({"augment": ("cutout:size=big",)}, "size must be a whole number, got 'big'"),
        ({"augment": (3,)}, "an augmentation is a name or a table with a name, got 3"),
        ({"model_options": {"channels": 2}}, "channels is no option of a network"),
        ({"start": ""}, "a teacher and a start are folders of runs"),
        ({"method": "kd", "teachers": ("",)}, "a teacher and a start are folders of runs"),
    ],
)
def test_what_is_no_run_is_refused(store: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        spec(store, **change)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_augmentations_come_back_from_their_record(name: str) -> None:
    made = parse_augmentation(f"{name}:size=4" if name == "cutout" else name)
    assert parse_augmentation(json.loads(json.dumps(made.to_dict()))) == made


def test_a_run_gives_the_same_again_and_says_what_it_is(store: Path, tmp_path: Path) -> None:
    one, two = (trained(store, tmp_path / name) for name in ("one", "two"))
    for name in ("best", "last"):
        weights = [read_trained(f"{folder}:{name}").network.state_dict() for folder in (one, two)]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    document = json.loads((one / "run.json").read_text())
    assert document["record"]["spec"] == json.loads(json.dumps(spec(store).to_dict()))
    assert document["data"]["samples"] == {"train": 27, "validation": 9, "test": 24}
    assert document["record"]["provenance"]["versions"]["torch"] == torch.__version__
    said: list[str] = []
    again = run(spec(store), one, say=said.append, command=["training", "fit"])
    assert again.epochs == 2 and any("ended before" in line for line in said)


def test_another_run_in_the_folder_is_refused_and_changes_nothing(store: Path, runs: Path) -> None:
    before = {path: path.read_bytes() for path in (runs / "signals").iterdir() if path.is_file()}
    with pytest.raises(AlreadyPublished, match=r"config\.epochs is 2 there and 3 here"):
        run(spec(store, config={"epochs": 3}), runs / "signals")
    assert before == {path: path.read_bytes() for path in before}


def test_another_teacher_is_named(store: Path, runs: Path, tmp_path: Path) -> None:
    kd = spec(store, method="kd", teachers=(str(runs / "signals"),))
    run(kd, tmp_path / "kd")
    with pytest.raises(
        AlreadyPublished, match=r"teachers is .*signals .*there and .*student "
    ) as no:
        run(replace(kd, teachers=(str(runs / "student"),)), tmp_path / "kd")
    assert "digest" not in str(no.value)


@pytest.mark.parametrize("device", ["meta", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(store: Path, tmp_path: Path, device: str) -> None:
    with pytest.raises(InvalidSpec, match=f"nothing can be trained on device '{device}' here"):
        run(spec(store, config={"device": device}), tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_weights_follow_from_the_seed_alone() -> None:
    model = ModelSpec(name="resnet-8", channels=2, classes=3, dimensions=1)
    torch.manual_seed(11)
    first = seeded(model, 5).state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(11)
    assert torch.equal(torch.rand(1), drawn), "torch's own state is left alone"
    assert all(torch.equal(v, first[k]) for k, v in seeded(model, 5).state_dict().items())
    other = seeded(model, 6).state_dict()
    assert any(not torch.equal(v, first[k]) for k, v in other.items())


def test_a_student_of_two_teachers(store: Path, runs: Path, tmp_path: Path) -> None:
    teachers = (str(runs / "signals"), f"{runs / 'pi'}:last")
    given = spec(store, method="tgd", teachers=teachers, start=str(runs / "student"))
    prepared = prepare_run(given)
    start = read_trained(runs / "student").network.state_dict()
    network = prepared.objective().network.state_dict()
    assert all(torch.equal(start[name], network[name]) for name in start)
    assert [str(each.trained.view) for each in prepared.teachers] == ["inputs", "pi"]
    assert prepared.notes == ()
    result = run(given, tmp_path / "tgd")
    log = [json.loads(line) for line in (tmp_path / "tgd" / "log.jsonl").read_text().splitlines()]
    assert result.epochs == 2 and set(log[0]["terms"]) == {"ce", "kd", "sp"}


def test_the_digest_follows_the_content_and_not_the_place(
    store: Path, runs: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(store.parents[1], tmp_path / "moved") / "stores" / store.name
    shutil.copytree(runs / "signals", tmp_path / "teacher")

    def digest(of: Path, teacher: Path, **change: Any) -> str:
        return prepare_run(spec(of, method="kd", teachers=(str(teacher),), **change)).digest

    first = digest(store, runs / "signals")
    assert digest(moved, tmp_path / "teacher") == first
    assert digest(store, Path(f"{runs / 'signals'}:last")) != first
    assert digest(store, runs / "student") != first
    assert digest(store, runs / "signals", config={"seed": 1}) != first
    drawn = [prepare_run(spec(store, data=data(store, seed=seed))).digest for seed in (0, 1)]
    assert drawn[0] != drawn[1], "another validation part"


def test_a_network_that_saw_the_held_out_samples_is_refused(
    store: Path, folds: Path, tmp_path: Path
) -> None:
    one, two = (data(store, folds=str(folds), fold=name) for name in ("1", "2"))
    teacher = trained(store, tmp_path / "teacher", data=one)
    assert not prepare_run(spec(store, data=one, method="kd", teachers=(str(teacher),))).notes
    theirs, mine = (
        {name: set(side.ids.tolist()) for name, side in open_task(each).sides.items()}
        for each in (one, two)
    )
    shared = {
        (side, ours): len(theirs[side] & mine[ours])
        for side, ours in (("train", "validation"), ("train", "test"), ("validation", "test"))
    }
    assert shared["train", "test"] and shared["validation", "test"]
    for given in (
        spec(store, data=two, method="kd", teachers=(str(teacher),)),
        spec(store, data=two, start=str(teacher)),
    ):
        with pytest.raises(LeakageError, match="has seen what is held out here") as refused:
            prepare_run(given)
        said = dict.fromkeys(shared, 0)
        pattern = r"(\d+) (\w+) samples \(.*?\) are of its (\w+) side"
        for count, ours, side in re.findall(pattern, str(refused.value)):
            said[side, ours] = int(count)
        assert said == shared


def test_a_teacher_whose_epoch_the_test_side_chose_is_refused(
    store: Path, folds: Path, tmp_path: Path
) -> None:
    one = data(store, folds=str(folds), fold="1")
    teacher = trained(store, tmp_path / "t", data=one, config={"select": "best-on-test"})
    given = {"data": one, "method": "kd"}
    with pytest.raises(LeakageError, match=r"\d+ test samples .* and not best-on-test"):
        prepare_run(spec(store, teachers=(str(teacher),), **given))
    prepare_run(spec(store, teachers=(f"{teacher}:last",), **given))
    same = spec(store, teachers=(str(teacher),), config={"select": "best-on-test"}, **given)
    prepare_run(same)


def test_a_teacher_whose_data_are_gone_is_said_not_to_be_checked(
    store: Path, folds: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "folds.json"
    copied.write_bytes(folds.read_bytes())
    teacher = trained(store, tmp_path / "t", data=data(store, folds=str(copied), fold="1"))
    copied.unlink()
    two = data(store, folds=str(folds), fold="2")
    prepared = prepare_run(spec(store, data=two, method="kd", teachers=(str(teacher),)))
    assert len(prepared.notes) == 1 and "are not at hand" in prepared.notes[0]
    one = data(store, folds=str(folds), fold="1")
    fine = prepare_run(spec(store, data=one, method="kd", teachers=(str(teacher),)))
    assert fine.notes == (), "the same sides are known by their digests"


def test_a_teacher_must_be_shown_what_it_reads(store: Path, runs: Path, tmp_path: Path) -> None:
    other = data(store, stores={"images": str(store)})
    with pytest.raises(InvalidSpec, match=r"it reads 'pi', and there are .*; give --store pi=KEY"):
        prepare_run(spec(store, data=other, method="kd", teachers=(str(runs / "pi"),)))


def test_a_teacher_of_other_images_by_the_same_name_is_refused(
    store: Path, runs: Path, tmp_path: Path
) -> None:
    source = open_source(f"array:{store.parents[1] / 'a.npz'}", sample="signal")
    window = ImageSpec(
        pixels=8, birth_range=(-4, 4), persistence_range=(0, 6), dtype="float32", sigma=0.5
    )
    wider = build(
        source, DiagramSpec(), window, root=tmp_path / "cache", options=Options(with_inputs=True)
    ).path
    with pytest.raises(InvalidSpec, match="whose images are made otherwise"):
        prepare_run(spec(wider, method="kd", teachers=(str(runs / "pi"),)))
    prepare_run(spec(wider, method="kd", teachers=(str(runs / "signals"),)))


def test_a_start_must_be_the_same_network(store: Path, runs: Path) -> None:
    with pytest.raises(InvalidSpec, match="this run trains resnet-14"):
        prepare_run(spec(store, model="resnet-14", start=str(runs / "student")))
    with pytest.raises(InvalidSpec, match="reads inputs, and this run pi"):
        prepare_run(spec(store, view="pi", start=str(runs / "student")))


def test_other_windows_of_held_out_people_are_found(store: Path, tmp_path: Path) -> None:
    """They have other ids than those that the teacher was trained on."""
    people = np.array([f"P{number // 6}" for number in range(60)])

    def windows(name: str, train: set[str]) -> Path:
        with np.load(store.parents[1] / "a.npz") as file:
            arrays = {**file, "splits": np.where(np.isin(people, [*train]), "train", "test")}
        ids = [f"{name}-{number}" for number in range(60)]
        np.savez(tmp_path / f"{name}.npz", **{**arrays, "ids": ids, "groups": people})
        source = open_source(f"array:{tmp_path / name}.npz", sample="signal")
        window = ImageSpec(pixels=8, birth_range=(-4, 4), persistence_range=(0, 6))
        options = Options(with_inputs=True)
        return build(source, DiagramSpec(), window, root=tmp_path, options=options).path

    names = sorted(set(people))
    long, short = windows("long", {*names[:6]}), windows("short", {*names[4:]})
    teacher = trained(long, tmp_path / "t", data=data(long, by_group=True))
    with pytest.raises(LeakageError, match=r"3 test groups \(P0, P2, P3\), such as people"):
        kd = {"method": "kd", "teachers": (str(teacher),)}
        prepare_run(spec(short, data=data(short, by_group=True, validation=0.3), **kd))


def test_augmented_inputs_and_stale_images(store: Path, runs: Path, tmp_path: Path) -> None:
    kd = {"method": "kd", "teachers": (str(runs / "pi"),)}
    prepare_run(spec(store, augment=("gaussian-noise",)))
    prepare_run(spec(store, augment=("reverse:probability=1",), **kd))
    with pytest.raises(StaleImages, match="every value changes"):
        prepare_run(spec(store, augment=("gaussian-noise",), **kd))
    allowed = spec(store, augment=("gaussian-noise", "mixup"), allow_stale=True, **kd)
    run(allowed, tmp_path / "stale")
    record = json.loads((tmp_path / "stale" / "run.json").read_text())["record"]
    assert record["augmentations"]["pi"]["stale"] == ["GaussianNoise", "Mixup"]


def test_a_variant_is_used_and_shown_to_no_network(store: Path, runs: Path, tmp_path: Path) -> None:
    """Negated signals have other diagrams, which a store of its own holds."""
    source = open_source(f"array:{store.parents[1] / 'a.npz'}", sample="signal", variant="negate")
    window = ImageSpec(pixels=8, birth_range=(-4, 4), persistence_range=(0, 6), dtype="float32")
    options = Options(with_inputs=True)
    turned = build(source, DiagramSpec(), window, root=tmp_path, options=options).path
    stores = {"pi": str(store), "negated": str(turned)}
    given = spec(
        store,
        data=data(store, stores=stores),
        method="kd",
        teachers=(str(runs / "pi"),),
        augment=("negate",),
    )
    prepared = prepare_run(given)
    assert prepared.transform is not None
    assert prepared.transform.names == ("inputs", "pi", "negated")
    (followed,) = prepared.transform.record["pi"]["augmentations"]
    assert followed["images"] == "from the variant store"
    assert run(given, tmp_path / "run").epochs == 2
    with pytest.raises(StaleImages, match="--variants negate"):
        prepare_run(spec(store, method="kd", teachers=(str(runs / "pi"),), augment=("negate",)))


def test_mixed_samples_have_shares_for_targets(store: Path) -> None:
    prepared = prepare_run(spec(store, augment=("mixup",)))
    assert prepared.transform is not None and prepared.transform.names == ("inputs",)
    assert prepared.transform.classes == 3
    plain = prepare_run(spec(store, augment=("reverse",))).transform
    assert plain is not None and plain.classes is None


def test_settings_of_a_preset_hold_where_nothing_else_is_given(store: Path) -> None:
    settings = {"preset": "tgd-cifar10", "config": {"epochs": 3, "batch-size": 8}}
    made = made_spec(settings, data=data(store))
    assert (made.config.epochs, made.config.batch_size, made.config.seed) == (3, 8, 1234)
    assert made.config.schedule == "steps:0.2@40,80,120,160"
    assert made.method is None and made.model == "wrn-16-1" and made.view == "inputs"
    taught = {**settings, "settings": {"weights": [0.5, 0.5]}}
    two = ("a", "b")
    made = made_spec(taught, data=data(store), teachers=two, start="none", seed=7)
    assert made.method == make_method("tgd", weights=(0.5, 0.5))
    assert made.start is None and made.config.seed == 7
    with pytest.raises(InvalidSpec, match="starts its student from a network"):
        made_spec(taught, data=data(store), teachers=two)
    with pytest.raises(InvalidSpec, match=r"unknown preset 'tgd'.*`training presets`"):
        made_spec({"preset": "tgd"}, data=data(store))
    with pytest.raises(InvalidSpec, match=r"no setting 'name'.*`training distill at`"):
        made_spec({**settings, "method": "kd", "settings": {"name": "at"}}, data=data(store))
    for wrong, message in (
        ({"nesterov": "no"}, "nesterov must be true or false, got 'no'"),
        ({"schedule": 3}, "schedule must be a word, got 3"),
        ({"betas": 0.9}, "betas must be two numbers, got 0.9"),
    ):
        with pytest.raises(InvalidSpec, match=message):
            made_spec({**settings, "config": wrong}, data=data(store))
    with pytest.raises(InvalidSpec, match="needs a view and a model"):
        made_spec({"config": {"epochs": 1}}, data=data(store))


def test_a_join_with_arrays_of_ones_own(store: Path, tmp_path: Path) -> None:
    joined = open_together({"pi": str(store)})
    own = tmp_path / "own.npz"
    np.savez(own, ids=joined.ids.astype(str), extra=np.ones((60, 2, 9), np.float32))
    with_own = data(store, arrays={"extra": str(own)})
    first = prepare_run(spec(store, data=with_own, view="extra")).digest
    np.savez(own, ids=joined.ids.astype(str), extra=np.zeros((60, 2, 9), np.float32))
    assert prepare_run(spec(store, data=with_own, view="extra")).digest != first
    kept = {"data": with_own, "view": "inputs", "augment": ("reverse",)}
    assert prepare_run(spec(store, **kept)).transform is not None, "nobody reads them"
    read = {**kept, "view": "extra"}
    with pytest.raises(StaleImages, match="extra of your own would not follow Reverse"):
        prepare_run(spec(store, **read))
    stale = prepare_run(spec(store, **read, allow_stale=True)).transform
    assert stale is not None and stale.record["extra"] == {"stale": ["Reverse"]}


def test_ranks_augment_by_draws_of_their_own(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, seeds = spec(store, augment=("mixup",), allow_stale=True), []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        transform = prepare_run(given).transform
        seeds.append(transform.state_dict()["generator"])
    assert not torch.equal(*seeds)
