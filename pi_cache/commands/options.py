"""Options and words that the commands of all rooms share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

CONTEXT = {"help_option_names": ["-h", "--help"]}

cache_option = click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Cache root.  [default: $PI_CACHE, else the user's cache folder]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def examples(*lines: str) -> Callable[[click.Command], click.Command]:
    """Put examples at the end of a command's help."""

    def add(command: click.Command) -> click.Command:
        command.epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
        return command

    return add


def quantity(parse: Callable[[str], Any]) -> Callable[[Any, Any, str | None], Any]:
    """A click callback for a size or an age."""

    def convert(context: Any, parameter: Any, text: str | None) -> Any:
        try:
            return None if text is None else parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return convert


def say(text: str) -> None:
    """A line of talk, beside the data on standard output."""
    click.echo(text, err=True)
