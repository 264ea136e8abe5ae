"""Two commands that build one store at a time: each shard is computed by one of them."""

from __future__ import annotations

import json
import os
import socket
from importlib.util import find_spec
from pathlib import Path

import pytest

from pi_cache import files
from pi_cache.integrity.verification import verify
from pi_cache.ledger import Build
from pipeline import claims, sharing
from pipeline.claims import STALE, Claim, builders_of, claiming, claims_of, is_gone
from pipeline.cluster.workplan import Planned
from pipeline.shard import ShardResult, ShardTask
from tests.cluster.jobs_of_digits import SHARDS, Trial, serial_digest

EXECUTORS = [["serial"], ["joblib", "--workers", "2"]]
if find_spec("distributed") is not None:
    EXECUTORS.append(["dask", "--workers", "1"])


@pytest.mark.parametrize("how", EXECUTORS, ids=lambda words: words[0])
def test_two_shells_help_each_other(how: list[str], tmp_path: Path) -> None:
    trial = Trial(tmp_path, seconds=0.2)
    words = [*trial.words("build-pis"), "--executor", *how]
    both = [trial.start(*words), trial.start(*words)]
    told = [json.loads(each.communicate(timeout=120)[0]) for each in both]
    assert {each["digest"] for each in told} == {serial_digest(tmp_path / "serial")}
    assert SHARDS <= sum(trial.computed().values()) <= SHARDS + 1
    assert sum(each["built"] for each in told) == sum(trial.computed().values())
    assert [str(found) for found in verify(Path(told[0]["path"]))] == []
    assert not list(Path(told[0]["path"]).glob("tmp/claim-*"))


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """A store that was begun."""
    return Trial(tmp_path).plan()


def foreign(build: Build, shard: int, host: str = "elsewhere", process: int = 7) -> Path:
    """The claim of another host."""
    path = build.temporary / f"claim-{shard:06d}@{host}.{process}.{'0' * 16}"
    path.touch()
    return path


def test_a_claim_holds_until_it_is_let_go(planned: Planned) -> None:
    build = planned.build()
    with claiming(build, 3) as ours:
        assert ours and set(claims_of(build)) == {3}
        with claiming(build, 3) as again:
            assert not again
        assert set(claims_of(build)) == {3}, "who does not get it takes nothing away"
    assert claims_of(build) == {} and builders_of(build) == set()


def test_a_claim_that_could_not_be_removed_holds_up_nobody_here(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = planned.build()

    def fails(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch, claiming(build, 4):
        patch.setattr(files.system, "unlink", fails)
    assert len(list(build.temporary.glob("claim-*"))) == 1
    assert claims_of(build) == {}
    with claiming(build, 4) as ours:
        assert ours


def test_the_processes_of_one_command_do_not_hold_up_each_other(planned: Planned) -> None:
    """A worker of Dask is lost on another host; its claim is the command's own, which goes on."""
    build = planned.build()
    lost = build.temporary / f"claim-000005@elsewhere.7.{'b' * 16}"
    lost.touch()
    with claiming(build, 5, "c" * 16) as ours:
        assert not ours, "another command heeds it"
    with claiming(build, 5, "b" * 16) as ours:
        assert ours
    assert lost.exists() and set(claims_of(build)) == {5}
    assert claims_of(build, but="b" * 16) == {}


def test_a_claim_of_another_host_holds_while_it_is_renewed(planned: Planned) -> None:
    build = planned.build()
    path = foreign(build, 5)
    assert builders_of(build) == {"elsewhere.7"}
    assert not Claim(build, 5).take()
    now = files.clock(build.temporary)
    os.utime(path, (now - STALE, now - STALE))
    assert claims_of(build) == {}
    claim = Claim(build, 5)
    assert claim.take()
    claim.release()


def test_of_two_at_once_one_has_it(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one's claim appears between the first look and the second one."""
    build, seen = planned.build(), []

    def claims_later(build: Build, *, but: str) -> dict[int, list[str]]:
        seen.append(claims_of(build, but=but))
        if len(seen) == 1:
            foreign(build, 5, "0")  # before ours in the order of names
        return seen[-1]

    monkeypatch.setattr(claims, "claims_of", claims_later)
    assert not Claim(build, 5).take()
    assert len(seen) == 2 and len(list(build.temporary.glob("claim-*"))) == 1


def test_a_process_that_has_ended_is_gone() -> None:
    here = socket.gethostname()
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # ended, and nobody has waited for it
    assert is_gone(here, child)
    os.waitpid(child, 0)
    assert is_gone(here, child)
    assert not is_gone(here, os.getpid()) and not is_gone(here, 1)
    assert not is_gone("elsewhere", child)


def test_a_disk_that_takes_no_claims_stops_nobody(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "mark", full)
    monkeypatch.setattr(files, "listing", full)
    with claiming(planned.build(), 0) as ours:
        assert ours


def test_what_others_are_at_is_waited_for(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One shard is recorded elsewhere meanwhile, of another one the builder dies."""
    build, source = planned.build(), planned.source(print)
    tasks = [planned.task(build, source, k) for k in (0, 1, 2)]
    others = {1: foreign(build, 1), 2: foreign(build, 2)}
    looks = iter(range(10))

    def meanwhile(seconds: float) -> None:
        if next(looks) == 0:
            build.record_path(1).touch()
            others[1].unlink()
        else:
            others[2].unlink()

    monkeypatch.setattr(sharing.time, "sleep", meanwhile)
    calls: list[int] = []

    def built(task: ShardTask) -> ShardResult:
        calls.append(task.shard)
        return ShardResult(task.shard, len(task.source), 0.0, 0.0, {}, 0)

    found = list(sharing.shared(lambda function, given: map(function, given), built, tasks))
    assert calls == [0, 2]
    assert [(type(each).__name__, each.shard, each.samples) for each in found] == [
        ("ShardResult", 0, 8), ("Elsewhere", 1, 8), ("ShardResult", 2, 8),
    ]  # fmt: skip


def test_builders_begin_at_different_ends(planned: Planned) -> None:
    build, source = planned.build(), planned.source(print)
    tasks = [planned.task(build, source, k) for k in range(SHARDS)]

    def order() -> list[int]:
        return [task.shard for task in sharing.in_order(tasks)]

    assert order() == list(range(SHARDS))
    foreign(build, 0)
    assert order() == list(reversed(range(SHARDS)))
    foreign(build, 11, process=8)
    assert sorted(order()) == list(range(SHARDS))
