"""The commands that submit: submit, submit-gafs, resubmit."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pi_cache import catalogue
from pi_cache.commands.options import cache_option, examples, json_option, say
from pi_cache.errors import PiCacheError
from pipeline.gramian.command import FIELD_OPTIONS, opened_fields
from pipeline.options import (
    CUT_OPTIONS,
    LIKE,
    PART_OPTIONS,
    RETRY,
    SAMPLE,
    SPEC_FILE,
    TIME_LIMIT,
    WHAT_OPTIONS,
    opened,
    with_options,
)

if TYPE_CHECKING:
    from pipeline.cluster.jobs import RoundRecord
    from pipeline.cluster.planning import Wish
    from pipeline.cluster.script import Round
    from pipeline.cluster.settings import Settings
    from pipeline.cluster.workplan import Planned

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
SUBMIT_OPTIONS = (
    click.option(
        "--dry-run", is_flag=True, help="Print the scripts; write nothing, submit nothing."
    ),
    click.option(
        "--plan-only", is_flag=True, help="Write plan and scripts, and submit nothing: see `work`."
    ),
)


@examples(
    "pipeline submit digits --limit 60 --dry-run",
    "pipeline submit digits --limit 60 --filtration cubical --plan-only --cache demo-cache",
    "pipeline submit cifar10:data/cifar-10-batches-bin --recipe tgd-cifar10 --partition short "
    "--time 00:20:00 --array-limit 50 --dry-run",
)
@click.command()
@click.argument("source", required=False)
@LIKE
@with_options(WHAT_OPTIONS, CUT_OPTIONS, (TIME_LIMIT, RETRY), JOB_OPTIONS, SUBMIT_OPTIONS)
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
    from pipeline.cluster.planning import Wish

    settings, root = _settings(options), catalogue.parse_root(cache)
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
    _submit(wish, dry_run=dry_run, plan_only=plan_only, as_json=as_json)


@examples(
    "pipeline submit-gafs array:windows.npz --sample signal --size 32 --dry-run",
    "pipeline submit-gafs sisfall:data/SisFall --source-option window=3s --source-option step=1s "
    "--size 50 --dtype uint8 --elements 2 --plan-only --cache demo-cache",
)
@click.command("submit-gafs")
@click.argument("source", required=False)
@LIKE
@with_options(
    (SPEC_FILE, SAMPLE, *FIELD_OPTIONS, *PART_OPTIONS), CUT_OPTIONS, JOB_OPTIONS, SUBMIT_OPTIONS
)
@cache_option
@json_option
def submit_gafs(
    source: str | None,
    cache: Path | None,
    dry_run: bool,
    plan_only: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Build Gramian angular fields of SOURCE as build-gafs does, by an array of SLURM jobs.

    All else is as with submit: see there.
    """
    from pipeline.cluster.planning import Wish

    settings, root = _settings(options), catalogue.parse_root(cache)
    started = time.perf_counter()
    data, request, how = opened_fields(source, options, root)
    wish = Wish(
        source=data,
        gramian=request.gramian,
        root=root,
        options=how,
        settings=settings,
        opening=time.perf_counter() - started,
    )
    _submit(wish, dry_run=dry_run, plan_only=plan_only, as_json=as_json)


def _settings(options: dict[str, Any]) -> Settings:
    """How jobs are submitted; its options are taken out of all that were given."""
    from pipeline.cluster.settings import Settings, settings_of

    given = {name: options.pop(name) for name in Settings.__dataclass_fields__}
    return settings_of(options.pop("profile"), given)


def _submit(wish: Wish, *, dry_run: bool, plan_only: bool, as_json: bool) -> None:
    """Plan, and submit, or say what would be submitted."""
    from pipeline.cluster.jobs import round_of, submit_round, write_scripts
    from pipeline.cluster.planning import plan_jobs

    planned = plan_jobs(wish, say, dry=dry_run)
    if planned is None:
        say("already in the cache: there is nothing to submit")
        if as_json:
            click.echo(json.dumps({"plan": None, "found": True}))
        return
    round = round_of(planned, len(planned.plan.numbers))
    if dry_run:
        _print_scripts(planned, round, as_json, plan=None)
        return
    if plan_only:
        _, array, after = write_scripts(planned, round)
        _print_plan(planned, as_json, scripts=[str(array), str(after)])
        say(f"in each job: pipeline work {planned.quoted} --part I/N")
        say(f"and then:    pipeline finish {planned.quoted}")
        return
    print_submitted(planned, submit_round(planned, round), as_json)


def _print_scripts(planned: Planned, round: Round, as_json: bool, **more: Any) -> None:
    """The two scripts as they would be submitted, and in JSON what they ask for."""
    from pipeline.cluster.script import array_script, finish_script
    from pipeline.cluster.slurm import after

    array, last, options = array_script(round), finish_script(round), after("ARRAY")
    if not as_json:
        click.echo(array)
        click.echo(last, nl=False)
        say(f"the second one with {' '.join(options)}, the id of the first one")
        return
    asked = {
        "missing": round.missing,
        "elements": round.elements,
        "workers": round.settings.cpus,
        "time": round.time,
        "memory": round.memory,
        "rounds": round.left,
        "array_script": array,
        "finish_script": last,
        "finish_options": options,
    }
    _print_plan(planned, as_json, **asked, **more)


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


def print_submitted(planned: Planned, record: RoundRecord, as_json: bool) -> None:
    """The jobs of a round, and what to type to watch and to stop them."""
    facts = {"array": record.array, "finish": record.finish, "elements": record.elements}
    _print_plan(planned, as_json, **facts)
    say(f"watch: pipeline status {planned.quoted}")
    say(f"       squeue --jobs {record.array},{record.finish}")
    say(f"stop:  scancel {record.array} {record.finish}; what is done is kept")


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
    from pipeline.cluster.workplan import find_plan

    planned = find_plan(plan, catalogue.parse_root(cache))
    missing = missing_of(planned)
    if not missing:
        say(f"no shard is missing; next: pipeline finish {planned.quoted}")
        if as_json:
            _print_plan(planned, as_json, missing=0)
        return
    if not retry_failed and set(given_up_of(planned)) == set(missing):
        raise PiCacheError(
            f"all {len(missing)} missing shards failed too often; see pipeline logs "
            f"{planned.quoted} --failed, mend what they say, and add --retry-failed"
        )
    round = round_of(planned, len(missing))
    if dry_run:
        _print_scripts(planned, round, as_json)
        return
    if retry_failed:
        say(f"{forget_failures(planned)} failures are forgotten")
    print_submitted(planned, submit_round(planned, round), as_json)
