"""A run that was killed goes on, and gives to the last bit what an undisturbed one gives."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from pi_cache.errors import (  # noqa: E402
    AlreadyPublished,
    InvalidSpec,
    UnsupportedFormat,
    WrittenMeanwhile,
)
from tests.training.killed_runs import KINDS, given  # noqa: E402
from tests.training.made_runs import (  # noqa: E402
    augmented,
    config,
    distilled,
    make_signals,
    open_signals,
    supervised,
)
from training.trainer.folder import Place, RunFolder  # noqa: E402
from training.trainer.loop import train  # noqa: E402
from training.trainer.progress import Progress  # noqa: E402
from training.trainer.run import Run, conditions  # noqa: E402
from training.trainer.state import DamagedState, State, read_state, write_state  # noqa: E402
from training.trainer.stepper import Stepper  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]
COUNTS = {"sgd": 0, "adam": 3, "float16": 3, "rarely": 4}
"""How many kill points of each kind; 0 for every one after which the folder differs."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_signals(tmp_path_factory.mktemp("신호"))


@pytest.fixture(scope="module")
def killed(store: Any, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What every killed run gave."""
    folder = tmp_path_factory.mktemp("killed")
    asked = [f"{kind}:{count}" for kind, count in COUNTS.items()]
    command = [sys.executable, "-m", "tests.training.killed_runs", store.path, folder, *asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_gives_the_same_bits(kind: str, killed: list[dict[str, Any]]) -> None:
    """Momentum, Adam, dropout, norms, a projector, augmentation, a scaler, the best so far."""
    runs = [run for run in killed if run["kind"] == kind]
    assert len(runs) > (COUNTS[kind] or 15)
    assert [run for run in runs if run["differs"]] == []
    assert len(runs[-1]["killed"]) >= 2, "the last run is killed again and again"


def test_nothing_but_the_result_is_left(store: Any, tmp_path: Path) -> None:
    objective, model = supervised(open_signals(store))
    train(objective, open_signals(store), config(), tmp_path, model=model, tensorboard=False)
    names = ["best.safetensors", "last.safetensors", "log.jsonl", "result.json", "run.json"]
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == names


def test_states_are_two_while_it_runs(store: Any, tmp_path: Path) -> None:
    seen = []

    def look(text: str) -> None:
        seen.append(sorted(path.name for path in tmp_path.glob("state-*")))

    objective, model = supervised(open_signals(store))
    train(objective, open_signals(store), config(epochs=4), tmp_path, model=model, say=look)
    assert seen[1:] == [[f"state-{i:04d}.safetensors" for i in (k, k + 1)] for k in (1, 2, 3)]


def test_a_run_that_ended_is_told_again(store: Any, tmp_path: Path) -> None:
    task, said = open_signals(store), list[str]()
    objective, model = supervised(task)
    first = train(objective, task, config(), tmp_path, model=model)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.*")}
    objective, model = supervised(task)
    assert train(objective, task, config(), tmp_path, model=model, say=said.append) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.*")} == before
    assert "ended before, after 3 epochs" in said[0]


def test_another_run_is_refused_with_the_differences(store: Any, tmp_path: Path) -> None:
    task = open_signals(store)
    objective, model = supervised(task)
    train(objective, task, config(), tmp_path, model=model, record={"provenance": "a"})
    before = (tmp_path / "run.json").read_bytes()
    objective, model = supervised(task)
    with pytest.raises(AlreadyPublished, match=r"config\.learning_rate is 0\.05 there and 0\.1"):
        train(objective, task, config(learning_rate=0.1), tmp_path, model=model)
    objective, model = supervised(task, seed=1)
    with pytest.raises(AlreadyPublished, match=r"objective\.start is"):
        train(objective, task, config(), tmp_path, model=model)
    assert (tmp_path / "run.json").read_bytes() == before
    objective, model = supervised(task)  # another command, the same run
    train(objective, task, config(), tmp_path, model=model, record={"provenance": "b"})


SPEC = {"stores": {"pi": "a"}, "arrays": {}, "folds": "f.json", "fold": "1", "root": "here"}
MOVED = {"stores": {"pi": "b"}, "folds": "g.json", "root": "there"}
KNOWN = {"data": SPEC, "stores": {"pi": "key"}, "files": {"pi": "digest"}, "digests": {}}
GIVEN = {"name": "a:best", "sha256": "s", "spec_digest": None}
RECORD = {"identity": {}, "spec": 1, "teachers": [GIVEN], "provenance": 1, "not_checked": ["a"]}
NAMES = {"root": "1", "folds": "2", "name": "3", "sha256": "4", "identity": "5", "spec": "6"}
SAME = [  # a document and what may be otherwise in it
    ({"data": KNOWN}, {"data": {**KNOWN, "data": {**SPEC, **MOVED}}}),
    ({"record": {"provenance": 1}}, {"record": {"provenance": 2, "not_checked": ["b"]}}),
    (
        {"data": KNOWN, "record": RECORD},
        {
            "data": {**KNOWN, "data": {**SPEC, "arrays": {"own": "moved.npz"}}},
            "record": {**RECORD, "spec": 2, "teachers": [{**GIVEN, "name": "b:best"}]},
        },
    ),
    (
        {"data": KNOWN, "record": {"n": {"data": SPEC}}},
        {"data": KNOWN, "record": {"n": {"data": {**SPEC, **MOVED}}}},
    ),
]
OTHER = [  # and what may not
    ({"data": KNOWN}, {"data": {**KNOWN, "stores": {"pi": "other"}}}),
    ({"data": KNOWN}, {"data": {**KNOWN, "data": {**SPEC, "arrays": {"own": "a.npz"}}}}),
    ({"data": {"data": SPEC}}, {"data": {"data": {**SPEC, **MOVED}}}),  # no digests beside
    ({"record": RECORD}, {"record": {**RECORD, "teachers": [{**GIVEN, "sha256": "t"}]}}),
    *(
        ({"data": {**KNOWN, "files": NAMES}}, {"data": {**KNOWN, "files": {**NAMES, name: "0"}}})
        for name in NAMES
    ),
    *(({"record": {**NAMES}}, {"record": {**NAMES, name: "0"}}) for name in NAMES),
]


@pytest.mark.parametrize(
    ("found", "wanted", "same"),
    [*((*case, True) for case in SAME), *((*case, False) for case in OTHER)],
)
def test_places_are_not_compared_where_digests_are(
    tmp_path: Path, found: dict[str, Any], wanted: dict[str, Any], same: bool
) -> None:
    RunFolder(tmp_path).begin(found)
    if same:
        RunFolder(tmp_path).begin(wanted)
    else:
        with pytest.raises(AlreadyPublished, match="holds another run"):
            RunFolder(tmp_path).begin(wanted)


class Stopped(Exception):
    """What a run is stopped by."""


def stop_after(epoch: int) -> Callable[[str], None]:
    """Stops a run once it has said what an epoch gave."""

    def say(text: str) -> None:
        if text.startswith(f"epoch {epoch} of"):
            raise Stopped(f"after epoch {epoch}")

    return say


def test_waiting_is_the_time_until_a_batch_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("training.trainer.run.time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def loader() -> Iterator[int]:
        for number in range(3):
            clock[0] += 2.0
            yield number

    run: Any = SimpleNamespace(loader=loader(), progress=Progress(waiting=1.0))
    for _ in Run._waited(run):
        clock[0] += 5.0  # a step
    assert run.progress.waiting == 1.0 + 3 * 2.0, "added to what was waited before a kill"


@pytest.mark.parametrize("told", [True, False])
def test_an_epoch_cut_in_two_waited_in_both_parts(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """Where the state of the first part is of older code, nobody knows how long it waited."""
    task, step, steps = open_signals(store), Stepper.step, list[int]()

    def stop(self: Stepper, *arguments: Any, **named: Any) -> None:
        steps.append(1)
        if len(steps) == 3:
            raise Stopped("in the first epoch")
        step(self, *arguments, **named)

    with monkeypatch.context() as patched, pytest.raises(Stopped, match="in the first"):
        patched.setattr(Stepper, "step", stop)
        objective, model = supervised(task)
        train(objective, task, config(save_steps=1), tmp_path, model=model)
    *_, newest = sorted(tmp_path.glob("state-*"))
    state = read_state(newest)
    assert 0 < state.values.pop("waiting") < state.values["seconds"]
    changed = state.values if not told else {**state.values, "waiting": 1e3}
    newest.unlink()
    write_state(newest, State(changed, state.tensors), temporary=tmp_path)
    objective, model = supervised(task)
    train(objective, task, config(save_steps=1), tmp_path, model=model)
    log = (tmp_path / "log.jsonl").read_text().splitlines()
    waited = [json.loads(line)["waiting_seconds"] for line in log]
    whole = json.loads((tmp_path / "result.json").read_text())["waiting_seconds"]
    assert all(0 < seconds < 1e3 for seconds in waited[1:])
    assert (waited[0] > 1e3 and whole > 1e3) if told else waited[0] is whole is None


@pytest.mark.parametrize("begun", [True, False])
def test_another_transform_is_refused(store: Any, tmp_path: Path, begun: bool) -> None:
    task = open_signals(store)
    for augments, error, match in (
        (begun, Stopped, "after epoch 1"),
        (not begun, InvalidSpec, "the transform of this run had a state of"),
    ):
        objective, model = supervised(task)
        with pytest.raises(error, match=match):
            train(
                objective,
                task,
                config(),
                tmp_path,
                model=model,
                transform=augmented(store) if augments else None,
                say=stop_after(1),
            )


def test_a_run_that_another_process_has_ended_is_refused(store: Any, tmp_path: Path) -> None:
    task = open_signals(store)

    def other(text: str) -> None:
        if text.startswith("epoch 1 of"):
            objective, model = supervised(task)
            train(objective, task, config(), tmp_path, model=model)

    objective, model = supervised(task)
    with pytest.raises(WrittenMeanwhile, match=r"result\.json was written by another process"):
        train(objective, task, config(), tmp_path, model=model, say=other)
    assert given(tmp_path)["result"]["epochs"] == len(given(tmp_path)["log"]) == 3


def test_a_process_behind_another_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save(Place(3, 0), State({"of": "one"}))
    with pytest.raises(WrittenMeanwhile, match=r"state-0003\S+ was written by another process"):
        folder.save(Place(1, 2), State({"of": "another"}))
    with pytest.raises(WrittenMeanwhile, match=r"state-0003\S+ was written by another process"):
        folder.save(Place(3, 0), State({"of": "another"}))
    assert [path.name for path in tmp_path.glob("*.*")] == ["state-0003.safetensors"]
    assert read_state(tmp_path / "state-0003.safetensors").values == {"of": "one"}


def test_what_may_change_the_last_digits_is_said(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, said = open_signals(store), list[str]()
    objective, model = supervised(task)
    with pytest.raises(Stopped, match="after epoch 1"):
        train(objective, task, config(), tmp_path, model=model, say=stop_after(1))
    now = {**conditions(), "threads": "99"}
    monkeypatch.setattr("training.trainer.run.conditions", lambda: now)
    objective, model = supervised(task)
    train(objective, task, config(), tmp_path, model=model, say=said.append)
    assert f"undisturbed run: threads {torch.get_num_threads()} is now 99" in said[1]


def test_every_changed_bit_of_a_state_is_noticed(tmp_path: Path) -> None:
    state = State({"epochs": 3, "lines": [{"걸음": 0.5}]})
    state.put("network", {"weight": torch.rand(3, 5), "count": torch.tensor(7)})
    path = tmp_path / "state-0003.safetensors"
    write_state(path, state, temporary=tmp_path)
    assert read_state(path).values == state.values
    data = path.read_bytes()
    for place in range(len(data)):
        bit = 1 << place % 8
        path.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
        try:
            found = read_state(path)
        except DamagedState:
            continue
        # Of its own digest's name, or of spaces between: what counts is the same.
        assert found.values == state.values
        assert all(torch.equal(found.tensors[n], value) for n, value in state.tensors.items())


def test_a_state_of_another_release_is_left_where_it_is(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_state(
        tmp_path / "state-0003.safetensors",
        State({"format_version": 2}),
        temporary=folder.temporary,
    )
    with pytest.raises(UnsupportedFormat, match="state format 2, this release reads 1; go on with"):
        folder.newest(print)
    assert (tmp_path / "state-0003.safetensors").exists()


def test_a_damaged_state_is_moved_away_and_the_one_before_it_taken(
    store: Any, tmp_path: Path
) -> None:
    task = open_signals(store)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    objective, model = distilled(task)
    settings = config(epochs=4)
    train(objective, task, settings, whole, model=model, transform=augmented(store))

    def damage(text: str) -> None:
        if text.startswith("epoch 3 of"):
            newest = broken / "state-0003.safetensors"
            newest.write_bytes(newest.read_bytes()[:-100])
            raise KeyboardInterrupt("stopped here")

    objective, model = distilled(task)
    with pytest.raises(KeyboardInterrupt, match="stopped here"):
        train(
            objective,
            task,
            settings,
            broken,
            model=model,
            transform=augmented(store),
            say=damage,
        )
    said = list[str]()
    objective, model = distilled(task)
    train(
        objective,
        task,
        settings,
        broken,
        model=model,
        transform=augmented(store),
        say=said.append,
    )
    assert any("going on after 2 epochs" in text for text in said), said
    found, expected = given(broken), given(whole)
    assert len(list((broken / "damaged").iterdir())) == 1
    assert [found[name] for name in ("log", "best", "last")] == [
        expected[name] for name in ("log", "best", "last")
    ]
