"""Experiments that are killed: `python -m tests.training.killed_experiments DATA FOLDER`.

One process builds the store and runs the experiment undisturbed, and forks a child for each other
run. A child counts calls of the file system and steps of training, and kills itself at a number
that it is given: SIGKILL, at an instant that is the same on every machine. fsync is left out: a
killed process loses nothing that it wrote.

A part of TGD is killed again and again in one folder at fixed shares of what an undisturbed run
counts, then in another one at shares that are drawn; the whole of the experiment NAME at shares
that are drawn of SEED. Prints a line of JSON for each folder: where it was killed, and which files
differ from those of the undisturbed run. NAME and SEED are given behind FOLDER.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pi_cache import files
from tests.training.killed_runs import STEP, TIMES, Counted, Events, forked_with
from training.experiments import run as running
from training.experiments.calls import Caller, caller
from training.experiments.catalogue import EXPERIMENTS
from training.experiments.description import SMOKE, Description
from training.trainer.stepper import Stepper

FIXED = (0.15, 0.3, 0.5, 0.3)
"""Shares of the events of an undisturbed run after which it is killed, one call after another."""
DRAWN = 4
TIMED = ("times.", "costs.", "exact-times", "report.md")


def small() -> Description:
    """TGD at smoke scale with a teacher, a student and KD alone."""
    tgd = EXPERIMENTS["tgd"]
    scale = tgd.scales[SMOKE]
    kept = {"image-teacher", "student", "student-twice", "kd-image"}
    arms = [arm for arm in scale.plan["arms"] if arm["name"] in kept]
    plan = {**scale.plan, "arms": arms, "seeds": [0]}
    scales = {**tgd.scales, SMOKE: replace(scale, plan=plan)}
    return replace(tgd, scales=scales, figures=("reliability",), sample=False)


def remembered(root: Path) -> Caller:
    """What commands answered the first time: a store that is found costs a process each time."""
    told: dict[str, dict[str, Any]] = {}
    real = caller(root, lambda _: None)

    def call(*words: str | Path) -> dict[str, Any]:
        key = " ".join(map(str, words))
        if key not in told:
            told[key] = real(*words)
        return told[key]

    return call


def whole(name: str) -> Description:
    """An experiment, without the picture of a sample, which a command draws that is called once."""
    return replace(EXPERIMENTS[name], sample=False)


def once(
    description: Description, data: Path, root: Path, folder: Path, at: int | None
) -> list[str]:
    """Run in this process, which is killed at an event; else the kinds of all events."""
    events = Events(at)
    files.system = Counted(events)  # type: ignore[assignment]

    def counted(self: Stepper, *arguments: Any, **named: Any) -> None:
        events("step")
        STEP(self, *arguments, **named)

    Stepper.step = counted  # type: ignore[method-assign]
    running.run_experiment(
        description, SMOKE, folder=folder, root=root, data=data, say=lambda _: None
    )
    return events.kinds


def given(folder: Path) -> dict[str, Any]:
    """All that an experiment gave, but times; as if every folder were of one name."""
    paths = [path for path in folder.iterdir() if path.is_file()]
    found: dict[str, Any] = {
        path.name: path.read_bytes().replace(bytes(folder), b"FOLDER")
        for path in paths
        if not path.name.startswith(TIMED)
    }
    lines = [json.loads(line) for line in found["ledger.jsonl"].splitlines()]
    for line in lines:
        line["result"] = {k: v for k, v in line["result"].items() if k not in TIMES}
    return {**found, "ledger.jsonl": lines, "files": sorted(p.name for p in paths)}


def killed(
    description: Description,
    data: Path,
    root: Path,
    folder: Path,
    events: int,
    shares: Iterator[float],
) -> list[int]:
    """The numbers of the events at which one run was killed until it came to its end."""
    found = []
    while True:
        share = next(shares, None)
        at = None if share is None else max(1, int(share * events))
        if forked_with(once, description, data, root, folder, at):
            return found
        found.append(at or 0)


def main(
    data: Path, folder: Path, name: str | None = None, seed: int | None = None
) -> Iterator[dict[str, Any]]:
    """What the killed experiments gave, compared with the undisturbed one."""
    description = small() if name is None else whole(name)
    root = folder / "cache"
    call = remembered(root)
    running.caller = lambda root, say: call  # type: ignore[assignment]
    where = running.environment("cpu")  # the checkout may change while this runs
    running.environment = lambda device, runs: where  # type: ignore[assignment]
    once(description, data, root, folder / "whole", None)
    kinds = once(
        description, data, root, folder / "counted", None
    )  # data and stores are there, as for others
    expected = given(folder / "whole")
    draw = random.Random(f"experiment {seed}")
    drawn = [draw.uniform(0.05, 0.6) for _ in range(DRAWN)]
    ways = {"counted": (), "fixed": FIXED, "drawn": drawn} if name is None else {"drawn": drawn}
    for way, shares in ways.items():
        at = killed(description, data, root, folder / way, len(kinds), iter(shares))
        found = given(folder / way)
        differs = sorted(key for key in {*expected, *found} if found.get(key) != expected.get(key))
        yield {"name": way, "killed": at, "differs": differs, "events": len(kinds)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    named = (sys.argv[3], int(sys.argv[4])) if sys.argv[3:] else (None, None)
    for line in main(Path(sys.argv[1]), Path(sys.argv[2]), *named):
        print(json.dumps(line), flush=True)
