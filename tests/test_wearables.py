"""One window's way from a sensor's file to a fold; read this after tests/test_walkthrough.py.

Real recordings of three people become windows. A window has an id that says where it lies in the
raw file, and under that id there is a persistence image, an image of Vietoris-Rips diagrams, and
two Gramian angular fields. They are joined by id and divided by person, and what must not be joined
or divided so is refused.

Every count is worked out from the lengths of the files, and every number from the text in them.
"""

from __future__ import annotations

import json
import re
import tarfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import pi_cache.cli
import pipeline.cli
from pi_cache.errors import InvalidFolds, LeakageError, MismatchedStores
from pi_cache.reader import Store, open_store
from pi_cache.sampling.foldfiles import from_file, to_file
from pi_cache.sampling.folds import Fold, leave_one_group_out, stratified
from pi_cache.sampling.joins import open_together
from pi_cache.sampling.leakage import check_leakage
from pi_cache.sampling.samples import Arrays
from pi_cache.sampling.windows import Window
from pi_cache.specs import DiagramSpec, GramianSpec, ImageSpec
from pipeline.build import build, build_gramian
from pipeline.delays.embedding import Limits, find_embedding
from pipeline.delays.training import training_part
from pipeline.recipes import find_recipe
from pipeline.sources import Source, open_source, read_samples
from tests import naive
from tests.shared import shared_data

