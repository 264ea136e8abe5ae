"""`training timing`: what an image costs, exact and by a PI-Net."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pi_cache.commands.options import cache_option, examples, json_option, say


@examples(
    "training timing runs/pi-net --store 3f2a9c --samples 40 --repeats 1 --json",
)
@click.command("timing")
@click.argument("run", metavar="RUN")
@click.option("--store", required=True, metavar="KEY", help="A store that holds raw samples.")
@click.option(
    "--samples", type=click.IntRange(1), default=512, show_default=True, help="The first so many."
)
@click.option(
    "--repeats", type=click.IntRange(1), default=3, show_default=True, help="The fastest counts."
)
@click.option("--device", default="cpu", show_default=True, help="A GPU beside the core: cuda.")
@click.option("--engine", help="Of the exact side, such as ripser.  [default: the store's own]")
@cache_option
@json_option
def timing(
    run: str,
    store: str,
    samples: int,
    repeats: int,
    device: str,
    engine: str | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Time the pipeline on one core, the PI-Net of RUN there and on a GPU, for the same samples.

    The exact images are computed anew in a temporary cache, by the `pipeline` command with one
    worker. The PI-Net is timed after one pass that warms up, in batches of 1 and of 128.
    """
    from pi_cache import open_store
    from training.pinets.timing import measure_timing
    from training.trained import read_trained

    found = measure_timing(
        read_trained(run),
        open_store(store, root=cache),
        samples=samples,
        repeats=repeats,
        device=device,
        engine=engine,
        say=say,
    )
    if as_json:
        click.echo(json.dumps(found.to_dict(), ensure_ascii=False))
        return
    click.echo(f"{'':<34}{'device':<12}{'batch':>6}{'samples':>9}{'ms an image':>13}{'ratio':>9}")
    for row in found.rows:
        batch = "-" if row.batch is None else str(row.batch)
        click.echo(
            f"{row.way:<34}{row.device:<12}{batch:>6}{row.samples:>9}"
            f"{row.milliseconds:>13.3f}{row.ratio:>9.2f}"
        )
    for line in found.notes():
        click.echo(line)
