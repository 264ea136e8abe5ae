"""The commands of batch systems: what each job runs, and how to watch it; see also `submitting`."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import click

from pi_cache import catalogue
from pi_cache.commands.options import cache_option, examples, json_option, say
from pi_cache.errors import PiCacheError
from pipeline.cluster.submitting import PLAN, print_submitted, resubmit, submit, submit_gafs

STOPPED = 130
"""Exit status of what a signal has stopped: running the same again goes on."""


def _part(context: Any, parameter: Any, value: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", value)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise click.BadParameter(f"{value!r} is not I/N with I from 1 to N, such as 1/4")
    return int(match[1]), int(match[2])


def _granted() -> int:
    """The cores that the batch system grants, else 1."""
    cores = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return int(cores) if cores.isdigit() and int(cores) else 1


@examples("pipeline work 3f2a9c --part 1/2", "pipeline work 3f2a9c --part 2/2 --workers 2 --json")
@click.command()
@PLAN
@click.option("--part", callback=_part, default="1/1", metavar="I/N", show_default=True,
              help="Which part of the shards comes first, from 1 to N.")  # fmt: skip
@click.option("--workers", type=click.IntRange(min=1),
              help="Processes that compute.  [default: $SLURM_CPUS_PER_TASK, else 1]")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=0),
              help="Take no shard that is likely to end later than that.")  # fmt: skip
@cache_option
@json_option
def work(
    plan: str,
    part: tuple[int, int],
    workers: int | None,
    seconds: float | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Compute shards of PLAN: those of this part, then those that others have not begun.

    PLAN is a folder that `submit` wrote, the start of its name, or the key of its store. Any number
    of these commands may run at a time, on any nodes that see the cache. SIGTERM, and the
    warnings of batch systems, end one within seconds, with exit status 130; what it has done is
    kept.
    """
    from pipeline.cluster.element import Element, Work
    from pipeline.cluster.finishing import numbers_text
    from pipeline.cluster.workplan import find_plan
    from pipeline.progress import Progress

    planned = find_plan(plan, catalogue.parse_root(cache))
    asked = Work(part=part[0], parts=part[1], workers=workers or _granted(), seconds=seconds)
    with Progress() as progress:
        outcome = Element(planned, asked, say, progress).run()
    if as_json:
        click.echo(json.dumps(outcome.to_dict()))
    else:
        reason = f" ({outcome.reason})" if outcome.reason else ""
        click.echo(f"{outcome.state}{reason}: {outcome.shards} shards, {outcome.samples:,} samples")
    if outcome.state == "stopped":
        click.get_current_context().exit(STOPPED)
    if outcome.given_up:
        raise PiCacheError(
            f"shards that failed too often: {numbers_text(outcome.given_up)}; "
            f"see pipeline logs {planned.quoted} --failed"
        )
    if outcome.missing:
        say(f"not recorded yet: shards {numbers_text(outcome.missing)}; others may be at them")
    else:
        say(f"all shards are there; next: pipeline finish {planned.quoted}")


@examples("pipeline finish 3f2a9c", "pipeline finish 3f2a9c --json")
@click.command()
@PLAN
@click.option("--resubmit", type=click.IntRange(min=0), default=0, metavar="ROUNDS",
              help="Submit missing shards to SLURM again, at most so often.")  # fmt: skip
@click.option("--skip-data-check", is_flag=True,
              help="Finish without reading the data again, where they cannot be.")  # fmt: skip
@cache_option
@json_option
def finish(
    plan: str, resubmit: int, skip_data_check: bool, cache: Path | None, as_json: bool
) -> None:
    """Finish the store of PLAN once all shards are there; else say which are missing, and why.

    Every file is hashed again, and the samples are compared with those that were planned.
    """
    from pipeline.build import lost, remedy
    from pipeline.cluster.finishing import finish_plan
    from pipeline.cluster.workplan import find_plan

    planned = find_plan(plan, catalogue.parse_root(cache))
    finished = finish_plan(planned, say, resubmit=resubmit, check_data=not skip_data_check)
    if finished.round is not None:
        print_submitted(planned, finished.round, as_json)
        return
    manifest = finished.manifest
    assert manifest is not None
    if lost(manifest):
        say(f"{lost(manifest)}: {remedy(manifest)}")
    facts = {
        "key": manifest.key,
        "path": str(planned.store()),
        "samples": manifest.samples,
        "status": dict(manifest.status),
        "digest": manifest.digest,
    }
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
        return
    status = ", ".join(f"{count:,} {name}" for name, count in manifest.status.items())
    for name, value in {**facts, "status": status}.items():
        click.echo(f"{name:<8} {value}")


@examples("pipeline status 3f2a9c", "pipeline status 3f2a9c --json")
@click.command()
@PLAN
@cache_option
@json_option
def status(plan: str, cache: Path | None, as_json: bool) -> None:
    """Say how far the jobs of PLAN are: shards done, running, failed and missing, rate, nodes."""
    from pipeline.cluster.status import status_lines, status_of
    from pipeline.cluster.workplan import find_plan

    found = status_of(find_plan(plan, catalogue.parse_root(cache)))
    if as_json:
        click.echo(json.dumps(found.to_dict(), ensure_ascii=False))
        return
    for line in status_lines(found):
        click.echo(line)


@examples("pipeline logs 3f2a9c --failed", "pipeline logs 3f2a9c --element 3 --lines 100")
@click.command()
@PLAN
@click.option("--failed", is_flag=True, help="Only of what did not end well.")
@click.option("--element", type=click.IntRange(min=1), help="Only of this element.")
@click.option("--lines", type=click.IntRange(min=1), default=20, show_default=True,
              help="Last lines of each log.")  # fmt: skip
@cache_option
def logs(plan: str, failed: bool, element: int | None, lines: int, cache: Path | None) -> None:
    """Print what failed in the jobs of PLAN, and the ends of their logs."""
    from pipeline.cluster.logs import log_lines
    from pipeline.cluster.workplan import find_plan

    planned = find_plan(plan, catalogue.parse_root(cache))
    for line in log_lines(planned, failed=failed, element=element, lines=lines):
        click.echo(line)


COMMANDS = (submit, submit_gafs, work, finish, status, logs, resubmit)