ROOT = Path(__file__).resolve().parents[1]
SUBJECTS = ("SA01", "SA02", "SA03")
TRIALS = ("D05", "D06", "F01", "F05")
"""Stairs, slowly and quickly, of 25 s; two falls of 15 s. The first trial of each."""
ACCELEROMETER = ("adxl345_x", "adxl345_y", "adxl345_z")
OPTIONS = {
    "window": "3s",
    "step": "1.5s",
    "resample": "mean:4",  # 200 Hz to 50 Hz
    "channels": ",".join(ACCELEROMETER),
    "scale": "fitted:minmax",
    "fit_on": "subjects:SA01,SA02",
}
BLOCK, LENGTH, STEP = 4, 150, 75
"""Samples of a mean; then 3 s and 1.5 s at 50 Hz, in means."""
G_PER_BIT = 32 / 2**13
"""Of the ADXL345: 13 bits for -16 g to 16 g, as the Readme of the data set says."""
WINDOWS = {"SA01": 48, "SA02": 48, "SA03": 47}
FOLLOWED = "D06_SA02_R01.txt@001200+600@200Hz=150@50Hz"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve files as they were published, in a folder with a Korean name."""
    archive = shared_data("sisfall") / "sisfall_SA01-SA10.tar.xz"
    folder = tmp_path_factory.mktemp("wearables") / "허리 센서" / "SisFall"
    wanted = {f"{trial}_{who}_R01.txt" for trial in TRIALS for who in SUBJECTS}
    with tarfile.open(archive, "r|xz") as members:  # in the order of subjects
        for member in members:
            who, _, name = member.name.partition("/")[2].partition("/")
            if name not in wanted:
                continue
            data = members.extractfile(member)
            assert data is not None
            (folder / who).mkdir(parents=True, exist_ok=True)
            (folder / who / name).write_bytes(data.read())
            wanted.remove(name)
            if not wanted:
                break
    return folder


@pytest.fixture(scope="module")
def source(recordings: Path) -> Source:
    return open_source(f"sisfall:{recordings}", **OPTIONS)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("캐시")


@pytest.fixture(scope="module")
def stores(source: Source, cache: Path) -> dict[str, Store]:
    """The five representations of every window, by a name of our own."""
    built = {
        name: build(source, recipe.diagram, recipe.image, root=cache, recipe=recipe.name)
        for name, recipe in (
            ("published", find_recipe("tda-kd-pamap2")),
            ("corrected", find_recipe("tda-kd-pamap2-corrected")),
        )
    }
    image = ImageSpec(birth_range=(0, 0.4), persistence_range=(0, 0.2), sigma=0.01)
    built["rips"] = build(source, rips_of(source), image, root=cache)
    for name, form in (("gasf", "summation"), ("gadf", "difference")):
        built[name] = build_gramian(source, GramianSpec(size=50, form=form), root=cache)
    return {name: open_store(report.path) for name, report in built.items()}


def rips_of(source: Source) -> DiagramSpec:
    """Vietoris-Rips of delay embeddings; rules choose delay and dimension on who is trained on."""
    part = training_part(source)
    found = find_embedding(part, "mutual-information", "false-nearest-neighbours", Limits.of(part))
    return DiagramSpec(filtration="rips", homology=(0, 1), **found.numbers())


# What the files say, read with nothing of this project.


def raw(recordings: Path, file: str) -> np.ndarray:
    """(rows, 3) the first accelerometer of a file, in g."""
    text = (recordings / file.split("_")[1] / file).read_text(encoding="ascii")
    lines = [line for line in text.splitlines() if line.strip()]
    bits = [[int(word) for word in line.strip(" ;").split(",")[:3]] for line in lines]
    return np.array(bits) * G_PER_BIT


def windows_of(rows: int) -> int:
    """How many windows fit into so many rows."""
    return (rows // BLOCK - LENGTH) // STEP + 1


def expected_ids(recordings: Path) -> list[str]:
    """Every window, in the order of the files."""
    files = [f"{trial}_{who}_R01.txt" for who in SUBJECTS for trial in TRIALS]
    return [
        f"{file}@{k * STEP * BLOCK:06d}+600@200Hz=150@50Hz"
        for file in files
        for k in range(windows_of(len(raw(recordings, file))))
    ]


def cut(recordings: Path, name: str) -> np.ndarray:
    """(150, 3) a window, taken out of its file by what its id says, in g."""
    file, place = name.split("@", 1)
    start, length = int(place[:6]), int(place[7:10])
    values = raw(recordings, file)[start : start + length]
    return values.reshape(-1, BLOCK, 3).mean(axis=1)


# The story.


def test_from_raw_file_to_window(recordings: Path, source: Source) -> None:
    # A source knows every window that can be cut, what it is called, whose it is, what was done.
    ids = expected_ids(recordings)
    assert source.ids == ids
    assert len(ids) == 3 * (2 * 15 + 2 * 9) - 1 == sum(WINDOWS.values())  # one fall is cut short
    assert {who: sum(f"_{who}_" in name for name in ids) for who in SUBJECTS} == WINDOWS
    assert source.groups == [name.split("_")[1] for name in ids]
    names = [source.label_names[label] for label in source.labels]
    assert names[ids.index(FOLLOWED)] == "walking upstairs and downstairs quickly"

    # The id of the window we follow says where it lies, so that anyone can find it.
    window = Window.parse(FOLLOWED)
    assert (window.recording, window.start, window.stop) == ("D06_SA02_R01.txt", 1200, 1800)
    assert (window.recorded, window.samples, window.rate) == (200, 150, 50)

    # Its values are those of the file, scaled by the extremes of SA01 and SA02 and nobody else.
    known = [cut(recordings, name) for name in ids if "SA03" not in name]
    low, high = np.min(known, axis=(0, 1)), np.max(known, axis=(0, 1))
    values = read_samples(source).arrays[ids.index(FOLLOWED)]
    np.testing.assert_array_equal(values, (cut(recordings, FOLLOWED) - low) / (high - low))


def test_one_id_in_every_representation(
    recordings: Path, source: Source, stores: dict[str, Store]
) -> None:
    assert all(store.ids.tolist() == source.ids for store in stores.values())
    assert len({store.key for store in stores.values()}) == 5
    k = source.ids.index(FOLLOWED)
    signal = stores["published"].read("inputs", [k])[0][:, 0]

    # Sub-level sets of the signal, in single precision as published; then its image. Most of the
    # published birth axis, -1..1, is out of reach; the corrected recipe draws 0..1.
    rounded = signal.astype(np.float32)
    pairs = naive.path_h0(rounded)
    for name in ("published", "corrected"):
        assert sorted(map(tuple, stores[name].diagram(k, 0).tolist())) == sorted(pairs)
    lives = [(birth, death - birth) for birth, death in pairs if 0.01 < death - birth < np.inf]
    longest = max(life for _, life in lives)
    drawn = naive.image(
        [(birth, life, life / longest) for birth, life in lives],
        naive.edges((0, 1), (0, 1), 64, legacy=False),
        sigma=0.015,
    )
    stored = stores["corrected"].read("images", [k])[0, 0]
    np.testing.assert_allclose(stored, drawn[::-1] / drawn.max(), atol=1e-6)
    axes = [stores[name].axis("birth") for name in ("published", "corrected")]
    assert [(axis >= 0).mean() for axis in axes] == [0.5, 1]

    # Vietoris-Rips of its delay embedding, by another program.
    ripser = pytest.importorskip("ripser").ripser
    spec = stores["rips"].spec.diagram
    assert spec.embedding_delay is not None and spec.embedding_dimension is not None
    delays = np.arange(spec.embedding_dimension) * spec.embedding_delay
    count = len(signal) - delays[-1]
    cloud = np.stack([signal[delay : delay + count] for delay in delays], axis=1)
    theirs = ripser(cloud, maxdim=1)["dgms"]
    for homology in (0, 1):
        ours = stores["rips"].diagram(k, homology)
        assert len(ours) > 5
        np.testing.assert_allclose(ordered(ours), ordered(theirs[homology]), atol=1e-6)

    # Gramian angular fields of the same signal, by the formula.
    for name, form in (("gasf", "summation"), ("gadf", "difference")):
        expected = naive.gramian_field(signal, 50, form)
        np.testing.assert_allclose(stores[name].read("images", [k])[0, 0], expected, atol=5e-4)


def ordered(points: Any) -> np.ndarray:
    """Points (n, 2) in the order of birth and death; those of no length left out."""
    points = np.asarray(points, dtype=np.float64)
    points = points[points[:, 1] - points[:, 0] > 1e-6]
    return points[np.lexsort(points.T)]


def test_who_is_tested_does_not_choose_the_embedding(recordings: Path, source: Source) -> None:
    others = OPTIONS | {"subjects": "SA01,SA02"}
    assert rips_of(open_source(f"sisfall:{recordings}", **others)) == rips_of(source)


def test_from_folds_to_batch(source: Source, stores: dict[str, Store], cache: Path) -> None:
    torch = pytest.importorskip("torch")
    from training.joined import JoinedDataset

    # One person left out at a time, each window computed once for all folds.
    joined = open_together({**stores, "own": Arrays(source.ids, {"number": np.arange(143)})})
    assert len(joined) == 143
    folds = leave_one_group_out(joined)
    assert [(fold.name, len(fold.train), len(fold.test)) for fold in folds] == [
        (who, 143 - count, count) for who, count in WINDOWS.items()
    ]

    # Two of the three people were looked at for the scale: only the third is a fair test.
    with pytest.raises(
        LeakageError, match=r"fold SA01: scale and test share .*\(SA01\).* fold SA02"
    ):
        check_leakage(folds, joined)
    (fair,) = leave_one_group_out(joined, always_train=["SA01", "SA02"])
    assert {name.split("_")[1] for name in joined.ids[fair.test]} == {"SA03"}
    found = check_leakage(fair, joined)
    assert found == ("groups", "overlapping windows", "parts of a fitted scale")

    # A batch has every representation of the same windows.
    sides = JoinedDataset(joined).sides(fair)
    assert {side: len(part) for side, part in sides.items()} == {"train": 96, "test": 47}
    batch = next(iter(torch.utils.data.DataLoader(sides["test"], batch_size=16)))
    shapes = {name: tuple(batch[name].shape) for name in (*stores, "inputs")}
    assert shapes == {
        "published": (16, 3, 64, 64),
        "corrected": (16, 3, 64, 64),
        "rips": (16, 6, 50, 50),  # H0 and H1 of each axis
        "gasf": (16, 3, 50, 50),
        "gadf": (16, 3, 50, 50),
        "inputs": (16, 150, 3),
    }
    rows = [source.ids.index(name) for name in joined.ids[batch["index"].numpy()]]
    assert batch["own"].tolist() == rows
    for name, store in stores.items():
        stored = store.read("images", rows).astype(np.float32)
        np.testing.assert_array_equal(batch[name].numpy(), stored)


def test_what_leaks_is_refused(stores: dict[str, Store]) -> None:
    store = stores["corrected"]

    # Windows drawn at random: every person is on both sides.
    drawn = stratified(store, 3, seed=0)
    with pytest.raises(LeakageError, match=r"3 groups \(SA01, SA02, SA03\), 95 and 48 samples"):
        check_leakage(drawn, store)
    with pytest.raises(LeakageError, match="overlapping windows"):
        check_leakage(drawn, store)

    # Every second window: each shares half of its samples with one on the other side.
    halves = Fold(train=range(0, 143, 2), test=range(1, 143, 2), name="halves")
    files = [name.split("@")[0] for name in store.ids]
    neighbours = {
        k for k in range(143) for j in (k - 1, k + 1) if 0 <= j < 143 and files[j] == files[k]
    }
    assert len(neighbours) == 143
    with pytest.raises(LeakageError, match=r"share 71 overlapping windows .*, 72 and 71 samples"):
        check_leakage(halves, store, groups=store.ids)  # even if each were a person of its own

    # Trainers ask before the first batch.
    pytest.importorskip("torch")
    from training.joined import JoinedDataset

    with pytest.raises(LeakageError, match="3 groups"):
        JoinedDataset({"pi": store}).sides(drawn[0])


MUTATED: dict[str, tuple[dict[str, str], str, str]] = {
    "window": ({"window": "2s"}, "'3s'", "'2s'"),
    "step": ({"step": "1s"}, "'1.5s'", "'1s'"),
    "start": ({"start": "0.5s"}, "0", "'0.5s'"),
    "resample": ({"resample": "thin:4"}, "'mean:4'", "'thin:4'"),
    "subjects": ({"subjects": "SA01,SA02"}, "None", r"\['SA01', 'SA02'\]"),
}
"""What is given instead, how it was, how it is."""


@pytest.mark.parametrize("name", MUTATED)
def test_other_windows_are_never_joined(
    recordings: Path, stores: dict[str, Store], cache: Path, tmp_path: Path, name: str
) -> None:
    change, before, after = MUTATED[name]
    recipe = find_recipe("tda-kd-pamap2-corrected")
    source = open_source(f"sisfall:{recordings}", **OPTIONS | change)
    other = open_store(build(source, recipe.diagram, recipe.image, root=tmp_path).path)
    assert other.key != stores["corrected"].key

    # Neither with images of the old windows, nor with their fields: which, and why.
    kept = set(other.ids.tolist())
    absent = [one for one in expected_ids(recordings) if one not in kept]
    lacks = re.escape(f"new lacks {len(absent)} of the 143 samples of old ({absent[0]}")
    differs = rf"source\.options\.{name} is {before} in old and {after} in new"
    for old in ("corrected", "gasf"):
        with pytest.raises(MismatchedStores, match=f"{lacks}.*{differs}"):
            open_together({"old": stores[old], "new": other})

    # Nor are the folds of the old windows taken for folds of the new.
    folds = tmp_path / "folds.json"
    to_file(folds, leave_one_group_out(stores["corrected"]), stores["corrected"])
    with pytest.raises(InvalidFolds, match=f"{len(absent)} ids are not among the samples"):
        from_file(folds, other)


# The same from a terminal.


def run(*words: object) -> Any:
    name, *arguments = map(str, words)
    command: Any = {"pipeline": pipeline.cli.cli, "pi-cache": pi_cache.cli.cli}[name]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def run_json(*words: object) -> Any:
    return json.loads(run(*words, "--json").stdout)


def words_of(options: Mapping[str, str]) -> list[str]:
    return [word for item in options.items() for word in ("--source-option", "=".join(item))]


def saved_windows(folder: Path) -> Path:
    """The file that docs/wearables.md has its readers write."""
    page = (ROOT / "docs" / "wearables.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert tomllib.loads(text)["source_options"] == OPTIONS
    (folder / "windows.toml").write_text(text, encoding="utf-8")
    return folder / "windows.toml"


def test_by_commands(
    recordings: Path,
    stores: dict[str, Store],
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The commands find the stores that were built above: one key, whoever asks.
    place = ("--cache", cache)
    recipe = ("--recipe", "tda-kd-pamap2-corrected")
    monkeypatch.chdir(recordings.parent)
    saved = saved_windows(tmp_path)
    first = run_json("pipeline", "build-pis", "--spec", saved, *place, *recipe)
    assert (first["key"], first["found"]) == (stores["corrected"].key, True)

    # Other representations of the same windows need the key alone, not the options again.
    like = ("--like", first["key"][:12], *place)
    published = run("pipeline", "plan", *like, "--recipe", "tda-kd-pamap2")
    assert "warning: no birth can lie in -1..0, 50% of the birth axis" in published.stderr
    assert "gives 0..1 to the part that it was fitted on; others may leave it" in published.stderr
    assert published.stdout.splitlines()[0].split() == ["key", stores["published"].key]
    assert "already in the cache" in published.stderr
    corrected = run("pipeline", "plan", *like, *recipe)
    assert "no birth can lie" not in corrected.stderr

    chosen = run("pipeline", "delays", *like)
    assert run("pipeline", "delays", "--spec", saved).stdout == chosen.stdout
    assert "of the 96 windows of subjects SA01,SA02 are looked at" in chosen.stderr
    embedding = chosen.stdout.splitlines()[-1].removeprefix("options").split()
    image = ("--birth-range", "0,0.4", "--persistence-range", "0,0.2", "--sigma", 0.01)
    rips = run_json("pipeline", "build-pis", *like, *embedding, "--homology", "0,1", *image)
    assert (rips["key"], rips["found"]) == (stores["rips"].key, True)
    for name, form in (("gasf", "summation"), ("gadf", "difference")):
        words = ("pipeline", "build-gafs", *like, "--form", form, "--size", 50)
        assert run_json(*words)["key"] == stores[name].key

    # They join; folds that test whom the scale was fitted on are refused, and the others kept.
    joined = run_json("pi-cache", "join", *(store.key for store in stores.values()), *place)
    assert joined["match"] and joined["samples"] == 143
    kept = tmp_path / "folds.json"
    by_person = ("pi-cache", "folds", first["key"], *place, "--leave-one-group-out")
    with pytest.raises(LeakageError, match="scale and test share"):
        run(*by_person, "--out", kept)
    assert not kept.exists()
    folds = run_json(*by_person, "--always-train", "SA01,SA02", "--out", kept)["folds"]
    assert [(fold["name"], fold["train"], fold["test"]) for fold in folds] == [("SA03", 96, 47)]
    assert from_file(kept, stores["gasf"])[0].test.tolist() == list(range(96, 143))

    # Shorter windows are another store, which does not join. The scale is fitted on them anew.
    shorter = run_json("pipeline", "build-pis", *like, "--source-option", "window=2s", *recipe)
    options = words_of(OPTIONS | {"window": "2s"})
    fresh = run_json("pipeline", "plan", "sisfall:SisFall", *options, *place, *recipe)
    assert shorter["key"] == fresh["key"] != first["key"]
    refused = CliRunner().invoke(
        pi_cache.cli.cli,
        ["join", stores["gasf"].key, shorter["key"], "--cache", str(cache), "--json"],
    )
    document = json.loads(refused.stdout)
    assert (refused.exit_code, document["match"]) == (1, False)
    assert any("source.options.window is '3s' in" in text for text in document["problems"])
