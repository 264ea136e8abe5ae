"""Tables of many runs: means, folds, paired tests, and the files they become."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import re
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("scipy")

from pi_cache.errors import InvalidSpec, UnsupportedFormat
from tests.training.report_case import ARMS, FOLDS, SEEDS, make_experiment, make_run
from training.commands import report as command
from training.evaluation.predictions import read_predictions, write_predictions
from training.reports import report as report_module
from training.reports.canvas import drawn
from training.reports.embedding import v_score
from training.reports.experiment import Experiment, Place, read_experiment
from training.reports.paired import (
    ReportsNotInstalled,
    compare,
    holm,
    p_values,
    sign_flip,
    t_test,
    wilcoxon,
)
from training.reports.report import replace, v_score_table
from training.reports.spread import Spread, in_fold, over_folds, over_seeds, spread
from training.reports.table import Measured, PValue, Table, to_csv, to_latex, to_markdown
from training.reports.tables import (
    METRICS,
    robustness_tables,
    summary_table,
    tables,
    warning_lines,
)

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_experiment(tmp_path_factory.mktemp("실험"))


@pytest.fixture(scope="module")
def experiment(out: Path) -> Experiment:
    return read_experiment(out)


@pytest.fixture
def copy(out: Path, tmp_path: Path) -> Path:
    return shutil.copytree(out, tmp_path / "copy")


def value(out: Path, arm: str, fold: str, seed: int, metric: str = "accuracy") -> float:
    text = (out / arm / fold / f"seed-{seed}" / "evaluation-test.json").read_text()
    return float(json.loads(text)["metrics"][metric])


# --- Runs ----------------------------------------------------------------------------------------


def test_runs_are_found_by_their_folders(experiment: Experiment) -> None:
    assert len(experiment.runs) == len(ARMS) * len(FOLDS) * len(SEEDS)
    assert experiment.folds == ("S1", "S2", "S10"), "numbers in their order"
    assert not experiment.missing
    run = experiment.runs[Place(arm="kd", fold="S2", seed=1)]
    assert run.windows == FOLDS["S2"] and run.result["seconds"] == 11


def test_missing_runs_are_listed(copy: Path) -> None:
    shutil.rmtree(copy / "kd" / "S2" / "seed-1")
    (copy / "tgd" / "S1" / "seed-0" / "evaluation-test.json").unlink()
    (copy / "tgd" / "S1" / "seed-1" / "evaluation-test.json").unlink()
    (copy / "tgd" / "S1" / "seed-1" / "result.json").unlink()
    (copy / "kd" / "S1" / "seed-0" / "evaluation-test.json").write_text('{"format_version": 2}')
    lines = [
        {"arm": "at", "fold": "all people: S1", "seed": 7, "run": "at/S1/seed-7"},
        {"arm": "student", "fold": "all people: S1", "seed": 0, "run": "student/S1/seed-0"},
    ]
    text = "\n".join(json.dumps(line) for line in lines) + '\n{"arm": "torn'
    (copy / "planned.jsonl").write_text(text)
    found = read_experiment(copy)
    assert found.folds == ("S2", "S10", "all people: S1"), "folds have the names of the plan"
    why = {str(place): reason for place, reason in found.missing.items()}
    name = "all people: S1"
    assert why.pop(f"kd/{name}/seed-0").endswith("format 2, this release reads 1")
    assert why == {
        f"at/{name}/seed-7": "was not begun",
        "kd/S2/seed-1": "was not begun",
        f"tgd/{name}/seed-0": "was not measured on test",
        f"tgd/{name}/seed-1": "has not ended",
    }
    table = summary_table(found, weighted=False)
    assert [row[:3] for row in table.rows if row[0] == "kd"] == [("kd", "7/9", 1)]
    assert "kd/S2/seed-1 was not begun" in table.notes[-1]


def test_arms_by_name_and_folders_without_runs(out: Path, tmp_path: Path) -> None:
    assert read_experiment(out, arms=["tgd", "kd"]).arms == ("tgd", "kd")
    with pytest.raises(InvalidSpec, match="has no arm at; there are kd, student, tgd"):
        read_experiment(out, arms=["at"])
    with pytest.raises(InvalidSpec, match=r"has no run with evaluation-test\.json"):
        read_experiment(tmp_path)
    with pytest.raises(InvalidSpec, match="there is no such folder; give that of"):
        read_experiment(tmp_path / "none")
    with pytest.raises(InvalidSpec, match="--side validation --in-place` measures one"):
        read_experiment(out, side="validation")


def test_a_metric_that_was_not_measured(experiment: Experiment) -> None:
    with pytest.raises(InvalidSpec, match="has no 'auc'; there are accuracy"):
        experiment.values("kd", "auc")


def test_a_damaged_result_is_told(copy: Path) -> None:
    for text in ("{", "[1]"):
        (copy / "kd" / "S1" / "seed-0" / "result.json").write_text(text)
        with pytest.raises(UnsupportedFormat, match="is no JSON"):
            read_experiment(copy)


def test_an_evaluation_without_metrics_is_listed(copy: Path) -> None:
    path = copy / "kd" / "S1" / "seed-0" / "evaluation-test.json"
    document = json.loads(path.read_text())
    del document["metrics"]
    path.write_text(json.dumps(document))
    (why,) = read_experiment(copy).missing.values()
    assert why == "has no metrics in evaluation-test.json"


# --- Means ---------------------------------------------------------------------------------------


def test_spread() -> None:
    assert spread([]) == Spread(None, None, 0)
    assert spread([2.0]) == Spread(2.0, None, 1)
    assert spread([1.0, 3.0]) == Spread(2.0, 2**0.5, 2)


@pytest.mark.parametrize("metric", METRICS)
def test_means_are_loops(experiment: Experiment, out: Path, metric: str) -> None:
    plain, weighted = [], []
    for seed in SEEDS:
        found = {fold: value(out, "kd", fold, seed, metric) for fold in FOLDS}
        plain.append(sum(found.values()) / len(found))
        windows = sum(FOLDS.values())
        weighted.append(sum(found[fold] * FOLDS[fold] / windows for fold in FOLDS))
    for values, weights in ((plain, False), (weighted, True)):
        mean, deviation, count = over_seeds(experiment, "kd", metric, weighted=weights)
        assert mean == pytest.approx(statistics.mean(values))
        assert deviation == pytest.approx(statistics.stdev(values))
        assert count == len(SEEDS)
    cell = in_fold(experiment, "kd", metric, "S2")
    assert cell.mean == pytest.approx(
        statistics.mean(value(out, "kd", "S2", s, metric) for s in SEEDS)
    )
    means = [in_fold(experiment, "kd", metric, fold).mean for fold in FOLDS]
    assert over_folds(experiment, "kd", metric).deviation == pytest.approx(statistics.stdev(means))


def test_a_seed_with_a_missing_fold_is_in_no_mean_over_folds(copy: Path, out: Path) -> None:
    shutil.rmtree(copy / "kd" / "S10" / "seed-2")
    found = read_experiment(copy)
    mean, _, count = over_seeds(found, "kd", "accuracy", weighted=False)
    assert count == 2
    whole = [statistics.mean(value(out, "kd", fold, seed) for fold in FOLDS) for seed in (0, 1)]
    assert mean == pytest.approx(statistics.mean(whole))
    assert in_fold(found, "kd", "accuracy", "S1").values == 3
    for seed in (0, 1):
        shutil.rmtree(copy / "kd" / "S10" / f"seed-{seed}")
    nothing = over_seeds(read_experiment(copy), "kd", "accuracy", weighted=True)
    assert nothing == Spread(None, None, 0)
    assert over_folds(read_experiment(copy), "kd", "accuracy") == nothing, "S10 is the hardest"
    assert over_folds(read_experiment(copy), "tgd", "accuracy").values == 3


# --- Paired tests --------------------------------------------------------------------------------


def slow_sign_flip(values: Any) -> float:
    bar = abs(sum(values)) - 1e-9
    sums = [
        sum(s * v for s, v in zip(signs, values, strict=True))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    return sum(abs(total) >= bar for total in sums) / len(sums)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("seed", [0, 1])
def test_sign_flips_are_counted(count: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.5, 1, count)
    assert sign_flip(values) == pytest.approx(slow_sign_flip(values))
    assert sign_flip(np.abs(values)) == pytest.approx(2 / 2**count), "the smallest there can be"
    assert sign_flip(np.round(values)) == pytest.approx(slow_sign_flip(np.round(values)))


def test_many_pairs_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(0.4, 1, 18)
    exact = sign_flip(values)
    monkeypatch.setattr("training.reports.paired.MOST_EXACT", 10)
    assert sign_flip(values) == pytest.approx(exact, abs=0.01)
    assert sign_flip(np.ones(18)) >= 1 / 100_001, "never zero"


@pytest.mark.parametrize("count", [2, 3, 6, 12])
def test_wilcoxon_is_exact(count: int) -> None:
    """The share of flips whose signed ranks sum as far from 0, with and without ties."""
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(count)
    for values in (rng.normal(0.3, 1, count), rng.integers(-2, 4, count).astype(float)):
        kept = values[values != 0]
        expected = slow_sign_flip(np.sign(kept) * stats.rankdata(np.abs(kept)))
        assert wilcoxon(values) == pytest.approx(expected)
    assert wilcoxon(np.zeros(count)) == 1


def test_wilcoxon_is_that_of_counts() -> None:
    """Equal differences of shares of 57 samples are ties, whatever their last bits."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        mine, theirs = rng.integers(40, 50, (2, 6))
        assert wilcoxon(mine / 57 - theirs / 57) == wilcoxon((mine - theirs).astype(float))


