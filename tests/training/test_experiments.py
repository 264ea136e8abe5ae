"""The papers' experiments at smoke scale, from archives to pages, and what they are made of."""

from __future__ import annotations

import io
import json
import random
import re
import shutil
import sys
import tarfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("numba")

from pi_cache.errors import (  # noqa: E402
    AlreadyPublished,
    InvalidSpec,
    SourceError,
    WrittenMeanwhile,
)
from tests.faults.experiments import killed_lines  # noqa: E402
from tests.shared import shared_data  # noqa: E402
from tests.training.report_case import make_experiment  # noqa: E402
from training.cli import main  # noqa: E402
from training.commands.group import cli  # noqa: E402
from training.experiments.besttest import RUNS as RUNS_BY_TEST  # noqa: E402
from training.experiments.besttest import second_column  # noqa: E402
from training.experiments.calls import MODULES, CommandFailed, caller  # noqa: E402
from training.experiments.catalogue import EXPERIMENTS  # noqa: E402
from training.experiments.compared import teachers_of  # noqa: E402
from training.experiments.costs import cost_table  # noqa: E402
from training.experiments.description import CPU, FULL, NOT_FOUND, SCALES, SMOKE  # noqa: E402
from training.experiments.environment import environment  # noqa: E402
from training.experiments.estimate import Clock, estimate, network_of, recorded  # noqa: E402
from training.experiments.needs import DataNotFound, open_source  # noqa: E402
from training.experiments.page import (  # noqa: E402
    claimed_lines,
    commits_line,
    measured_lines,
    networks_line,
    settings_lines,
)
from training.experiments.plans import plan_text  # noqa: E402
from training.experiments.run import run_experiment  # noqa: E402
from training.experiments.stores import Built, Store, build_stores  # noqa: E402
from training.experiments.toml import to_toml  # noqa: E402
from training.reports.experiment import read_experiment  # noqa: E402
from training.reports.spread import spread  # noqa: E402
from training.reports.table import NOTHING  # noqa: E402
from training.reports.tables import measured  # noqa: E402
from training.runs.plan import parse_plan, read_plan  # noqa: E402
from training.runs.record import commit  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]

