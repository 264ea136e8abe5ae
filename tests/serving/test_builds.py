"""Builds on demand without HTTP: the queue, who computes, and what is left after each end.

A stand-in for the pipeline copies stores that are made already; with the pipeline itself see
`test_builds_pipeline`.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from pi_cache import files
from pi_cache.errors import BuilderNotInstalled, StorageFull
from pi_cache.keeping.space import set_budget
from pi_cache.serving.builds import child, desk
from pi_cache.serving.builds.progress import Meter, Progress
from pi_cache.serving.builds.quotas import check_hour, check_room
from pi_cache.serving.builds.records import (
    Book,
    OutcomeRecord,
    RequestRecord,
    ResolutionRecord,
    moment,
    new_id,
)
from pi_cache.serving.builds.refusals import BuildRefused
from pi_cache.serving.builds.runs import LocalRun
from pi_cache.serving.builds.settings import BuildSettings, Quotas
from pi_cache.serving.builds.sources import ListedSource
from pi_cache.serving.builds.tickets import Ticket
from tests.pi_cache.made import begin_store, fill_store, make_spec
from tests.serving import builds_lab
from tests.serving.builds_lab import (
    Lab,
    StandIn,
    ask,
    begun,
    check_store,
    child_of,
    ended,
    finished,
    is_gone,
    made_stores,
    running,
    shards_done,
    wait,
)

SMALL, OTHER = ({"source": "digits", "limit": limit} for limit in (20, 21))
WRONG = {**SMALL, "recipe": "nope"}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_stores(tmp_path_factory.mktemp("stores"))


@pytest.fixture
def stand_in(stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The stand-in, installed as what builds."""
    folder = tmp_path / "made"
    folder.symlink_to(stores)
    entry = EntryPoint(child.ENTRY, "tests.serving.stand_in:resolve", child.GROUP)
    monkeypatch.setattr(child, "entry_points", lambda **named: [entry])
    found = StandIn(folder)
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def lab(tmp_path: Path, stand_in: StandIn) -> Iterator[Lab]:
    yield from builds_lab.lab(tmp_path / "root")


def test_a_store_is_built_once_for_all_who_ask(lab: Lab) -> None:
    builds = lab.start()
    first, again = ask(builds, SMALL), ask(builds, SMALL)
    theirs, other = ask(builds, SMALL, "bob"), ask(builds, {**SMALL, "image": {}})
    assert again is first and len({first.id, theirs.id, other.id}) == 3
    keys = {finished(builds, ticket) for ticket in (first, theirs, other)}
    assert keys == {make_spec(20).key} and lab.started() == 1
    check_store(builds, first, 20)
    assert finished(builds, ask(builds, SMALL)) in keys and lab.started() == 1


def test_who_asked_for_a_store_may_read_it_once_it_is_finished(lab: Lab, stand_in: StandIn) -> None:
    stand_in.wait(60)
    builds = lab.start()
    ticket, wrong = ask(builds, SMALL), ask(builds, WRONG)
    wait(lambda: running(builds, ticket))
    assert ticket.key not in builds.granted("alice")
    os.kill(child_of(builds, ticket), signal.SIGKILL)
    stand_in.wait(0)
    finished(builds, ticket)
    assert ended(builds, wrong)["state"] == "failed"
    assert ticket.key in builds.granted("alice") and ticket.key not in builds.granted("bob")


def test_builds_wait_for_their_turn(lab: Lab, stand_in: StandIn) -> None:
    stand_in.wait(60)
    builds = lab.start()
    first, second = ask(builds, SMALL), ask(builds, OTHER)
    wait(lambda: builds.is_queued(first) and builds.is_queued(second))
    wait(lambda: builds.counts()["running"] == 1)
    states = {builds.status(ticket)["state"] for ticket in (first, second)}
    positions = {builds.status(ticket)["position"] for ticket in (first, second)}
    assert states == {"running", "queued"} and positions == {None, 1}
    assert builds.counts()["running"] == builds.counts()["queued"] == 1


def test_two_builds_at_a_time_where_that_is_said(lab: Lab, stand_in: StandIn) -> None:
    stand_in.wait(60)
    builds = lab.start(builds=2)
    tickets = [ask(builds, SMALL), ask(builds, OTHER)]
    wait(lambda: all(running(builds, ticket) for ticket in tickets))