def test_the_t_test_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    mine, theirs = np.random.default_rng(0).normal(size=(2, 7))
    assert t_test(mine - theirs) == pytest.approx(stats.ttest_rel(mine, theirs).pvalue)
    assert t_test(np.full(4, 0.1) + np.array([0, 0, 1e-17, 0])) is None, "no variance, no test"


def test_one_pair_says_nothing() -> None:
    assert set(p_values([0.3]).values()) == {None}
    assert set(p_values([]).values()) == {None}


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, None]) == [0.03, 0.06, 0.06, None]
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_arms_are_compared_over_the_same_folds_and_seeds(experiment: Experiment, out: Path) -> None:
    rows = {row.arm: row for row in compare(experiment, "accuracy", "student")}
    assert list(rows) == ["kd", "tgd"]
    expected = [
        value(out, "kd", fold, seed) - value(out, "student", fold, seed)
        for fold in FOLDS
        for seed in SEEDS
    ]
    kd = rows["kd"]
    assert kd.difference.mean == pytest.approx(statistics.mean(expected))
    assert kd.difference.values == 9 and kd.unpaired == 0
    assert kd.smallest == 2 / 2**9
    assert kd.p["signflip"] == pytest.approx(slow_sign_flip(expected))
    assert min(kd.p["signflip"], kd.p["wilcoxon"]) >= kd.smallest
    assert [kd.holm["t"], rows["tgd"].holm["t"]] == holm([kd.p["t"], rows["tgd"].p["t"]])
    by_fold = {row.arm: row for row in compare(experiment, "accuracy", "student", unit="folds")}
    assert by_fold["kd"].difference.values == 3
    assert by_fold["kd"].difference.mean == pytest.approx(statistics.mean(expected))
    assert by_fold["kd"].p["signflip"] >= 0.25
    with pytest.raises(InvalidSpec, match="no arm 'at'; there are kd, student, tgd"):
        compare(experiment, "accuracy", "at")
    with pytest.raises(InvalidSpec, match="pairs must be of runs or folds"):
        compare(experiment, "accuracy", "kd", unit="seeds")


