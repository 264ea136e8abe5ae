"""`training evaluate`: what trained networks are worth on samples that they were not trained on."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pi_cache.commands.options import examples, json_option, say
from training.augment.corruptions import KINDS, MISSING, Levels


def parse_levels(context: click.Context, option: click.Parameter, text: str) -> list[int] | None:
    """0-3 or 1,3 as numbers; None for nothing said."""
    if not text:
        return None
    parts = [re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part) for part in text.split(",")]
    numbers: list[int] = []
    for part in parts:
        if part is None or (part[2] and int(part[2]) < int(part[1])):
            raise click.BadParameter(f"levels are such as 0-3 or 1,3, got {text!r}")
        numbers += range(int(part[1]), int(part[2] or part[1]) + 1)
    return sorted(set(numbers))


def parse_stores(
    context: click.Context, option: click.Parameter, texts: Sequence[str]
) -> dict[str, str]:
    """NAME=KEY of each store."""
    pairs = [text.partition("=") for text in texts]
    if wrong := [
        text for text, pair in zip(texts, pairs, strict=True) if not (pair[0] and pair[2])
    ]:
        raise click.BadParameter(f"give NAME=KEY, got {', '.join(wrong)}")
    return {name: key for name, _, key in pairs}


@examples(
    "training evaluate runs/image",
    "training evaluate runs/image:last --side validation --json",
    "training evaluate runs/image --corrupt noise --levels 0-3 --out noisy",
)
@click.command("evaluate")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--side", default="test", show_default=True, help="test, validation or train.")
@click.option(
    "--corrupt", "kinds", multiple=True, type=click.Choice(KINDS),
    help="Measure raw samples with noise, missing points or blur as well; may be repeated.",
)  # fmt: skip
@click.option(
    "--levels", callback=parse_levels, default="", metavar="0-3",
    help="Levels of corruption.  [default: all of the table]",
)  # fmt: skip
@click.option(
    "--fill", default=0.0, show_default=True, metavar="VALUE",
    help="What missing points become, in units of the samples.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of what corruptions draw.")
@click.option("--features", is_flag=True, help="Keep pooled features too, for t-SNE.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Write it there, with the predictions.",
)  # fmt: skip
@click.option("--in-place", is_flag=True, help="Write it into the folder of each RUN.")
@click.option(
    "--store", "stores", multiple=True, callback=parse_stores, metavar="NAME=KEY",
    help="Another store in place of the one that the run gave this name.",
)  # fmt: skip
@click.option("--folds", type=click.Path(path_type=Path), help="The file of folds, if it moved.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option(
    "--cache", type=click.Path(path_type=Path, file_okay=False),
    help="Another cache root than the one that the run read.",
)  # fmt: skip
@json_option
def evaluate_runs(
    runs: Sequence[str],
    side: str,
    kinds: Sequence[str],
    levels: list[int] | None,
    fill: float,
    out: Path | None,
    in_place: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure the network of each RUN: a run's folder, RUN:last, or its file.

    The samples are those that the run's record names. Prints accuracy, F1, ECE (15 bins of equal
    width), NLL, Brier and the confusion matrix; with --json one line for each RUN.
    """
    from training.evaluation.evaluate import write_evaluation
    from training.evaluation.printed import evaluation_lines

    check_options(runs, kinds, levels, fill, out, in_place)
    for run in runs:
        evaluation = _measure(run, side, kinds, levels, fill, **options)
        document = {"run": run, **evaluation.to_dict()}
        if as_json:
            click.echo(json.dumps(document, ensure_ascii=False))
        else:
            click.echo(run)
            for line in evaluation_lines(document):
                click.echo(line)
        folder = _folder_of(run) if in_place else out
        if folder is not None:
            for path in write_evaluation(folder, evaluation):
                say(f"{run}: wrote {path}")


def check_options(
    runs: Sequence[str],
    kinds: Sequence[str],
    levels: list[int] | None,
    fill: float,
    out: Path | None,
    in_place: bool,
) -> None:
    """Raise where options do not go together."""
    if levels is not None and not kinds:
        raise click.UsageError("--levels are of a corruption; say which with --corrupt")
    if fill and MISSING not in kinds:
        raise click.UsageError("--fill is of missing points; add --corrupt missing")
    if out is not None and (in_place or len(runs) > 1):
        raise click.UsageError("--out is the folder of one RUN; for several say --in-place alone")


def _measure(
    run: str,
    side: str,
    kinds: Sequence[str],
    levels: list[int] | None,
    fill: float,
    *,
    cache: Path | None,
    stores: dict[str, str],
    folds: Path | None,
    device: str,
    features: bool,
    seed: int,
) -> Any:
    from training.evaluation.evaluate import evaluate, levels_of
    from training.evaluation.opened import differences, open_run

    trained, task = open_run(run, root=cache, stores=stores, folds=folds, device=device)
    for line in differences(trained, task, side):
        say(f"warning: {run}: {line}")
    asked = [Levels(kind, fill=fill if kind == MISSING else 0.0) for kind in dict.fromkeys(kinds)]
    corruptions = [each for one in asked for each in levels_of(one, task, levels)]
    found = evaluate(trained, side, task, corruptions=corruptions, features=features, seed=seed)
    for name in found.record["not_corrupted"]:
        say(f"note: {run}: {name} is computed from clean samples, and was not corrupted")
    return found


def _folder_of(run: str) -> Path:
    from training.trained import find_trained

    return find_trained(run).parent
