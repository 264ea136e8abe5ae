"""All runs of a plan, one after another: those that are done are kept, others go on or begin."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pi_cache import files
from pi_cache.errors import AlreadyPublished
from pi_cache.quantities import seconds_text
from training.evaluation.evaluate import evaluate, write_evaluation
from training.runs.execute import Say, run, silent
from training.runs.foreseen import check_arms
from training.runs.ledger import (
    RESULT,
    RUN,
    TEMPORARY,
    TEST,
    read_json,
    write_ledger,
    write_planned,
)
from training.runs.plan import Plan
from training.runs.planned import Planned, Runs
from training.runs.spec import RunSpec
from training.trained import find_trained, read_trained
from training.trainer.folder import differences

REPLACED = "replaced"
SHOWN = 4
"""Differences of a run that a refusal names."""


def repeat(
    plan: Plan,
    out: str | Path,
    *,
    only: Sequence[str] = (),
    replace: bool = False,
    say: Say = silent,
    command: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """The lines of the ledger, after every run of a plan is trained and tested under `out`.

    only: arms; what they learn from is trained too. replace: runs of other settings than the
    plan's are moved to `out/replaced`, and made anew. Killed and called again it goes on.
    Raises InvalidSpec with all that `check_arms` finds, and AlreadyPublished that names such runs
    unless they are replaced, both before any training; what `run` raises.
    """
    out = Path(out).absolute()
    runs = Runs(plan, out)
    chosen = runs.chosen(only)
    check_arms(runs, chosen)
    _clear(runs, chosen, out, replace=replace, say=say)
    write_planned(runs)
    files.sweep(out / TEMPORARY)
    todo = [each for each in chosen if not _is_done(each)]
    say(f"{len(chosen)} runs: {len(chosen) - len(todo)} done, {len(todo)} to train or test")
    clock = Clock()
    for number, planned in enumerate(todo):
        say(f"run {number + 1} of {len(todo)}: {planned.title}{clock.left(todo[number:])}")
        clock.begin(planned)
        _execute(runs, planned, say, command)
        clock.end()
        write_ledger(runs)
    return write_ledger(runs)


def _execute(runs: Runs, planned: Planned, say: Say, command: Sequence[str] | None) -> None:
    """Train one run, then test it; what was done of that before is kept."""
    spec = runs.spec(planned)
    task = runs.task(spec.data)

    def indented(text: str) -> None:
        say(f"  {text}")

    run(spec, planned.folder, task=task, say=indented, command=command)
    if task.test is None or files.exists(planned.folder / TEST):
        return
    files.remove(planned.folder / "predictions-test.safetensors")  # of a test that was cut short
    trained = read_trained(planned.folder, device=spec.config.device)
    write_evaluation(planned.folder, evaluate(trained, "test", task, features=True))


def _is_done(planned: Planned) -> bool:
    if not files.exists(planned.folder / RESULT):
        return False
    data = (read_json(planned.folder / RUN) or {}).get("data", {})
    return "test" not in data.get("samples", {}) or files.exists(planned.folder / TEST)


def _clear(runs: Runs, chosen: Iterable[Planned], out: Path, *, replace: bool, say: Say) -> None:
    """Move runs aside that are not those of the plan. Raises AlreadyPublished unless `replace`."""
    others: dict[Path, list[str]] = {}
    for planned in chosen:
        changed = _changed(runs, planned, others)
        if changed:
            others[planned.folder] = changed
    if others and not replace:
        lines = [f"{p.relative_to(out)} ({'; '.join(d[:SHOWN])})" for p, d in others.items()]
        raise AlreadyPublished(
            f"{len(others)} runs here are not those of the plan: {', '.join(lines)}; give another"
            f" --out, or --replace, which moves them to {out / REPLACED}",
            tuple(others),
        )
    for folder in others:
        aside = files.move_aside(folder, out / REPLACED / folder.relative_to(out).parent)
        say(f"{folder.relative_to(out)} was another run: moved to {aside}")


def _changed(runs: Runs, planned: Planned, others: Mapping[Path, Any]) -> list[str]:
    """How the run in a folder differs from the planned one; nothing where there is none."""
    found = read_json(planned.folder / RUN)
    if found is None:
        return []
    record = found.get("record", {})
    if record.get("spec_digest") != runs.digest(planned):
        return _otherwise(record.get("identity", {}), runs.identity(planned))
    taught = [need.arm.name for need in runs.needs(planned) if need.folder in others]
    return [f"{name} is replaced" for name in taught] or _other_networks(runs.spec(planned), record)


def _otherwise(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """How two identities differ; digests of networks say nothing to people."""
    given = ("teachers", "start")
    old, new = ({n: v for n, v in each.items() if n not in given} for each in (found, wanted))
    networks = [f"its {n} changed" for n in given if found.get(n) != wanted.get(n)]
    return [*differences(old, new), *networks] or ["it was made otherwise"]


def _other_networks(spec: RunSpec, record: Mapping[str, Any]) -> list[str]:
    """Teachers and start whose files have other bytes than when this run began."""
    given = [*record.get("teachers", []), *filter(None, [record.get("start")])]
    names = [*spec.teachers, *filter(None, [spec.start])]
    return [
        f"{name} was trained anew" if found else f"{name} is not there any more"
        for name, one in zip(names, given, strict=True)
        if (found := _digest(name)) != one["sha256"]
    ]


def _digest(name: str) -> str | None:
    """SHA-256 of the file of a network, None where it is not there."""
    try:
        return files.digest(find_trained(name))[1]
    except FileNotFoundError:
        return None


class Clock:
    """How long runs take, arm by arm, and so what is left."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._running, self._began = "", 0.0

    def begin(self, planned: Planned) -> None:
        """A run begins."""
        self._running, self._began = planned.arm.name, time.monotonic()

    def end(self) -> None:
        """It has ended."""
        self.seconds.setdefault(self._running, []).append(time.monotonic() - self._began)

    def left(self, todo: Sequence[Planned]) -> str:
        """`; about 3 min left`, nothing before the first run has ended."""
        every = [second for taken in self.seconds.values() for second in taken]
        if not every:
            return ""
        mean = sum(every) / len(every)
        arms = {name: sum(taken) / len(taken) for name, taken in self.seconds.items()}
        return f"; about {seconds_text(sum(arms.get(p.arm.name, mean) for p in todo))} left"