TIMED = ("times.", "costs.", "exact-times", "report.md", "ledger.jsonl")
"""Files of results that hold seconds, or a table of them."""
STORE = Store(key="3f2a" * 16, digest="0" * 64, samples=100, command="pipeline build-pis SOURCE")
HEADINGS = ("What was claimed", "What was measured", "What differs", "What ran")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Of torch: networks of these sizes only lose by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data() -> Path:
    """The folder of all data sets."""
    shared_data("sisfall")
    return shared_data("cifar10_jpeg").parent


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache root that the experiments share."""
    return tmp_path_factory.mktemp("캐시")


def smoke(name: str, folder: Path, root: Path, data: Path, **change: Any) -> list[str]:
    """What an experiment said on its way to the page in a folder."""
    said: list[str] = []
    page = run_experiment(
        EXPERIMENTS[name], SMOKE, folder=folder, root=root, data=data, say=said.append, **change
    )
    assert page == folder / "page.md"
    return said


def results(folder: Path) -> dict[str, bytes]:
    """The files of results that hold no times, by name."""
    paths = [path for path in folder.iterdir() if path.is_file()]
    return {p.name: p.read_bytes() for p in paths if not p.name.startswith(TIMED)}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_from_archives_to_its_page(
    name: str, tmp_path: Path, root: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.experiments.environment.commit", lambda: "0" * 40)
    said = smoke(name, tmp_path, root, data)
    assert any(line.startswith("$ pipeline build-") for line in said)
    assert not any("corrupted ones are not made" in line for line in said)
    description = EXPERIMENTS[name]
    found = read_experiment(tmp_path / "runs")
    assert not found.missing
    plan = read_plan(tmp_path / "plan.toml")
    assert {arm.name for arm in plan.arms} <= set(found.arms)
    for run in found.runs.values():
        assert run.evaluation["side"] == "test" and run.evaluation["select"] != "best-on-test"
        assert not (run.folder / "state-0001.safetensors").exists()
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert all(f"**{heading}.**" in page for heading in HEADINGS)
    assert description.paper.reported or NOT_FOUND in page
    for target in re.findall(r"\]\(([^)]+)\)", page):
        assert (tmp_path / target).exists(), target
    for kind in description.figures:
        assert list(tmp_path.glob(f"{kind}*.png")), kind
    for text in (page, (tmp_path / "plan.toml").read_text(encoding="utf-8")):
        assert str(tmp_path) not in text and str(data) not in text
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__
    assert set(environment["runs"]) == {str(commit())}, "no run is of an unknown commit"
    assert recorded(tmp_path) == pytest.approx(
        sum(run.result["seconds"] for run in found.runs.values() if run.result)
    )
    if name == "self-training":  # the quickest with steps behind its plan
        before = results(tmp_path)
        again = smoke(name, tmp_path, root, data)
        assert results(tmp_path) == before
        assert not any("epoch 1 of" in line for line in again), "nothing was trained again"
        refuse_other_settings(tmp_path, root, data)
        assert results(tmp_path) == before, "a refusal changes nothing"
        smoke(name, tmp_path, root, data, seeds=[0])
        assert "--seeds 2" in (tmp_path / "page.md").read_text(encoding="utf-8")
        take_the_best_on_test(tmp_path, root, data)


def take_the_best_on_test(folder: Path, root: Path, data: Path) -> None:
    """Ask for the second column, which stays; nothing that was there changes."""
    smoke("self-training", folder, root, data)
    before = results(folder)
    assert "there is no such column here" in before["page.md"].decode()
    smoke("self-training", folder, root, data, best_on_test=True)
    after = results(folder)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"page.md", "environment.json"}, "which counts runs"
    assert set(after) - set(before) >= {"best-on-test.csv"}
    page = after["page.md"].decode()
    assert "The second column has fewer runs than the first of: noisy-student-0 (0 of 2)" in page
    assert "--best-on-test" in page and "| best on test (the papers' rule) |" in page
    assert "there is no such column here" not in page
    plan = after["plan-best-on-test.toml"].decode().splitlines()
    told = (
        "# `training repeat plan-best-on-test.toml --out runs-best-on-test` in this folder goes on"
    )
    assert plan[1] == f"{told} with it."
    second = read_experiment(folder / "runs-best-on-test")
    assert {run.evaluation["select"] for run in second.runs.values()} == {"best-on-test"}
    smoke("self-training", folder, root, data)
    assert results(folder) == after


def refuse_other_settings(folder: Path, root: Path, data: Path) -> None:
    """Ask for another scale, and for another learning rate, where self-training has results."""
    description = EXPERIMENTS["self-training"]
    given: dict[str, Any] = {"folder": folder, "root": root, "data": data, "say": lambda _: None}
    with pytest.raises(AlreadyPublished, match=r"is the plan of 'Pseudo-labels .*scale smoke'"):
        run_experiment(description, CPU, **given)
    chosen = description.scales[SMOKE]
    defaults = chosen.plan["defaults"]
    slower = {**defaults, "config": {**defaults["config"], "learning_rate": 0.01}}
    other = replace(chosen, plan={**chosen.plan, "defaults": slower})
    with pytest.raises(AlreadyPublished, match=r"are not those of the plan"):
        run_experiment(replace(description, scales={SMOKE: other}), SMOKE, **given)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_plan_is_one(name: str, scale: str, tmp_path: Path) -> None:
    description = EXPERIMENTS[name]
    chosen = description.scales[scale]
    folds = tmp_path / "folds.json" if chosen.needs.folds else None
    made = dict.fromkeys(chosen.needs.stores, STORE)
    arrays = {fit.name: f"{fit.name}.npz" for fit in chosen.fits}
    text = plan_text(
        description.title,
        chosen.plan,
        {**chosen.data, "arrays": arrays, **({"fold": "SA03"} if folds and arrays else {})},
        Built(stores=made, folds=folds),
        folder=tmp_path,
        root=tmp_path / "cache",
        seeds=[4, 5],
        device="cuda" if scale == SCALES[2] else "cpu",
    )
    plan = parse_plan(tomllib.loads(text), folder=tmp_path)
    assert plan.data["root"] == str(tmp_path / "cache")
    assert plan.data["validation"] == chosen.data["validation"]
    taught = [arm for arm in plan.arms if arm.name not in teachers_of(chosen)]
    assert all(arm.seeds == (4, 5) for arm in taught)
    names = {arm.name for arm in plan.arms}
    assert set(description.shown) <= names
    assert description.baseline in {*names, "pseudo-label-0"}
    claimed = {name for pair in description.claims for name in pair}
    assert claimed and (claimed <= names or description.after is not None)
    for arm in chosen.plan["arms"]:
        network_of({**chosen.plan["defaults"], **arm}, chosen.needs)
    assert chosen.differs


def test_an_estimate_grows_with_what_it_counts() -> None:
    scale = EXPERIMENTS["tgd"].scales["cpu"]
    networks = {
        network_of({**scale.plan["defaults"], **arm}, scale.needs) for arm in scale.plan["arms"]
    }
    clock = Clock(known=dict.fromkeys(networks, 1e-3))
    one, three = estimate(scale, clock, seeds=1), estimate(scale, clock, seeds=3)
    teachers = 2 * (10 * (2500 + 1000 / 3) + 5000 / 3) * 1e-3
    assert three - teachers == pytest.approx(3 * (one - teachers))
    more = estimate(scale, clock, seeds=1, levels=6) - one
    assert more == pytest.approx(8 * 6 * 5000 / 3 * 1e-3), "8 arms are measured 6 times more"
    counts = replace(scale.needs.counts, folds=5)
    assert estimate(
        replace(scale, needs=replace(scale.needs, counts=counts)), clock, seeds=1
    ) == pytest.approx(5 * one)
    slow = Clock(known=dict.fromkeys(networks, 2e-3))
    assert estimate(scale, slow, seeds=1) == pytest.approx(2 * one)


def test_data_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs = EXPERIMENTS["tgd"].scales[SMOKE].needs
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PI_SHARED_DATA", raising=False)
    with pytest.raises(DataNotFound, match=r"no raw data in .*: give --data DIR or set PI_SHARED"):
        open_source(needs, None, tmp_path, print)
    with pytest.raises(DataNotFound, match=r"has no cifar10_jpeg/\*\.tar\.xz, which this"):
        open_source(needs, tmp_path, tmp_path, print)
    with pytest.raises(DataNotFound, match=r"has no ucr_uea/GunPoint, which this"):
        open_source(EXPERIMENTS["tpkd-gun-point"].scales[SMOKE].needs, tmp_path, tmp_path, print)
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    needs = EXPERIMENTS["tpkd-gun-point"].scales[SMOKE].needs

    def built(*words: Any) -> dict[str, Any]:
        return {"key": STORE.key, "digest": STORE.digest, "samples": 50}

    with pytest.raises(DataNotFound, match=r"ucr:there has 50 samples, and 200 are those of this"):
        build_stores(needs, "ucr:there", tmp_path, built)
    assert list(tmp_path.iterdir()) == []


def test_the_release_is_taken_at_full_scale(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-bin").mkdir()
    needs = EXPERIMENTS["tgd"].scales["full"].needs
    source = open_source(needs, tmp_path, tmp_path, print)
    assert source == f"cifar10:{tmp_path / 'cifar-10-batches-bin'}"


def archive_of(folder: Path, names: Sequence[str]) -> Path:
    """An archive of files of noise, where experiments look for photographs."""
    path = folder / "cifar10_jpeg" / "some.tar.xz"
    path.parent.mkdir()
    with tarfile.open(path, "w:xz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 5_120  # ends with a block, as a torn archive may
            archive.addfile(member, io.BytesIO(random.Random(name).randbytes(member.size)))
    return path


def test_an_archive_is_unpacked_whole(tmp_path: Path) -> None:
    names = [f"cifar10/train/cat/{number:04d}.jpg" for number in range(4)]
    archive, root = archive_of(tmp_path, names), tmp_path / "cache"
    needs, whole = EXPERIMENTS["tgd"].scales[CPU].needs, archive.read_bytes()
    for size in (0, 40, len(whole) // 2, len(whole) * 3 // 4):
        archive.write_bytes(whole[:size])
        with pytest.raises(SourceError, match=r"some.tar.xz cannot be unpacked .* get it anew"):
            open_source(needs, tmp_path, root, print)
        assert not [path for path in root.rglob("*") if path.is_file()]
    archive.write_bytes(whole)
    for name in names[:1]:  # another experiment that unpacks it as well
        (root / "unpacked" / needs.name / name).parent.mkdir(parents=True)
        (root / "unpacked" / needs.name / name).write_bytes(b"")
    source = Path(open_source(needs, tmp_path, root, print).partition(":")[2])
    assert [path.stat().st_size for path in source.rglob("*.jpg")] == [5_120] * 4


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    archive_of(tmp_path, ["notes.txt"])
    with pytest.raises(DataNotFound, match=r"some.tar.xz holds nothing that this experiment reads"):
        open_source(EXPERIMENTS["tgd"].scales[SMOKE].needs, tmp_path, tmp_path / "cache", print)


def test_a_device_that_is_not_there_is_refused_first(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"nothing can be trained on device 'cuda:99' here"):
        run_experiment(
            EXPERIMENTS["tgd"], "full", folder=tmp_path / "o", root=tmp_path / "c", device="cuda:99"
        )
    assert list(tmp_path.iterdir()) == []


def test_results_that_lack_a_run_are_no_estimate(tmp_path: Path) -> None:
    runs = make_experiment(tmp_path / "runs", folds={"S1": 40})
    assert recorded(tmp_path) == 3 * (10 + 11 + 12)
    (runs / "kd" / "S1" / "seed-1" / "evaluation-test.json").unlink()
    assert recorded(tmp_path) is None


def test_the_page_compares_what_the_claim_is_about(tmp_path: Path) -> None:
    found = read_experiment(make_experiment(tmp_path))
    description = replace(EXPERIMENTS["tpkd"], claims=(("tgd", "kd"), ("tgd", "nobody")))
    line, tests = claimed_lines(description, found)
    assert tests == "Each p is that of its own sign-flip test."
    own, other = (found.values(arm, "accuracy").values() for arm in ("tgd", "kd"))
    mean = 100 * sum(a - b for a, b in zip(own, other, strict=True)) / len(own)
    assert f"`tgd` minus `kd` is {mean:.2f}" in line and ", p = " in line
    assert "nobody" not in line
    both = claimed_lines(replace(description, claimed=("accuracy", "ece")), found)
    assert both[0] == line and both[1].startswith(
        "Of the claim, by ECE, of which less is better: `tgd`"
    )
    one = read_experiment(make_experiment(tmp_path / "one", folds={"S1": 40}, seeds=[0]))
    assert ", p = " not in "".join(claimed_lines(description, one))


def test_the_page_says_what_its_deviations_are_over(tmp_path: Path) -> None:
    description = replace(EXPERIMENTS["tpkd"], baseline="kd", claims=())
    scale = description.scales[CPU]
    arms = {"kd": 1.0, "tgd": 1.2}
    several = read_experiment(make_experiment(tmp_path / "several", arms=arms))
    text = " ".join(measured_lines(description, scale, several))
    assert " % (sd over seeds). 1 of the 1 arms compared with it is above it." in text
    assert " points (sd over pairs). " in text
    one = read_experiment(make_experiment(tmp_path / "one", arms=arms, folds={"S1": 40}, seeds=[0]))
    assert "sd over" not in " ".join(measured_lines(description, scale, one))


def test_the_page_names_networks() -> None:
    scale = EXPERIMENTS["tpkd"].scales[CPU]
    assert networks_line(scale, scale) == (
        "Networks: `signal-teacher` is wrn-16-3, all others wrn-16-1."
    )
    assert networks_line(scale, EXPERIMENTS["tpkd"].scales[FULL]) == (
        "Networks: `signal-teacher` is wrn-16-3, all others wrn-16-1; at full scale"
        " `signal-teacher`, `pi-teacher` are wrn-16-3, all others wrn-16-1."
    )
    scale = EXPERIMENTS["densenet"].scales[CPU]
    assert networks_line(scale, scale) == "Networks: all are densenet-40-12 (depth 16)."
    first, *others = scale.plan["arms"]
    arms = [{**first, "model_options": {"growth": 24}}, *others]
    other = replace(scale, plan={**scale.plan, "arms": arms})
    assert networks_line(other, other) == (
        "Networks: `densenet` is densenet-40-12 (depth 16, growth 24), all others densenet-40-12"
        " (depth 16)."
    )


def test_the_page_names_settings_that_are_not_those_of_the_preset() -> None:
    cpu, full = (EXPERIMENTS["tgd"].scales[name] for name in (CPU, FULL))
    [line] = settings_lines(cpu, full)
    assert line == (
        "Settings are not all those of the preset `tgd-cifar10`: `batch_size` is `64` instead of"
        " `128`, `weight_decay` is `0.0005` instead of `0.0001`, `schedule` is"
        " `steps:0.2@40%,65%,85%` instead of `steps:0.2@40,80,120,160`."
    )
    assert settings_lines(full, full) == []
    without = EXPERIMENTS["self-training"].scales
    assert settings_lines(without[CPU], without[FULL]) == [], "it has no preset"


def test_costs_are_of_cores_and_of_a_gpu(tmp_path: Path) -> None:
    found = read_experiment(make_experiment(tmp_path, arms={"kd": 1.0}, folds={"S1": 40}))
    assert cost_table(found, threads=4, device="cpu").rows[0][1:4] == (3, "0.037", "0.000")
    assert cost_table(found, threads=4, device="cuda").rows[0][1:4] == (3, "0.009", "0.009")
    assert cost_table(found, threads=4, device="cpu").rows[0][5].text() == NOTHING
    for seed, run in enumerate(found.runs.values()):
        result = {**run.result, "waiting_seconds": 0.5 * (10 + seed)}
        (run.folder / "result.json").write_text(json.dumps(result))
    found = read_experiment(tmp_path)
    assert cost_table(found, threads=4, device="cpu").rows[0][5].text() == "50.0 ± 0.0"
    (run.folder / "result.json").write_text(json.dumps({**result, "waiting_seconds": None}))
    found = read_experiment(tmp_path)
    assert cost_table(found, threads=4, device="cpu").rows[0][5].spread.values == 2


def test_a_second_column_says_what_it_lacks(tmp_path: Path) -> None:
    first = read_experiment(make_experiment(tmp_path / "runs", arms={"kd": 1.0, "tgd": 1.2}))
    assert second_column(tmp_path, first) == []
    second = make_experiment(tmp_path / RUNS_BY_TEST, arms={"kd": 0.5, "tgd": 0.6})
    (second / "ledger.jsonl").touch()
    [whole] = second_column(tmp_path, first)
    assert len(whole.notes) == 1 and [row[0] for row in whole.rows] == ["kd", "tgd"]
    assert whole.rows[0][1] != whole.rows[0][2]
    shutil.rmtree(second / "tgd" / "S1" / "seed-2")
    shutil.rmtree(second / "kd")
    [cut] = second_column(tmp_path, first)
    assert cut.notes[1] == (
        "The second column has fewer runs than the first of: kd (0 of 9), tgd (8 of 9)."
    )
    assert cut.rows[0] == (*whole.rows[0][:2], measured("accuracy", spread([])))
    assert cut.rows[1][:2] == whole.rows[1][:2] and cut.rows[1][2].spread.values == 2


def test_the_document_has_every_experiment() -> None:
    text = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \|", text.partition("## Scales")[0], re.MULTILINE)
    assert rows == list(EXPERIMENTS)
    for name, description in EXPERIMENTS.items():
        needs = description.scales[CPU].needs
        place = re.escape(needs.archives or (needs.whole or ("",))[0])
        assert re.search(rf"^\| `{place}/?` .*`{name}`", text, re.MULTILINE), name


def test_a_page_says_by_which_commits_its_runs_were_made() -> None:
    line = commits_line({"code": "b", "runs": {"a": 2, "None": 1, "b": 3}})
    assert line == "commit of this page b, of its runs a (2), unknown (1), b (3)"
    assert commits_line({"code": "b", "runs": {"b": 3}}) == "commit b"
    assert commits_line({"code": None, "runs": {"None": 3}}) == "commit unknown"


WAITS = """
import pathlib, sys, time
print("one", file=sys.stderr, flush=True)
for _ in range(500):
    if pathlib.Path("heard").exists():
        print("{}")
        sys.exit(0)
    time.sleep(0.02)
