"""Make a damaged store what it was: mend what can be mended, have the rest computed, look again.

The manifest says which digest every file had, and a file takes its place only with that digest. So
nothing that is whole is touched, and a repair that is killed goes on when it is called again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from pi_cache import files
from pi_cache.builders import builder
from pi_cache.errors import CorruptStore
from pi_cache.integrity.mending import Mending, Say, Work, check_allowed
from pi_cache.integrity.verification import Finding, Progress, inspect

DOCUMENTS = ("manifest.json", "spec.json", "blueprint.json")


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What was wrong with a store, what was done about it (a line each), and what is wrong now.

    digest: of the manifest, "" where there is none. dry: nothing was done yet.
    """

    path: Path
    found: list[Finding]
    done: list[str]
    left: list[Finding]
    digest: str
    seconds: float
    dry: bool = False


def repair(
    path: Path,
    *,
    source: str | None = None,
    workers: int | None = None,
    dry_run: bool = False,
    say: Say = lambda line: None,
    progress: Progress | None = None,
) -> Repair:
    """Make a store whole, with the digests that it had.

    source: where the samples are now, as the pipeline writes it; else where the spec says. workers:
    processes. dry_run: only say what would be done. say: told each thing as soon as it is done.
    progress: as for `inspect`. Raises StoreNotFound, UnfinishedStore, UnsupportedFormat;
    StorageFailed where a file may not be read, which is no damage, before anything is changed; any
    PiCacheError where something cannot be had again: what was mended before that stays mended.
    """
    started, done = time.perf_counter(), list[str]()

    def tell(line: str) -> None:
        done.append(line)
        say(line)

    work = Work(source=source, workers=workers, dry_run=dry_run, say=tell)
    check_allowed([*(path / name for name in DOCUMENTS), *files.listing(path / "ledger")])
    before = inspect(path, lost=True, progress=progress)
    found = before.findings
    check_allowed(path / finding.path for finding in found if finding.kind == "unreadable")
    if before.manifest is None:
        builder("repair")(path, None, found, work)
        before = before if dry_run else inspect(path, progress=progress)
    if before.manifest is not None and before.findings:
        mending = Mending(path, before.manifest, before.findings, work)
        if left := mending.mend_files():
            builder("repair")(path, before.manifest, left, work)
        mending.mend_ledger()
    after = inspect(path, progress=progress) if done and not dry_run else before
    digest = "" if after.manifest is None else after.manifest.digest
    if before.manifest is not None and digest != before.manifest.digest:
        raise CorruptStore(f"{path}: digest {digest}, expected {before.manifest.digest}")
    return Repair(
        path=path,
        found=found,
        done=done,
        left=after.findings,
        digest=digest,
        seconds=time.perf_counter() - started,
        dry=dry_run,
    )
