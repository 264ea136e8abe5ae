"""What lies in a cache, one store in full, and what differs between two."""

from __future__ import annotations

import datetime
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from pi_cache import catalogue, files
from pi_cache.commands.options import cache_option, examples, json_option, say
from pi_cache.commands.table import printable, table_lines
from pi_cache.comparison import compare
from pi_cache.errors import InvalidSpec, StorageFailed
from pi_cache.folders import extent_of
from pi_cache.keeping.pins import Pin, read_pins
from pi_cache.quantities import bytes_text, core_time_text, seconds_text, value_text
from pi_cache.query import Condition, parse_condition, select
from pi_cache.reader import Store, open_store
from pi_cache.remote.address import is_remote
from pi_cache.specs import FORM_NAMES, UNKNOWN, VARIANT, known_fields

HEADER = ("key", "state", "samples", "size", "age", "core time", "images", "recipe", "source")
NUMBERS = (2, 3, 4, 5)
"""Columns that end at one place."""
NOTED = ("embedding",)
"""What is told of some stores: how the numbers of their spec were chosen."""
IN_REPORTS = ("shown", "inputs")
"""Statistics of exact sums by channel: `pipeline report` prints what they say, JSON has them."""


@examples("pi-cache ls", "pi-cache ls --cache /data/pi --json")
@click.command("ls")
@cache_option
@json_option
def list_stores(cache: Path | None, as_json: bool) -> None:
    """List the stores, the newest first: how large, how old, the core time that each saves.

    Size is that of the data of a finished store, and of all files of another one. Core time is what
    one core took for it, so what it would take to compute it again.
    """
    root = catalogue.parse_root(cache)
    _print_stores(root, catalogue.stores(root), as_json)


def _conditions(context: Any, parameter: Any, words: Sequence[str]) -> list[Condition]:
    try:
        return [parse_condition(word) for word in words]
    except InvalidSpec as error:
        raise click.BadParameter(str(error)) from error


@examples(
    "pi-cache find filtration=rips sigma=0.05",
    "pi-cache find diagram.homology=0,1 image.dtype!=uint8 --json",
    "pi-cache find source.location~photos recipe=tgd-cifar10 state=finished",
    "pi-cache find representation=persistence-images",
)
@click.command()
@click.argument(
    "conditions", nargs=-1, required=True, callback=_conditions, metavar="FIELD=VALUE..."
)
@cache_option
@json_option
def find(conditions: list[Condition], cache: Path | None, as_json: bool) -> None:
    """List the stores whose spec meets every condition.

    FIELD is any field that `pi-cache show --json` has in source, diagram, image or gramian
    (image.sigma, or sigma where no other field ends so), representation, recipe, key or state.
    FIELD=VALUE compares numbers as numbers, FIELD!=VALUE is the opposite, and FIELD~PART finds PART
    in the value, in any case. A store that was made by a recipe with some of it changed has recipe
    "NAME, changed": recipe=NAME finds those that are the recipe, recipe~NAME the changed ones too.
    """
    root = catalogue.parse_root(cache)
    try:
        entries = select(catalogue.stores(root), conditions)
    except InvalidSpec as error:
        raise click.UsageError(str(error)) from error
    _print_stores(root, entries, as_json)


@examples("pi-cache diff 3f2a9c 3f2a01", "pi-cache diff 3f2a9c 3f2a01 --json | jq .fields")
@click.command()
@click.argument("one")
@click.argument("other")
@cache_option
@json_option
def diff(one: str, other: str, cache: Path | None, as_json: bool) -> None:
    """Say which fields of two stores differ, with both values.

    Exit status, as of diff: 0 nothing differs, 1 something does (or the command failed, and then
    nothing is on standard output), 2 misuse.
    """
    entries = [catalogue.read_entry(catalogue.locate(store, cache)) for store in (one, other)]
    found = compare(*entries)
    if as_json:
        click.echo(json.dumps({"fields": found.fields, "beside": found.beside}, ensure_ascii=False))
    else:
        named = {**found.fields, **found.beside}
        rows = [(name, value_text(a), value_text(b)) for name, (a, b) in named.items()]
        header = ("field", *(entry.key[:12] for entry in entries))
        for line in table_lines([header, *rows]) if rows else []:
            click.echo(line)
    if found.verdict:
        say(found.verdict)
    sys.exit(1 if found.fields or found.beside else 0)


@examples("pi-cache show 3f2a9c", "pi-cache show 3f2a9c --json | jq .status")
@click.command()
@click.argument("store")
@cache_option
@json_option
def show(store: str, cache: Path | None, as_json: bool) -> None:
    """Show one STORE: its path, its key, the first characters of its key, or its address."""
    document = describe(open_store(store, root=cache))
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    told = {n: v for n, v in document["statistics"].items() if n not in IN_REPORTS}
    for name, value in (document | {"statistics": told}).items():
        click.echo(f"{name:<11} {printable(_text(value))}")
    click.echo(f"open it     pi_cache.open_store({document['path']!r})")