def test_progress_is_that_of_the_ledger(tmp_path: Path) -> None:
    spec, now = make_spec(20), [0.0]
    meter = Meter(tmp_path, [spec.key], 20, {"shards": 5, "seconds": 40.0}, lambda: now[0])

    def read(seconds: float) -> Progress:
        now[0] += seconds
        return meter.read()

    meter.start()
    assert read(0) == Progress(
        phase="starting", shards_done=0, shards=5, samples_done=0, samples=20, seconds_left=40.0
    )
    build = begin_store(tmp_path, spec)
    assert (read(1).phase, read(0).shards) == ("computing", 3)
    fill_store(build)
    (build.path / "manifest.json").unlink()
    build.record_path(2).rename(tmp_path / "last")
    half = read(3)
    assert (half.phase, half.shards_done, half.samples_done) == ("computing", 2, 16)
    assert half.rate == 4.0 and half.seconds_left == 1.0  # 16 samples in 4 seconds, 4 are left
    assert read(0.1) is half  # the disk is not read for each who asks
    (tmp_path / "last").rename(build.record_path(2))
    assert read(1).phase == "finishing"
    fill_store(build)
    assert (read(1).phase, read(0).seconds_left) == ("done", 0.0)


def test_a_token_may_have_asked_for_enough(lab: Lab) -> None:
    builds = lab.start(quotas=Quotas(open=1, hourly=2))
    first = ask(builds, WRONG)
    with pytest.raises(BuildRefused, match="1 may be open at a time") as refused:
        ask(builds, {**WRONG, "limit": 8})
    assert refused.value.status == 429
    other = ask(builds, {**WRONG, "limit": 8}, "bob")
    ended(builds, first), ended(builds, other)
    ended(builds, ask(builds, {**WRONG, "limit": 9}))
    with pytest.raises(BuildRefused, match=r"2 requests within an hour.* again in") as refused:
        ask(builds, {**WRONG, "limit": 10})
    assert refused.value.status == 429


def test_all_tokens_together_may_have_asked_for_enough(lab: Lab) -> None:
    builds = lab.start(quotas=Quotas(waiting=1))
    ask(builds, WRONG)
    with pytest.raises(BuildRefused, match="1 requests wait already") as refused:
        ask(builds, WRONG, "bob")
    assert refused.value.status == 429


def test_what_is_too_large_is_refused_with_the_numbers(lab: Lab, tmp_path: Path) -> None:
    builds = lab.start(quotas=Quotas(samples=20, bytes=10_000))
    many, large = ask(builds, OTHER), ask(builds, SMALL)
    assert "21 samples, and 20 may be asked for" in ended(builds, many)["error"]
    assert "take about 90.0 kB, and 10.0 kB may be" in ended(builds, large)["error"]
    assert [t.outcome and t.outcome.status for t in (many, large)] == [413, 413]
    set_budget(tmp_path / "other", 100_000)
    full = lab.start(root=tmp_path / "other")
    assert ended(full, ask(full, SMALL))["state"] == "finished"
    ticket = ask(full, OTHER)
    told = ended(full, ticket)
    assert "needs about 90.0 kB" in told["error"] and "this root is 100" in told["error"]
    assert ticket.outcome is not None and ticket.outcome.status == 507
    assert str(tmp_path) not in told["error"]


def test_room_is_promised_once(lab: Lab, stand_in: StandIn) -> None:
    stand_in.wait(60)
    set_budget(lab.root, 100_000)
    builds = lab.start()
    first = ask(builds, SMALL)
    wait(lambda: builds.is_queued(first))
    told = ended(builds, ask(builds, OTHER))
    assert "needs about 180.0 kB" in told["error"]
    assert "90.0 kB of them for builds that wait" in told["error"]


