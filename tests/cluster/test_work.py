"""Elements without a batch system: parts, stealing, signals, crashes, and what is said of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pi_cache import files
from pi_cache.errors import (
    CorruptStore,
    InvalidSpec,
    SourceError,
    StoreNotFound,
    UnfinishedStore,
)
from pi_cache.reader import open_store
from pi_cache.specs import store
from pipeline.claims import claims_of
from pipeline.cluster import element
from pipeline.cluster.element import Element, Work
from pipeline.cluster.finishing import finish_plan, numbers_text
from pipeline.cluster.logs import log_lines
from pipeline.cluster.notes import (
    TRIES,
    Notebook,
    count_failures,
    failures_of,
    forget_failures,
    notes_of,
)
from pipeline.cluster.status import status_lines, status_of
from pipeline.cluster.worker import serve
from pipeline.cluster.workplan import (
    Planned,
    PlanNotFound,
    find_plan,
    part_of,
    read_plan,
    runs_of,
)
from tests.cluster.jobs_of_digits import SHARD, SHARDS, Trial, invoke, serial_digest
from tests.cluster.slurm_lab import wait_for

PATIENCE = 60.0


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    return serial_digest(tmp_path_factory.mktemp("serial"))


def worked(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and talk of a command."""
    _, said = process.communicate(timeout=PATIENCE)
    return process.returncode, said


def workers_of(process: int) -> list[int]:
    """The children of a process."""
    with suppress(OSError):
        return [int(k) for k in
                Path(f"/proc/{process}/task/{process}/children").read_text().split()]  # fmt: skip
    return []


def test_two_parts_compute_each_shard_once(digest: str, tmp_path: Path) -> None:
    trial = Trial(tmp_path, seconds=0.05)
    planned = trial.plan()
    both = [trial.start("work", str(planned.folder), "--part", f"{k}/2") for k in (1, 2)]
    assert [worked(each)[0] for each in both] == [0, 0]
    assert dict(trial.computed()) == dict.fromkeys(range(SHARDS), 1)
    told = invoke("finish", str(planned.folder), "--json")
    assert told["digest"] == digest and told["status"] == {"OK": 96}
    assert invoke("finish", str(planned.folder), "--json") == told, "finished twice is the same"


def test_a_part_takes_the_shards_of_parts_that_never_come(digest: str, tmp_path: Path) -> None:
    planned = Trial(tmp_path).plan()
    said: list[str] = []
    outcome = Element(planned, Work(part=3, parts=4, workers=2), said.append).run()
    assert (outcome.state, outcome.shards, outcome.samples) == ("done", SHARDS, 96)
    assert finish_plan(planned, print).manifest.digest == digest  # type: ignore[union-attr]
    (seen,) = notes_of(planned)
    assert seen.state == "done" and (seen.note.part, seen.note.parts) == (3, 4)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_an_element_within_seconds(number: signal.Signals, tmp_path: Path) -> None:
    trial = Trial(tmp_path, seconds=60, more={"PI_TEST_GRACE": "1"})
    planned = trial.plan()
    process = trial.start("work", str(planned.folder))
    wait_for(lambda: bool(trial.computed()), "a shard is in work", PATIENCE)
    workers = workers_of(process.pid)
    assert len(workers) == 1
    for worker in workers:  # as scancel does, which the worker leaves to its element
        os.kill(worker, signal.SIGTERM)
    told = time.monotonic()
    process.send_signal(number)
    code, said = worked(process)
    assert code == 130 and time.monotonic() - told < 6 * element.GRACE
    assert f"{number.name} came: no more shards are taken" in said
    (seen,) = notes_of(planned)
    assert (seen.state, seen.note.reason, seen.note.working) == (
        "stopped", f"{number.name} came", (),
    )  # fmt: skip
    assert claims_of(planned.build()) == {}
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert status_of(planned).missing == list(range(SHARDS))


