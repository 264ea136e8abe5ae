"""`pi-cache token`: who may use the service."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pi_cache import catalogue
from pi_cache.commands.options import cache_option, examples, json_option, quantity, say
from pi_cache.commands.table import table_lines
from pi_cache.errors import InvalidSpec, StoreNotFound
from pi_cache.quantities import parse_seconds
from pi_cache.serving import tokens
from pi_cache.serving.access import MAY

HEADER = ("id", "name", "may", "stores", "expires", "state")

tokens_option = click.option(
    "--tokens",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of tokens.  [default: $PI_CACHE_TOKENS, else in the user's settings]",
)


@click.group()
def token() -> None:
    """Make, list and revoke the tokens of `pi-cache serve --tokens`."""


examples(
    "pi-cache token new --name alice --all-stores",
    "pi-cache token new --name bob --store 3f2a9c --expires 30d",
    "pi-cache token list --json",
)(token)


@examples(
    "pi-cache token new --name alice --all-stores --may read --may build --expires 30d",
    "pi-cache token new --name bob --store 3f2a9c --tokens /data/pi/tokens",
    "pi-cache token new --name prometheus --may watch",
)
@token.command("new")
@click.option("--name", required=True, help="Whose it is, for people and the log.")
@click.option("--store", "stores", multiple=True, help="A store that it may read: path or key.")
@click.option("--all-stores", is_flag=True, help="It may read every store, later ones too.")
@click.option(
    "--may", type=click.Choice(MAY), multiple=True, default=("read",), show_default=True,
    help="Read stores, request builds, or watch /health and /metrics.",
)  # fmt: skip
@click.option(
    "--expires", callback=quantity(parse_seconds), default="90d", show_default=True, metavar="AGE",
    help="How long it counts: 30d, 12h.",
)  # fmt: skip
@tokens_option
@cache_option
@json_option
def new(
    name: str,
    stores: Sequence[str],
    all_stores: bool,
    may: Sequence[str],
    expires: float,
    folder: Path | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Make a token and print it: the only time that it can be seen.

    Kept is only the SHA-256 of its secret part. To replace one, make a second of the same name,
    give it out, and then revoke the first.
    """
    if bool(stores) == all_stores and "read" in may:
        raise click.UsageError("give either --store, once for each store, or --all-stores")
    keys = None if all_stores else [_key(store, cache) for store in stores]
    folder = folder or tokens.default_folder()
    try:
        text, made = tokens.new_token(folder, name, may=may, stores=keys, seconds=expires)
    except InvalidSpec as error:
        raise click.UsageError(str(error)) from error
    click.echo(json.dumps({"token": text, **document(made)}) if as_json else text)
    say(f"it is not shown again; {folder} keeps {made.id} of {made.name} until {made.expires}")


@examples("pi-cache token list", "pi-cache token list --tokens /data/pi/tokens --json")
@token.command("list")
@tokens_option
@json_option
def list_tokens(folder: Path | None, as_json: bool) -> None:
    """List the tokens, without what is secret in them."""
    folder = folder or tokens.default_folder()
    kept = tokens.TokenFolder(folder)
    documents = [document(found) for found in kept.all()]
    if kept.problem:
        say(kept.problem)
    if as_json:
        click.echo(json.dumps(documents))
        return
    for line in table_lines([HEADER, *map(_row, documents)]) if documents else []:
        click.echo(line)
    say(f"{len(documents)} token{'s' * (len(documents) != 1)} in {folder}")


@examples("pi-cache token revoke bob", "pi-cache token revoke bob --tokens /data/pi/tokens")
@token.command()
@click.argument("named", metavar="ID|NAME")
@tokens_option
def revoke(named: str, folder: Path | None) -> None:
    """Revoke the token of this ID, or all of this NAME; a running service notices in a second."""
    for gone in tokens.revoke(folder or tokens.default_folder(), named):
        say(f"revoked {gone.id} of {gone.name}")


def document(found: tokens.Token) -> dict[str, Any]:
    """A token as plain JSON values, without the digest of its secret."""
    return {
        "id": found.id,
        "name": found.name,
        "may": list(found.may),
        "stores": None if found.stores is None else list(found.stores),
        "created": found.created,
        "expires": found.expires,
        "state": "live" if found.is_live(time.time()) else "expired",
    }


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    stores = one["stores"]
    named = "all" if stores is None else ", ".join(key[:12] for key in stores) or "none"
    return one["id"], one["name"], ", ".join(one["may"]), named, one["expires"], one["state"]


def _key(store: str, cache: Path | None) -> str:
    """The key of a store by path, key or unique start of a key; a whole key may not exist yet."""
    if tokens.KEY.fullmatch(store):
        return store
    path = catalogue.locate(store, cache)
    if not tokens.KEY.fullmatch(path.name):
        raise StoreNotFound(f"{path}: this folder is not among the stores of a cache")
    return path.name
