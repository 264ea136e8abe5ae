"""Options of `pi-cache serve` that say what is built on demand, of which data and by whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pi_cache.errors import InvalidSpec
from pi_cache.quantities import parse_bytes
from pi_cache.serving.builds.settings import EXECUTORS, BuildSettings, Quotas
from pi_cache.serving.builds.sources import parse_listed, read_listed
from pi_cache.specs import ENGINES

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(path_type=Path, dir_okay=False)
SETTINGS, QUOTAS = BuildSettings(), Quotas()


def _bytes(context: Any, parameter: Any, text: str | None) -> int | None:
    """A click callback for a size."""
    try:
        return None if text is None else parse_bytes(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_OPTIONS = (
    click.option(
        "--source", "source", multiple=True, metavar="NAME=SOURCE",
        help="Data of which stores may be asked for, by a name; again for more. Without any,"
        " nothing is built on demand.",
    ),
    click.option("--sources", type=FILE, help="A TOML file of such data, with their options."),
    click.option(
        "--executor", type=click.Choice(EXECUTORS),
        help="Who computes.  [default: joblib if long]",
    ),
    click.option("--workers", type=click.IntRange(min=1), help="Processes of a build."),
    click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler that builds."),
    click.option("--scheduler-file", type=FILE, help="The file that one writes its address into."),
    click.option("--profile", type=FILE, help="Options of jobs, a TOML file; executor slurm."),
    click.option(
        "--time-limit", type=click.FloatRange(min=0), metavar="SECONDS",
        help="A sample with a channel that takes longer is left out; 0 for none.  [default: 600]",
    ),
    click.option(
        "--engine", "engines", multiple=True, type=click.Choice(ENGINES),
        help="Another engine that may be asked for, besides the usual one; again for more.",
    ),
    click.option(
        "--builds", type=click.IntRange(min=1), default=SETTINGS.builds, show_default=True,
        help="Stores that are built at a time.",
    ),
    click.option(
        "--niceness", type=click.IntRange(0, 19), default=SETTINGS.niceness, show_default=True,
        help="How far builds stand back for other processes.",
    ),
    click.option(
        "--most-samples", type=click.IntRange(min=0), default=QUOTAS.samples, show_default=True,
        help="Samples of a store that is asked for; 0 is any number.",
    ),
    click.option(
        "--most-bytes", callback=_bytes, metavar="SIZE",
        help="Size of a store that is asked for, by its plan, such as 20GB.  [default: any]",
    ),
    click.option(
        "--open-requests", type=click.IntRange(min=1), default=QUOTAS.open, show_default=True,
        help="Requests of one token that wait or run at a time.",
    ),
    click.option(
        "--requests-an-hour", type=click.IntRange(min=1), default=QUOTAS.hourly, show_default=True,
        help="Requests of one token within an hour.",
    ),
)  # fmt: skip


def build_options(command: Command) -> Command:
    """All of these options, for a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take_settings(options: dict[str, Any]) -> BuildSettings | None:
    """What the options say, which are taken out; None where nothing is built on demand.

    Raises InvalidSpec.
    """
    named = ("executor", "workers", "scheduler", "scheduler_file", "profile", "time_limit")
    given = {name: options.pop(name) for name in (*named, "engines", "builds", "niceness")}
    quotas = Quotas(
        samples=options.pop("most_samples"),
        bytes=options.pop("most_bytes") or 0,
        open=options.pop("open_requests"),
        hourly=options.pop("requests_an_hour"),
    )
    profile: Path | None = given["profile"]
    if profile is not None and not profile.is_file():
        raise InvalidSpec(f"{profile}: there is no such file; --profile names options of jobs")
    words, file = options.pop("source"), options.pop("sources")
    sources = {} if file is None else read_listed(file)
    more = parse_listed(words)
    twice = ", ".join(sorted(sources.keys() & more.keys()))
    if twice:
        raise InvalidSpec(f"sources with the same name: {twice}")
    settings = BuildSettings(sources=sources | more, quotas=quotas, **given)
    return settings if settings.sources else None
