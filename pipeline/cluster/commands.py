"""The commands of batch systems: submit, work, finish, status, logs, resubmit."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pi_cache import catalogue
from pi_cache.commands.options import cache_option, examples, json_option, say
from pi_cache.errors import PiCacheError
from pipeline.options import (
    CUT_OPTIONS,
    LIKE,
    RETRY,
    TIME_LIMIT,
    WHAT_OPTIONS,
    opened,
    with_options,
)

if TYPE_CHECKING:
    from pipeline.cluster.jobs import RoundRecord
    from pipeline.cluster.workplan import Planned

STOPPED = 130
"""Exit status of what a signal has stopped: running the same again goes on."""
PLAN = click.argument("plan")
JOB_OPTIONS = (
    click.option("--partition", metavar="NAME", help="Partition of SLURM."),
    click.option("--account", metavar="NAME", help="Account of SLURM."),
    click.option("--time", metavar="HH:MM:SS", help="Limit of an element.  [default: by cost]"),
    click.option("--memory", metavar="SIZE", help="Memory of an element.  [default: by cost]"),
    click.option("--cpus", type=int, help="Cores, and so workers, of an element.  [default: 1]"),
    click.option("--array-limit", type=int, metavar="N", help="Elements that run at a time."),
    click.option("--elements", type=int, metavar="N", help="Of the array.  [default: by cost]"),
    click.option(
        "--rounds", type=int, metavar="N",
        help="How often missing shards are submitted again.  [default: 3]",
    ),
    click.option(
        "--sbatch-line", "sbatch_lines", multiple=True, metavar="LINE",
        help='Another line of #SBATCH, such as "--qos=long".',
    ),
    click.option(
        "--setup", multiple=True, metavar="LINE",
        help='A line of shell before the work, such as "module load gcc".',
    ),
    click.option("--python", metavar="PATH", help="Interpreter of the jobs.  [default: this one]"),
    click.option(
        "--profile", type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="A TOML file with any of these names, such as partition = \"short\".",
    ),
)  # fmt: skip


@examples(
    "pipeline submit digits --limit 60 --dry-run",
    "pipeline submit digits --limit 60 --filtration cubical --plan-only --cache demo-cache",
    "pipeline submit cifar10:data/cifar-10-batches-bin --recipe tgd-cifar10 --partition short "
    "--time 00:20:00 --array-limit 50 --dry-run",
)
@click.command()
@click.argument("source", required=False)
@LIKE
@with_options(WHAT_OPTIONS, CUT_OPTIONS, (TIME_LIMIT, RETRY), JOB_OPTIONS)
@click.option("--dry-run", is_flag=True, help="Print the scripts; write nothing, submit nothing.")
@click.option(
    "--plan-only", is_flag=True, help="Write plan and scripts, and submit nothing: see `work`."
)
@cache_option
@json_option
def submit(
    source: str | None,
    cache: Path | None,
    dry_run: bool,
    plan_only: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Build the store of SOURCE as build-pis does, by an array of SLURM jobs.

    Writes a plan into the cache, submits the array and a job that finishes the store after it, and
    says how to watch. That job submits again what is missing, a few times. The cache must be on a
    file system that all nodes see. Running the same command again submits what is missing.
    """
    from pipeline.cluster.jobs import round_of, submit_round, write_scripts
    from pipeline.cluster.planning import Wish, plan_jobs
    from pipeline.cluster.script import array_script, finish_script
    from pipeline.cluster.settings import Settings, settings_of

    given = {name: options.pop(name) for name in Settings.__dataclass_fields__}
    settings = settings_of(options.pop("profile"), given)
    root = catalogue.parse_root(cache)
    started = time.perf_counter()
    data, request, how = opened(source, options, say, root)
    wish = Wish(
        source=data,
        diagram=request.diagram,
        image=request.image,
        recipe="" if request.recipe.name == "default" else request.recipe.name,
        root=root,
        options=how,
        settings=settings,
        opening=time.perf_counter() - started,
    )
    planned = plan_jobs(wish, say, dry=dry_run)
    if planned is None:
        say("already in the cache: there is nothing to submit")
        if as_json:
            click.echo(json.dumps({"plan": None, "found": True}))
        return
    round = round_of(planned, len(planned.plan.numbers))
    if dry_run:
        click.echo(array_script(round), nl=not as_json)
        click.echo(finish_script(round), nl=False)
        return
    if plan_only:
        _, array, after = write_scripts(planned, round)
        _print_plan(planned, as_json, scripts=[str(array), str(after)])
        say(f"in each job: pipeline work {planned.quoted} --part I/N")
        say(f"and then:    pipeline finish {planned.quoted}")
        return
    _print_submitted(planned, submit_round(planned, round), as_json)


