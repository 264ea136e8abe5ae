"""Stores that come from other machines, and go there."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from pi_cache import catalogue
from pi_cache.commands.each import Meter
from pi_cache.commands.options import cache_option, examples, json_option, say
from pi_cache.errors import InvalidSpec
from pi_cache.quantities import bytes_text, seconds_text
from pi_cache.remote.pulling import JOBS, Transfer
from pi_cache.remote.pulling import pull as pull_store
from pi_cache.remote.pushing import push as push_store
from pi_cache.remote.transport import Transport, store_transport

jobs_option = click.option(
    "--jobs", type=click.IntRange(1, 64), default=JOBS, show_default=True, help="Files at a time."
)
space_option = click.option(
    "--no-space-check", is_flag=True, help="Begin even where the space seems too little."
)


@examples(
    "pi-cache pull https://pi.example.org 3f2a9c",
    "pi-cache pull s3://bucket/prefix 3f2a9c --cache /data/pi --jobs 8",
    "pi-cache pull /mnt/lab/pi 3f2a9c",
    "pi-cache pull /mnt/lab/pi 3f2a9c --cache /data/pi --json | jq -r .place",
)
@click.command("pull")
@click.argument("place")
@click.argument("key", required=False)
@cache_option
@jobs_option
@space_option
@json_option
def pull(
    place: str,
    key: str | None,
    cache: Path | None,
    jobs: int,
    no_space_check: bool,
    as_json: bool,
) -> None:
    """Copy the finished store KEY of PLACE into a cache, every file checked by its digest.

    PLACE is a service (https://HOST), a prefix in a bucket (s3://BUCKET/PREFIX) or a folder, such
    as the cache of another machine; without KEY it is the store itself (https://HOST/stores/KEY).
    The token of a service is $PI_CACHE_TOKEN, or that of its host in the file of tokens;
    credentials and endpoint of a bucket are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION
    and AWS_ENDPOINT_URL. A pull that is stopped goes on when it is run again.
    """
    source, shown = _parsed(place, key)
    root = catalogue.parse_root(cache)
    with Meter("pull") as meter:
        done = pull_store(
            source, shown, root, jobs=jobs, check_room=not no_space_check, progress=meter
        )
    _print(done, "pulled", as_json)


@examples(
    "pi-cache push 3f2a9c s3://bucket/prefix",
    "pi-cache push 3f2a9c /mnt/lab/pi",
    "pi-cache push 3f2a9c /mnt/lab/pi --cache /data/pi --json",
)
@click.command("push")
@click.argument("store")
@click.argument("target")
@cache_option
@jobs_option
@click.option(
    "--single-writer",
    is_flag=True,
    help="Nobody else pushes there now: a server without conditional writes will do.",
)
@space_option
@json_option
def push(
    store: str,
    target: str,
    cache: Path | None,
    jobs: int,
    single_writer: bool,
    no_space_check: bool,
    as_json: bool,
) -> None:
    """Copy the finished STORE to TARGET, a prefix in a bucket (s3://BUCKET/PREFIX) or a folder.

    A folder becomes a cache: give it as --cache, or serve it. What is in a bucket already is left
    as it is, and its manifest comes last; `pi_cache.open_store("s3://BUCKET/PREFIX/KEY")` reads it.
    Credentials and endpoint are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and
    AWS_ENDPOINT_URL.
    """
    path = catalogue.locate(store, cache)
    try:
        with Meter("push") as meter:
            done = push_store(
                path,
                target,
                jobs=jobs,
                single_writer=single_writer,
                check_room=not no_space_check,
                progress=meter,
            )
    except InvalidSpec as error:
        raise click.UsageError(str(error)) from error
    _print(done, "pushed", as_json)


def _parsed(place: str, key: str | None) -> tuple[Transport, str]:
    try:
        return store_transport(place, key)
    except InvalidSpec as error:
        raise click.UsageError(str(error)) from error


def _print(done: Transfer, verb: str, as_json: bool) -> None:
    """Where the store is now; and on standard error what that took."""
    if as_json:
        click.echo(json.dumps(asdict(done), ensure_ascii=False))
    else:
        click.echo(done.place)
    size = f"{done.files:,} files, {bytes_text(done.bytes)}"
    if done.found:
        say(f"{done.key[:12]} is there: {size}")
        return
    rate = f", {bytes_text(done.moved_bytes / done.seconds)}/s" if done.seconds else ""
    say(
        f"{verb} {done.key[:12]}: {done.moved_files:,} of {size} ({bytes_text(done.moved_bytes)})"
        f" in {seconds_text(done.seconds)}{rate}"
    )
