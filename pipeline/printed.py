"""What commands of the pipeline print of builds and of plans."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click

from pi_cache.commands.options import say
from pi_cache.keeping.space import Room, free_text, room_of, shortages
from pi_cache.quantities import bytes_text, seconds_text
from pi_cache.reader import Store
from pipeline.plan import Plan

NARROWEST = 60
"""Letters of a line; a table is not told in fewer."""


def summary_lines(document: dict[str, Any]) -> list[str]:
    """What a build did, for people."""
    status = ", ".join(f"{count:,} {name}" for name, count in document["status"].items())
    times, core = document["times"], "core_"
    parts = {
        **{name: s for name, s in times.items() if name in ("identify", "prepare", "finish")},
        **{name.removeprefix(core): s for name, s in times.items() if name.startswith(core)},
    }
    spent = ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items())
    how = "found in the cache"
    if not document["found"]:
        start_up = f"{times['start_up']:.1f} s start-up"
        how = f"{document['seconds']:.2f} s of work ({spent}) after {start_up}"
    return [
        f"key      {document['key']}",
        f"path     {document['path']}",
        f"samples  {document['samples']:,}: {status}",
        f"size     {bytes_text(document['bytes'])} in {document['files']} files",
        f"time     {how}",
        f"memory   {bytes_text(document['peak_memory'])} at most in one worker"
        if document["peak_memory"]
        else "memory   -",
    ]


def print_plan(planned: Plan, root: Path, *, found: bool, as_json: bool) -> None:
    """Print what a build would do, and say why it is not in the cache, or has no room there."""
    from pipeline.prepare import explain_miss

    room = room_of(root)
    document = planned.to_dict() | {"found": found, "room": room.to_dict()}
    for line in shortages(room, planned.adds) if not found else []:
        say(f"warning: there is no room for this build: {line}")
    if as_json:
        click.echo(json.dumps(document))
        return
    say("already in the cache" if found else explain_miss(root, planned.spec))
    for line in plan_lines(document, room):
        click.echo(line)


def plan_lines(document: dict[str, Any], room: Room) -> list[str]:
    """A plan, for people."""
    rows = {
        "key": document["key"],
        "samples": f"{document['samples']:,}",
        "shards": f"{document['shards']} of up to {document['shard_samples']} samples",
        "files": document["files"],
        "size": bytes_text(document["bytes"]),
        "room": _room(room),
        "memory": f"{bytes_text(document['memory_per_worker'])} a worker",
        "workers": document["workers"],
        "time": seconds_text(document["seconds"]),
        "one core": seconds_text(document["core_seconds"]),
    }
    if document["reading_again"]:
        spent = seconds_text(document["reading_again"])
        rows["one core"] += (
            f", {spent} of them to read recordings: each worker reads those of its shards once"
        )
    if "points_per_sample" in document:
        rows["points"] = f"{document['points_per_sample']:.0f} a sample"
    return [f"{name:<8} {value}" for name, value in rows.items()]


def say_drawn(png: Path, store: Store, sample: int | None = None) -> None:
    """Where a picture is, of a sample or of all, and what is not as it is called in it."""
    from pipeline.figures import font_lines, names_of

    say(f"drawn: {png}")
    for line in font_lines(names_of(store, sample)):
        say(f"note: {line}")


def terminal_width(otherwise: int) -> int:
    """Letters of a line on the terminal that is printed to, and for a file so many."""
    return max(shutil.get_terminal_size((otherwise, 24)).columns, NARROWEST)


def root_hint(cache: Path | None) -> str:
    """The option that names a cache again, in the next command."""
    return "" if cache is None else f" --cache {cache}"


def _room(room: Room) -> str:
    """What the cache can take, in words."""
    if room.budget is None or room.used is None:
        return f"{free_text(room)} free"
    budget = f"{bytes_text(room.used)} used of a budget of {bytes_text(room.budget)}"
    return f"{free_text(room)} free; {budget}"
