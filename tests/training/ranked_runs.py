"""One of the ranks that train together: `python -m tests.training.ranked_runs STORE FOLDER ...`.

Started by torchrun, or with its variables. Each further argument is a run, as JSON settings:
`folder` is its name, `stop` the step before which all of its ranks stop.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from pi_cache import open_store
from tests.training.made_runs import config, distilled, open_signals
from training.trainer.loop import train
from training.trainer.stepper import Stepper

STEP = Stepper.step


class Stopped(Exception):
    """What a run is stopped by."""


def stop_before(number: int | None) -> None:
    """Let a run stop before a step, counted from 1; None for never."""
    taken = 0

    def step(self: Stepper, *arguments: Any, **named: Any) -> None:
        nonlocal taken
        taken += 1
        if taken == number:
            raise Stopped
        STEP(self, *arguments, **named)

    Stepper.step = step  # type: ignore[method-assign]


if __name__ == "__main__":
    torch.set_num_threads(1)
    task = open_signals(open_store(sys.argv[1]))
    for settings in map(json.loads, sys.argv[3:]):
        folder = Path(sys.argv[2]) / settings.pop("folder")
        stop_before(settings.pop("stop", None))
        objective, model = distilled(task, **settings.pop("options"))
        try:
            train(objective, task, config(**settings), folder, model=model)
        except Stopped:
            print("stopped", flush=True)
