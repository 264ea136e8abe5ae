"""`training repeat`: all runs of a plan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pi_cache.commands.options import examples, json_option, say
from pi_cache.commands.table import table_lines
from training.commands.options import FOLDER, asked, parsed
from training.runs.foreseen import check_arms
from training.runs.plan import read_plan
from training.runs.planned import Runs
from training.runs.repeat import repeat

HEADER = ("arm", "fold", "seed", "epoch", "chosen by", "score", "test accuracy", "seconds")
RIGHT = (2, 3, 5, 6, 7)


def parse_seeds(
    context: click.Context, option: click.Parameter, text: str | None
) -> list[int] | None:
    """0,1,2 as numbers; None for nothing said."""
    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"seeds are whole numbers such as 0,1,2, got {text!r}") from error


@examples(
    "training repeat plan.toml --out runs/plan --dry-run",
    "training repeat plan.toml --out runs/plan --seeds 0 --only teacher --json",
)
@click.command("repeat")
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out",
    type=FOLDER,
    required=True,
    help="Folder of all runs and of ledger.jsonl. The same command again goes on in it.",
)
@click.option(
    "--seeds",
    callback=parse_seeds,
    metavar="0,1,2",
    help="In place of the plan's seeds; arms with seeds of their own keep them.",
)
@click.option("--only", multiple=True, metavar="ARM", help="This arm, and what it learns from.")
@click.option("--replace", is_flag=True, help="Move runs of other settings aside.")
@click.option("--dry-run", is_flag=True, help="List the runs, and train none.")
@json_option
def repeat_plan(
    plan: Path, out: Path, seeds: list[int] | None, only: Sequence[str], as_json: bool, **flags: Any
) -> None:
    """Train and test every run of PLAN: its arms, over folds and seeds.

    An arm is a network and how it is trained; teachers and starts are other arms. Runs lie in
    OUT/ARM/FOLD/seed-N, and OUT/ledger.jsonl has a line for each that has ended. Killed and called
    again, it goes on. Where the plan was changed, runs whose settings or teachers changed are
    refused with the difference, or with --replace moved aside and made anew; all others stay.
    """
    made = parsed(lambda: read_plan(plan, seeds=seeds))
    runs = parsed(lambda: Runs(made, out))
    chosen = parsed(lambda: runs.chosen(only))
    if flags["dry_run"]:
        check_arms(runs, chosen)
        for planned in chosen:
            click.echo(planned.title)
        return
    lines = repeat(made, out, only=only, replace=flags["replace"], say=say, command=asked())
    if as_json:
        for line in lines:
            click.echo(json.dumps(line, ensure_ascii=False))
        return
    for text in table_lines([HEADER, *map(_cells, lines)], RIGHT):
        click.echo(text)


def _cells(line: dict[str, Any]) -> list[str]:
    result, test = line["result"], line["test"]
    score = result["score"]
    return [
        line["arm"],
        line["fold"],
        str(line["seed"]),
        str(result["chosen"]),
        result["select"],
        "-" if score is None else f"{score:.4f}",
        "-" if test is None else f"{test['accuracy']:.4f}",
        f"{result['seconds']:.1f}",
    ]
