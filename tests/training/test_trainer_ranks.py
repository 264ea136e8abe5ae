"""Two processes that train one network give what one process gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.training.killed_runs import TIMES  # noqa: E402
from tests.training.made_runs import (  # noqa: E402
    config,
    distilled,
    make_signals,
    open_signals,
)
from training.trainer.loop import train  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]
PLAIN = {"layers": 1, "dropout": 0.0}
"""A linear network: no norm, which would see other samples on each rank, and no dropout."""
NORMED = {"options": {"dropout": 0.3}, "epochs": 4, "save_steps": 2}
STOP = 9
"""Of 3 steps an epoch: the last one of the third, after a state within it."""


def lines(folder: Path) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_signals(tmp_path_factory.mktemp("signals"))


@pytest.fixture(scope="module")
def folder(store: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two ranks: plain; with norms and dropout; the same, stopped and taken up again."""
    folder = tmp_path_factory.mktemp("ranked")
    runs = [
        {"folder": "plain", "options": PLAIN, "batch_size": 4, "epochs": 3},
        {"folder": "whole", **NORMED},
        {"folder": "stopped", **NORMED, "stop": STOP},
        {"folder": "stopped", **NORMED},
    ]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "tests.training.ranked_runs"]
    command += [str(store.path), str(folder), *map(json.dumps, runs)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("stopped") == 2, "both ranks of one run"
    return folder


def test_two_ranks_are_one_process_with_the_sum_of_their_batches(
    store: Any, folder: Path, tmp_path: Path
) -> None:
    """38 samples are 4 steps of 8 and one of 6: shares of 3 in it."""
    task = open_signals(store)
    objective, model = distilled(task, **PLAIN)
    train(objective, task, config(epochs=3), tmp_path, model=model)
    for alone, both in zip(lines(tmp_path), lines(folder / "plain"), strict=True):
        assert alone.keys() == both.keys()
        assert both["terms"] == pytest.approx(alone["terms"], rel=1e-5)
        assert both["validation"] == pytest.approx(alone["validation"], rel=1e-5)
        assert (both["samples"], both["steps"]) == (alone["samples"], alone["steps"])
    assert json.loads((folder / "plain" / "run.json").read_text())["ranks"] == 2


def test_ranks_go_on_where_they_were_stopped(folder: Path) -> None:
    assert lines(folder / "stopped") == lines(folder / "whole")
