"""How one image came about, and what the images of a store show."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pi_cache.commands.options import cache_option, examples, json_option, say
from pi_cache.reader import open_store
from pipeline.gramian.command import explain_fields, report_fields
from pipeline.options import numbers
from pipeline.printed import say_drawn, terminal_width

STORE = click.argument("store")
PNG = click.option("--png", type=click.Path(path_type=Path, dir_okay=False), help="Draw it.")


@examples(
    "pipeline explain 3f2a9c 0",
    "pipeline explain 3f2a9c 17 --pixel 4,10 --png seventeen.png",
)
@click.command()
@STORE
@click.argument("index", type=int)
@click.option("--pixel", callback=numbers(int), metavar="ROW,COLUMN", help="Say what a pixel is.")
@PNG
@cache_option
@json_option
def explain(
    store: str,
    index: int,
    pixel: tuple[int, ...] | None,
    png: Path | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Say how the image of sample INDEX of STORE came about."""
    from pipeline.reports.explain import explain_sample, explanation_lines

    if pixel is not None and len(pixel) != 2:
        raise click.BadParameter("give two numbers, ROW,COLUMN", param_hint="--pixel")
    found = open_store(store, root=cache)
    if found.spec.gramian is not None:
        explain_fields(found, index, pixel, png, as_json=as_json)
        return
    facts = explain_sample(found, index, pixel)
    if png is not None:
        from pipeline.figures import draw_explanation

        draw_explanation(found, index, png)
        say_drawn(png, found, index)
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
        return
    for line in explanation_lines(found, facts):
        click.echo(line)


@examples("pipeline report 3f2a9c", "pipeline report 3f2a9c --png report.png --json")
@click.command()
@STORE
@PNG
@cache_option
@json_option
def report(store: str, png: Path | None, cache: Path | None, as_json: bool) -> None:
    """Say what the window of STORE shows of its diagrams, and what went wrong.

    By channel too, with the values that were filtered. Of windows of recordings also how many there
    are by subject and class.
    """
    from pipeline.reports.coverage import coverage, warnings_of
    from pipeline.reports.text import WIDTH, report_lines

    found = open_store(store, root=cache)
    if found.spec.gramian is not None:
        report_fields(found, png, as_json=as_json)
        return
    facts = coverage(found)
    if png is not None:
        from pipeline.figures import draw_report

        draw_report(found, png)
        say_drawn(png, found)
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
    else:
        for line in report_lines(facts, terminal_width(WIDTH)):
            click.echo(line)
    for line in warnings_of(facts):
        say(f"warning: {line}")
