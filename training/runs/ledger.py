"""The ledger of repeated runs: a line for each that has ended, made from the runs' own folders.

Nothing is in it that a folder does not say, so that it is the same whether the runs were made in
one go or in many.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pi_cache import files
from pi_cache.errors import UnsupportedFormat
from training.runs.planned import SPLITS, Planned, Runs

NAME = "ledger.jsonl"
PLANNED = "planned.jsonl"
"""Every run of the plan, so that a report can tell which of them are not there."""
TEMPORARY = "tmp"
RUN, RESULT, TEST = "run.json", "result.json", "evaluation-test.json"


def ledger_line(planned: Planned, out: Path) -> dict[str, Any] | None:
    """What there is to say of a run that has ended, None of another one."""
    run, result = read_json(planned.folder / RUN), read_json(planned.folder / RESULT)
    if run is None or result is None:
        return None
    test = read_json(planned.folder / TEST)
    return {
        **_place(planned, out),
        "spec_digest": run["record"]["spec_digest"],
        "samples": run["data"]["samples"],
        "result": {name: value for name, value in result.items() if name != "format_version"},
        "test": None if test is None else test["metrics"],
    }


def write_ledger(runs: Runs) -> list[dict[str, Any]]:
    """Write the line of every run that has ended, in the order of the plan, and give them back.

    A run of other settings than the plan's, which lies where one of the plan will, has no line.
    """
    found = [(each, ledger_line(each, runs.out)) for each in runs]
    lines = [
        line
        for each, line in found
        if line is not None and line["spec_digest"] == runs.digest(each)
    ]
    _write(runs.out / NAME, lines)
    return lines


def write_planned(runs: Runs) -> None:
    """Write the place of every run of a plan, in its order."""
    _write(runs.out / PLANNED, [_place(each, runs.out) for each in runs])


def _place(planned: Planned, out: Path) -> dict[str, Any]:
    return {
        "arm": planned.arm.name,
        "fold": planned.fold or SPLITS,
        "seed": planned.seed,
        "run": planned.folder.relative_to(out).as_posix(),
    }


def _write(place: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    if not files.exists(place) or files.read_bytes(place) != text:
        files.remove(place)  # nothing is written over; until the next line it can be made again
        files.publish(place, text, temporary=place.parent / TEMPORARY)


def read_json(path: Path) -> Mapping[str, Any] | None:
    """The document in a file, None where there is no such file. Raises UnsupportedFormat."""
    try:
        document = json.loads(files.read_bytes(path))
        if not isinstance(document, dict):
            raise ValueError(f"it holds {type(document).__name__}")
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UnsupportedFormat(f"{path} is no readable JSON ({error}); move it away") from error
    return document
