"""A store of signals, and runs on it that take a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.methods.catalogue import make_method
from training.runs.execute import run
from training.runs.spec import RunSpec
from training.tasks import DataSpec
from training.trainer.config import TrainConfig

CONFIG = {"epochs": 2, "batch_size": 16, "learning_rate": 0.02, "threads": 1}


def data(store: Path, **change: Any) -> DataSpec:
    return DataSpec(**{"stores": {"pi": str(store)}, "validation": 0.25} | change)


def spec(store: Path, **change: Any) -> RunSpec:
    """A small student on the raw signals, with some of it changed."""
    config = TrainConfig(**{**CONFIG, **change.pop("config", {})})
    method = change.pop("method", None)
    given = {"data": data(store), "view": "inputs", "model": "resnet-8", "config": config, **change}
    if isinstance(method, str):
        method = make_method(method)
    return RunSpec(**given, method=method)


def trained(store: Path, folder: Path, **change: Any) -> Path:
    """The folder of a run that has ended."""
    run(spec(store, **change), folder)
    return folder
