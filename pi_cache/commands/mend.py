"""How damaged stores become whole again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pi_cache.commands.each import (
    Meter,
    all_option,
    counted,
    each_store,
    prefix,
    source_option,
    stores_argument,
)
from pi_cache.commands.options import cache_option, examples, json_option, say
from pi_cache.integrity.repair import Repair, repair
from pi_cache.integrity.verification import Finding


@examples(
    "pi-cache repair 3f2a9c --dry-run",
    "pi-cache repair 3f2a9c --workers 4",
    "pi-cache repair 3f2a9c --source cifar10:data/cifar-10-batches-bin",
    "pi-cache repair --all --cache /data/pi --json",
)
@click.command("repair")
@stores_argument
@all_option
@source_option
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: your cores]")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@cache_option
@json_option
def repair_store(
    stores: Sequence[str],
    everything: bool,
    source: str | None,
    workers: int | None,
    dry_run: bool,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Make damaged STORES whole, with the digests that they had.

    Only what is damaged is made again: documents from each other, files from copies in the cache,
    images from stored diagrams, diagrams from stored inputs, and what is left from the source by
    the pipeline. What was damaged goes to the quarantine folder of the store, with whatever no
    document lists. A repair that is stopped goes on when it is run again.

    Exit status: 0 whole afterwards, 2 misuse, else the sum of 1 failed and what verify says of what
    is left.
    """
    if source is not None and (everything or len(stores) != 1):
        raise click.UsageError("--source goes with one STORE")

    def mend(path: Path) -> tuple[dict[str, Any], Sequence[Finding]]:
        with Meter("verify") as meter:
            done = repair(
                path,
                source=source,
                workers=workers,
                dry_run=dry_run,
                say=lambda line: click.echo(
                    f"{prefix(path, stores, everything)}{line}", err=as_json
                ),
                progress=meter,
            )
        say(_repaired(done))
        return _repair(done), done.left

    each_store(stores, everything, cache, as_json, mend, tell=not dry_run)


def _repaired(done: Repair) -> str:
    """What came of a repair, in words."""
    if not done.found:
        return f"{done.path}: whole, nothing to repair"
    if done.dry:
        return f"{done.path}: {counted(done.found)}; nothing was changed"
    verdict = counted(done.left) or f"whole, digest {done.digest[:12]} as before"
    return f"{done.path}: {counted(done.found)} before, now {verdict}"


def _repair(done: Repair) -> dict[str, Any]:
    """Plain JSON values."""
    return {
        "key": done.path.name,
        "path": str(done.path),
        "found": [asdict(finding) for finding in done.found],
        "done": done.done,
        "left": [asdict(finding) for finding in done.left],
        "digest": done.digest,
        "dry_run": done.dry,
        "seconds": round(done.seconds, 3),
    }
