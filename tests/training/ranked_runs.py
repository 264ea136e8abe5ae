"""One of the ranks that train together: `python -m tests.training.ranked_runs STORE FOLDER ...`.

Started by torchrun, or with its variables. Each further argument is a run, as JSON settings.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from pi_cache import open_store
from tests.training.made_runs import config, distilled, open_signals
from training.trainer.loop import train

if __name__ == "__main__":
    torch.set_num_threads(1)
    task = open_signals(open_store(sys.argv[1]))
    for number, text in enumerate(sys.argv[3:]):
        settings = json.loads(text)
        options = settings.pop("options", {})
        stop = settings.pop("stop", None)
        objective, model = distilled(task, **options)
        folder = Path(sys.argv[2]) / str(number)

        def say(text: str, stop: int | None = stop) -> None:
            if text.startswith(f"epoch {stop} "):
                raise SystemExit(3)  # of the first rank; torchrun ends the other one

        train(objective, task, config(**settings), folder, model=model, say=say)
