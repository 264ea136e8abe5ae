"""Builds by a real SLURM of two nodes on loopback, which lose nodes and jobs meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pi_cache.integrity.verification import verify
from pi_cache.reader import open_store
from pi_cache.specs import Status
from pipeline.cluster.jobs import rounds_of
from pipeline.cluster.notes import crashes_of, notes_of
from pipeline.cluster.workplan import Planned, read_plan
from pipeline.sources.kinds import KINDS
from tests.cluster.hard_source import HARD, write_hard
from tests.cluster.jobs_of_digits import SHARDS, Trial, invoke, serial_digest
from tests.cluster.slurm_lab import SlurmLab, slurm_on_path, wait_for


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmLab]:
    with slurm_on_path(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    return serial_digest(tmp_path_factory.mktemp("serial"))


def submitted(trial: Trial, *more: str) -> tuple[Planned, dict[str, Any]]:
    """A submission of two elements, and its plan."""
    told = invoke(*trial.words(), "--elements", "2", *trial.setup(), *more)
    return read_plan(Path(told["plan"])), told


def check_finished(planned: Planned, digest: str) -> None:
    """The store of a plan is that of the serial build."""
    store = open_store(planned.store())
    assert store.manifest.digest == digest
    assert [str(found) for found in verify(store.path)] == []


def logs_of(planned: Planned) -> str:
    return "".join(path.read_text() for path in sorted(planned.logs.iterdir()))


def at_work(planned: Planned, elements: int = 2) -> bool:
    """Whether so many elements have a shard in work."""
    return sum(bool(seen.note.working) for seen in notes_of(planned)) >= elements


def start_when_requeued(lab: SlurmLab, element: str) -> None:
    """Have it start at once; SLURM waits until what the first start was granted has expired."""
    asked = ("scontrol", "show", "job", element)
    wait_for(lambda: "JobState=PENDING" in lab.call(*asked), "it is requeued")
    lab.call("scontrol", "update", f"JobId={element}", "StartTime=now")


def test_two_nodes_build_what_one_process_builds(
    lab: SlurmLab, digest: str, tmp_path: Path
) -> None:
    trial = Trial(tmp_path)
    planned, told = submitted(trial)
    lab.wait(told["array"], told["finish"])
    check_finished(planned, digest)
    assert {seen.note.node for seen in notes_of(planned)} == {"n1", "n2"}
    assert sum(trial.computed().values()) == SHARDS
    status = invoke("status", str(planned.folder), "--json")
    assert status["finished"] and status["shards"]["done"] == SHARDS and status["jobs"] == {}
    assert sum(node["shards"] for node in status["nodes"].values()) == SHARDS


def test_cancelled_jobs_stop_at_once_and_are_submitted_again(
    lab: SlurmLab, digest: str, tmp_path: Path
) -> None:
    trial = Trial(tmp_path, seconds=0.5)
    planned, told = submitted(trial)
    wait_for(lambda: at_work(planned), "both elements work")
    lab.call("scancel", told["array"], told["finish"])
    lab.wait(told["array"], told["finish"])
    assert [(seen.state, seen.note.reason) for seen in notes_of(planned)] == [
        ("stopped", "SIGTERM came")
    ] * 2
    assert not (planned.store() / "manifest.json").exists()
    before = invoke("status", str(planned.folder), "--json")["shards"]
    assert before["running"] == 0 and before["missing"] == SHARDS - before["done"] > 0
    again = invoke("resubmit", str(planned.folder), "--json")
    lab.wait(again["array"], again["finish"])
    check_finished(planned, digest)
    assert sum(trial.computed().values()) <= SHARDS + 2, "only what was in work is done again"


def test_a_requeued_element_goes_on(lab: SlurmLab, digest: str, tmp_path: Path) -> None:
    trial = Trial(tmp_path, seconds=0.5)
    planned, told = submitted(trial)
    wait_for(lambda: at_work(planned), "both elements work")
    element = f"{told['array']}_1"
    lab.call("scontrol", "requeue", element)
    start_when_requeued(lab, element)
    lab.wait(told["array"], told["finish"])
    check_finished(planned, digest)
    restarts = {seen.note.batch.get("SLURM_RESTART_COUNT", "0") for seen in notes_of(planned)}
    assert restarts == {"0", "1"}
    assert sum(trial.computed().values()) <= SHARDS + 1


def test_elements_that_are_warned_of_their_end_are_followed_by_others(
    lab: SlurmLab, digest: str, tmp_path: Path
) -> None:
    """The warning of a time limit, sent by hand: SLURM looks at limits twice a minute."""
    trial = Trial(tmp_path, seconds=0.5)
    planned, told = submitted(trial, "--rounds", "1")
    wait_for(lambda: at_work(planned), "both elements work")
    lab.call("scancel", "--signal=USR1", "--batch", told["array"])
    wait_for(lambda: (planned.store() / "manifest.json").exists(), "it is finished")
    check_finished(planned, digest)
    rounds = rounds_of(planned)
    assert [round.round for round in rounds] == [1, 2]
    assert "submitted again" in logs_of(planned)
    states = [(seen.state, seen.note.reason) for seen in notes_of(planned)]
    assert states.count(("stopped", "SIGUSR1 came")) == 2
    lab.wait(rounds[1].finish)


def test_a_node_that_dies_costs_what_it_had_in_work(
    lab: SlurmLab, digest: str, tmp_path: Path
) -> None:
    trial = Trial(tmp_path, seconds=0.5)
    planned, told = submitted(trial)
    wait_for(lambda: at_work(planned), "both elements work")
    lab.kill_node("n1")
    down = ("State=DOWN", "Reason=killed")  # SLURM itself notices that after a minute
    lab.call("scontrol", "update", "NodeName=n1", *down)
    wait_for(lambda: not lab.processes_of("n1"), "nothing runs there")
    (part,) = [seen.note.part for seen in notes_of(planned) if seen.note.node == "n1"]
    start_when_requeued(lab, f"{told['array']}_{part}")
    lab.wait(told["array"], told["finish"])
    lab.start_node("n1")
    check_finished(planned, digest)
    assert "lost" in [seen.state for seen in notes_of(planned) if seen.note.node == "n1"]
    assert sum(trial.computed().values()) <= SHARDS + 1


def test_a_sample_that_kills_costs_itself(
    lab: SlurmLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The array finishes by itself, with the store that joblib makes of the same samples."""
    monkeypatch.setitem(KINDS, "hard", HARD)
    trial = Trial(tmp_path)
    named = write_hard(tmp_path / "hard.json", trial.root, 4, {13: "exits in jobs"})
    words = [named, "--shard-samples", "8", "--pixels", "8", "--json", "--cache"]
    jobs = ["--elements", "2", "--rounds", "0", *trial.setup()]
    told = invoke("submit", *words, str(trial.root), *jobs)
    planned = read_plan(Path(told["plan"]))
    lab.wait(told["array"], told["finish"])
    store = open_store(planned.store())
    assert np.flatnonzero(store.status == Status.CRASH).tolist() == [13]
    assert store.manifest.status == {"OK": 31, "CRASH": 1}
    assert "shard 1 failed: its worker ended with exit status 3" in logs_of(planned)
    assert "shard 1 has ended a worker: it runs in a process of its own" in logs_of(planned)
    assert "1 CRASH: these samples have no image; to compute them again, add --retry" in logs_of(
        planned
    )
    assert crashes_of(planned, 1) == {5: "ended with exit status 3"}
    monkeypatch.setenv("PI_TEST_MARKS", str(trial.marks))
    joblib = ["--executor", "joblib", "--workers", "1"]
    other = invoke("build-pis", *words, str(tmp_path / "other"), *joblib)
    assert store.manifest.digest == other["digest"]


def test_two_submissions_at_once_share_the_work(lab: SlurmLab, digest: str, tmp_path: Path) -> None:
    trial = Trial(tmp_path, seconds=0.1)
    told = [invoke(*trial.words(), "--elements", "1", *trial.setup()) for _ in range(2)]
    lab.wait(*(each[job] for each in told for job in ("array", "finish")))
    for each in told:
        check_finished(read_plan(Path(each["plan"])), digest)
    assert sum(trial.computed().values()) <= SHARDS + 2
    states = [seen for each in told for seen in notes_of(read_plan(Path(each["plan"])))]
    assert {seen.note.node for seen in states} == {"n1", "n2"}
    assert all(seen.note.shards for seen in states), "both helped"
