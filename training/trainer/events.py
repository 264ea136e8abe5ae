"""Curves for TensorBoard, where it is installed. They are a picture of the log and nothing more."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pi_cache.errors import TrackerNotInstalled


class Events(Protocol):
    """Takes lines of the log."""

    def add(self, line: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class Nothing:
    """Takes lines and keeps none."""

    def add(self, line: Mapping[str, Any]) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Nothing is open."""


class TensorBoard:
    """Writes lines into `folder`, from the epoch on that comes next."""

    def __init__(self, folder: Path, epochs: int) -> None:
        module = importlib.import_module("torch.utils.tensorboard")
        # What an earlier process drew of epochs that it did not save is drawn anew.
        self.writer: Any = module.SummaryWriter(str(folder), purge_step=epochs + 1)

    def add(self, line: Mapping[str, Any]) -> None:
        """A point of each curve at the line's epoch."""
        for name, value in curves(line).items():
            self.writer.add_scalar(name, value, line["epoch"])

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()


def open_events(folder: Path, epochs: int, wanted: bool | None) -> Events:
    """Where lines go; `wanted` None is TensorBoard if it is installed.

    epochs: that are done. Raises TrackerNotInstalled where it is wanted and missing.
    """
    installed = importlib.util.find_spec("tensorboard") is not None
    if wanted and not installed:
        raise TrackerNotInstalled("TensorBoard is not installed: pip install tensorboard")
    if wanted is False or not installed:
        return Nothing()
    return TensorBoard(folder, epochs)


def curves(line: Mapping[str, Any], start: str = "") -> dict[str, float]:
    """Every number of a line by its path, such as `terms/ce`, but the epoch itself."""
    found: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, Mapping):
            found |= curves(value, f"{start}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and name != "epoch":
            found[start + name] = float(value)
    return found
