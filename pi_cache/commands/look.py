"""What lies in a cache, and one store in full."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click

from pi_cache import catalogue
from pi_cache.commands.options import cache_option, examples, json_option
from pi_cache.reader import Store, open_store


@examples("pi-cache ls", "pi-cache ls --cache /data/pi --json")
@click.command("ls")
@cache_option
@json_option
def list_stores(cache: Path | None, as_json: bool) -> None:
    """List the stores: key, state, samples, size, source."""
    root = catalogue.parse_root(cache)
    entries = catalogue.stores(root)
    if as_json:
        click.echo(json.dumps([_entry_document(entry) for entry in entries], ensure_ascii=False))
        return
    for entry in entries:
        click.echo(_entry_line(entry))
    click.echo(f"{len(entries)} stores in {root}", err=True)


@examples("pi-cache show 3f2a9c", "pi-cache show 3f2a9c --json | jq .status")
@click.command()
@click.argument("store")
@cache_option
@json_option
def show(store: str, cache: Path | None, as_json: bool) -> None:
    """Show one STORE: its path, its key, or the first characters of its key."""
    document = describe(open_store(store, root=cache))
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    for name, value in document.items():
        click.echo(f"{name:<11} {_text(value)}")
    click.echo(f"open it     pi_cache.open_store({document['path']!r})")


def describe(store: Store) -> dict[str, Any]:
    """What there is to know about a store, as plain JSON values."""
    manifest, spec = store.manifest, store.spec
    return {
        "key": store.key,
        "path": str(store.path),
        "source": spec.source.to_dict(),
        "diagram": spec.diagram.to_dict(),
        "image": spec.image.to_dict(),
        "axes": {name: _axis(store, name) for name in ("persistence", "birth")},
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


def _axis(store: Store, name: str) -> str:
    edges = store.axis(name)
    return f"{len(edges)} cells, lower edges {edges[0]:g} to {edges[-1]:g}"


def _label_counts(store: Store) -> dict[str, int]:
    names = store.label_names
    counts = sorted(Counter(store.labels.tolist()).items())
    return {
        names[label] if 0 <= label < len(names) else str(label): count for label, count in counts
    }


def _entry_document(entry: catalogue.Entry) -> dict[str, Any]:
    manifest, spec = entry.manifest, entry.spec
    return {
        "key": entry.key,
        "state": entry.state,
        "path": str(entry.path),
        "samples": None if spec is None else spec.source.samples,
        "bytes": None if manifest is None else manifest.size,
        "source": None if spec is None else spec.source.kind,
        "location": None if spec is None else spec.source.location,
        "filtration": None if spec is None else spec.diagram.filtration,
        "problem": entry.problem,
    }


def _entry_line(entry: catalogue.Entry) -> str:
    row = _entry_document(entry)
    size = "-" if row["bytes"] is None else f"{row['bytes'] / 1e6:,.1f} MB"
    what = f"{row['source'] or '?'}, {row['filtration'] or '?'}  {row['location'] or ''}"
    return f"{entry.key[:12]}  {entry.state:<10}  {row['samples'] or '-':>9}  {size:>12}  {what}"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value)
