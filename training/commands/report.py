"""`training report`: tables and figures of the runs of an experiment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from pi_cache.commands.options import examples, json_option, say
from pi_cache.commands.table import table_lines

METRICS = ("accuracy", "f1_weighted", "f1_macro", "ece", "nll", "brier")
FIGURES = ("reliability", "confusion", "robustness", "embedding", "similarity")


@examples(
    "training report runs/plan",
    "training report runs/plan --baseline student --metric accuracy --metric nll --pairs folds",
    "training report runs/plan --figure all --out report",
)
@click.command("report")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--side", default="test", show_default=True, help="Which side was measured.")
@click.option("--arm", "arms", multiple=True, help="These arms only, in this order.")
@click.option(
    "--metric", "metrics", multiple=True, type=click.Choice(METRICS), default=("accuracy",),
    show_default=True, help="Of tables by fold, paired tests and curves; may be repeated.",
)  # fmt: skip
@click.option("--baseline", help="The arm that the others are compared with, in paired tests.")
@click.option(
    "--pairs", type=click.Choice(("runs", "folds")), default="runs", show_default=True,
    help="Pairs of the same fold and seed, or of the same fold with the mean over seeds.",
)  # fmt: skip
@click.option(
    "--figure", "wanted", multiple=True, type=click.Choice((*FIGURES, "all")),
    help="Draw it; all: every one that the runs have data for, but similarity.",
)  # fmt: skip
@click.option("--v-score", is_flag=True, help="V-scores of the features that runs kept.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the report.  [default: FOLDER/report]",
)  # fmt: skip
@click.option(
    "--cache", type=click.Path(path_type=Path, file_okay=False),
    help="Another cache root than the one that the run read.",
)  # fmt: skip
@json_option
def report_runs(
    folder: Path,
    side: str,
    arms: Sequence[str],
    metrics: Sequence[str],
    baseline: str | None,
    pairs: str,
    wanted: Sequence[str],
    v_score: bool,
    out: Path | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Tables and figures of the runs in FOLDER, as `training repeat` leaves them there.

    Mean ± sd over seeds, by fold, and paired tests against --baseline, as CSV, Markdown and LaTeX
    with one page, report.md. Runs without a result are listed. Needs the extra `report`.
    """
    from training.reports.experiment import read_experiment
    from training.reports.report import (
        figures,
        possible_figures,
        told,
        v_score_table,
        write_report,
    )
    from training.reports.table import table_texts
    from training.reports.tables import missing_lines, tables

    experiment = read_experiment(folder, side=side, arms=arms or None)
    found = list(tables(experiment, metrics=metrics, baseline=baseline, unit=pairs))
    kinds = [kind for kind in wanted if kind != "all"]
    kinds += possible_figures(experiment) if "all" in wanted else []
    if v_score or "embedding" in kinds:
        found.append(v_score_table(experiment))
    drawings = list(figures(experiment, kinds, metrics=metrics, root=cache, say=say))
    written = write_report(out or folder / "report", experiment, found, drawings)
    if as_json:
        click.echo(json.dumps(told(experiment, found), ensure_ascii=False))
    else:
        for table in found:
            columns = set(range(1, len(table.columns)))
            click.echo(table.title)
            for line in (*table_lines(table_texts(table), right=columns), *table.notes, ""):
                click.echo(line)
    for line in missing_lines(experiment):
        say(f"missing: {line}")
    say(f"{len(written)} files in {out or folder / 'report'}; read report.md first")
