"""What jobs are submitted with: settings, profiles, the scripts, and what sbatch answers."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pi_cache.errors import InvalidSpec
from pi_cache.ledger import now
from pipeline.cluster.jobs import rounds_of, submit_round
from pipeline.cluster.script import Round, array_script, finish_script
from pipeline.cluster.settings import (
    MOST_ELEMENTS,
    Settings,
    read_profile,
    settings_of,
    time_seconds,
    time_text,
)
from pipeline.cluster.slurm import BatchFailed, job_states, submit
from pipeline.cluster.workplan import Planned, WorkPlan
from tests.cluster.jobs_of_digits import Trial, invoke

COST = {"seconds": 0.01, "stored": 4000.0, "memory": 4e8, "opening": 2.0, "reading": 3.0}


def round_of(missing: int = 320, cost: dict[str, float] | None = None, **settings: Any) -> Round:
    plan = WorkPlan(
        spec={"key": "3f2a9c"},
        table="",
        samples=320 * 4096,
        shard_samples=4096,
        shards=((0, missing),),
        donor="",
        dataset_max=None,
        time_limit=600.0,
        settings={},
        cost=COST | (cost or {}),
        created=now(),
    )
    folder = Path("/data/캐시 50%A's/plans/3f2a9c-0")
    return Round(plan=plan, settings=Settings(**settings), folder=folder, missing=missing, left=2)


@pytest.mark.parametrize(
    ("seconds", "cpus", "elements"),
    [(0.01, 1, 73), (0.01, 4, 19), (1.0, 1, 320), (1e-6, 1, 1), (0.001, 1, 8)],
)
def test_elements_take_minutes_by_the_measured_cost(
    seconds: float, cpus: int, elements: int
) -> None:
    """As many as three minutes each make, and no more than there are shards."""
    assert round_of(cost={"seconds": seconds}, cpus=cpus).elements == elements


def test_there_are_at_most_a_thousand_elements() -> None:
    round = round_of(missing=5000, cost={"seconds": 1.0})
    assert round.elements == MOST_ELEMENTS
    assert round.element_seconds == 5 * 4096 + 2
    assert time_seconds(round.time) >= 3 * round.element_seconds


def test_the_script_says_all_that_is_asked_for() -> None:
    text = array_script(
        round_of(
            partition="short",
            account="lab",
            time="00:20:00",
            memory="4G",
            cpus=2,
            array_limit=10,
            elements=20,
            sbatch_lines=("--qos=long", "#SBATCH --nice=100"),
            setup=("module load gcc", "export A='b c'"),
            python="/opt/파이썬 3/bin/python",
        )
    )
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash"
    for line in (
        "--partition=short", "--account=lab", "--time=00:20:00", "--mem=4G", "--cpus-per-task=2",
        "--array=1-20%10", "--requeue", "--open-mode=append", "--signal=B:USR1@120", "--qos=long",
        "--nice=100",
        '--output="/data/캐시 50%%A\'s/plans/3f2a9c-0/logs/%A_%a.out"',
    ):  # fmt: skip
        assert f"#SBATCH {line}" in lines
    assert lines[-3:-1] == ["module load gcc", "export A='b c'"]
    words = shlex.split(lines[-1])
    assert words == [
        "exec", "/opt/파이썬 3/bin/python", "-m", "pipeline.cli", "work",
        "/data/캐시 50%A's/plans/3f2a9c-0", "--workers=2", "--seconds=1080",
        "--part", "$SLURM_ARRAY_TASK_ID/20",
    ]  # fmt: skip
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


def test_the_last_job_has_one_core_and_the_rounds_that_are_left() -> None:
    text = finish_script(round_of(partition="short", cpus=8))
    assert "#SBATCH --cpus-per-task=1\n" in text and "#SBATCH --partition=short\n" in text
    assert "--signal" not in text and "--array" not in text
    assert shlex.split(text.splitlines()[-1])[-2:] == [
        "/data/캐시 50%A's/plans/3f2a9c-0", "--resubmit=2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 5400), ("10:30", 630), ("01:30:00", 5400), ("2-12", 216_000), ("1-00:30:00", 88_200)],
)
def test_times_are_read_as_slurm_reads_them(text: str, seconds: int) -> None:
    assert time_seconds(text) == seconds


def test_times_are_written_in_whole_minutes() -> None:
    assert [time_text(s) for s in (1, 60, 61, 7200, 360_000)] == [
        "00:01:00", "00:01:00", "00:02:00", "02:00:00", "100:00:00",
    ]  # fmt: skip


def test_options_win_over_a_profile_and_lines_are_joined(tmp_path: Path) -> None:
    profile = tmp_path / "site.toml"
    profile.write_text(
        'partition = "short"\ncpus = 4\nsetup = ["module load gcc"]\nsbatch_lines = "--a\\n--b"\n'
    )
    found = settings_of(profile, {"cpus": 2, "time": None, "setup": ("x",), "sbatch_lines": ()})
    assert (found.partition, found.cpus, found.time) == ("short", 2, None)
    assert found.setup == ("module load gcc", "x") and found.sbatch_lines == ("--a", "--b")
    assert Settings.from_dict(found.to_dict()) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cpu = 4", "unknown cpu .there are partition, account, time"),
        ("cpus = 0", "cpus must be at least 1, got 0"),
        ('cpus = "4"', "cpus must be a whole number, got '4'"),
        ("elements = 1001", "elements must be at most 1,000, got 1,001"),
        ('time = "0"', "time must be at least a minute, got '0'"),
        ('time = "soon"', "time must be written as SLURM does, such as 01:30:00, got 'soon'"),
        ('partition = "a\\nrm"', "'a\\\\nrm' is more than a word"),
        ("setup = [1]", "setup must be lines of text"),
        ("cpus =", "no profile of jobs"),
    ],
)
def test_a_profile_that_is_wrong_is_refused(text: str, message: str, tmp_path: Path) -> None:
    profile = tmp_path / "site.toml"
    profile.write_text(text)
    with pytest.raises(InvalidSpec, match=message) as refused:
        read_profile(profile)
    assert str(profile) in str(refused.value)


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command of that name, which a test writes."""
    monkeypatch.setenv("PATH", str(tmp_path))
    place = tmp_path / "sbatch"
    place.touch()
    place.chmod(0o755)
    return place