def describe(store: Store) -> dict[str, Any]:
    """What there is to know about a store, as plain JSON values."""
    manifest, spec = store.manifest, store.spec
    pins = {} if is_remote(store.address) else read_pins(store.path.parents[1])
    return {
        "key": store.key,
        "path": store.address,
        "pin": str(pins[store.key]) if store.key in pins else None,
        "origin": known_fields(spec)["origin"],
        "audit": store.attributes.get("audit"),
        **{name: store.attributes[name] for name in NOTED if name in store.attributes},
        "recipe": spec.recipe,
        "source": spec.source.to_dict(),
        "representation": spec.representation,
        **{part: _part(store, part) for part in spec.parts},
        "axes": {name: _axis(store, name) for name in store.column("images").dimensions[1:]},
        "channels": list(store.channels),
        "arrays": {c.name: f"{c.dtype} {list(c.shape)}" for c in manifest.columns},
        "samples": store.samples,
        "status": dict(manifest.status),
        "labels": _label_counts(store),
        "splits": {} if store.splits is None else dict(Counter(store.splits.tolist())),
        "layout": manifest.layout.to_dict(),
        "shards": manifest.shards,
        "files": len(manifest.files),
        "bytes": manifest.size,
        "statistics": dict(manifest.statistics),
        "seconds": dict(manifest.seconds),
        "digest": manifest.digest,
        "created": manifest.created,
        "versions": dict(manifest.versions),
    }


def _part(store: Store, part: str) -> dict[str, Any]:
    """The spec of what was computed; `unknown` for what an imported store does not know."""
    values = known_fields(store.spec)
    plain: dict[str, Any] = getattr(store.spec, part).to_dict()
    unknown = {name for name in plain if values[f"{part}.{name}"] == UNKNOWN}
    return plain | dict.fromkeys(sorted(unknown), UNKNOWN)


def _axis(store: Store, name: str) -> str:
    try:
        edges = store.axis(name)
    except InvalidSpec:
        return UNKNOWN
    unit = store.column("images").attributes.get("unit")
    return f"{len(edges)} cells, lower edges {edges[0]:g} to {edges[-1]:g}" + (
        f" {unit}s" if unit else ""
    )


def _label_counts(store: Store) -> dict[str, int]:
    names = store.label_names
    counts = sorted(Counter(store.labels.tolist()).items())
    return {
        names[label] if 0 <= label < len(names) else str(label): count for label, count in counts
    }


def _print_stores(root: Path, entries: Sequence[catalogue.Entry], as_json: bool) -> None:
    pins, now = read_pins(root), time.time()
    documents = [listed(entry, pins.get(entry.key), now) for entry in entries]
    documents.sort(key=lambda document: (document["age"] is None, document["age"]))
    if as_json:
        click.echo(json.dumps(documents, ensure_ascii=False))
        return
    if documents:
        rows = [_row(document, pins.get(document["key"])) for document in documents]
        for line in table_lines([HEADER, *rows], NUMBERS):
            click.echo(line)
    absent = "" if files.is_folder(root) else ": no such folder"
    say(f"{len(documents)} store{'s' * (len(documents) != 1)} in {root}{absent}")


def listed(entry: catalogue.Entry, pin: Pin | None, now: float) -> dict[str, Any]:
    """A store in a list, as plain JSON values. age: seconds since it was finished or changed."""
    spec, fields = entry.spec, {} if entry.spec is None else known_fields(entry.spec)
    size, written = None, None
    with suppress(StorageFailed):  # of somebody who does not let us look
        size, written = _size_and_time(entry)
    return {
        "key": entry.key,
        "state": entry.state,
        "path": str(entry.path),
        "samples": None if spec is None else spec.source.samples,
        "bytes": size,
        "age": None if written is None else max(now - written, 0.0),
        "core_hours": catalogue.core_seconds(entry) / 3600,
        "source": None if spec is None else spec.source.kind,
        "location": None if spec is None else spec.source.location,
        "split": None if spec is None else spec.source.split,
        "limit": None if spec is None else spec.source.limit,
        "variant": None if spec is None else spec.source.options.get(VARIANT),
        "representation": fields.get("representation"),
        "filtration": fields.get("diagram.filtration"),
        "form": fields.get("gramian.form"),
        "recipe": None if spec is None else spec.recipe,
        "origin": fields.get("origin"),
        "pin": None if pin is None else {"who": pin.who, "note": pin.note, "since": pin.created},
        "problem": entry.problem,
    }


def _size_and_time(entry: catalogue.Entry) -> tuple[int, float | None]:
    """Bytes of the data, and when they were finished; of an unfinished store, of all its files."""
    if entry.manifest is None:
        extent = extent_of(entry.path)
        return extent.bytes, extent.written or extent.changed or None
    with suppress(ValueError):
        finished = datetime.datetime.fromisoformat(entry.manifest.created)
        return entry.manifest.size, finished.timestamp()
    return entry.manifest.size, None


def _row(document: Mapping[str, Any], pin: Pin | None) -> tuple[str, ...]:
    """A store as the cells of a line under HEADER."""
    samples, age = document["samples"], document["age"]
    source = [
        f"{document['source']}:{document['location']}" if document["source"] else "?",
        *filter(None, (document["split"], document["limit"] and f"first {document['limit']:,}")),
        *filter(None, (document["variant"],)),
    ]
    if document["origin"] == "imported":
        source.append("imported")
    if pin is not None:
        source.append(str(pin))
    return (
        document["key"][:12],
        document["state"],
        "-" if samples is None else f"{samples:,}",
        "-" if document["bytes"] is None else bytes_text(document["bytes"]),
        "-" if age is None else seconds_text(age),
        core_time_text(document["core_hours"] * 3600),
        document["filtration"] or FORM_NAMES.get(document["form"], "?"),
        document["recipe"] or "-",
        ", ".join(source),
    )


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return "-" if value in (None, "") else str(value)