def test_runs_without_a_partner_are_counted(copy: Path) -> None:
    shutil.rmtree(copy / "student" / "S1" / "seed-0")
    shutil.rmtree(copy / "kd" / "S2" / "seed-1")
    rows = {row.arm: row for row in compare(read_experiment(copy), "accuracy", "student")}
    assert rows["kd"].difference.values == 7 and rows["kd"].unpaired == 2
    assert rows["tgd"].difference.values == 8 and rows["tgd"].unpaired == 1


def test_other_test_samples_make_no_pair(copy: Path) -> None:
    shutil.rmtree(copy / "kd" / "S2" / "seed-1")
    make_run(copy, "kd", "S2", 1, strength=1, samples=59, digest="other")
    found = read_experiment(copy)
    with pytest.raises(InvalidSpec, match=r"kd/S2/seed-1 and student/S2/seed-1 were measured on"):
        compare(found, "accuracy", "student")


def test_other_classes_make_no_pair(copy: Path) -> None:
    path = copy / "kd" / "S2" / "seed-1" / "evaluation-test.json"
    document = json.loads(path.read_text()) | {"class_names": ["a", "b"]}
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidSpec, match=r"tell other classes apart \(2 and 4\)"):
        compare(read_experiment(copy), "accuracy", "student")


# --- Files ---------------------------------------------------------------------------------------

TABLE = Table(
    name="a",
    title="accuracy % of 걷기",
    columns=("arm", "accuracy %", "p"),
    rows=(
        ("a_b & 50% | x", Measured(Spread(0.8421, 0.003, 3), 100, 2), PValue(0.00001)),
        ("none", Measured(Spread(None, None, 0), 100, 2), PValue(None)),
        ("one", Measured(Spread(0.5, None, 1), 100, 2), PValue(0.25)),
    ),
    notes=("n < 2 says nothing.",),
)


