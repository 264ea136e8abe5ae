"""Whether a store is whole."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import click

from pi_cache import catalogue
from pi_cache.commands.options import cache_option, examples, json_option
from pi_cache.integrity import KINDS, verify

EXIT_BITS = {kind: 4 << bit for bit, kind in enumerate(KINDS)}
"""corrupt 4, missing 8, unreadable 16, orphan 32; added up."""


@examples("pi-cache verify 3f2a9c", "pi-cache verify /data/pi/stores/3f2a9c... --json")
@click.command("verify")
@click.argument("store")
@cache_option
@json_option
def verify_store(store: str, cache: Path | None, as_json: bool) -> None:
    """Read every byte of STORE and compare it with its manifest; change nothing.

    Exit status: 0 whole, 1 failed, 2 misuse, else the sum of 4 corrupt, 8 missing, 16 unreadable,
    32 orphan. To repair, run the build again: only damaged shards are computed.
    """
    path = catalogue.locate(store, cache)
    findings = verify(path)
    if as_json:
        document = [{"kind": f.kind, "path": f.path, "detail": f.detail} for f in findings]
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        for finding in findings:
            click.echo(str(finding))
    counts = Counter(finding.kind for finding in findings)
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "whole"
    click.echo(f"{path}: {summary}", err=True)
    sys.exit(sum(EXIT_BITS[kind] for kind in counts))