def test_a_worker_ends_with_its_element(tmp_path: Path) -> None:
    trial = Trial(tmp_path, seconds=60)
    planned = trial.plan()
    process = trial.start("work", str(planned.folder))
    wait_for(lambda: bool(trial.computed()), "a shard is in work", PATIENCE)
    (worker,) = workers_of(process.pid)
    process.kill()
    process.communicate()
    wait_for(lambda: gone(worker), "its worker has ended")
    (seen,) = notes_of(planned)
    assert seen.state == "lost"
    assert claims_of(planned.build()) == {}, "the claim of a process that is gone counts no more"


def gone(process: int) -> bool:
    """Whether a process has ended, whether or not somebody waits for it."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_poisoned_shards_stop_no_other(digest: str, tmp_path: Path) -> None:
    trial = Trial(tmp_path, poison=(2,), error=(7,))
    planned = trial.plan()
    code, said = worked(trial.start("work", str(planned.folder)))
    assert code == 1 and "shards that failed too often: 2, 7; see pipeline logs '" in said
    begun = {2: TRIES + 1, 7: TRIES}  # by a worker, in a process of its own, and in two rescues
    assert trial.computed() == {k: begun.get(k, 1) for k in range(SHARDS)}
    assert count_failures(planned) == {2: TRIES, 7: TRIES}
    texts = {failure.error for failure in failures_of(planned)}
    assert "RuntimeError: the disk of this node is on fire" in texts
    assert any(text.startswith("its worker ended with exit status 9") for text in texts)
    assert status_of(planned).given_up == [2, 7]
    with pytest.raises(UnfinishedStore, match=r"2 of 12 shards are missing: 2, 7\n") as refused:
        finish_plan(planned, print, resubmit=3)
    assert "shard 7 failed on" in str(refused.value)
    assert "pipeline resubmit '" in str(refused.value)
    lines = list(log_lines(planned, failed=True, element=None))
    assert len(lines) == 2 * TRIES and lines[0].startswith("shard 2 failed at ")
    again = Element(planned, Work(part=1, parts=1), print).run()
    assert again.state == "failed" and again.given_up == (2, 7), "they are left alone"
    assert forget_failures(planned) == 2 * TRIES
    assert Element(planned, Work(part=1, parts=1), print).run().shards == 2
    assert finish_plan(planned, print).manifest.digest == digest  # type: ignore[union-attr]


def test_an_element_takes_no_shard_that_would_end_too_late(tmp_path: Path) -> None:
    planned = Trial(tmp_path).plan()
    outcome = Element(planned, Work(part=1, parts=1, seconds=0.001), print).run()
    assert outcome.state == "out of time" and outcome.shards == 0
    assert outcome.missing == tuple(range(SHARDS))
    (seen,) = notes_of(planned)
    assert seen.state == "out of time" and seen.note.reason.endswith("s of 0 s are over")


def array_plan(folder: Path, values: np.ndarray, *more: str) -> Planned:
    """A plan for the signals of a file."""
    np.savez(folder / "x.npz", data=values)
    words = ["submit", f"array:{folder / 'x.npz'}", "--sample", "signal", "--plan-only", "--json"]
    told = invoke(*words, "--cache", str(folder / "cache"), "--shard-samples", "8", *more)
    return read_plan(Path(told["plan"]))


def test_other_samples_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    planned = array_plan(tmp_path, rng.normal(size=(16, 30)))
    np.savez(tmp_path / "x.npz", data=rng.normal(size=(17, 30)))
    with pytest.raises(element.ElementFailed, match=r"has other samples than when .* was planned"):
        Element(planned, Work(part=1, parts=1), print).run()
    np.savez(tmp_path / "x.npz", data=rng.normal(size=(16, 30)))
    Element(planned, Work(part=1, parts=1), print).run()
    with pytest.raises(SourceError, match=r"has changed since .* was planned"):
        finish_plan(planned, print)
    assert not (planned.store() / "manifest.json").exists()


def test_samples_that_cannot_be_read_again_are_not_taken_for_unchanged(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """They may have changed before: the store of the old ones would hold shards of the new."""
    planned = array_plan(tmp_path, rng.normal(size=(16, 30)))
    np.savez(tmp_path / "x.npz", data=rng.normal(size=(16, 30)))
    Element(planned, Work(part=1, parts=1), print).run()
    (tmp_path / "x.npz").rename(tmp_path / "elsewhere.npz")
    with pytest.raises(SourceError, match=r"cannot be compared .*or add --skip-data-check if you"):
        finish_plan(planned, print)
    assert not (planned.store() / "manifest.json").exists()
    (tmp_path / "elsewhere.npz").rename(tmp_path / "x.npz")
    with pytest.raises(SourceError, match=r"has changed since .* was planned"):
        finish_plan(planned, print)
    (tmp_path / "x.npz").unlink()
    told = invoke("finish", str(planned.folder), "--skip-data-check", "--json")
    assert told["status"] == {"OK": 16}, "who says so is believed"


def test_a_release_that_computes_other_numbers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = Trial(tmp_path).plan()
    said: list[str] = []
    planned.check_release(said.append)
    assert said == [] and planned.plan.versions["pi-cache"]
    older = replace(planned.plan, versions={"pi-cache": "0.0.1", "zeus": "2"})
    replace(planned, plan=older).check_release(said.append)
    assert len(said) == 1
    assert said[0].startswith("note: planned with pi-cache 0.0.1, here ")
    assert said[0].endswith("zeus 2, here none; the algorithm is the same, so it goes on")
    monkeypatch.setitem(store.ALGORITHM_VERSIONS, ("native", "sublevel"), 99)
    (answer,) = serve(planned, iter(["never read"]))
    assert "computes by version 99, which gives other numbers; install one" in answer["unable"]


def test_a_worker_without_room_in_memory_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that its shard is tried in a process of its own, and searched."""
    planned = Trial(tmp_path).plan()

    def lacks(task: object) -> None:
        raise MemoryError("no room for an array")

    monkeypatch.setattr("pipeline.shard.build_shard", lacks)
    answers = serve(planned, iter(['{"shard": 0, "beside": false}']))
    assert next(answers) == {"ready": True}
    with pytest.raises(MemoryError, match="no room for an array"):
        next(answers)