def test_a_build_that_waits_or_runs_can_be_cancelled(lab: Lab, stand_in: StandIn) -> None:
    stand_in.wait(0.3)
    builds = lab.start()
    runs = ask(builds, SMALL)
    process = child_of(builds, runs)
    waits = ask(builds, OTHER)
    wait(lambda: builds.is_queued(waits) and shards_done(builds, runs))
    builds.desk.cancel(waits)
    assert builds.status(waits)["state"] == "cancelled"
    builds.desk.cancel(runs)
    builds.desk.cancel(runs)
    wait(lambda: is_gone(process))
    assert builds.counts()["running"] == builds.counts()["queued"] == 0
    assert not (builds.root / "stores" / str(runs.key) / "manifest.json").exists()
    assert not (builds.root / "stores" / str(waits.key)).exists()
    finished(builds, ask(builds, SMALL))
    check_store(builds, runs, 20)
    assert begun(stand_in.marks).count(0) == 1, "what was done is kept"


def test_a_request_that_is_looked_into_can_be_cancelled(lab: Lab) -> None:
    builds = lab.start()
    ticket = ask(builds, SMALL)
    builds.desk.cancel(ticket)
    wait(lambda: not builds._resolvers)
    assert builds.status(ticket)["state"] == "cancelled" and not builds._jobs


def test_a_build_that_others_want_too_goes_on(lab: Lab) -> None:
    builds = lab.start()
    mine, theirs = ask(builds, SMALL), ask(builds, SMALL, "bob")
    builds.desk.cancel(mine)
    finished(builds, theirs)
    assert builds.status(mine)["state"] == "cancelled"
    assert mine.key not in builds.granted("alice")


def test_a_process_that_is_killed_is_followed_by_another(lab: Lab, stand_in: StandIn) -> None:
    stand_in.wait(0.3)
    builds = lab.start()
    ticket = ask(builds, SMALL)
    process = child_of(builds, ticket)
    wait(lambda: shards_done(builds, ticket))
    os.kill(process, signal.SIGKILL)
    finished(builds, ticket)
    check_store(builds, ticket, 20)
    assert any("ended by signal 9; again" in note for note in lab.notes)
    assert begun(stand_in.marks).count(0) == 1, "what was recorded is not computed again"


def test_a_process_that_is_killed_each_time_fails_with_the_remedy(
    lab: Lab, stand_in: StandIn
) -> None:
    stand_in.wait(60)
    builds = lab.start()
    ticket = ask(builds, SMALL)
    for times in range(1, 4):
        wait(lambda times=times: len(begun(stand_in.marks)) == times)
        os.kill(child_of(builds, ticket), signal.SIGKILL)
    told = ended(builds, ticket)
    assert told["state"] == "failed" and "ended by signal 9, 3 times in all" in told["error"]
    assert "fewer --workers" in told["error"]
    stand_in.wait(0)
    finished(builds, ask(builds, SMALL))


def test_a_failure_is_told_without_paths_and_kept_whole(lab: Lab, stand_in: StandIn) -> None:
    builds = lab.start()
    stand_in.fail(f"{lab.root}/stores: too little room; see /home/kim/notes.txt")
    ticket = ask(builds, SMALL)
    told = ended(builds, ticket)
    assert told["error"] == "the cache/stores: too little room; see .../notes.txt"
    outcome = builds.desk.book.outcome(ticket.id)
    assert outcome is not None and outcome.details.startswith("a warning\npipeline: /")
    stand_in.fail(None)
    finished(builds, ask(builds, SMALL))


def test_a_sentence_names_the_source_that_was_asked_for(tmp_path: Path) -> None:
    options = {"sample": "signal", "labels": "/data/two words/y.npy"}
    listed = {
        name: ListedSource(name=name, text="array:/data/x y.npy", options=options)
        for name in ("mine", "theirs")
    }
    found = desk.Desk(tmp_path, BuildSettings(sources=listed), lambda key: False, lambda text: None)
    said = "array:/data/x y.npy and /data/two words/y.npy differ"
    assert found.told(said, "mine") == "array:mine and .../y.npy differ"
    assert found.told(said, "theirs") == "array:theirs and .../y.npy differ"