def test_what_sbatch_says_is_told(sbatch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sbatch.write_text("#!/bin/sh\necho 'sbatch: this site asks for an account' >&2\nexit 1\n")
    with pytest.raises(BatchFailed, match="sbatch failed: sbatch: this site asks for an account"):
        submit(Path("x.sh"))
    sbatch.write_text("#!/bin/sh\necho 'welcome'\necho '77;hpc'\n")
    assert submit(Path("x.sh")) == "77"
    sbatch.write_text("#!/bin/sh\necho welcome\n")
    with pytest.raises(BatchFailed, match="expected the id of a job"):
        submit(Path("x.sh"))
    sbatch.unlink()
    with pytest.raises(BatchFailed, match="sbatch is not installed here"):
        submit(Path("x.sh"))
    assert job_states(["77"]) is None


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    words = [word for word in trial.words() if word != "--json"]
    done = trial.start(*words, "--dry-run").communicate(timeout=60)
    assert done[0].count("#!/bin/bash") == 2 and "--part" in done[0]
    assert "the second one with --dependency=afterany:ARRAY --kill-on-invalid-dep=yes" in done[1]
    assert not trial.root.exists()


def test_a_dry_run_says_in_json_what_would_be_asked_for(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    told = invoke(*trial.words(), "--dry-run", "--elements", "4", "--time", "20", "--memory", "2G")
    assert told["plan"] is None and (told["shards"], told["samples"]) == (12, 96)
    assert (told["elements"], told["workers"], told["rounds"]) == (4, 1, 3)
    assert (told["time"], told["memory"]) == ("20", "2G")
    assert "#SBATCH --array=1-4\n" in told["array_script"] and " work " in told["array_script"]
    assert " finish " in told["finish_script"]
    assert told["finish_options"] == ["--dependency=afterany:ARRAY", "--kill-on-invalid-dep=yes"]
    assert not trial.root.exists()
    planned = trial.plan()
    again = invoke("resubmit", str(planned.folder), "--dry-run", "--json")
    assert again["plan"] == str(planned.folder) and again["missing"] == 12
    assert len(list(planned.folder.glob("round-*"))) == 2, "those of --plan-only alone"


def test_without_slurm_the_plan_is_kept_and_the_way_out_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BatchFailed, match=r"see `pipeline submit --plan-only` for other"):
        invoke(*trial.words())
    assert len(list(trial.root.glob("plans/*/plan.json"))) == 1


def test_of_two_rounds_that_are_submitted_at_once_both_are_recorded(
    sbatch: Path, tmp_path: Path
) -> None:
    planned = Planned(tmp_path / "plans" / "mine", round_of().plan)
    sbatch.write_text("#!/bin/sh\necho 77\n")
    first = submit_round(planned, round_of())
    (planned.folder / "round-1.sh").unlink()  # as it looked to the other one when it began
    sbatch.write_text("#!/bin/sh\necho 78\n")
    second = submit_round(planned, round_of())
    assert rounds_of(planned) == [first, second]
    assert [(each.round, each.array) for each in (first, second)] == [(1, "77"), (2, "78")]


def test_names_in_sbatch_lines_are_quoted() -> None:
    round = replace(round_of(), folder=Path('/a "b" c/plans/my plan'))
    lines = array_script(round).splitlines()
    assert '#SBATCH --job-name="pi-my plan"' in lines
    assert r'#SBATCH --output="/a \"b\" c/plans/my plan/logs/%A_%a.out"' in lines
    with pytest.raises(InvalidSpec, match="SLURM takes no backslash and no line break in the path"):
        array_script(replace(round, folder=Path("/a\\b/plans/mine")))
