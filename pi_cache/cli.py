"""The `pi-cache` command."""

from __future__ import annotations

import sys

import click

from pi_cache.commands import (
    check,
    export,
    keep,
    legacy,
    look,
    mend,
    request,
    serve,
    split,
    token,
    transfer,
)
from pi_cache.commands.options import CONTEXT, say
from pi_cache.errors import PiCacheError


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="pi-cache")
def cli() -> None:
    """Look at a cache of persistence images; `pipeline build-pis` fills it."""


for _command in (
    look.list_stores,
    look.find,
    look.show,
    look.diff,
    keep.pin,
    keep.unpin,
    keep.remove_stores,
    keep.collect,
    keep.budget,
    check.verify_store,
    mend.repair_store,
    legacy.import_images,
    export.export_store,
    split.show_folds,
    split.show_join,
    serve.serve,
    request.request,
    transfer.pull,
    transfer.push,
    token.token,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command; an error of ours is one sentence on stderr and exit status 1."""
    try:
        cli()
    except PiCacheError as error:
        say(f"pi-cache: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
