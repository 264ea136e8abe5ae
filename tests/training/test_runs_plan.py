"""A plan is read with all its faults at once, runs in order, and goes on where it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from pi_cache.errors import AlreadyPublished, InvalidSpec  # noqa: E402
from pi_cache.sampling.foldfiles import to_file  # noqa: E402
from pi_cache.sampling.folds import stratified  # noqa: E402
from pi_cache.sampling.joins import open_together  # noqa: E402
from tests.training.runs_case import trained  # noqa: E402
from tests.training.trained_case import build_signals  # noqa: E402
from training.runs.plan import parse_plan, read_plan  # noqa: E402
from training.runs.planned import Runs, folder_name  # noqa: E402
from training.runs.repeat import Clock, repeat  # noqa: E402
from training.trained import read_trained  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]
PLAN = """
seeds = [0, 1]

[data]
stores = { pi = "STORE" }
validation = 0.25

[defaults]
view = "inputs"
model = "resnet-8"
config = { epochs = 2, batch_size = 16, learning_rate = 0.02, threads = 1 }

[[arms]]
name = "tgd"
method = "tgd"
settings = { weights = [0.5, 0.5] }
teachers = ["signals", "pi:last"]
start = "student"

[[arms]]
name = "student"

[[arms]]
name = "signals"
seeds = [0]

[[arms]]
name = "pi"
view = "pi"
seeds = [0]
config = { epochs = 1 }
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_signals(tmp_path_factory.mktemp("저장소"))


