"""One experiment from raw data to its page; killed and called again, it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace as replace_in
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pi_cache import files
from pi_cache.errors import AlreadyPublished
from training.devices import refusing
from training.experiments import besttest
from training.experiments.calls import caller
from training.experiments.compared import only, uncompared, without
from training.experiments.costs import cost_table
from training.experiments.description import RUNS, SMOKE, Description, Place, Scale
from training.experiments.environment import environment
from training.experiments.fits import FOLDER as PI_NETS
from training.experiments.fits import fit_all, folder_of
from training.experiments.measure import Measurer
from training.experiments.needs import open_source
from training.experiments.page import page_text
from training.experiments.panel import draw_sample
from training.experiments.plans import NAME, check_heading, plan_text
from training.experiments.stores import build_stores
from training.reports.experiment import Experiment, read_experiment
from training.reports.figures import Figure
from training.reports.report import figures, replace, v_score_table, write_report
from training.reports.table import Table
from training.reports.tables import paired_table, tables
from training.runs.plan import read_plan
from training.runs.record import commit
from training.runs.repeat import repeat
from training.tasks import DataSpec
from training.trained import read_trained

PAGE = "page.md"
LEDGER = "ledger.jsonl"
ENVIRONMENT = "environment.json"
CURVES = "robustness"
"""The figure that has a line and not a panel of each arm."""
ASIDE = "corrupted"
"""The folder of corrupted samples and their stores, gone when all of them are measured."""
FIRST = (1,)
"""Levels of corruption at smoke scale."""
Say = Callable[[str], None]


def run_experiment(
    description: Description,
    scale: str,
    *,
    folder: Path,
    root: Path,
    data: Path | None = None,
    seeds: Sequence[int] | None = None,
    device: str = "cpu",
    say: Say = print,
    command: Sequence[str] | None = None,
    best_on_test: bool = False,
) -> Path:
    """The page of an experiment, after all of its runs have ended.

    folder: of the results, with all runs in `runs`. root: of the cache. data: of raw data, see
    `needs.data_folder`. seeds: in place of the scale's own. best_on_test: run all arms a second
    time, see `besttest`.
    Raises InvalidSpec for a device that is not there and AlreadyPublished for a folder of another
    experiment, both before anything is written; DataNotFound, CommandFailed, what `repeat` and
    reports raise.
    """
    chosen = description.scales[scale]
    folder, root = folder.absolute(), root.absolute()
    check_heading(folder / NAME, _title(description, scale))
    with refusing(f"nothing can be trained on device {device!r} here"):
        torch.zeros(1, device=device).item()
    commit()  # of the code that was loaded: stores take long, and a checkout may go on meanwhile
    call = caller(root, say)
    source = open_source(chosen.needs, data, root, say)
    files.make_directory(folder)
    place = Place(
        folder=folder,
        root=root,
        built=build_stores(chosen.needs, source, folder, call),
        scale=scale,
        seeds=tuple(seeds or chosen.plan["seeds"]),
        device=device,
        say=say,
        call=call,
    )
    if chosen.plan["arms"]:
        _repeat(description, chosen, place, command)
        if best_on_test:
            second = replace_in(chosen, plan=besttest.by_test(chosen.plan))
            names = {"name": besttest.PLAN, "runs": besttest.RUNS}
            _repeat(description, second, place, command, **names)
    if description.after is not None:
        description.after(place, chosen)
    return _report(description, chosen, place)


def _title(description: Description, scale: str) -> str:
    return f"{description.title}, scale {scale}"


def _plan(description: Description, scale: Scale, place: Place, name: str, runs: str) -> bytes:
    """The file of the plan, with what the step before it made."""
    more: dict[str, Any] = {}
    if scale.fits or scale.one_fold:
        spec = place.data(scale)
        more = {"fold": spec.fold, "arrays": fit_all(place, scale.fits, spec)}
    text = plan_text(
        _title(description, place.scale),
        scale.plan,
        {**scale.data, **more},
        place.built,
        folder=place.folder,
        root=place.root,
        seeds=place.seeds,
        device=place.device,
        name=name,
        runs=runs,
    )
    return text.encode()


def _repeat(
    description: Description,
    scale: Scale,
    place: Place,
    command: Sequence[str] | None,
    *,
    name: str = NAME,
    runs: str = RUNS,
) -> None:
    """Make all runs of the plan, which lies beside them; one that is refused changes nothing.

    name, runs: of its file, and of the folder of its runs.
    """
    plan, file = _plan(description, scale, place, name, runs), place.folder / name
    before = files.read_bytes(file) if files.exists(file) else plan
    replace(file, plan)
    try:
        repeat(read_plan(file), place.folder / runs, say=place.say, command=command)
    except AlreadyPublished:
        replace(file, before)
        raise


def _report(description: Description, scale: Scale, place: Place) -> Path:
    """Measure what is left to measure, and write tables, figures and the page."""
    experiment = read_experiment(place.runs)
    _corrupt(description, scale, place, experiment)
    made = _tables(description, scale, place, experiment)
    drawn = _figures(description, place, experiment)
    write_report(place.folder, experiment, made, drawn)
    found = environment(place.device, _run_folders(place, experiment))
    text = page_text(
        description,
        place,
        experiment,
        scale=scale,
        tables=made,
        figures=drawn,
        environment=found,
        sample=draw_sample(place) if description.sample else None,
    )
    copied = place.runs / LEDGER
    if files.exists(copied):
        replace(place.folder / LEDGER, files.read_bytes(copied))
    replace(place.folder / ENVIRONMENT, (json.dumps(found, indent=1) + "\n").encode())
    replace(place.folder / PAGE, text.encode())
    files.sweep(place.folder, older=0.0)  # what killed calls left
    return place.folder / PAGE


def _run_folders(place: Place, experiment: Experiment) -> list[Path]:
    """Of every run that a number of the page is from: PI-Nets too, and those of a second column."""
    second = besttest.second_runs(place.folder)
    found = [*experiment.runs.values(), *([] if second is None else second.runs.values())]
    return [*(run.folder for run in found), *files.listing(place.folder / PI_NETS)]


def _placed(place: Place, spec: DataSpec) -> DataSpec:
    """The data of a run where they lie now: results may have been moved, with their cache."""
    arrays = {name: str(place.folder / Path(path).name) for name, path in spec.arrays.items()}
    folds = None if spec.folds is None else str(place.built.folds)
    return replace_in(spec, root=str(place.root), folds=folds, arrays=arrays)


def _corrupt(description: Description, scale: Scale, place: Place, experiment: Experiment) -> None:
    """Measure all runs under corruptions; at smoke scale under the first level of the first."""
    small = place.scale == SMOKE
    corrupt = description.corrupt[:1] if small else description.corrupt
    nets = {each.name: read_trained(folder_of(place, each)) for each in scale.fits}
    with Measurer(
        corrupt,
        nets if corrupt else {},
        place.call,
        place.folder / ASIDE,
        device=place.device,
        say=place.say,
        placed=partial(_placed, place),
        numbers=FIRST if small else None,
    ) as measurer:
        measurer.measure(experiment)


def _tables(
    description: Description, scale: Scale, place: Place, experiment: Experiment
) -> list[Table]:
    """Those of every experiment, and of this one. Tests compare what no arm learns from."""
    metrics, baseline = description.metrics, description.baseline
    made = list(tables(experiment, metrics=metrics))
    if baseline is not None:
        compared = without(experiment, uncompared(description, scale))
        unit = description.pairs
        made += [paired_table(compared, metric, baseline, unit) for metric in metrics]
    if "embedding" in description.figures:
        made.append(v_score_table(experiment))
    made += besttest.second_column(place.folder, experiment)
    made += [table(place, experiment) for table in description.tables]
    config = scale.plan.get("defaults", {}).get("config", {})
    threads = config.get("threads") or torch.get_num_threads()
    made.append(cost_table(experiment, threads=threads, device=place.device))
    return made


def _figures(description: Description, place: Place, experiment: Experiment) -> list[Figure]:
    drawn = description.figures
    panels = [kind for kind in drawn if kind != CURVES]
    shown = only(experiment, description.shown)
    made = figures(shown, panels, root=place.root, folds=place.built.folds, say=place.say)
    curves = [kind for kind in drawn if kind == CURVES]
    return [*made, *figures(experiment, curves, metrics=("accuracy",), say=place.say)]
