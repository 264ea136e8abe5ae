"""`training experiment`: a paper's experiment from raw data to its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from pi_cache.catalogue import parse_root
from pi_cache.commands.options import cache_option, examples, json_option, say
from pi_cache.commands.table import table_lines
from pi_cache.errors import AlreadyPublished, WrittenMeanwhile
from pi_cache.nearest import hint
from pi_cache.quantities import seconds_text
from training.commands.options import FOLDER, asked
from training.experiments.catalogue import EXPERIMENTS
from training.experiments.description import CPU, FULL, SCALES, SMOKE

LIST = "list"
RESULTS = Path("results")
HEADER = ("experiment", "cpu, one core here", "needs", "shows")


@examples(
    "training experiment list --json",
    "training experiment self-training --scale smoke --out results/self-training",
)
@click.command("experiment")
@click.argument("name", metavar="NAME|list")
@click.option(
    "--scale", type=click.Choice(SCALES), default=SMOKE, show_default=True,
    help="smoke: seconds, to see it run; cpu: about an hour of one core; full: the paper's"
    " schedule, on a GPU.",
)  # fmt: skip
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="Seeds 0 to N - 1.")
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False),
    help="Folder of raw data.  [default: $PI_SHARED_DATA, else ../shared/data]",
)  # fmt: skip
@click.option(
    "--out", type=FOLDER,
    help="Folder of the results; runs lie in OUT/runs.  [default: results/NAME-SCALE]",
)  # fmt: skip
@click.option(
    "--best-on-test", is_flag=True,
    help="Run all arms a second time and take the best epoch on test data, as released code of the"
    " papers does: a second column of accuracies, named so.",
)  # fmt: skip
@click.option("--device", help="cpu or cuda.  [default: cpu, cuda at full scale]")
@cache_option
@json_option
def experiment(
    name: str,
    scale: str,
    seeds: int | None,
    data: Path | None,
    out: Path | None,
    best_on_test: bool,
    device: str | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Run the experiment NAME, or list what there is and how long it takes here.

    Finds or builds its stores, trains all arms, measures them on test samples, and writes tables,
    figures and page.md. Killed and called again it goes on, and changes no number. The time in the
    list is of a few steps of each network on this machine, or of results that are there.
    """
    if name == LIST:
        _list(as_json)
        return
    if name not in EXPERIMENTS:
        raise click.UsageError(
            f"there is no experiment {name!r}{hint(name, EXPERIMENTS)}; `training experiment"
            " list` shows them"
        )
    from training.experiments.run import run_experiment

    description = EXPERIMENTS[name]
    folder = out or RESULTS / f"{name}-{scale}"
    try:
        page = run_experiment(
            description,
            scale,
            folder=folder,
            root=parse_root(cache),
            data=data,
            seeds=None if seeds is None else range(seeds),
            device=device or ("cuda" if scale == FULL else "cpu"),
            say=say,
            command=asked(),
            best_on_test=best_on_test,
        )
    except WrittenMeanwhile:
        raise
    except AlreadyPublished as error:
        raise AlreadyPublished(
            f"{folder} holds results of other settings, data or code: give another --out, or move"
            f" that folder away ({error!s:.200}...)",
            error.paths,
        ) from error
    document = {"experiment": name, "scale": scale, "folder": str(folder), "page": str(page)}
    click.echo(json.dumps(document, ensure_ascii=False) if as_json else page)


def _list(as_json: bool) -> None:
    rows = list(_rows())
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    cells = [[r["name"], r["time"], r["needs"], r["shows"]] for r in rows]
    for line in table_lines([HEADER, *cells]):
        click.echo(line)


def _rows() -> list[dict[str, Any]]:
    """What there is to know of each experiment, with its time at cpu scale."""
    from training.experiments.estimate import Clock, estimate, level_count, recorded

    clock = Clock()
    rows = []
    for name, description in EXPERIMENTS.items():
        scale = description.scales[CPU]
        taken = recorded(RESULTS / f"{name}-{CPU}")
        levels = level_count(description, scale)
        seconds = estimate(scale, clock, levels=levels) if taken is None else taken
        rows.append(
            {
                "name": name,
                "title": description.title,
                "shows": description.shows,
                "needs": scale.needs.data,
                "paper": description.paper.title,
                "scales": list(description.scales),
                "seconds": round(seconds),
                "time": seconds_text(seconds) + ("" if taken is None else ", as it took"),
                "measured": "a few steps" if taken is None else "its ledger",
            }
        )
    return rows
