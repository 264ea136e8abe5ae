"""Where to begin: public data sets, and a demonstration."""

from __future__ import annotations

import time
from pathlib import Path

import click

from pi_cache import catalogue
from pi_cache.commands.options import cache_option, examples, say
from pipeline.printed import root_hint, summary_lines


@examples(
    "pipeline fetch --list", "pipeline fetch cifar10", "pipeline fetch cifar10 --to data/downloads"
)
@click.command()
@click.argument("name", required=False)
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), help="Folder to unpack in.")
@click.option("--list", "list_all", is_flag=True, help="List what can be fetched.")
def fetch(name: str | None, to: Path | None, list_all: bool) -> None:
    """Download a public data set, checked and resumed, and say how to build from it."""
    from pipeline.fetch import fetch as download
    from pipeline.fetch import load_registry

    registry = load_registry()
    if list_all or name is None:
        for entry in registry.values():
            click.echo(
                f"{entry.name:<14} {entry.title}\n{'':<14} {entry.citation}; {entry.licence}"
            )
        return
    path = download(name, to, say=say)
    click.echo(path)
    say(f"next: pipeline plan {registry[name].source.format(path=path)}")


@examples("pipeline demo", "pipeline demo --png digits.png --cache demo-cache")
@click.command()
@click.option(
    "--png",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("demo.png"),
    show_default=True,
    help="Where the picture goes.",
)
@cache_option
def demo(png: Path, cache: Path | None) -> None:
    """Build scikit-learn's digits by every filtration once, and draw a few samples."""
    from pipeline.demo import build_demo, draw_demo
    from pipeline.figures import check_picture

    check_picture(png)
    started, stores = time.perf_counter(), []
    for line, built in build_demo(catalogue.parse_root(cache)):
        click.echo(f"$ {line}")
        for text in summary_lines(built.to_dict()):
            click.echo(f"  {text}")
        stores.append(built.path)
    drawing = time.perf_counter()
    draw_demo(stores, png)
    ended = time.perf_counter()
    click.echo(f"picture  {png} ({ended - drawing:.1f} s)")
    click.echo(f"in all   {ended - started:.1f} s; see also: pi-cache ls{root_hint(cache)}")
