"""The network of a run and the samples that its record names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from pi_cache import files
from pi_cache.errors import InvalidSpec
from training.tasks import DataSpec, Task, open_task
from training.trained import Trained, read_trained
from training.trainer.config import LAST, TEST, VALIDATION

CHOSEN_BY = {"test": TEST, "validation": VALIDATION}
"""The selection of an epoch that makes a side look too good."""


def open_run(
    path: str | Path,
    *,
    root: str | Path | None = None,
    stores: Mapping[str, str] | None = None,
    folds: str | Path | None = None,
    device: str | torch.device = "cpu",
) -> tuple[Trained, Task]:
    """The network in a run's folder or file, and its task.

    root: a cache in place of the one that the run read. stores: others, by the names that the run
    gave them. folds: the file of folds, where it was moved.
    Raises InvalidSpec where the record names no data; as `read_trained` and `open_task`.
    """
    trained = read_trained(path, device=device)
    spec = data_of(trained.record, path)
    return trained, open_task(rerooted(spec, root=root, stores=stores or {}, folds=folds))


def data_of(record: Mapping[str, Any], path: str | Path) -> DataSpec:
    """What a run was trained on. Raises InvalidSpec."""
    told = told_of(record)
    if told is None:
        raise InvalidSpec(
            f"{path}: its record does not say which stores it read; train it with `training fit`,"
            " or evaluate it from Python with a task of your own"
        )
    return DataSpec(**told["data"])


def told_of(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The record of a task, at the top of a run's record or one below; None where there is none."""
    known = {each.name for each in fields(DataSpec)}
    places = [place for place in (record, *record.values()) if isinstance(place, Mapping)]
    for place in places:
        data = place.get("data")
        if isinstance(data, Mapping) and "stores" in data and data.keys() <= known:
            return place
    return None


def rerooted(
    spec: DataSpec,
    *,
    root: str | Path | None,
    stores: Mapping[str, str],
    folds: str | Path | None,
) -> DataSpec:
    """The same data where it lies now. Raises InvalidSpec for a name that the run did not use."""
    unknown = sorted(stores.keys() - spec.stores.keys())
    if unknown:
        raise InvalidSpec(
            f"the run has no store {', '.join(unknown)}; it read {', '.join(spec.stores)}"
        )
    told = spec.to_dict() | {"stores": {**spec.stores, **stores}}
    told |= {} if root is None else {"root": str(root)}
    told |= {} if folds is None else {"folds": str(folds)}
    return DataSpec(**told)


def selection_of(trained: Trained) -> str | None:
    """By what the epoch of a network was chosen, `last` for the last; None where it is not said."""
    config = trained.record.get("config")
    if trained.record.get("pick") == LAST or not isinstance(config, Mapping):
        return trained.record.get("pick")
    return config.get("select")


def differences(trained: Trained, task: Task, side: str) -> list[str]:
    """A sentence for each reason why a side is no fair test, or not that of the run's record."""
    found = []
    if side in CHOSEN_BY and selection_of(trained) == CHOSEN_BY[side]:
        found.append(f"its epoch was chosen by these {side} samples, so that it looks too good")
    if side == "train":
        found.append("these are the samples that it was trained on")
    return [*found, *unlike_training(trained, task, side)]


def unlike_training(trained: Trained, task: Task, side: str) -> list[str]:
    """A sentence for each store, file of arrays or set of samples that the record has otherwise."""
    found = []
    told = told_of(trained.record) or {}
    digests = told.get("digests") or {}
    if side in digests and digests[side] != task.record["digests"].get(side):
        found.append(
            f"the {side} side has other samples than when the network was trained"
            f" ({task.record['samples'].get(side, 0)} now,"
            f" {(told.get('samples') or {}).get(side, 'unknown')} then)"
        )
    stores = told.get("stores") or {}
    for name, key in stores.items():
        now = task.record["stores"].get(name)
        if now != key:
            found.append(f"{name} is the store {str(now)[:12]}, it was {key[:12]}")
    for name, digest in _array_digests(trained.record).items():
        path = task.record["data"]["arrays"].get(name)
        if path is not None and files.digest(Path(path))[1] != digest:
            found.append(f"{path} is another file of {name} than when the network was trained")
    return found


def _array_digests(record: Mapping[str, Any]) -> Mapping[str, str]:
    """SHA-256 of files of arrays by name, which the identity of a run has."""
    found: Any = record
    for name in ("record", "identity", "data", "arrays"):
        found = found.get(name, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}