def test_csv_has_numbers_in_full() -> None:
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))
    assert rows[0] == ["arm", "accuracy mean", "accuracy sd", "accuracy n", "p"]
    assert rows[1] == ["a_b & 50% | x", "0.8421", "0.003", "3", "1e-05"]
    assert rows[2] == ["none", "", "", "0", ""]
    assert rows[3] == ["one", "0.5", "", "1", "0.25"]


def test_markdown_is_a_table_of_its_own() -> None:
    lines = to_markdown(TABLE).splitlines()
    assert lines[2:4] == ["| arm | accuracy % | p |", "| --- | ---: | ---: |"]
    assert lines[4] == r"| a\_b & 50% \| x | 84.21 ± 0.30 | \< 0.0001 |"
    assert lines[5] == "| none | \u2013 | \u2013 |"
    assert lines[6] == "| one | 50.00 | 0.2500 |"


def test_latex_is_escaped() -> None:
    text = to_latex(TABLE)
    assert r"a\_b \& 50\% | x & $84.21 \pm 0.30$ & $<$ 0.0001 \\" in text
    assert r"none & -- & -- \\" in text
    assert r"\caption{Accuracy \% of 걷기. n $<$ 2 says nothing.}" in text
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{lrr}"):
        assert text.count(rule) == 1
    awkward = Table(name="b", title="t", columns=("\\~^{}#$",), rows=())
    head = r"\textbackslash{}\textasciitilde{}\textasciicircum{}\{\}\#\$"
    assert head in to_latex(awkward)
    brackets = Table(name="c", title="t", columns=("fold",), rows=(("[1]",), ("*",)))
    assert "{[}1{]} \\\\\n{*} \\\\" in to_latex(brackets), "no argument of the line before"


def test_names_are_no_formulas_of_a_spreadsheet() -> None:
    names = ("=1+1", "@a", "+mixup", "-5", "+5.5", "-", "걷기", "7/9")
    table = Table(name="d", title="t", columns=("fold", "=arm"), rows=tuple((n, n) for n in names))
    rows = list(csv.reader(io.StringIO(to_csv(table))))
    assert rows[0] == ["fold", "'=arm"]
    found = [row[0] for row in rows[1:]]
    assert found == ["'=1+1", "'@a", "'+mixup", "-5", "+5.5", "'-", "걷기", "7/9"]


def test_every_form_of_every_table_has_every_arm(experiment: Experiment) -> None:
    found = list(tables(experiment, metrics=["accuracy", "nll"], baseline="student"))
    assert [table.name for table in found] == [
        "summary", "summary-weighted", "folds-accuracy", "folds-nll",
        "paired-accuracy", "paired-nll", "times",
    ]  # fmt: skip
    for table in found:
        assert all(len(row) == len(table.columns) for row in table.rows)
        for text in (to_csv(table), to_markdown(table), to_latex(table)):
            assert all(arm in text for arm in ARMS if arm != "student")
        rows = list(csv.reader(io.StringIO(to_csv(table))))
        assert {len(row) for row in rows} == {len(rows[0])}


def test_one_fold_needs_no_tables_of_folds(tmp_path: Path) -> None:
    make_experiment(tmp_path, folds={"splits": 30}, seeds=[0])
    found = list(tables(read_experiment(tmp_path), metrics=["accuracy"], baseline="kd"))
    assert [table.name for table in found] == ["summary", "paired-accuracy", "times"]
    assert found[0].title == "Mean ± sd over seeds on test"
    (cells,) = {row[3:] for row in found[1].rows if row[0] == "tgd"}
    assert set(cells) == {PValue(None)}, "one pair says nothing"


def test_epochs_that_were_chosen_by_test_samples_are_told(copy: Path) -> None:
    path = copy / "kd" / "S2" / "seed-1" / "evaluation-test.json"
    document = json.loads(path.read_text()) | {"select": "best-on-test"}
    path.write_text(json.dumps(document))
    found = read_experiment(copy)
    every = list(tables(found, metrics=["nll"], baseline="student"))
    for table in (*every, v_score_table(found)):
        told = "Epochs chosen by test samples, which look too good: kd."
        assert (told in table.notes) == (table.name != "times")
        several = "Epochs of one arm were chosen in several ways: kd."
        assert (several in table.notes) == (table.name != "times")


