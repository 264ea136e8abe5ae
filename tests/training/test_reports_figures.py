"""Figures of many runs: what is drawn, that it is the same each time, and the V-score."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from pi_cache.errors import InvalidSpec  # noqa: E402
from tests.training.report_case import make_experiment  # noqa: E402
from tests.training.trained_case import build_signals, signal_network, signal_task  # noqa: E402
from training.commands.report import report_runs  # noqa: E402
from training.evaluation.evaluate import evaluate, write_evaluation  # noqa: E402
from training.losses.similarity import similarity  # noqa: E402
from training.reports.canvas import (  # noqa: E402
    CYCLE,
    DASHES,
    MARKERS,
    drawable,
    drawn,
    font_lines,
    installed_fonts,
)
from training.reports.embedding import embed, v_score  # noqa: E402
from training.reports.experiment import Experiment, read_experiment  # noqa: E402
from training.reports.figures import (  # noqa: E402
    _class_colours,
    embedding_figure,
    pooled_bins,
    similarity_figure,
)
from training.reports.report import figures, possible_figures, v_score_table  # noqa: E402
from training.reports.robustness import at_level, curves, seeds_of  # noqa: E402
from training.reports.similarity import similarity_maps  # noqa: E402
from training.reports.spread import over_seeds  # noqa: E402
from training.reports.tables import robustness_tables  # noqa: E402
from training.trained import write_trained  # noqa: E402

pytestmark = pytest.mark.torch

PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arms = {"student": 0.5, "교사": 1.0}
    folder = tmp_path_factory.mktemp("runs")
    return make_experiment(folder, arms=arms, folds={"S1": 24, "S2": 30}, seeds=[0, 1], robust=True)


@pytest.fixture(scope="module")
def experiment(out: Path) -> Experiment:
    return read_experiment(out)


def blobs(apart: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(3), 12)
    return rng.normal(size=(36, 5)) + apart * np.eye(5)[labels], labels


# --- V-score -------------------------------------------------------------------------------------


def slow_v(labels: np.ndarray, clusters: np.ndarray) -> float:
    """2 h c / (h + c) from entropies by counting."""

    def entropy(of: np.ndarray, given: np.ndarray | None = None) -> float:
        if given is None:
            shares = np.unique(of, return_counts=True)[1] / len(of)
            return float(-(shares * np.log(shares)).sum())
        parts = [of[given == each] for each in np.unique(given)]
        return sum(len(part) / len(of) * entropy(part) for part in parts)

    same = 1 - entropy(labels, clusters) / entropy(labels)
    whole = 1 - entropy(clusters, labels) / entropy(clusters)
    return 2 * same * whole / (same + whole) if same + whole else 0.0


def test_the_v_score_is_that_of_k_means_on_features() -> None:
    from sklearn.cluster import KMeans

    features, labels = blobs(2.0)
    clusters = KMeans(n_clusters=3, n_init=10, random_state=0).fit_predict(features)
    assert v_score(features, labels) == pytest.approx(slow_v(labels, clusters))
    assert v_score(*blobs(40.0)) == pytest.approx(1)
    assert v_score(*blobs(0.0)) < 0.3
    renamed = np.array([5, 2, 9])[labels]
    assert v_score(features, renamed) == pytest.approx(v_score(features, labels))


def test_features_that_are_all_alike_have_one_cluster() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert v_score(np.zeros((6, 2)), np.arange(6) % 2) == 0


def test_an_embedding_keeps_what_lies_together() -> None:
    features, labels = blobs(20.0)
    found = embed(features, labels)
    assert found.points.shape == (36, 2) and found.perplexity == pytest.approx(35 / 3)
    again = embed(features, labels)
    assert np.array_equal(found.points, again.points)
    centres = np.array([found.points[labels == k].mean(axis=0) for k in range(3)])
    away = np.linalg.norm(found.points[:, None] - centres, axis=2)
    assert (away.argmin(axis=1) == labels).all()
    few = embed(features, labels, most=20)
    assert len(few.points) == 20 and few.v_score == found.v_score


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.full((4, 2), np.nan), "features are NaN or infinite"),
        (np.zeros((3, 2)), "t-SNE needs 4 samples"),
        (np.zeros(4), r"expected features \(n, F\)"),
    ],
)
def test_features_that_cannot_be_embedded(features: Any, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        embed(features, np.zeros(len(features), int))


# --- Figures -------------------------------------------------------------------------------------


def test_every_figure_is_drawn_without_a_missing_letter(experiment: Experiment) -> None:
    said: list[str] = []
    kinds = possible_figures(experiment)
    assert kinds == ["reliability", "confusion", "robustness", "embedding"]
    made = list(figures(experiment, kinds, metrics=["accuracy", "nll"], say=said.append))
    curves_of = [f"robustness-noise-{metric}" for metric in ("accuracy", "nll")]
    names = [figure.name for figure in made]
    assert names == ["reliability", "confusion", *curves_of, "embedding"]
    for figure in made:
        data = drawn(figure.draw, figure.size)  # a box for a letter is a warning, and so an error
        assert data.startswith(PNG)
        assert data == drawn(figure.draw, figure.size)
    assert drawn(made[0].draw, made[0].size, kind="pdf").startswith(b"%PDF")
    has_korean = set(installed_fonts()) != {"DejaVu Sans"}
    assert [line.startswith("no installed font has the letters of 교사") for line in said] == (
        [] if has_korean else [True]
    )


def test_names_without_letters_are_numbers() -> None:
    assert drawable("sit", "1") == "sit"
    assert drawable("\U0001f9ed걷기", "0") == "0"
    assert font_lines(["sit"]) == []


def test_bins_of_runs_are_pooled(experiment: Experiment) -> None:
    bins = pooled_bins(experiment, "student")
    rows = [r for run in experiment.of("student").values() for r in run.evaluation["reliability"]]
    assert bins[:, 2].sum() == sum(row["samples"] for row in rows) == 2 * (24 + 30)
    right = sum(row["samples"] * row["accuracy"] for row in rows)
    assert (bins[:, 2] * bins[:, 3]).sum() == pytest.approx(right)
    assert (np.diff(bins[:, 0]) > 0).all()


def test_curves_have_a_value_a_run(experiment: Experiment) -> None:
    points = curves(experiment)["noise"]["교사"]
    assert [level for level, _ in points] == [0, 1, 2, 3]
    assert {len(found) for found in points.values()} == {4}
    summary = over_seeds(experiment, "교사", "accuracy", weighted=False)
    clean = at_level(experiment, "교사", points, (0, 0.0), "accuracy")
    assert clean.values == summary.values == 2
    assert at_level(experiment, "교사", points, (7, 0.7), "accuracy").values == 0


def test_a_level_that_a_seed_lacks_is_over_the_others(tmp_path: Path) -> None:
    root = make_experiment(tmp_path, arms={"kd": 1.0}, seeds=(0, 1), robust=True)
    path = root / "kd" / "S1" / "seed-1" / "robustness-test-noise.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"levels": document["levels"][:-1]}))
    found = read_experiment(root)
    points = curves(found)["noise"]["kd"]
    *whole, last = [at_level(found, "kd", points, level, "accuracy") for level in sorted(points)]
    assert [each.values for each in whole] == [2, 2, 2]
    values = found.values("kd", "accuracy")
    kept = [0.7 * value for place, value in values.items() if place.seed == 0]
    assert last == (pytest.approx(sum(kept) / len(kept)), None, 1)
    assert seeds_of([*whole, last]) == "1 to 2 seeds" and seeds_of([last]) == "1 seed"
    [table] = robustness_tables(found, ["accuracy"])
    assert "Not of as many seeds at all levels: kd (1 to 2 seeds)." in table.notes


def test_v_scores_of_all_runs(experiment: Experiment) -> None:
    table = v_score_table(experiment)
    assert [(row[0], row[1]) for row in table.rows] == [("student", 4), ("교사", 4)]
    means = [row[2].spread.mean for row in table.rows]
    assert means[0] < means[1], "the teacher's features are farther apart"


def test_figures_that_runs_have_nothing_for(tmp_path: Path) -> None:
    folder = make_experiment(tmp_path, arms={"a": 1.0}, folds={"S1": 20}, seeds=[0])
    (folder / "a" / "S1" / "seed-0" / "features-test.safetensors").unlink()
    bare = read_experiment(folder)
    assert possible_figures(bare) == ["reliability", "confusion"]
    for kind, message in {
        "robustness": "no run was measured on corrupted samples",
        "embedding": "no run kept its features",
        "pie": "no figure pie; there are reliability",
    }.items():
        with pytest.raises(InvalidSpec, match=message):
            list(figures(bare, [kind]))


@pytest.mark.parametrize("classes", [2, 12, 40])
def test_many_classes_have_colours_and_no_names(classes: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(80) % classes
    found = embed(rng.normal(size=(80, 3)), labels)
    figure = embedding_figure({"a": found}, [f"$class_{k}$" for k in range(classes)])
    assert drawn(figure.draw, figure.size).startswith(PNG)


def test_classes_and_lines_are_told_apart() -> None:
    from matplotlib.colors import to_hex

    for count in (3, 9, 13, 40):
        assert len({to_hex(colour) for colour in _class_colours(count)}) == count
    looks = {(k % len(CYCLE), k % len(MARKERS)) for k in range(len(DASHES) * len(CYCLE))}
    assert len(looks) == len(DASHES) * len(CYCLE), "no two lines share colour and marker"


def test_a_band_ends_where_a_share_does(experiment: Experiment) -> None:
    from matplotlib.figure import Figure

    [made] = figures(experiment, ["robustness"], say=lambda _: None)
    figure = Figure()
    made.draw(figure)
    [axes] = figure.axes
    edges = np.concatenate([band.get_paths()[0].vertices[:, 1] for band in axes.collections])
    assert edges.min() >= 0 and edges.max() <= 100
    assert axes.get_xlabel() == "noise: deviation (of signals: relative to the channel's)"


# --- Of real networks ----------------------------------------------------------------------------


def test_similarity_maps_and_the_command(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    task = signal_task(build_signals(tmp_path / "cache"))
    trained = signal_network(task)
    maps = similarity_maps(trained, task.test, task, count=12, seed=5)
    assert (np.diff(maps.labels) >= 0).all() and len(maps.labels) == 12
    assert list(maps.stages) == ["stage1", "stage2", "stage3", "pooled"]
    for values in maps.stages.values():
        assert values.shape == (12, 12)
        np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, rtol=1e-5)
    whole = similarity_maps(trained, task.test, task, count=1000)
    batch = task.prepare(task.test[:])
    order = np.argsort(batch["labels"].numpy(), kind="stable")
    assert whole.labels.tolist() == sorted(batch["labels"].tolist())
    trace = similarity(trained(batch).maps["stage2"])
    rows = (trace / trace.norm(dim=1, keepdim=True))[order][:, order]
    mine = np.sort(whole.stages["stage2"].ravel())
    np.testing.assert_allclose(mine, np.sort(rows.numpy().ravel()), atol=1e-5)
    figure = similarity_figure({"wrn": maps, "other": maps})
    assert drawn(figure.draw, figure.size).startswith(PNG)

    folder = tmp_path / "runs" / "wrn" / "splits" / "seed-0"
    folder.mkdir(parents=True)
    write_trained(folder / "best.safetensors", trained)
    write_evaluation(folder, evaluate(trained, "test", task))
    words = [str(tmp_path / "runs"), "--figure", "similarity", "--figure", "confusion"]
    result = CliRunner().invoke(report_runs, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    pictures = sorted(path.name for path in (tmp_path / "runs" / "report").glob("*.png"))
    assert pictures == ["confusion.png", "similarity.png"]
    assert "![Confusion" in (tmp_path / "runs" / "report" / "report.md").read_text()
