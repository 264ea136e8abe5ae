"""What a run's folder says of the run: what it is, how far it has come, and what it gave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pi_cache import files
from pi_cache.errors import InvalidSpec, UnsupportedFormat
from training.runs.ledger import RESULT, RUN, TEST, read_json

LOG = "log.jsonl"


def describe_run(folder: Path) -> dict[str, Any]:
    """A run as plain values. Raises InvalidSpec for a folder that holds none, UnsupportedFormat."""
    run = read_json(folder / RUN)
    if run is None:
        raise InvalidSpec(f"{folder} holds no run: there is no {RUN}; give the folder of --out")
    try:
        return _described(folder, run)
    except (KeyError, TypeError, AttributeError) as error:
        raise UnsupportedFormat(
            f"{folder / RUN} is no document of a run ({error!r:.80}); give the folder of --out"
        ) from error


def _described(folder: Path, run: Mapping[str, Any]) -> dict[str, Any]:
    result, test = read_json(folder / RESULT), read_json(folder / TEST)
    log = _log(folder)
    return {
        "run": str(folder),
        "state": _state(run, result, log),
        **_what(run),
        "data": run["data"].get("stores", {}),
        "fold": run["data"].get("fold"),
        "samples": run["data"].get("samples", {}),
        "class_names": run["class_names"],
        "config": run["config"],
        "last_epoch": log[-1] if log else None,
        "result": None if result is None else _without_format(result),
        "test": None if test is None else test["metrics"],
        "not_checked": run["record"].get("not_checked", []),
        "provenance": run["record"].get("provenance", {}),
    }


def _what(run: Mapping[str, Any]) -> dict[str, Any]:
    """Network, view, and how it was taught; less of a run that no spec has made."""
    spec, objective = run["record"].get("spec", {}), run["objective"]
    return {
        "model": run["model"]["name"],
        "view": spec.get("view") or ", ".join(piece["name"] for piece in objective["view"]),
        "objective": objective["objective"],
        "method": objective.get("method"),
        "teachers": [teacher["name"] for teacher in run["record"].get("teachers", [])],
        "start": spec.get("start"),
        "augment": spec.get("augment", []),
        "stale": {
            name: store["stale"]
            for name, store in run["record"].get("augmentations", {}).items()
            if store["stale"]
        },
    }


def _state(run: Mapping[str, Any], result: Any, log: list[Any]) -> str:
    if result is not None:
        return "ended"
    return f"{len(log)} of {run['config']['epochs']} epochs; the same command goes on"


def _log(folder: Path) -> list[Any]:
    if not files.exists(folder / LOG):
        return []
    return [json.loads(line) for line in files.read_bytes(folder / LOG).splitlines()]


def _without_format(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "format_version"}