def test_a_note_that_failed_but_is_there_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = Trial(tmp_path).plan()
    book, publish = Notebook(planned, 1, 1), Planned.publish

    def fails(planned: Planned, place: str, data: bytes) -> Path:
        publish(planned, place, data)
        raise OSError(5, "Input/output error")

    book.write(working=(1,))
    with monkeypatch.context() as patch:
        patch.setattr(Planned, "publish", fails)
        book.write(working=(2,))
    book.write(working=(3,))
    (seen,) = notes_of(planned)
    assert seen.note.working == (3,)


def test_gramian_fields_are_built_by_parts(tmp_path: Path, rng: np.random.Generator) -> None:
    np.savez(tmp_path / "x.npz", data=rng.normal(size=(20, 30, 2)))
    words = [f"array:{tmp_path / 'x.npz'}", "--sample", "signal", "--size", "12", "--json"]
    words += ["--dtype", "uint8", "--shard-samples", "8", "--cache"]
    root = str(tmp_path / "cache")
    dry = invoke("submit-gafs", *words, root, "--dry-run")
    assert dry["shards"] == 3 and not Path(root).exists()
    planned = read_plan(Path(invoke("submit-gafs", *words, root, "--plan-only")["plan"]))
    trial = Trial(tmp_path)
    both = [trial.start("work", str(planned.folder), "--part", f"{k}/2") for k in (1, 2)]
    assert [worked(each)[0] for each in both] == [0, 0]
    assert trial.computed() == dict.fromkeys(range(3), 1)
    assert invoke("status", str(planned.folder), "--json")["shards"]["done"] == 3
    told = invoke("finish", str(planned.folder), "--json")
    alone = invoke("build-gafs", *words, str(tmp_path / "alone"), "--executor", "serial")
    assert told["digest"] == alone["digest"] and told["key"] == alone["key"]
    assert invoke("submit-gafs", *words, root) == {"plan": None, "found": True}


