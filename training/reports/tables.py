"""The tables of an experiment: means, folds, classes, corruptions, paired tests and times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from training.augment.corruptions import AMOUNTS
from training.evaluation.opened import CHOSEN_BY
from training.evaluation.printed import NAMES, PERCENT
from training.reports.experiment import Experiment, Place, Run
from training.reports.paired import Comparison, compare
from training.reports.robustness import at_level, curves, level_name, seeds_of
from training.reports.spread import Spread, complete_seeds, in_fold, over_folds, over_seeds, spread
from training.reports.table import Cell, Measured, PValue, Table

METRICS = tuple(NAMES)
TIMES = (("epochs", "epochs", 0), ("seconds", "seconds", 1), ("samples_per_second", "samples/s", 0))
"""Of a run's result: its name there, the heading, and digits."""


def measured(metric: str, value: Spread) -> Measured:
    """A metric as tables print it: percent with two digits, others with four."""
    return Measured(value, 100.0, 2) if metric in PERCENT else Measured(value, 1.0, 4)


def tables(
    experiment: Experiment,
    *,
    metrics: Sequence[str],
    baseline: str | None = None,
    unit: str = "runs",
) -> Iterator[Table]:
    """Every table there are results for.

    metrics: of the tables by fold and of the paired tests. baseline: of the latter; None for none.
    Raises InvalidSpec, ReportsNotInstalled.
    """
    yield summary_table(experiment, weighted=False)
    if len(experiment.folds) > 1:
        yield summary_table(experiment, weighted=True)
        for metric in metrics:
            yield fold_table(experiment, metric)
    yield from robustness_tables(experiment, metrics)
    if baseline is not None:
        for metric in metrics:
            yield paired_table(experiment, metric, baseline, unit)
    if any(run.result for run in experiment.runs.values()):
        yield time_table(experiment)


def summary_table(experiment: Experiment, *, weighted: bool) -> Table:
    """Mean ± sd over seeds of each metric, a row an arm."""
    rows: list[tuple[Cell, ...]] = []
    for arm in experiment.arms:
        cells = [measured(m, over_seeds(experiment, arm, m, weighted=weighted)) for m in METRICS]
        rows.append((arm, _done(experiment, arm), len(complete_seeds(experiment, arm)), *cells))
    several = len(experiment.folds) > 1
    how = "weighted by test samples" if weighted else "each fold alike"
    over = f", mean of {len(experiment.folds)} folds, {how}" if several else ""
    return Table(
        name="summary-weighted" if weighted else "summary",
        title=f"Mean ± sd over seeds on {experiment.side}{over}",
        columns=("arm", "runs", "seeds", *NAMES.values()),
        rows=tuple(rows),
        notes=(
            "Runs: measured / planned. A seed counts where it has a result in every fold. ECE has"
            " 15 bins.",
            *warning_lines(experiment),
        ),
    )


def fold_table(experiment: Experiment, metric: str) -> Table:
    """One metric by fold, mean ± sd over seeds, a column an arm."""
    rows: list[tuple[Cell, ...]] = [
        (
            fold,
            _windows(experiment, fold),
            *(measured(metric, in_fold(experiment, arm, metric, fold)) for arm in experiment.arms),
        )
        for fold in experiment.folds
    ]
    ends: Mapping[str, Any] = {
        "mean": lambda arm: over_seeds(experiment, arm, metric, weighted=False),
        "weighted mean": lambda arm: over_seeds(experiment, arm, metric, weighted=True),
        "over folds": lambda arm: over_folds(experiment, arm, metric),
    }
    for name, function in ends.items():
        rows.append((name, "", *(measured(metric, function(arm)) for arm in experiment.arms)))
    return Table(
        name=f"folds-{metric.replace('_', '-')}",
        title=f"{NAMES.get(metric, metric)} by fold on {experiment.side}",
        columns=("fold", "samples", *experiment.arms),
        rows=tuple(rows),
        notes=(
            "Mean ± sd over seeds; the last row is mean ± sd over folds of the mean over seeds.",
            *warning_lines(experiment),
        ),
    )


def paired_table(experiment: Experiment, metric: str, baseline: str, unit: str) -> Table:
    """Each arm against a baseline: mean difference and p-values."""
    compared = compare(experiment, metric, baseline, unit=unit)
    return Table(
        name=f"paired-{metric.replace('_', '-')}",
        title=f"{NAMES.get(metric, metric)}: difference to {baseline} on {experiment.side}",
        columns=(
            "arm", "pairs", "difference", "t-test p", "Wilcoxon p", "sign-flip p",
            "Holm t-test", "Holm Wilcoxon", "Holm sign-flip", "smallest p",
        ),
        rows=tuple(_paired_row(metric, row) for row in compared),
        notes=(*_paired_notes(compared, unit), *warning_lines(experiment)),
    )  # fmt: skip


def robustness_tables(experiment: Experiment, metrics: Sequence[str]) -> Iterator[Table]:
    """A metric by level of each kind of corruption, mean ± sd over seeds, a row an arm."""
    for kind, by_arm in curves(experiment).items():
        levels = sorted({level for points in by_arm.values() for level in points})
        for metric in metrics:
            rows: list[tuple[Cell, ...]] = []
            fewer = []
            for arm, points in by_arm.items():
                found = [at_level(experiment, arm, points, level, metric) for level in levels]
                runs = max(len(points.get(level, ())) for level in levels)
                rows.append((arm, runs, *(measured(metric, each) for each in found)))
                if len({each.values for each in found}) > 1:
                    fewer.append(f"{arm} ({seeds_of(found)})")
            yield Table(
                name=f"robustness-{kind}-{metric.replace('_', '-')}",
                title=f"{NAMES.get(metric, metric)} under {kind} on {experiment.side}",
                columns=("arm", "runs", *map(level_name, levels)),
                rows=tuple(rows),
                notes=(
                    f"Level: amount. Amount: {AMOUNTS.get(kind, 'of its own')}. Mean ± sd over"
                    " seeds of the mean of folds; a seed counts where it was measured in every"
                    " fold.",
                    *(f"Not of as many seeds at all levels: {each}." for each in fewer),
                    *warning_lines(experiment),
                ),
            )