def _print_plan(planned: Planned, as_json: bool, **more: Any) -> None:
    plan = planned.plan
    facts = {
        "plan": str(planned.folder),
        "store": str(planned.store()),
        "shards": len(plan.numbers),
        "samples": plan.planned_samples,
        **more,
    }
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
        return
    for name, value in facts.items():
        click.echo(f"{name:<8} {', '.join(value) if isinstance(value, list) else value}")


def _print_submitted(planned: Planned, record: RoundRecord, as_json: bool) -> None:
    facts = {"array": record.array, "finish": record.finish, "elements": record.elements}
    _print_plan(planned, as_json, **facts)
    say(f"watch: pipeline status {planned.quoted}")
    say(f"       squeue --jobs {record.array},{record.finish}")
    say(f"stop:  scancel {record.array} {record.finish}; what is done is kept")


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
    of these commands may run at a time, on any nodes that see the cache. SIGINT, SIGTERM and
    SIGUSR1 end one within seconds, with exit status 130; what it has done is kept.
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
@cache_option
@json_option
def finish(plan: str, resubmit: int, cache: Path | None, as_json: bool) -> None:
    """Finish the store of PLAN once all shards are there; else say which are missing, and why.

    Every file is hashed again, and the samples are compared with those that were planned.
    """
    from pipeline.cluster.finishing import finish_plan
    from pipeline.cluster.workplan import find_plan

    planned = find_plan(plan, catalogue.parse_root(cache))
    finished = finish_plan(planned, say, resubmit=resubmit)
    if finished.round is not None:
        _print_submitted(planned, finished.round, as_json)
        return
    manifest = finished.manifest
    assert manifest is not None
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


@examples("pipeline resubmit 3f2a9c", "pipeline resubmit 3f2a9c --retry-failed --dry-run")
@click.command()
@PLAN
@click.option("--retry-failed", is_flag=True, help="Try again what failed too often.")
@click.option("--dry-run", is_flag=True, help="Print the scripts; write nothing, submit nothing.")
@cache_option
@json_option
def resubmit(
    plan: str, retry_failed: bool, dry_run: bool, cache: Path | None, as_json: bool
) -> None:
    """Submit the missing shards of PLAN again, as it was submitted before."""
    from pipeline.cluster.jobs import given_up_of, missing_of, round_of, submit_round
    from pipeline.cluster.notes import forget_failures
    from pipeline.cluster.script import array_script, finish_script
    from pipeline.cluster.workplan import find_plan

    planned = find_plan(plan, catalogue.parse_root(cache))
    missing = missing_of(planned)
    if not missing:
        say(f"no shard is missing; next: pipeline finish {planned.quoted}")
        return
    if not retry_failed and set(given_up_of(planned)) == set(missing):
        raise PiCacheError(
            f"all {len(missing)} missing shards failed too often; see pipeline logs "
            f"{planned.quoted} --failed, mend what they say, and add --retry-failed"
        )
    round = round_of(planned, len(missing))
    if dry_run:
        click.echo(array_script(round))
        click.echo(finish_script(round), nl=False)
        return
    if retry_failed:
        say(f"{forget_failures(planned)} failures are forgotten")
    _print_submitted(planned, submit_round(planned, round), as_json)


COMMANDS = (submit, work, finish, status, logs, resubmit)
