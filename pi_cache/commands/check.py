"""Whether stores are whole, and hold what their source gives."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pi_cache.builders import builder
from pi_cache.commands.each import (
    Meter,
    all_option,
    counted,
    each_store,
    source_option,
    stores_argument,
)
from pi_cache.commands.options import cache_option, examples, json_option, say
from pi_cache.errors import PiCacheError
from pi_cache.integrity.verification import Finding, Recomputation, Verification, inspect
from pi_cache.quantities import bytes_text, seconds_text


def _percent(context: Any, parameter: Any, text: str | None) -> float | None:
    """A click callback for a share such as `10%`, as a number up to 1."""
    try:
        share = None if text is None else float(text.removesuffix("%")) / 100
    except ValueError:
        share = math.nan
    if share is not None and (not 0 < share <= 1 or not str(text).endswith("%")):
        raise click.BadParameter(f"{text!r} is no share; give a percentage such as 10%")
    return share


def _amount(context: Any, parameter: Any, text: str | None) -> float | int | None:
    """A click callback for a number of samples, or a share of them such as `1%`."""
    if text is None or text.endswith("%"):
        return _percent(context, parameter, text)
    if not text.isdecimal() or not int(text):
        raise click.BadParameter(f"{text!r}: give a number of samples, or a share such as 1%")
    return int(text)


@examples(
    "pi-cache verify 3f2a9c",
    "pi-cache verify --all --share 10% --cache /data/pi",
    "pi-cache verify 3f2a9c --recompute 1%",
    "pi-cache verify 3f2a9c --recompute 20 --seed 7 --json",
)
@click.command("verify")
@stores_argument
@all_option
@click.option(
    "--share",
    callback=_percent,
    metavar="N%",
    help="Read this share of the shards, chosen at random; documents and tables always.",
)
@click.option(
    "--recompute",
    "amount",
    callback=_amount,
    metavar="N%|N",
    help="Also compute so many samples again from their source, and compare every number.",
)
@source_option
@click.option("--seed", type=click.IntRange(min=0), help="Choose as a run that printed it did.")
@cache_option
@json_option
def verify_store(
    stores: Sequence[str],
    everything: bool,
    share: float | None,
    amount: float | int | None,
    source: str | None,
    seed: int | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Read every byte of STORES and compare it with their manifests; change nothing.

    Also whether documents and arrays agree with each other. --recompute needs the pipeline and the
    source: diagrams, statuses and inputs must be equal; images that differ in their last bit only
    (another machine or library) are counted by themselves.

    Exit status: 0 whole, 2 misuse, else the sum of 1 failed, 4 corrupt, 8 missing, 16 unreadable,
    32 orphan, 64 differs from its source. `pi-cache repair` mends what is damaged.
    """  # fmt: skip
    if source is not None and (amount is None or len(stores) != 1):
        raise click.UsageError("--source goes with --recompute and one STORE")
    seed = secrets.randbelow(1 << 32) if seed is None else seed

    def check(path: Path) -> tuple[dict[str, Any], Sequence[Finding]]:
        with Meter("verify") as meter:
            found = inspect(path, share=share or 1.0, seed=seed, progress=meter)
        say(_told(found))
        recomputed, failure = None, {}
        try:
            recomputed = None if amount is None else _recompute(found, amount, seed, source)
        except PiCacheError as error:  # what was found before stays found
            failure = {"error": str(error)}
        if recomputed is not None:
            say(f"{path}: {_recomputed(recomputed)}")
        findings = [*found.findings, *(recomputed.findings if recomputed else ())]
        return _verification(found, recomputed, findings) | failure, findings

    each_store(stores, everything, cache, as_json, check)


def _recompute(
    found: Verification, amount: float | int, seed: int, source: str | None
) -> Recomputation | None:
    """Samples computed again, unless the store is damaged."""
    damaged = found.manifest is None or any(one.kind != "orphan" for one in found.findings)
    if damaged or found.manifest is None:
        say(f"{found.path}: no sample was computed again, since the store is damaged; repair first")
        return None
    samples = found.manifest.samples
    wanted = amount if isinstance(amount, int) else math.ceil(amount * samples)
    result: Recomputation = builder("recompute")(
        found.path,
        min(wanted, samples),
        seed=seed,
        source=source,
        check="size" if found.complete else "first-touch",
    )
    return result


def _told(found: Verification) -> str:
    """What was read, and what came of it, in words."""
    verdict = counted(found.findings) or ("whole" if found.complete else "nothing wrong")
    rate = f"{bytes_text(found.rate)}/s" if found.seconds else ""
    read = f"{found.files_read:,} of {found.files:,} files"
    time_taken = f"{bytes_text(found.bytes_read)} in {seconds_text(found.seconds)}, {rate}"
    if found.manifest is None:
        return f"{found.path}: {verdict}; nothing else was read, as the ledger is damaged too"
    if found.complete:
        return f"{found.path}: {verdict}; {read} read, {time_taken}"
    share = found.bytes_read / found.bytes if found.bytes else 1.0
    return (
        f"{found.path}: {verdict} in what was read: {read}, {share:.1%} of the bytes (--seed"
        f" {found.seed}), {time_taken}; of all others only presence and size were looked at"
    )


def _recomputed(done: Recomputation) -> str:
    differ = "all equal" if not done.findings else f"{len(done.findings)} files differ"
    if done.slightly:
        differ += (
            f", but for {done.slightly} images that differ in the last bit (by {done.largest:.2g}"
            " at most), as on another machine or with other libraries"
        )
    left_out = f"; {done.left_out} TIMEOUT or CRASH left out" if done.left_out else ""
    return (
        f"{done.samples} samples computed again from the source (--seed {done.seed}) in"
        f" {seconds_text(done.seconds)}: {differ}{left_out}"
    )


def _verification(
    found: Verification, recomputed: Recomputation | None, findings: Sequence[Finding]
) -> dict[str, Any]:
    """Plain JSON values."""
    return {
        "key": found.path.name if found.manifest is None else found.manifest.key,
        "path": str(found.path),
        "findings": [asdict(finding) for finding in findings],
        "complete": found.complete,
        "files": found.files,
        "files_read": found.files_read,
        "bytes": found.bytes,
        "bytes_read": found.bytes_read,
        "seconds": round(found.seconds, 3),
        "gb_per_second": round(found.rate / 1e9, 3),
        "seed": found.seed,
        "recomputed": None
        if recomputed is None
        else {name: v for name, v in asdict(recomputed).items() if name != "findings"},
    }