def test_what_is_open_is_taken_up_again(lab: Lab, stand_in: StandIn) -> None:
    stand_in.wait(0.3)
    before = lab.start()
    runs = ask(before, SMALL)
    process = child_of(before, runs)
    waits = ask(before, OTHER, "bob")
    wait(lambda: before.is_queued(waits) and shards_done(before, runs))
    before.stop()
    assert is_gone(process) and runs.is_open and waits.is_open
    after = lab.start()
    again = [after.desk.find(ticket.id) for ticket in (runs, waits)]
    assert [finished(after, ticket) for ticket in again if ticket] == [runs.key, waits.key]
    check_store(after, runs, 20)
    assert begun(stand_in.marks).count(0) == 2, "shard 0 of each store, once"
    last = lab.start()  # what has ended stays ended, and what it grants stays granted
    assert last.counts()["finished"] == 2 and waits.key in last.granted("bob")


def test_a_source_that_is_offered_no_more_fails_what_waited_for_it(lab: Lab) -> None:
    record = RequestRecord(id=new_id(), token="alice", document=SMALL, created=moment())
    Book(lab.root).publish(record)
    builds = lab.start("hands=digits")
    ticket = builds.desk.find(record.id)
    assert ticket is not None
    assert "no source 'digits' here; sources: hands" in ended(builds, ticket)["error"]


def test_two_services_of_one_root_see_each_other(lab: Lab, stand_in: StandIn) -> None:
    stand_in.wait(60)
    one, two = lab.start(), lab.start()
    ticket = ask(one, SMALL)
    process = child_of(one, ticket)
    theirs = two.desk.find(ticket.id)
    assert theirs is not None and theirs is not ticket
    wait(lambda: running(two, theirs))
    two.desk.cancel(theirs)
    wait(lambda: is_gone(process))
    assert ended(one, ticket)["state"] == "cancelled"
    stand_in.wait(0)
    first, second = ask(one, SMALL), ask(two, SMALL, "bob")
    assert finished(one, first) == finished(two, second)
    check_store(one, first, 20)
    wait(lambda: first.key in two.granted("alice"))