sys.exit(3)
"""


def test_what_a_command_says_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "command_that_waits.py").write_text(WAITS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(MODULES, "pipeline", "command_that_waits")

    def say(text: str) -> None:
        if text == "  one":
            (tmp_path / "heard").touch()

    assert caller(tmp_path, say)("pipeline", "build-pis") == {}


def test_a_command_that_fails_says_which(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(CommandFailed, match=r"pi-cache show nowhere ended with 1: .*neither a"):
        caller(tmp_path, said.append)("pi-cache", "show", "nowhere")
    assert said[0] == "$ pi-cache show nowhere"


PLAIN = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)
TABLES = st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), PLAIN, max_size=4)


@given(top=TABLES, table=TABLES, rows=st.lists(TABLES, min_size=1, max_size=3))
def test_what_is_written_as_toml_is_read_back(
    top: dict[str, Any], table: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    document = {**top, "TABLE": {**table, "INNER": table}, "ROWS": rows}
    assert tomllib.loads(to_toml(document)) == document


def test_toml_has_no_such_value() -> None:
    with pytest.raises(InvalidSpec, match=r"TOML has no value for \{1\} \(set\)"):
        to_toml({"seeds": {1}})


def test_the_list_names_every_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("training.experiments.estimate.sample_seconds", lambda network: 1e-3)
    done = CliRunner().invoke(cli, ["experiment", "list", "--json"], catch_exceptions=False)
    rows = json.loads(done.stdout)
    assert [row["name"] for row in rows] == list(EXPERIMENTS)
    assert all(row["seconds"] > 0 and row["shows"] and row["needs"] for row in rows)
    shown = CliRunner().invoke(cli, ["experiment", "list"], catch_exceptions=False)
    assert len(shown.stdout.splitlines()) == 1 + len(EXPERIMENTS)
    wrong = CliRunner().invoke(cli, ["experiment", "tpk"], catch_exceptions=False)
    assert wrong.exit_code == 2 and "did you mean 'tpkd'?" in wrong.stderr


@pytest.mark.slow
def test_a_killed_experiment_goes_on_to_the_same_bytes(tmp_path: Path, data: Path) -> None:
    whole, *killed = killed_lines(data, tmp_path)
    assert whole["differs"] == [] and len(killed) == 2
    for line in killed:
        assert len(line["killed"]) >= 2 and line["differs"] == [], line


@pytest.mark.parametrize("error", [AlreadyPublished, WrittenMeanwhile])
def test_results_of_other_data_are_refused(
    error: type[AlreadyPublished],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And where another call works in the folder, nobody is told to move it away."""

    def other(*arguments: Any, **named: Any) -> Path:
        raise error("16 runs here", (tmp_path,))

    monkeypatch.setattr("training.experiments.run.run_experiment", other)
    monkeypatch.setattr(sys, "argv", ["training", "experiment", "tgd", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="1"):
        main()
    said = capsys.readouterr().err
    told = f"{tmp_path} holds results of other settings" in said and "another --out" in said
    assert "16 runs here" in said and told == (error is AlreadyPublished)


def test_the_commit_is_asked_for_before_stores_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("training.experiments.run.commit", lambda: asked.append("commit"))
    with pytest.raises(DataNotFound, match="has no cifar10_jpeg"):
        run_experiment(
            EXPERIMENTS["tgd"], SMOKE, folder=tmp_path / "out", root=tmp_path, data=tmp_path
        )
    assert asked == ["commit"]


def test_the_commit_is_not_that_of_a_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a hook of git, `GIT_DIR` names the checkout that calls."""
    commit.cache_clear()
    found = commit()
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    commit.cache_clear()
    assert commit() == found
    commit.cache_clear()


def test_the_commit_is_that_of_a_checkout_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = environment("cpu")
    assert found == environment("cpu") and found["device"].startswith("cpu")
    monkeypatch.setattr("training.runs.record.CODE", tmp_path)
    commit.cache_clear()
    assert environment("cpu")["code"] is None
    (tmp_path / ".git").mkdir()
    commit.cache_clear()
    assert environment("cpu")["code"] is None, "a folder of that name is no checkout"
    for status, expected in {"": "4f", " M a.py": "4f + changes", None: "4f + changes"}.items():
        said = {"rev-parse": "4f", "status": status}
        monkeypatch.setattr("training.runs.record._git", lambda word, *_, said=said: said[word])
        commit.cache_clear()
        assert commit() == expected, "what git cannot tell is not said to be clean"
    commit.cache_clear()