def test_tables_of_corruptions_tell_it_too(tmp_path: Path) -> None:
    make_experiment(tmp_path, folds={"S1": 20}, seeds=[0], robust=True)
    for path in tmp_path.glob("kd/*/*/evaluation-test.json"):
        document = json.loads(path.read_text()) | {"select": "best-on-test"}
        path.write_text(json.dumps(document))
    (table,) = robustness_tables(read_experiment(tmp_path), ["accuracy"])
    assert "Epochs chosen by test samples, which look too good: kd." in table.notes


def test_what_is_no_fair_mean_is_told(copy: Path) -> None:
    shutil.rmtree(copy / "kd" / "S2" / "seed-1")
    shutil.copytree(copy / "kd" / "S2" / "seed-0", copy / "kd" / "S2" / "seed-1")
    shutil.rmtree(copy / "tgd" / "S10" / "seed-0")
    make_run(copy, "tgd", "S10", 0, strength=1, samples=120, digest="other")
    path = copy / "student" / "S1" / "seed-2" / "evaluation-test.json"
    document = json.loads(path.read_text()) | {"unlike_training": ["pi is the store b, it was a"]}
    path.write_text(json.dumps(document))
    assert warning_lines(read_experiment(copy)) == [
        "Measured on what the run was not trained for: student: pi is the store b, it was a.",
        "Runs were measured on different samples of S10.",
        "The same in every digit, which other seeds are not: kd/S2/seed-1 is kd/S2/seed-0.",
    ]


def test_one_run_in_two_folders_is_refused(copy: Path) -> None:
    shutil.copytree(copy / "kd" / "S2" / "seed-1", copy / "kd" / "S2" / "seed-01")
    with pytest.raises(InvalidSpec, match="are both kd/S2/seed-1; move one of them away"):
        read_experiment(copy)


def test_features_of_one_class_have_no_v_score(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "kd", "S1", 0, strength=1, samples=20, robust=True)
    kept = read_predictions(folder / "predictions-test.safetensors")
    features = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    alone = dataclasses.replace(kept, features=features, labels=np.zeros(20, np.int64))
    (folder / "features-test.safetensors").unlink(missing_ok=True)
    write_predictions(folder / "features-test.safetensors", alone)
    ((_, runs, cell),) = v_score_table(read_experiment(tmp_path)).rows
    assert (runs, cell.spread) == (0, Spread(None, None, 0))


def test_an_older_report_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "report" / "a.csv"
    for data in (b"1", b"1", b"2"):
        replace(path, data)
        assert path.read_bytes() == data
    assert [each.name for each in path.parent.iterdir()] == ["a.csv"]


def call(*words: str) -> Any:
    return CliRunner().invoke(command.report_runs, list(words), catch_exceptions=False)


def test_the_command_writes_a_report(copy: Path) -> None:
    shutil.rmtree(copy / "kd" / "S2" / "seed-1")
    result = call(str(copy), "--baseline", "student", "--arm", "student", "--arm", "kd")
    assert result.exit_code == 0, result.output
    assert "missing: kd/S2/seed-1 was not begun" in result.stderr
    assert re.search(r"^kd +8/9 +2 ", result.stdout, re.MULTILINE)
    assert "tgd" not in result.stdout
    page = (copy / "report" / "report.md").read_text()
    assert "- kd/S2/seed-1 was not begun" in page
    assert "difference to student on test" in page
    names = {path.name for path in (copy / "report").iterdir()}
    assert {"summary.csv", "summary.tex", "folds-accuracy.md", "paired-accuracy.csv"} <= names
    again = call(str(copy), "--baseline", "student", "--json", "--out", str(copy / "other"))
    document = json.loads(again.stdout)
    assert document["missing"] == {"kd/S2/seed-1": "was not begun"}
    assert document["tables"]["summary"]["rows"][0][3]["values"] == 2


def test_choices_of_the_command_are_those_there_are() -> None:
    assert METRICS == command.METRICS
    assert report_module.FIGURES == command.FIGURES


def test_an_unknown_baseline_writes_nothing(copy: Path) -> None:
    with pytest.raises(InvalidSpec, match="no arm 'at'"):
        call(str(copy), "--baseline", "at")
    assert not (copy / "report").exists()


def test_without_the_extra_means_work_and_the_rest_says_what_to_install(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("scipy", "sklearn", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    assert len(list(tables(experiment, metrics=["accuracy"]))) == 4
    needed: list[Callable[[], object]] = [
        lambda: compare(experiment, "accuracy", "student"),
        lambda: v_score(np.eye(4), np.arange(4)),
        lambda: drawn(lambda figure: None, (1, 1)),
    ]
    for call_it in needed:
        with pytest.raises(ReportsNotInstalled, match=r'pip install "pi-cache\[report\]"'):
            call_it()
