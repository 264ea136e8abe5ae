"""Builds on demand by a real SLURM on loopback: jobs outlive the service and end with a request."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from pi_cache.serving.builds import runs
from pi_cache.serving.builds.runs import Ended, SlurmRun, Task
from pi_cache.serving.builds.settings import BuildSettings
from pipeline.cluster.jobs import rounds_of
from pipeline.cluster.workplan import find_plan
from tests.cluster.jobs_of_digits import Trial
from tests.cluster.slurm_lab import SlurmLab, slurm_on_path
from tests.serving import builds_lab
from tests.serving.builds_lab import (
    Lab,
    ask,
    begun,
    check_store,
    finished,
    shards_done,
    wait,
)

SHARDED = {"source": "digits", "limit": 1030}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmLab]:
    with slurm_on_path(tmp_path_factory.mktemp("slurm"), nodes=1) as found:
        yield found


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path, seconds=0.5)


@pytest.fixture
def profile(trial: Trial) -> Path:
    """What jobs of this test need in their environment."""
    lines = [f"export {name}={shlex.quote(text)}" for name, text in trial.variables.items()]
    place = trial.folder / "profile.toml"
    place.write_text(f"setup = {lines!r}\nelements = 1\n")
    return place


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr(runs, "LOOK", 2.0)
    yield from builds_lab.lab(tmp_path / "root")


def test_jobs_outlive_the_service_and_are_found_again(
    slurm: SlurmLab, lab: Lab, trial: Trial, profile: Path
) -> None:
    before = lab.start(executor="slurm", profile=profile)
    ticket = ask(before, SHARDED)
    wait(lambda: shards_done(before, ticket))
    before.stop()
    after = lab.start(executor="slurm", profile=profile)
    again = after.desk.find(ticket.id)
    assert again is not None and ticket.is_open
    key = finished(after, again)
    check_store(after, again, 1030)
    assert len(rounds_of(find_plan(key, lab.root))) == 1, "nothing is submitted twice"
    assert len(set(begun(trial.marks))) == len(begun(trial.marks))


def test_jobs_end_with_the_request(slurm: SlurmLab, lab: Lab, trial: Trial, profile: Path) -> None:
    builds = lab.start(executor="slurm", profile=profile)
    ticket = ask(builds, {**SHARDED, "limit": 1031})
    wait(lambda: begun(trial.marks))
    builds.desk.cancel(ticket)
    wait(lambda: not slurm.call("squeue", "--noheader").strip())
    wait(lambda: any("cancelled: jobs" in note for note in lab.notes))
    assert not (builds.root / "stores" / str(ticket.key) / "manifest.json").exists()


class Told:
    """In place of a child: it has ended, with an exit status and an answer."""

    def __init__(self, words: list[str], code: int, answer: str, said: list[str]) -> None:
        self.words, self.code, self.said = words, code, said
        self.answer = lambda: answer

    def poll(self) -> int:
        return self.code

    def tail(self) -> list[str]:
        return self.said

    def close(self) -> None:
        """Nothing is open."""


def ended_after(
    answers: list[tuple[int, object]], monkeypatch: pytest.MonkeyPatch, *said: str
) -> tuple[Ended, list[str]]:
    """How a run by jobs ends whose commands answer so, and which commands it ran."""
    ran: list[str] = []

    def child(words: list[str]) -> Told:
        ran.append(words[2])
        code, answer = answers[len(ran) - 1]
        return Told(words, code, json.dumps(answer), list(said))

    monkeypatch.setattr(runs, "Child", child)
    monkeypatch.setattr(runs, "LOOK", 0.0)
    settings = BuildSettings(executor="slurm")
    task = Task(
        key="ab" * 32,
        command="build-pis",
        spec_file=Path("spec.json"),
        root=Path("root"),
        settings=settings,
        shard_samples=8,
    )
    run = SlurmRun(task, lambda text: None)
    while (ended := run.poll()) is None:
        pass
    return ended, ran


GOES_ON = {"jobs": {"RUNNING": 1}, "finished": False}
NO_JOB = {"jobs": {}, "finished": False, "shards": {"failed": 2, "missing": 1, "given_up": 2}}
NOT_KNOWN = {"jobs": None, "finished": False}
DONE = {"jobs": {}, "finished": True}
SENT = {"array": "7", "finish": "8"}


def test_jobs_that_go_on_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(0, GOES_ON), (0, NO_JOB), (1, {}), (0, NO_JOB), (0, NOT_KNOWN), (0, DONE)]
    ended, ran = ended_after(answers, monkeypatch)
    assert ended == Ended() and set(ran) == {"status"}


def test_jobs_that_leave_shards_missing_fail_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, ran = ended_after([(1, {}), (0, SENT), (0, NO_JOB), (0, NO_JOB)], monkeypatch)
    assert ran == ["status", "submit", "status", "status"]
    assert "no job of it is left and 3 shards are missing, 2 of them" in ended.sentence
    assert "pipeline logs abababababab --failed" in ended.sentence


def test_jobs_that_cannot_be_submitted_fail_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, _ = ended_after([(1, {}), (1, {})], monkeypatch, "pipeline: sbatch failed: no account")
    assert ended.sentence == "sbatch failed: no account"
    ended, _ = ended_after([(1, {}), (0, {"found": True})], monkeypatch)
    assert ended == Ended()
