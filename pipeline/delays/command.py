"""The command `pipeline delays`: translates options, calls one function, prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pi_cache.commands.options import cache_option, examples, json_option, say
from pipeline.options import (
    DELAY_RULES,
    DIMENSION_RULES,
    LIKE,
    PART_OPTIONS,
    SAMPLE,
    SPEC_FILE,
    names,
    open_request,
    saved_request,
    with_options,
)

if TYPE_CHECKING:
    from pipeline.sources.base import Source

SAMPLES = ("sample", "split", "source_options", "limit")
"""Options of `build-pis` that say which samples there are."""


@examples(
    "pipeline delays array:windows.npz --sample signal",
    "pipeline delays sisfall:data/SisFall --source-option window=3s --source-option step=1s "
    "--delay-rule autocorrelation --channels adxl345_x,adxl345_y --json",
)
@click.command()
@click.argument("source", required=False)
@LIKE
@SPEC_FILE
@click.option(
    "--delay-rule", type=click.Choice(DELAY_RULES), default="mutual-information",
    show_default=True, help="What chooses the delay.",
)  # fmt: skip
@click.option(
    "--dimension-rule", type=click.Choice(DIMENSION_RULES), default="false-nearest-neighbours",
    show_default=True, help="What chooses the dimension, for that delay.",
)  # fmt: skip
@click.option(
    "--max-delay", type=click.IntRange(min=1), metavar="SAMPLES",
    help="Longest delay that is tried.  [default: a quarter of a window, at most 100]",
)  # fmt: skip
@click.option(
    "--max-dimension", type=click.IntRange(min=2), help="Highest that is tried.  [default: 6]"
)
@click.option(
    "--threshold", type=click.FloatRange(0, 1),
    help="Share of false nearest neighbours that a dimension may leave.  [default: 0.01]",
)  # fmt: skip
@click.option(
    "--windows", type=click.IntRange(min=1),
    help="So many are looked at, spread over the training part.  [default: 50]",
)  # fmt: skip
@click.option(
    "--channels", callback=names, default="", metavar="A,B",
    help="Look at these only.  [default: all]",
)  # fmt: skip
@with_options((SAMPLE, *PART_OPTIONS))
@click.option("--png", type=click.Path(path_type=Path, dir_okay=False), help="Draw the curves.")
@cache_option
@json_option
def delays(
    source: str | None,
    like: str | None,
    spec_file: Path | None,
    png: Path | None,
    cache: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Choose delay and dimension for delay embeddings of SOURCE, from its training part.

    --like STORE takes the samples of a store. Prints what the windows of each channel come to, and
    the options of build-pis to use.
    """
    from pipeline.delays.embedding import Limits, find_embedding
    from pipeline.delays.told import document_of, options_of, table_lines, warning_lines
    from pipeline.delays.training import WANTED, training_part

    if png is not None:
        from pipeline.figures import check_picture

        check_picture(png)
    part = training_part(
        _opened(source, (spec_file, like), cache, {name: given[name] for name in SAMPLES}),
        wanted=given["windows"] or WANTED,
        channels=given["channels"] or None,
    )
    for line in part.lines():
        say(line)
    limits = Limits.of(
        part, given["max_delay"], highest=given["max_dimension"], threshold=given["threshold"]
    )
    found = find_embedding(part, given["delay_rule"], given["dimension_rule"], limits)
    if png is not None:
        from pipeline.delays.figure import draw_embedding

        draw_embedding(found, png)
        say(f"drawn: {png}")
    if as_json:
        click.echo(json.dumps(document_of(found), ensure_ascii=False))
    else:
        for line in table_lines(found):
            click.echo(line)
    for line in warning_lines(found):
        say(f"warning: {line}")
    found.numbers()  # raises where a rule found none
    if not as_json:
        click.echo(f"options  {options_of(found)}")


def _opened(
    source: str | None,
    saved: tuple[Path | None, str | None],
    cache: Path | None,
    given: dict[str, Any],
) -> Source:
    """The samples that a command line means. saved: a file or a store that names them."""
    from pipeline.request import resolve

    if (source, *saved) == (None, None, None):
        raise click.UsageError("name a SOURCE, or what has its samples: --like STORE, --spec FILE")
    request = resolve(saved_request(*saved, cache, source=source), {"source": source, **given})
    data = open_request(request, say)
    if request.fingerprint is not None:
        request.check(data.spec())
    return data