def test_a_damaged_shard_is_found_and_computed_again(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    planned = array_plan(tmp_path, rng.normal(size=(16, 30)))
    Element(planned, Work(part=1, parts=1), print).run()
    (image,) = planned.store().glob("data.zarr/images/c.1.*")
    image.write_bytes(image.read_bytes()[:-1])
    with pytest.raises(UnfinishedStore, match="1 of 2 shards are missing: 1\n"):
        finish_plan(planned, print)
    assert Element(planned, Work(part=1, parts=1), print).run().shards == 1
    assert finish_plan(planned, print).manifest is not None


def test_a_plan_goes_on_from_what_is_there(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    first = trial.plan()
    assert first.plan.shards == ((0, SHARDS),)
    Element(first, Work(part=1, parts=1, seconds=0), print).run()
    invoke("build-pis", "digits", "--limit", "96", "--cache", str(trial.root), "--json")
    assert invoke(*trial.words(), "--plan-only") == {"plan": None, "found": True}
    manifest = open_store(first.store()).manifest
    for shard in (3, 4, 9):
        (first.store() / "ledger" / f"{shard:06d}.json").unlink()
    (first.store() / "manifest.json").unlink()
    second = trial.plan()
    assert second.plan.shards == ((3, 5), (9, 10))
    assert Element(second, Work(part=2, parts=2), print).run().shards == 3
    assert finish_plan(second, print).manifest.digest == manifest.digest  # type: ignore[union-attr]


def test_a_plan_is_found_by_folder_name_and_key(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    planned = trial.plan()
    key = planned.plan.spec["key"]
    ways = [planned.folder, planned.folder / "plan.json", planned.store()]
    for named in [*map(str, ways), planned.folder.name, key, key[:6]]:
        assert find_plan(named, trial.root).folder == planned.folder
    newer = trial.plan()
    os.utime(planned.folder / "plan.json", (0, 0))
    assert find_plan(key[:6], trial.root).folder == newer.folder
    with pytest.raises(PlanNotFound, match=r"no plan 'beef' under .*; `pipeline submit` writes"):
        find_plan("beef", trial.root)
    for short in ("", key[:3]):  # as of a variable of the shell that is not set
        with pytest.raises(PlanNotFound, match=f"no plan '{short}' under .* 4 or more letters"):
            find_plan(short, trial.root)
    with pytest.raises(PlanNotFound, match="no plan in"):
        read_plan(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(b'"samples": 96', b'"samples": 97'), "checksum does not match"),
        (lambda text: text[:-20], "not valid JSON"),
        (lambda text: b"[]", "not valid JSON"),
    ],
)
def test_a_damaged_plan_is_refused(
    change: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    place = Trial(tmp_path).plan().folder / "plan.json"
    place.write_bytes(change(place.read_bytes()))
    with pytest.raises(CorruptStore, match=f"plan.json: this plan of jobs .*{message}"):
        read_plan(place.parent)


def test_parts_are_neighbours_and_together_all() -> None:
    for count, parts in ((12, 5), (3, 7), (1000, 3)):
        numbers = list(range(5, 5 + count))
        found = [part_of(numbers, part, parts) for part in range(1, parts + 1)]
        assert [k for part in found for k in part] == numbers
        assert max(map(len, found)) - min(map(len, found)) <= 1
    assert runs_of([0, 1, 2, 5, 7, 8]) == ((0, 3), (5, 6), (7, 9))
    assert numbers_text([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
    assert numbers_text(range(0, 40, 2)).endswith("16, 18 and more, up to 38")


def test_status_says_what_each_shard_is(tmp_path: Path) -> None:
    planned = Trial(tmp_path).plan()
    Element(planned, Work(part=1, parts=1, seconds=0), print).run()
    book = Notebook(planned, 2, 3)
    book.write(working=(4,), samples=16, shards=2, elapsed=8.0)
    for shard, times in ((5, 1), (6, TRIES)):
        for _ in range(times):
            book.fail(shard, "no reason")
    found = status_of(planned)
    assert (found.running, found.failed, found.given_up) == ([4], [5, 6], [6])
    assert found.missing == [k for k in range(SHARDS) if k not in (4, 5, 6)]
    assert found.rate == 2.0 and found.seconds_left == 48.0
    lines = "\n".join(status_lines(found))
    assert "failed   2 shards (1 given up): 5-6" in lines
    assert "rate     2 samples/s, about 48.0 s left" in lines
    assert "elements 1 running" in lines
    json.dumps(found.to_dict())


def test_the_raw_images_of_dataset_max_come_first(tmp_path: Path) -> None:
    words = ["--limit", "16", "--cache", str(tmp_path), "--json"]
    with pytest.raises(InvalidSpec, match="needs the store of the raw images first"):
        invoke("submit", "digits", "--normalise", "dataset-max", "--plan-only", *words)
    assert not list(tmp_path.glob("stores/*"))
    invoke("build-pis", "digits", "--normalise", "none", "--dtype", "float32", *words)
    told = invoke("submit", "digits", "--normalise", "dataset-max", "--plan-only", *words)
    planned = read_plan(Path(told["plan"]))
    Element(planned, Work(part=1, parts=1), print).run()
    one = finish_plan(planned, print).manifest
    other = invoke("build-pis", "digits", "--normalise", "dataset-max", "--limit", "16",
                   "--cache", str(tmp_path / "other"), "--json")  # fmt: skip
    assert one is not None and one.digest == other["digest"]


def test_work_is_refused_in_words(tmp_path: Path) -> None:
    for words, message in (
        (["work", "beef", "--part", "0/2"], "is not I/N with I from 1 to N"),
        (["work", "beef", "--part", "3/2"], "is not I/N with I from 1 to N"),
        (["status", "beef"], "no plan 'beef'"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *words, "--cache", str(tmp_path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode in (1, 2) and message in done.stderr
        assert "Traceback" not in done.stderr


def test_a_signal_counts_where_the_time_is_over_too(tmp_path: Path) -> None:
    """One worker may still be at a shard when another one has no time for the next."""
    planned = Trial(tmp_path).plan()
    said: list[str] = []
    found = Element(planned, Work(part=1, parts=1, workers=2), said.append)
    found.state, found.signal = "out of time", signal.SIGTERM
    found._step()
    assert found.state == "stopped" and found.stopped
    assert said == ["SIGTERM came: no more shards are taken"]


def test_a_plan_for_what_is_tried_again_says_so(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    planned = read_plan(Path(invoke(*trial.words(), "--retry", "--plan-only")["plan"]))
    assert planned.task(planned.build(), planned.source(print), 0).retry
    planned = trial.plan()
    assert not planned.task(planned.build(), planned.source(print), 0).retry


def test_shards_that_are_missing_beside_those_of_the_plan_are_planned_anew(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    first = trial.plan()
    Element(first, Work(part=1, parts=1), print).run()
    (first.store() / "ledger" / "000003.json").unlink()
    second = trial.plan()
    (first.store() / "ledger" / "000007.json").unlink()
    Element(second, Work(part=1, parts=1), print).run()
    with pytest.raises(UnfinishedStore, match=r"none of them is of this plan: pipeline submit"):
        finish_plan(second, print, resubmit=1)


def test_a_store_that_was_begun_again_with_other_shards_is_of_another_plan(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    planned = trial.plan()
    shutil.rmtree(planned.store())
    with pytest.raises(StoreNotFound, match=r"was removed since .* was planned; submit the same"):
        status_of(planned)
    words = [word if word != str(SHARD) else "16" for word in trial.words()]
    newer = read_plan(Path(invoke(*words, "--plan-only")["plan"]))
    assert newer.plan.shard_samples == 16 and newer.build().shards == 6
    with pytest.raises(InvalidSpec, match="with 16 samples a shard and not 8; submit the same"):
        planned.build()


def test_a_log_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    planned = Trial(tmp_path).plan()
    (planned.logs / "5_1.out").mkdir()
    (planned.logs / "5_2.out").write_text("all is well\n")
    lines = list(log_lines(planned, failed=False, element=None))
    assert lines[1].startswith("(not read: ") and lines[3] == "all is well"


def test_who_may_only_read_is_told_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = Trial(tmp_path).plan()
    Notebook(planned, 1, 1).write(working=(4,))

    def refused(folder: Path) -> float:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "clock", refused)
    assert status_of(planned).running == [4]