def written(folder: Path, store: Path, *changes: tuple[str, str]) -> Path:
    """The plan in a file, with some of its text changed."""
    text = PLAN.replace("STORE", str(store))
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def done(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every run of the plan has ended."""
    folder = tmp_path_factory.mktemp("계획")
    repeat(read_plan(written(folder, store)), folder / "out")
    return folder / "out"


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]


def timeless(out: Path) -> list[dict[str, Any]]:
    """The ledger without what is measured by a clock."""
    found = lines(out)
    for line in found:
        for name in ("seconds", "waiting_seconds", "samples_per_second"):
            del line["result"][name]
    return found


def test_arms_come_after_what_they_need(store: Path, tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, store))
    names = [arm.name for arm in plan.arms]
    assert names == ["student", "signals", "pi", "tgd"]
    titles = [(each.arm.name, each.seed) for each in Runs(plan, tmp_path).all()]
    assert titles == [
        *(("student", 0), ("signals", 0), ("pi", 0), ("tgd", 0)),
        *(("student", 1), ("tgd", 1)),
    ]
    assert [p.arm.name for p in Runs(plan, tmp_path).chosen(["pi"])] == ["pi"]
    chosen = {p.arm.name for p in Runs(plan, tmp_path).chosen(["tgd"])}
    assert chosen == {"tgd", "student", "signals", "pi"}
    with pytest.raises(InvalidSpec, match=r"no arm 'tgdd' in the plan; did you mean 'tgd'\?"):
        Runs(plan, tmp_path).chosen(["tgdd"])


def test_a_run_of_the_plan_is_the_run_that_a_command_would_make(
    store: Path, tmp_path: Path
) -> None:
    plan = read_plan(written(tmp_path, store), seeds=[4])
    runs = Runs(plan, tmp_path / "out")
    spec = runs.spec(next(each for each in runs if each.arm.name == "tgd"))
    assert spec.config.seed == 4 and spec.config.epochs == 2
    base = tmp_path / "out"
    assert spec.teachers == (f"{base}/signals/splits/seed-0", f"{base}/pi/splits/seed-0:last")
    assert spec.start == f"{base}/student/splits/seed-4"
    assert spec.data.stores == {"pi": str(store)} and spec.method is not None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["signals", "pi:last"]', '["signal", "pi"]', r"needs 'signal', which is no arm; did you"),
        ('name = "student"', 'name = "signals"', "two arms are called 'signals'"),
        ("seeds = [0, 1]", "sedes = [0]", r"the plan has no 'sedes'; did you mean 'seeds'\?"),
        ("validation = 0.25", "validtion = 0.25", r"\[data\] has no 'validtion'"),
        ("epochs = 1 }", "epocs = 1 }", r"arm pi: .*no setting 'epocs'; did you mean 'epochs'"),
        ("[0.5, 0.5]", "[0.5, 0.4, 0.1]", "arm tgd: "),
        ('model = "resnet-8"', 'model = "resnet-9"', "arm student: unknown model 'resnet-9'"),
        ('view = "pi"', 'viev = "pi"', "arm pi has no 'viev'"),
        ("seeds = [0]\n\n", "seeds = [2, 3]\n\n", "arm tgd has seed 0, and its teacher signals"),
        ('name = "tgd"', 'name = "a/b"', "a name is a folder's"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "seeds are different whole numbers"),
        ("seeds = [0, 1]", "seeds = [", "is no readable TOML"),
        ("seeds = [0, 1]", "seeds = 3", "the plan: seeds must be a list, got 3"),
        ('["signals", "pi:last"]', '"signals"', "arm tgd: teachers must be a list, got 'signals'"),
        ("[data]\n", '[data]\narrays = "a"\n', r"\[data\]: arrays must be a table, got 'a'"),
        ("validation = 0.25", 'by_group = "no"', r"\[data\]: by_group must be true or false"),
        ('name = "student"', 'name = "tmp"', "the plan has a folder of that name"),
        ('name = "student"', 'name = "student"\nsettings = { temperature = 2 }', "it has none"),
        ('name = "student"', 'name = "student"\nallow_stale = "no"', "allow_stale must be true or"),
        ("batch_size = 16", 'nesterov = "no"', "nesterov must be true or false, got 'no'"),
        ("validation = 0.25", 'folds = "f.json"\n[unknown]', r"has no 'unknown'"),
        ("validation = 0.25", 'validation = 0.25\nfolds = "f.json"', r"f\.json"),
    ],
)
def test_faults_of_a_plan_are_named(
    store: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises((InvalidSpec, FileNotFoundError), match=message):
        Runs(read_plan(written(tmp_path, store, (old, new))), tmp_path)


def test_all_faults_are_named_at_once(store: Path, tmp_path: Path) -> None:
    changes = (
        ('["signals", "pi:last"]', '["signal", "p"]'),
        ('name = "student"', 'name = "student"\nstart = "tgd"'),
    )
    with pytest.raises(InvalidSpec, match="need each other") as refused:
        read_plan(written(tmp_path, store, *changes))
    assert "'signal'" in str(refused.value) and "'p'" in str(refused.value)
    assert "arms student, tgd" in str(refused.value)


def test_what_no_run_could_be_is_found_before_any_is_trained(store: Path, tmp_path: Path) -> None:
    changes = (
        ('view = "pi"', 'view = "pis"'),
        ('name = "signals"\n', 'name = "signals"\nmodel_options = { dropuot = 1 }\n'),
        ('start = "student"', 'start = "./nowhere"'),
    )
    plan = read_plan(written(tmp_path, store, *changes))
    with pytest.raises(
        InvalidSpec, match=r"arm signals: .*dropuot.*; arm pi: no array 'pis'"
    ) as no:
        repeat(plan, tmp_path / "out")
    assert "arm tgd" in str(no.value) and "nowhere: no such network" in str(no.value)
    assert not (tmp_path / "out").exists()
    stale = ('name = "tgd"\n', 'name = "tgd"\naugment = ["gaussian-noise"]\n')
    with pytest.raises(InvalidSpec, match=r"arm tgd: the persistence images .* do not follow"):
        repeat(read_plan(written(tmp_path, store, stale)), tmp_path / "out")


def test_folds_are_different_ones(store: Path, tmp_path: Path) -> None:
    document = {"data": {"stores": {"pi": str(store)}, "folds": "f.json"}, "arms": [{"name": "a"}]}
    document["defaults"] = {"view": "pi", "model": "resnet-8", "config": {"epochs": 1}}
    assert parse_plan({**document, "folds": "S01"}, folder=tmp_path).folds == ("S01",)
    for folds in (["1", "1"], [1, "1"], []):
        with pytest.raises(InvalidSpec, match="folds are different names of folds"):
            parse_plan({**document, "folds": folds}, folder=tmp_path)


def test_a_teacher_outside_the_plan_is_told_by_its_whole_path(store: Path, tmp_path: Path) -> None:
    """Beside seed-1 of an arm there may be a seed-10 that is no run of the plan."""
    outside = trained(store, tmp_path / "out" / "student" / "splits" / "seed-10")
    change = ('["signals", "pi:last"]', f'["student", "{outside}"]')
    runs = Runs(read_plan(written(tmp_path, store, change)), tmp_path / "out")
    tgd = next(each for each in runs if each.arm.name == "tgd" and each.seed == 1)
    one, other = runs.identity(tgd)["teachers"]
    assert one != other
    theirs = read_trained(outside).record["record"]["spec_digest"]
    assert other == f"{theirs}:best"


def test_paths_are_relative_to_the_plan(tmp_path: Path) -> None:
    document = {
        "data": {"stores": {"pi": "3f2a9c", "own": "cache/stores/3f2a"}, "root": "cache"},
        "defaults": {"view": "pi", "model": "resnet-8", "config": {"epochs": 1}},
        "arms": [{"name": "a", "method": "kd", "teachers": ["../old/run:last"]}],
    }
    plan = parse_plan(document, folder=tmp_path)
    assert plan.data["stores"] == {"pi": "3f2a9c", "own": f"{tmp_path}/cache/stores/3f2a"}
    assert plan.data["root"] == f"{tmp_path}/cache"
    assert plan.arms[0].teachers == ((f"{tmp_path}/../old/run", "last"),)


def test_every_run_is_trained_tested_and_written_down(done: Path) -> None:
    found = lines(done)
    assert [(line["arm"], line["seed"]) for line in found] == [
        *(("student", 0), ("signals", 0), ("pi", 0), ("tgd", 0)),
        *(("student", 1), ("tgd", 1)),
    ]
    for line in found:
        folder = done / line["run"]
        evaluation = json.loads((folder / "evaluation-test.json").read_text())
        assert line["test"] == evaluation["metrics"]
        assert line["samples"]["test"] == 24
        assert (folder / "predictions-test.safetensors").exists()
        assert read_trained(folder).record["record"]["spec_digest"] == line["spec_digest"]
    assert found[2]["result"]["epochs"] == 1
    digests = [line["spec_digest"] for line in found]
    assert digests[0] == digests[1], "student and signals are one and the same, in two arms"
    assert len(set(digests)) == len(found) - 1


def test_called_again_it_trains_nothing(done: Path, store: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(done.rglob("*")) if path.is_file()}
    said: list[str] = []
    plan = read_plan(written(tmp_path, store))
    assert repeat(plan, done, say=said.append) == lines(done)
    assert said == ["6 runs: 6 done, 0 to train or test"]
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_changed_plan_is_refused_and_then_replaces_what_changed(
    store: Path, tmp_path: Path
) -> None:
    """The teacher of signals changes, and so does what it taught; nothing else is made anew."""
    repeat(read_plan(written(tmp_path, store)), tmp_path / "out")
    before = lines(tmp_path / "out")
    change = ('name = "signals"\n', 'name = "signals"\nconfig = { learning_rate = 0.05 }\n')
    plan = read_plan(written(tmp_path, store, change))
    with pytest.raises(AlreadyPublished, match="3 runs here are not those of the plan") as refused:
        repeat(plan, tmp_path / "out")
    message = str(refused.value)
    assert "config.learning_rate is 0.02 there and 0.05 here" in message
    assert lines(tmp_path / "out") == before
    said: list[str] = []
    after = repeat(plan, tmp_path / "out", replace=True, say=said.append)
    made_anew = {
        (new["arm"], new["seed"])
        for old, new in zip(before, after, strict=True)
        if old["spec_digest"] != new["spec_digest"]
    }
    assert made_anew == {("signals", 0), ("tgd", 0), ("tgd", 1)}
    kept = [
        (o, n) for o, n in zip(before, after, strict=True) if (n["arm"], n["seed"]) not in made_anew
    ]
    assert all(old == new for old, new in kept)
    aside = list((tmp_path / "out" / "replaced").rglob("run.json"))
    assert len(aside) == 3
    assert sum("was another run: moved to" in line for line in said) == 3


def test_a_teacher_that_was_trained_anew_is_noticed(store: Path, tmp_path: Path) -> None:
    only = [("seeds = [0, 1]", "seeds = [0]")]
    plan = read_plan(written(tmp_path, store, *only))
    repeat(plan, tmp_path / "out")
    teacher = tmp_path / "out" / "signals" / "splits" / "seed-0"
    best = teacher / "best.safetensors"
    data = best.read_bytes()
    best.unlink()
    best.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(AlreadyPublished, match=r"tgd/splits/seed-0 \(.*was trained anew\)"):
        repeat(plan, tmp_path / "out")


def test_a_ledger_mixes_no_plans(store: Path, tmp_path: Path) -> None:
    """Students of an arm that was made anew alone have no line until they are, too."""
    changes = [("seeds = [0, 1]", "seeds = [0]"), ("epochs = 2", "epochs = 1")]
    repeat(read_plan(written(tmp_path, store, *changes)), tmp_path / "out")
    changes.append(('name = "signals"\n', 'name = "signals"\nconfig = { momentum = 0.5 }\n'))
    plan = read_plan(written(tmp_path, store, *changes))
    found = repeat(plan, tmp_path / "out", only=["signals"], replace=True)
    assert [line["arm"] for line in found] == ["student", "signals", "pi"]
    planned = (tmp_path / "out" / "planned.jsonl").read_text().splitlines()
    assert [json.loads(line)["arm"] for line in planned] == ["student", "signals", "pi", "tgd"]


def test_an_experiment_that_was_moved_is_still_done(store: Path, tmp_path: Path) -> None:
    changes = [("seeds = [0, 1]", "seeds = [0]"), ("epochs = 2", "epochs = 1")]
    plan = read_plan(written(tmp_path, store, *changes))
    before = repeat(plan, tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "moved")
    said: list[str] = []
    assert repeat(plan, tmp_path / "moved", say=said.append) == before
    assert said == ["4 runs: 4 done, 0 to train or test"]


def test_folds_of_a_file(store: Path, tmp_path: Path) -> None:
    joined = open_together({"pi": str(store)})
    to_file(tmp_path / "folds.json", stratified(joined, 3, seed=0), joined)
    changes = (
        ("validation = 0.25", 'validation = 0.25\nfolds = "folds.json"'),
        ("seeds = [0, 1]", "seeds = [0]"),
        ("epochs = 2", "epochs = 1"),
    )
    runs = Runs(read_plan(written(tmp_path, store, *changes)), tmp_path / "out")
    assert runs.folds == ["1", "2", "3"]
    some = (*changes, ("seeds = [0]\n\n[data]", 'seeds = [0]\nfolds = ["2", "3"]\n\n[data]'))
    found = repeat(read_plan(written(tmp_path, store, *some)), tmp_path / "out", only=["student"])
    assert [(line["arm"], line["fold"], line["run"]) for line in found] == [
        ("student", "2", "student/2/seed-0"),
        ("student", "3", "student/3/seed-0"),
    ]
    digests = [
        json.loads((tmp_path / "out" / line["run"] / "evaluation-test.json").read_text())["digest"]
        for line in found
    ]
    assert digests[0] != digests[1]
    none = (*changes, ("seeds = [0]\n\n[data]", 'seeds = [0]\nfolds = ["4"]\n\n[data]'))
    with pytest.raises(InvalidSpec, match=r"has no fold '4'; there are 1, 2, 3"):
        Runs(read_plan(written(tmp_path, store, *none)), tmp_path)


def test_folders_of_folds_are_told_apart() -> None:
    names = ["S01", "피험자 1", "피험자_1", "a/b", "a\\b", "..", "S1 + S2", "../x"]
    folders = [folder_name(name) for name in names]
    assert len(set(folders)) == len(names)
    assert folders[0] == "S01"
    assert all(
        "/" not in name and "\\" not in name and not name.startswith(".") for name in folders
    )


CHILD = """
import sys
from pathlib import Path
from training.runs.plan import read_plan
from training.runs.repeat import repeat
say = lambda text: print(text, flush=True)
repeat(read_plan(Path(sys.argv[1])), sys.argv[2], say=say)
"""


@pytest.mark.slow
def test_killed_and_called_again_the_ledger_is_the_same(
    done: Path, store: Path, tmp_path: Path
) -> None:
    """Killed after the n-th line of talk, each time a few further, until it ends by itself."""
    plan, out = written(tmp_path, store), tmp_path / "out"
    kills = 0
    for after in (4, 8, 1000):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(plan), str(out)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        assert child.stdout is not None
        for number, _ in enumerate(child.stdout):
            if number == after:
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
                break
        child.stdout.close()
        code = child.wait()
    assert kills == 2 and code == 0
    assert timeless(out) == timeless(done)
    for line in lines(out):
        mine, theirs = (read_trained(f"{o / line['run']}:last").network for o in (out, done))
        state = theirs.state_dict()
        assert all(torch.equal(v, state[name]) for name, v in mine.state_dict().items())


def test_the_time_that_is_left_is_that_of_each_arm(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(read_plan(written(tmp_path, store)), tmp_path).all()
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock()
    assert clock.left(runs) == ""
    for planned, seconds in zip(runs[:2], (10, 30), strict=True):
        clock.begin(planned)
        now[0] += seconds
        clock.end()
    student = [planned for planned in runs if planned.arm.name == "student"]
    assert clock.left(student) == "; about 20.0 s left"
    assert clock.left([runs[2]]) == "; about 20.0 s left", "the mean, of an arm that is not known"
