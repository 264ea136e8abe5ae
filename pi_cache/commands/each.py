"""One store after the other: what verify and repair have in common."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from pi_cache import catalogue
from pi_cache.commands.options import say
from pi_cache.errors import PiCacheError
from pi_cache.integrity.verification import KINDS, Finding
from pi_cache.quantities import bytes_text, seconds_text

FAILED = 1
EXIT_BITS = {kind: 4 << bit for bit, kind in enumerate(KINDS)}
"""corrupt 4, missing 8, unreadable 16, orphan 32, differs 64; added up."""

QUIET_SECONDS, TICK_SECONDS, LINE_SECONDS = 1.0, 0.2, 60.0
"""Nothing is said of what takes a second; then a line that changes, or one a minute in a log."""

stores_argument = click.argument("stores", nargs=-1)
all_option = click.option("--all", "everything", is_flag=True, help="Every store of the cache.")
source_option = click.option(
    "--source", metavar="SOURCE", help="Where the samples are now: KIND:PATH.  [default: as built]"
)


def each_store(
    stores: Sequence[str],
    everything: bool,
    cache: Path | None,
    as_json: bool,
    treat: Callable[[Path], tuple[dict[str, Any], Sequence[Finding]]],
    *,
    tell: bool = True,
) -> None:
    """Treat every store, print what is found, and exit with the status that says so.

    treat: what there is to say of a store, as plain JSON values, and its findings; a member `error`
    says what failed after these were found.
    """
    if bool(stores) == everything:
        raise click.UsageError("give STORES or --all")
    status, documents = 0, []
    for path in list(_paths(stores, everything, cache)):  # a wrong name costs no hours of reading
        try:
            document, findings = treat(path)
        except PiCacheError as error:
            document, findings = {"key": path.name, "path": str(path), "error": str(error)}, ()
        if "error" in document:
            say(f"pi-cache: {document['error']}")
            status |= FAILED
        documents.append(document)
        status |= sum({EXIT_BITS[finding.kind] for finding in findings})
        if not as_json and tell:
            for finding in findings:
                click.echo(f"{prefix(path, stores, everything)}{finding}")
    if as_json:
        click.echo(json.dumps(documents, ensure_ascii=False))
    sys.exit(status)


def prefix(path: Path, stores: Sequence[str], everything: bool) -> str:
    """What a line begins with where several stores are spoken of."""
    return f"{path.name[:12]} " if everything or len(stores) > 1 else ""


def _paths(stores: Sequence[str], everything: bool, cache: Path | None) -> Iterator[Path]:
    """The folders of the stores; of all of a cache but those that are still built."""
    if not everything:
        yield from (catalogue.locate(store, cache) for store in stores)
        return
    root = catalogue.parse_root(cache)
    entries = catalogue.stores(root)
    if not entries:
        say(f"no store under {root}")
    for entry in entries:
        if entry.state == "unfinished":
            say(
                f"{entry.path}: not looked at, since it is unfinished, or has lost its manifest:"
                f" pi-cache repair {entry.key[:12]} tells"
            )
        else:
            yield entry.path


def counted(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.kind for finding in findings)
    return ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])


class Meter:
    """Bytes that were read, for people: a line that changes on a terminal, one a minute in logs."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.terminal = sys.stderr.isatty()
        self._started = time.monotonic()
        self._next = self._started + (QUIET_SECONDS if self.terminal else LINE_SECONDS)
        self._drawn = False

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._drawn:
            click.echo("\r\033[K", nl=False, err=True)

    def __call__(self, done: int, total: int) -> None:
        """So many bytes are read of so many."""
        now = time.monotonic()
        if now < self._next:
            return
        rate = done / (now - self._started)
        left = (total - done) / rate if rate else 0.0
        line = (
            f"{self.what}: {bytes_text(done)} of {bytes_text(total)}, {bytes_text(rate)}/s, about"
            f" {seconds_text(left)} left"
        )
        click.echo(f"\r{line}\033[K" if self.terminal else line, nl=not self.terminal, err=True)
        self._drawn = self.terminal
        self._next = now + (TICK_SECONDS if self.terminal else LINE_SECONDS)
