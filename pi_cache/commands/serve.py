"""`pi-cache serve`: finished stores for other hosts, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from pi_cache.commands.building import build_options, take_settings
from pi_cache.commands.options import examples, say
from pi_cache.errors import InvalidSpec, PiCacheError, ServiceNotInstalled, StorageFailed
from pi_cache.serving.limits import Limits

PORT = 8642


def limit_option(name: str, kind: type, text: str) -> Callable[[Callable[..., Any]], Any]:
    """The option of a field of `Limits`, with its default."""
    default = next(f.default for f in fields(Limits) if f.name == name)
    words = f"--{name.replace('_', '-')}"
    return click.option(words, type=kind, default=default, show_default=True, help=text)


@examples(
    "pi-cache serve /data/pi",
    "pi-cache serve /data/pi --port 0 --log requests.jsonl",
    "pi-cache serve /data/pi --source digits=digits --workers 2 --most-samples 50000",
)
@click.command()
@click.argument("root", type=click.Path(path_type=Path, file_okay=False))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True,
    help="Port; 0 is any that is free.",
)  # fmt: skip
@click.option(
    "--tokens", type=click.Path(path_type=Path, file_okay=False),
    help="Folder of tokens (pi-cache token new); without it everybody may read.",
)  # fmt: skip
@click.option("--insecure", is_flag=True, help="Let everybody on the network read, without tokens.")
@click.option(
    "--allow-host", multiple=True, metavar="NAME",
    help="Name by which requests may call this service where there are no tokens.",
)  # fmt: skip
@click.option(
    "--certificate", type=click.Path(path_type=Path, dir_okay=False),
    help="Certificates of the service for HTTPS, as PEM.",
)  # fmt: skip
@click.option(
    "--key", type=click.Path(path_type=Path, dir_okay=False),
    help="Private key of the certificate, as PEM; where that does not hold it.",
)  # fmt: skip
@click.option(
    "--log", type=click.Path(path_type=Path, dir_okay=False),
    help="File to which a line a request is appended.  [default: standard error]",
)  # fmt: skip
@limit_option("timeout", float, "Seconds for a client to send a request, or to take what waits.")
@limit_option("keep_alive", float, "Seconds between two requests of a connection.")
@limit_option("grace", float, "Seconds to finish answers when told to end.")
@limit_option("connections", int, "Connections at a time; 0 is any number.")
@limit_option("per_address", int, "Connections of one address at a time; 0 is any number.")
@limit_option("rate", float, "Requests a second of one token or address; 0 is any number.")
@limit_option("burst", int, "Requests of one at once, before the rate counts.")
@build_options
def serve(root: Path, **options: Any) -> None:
    """Serve the finished stores under ROOT, read only, until it is told to end.

    Its address is printed on standard output once it answers. Only this machine reaches it unless
    --host says otherwise, which needs --tokens. A token is sent as `Authorization: Bearer TOKEN`,
    or as the password that a browser asks for.
    """
    if options["key"] and not options["certificate"]:
        raise click.UsageError("--key goes with --certificate")
    try:
        from pi_cache.serving.command import run
    except ModuleNotFoundError as error:
        raise ServiceNotInstalled(
            f"the service needs {error.name}: pip install 'pi-cache[serve]'"
        ) from error
    try:
        building = take_settings(options)
        run(root, ready=_ready, building=building, **options)
    except InvalidSpec as error:
        raise click.UsageError(str(error)) from error
    except PiCacheError:
        raise
    except OSError as error:
        raise StorageFailed(f"cannot serve {root}: {error}") from error


def _ready(url: str) -> None:
    click.echo(url)
    say(f"serving {url}; end it with Ctrl+C")