def time_table(experiment: Experiment) -> Table:
    """How long training took, mean ± sd over runs."""
    rows: list[tuple[Cell, ...]] = []
    for arm in experiment.arms:
        results = [run.result for run in experiment.of(arm).values()]
        cells: list[Cell] = [
            Measured(spread([float(r[name]) for r in results if r.get(name) is not None]), 1.0, n)
            for name, _, n in TIMES
        ]
        rows.append((arm, len(results), *cells))
    return Table(
        name="times",
        title="Training time, mean ± sd over runs",
        columns=("arm", "runs", *(heading for _, heading, _ in TIMES)),
        rows=tuple(rows),
        notes=("As each run noted it; compare runs of one machine that had it for themselves.",),
    )


def missing_lines(experiment: Experiment) -> list[str]:
    """A line for each run that has no result."""
    return [f"{place} {why}" for place, why in experiment.missing.items()]


def _paired_row(metric: str, row: Comparison) -> tuple[Cell, ...]:
    tests = [PValue(p[test]) for p in (row.p, row.holm) for test in ("t", "wilcoxon", "signflip")]
    pairs = row.difference.values
    smallest = PValue(row.smallest if pairs > 1 else None)
    return (row.arm, pairs, measured(metric, row.difference), *tests, smallest)


def _paired_notes(compared: Sequence[Comparison], unit: str) -> list[str]:
    pairs = "of the same fold and seed" if unit == "runs" else "of the same fold, mean over seeds"
    notes = [
        f"Pairs {pairs}; difference: mean ± sd over pairs; p two-sided, by Holm corrected over"
        f" {len(compared)} arm(s). The smallest p is what exact tests can give for so many pairs;"
        " the t-test assumes normal differences.",
        f"{unit.capitalize()} share training samples: p-values of pairs of {unit} are too small.",
    ]
    lonely = [f"{row.arm} {row.unpaired}" for row in compared if row.unpaired]
    return [*notes, f"Runs without a partner: {', '.join(lonely)}."] if lonely else notes


def _done(experiment: Experiment, arm: str) -> str:
    done = len(experiment.of(arm))
    absent = sum(place.arm == arm for place in experiment.missing)
    return f"{done}/{done + absent}"


def _windows(experiment: Experiment, fold: str) -> str:
    """Samples of a fold; of several numbers, all."""
    runs: list[Run] = [run for place, run in experiment.runs.items() if place.fold == fold]
    return " or ".join(map(str, sorted({run.windows for run in runs})))


def warning_lines(experiment: Experiment) -> list[str]:
    """What a reader of any table must know: runs that are not in it, and what is no fair mean."""
    selects: dict[str, set[Any]] = {}
    for place, run in experiment.runs.items():
        selects.setdefault(place.arm, set()).add(run.evaluation.get("select"))
    side = experiment.side
    unfair = ", ".join(arm for arm, how in selects.items() if CHOSEN_BY.get(side) in how)
    mixed = ", ".join(arm for arm, how in selects.items() if len(how) > 1)
    told = [f"Epochs chosen by {side} samples, which look too good: {unfair}."] if unfair else []
    told += [f"Epochs of one arm were chosen in several ways: {mixed}."] if mixed else []
    return [*told, *_unlike(experiment), *_copies(experiment), *_absent(experiment)]


def _unlike(experiment: Experiment) -> list[str]:
    """Runs measured on other stores or samples than they were trained for, or than each other."""
    arms: dict[str, list[str]] = {}
    digests: dict[str, set[Any]] = {}
    for place, run in experiment.runs.items():
        digests.setdefault(place.fold, set()).add(run.evaluation.get("digest"))
        for line in run.evaluation.get("unlike_training", ()):
            arms.setdefault(line, []).append(place.arm)
    found = [f"{', '.join(dict.fromkeys(names))}: {line}" for line, names in arms.items()]
    told = [f"Measured on what the run was not trained for: {'; '.join(found)}."] if found else []
    mixed = ", ".join(fold for fold in experiment.folds if len(digests.get(fold, ())) > 1)
    return [*told, *([f"Runs were measured on different samples of {mixed}."] if mixed else [])]


def _copies(experiment: Experiment) -> list[str]:
    """Seeds that agree in the last digit of every metric, as a run does with a copy of itself."""
    first: dict[tuple[Any, ...], Place] = {}
    found = []
    for place, run in experiment.runs.items():
        key = (place.arm, place.fold, *run.evaluation["metrics"].values())
        if first.setdefault(key, place) != place:
            found.append(f"{place} is {first[key]}")
    told = "The same in every digit, which other seeds are not"
    return [f"{told}: {'; '.join(found)}."] if found else []


def _absent(experiment: Experiment) -> list[str]:
    count = len(experiment.missing)
    told = "1 run has" if count == 1 else f"{count} runs have"
    return [f"{told} no result: {'; '.join(missing_lines(experiment))}."] if count else []
