"""`pi-cache request`: ask a service for a store, which it builds if it has none."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pi_cache import files
from pi_cache.commands.options import examples, json_option, say
from pi_cache.errors import BuildFailed, InvalidSpec, RemoteNotInstalled
from pi_cache.quantities import bytes_text, seconds_text

if TYPE_CHECKING:
    from pi_cache.remote.asking import Requests

INTERRUPTED = 130
LARGEST = 64 << 10
"""Bytes of a request, as a service takes it."""


@examples(
    "pi-cache request http://127.0.0.1:8642 --source digits --limit 200 --wait",
    "pi-cache request http://127.0.0.1:8642 --source digits --recipe tgd-cifar10 --json",
    "pi-cache request http://127.0.0.1:8642 --spec stores/3f2a.../spec.json --wait",
    "pi-cache request http://127.0.0.1:8642 --list",
)
@click.command("request")
@click.argument("url")
@click.option("--source", metavar="NAME", help="Data that the service offers, by its name there.")
@click.option("--recipe", metavar="NAME", help="What to make of it; see `pipeline recipes`.")
@click.option("--split", help="Only this part of the data, such as train.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many samples.")
@click.option("--variant", metavar="flip|...", help="Of the samples flipped, turned or reversed.")
@click.option(
    "--spec", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A saved request with diagram, image or gramian (JSON or TOML), or a store's spec.json.",
)  # fmt: skip
@click.option("--wait", is_flag=True, help="Until the store is finished, telling how far it is.")
@click.option("--list", "list_all", is_flag=True, help="List the requests that you may see.")
@click.option("--cancel", metavar="ID", help="End a request; what is done of its store is kept.")
@json_option
def request(
    url: str,
    spec: Path | None,
    wait: bool,
    list_all: bool,
    cancel: str | None,
    as_json: bool,
    **words: Any,
) -> None:
    """Ask the service at URL for a store: it is there, or it is built, and you may read it.

    The token is $PI_CACHE_TOKEN, or that of the host in the file of tokens. The same command again
    finds the same request. Prints the key of the store, once it is known.
    """
    given = {name: value for name, value in words.items() if value is not None}
    if ((list_all or cancel) and (given or spec or wait)) or (list_all and cancel):
        raise click.UsageError("--list and --cancel go with nothing but URL and --json")
    service = _service(url)
    if list_all:
        _print_list(service.listed(), as_json)
        return
    if cancel:
        _print(service.cancel(cancel), service, as_json)
        return
    found = service.ask(_merged(_read(spec) if spec else {}, given))
    if wait:
        found = _followed(service, found)
    _print(found, service, as_json)
    if found["state"] in ("failed", "cancelled"):
        raise BuildFailed(f"the request was not fulfilled: {found.get('error')}")


def _service(url: str) -> Requests:
    """The requests at a service. Raises RemoteNotInstalled, InvalidSpec, AccessRefused."""
    try:
        from pi_cache.remote.asking import Requests
    except ModuleNotFoundError as error:
        raise RemoteNotInstalled(
            f"this needs {error.name}: pip install 'pi-cache[remote]'"
        ) from error
    return Requests(url)


def _read(path: Path) -> dict[str, Any]:
    """The request that is saved in a file. Raises InvalidSpec."""
    try:
        text = files.read_bytes(path, LARGEST).decode()
        document = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidSpec(f"{path}: not a readable JSON or TOML file ({error})") from None
    if not isinstance(document, dict):
        raise InvalidSpec(f"{path}: must hold one table of names and values")
    return document


def _merged(saved: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What is sent: a saved request and what is named beside it.

    Of the spec of a store only what it computes goes with other data. Raises UsageError.
    """
    if isinstance(saved.get("source"), dict) and given:
        if "source" not in given:
            raise click.UsageError("the spec of a store names its samples: add --source NAME")
        saved = {name: saved[name] for name in ("diagram", "image", "gramian") if name in saved}
    document = {**saved, **given}
    if not document.get("source"):
        raise click.UsageError("name the data: --source NAME, or --spec FILE that does")
    return document


def _followed(service: Requests, found: dict[str, Any]) -> dict[str, Any]:
    """A request once it has ended; a line is said whenever it has come further."""
    last = ""
    try:
        for now in service.follow(found):
            found, line = now, progress_line(now)
            if line != last:
                say(line)
            last = line
    except KeyboardInterrupt:
        say(f"the build goes on without you; to end it: --cancel {found['id']}")
        click.get_current_context().exit(INTERRUPTED)
    return found


def progress_line(found: dict[str, Any]) -> str:
    """How far a request is, in words."""
    progress, state = found.get("progress"), found["state"]
    if state == "queued":
        return f"queued: {found['position']} of the builds that wait"
    if state != "running" or progress is None:
        return str(state)
    parts = [f"{progress['phase']}: shard {progress['shards_done']} of {progress['shards']}"]
    if progress["rate"]:
        parts.append(f"{progress['rate']:.3g} samples/s")
    if (progress["seconds_left"] or 0) >= 1:
        parts.append(f"about {seconds_text(progress['seconds_left'])} left")
    return ", ".join(parts)


def _print(found: dict[str, Any], service: Requests, as_json: bool) -> None:
    """A request, on standard output."""
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    store = service.store(found["key"]) if found.get("store") else None
    size = (found.get("estimate") or {}).get("bytes")
    rows = {
        "state": found["state"],
        "key": found.get("key"),
        "store": store,
        "samples": f"{found['samples']:,}" if found.get("samples") else None,
        "size": f"about {bytes_text(size)}" if size and not store else None,
        "request": found.get("id"),
    }
    for name, value in rows.items():
        if value:
            click.echo(f"{name:<8} {value}")


def _print_list(found: Iterable[dict[str, Any]], as_json: bool) -> None:
    """Requests, on standard output."""
    if as_json:
        click.echo(json.dumps(list(found), ensure_ascii=False))
        return
    for each in found:
        key = (each["key"] or "")[:12]
        click.echo(f"{each['id']}  {key:<12}  {each['source']:<16}  {progress_line(each)}")
