"""The plan of an experiment at one scale, as a TOML file that `training repeat` reads."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pi_cache import files
from pi_cache.errors import AlreadyPublished
from training.experiments.description import FULL, RUNS, SMOKE
from training.experiments.stores import SHOWN, Built
from training.experiments.toml import to_toml

NAME = "plan.toml"
THREE = (0, 1, 2)
"""Seeds of every scale but smoke."""
GPU = "cuda"


def plan_of(
    scale: str,
    arms: Sequence[Mapping[str, Any]],
    *,
    preset: str | None = None,
    folds: str | Sequence[str] | None = None,
    few: Sequence[int] = (0,),
    view: str = "inputs",
    **defaults: Any,
) -> dict[str, Any]:
    """The plan of a scale. preset: of full scale. few: seeds of smoke scale. defaults: of arms."""
    given = {"view": view, **defaults, **({"preset": preset} if preset and scale == FULL else {})}
    divided = {} if folds is None else {"folds": folds if isinstance(folds, str) else list(folds)}
    seeds = list(few if scale == SMOKE else THREE)
    return {"seeds": seeds, **divided, "defaults": given, "arms": list(arms)}


def plan_text(
    title: str,
    plan: Mapping[str, Any],
    data: Mapping[str, Any],
    built: Built,
    *,
    folder: Path,
    root: Path,
    seeds: Sequence[int],
    device: str,
    name: str = NAME,
    runs: str = RUNS,
) -> str:
    """The text of a plan that lies in a folder. data: of [data], beside the stores.

    name, runs: of its file, and of the folder that its runs go to.
    Paths are written relative to the folder, so that both can be moved together.
    """
    stores = {part: store.key[:SHOWN] for part, store in built.stores.items()}
    more = {key: value for key, value in data.items() if value not in (None, {})}
    placed = {"stores": stores, **more, "root": relative(root, folder)}
    if built.folds is not None:
        placed["folds"] = relative(built.folds, folder)
    document = {**plan, "seeds": list(seeds), "data": placed, "arms": list(plan["arms"])}
    document["defaults"] = on_device(plan.get("defaults", {}), device)
    goes_on = f"# `training repeat {name} --out {runs}` in this folder goes on with it."
    return f"{_heading(title)}\n{goes_on}\n{to_toml(document)}"


def check_heading(file: Path, title: str) -> None:
    """Raise AlreadyPublished where a file is the plan of another experiment, or scale."""
    if files.exists(file):
        there = files.read_bytes(file).decode("utf-8", "replace").partition("\n")[0]
        if there != _heading(title):
            raise AlreadyPublished(f"{file} is the plan of {there.strip('# .')!r}", (file,))


def _heading(title: str) -> str:
    return f"# {title}."


def relative(path: Path, folder: Path) -> str:
    """A path as seen from a folder, with / on every system."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


def on_device(defaults: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Defaults of arms on a device; threads are of the CPU."""
    config = {**defaults.get("config", {}), "device": device}
    if device.startswith(GPU):
        config.pop("threads", None)
    return {**defaults, "config": config}
