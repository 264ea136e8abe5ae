"""Runs that are killed: `python -m tests.training.killed_runs STORE FOLDER KIND:COUNT ...`.

One process makes the task, trains undisturbed, and forks a child for each other run, so that all
that torch imports on its way is imported once. A child counts what it does, calls of the file
system and steps, and kills itself at a number that it is given: SIGKILL, at an instant that is the
same on every machine. fsync is left out: a killed process loses nothing that it wrote.

For each of COUNT kill points (all of those after which the
folder differs, where COUNT is 0): a run is killed there, runs again to its end, and must have given
the same. Then one run is killed again and again, at numbers drawn at random, until it ends. Prints
a line of JSON for each: where it was killed, and in what it differs.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load

from pi_cache import Store, files, open_store
from pi_cache.system import System
from tests.training.made_runs import augmented, config, distilled, open_signals
from training.tasks import Task
from training.trainer.config import TrainConfig
from training.trainer.loop import train
from training.trainer.stepper import Stepper

TIMES = ("seconds", "waiting_seconds", "measuring_seconds", "samples_per_second")
MARKING = ("link", "unlink")
"""Calls after which a folder holds something else; between them a kill leaves what the last left,
beside a temporary."""
KINDS: dict[str, dict[str, Any]] = {
    "sgd": {"clip": 1.0, "schedule": "steps:0.5@1"},
    "adam": {"optimizer": "adam", "learning_rate": 0.01, "save_steps": 2},
    "float16": {"precision": "float16", "optimizer": "adamw", "learning_rate": 0.01},
    "rarely": {"save_every": 2, "save_steps": 3, "epochs": 5},
}


STEP = Stepper.step


class Events:
    """Counts what happens, and kills this process at one of them.

    at: the number of the event at which it is killed, None for never. kinds: of every event.
    """

    def __init__(self, at: int | None) -> None:
        self.at, self.kinds = at, list[str]()

    def __call__(self, kind: str) -> None:
        self.kinds.append(kind)
        if len(self.kinds) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


class Counted:
    """Calls of the file system, each an event before it is made."""

    def __init__(self, events: Events) -> None:
        self.events, self.system = events, System()

    def __getattribute__(self, name: str) -> Any:
        system = object.__getattribute__(self, "system")
        events = object.__getattribute__(self, "events")
        made = getattr(system, name)

        def call(*arguments: Any) -> Any:
            events(name)
            return None if name == "fsync" else made(*arguments)

        return call


def once(
    store: Store, task: Task, settings: TrainConfig, folder: Path, at: int | None
) -> list[str]:
    """Train in this process, which is killed at an event; else the kinds of all events."""
    events = Events(at)
    files.system = Counted(events)  # type: ignore[assignment]

    def counted(self: Stepper, *arguments: Any, **named: Any) -> None:
        events("step")
        STEP(self, *arguments, **named)

    Stepper.step = counted  # type: ignore[method-assign]
    objective, model = distilled(task)
    train(objective, task, settings, folder, model=model, transform=augmented(store))
    return events.kinds


def forked(*arguments: Any) -> bool:
    """Whether a run in a child came to its end; raises where it failed by itself."""
    return forked_with(once, *arguments)


def forked_with(function: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a function in a child came to its end; raises where it failed by itself."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function(*arguments)
            code = 0
        except BaseException:
            traceback.print_exc()  # else nobody would know why
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    assert status == 0, f"a run failed: {status}"
    return True


def given(folder: Path) -> dict[str, Any]:
    """All that a run gave, but times: its log, and both networks to the last bit."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    found: dict[str, Any] = {
        "log": [{k: v for k, v in line.items() if k not in TIMES} for line in lines]
    }
    for name in ("best", "last"):
        tensors = load((folder / f"{name}.safetensors").read_bytes())
        found[name] = {key: value.numpy().tobytes() for key, value in tensors.items()}
    result = json.loads((folder / "result.json").read_text())
    found["result"] = {k: v for k, v in result.items() if k not in TIMES}
    found["files"] = sorted(path.name for path in folder.rglob("*") if path.is_file())
    return found


def different(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """The names of what differs."""
    return [name for name in expected if found[name] != expected[name]]


def main(store: Path, folder: Path, kind: str, count: int) -> Iterator[dict[str, Any]]:
    """What each killed run gave, compared with the undisturbed one."""
    opened = open_store(store)
    task, settings = open_signals(opened), config(**KINDS[kind])
    once(opened, task, settings, folder / "whole", None)
    # The first reader of a store has more to check; children come later and find it checked.
    kinds = once(opened, task, settings, folder / "counted", None)
    expected = given(folder / "whole")
    points = [i for i, event in enumerate(kinds, start=1) if event in MARKING]
    draw = random.Random(kind)
    chosen = sorted(draw.sample(points, count)) if count else points
    for at in chosen:
        path = folder / f"at-{at}"
        assert not forked(opened, task, settings, path, at), f"{at} of {len(kinds)} events"
        assert forked(opened, task, settings, path, None)
        yield {"killed": [at], "differs": different(given(path), expected)}
    path, killed = folder / "again", []
    while True:
        # The first ones die early, the later ones later, so that it comes to an end.
        half = len(kinds) // 2
        at = draw.randint(half, half + (1 + len(killed)) * half // 5)
        if forked(opened, task, settings, path, at):
            break
        killed.append(at)
    yield {"killed": killed, "differs": different(given(path), expected), "events": len(kinds)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for asked in sys.argv[3:]:
        kind, _, count = asked.partition(":")
        for line in main(Path(sys.argv[1]), Path(sys.argv[2]) / kind, kind, int(count)):
            print(json.dumps({"kind": kind, **line}), flush=True)
