"""The runs of an experiment and what they measured: folders OUT/ARM/FOLD/seed-N."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pi_cache import files
from pi_cache.errors import InvalidSpec, UnsupportedFormat
from training.evaluation.evaluate import read_evaluation

LISTS = ("planned.jsonl", "ledger.jsonl")
"""Of all runs of a plan, and of those that have ended."""
NEEDED = ("metrics", "samples", "unlabelled", "digest", "class_names")
"""Of an evaluation; files that were written otherwise may lack them."""
SEED = re.compile(r"seed-(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """Which run: an arm, a fold and a seed."""

    arm: str
    fold: str
    seed: int

    def __str__(self) -> str:
        return f"{self.arm}/{self.fold}/seed-{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """One run that was measured. evaluation: of one side. result: of the trainer, {} without."""

    place: Place
    folder: Path
    evaluation: Mapping[str, Any]
    result: Mapping[str, Any]

    @property
    def windows(self) -> int:
        """Samples that were measured."""
        return int(self.evaluation["samples"]) - int(self.evaluation["unlabelled"])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Experiment:
    """Runs by their place, in the order of arms; missing: a sentence for each that is not there.

    side: which was measured.
    """

    side: str
    runs: Mapping[Place, Run]
    missing: Mapping[Place, str]

    @property
    def arms(self) -> tuple[str, ...]:
        """In their order, those without a single result too."""
        return tuple(dict.fromkeys(place.arm for place in (*self.runs, *self.missing)))

    @property
    def folds(self) -> tuple[str, ...]:
        """Of all arms, sorted with numbers in their order."""
        names = {place.fold for place in (*self.runs, *self.missing)}
        return tuple(sorted(names, key=_natural))

    def of(self, arm: str) -> dict[Place, Run]:
        """The runs of an arm."""
        return {place: run for place, run in self.runs.items() if place.arm == arm}

    def values(self, arm: str, metric: str) -> dict[Place, float]:
        """A metric of each run of an arm. Raises InvalidSpec for one that was not measured."""
        found = {}
        for place, run in self.of(arm).items():
            if metric not in run.evaluation["metrics"]:
                known = ", ".join(run.evaluation["metrics"])
                raise InvalidSpec(f"{place} has no {metric!r}; there are {known}")
            found[place] = float(run.evaluation["metrics"][metric])
        return found


def read_experiment(
    folder: Path, *, side: str = "test", arms: Sequence[str] | None = None
) -> Experiment:
    """The runs below a folder. arms: some of them, in this order; None for all.

    Expected are the runs that the ledger and the list of planned ones name, and each seed of an
    arm in each fold that there is. Raises InvalidSpec where there is no measured run, no such
    arm, or one run in two folders.
    """
    if not files.is_folder(folder):
        raise InvalidSpec(
            f"{folder}: there is no such folder; give that of `training repeat --out`"
        )
    told = _told(folder)
    found = _folders(folder, told)
    order = list(dict.fromkeys(place.arm for place in (*told.values(), *found)))
    chosen = order if arms is None else _known(arms, order, folder)
    expected = sorted(
        {*told.values(), *found, *_grid(found)},
        key=lambda place: (order.index(place.arm), _natural(place.fold), place.seed),
    )
    runs, missing = {}, {}
    for arm in chosen:
        for place in [place for place in expected if place.arm == arm]:
            run, why = _read(place, found.get(place), side)
            if run is None:
                missing[place] = why
            else:
                runs[place] = run
    if not runs:
        raise InvalidSpec(
            f"{folder} has no run with evaluation-{side}.json; runs lie in ARM/FOLD/seed-N, and"
            f" `training evaluate RUN --side {side} --in-place` measures one"
        )
    return Experiment(side=side, runs=runs, missing=missing)


def _told(folder: Path) -> dict[str, Place]:
    """By its folder, each run that `LISTS` name, in their order. A torn line is of a killed writer.

    They have the names of folds, of which folders may have others.
    """
    places = {}
    for name in LISTS:
        path = folder / name
        text = files.read_bytes(path).decode("utf-8", "replace") if files.exists(path) else ""
        for line in text.splitlines():
            try:
                told = json.loads(line)
                place = Place(arm=told["arm"], fold=str(told["fold"]), seed=int(told["seed"]))
                places[str(told["run"])] = place
            except (ValueError, KeyError, TypeError):
                continue
    return places


def _folders(folder: Path, told: Mapping[str, Place]) -> dict[Place, Path]:
    """Every ARM/FOLD/seed-N below a folder."""
    folds = {name.split("/")[1]: place.fold for name, place in told.items() if "/" in name}
    found: dict[Place, Path] = {}
    for arm in _subfolders(folder):
        for fold in _subfolders(arm):
            for run in _subfolders(fold):
                match = SEED.fullmatch(run.name)
                if match:
                    named = folds.get(fold.name, fold.name)
                    place = Place(arm=arm.name, fold=named, seed=int(match[1]))
                    if place in found:
                        raise InvalidSpec(
                            f"{found[place]} and {run} are both {place}; move one of them away"
                        )
                    found[place] = run
    return found


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in files.listing(folder) if files.is_folder(path)]


def _grid(found: Mapping[Place, Path]) -> Iterator[Place]:
    """Each seed of an arm in each fold that any arm has."""
    folds = {place.fold for place in found}
    for place in found:
        yield from (Place(arm=place.arm, fold=fold, seed=place.seed) for fold in folds)


def _known(arms: Sequence[str], order: Sequence[str], folder: Path) -> list[str]:
    unknown = [arm for arm in arms if arm not in order]
    if unknown:
        raise InvalidSpec(f"{folder} has no arm {', '.join(unknown)}; there are {', '.join(order)}")
    return list(dict.fromkeys(arms))


def _read(place: Place, folder: Path | None, side: str) -> tuple[Run | None, str]:
    """A run, or why there is none."""
    if folder is None:
        return None, "was not begun"
    path = folder / f"evaluation-{side}.json"
    if not files.exists(path):
        ended = files.exists(folder / "result.json")
        return None, f"was not measured on {side}" if ended else "has not ended"
    try:
        evaluation = read_evaluation(path)
    except UnsupportedFormat as error:
        return None, str(error)
    if lacking := [name for name in NEEDED if name not in evaluation]:
        return None, f"has no {', '.join(lacking)} in {path.name}"
    return Run(place=place, folder=folder, evaluation=evaluation, result=_result(folder)), ""


def _result(folder: Path) -> dict[str, Any]:
    path = folder / "result.json"
    if not files.exists(path):
        return {}
    try:
        result = dict(json.loads(files.read_bytes(path)))
    except (ValueError, TypeError) as error:
        raise UnsupportedFormat(f"{path} is no JSON of a result ({error}); run it again") from error
    return result


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts S2 before S10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
