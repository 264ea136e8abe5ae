"""What stays in a cache: pins, removal, garbage collection, the byte budget."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from pi_cache import catalogue
from pi_cache.commands.options import cache_option, examples, json_option, quantity, say
from pi_cache.commands.table import table_lines
from pi_cache.errors import PiCacheError, StoreNotFound
from pi_cache.keeping import pins, removal, space
from pi_cache.keeping.removal import Target
from pi_cache.quantities import (
    bytes_text,
    core_time_text,
    parse_bytes,
    parse_seconds,
    seconds_text,
)
from pi_cache.root import STORES

yes_option = click.option("--yes", is_flag=True, help="Remove; without it nothing is touched.")


@examples("pi-cache pin 3f2a9c", 'pi-cache pin 3f2a9c --note "table 2 of the paper"')
@click.command()
@click.argument("store")
@click.option("--note", default="", help="Why.")
@cache_option
def pin(store: str, note: str, cache: Path | None) -> None:
    """Pin STORE: neither rm nor gc removes it until it is unpinned."""
    root, key = _place(store, cache)
    say(f"{key[:12]} is {pins.pin(root, key, note)}")


@examples("pi-cache unpin 3f2a9c")
@click.command()
@click.argument("store")
@cache_option
def unpin(store: str, cache: Path | None) -> None:
    """Take the pin of STORE away."""
    root, key = (catalogue.parse_root(cache), store)
    if "/" in store:
        root, key = _place(store, cache)
    found = pins.unpin(root, key)
    say(f"{key[:12]} was not pinned" if found is None else f"{found[:12]} is not pinned any more")


@examples("pi-cache rm 3f2a9c", "pi-cache rm 3f2a9c 3f2a01 --yes")
@click.command("rm")
@click.argument("stores", nargs=-1, required=True)
@yes_option
@click.option("--young", is_flag=True, help="Also what was changed within the last hour.")
@cache_option
@json_option
def remove_stores(
    stores: Sequence[str], yes: bool, young: bool, cache: Path | None, as_json: bool
) -> None:
    """Say what removing STORES would free and cost; with --yes, remove them.

    Refused are pinned stores, and without --young those that changed within the last hour, since a
    build may be at work in them. Only stores below a cache root go, and links are never followed.
    """
    by_root: dict[Path, list[str]] = {}
    for root, key in (_place(store, cache) for store in stores):
        by_root.setdefault(root, []).append(key)
    found: dict[Path, Sequence[Target]] = {
        root: removal.removable(root, keys, young=young) for root, keys in by_root.items()
    }
    problems: list[PiCacheError] = []
    if yes:
        found = {
            root: _removed(root, targets, problems, young=young) for root, targets in found.items()
        }
    _print_targets([target for targets in found.values() for target in targets], yes, as_json)
    removal.raise_all(problems)


@examples(
    "pi-cache gc",
    "pi-cache gc --older-than 30d --max-bytes 200GB",
    "pi-cache gc --older-than 30d --yes --json",
)
@click.command("gc")
@click.option(
    "--older-than", callback=quantity(parse_seconds), metavar="AGE",
    help="Also stores that were written before that, finished or not, and what has lain in "
    "quarantine for so long: 30d, 12h.",
)  # fmt: skip
@click.option(
    "--max-bytes", callback=quantity(parse_bytes), metavar="SIZE",
    help="Then the stores written first, until the stores take no more: 200GB.",
)  # fmt: skip
@yes_option
@cache_option
@json_option
def collect(
    older_than: float | None, max_bytes: int | None, yes: bool, cache: Path | None, as_json: bool
) -> None:
    """Say what is garbage in a cache; with --yes, remove it.

    Garbage is what a killed removal left in the trash, and temporaries of builds that are gone;
    with limits also stores. Pinned stores stay, and those that changed within the last hour. Exit
    status 1 where the rest is larger than --max-bytes.
    """
    root = catalogue.parse_root(cache)
    found = removal.collectable(root, older_than=older_than, max_bytes=max_bytes)
    problems: list[PiCacheError] = []
    targets = _removed(root, found.targets, problems) if yes else found.targets
    stay = sum(t.extent.bytes for t in found.targets if t.key and t not in targets)
    _print_targets(targets, yes, as_json, left=found.left + stay)
    if found.closed:
        say(f"kept and not counted: may not be read: {', '.join(found.closed)}")
    removal.raise_all(problems)
    if max_bytes is not None and found.left > max_bytes:
        raise PiCacheError(
            f"{bytes_text(found.left)} stay, more than {bytes_text(max_bytes)}: "
            + removal.first_of([*found.kept.values()])
        )


def _size_or_none(text: str) -> int | str:
    return "none" if text.lower() == "none" else parse_bytes(text)


@examples("pi-cache budget", "pi-cache budget 500GB --cache /data/pi", "pi-cache budget none")
@click.command()
@click.argument("size", required=False, callback=quantity(_size_or_none), metavar="[SIZE|none]")
@cache_option
@json_option
def budget(size: int | str | None, cache: Path | None, as_json: bool) -> None:
    """Show how much a cache may take, takes and can take; with SIZE, set the most it may take.

    A build that would go over the budget is refused before it starts, as is one for which the file
    system has too little space or too few inodes. Builds that run at the same time do not see what
    the others still need. A quota of your account is not seen: file systems do not tell it.
    """
    root = catalogue.parse_root(cache)
    if size is not None:
        space.set_budget(root, None if isinstance(size, str) else size)
    room = space.room_of(root)
    if room.used is None:
        taken = space.used_by(root)
        room = replace(room, used=taken.bytes, closed=taken.closed)
    used = room.used or 0
    if room.closed:
        say(space.closed_text(room.closed))
    if as_json:
        click.echo(json.dumps(room.to_dict()))
        return
    rows = {
        "budget": "none" if room.budget is None else bytes_text(room.budget),
        "used": bytes_text(used),
        "free": space.free_text(room),
    }
    for line in table_lines(list(rows.items())):
        click.echo(line)
    if room.budget is not None and used > room.budget:
        say(f"over the budget: pi-cache gc --max-bytes {room.budget} shows what could go")


def _place(store: str, cache: Path | None) -> tuple[Path, str]:
    """The root and the key of a store that lies in a cache."""
    path = catalogue.locate(store, cache)
    if path.parent.name != STORES:
        raise StoreNotFound(f"{path}: this folder is not among the stores of a cache")
    return path.parents[1], path.name


def _removed(
    root: Path, targets: Sequence[Target], problems: list[PiCacheError], *, young: bool = False
) -> Sequence[Target]:
    """Remove targets; those that went, where some could not: the problem joins the others."""
    try:
        removal.remove(root, targets, young=young)
    except PiCacheError as problem:
        problems.append(problem)
        return removal.gone(root, targets)
    return targets


def _print_targets(
    targets: Sequence[Target], removed: bool, as_json: bool, left: int | None = None
) -> None:
    """What went, or would go, and what that frees and costs."""
    size = sum(target.extent.bytes for target in targets)
    count = sum(target.extent.files for target in targets)
    cost = sum(target.core_seconds for target in targets)
    if as_json:
        document = {
            "removed": removed,
            "targets": [_document(target) for target in targets],
            "bytes": size,
            "files": count,
            "core_hours": cost / 3600,
            **({} if left is None else {"left": left}),
        }
        click.echo(json.dumps(document, ensure_ascii=False))
    elif targets:
        header = ("what", "size", "age", "core time", "name")
        for line in table_lines([header, *map(_row, targets)], (1, 2, 3)):
            click.echo(line)
    if not targets:
        say("nothing was removed" if removed else "there is nothing to remove")
        return
    again = f"; computing it again takes {core_time_text(cost)}" if cost else ""
    amount = f"{bytes_text(size)} in {count:,} files and folders"
    if removed:
        say(f"removed {amount}{again}")
    else:
        say(f"dry run, nothing was removed: the same command with --yes frees {amount}{again}")


def _document(target: Target) -> dict[str, Any]:
    return {
        "what": target.what,
        "key": target.key,
        "place": "/".join(target.place),
        "bytes": target.extent.bytes,
        "files": target.extent.files,
        "age": target.age,
        "core_hours": target.core_seconds / 3600,
    }


def _row(target: Target) -> tuple[str, ...]:
    inside = "/".join(target.place[2:] if target.key else target.place)
    return (
        target.what,
        bytes_text(target.extent.bytes),
        seconds_text(target.age),
        core_time_text(target.core_seconds),
        f"{target.key[:12]} {inside}".rstrip() if target.key else inside,
    )