def test_a_build_that_cannot_be_followed_fails_alone(
    lab: Lab, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poll(run: LocalRun) -> None:
        raise ValueError("no JSON")

    stand_in.wait(60)
    builds = lab.start()
    with monkeypatch.context() as patch:
        patch.setattr(LocalRun, "poll", poll)
        told = ended(builds, ask(builds, SMALL))
    assert told["state"] == "failed" and "could not be followed" in told["error"]
    stand_in.wait(0)
    finished(builds, ask(builds, SMALL))


def test_an_outcome_that_finds_no_room_is_written_later(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = lab.start()
    publish, full = files.publish, [True]

    def no_room(path: Path, *arguments: Any, **named: Any) -> None:
        if full[0] and path.name.endswith("outcome.json"):
            raise StorageFull(28, f"{path}: no room")
        publish(path, *arguments, **named)

    monkeypatch.setattr(files, "publish", no_room)
    ticket = ask(builds, SMALL)
    finished(builds, ticket)
    assert builds.desk.book.outcome(ticket.id) is None
    full[0] = False
    wait(lambda: builds.desk.book.outcome(ticket.id))


def test_a_full_disk_refuses_the_request_itself(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = lab.start()

    def no_room(path: Path, *arguments: Any, **named: Any) -> None:
        raise StorageFull(28, f"{path}: no room")

    monkeypatch.setattr(files, "publish", no_room)
    with pytest.raises(StorageFull, match="no room"):
        ask(builds, SMALL)
    assert not builds.desk.tickets()


def test_nothing_is_built_without_the_pipeline(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "entry_points", lambda **named: [])
    with pytest.raises(BuilderNotInstalled, match=r'pip install "pi-cache\[pipeline\]"'):
        ask(lab.start(), SMALL)


def test_requests_are_remembered_sealed(tmp_path: Path) -> None:
    book = Book(tmp_path)
    record = RequestRecord(id=new_id(), token="é", document={"a": [1]}, created=moment())
    book.publish(record)
    assert book.ids() == [record.id] and book.request(record.id) == record
    lost = OutcomeRecord(id=record.id, state="failed", status=500, error="no")
    assert book.publish(lost) == lost
    assert book.publish(OutcomeRecord(id=record.id, state="finished")) == lost, "the first one wins"
    place = tmp_path / "requests" / f"{record.id}.json"
    place.write_bytes(place.read_bytes().replace("é".encode(), "è".encode()))
    assert book.request(record.id) is None, "damaged"
    place.unlink()
    book.sweep()
    assert list((tmp_path / "requests").iterdir()) == []


def test_old_requests_are_forgotten_but_those_that_grant(lab: Lab) -> None:
    builds = lab.start(keep=0.0)
    tickets: list[Ticket] = []
    for document in (SMALL, WRONG, SMALL):
        tickets.append(ask(builds, document))
        ended(builds, tickets[-1])
    newest = tickets[-1].id
    builds.desk.collect()
    assert [ticket.id for ticket in builds.desk.tickets()] == [newest] == builds.desk.book.ids()
    left = {path.name.partition(".")[0] for path in (builds.root / "requests").iterdir()}
    assert left == {newest}
    shutil.rmtree(builds.root / "stores" / str(tickets[0].key))
    builds.desk.collect()
    assert builds.desk.book.ids() == []


def test_a_token_leaves_only_so_many_requests_behind(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "KEPT", 1)
    book, old = Book(lab.root), "2026-01-01T00:00:00+00:00"
    moments = [old, old, old, moment(), moment()]
    records = [
        RequestRecord(id=new_id(), token=token, document=WRONG, created=created)
        for token in ("alice", "bob")
        for created in moments[: 5 if token == "alice" else 1]
    ]
    for record in records:
        book.publish(record)
        book.publish(OutcomeRecord(id=record.id, state="failed", status=422, ended=moment()))
    builds = lab.start()
    builds.desk.collect()
    assert {ticket.id for ticket in builds.desk.tickets()} == {r.id for r in records[3:]}


def test_a_store_that_is_gone_is_granted_no_more(lab: Lab) -> None:
    builds = lab.start(keep=0.0)
    key = finished(builds, ask(builds, SMALL))
    builds.desk.collect()
    assert key in builds.granted("alice")
    shutil.rmtree(builds.root / "stores" / key)
    builds.desk.collect()
    assert key not in builds.granted("alice")


def test_a_request_that_appears_while_others_are_swept_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, listing = Book(tmp_path), files.listing
    record = RequestRecord(id=new_id(), token="", document=SMALL, created=moment())

    def slow(folder: Path) -> list[Path]:
        found = listing(folder)
        if not (folder / f"{record.id}.json").exists():
            book.publish(record)
        return found

    monkeypatch.setattr(files, "listing", slow)
    book.sweep()
    assert book.request(record.id) == record


def test_a_clock_that_was_set_back_shuts_nobody_out() -> None:
    record = RequestRecord(
        id=new_id(), token="alice", document=SMALL, created="2999-01-01T00:00:00+00:00"
    )
    check_hour([Ticket(record)], "alice", Quotas(hourly=1))


def test_a_damaged_outcome_holds_up_nothing(lab: Lab) -> None:
    first = lab.start()
    ticket = ask(first, WRONG)
    ended(first, ticket)
    first.stop()
    (lab.root / "requests" / f"{ticket.id}.outcome.json").write_bytes(b"{")
    again = lab.start()
    taken_up = again.desk.find(ticket.id)
    assert taken_up is not None and ended(again, taken_up)["state"] == "failed"
    wait(lambda: not taken_up.unsaved)
    assert sum("is not kept" in note for note in lab.notes) == 1


def test_a_build_of_unknown_size_is_taken_for_its_images(tmp_path: Path) -> None:
    spec = make_spec(20)
    found = ResolutionRecord(
        id=new_id(), key=spec.key, source="digits", spec=spec.to_document(), stores={spec.key: 0}
    )
    size = 20 * spec.image.pixels**2 * 2
    assert found.adds == (size, 1)
    check_room(found, [], tmp_path, Quotas(bytes=size))
    with pytest.raises(BuildRefused, match="may be asked for at a time"):
        check_room(found, [], tmp_path, Quotas(bytes=size - 1))


def test_nothing_is_left_of_a_child_that_is_stopped(lab: Lab, stand_in: StandIn) -> None:
    stand_in.wait(60)
    builds = lab.start()
    ticket = ask(builds, SMALL)
    process = child_of(builds, ticket)
    run = builds._jobs[str(ticket.key)].run
    assert isinstance(run, LocalRun) and run.poll() is None
    began = time.monotonic()
    builds.stop()
    assert is_gone(process) and time.monotonic() - began < builds_lab.PATIENCE
