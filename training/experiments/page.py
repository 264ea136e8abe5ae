"""The page of an experiment: what was claimed, what was measured, and what differs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from training.evaluation.printed import NAMES, PERCENT
from training.experiments.besttest import PLAN as SECOND_PLAN
from training.experiments.besttest import TABLE as BEST_ON_TEST
from training.experiments.compared import only, teachers_of, uncompared, without
from training.experiments.description import FULL, NOT_FOUND, Description, Paper, Place, Scale
from training.experiments.plans import NAME
from training.presets import PRESETS
from training.reports.experiment import Experiment
from training.reports.figures import Figure
from training.reports.paired import compare
from training.reports.spread import over_seeds
from training.reports.table import Table, to_markdown
from training.reports.tables import measured
from training.trainer.config import LAST, VALIDATION, TrainConfig

CHOSEN = {
    VALIDATION: "Epochs are chosen on validation data",
    LAST: "The last epoch of each run is taken",
}
BY_TEST = (
    "and test samples are read after training alone. Released code of the papers takes the best"
    " epoch on test data;"
)
NO_COLUMN = "there is no such column here, as the loop is given no test samples to choose by."
A_COLUMN = "a column of its own, of a second set of runs, has that."
ONE_TEACHER = "A teacher has one seed, whose chance is in no spread and no p."
APART = ("times", "costs", "exact-times")
"""Tables that no two runs have alike; the page links to them."""
SETTINGS = ("batch_size", "learning_rate", "weight_decay", "schedule", "normalise")
"""Of the loop, and of inputs, that a page compares with a preset."""
LOSSES = ("ece", "nll", "brier")
"""Metrics of which less is better."""
TWICE = ("summary-weighted",)
"""Tables that say nearly what another one says; report.md has them."""


def page_text(
    description: Description,
    place: Place,
    experiment: Experiment,
    *,
    scale: Scale,
    tables: Sequence[Table],
    figures: Sequence[Figure],
    environment: Mapping[str, Any],
    sample: str | None = None,
) -> str:
    """The page as Markdown; nothing in it changes when the experiment is run again."""
    full = description.scales[FULL]
    by_test = any(table.name == BEST_ON_TEST for table in tables)
    shown = [table for table in tables if _is_shown(table, description.metrics[1:])]
    parts = [
        f"# {description.title}",
        f"```\n{_command(description, place, experiment, by_test)}\n```",
        description.shows,
        *_claimed(description.paper),
        f"**What was measured.** {' '.join(measured_lines(description, scale, experiment))}",
        *(to_markdown(table).rstrip() for table in shown),
        *(f"![{figure.title}]({figure.name}.png)\n\n{figure.title}." for figure in figures),
        *([] if sample is None else [sample]),
        f"**What differs.** {' '.join(differing_lines(scale, full, experiment, by_test=by_test))}",
        *_ran(place, environment, [t.name for t in tables if t.name in APART], by_test=by_test),
    ]
    return "\n\n".join(parts) + "\n"


def differing_lines(
    scale: Scale, full: Scale, experiment: Experiment, *, by_test: bool
) -> list[str]:
    """Sentences: what differs from the paper, which networks, by what epochs were chosen.

    full: the scale of the paper. by_test: whether a table has what the best epoch on test data
    gives.
    """
    return [
        *scale.differs,
        *settings_lines(scale, full),
        networks_line(scale, full),
        *([ONE_TEACHER] if teachers_of(scale) else []),
        chosen_line(experiment, by_test),
    ]


def settings_lines(scale: Scale, full: Scale) -> list[str]:
    """A sentence on what of the loop is not as in the preset of full scale; none without one.

    Epochs are told by the sentences of a scale, and how they are chosen by one of its own.
    """
    preset = PRESETS.get(full.plan["defaults"].get("preset"))
    if preset is None or scale is full:
        return []
    given = scale.plan["defaults"]
    config = TrainConfig(**given["config"]).to_dict()
    ours = {"normalise": given.get("normalise", "values"), **config}
    theirs = {"normalise": preset.normalise, **preset.config.to_dict()}
    told = [
        f"`{key}` is `{ours[key]}` instead of `{theirs[key]}`"
        for key in SETTINGS
        if ours[key] != theirs[key]
    ]
    name = full.plan["defaults"]["preset"]
    return [f"Settings are not all those of the preset `{name}`: {', '.join(told)}."] * bool(told)


def networks_line(scale: Scale, full: Scale) -> str:
    """Which networks the arms of a plan are, and which they are at full scale."""
    here, there = (_networks(each) for each in (scale, full))
    return f"Networks: {here}." if here == there else f"Networks: {here}; at full scale {there}."


def _networks(scale: Scale) -> str:
    defaults = scale.plan["defaults"]
    usual = _network(defaults, {})
    models = {arm["name"]: _network(defaults, arm) for arm in scale.plan["arms"]}
    groups = {model: [f"`{n}`" for n in models if models[n] == model] for model in models.values()}
    others = [
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {model}"
        for model, names in groups.items()
        if model != usual
    ]
    return ", ".join([*others, f"all others {usual}"]) if others else f"all are {usual}"


def _network(defaults: Mapping[str, Any], arm: Mapping[str, Any]) -> str:
    """A model's name with its options: `densenet-40-12 (depth 16)`.

    Options of an arm are added to those of the defaults, as `training repeat` adds them.
    """
    model = {**defaults, **arm}["model"]
    options = {**defaults.get("model_options", {}), **arm.get("model_options", {})}
    told = ", ".join(f"{key} {value}" for key, value in options.items())
    return f"{model} ({told})" if told else str(model)


def chosen_line(experiment: Experiment, by_test: bool = False) -> str:
    """By what the epochs of the runs were chosen."""
    found = {str(run.evaluation["select"]) for run in experiment.runs.values()}
    column = A_COLUMN if by_test else NO_COLUMN
    return f"{'; '.join(CHOSEN.get(each, each) for each in sorted(found))}, {BY_TEST} {column}"


def _is_shown(table: Table, apart: Sequence[str]) -> bool:
    """Whether the page has a table: of several metrics it has the first; report.md has all."""
    ends = tuple(f"-{metric.replace('_', '-')}" for metric in apart)
    return table.name not in (*APART, *TWICE) and not table.name.endswith(ends)


def measured_lines(description: Description, scale: Scale, experiment: Experiment) -> list[str]:
    """Sentences: how many runs, the baseline, the best arm, and what tests say of it."""
    lines = [_counted(experiment)]
    baseline = description.baseline
    if baseline is None or baseline not in experiment.arms:
        return lines
    own = over_seeds(experiment, baseline, "accuracy", weighted=False)
    spread = "" if own.deviation is None else " (sd over seeds)"
    lines.append(f"`{baseline}` is right for {measured('accuracy', own).text()} %{spread}.")
    compared = without(experiment, uncompared(description, scale))
    rows = compare(compared, "accuracy", baseline, unit=description.pairs)
    rows = [row for row in rows if row.difference.values]
    if not rows:
        return lines
    above = [row.arm for row in rows if (row.difference.mean or 0) > 0]
    verb = "is" if len(above) == 1 else "are"
    lines.append(f"{len(above)} of the {len(rows)} arms compared with it {verb} above it.")
    best = max(rows, key=lambda row: row.difference.mean or 0.0)
    shown = measured("accuracy", best.difference).text()
    over = "" if best.difference.deviation is None else " (sd over pairs)"
    lines.append(f"The best of them, `{best.arm}`, differs by {shown} points{over}.")
    lines.append(_tested(best.holm["signflip"], best.smallest, best.difference.values))
    return [*lines, *claimed_lines(description, experiment)]


def claimed_lines(description: Description, experiment: Experiment) -> list[str]:
    """A sentence on the pairs of arms that the claim is about, by each metric of it."""
    there = [pair for pair in description.claims if set(pair) <= set(experiment.arms)]
    if not there:
        return []
    lines = []
    for metric in description.claimed:
        said = "; ".join(_compared(description, experiment, metric, *pair) for pair in there)
        name = NAMES[metric].removesuffix(" %") + ", of which less is better" * (metric in LOSSES)
        lines.append(f"Of the claim, by {name}: {said}.")
    tested = any(", p = " in line for line in lines)
    return [*lines, "Each p is that of its own sign-flip test."] if tested else lines


def _compared(
    description: Description, experiment: Experiment, metric: str, arm: str, other: str
) -> str:
    """How an arm differs from another one, whose difference alone is tested."""
    two = only(experiment, (arm, other))
    [row] = compare(two, metric, other, unit=description.pairs)
    p = row.p["signflip"]
    tested = "" if p is None else f", p = {p:.3g}"
    points = " points" if metric in PERCENT else ""
    return f"`{arm}` minus `{other}` is {measured(metric, row.difference).text()}{points}{tested}"


def _counted(experiment: Experiment) -> str:
    seeds = {place.seed for place in experiment.runs}
    folds = f" over {len(experiment.folds)} folds" if len(experiment.folds) > 1 else ""
    missing = f"; {len(experiment.missing)} have no result" if experiment.missing else ""
    return (
        f"{len(experiment.runs)} runs of {len(experiment.arms)} arms{folds}, {len(seeds)}"
        f" seed{'s' * (len(seeds) > 1)}{missing}."
    )


def _tested(p: float | None, smallest: float, pairs: int) -> str:
    if p is None:
        return "One pair tells nothing of chance."
    return (
        f"An exact sign-flip test of {pairs} pairs, corrected over arms by Holm, gives p ="
        f" {p:.3g}; alone it could not give less than {smallest:.3g}."
    )


def _claimed(paper: Paper) -> list[str]:
    head = f"**What was claimed.** {paper.claim} ({paper.title})."
    if not paper.reported:
        return [f"{head} Its numbers: {NOT_FOUND}."]
    rows = [f"| {what} | {value} |" for what, value in paper.reported]
    return [head, "\n".join([f"| {paper.source} | value |", "| --- | ---: |", *rows])]


def _command(description: Description, place: Place, experiment: Experiment, by_test: bool) -> str:
    """What gives these results: with as many seeds as there are, of earlier calls too."""
    seeds = max(len(place.seeds), *(1 + run.seed for run in experiment.runs))
    words = ["training", "experiment", description.name, "--scale", place.scale]
    return shlex.join([*words, "--seeds", str(seeds), *["--best-on-test"] * by_test])


def commits_line(environment: Mapping[str, Any]) -> str:
    """The commit of page and runs, or that of the page and of how many runs each."""
    page, runs = environment["code"] or "unknown", environment["runs"]
    if set(runs) <= {str(environment["code"])}:
        return f"commit {page}"
    each = ", ".join(f"{'unknown' if c == 'None' else c} ({n})" for c, n in runs.items())
    return f"commit of this page {page}, of its runs {each}"


def _ran(
    place: Place, environment: Mapping[str, Any], apart: Sequence[str], *, by_test: bool
) -> list[str]:
    stores = [
        f"| `{name}` | `{store.key[:12]}` | `{store.digest[:12]}` | {store.samples:,} |"
        f" `{store.command}` |"
        for name, store in place.built.stores.items()
    ]
    heading = ["| store | key | digest | samples | command |", "| --- | --- | --- | ---: | --- |"]
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    names = [NAME, *[SECOND_PLAN] * by_test, "ledger.jsonl", "report.md"]
    files = [f"[{name}]({name})" for name in (*names, *(f"{table}.csv" for table in apart))]
    return [
        "**What ran.**",
        "\n".join([*heading, *stores]),
        f"{environment['processor']}, {environment['cores']} cores, device"
        f" {environment['device']}; {versions}; {commits_line(environment)}. More in"
        f" {', '.join(files)}.",
    ]
