"""`training distill`: a student from teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pi_cache.commands.options import examples, json_option
from training.commands.fit import train_and_print
from training.commands.options import (
    CONFIG,
    DATA,
    NETWORK,
    data_spec,
    out_option,
    parsed,
    run_settings,
    with_options,
)
from training.runs.settings import made_spec
from training.runs.spec import RunSpec
from training.runs.values import split_pairs


@examples(
    "training distill kd --teacher runs/image --student wrn-16-1 --view inputs --epochs 2 --out"
    " runs/kd",
    "training distill tgd --teacher runs/image --teacher runs/pi:last --student wrn-16-1 --view"
    " inputs --epochs 2 --set-method weights=0.9,0.1 --start runs/student --out runs/tgd --json",
)
@click.command("distill")
@click.argument("method")
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    required=True,
    metavar="RUN",
    help="A run, RUN:last for its last epoch, or the file of a network; in the method's order.",
)
@click.option("--student", help="Its network; `training models` lists them.")
@click.option(
    "--set-method",
    "method_settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting of the method, such as temperature=4; `training methods` lists them.",
)
@with_options(DATA, NETWORK, CONFIG)
@out_option
@json_option
def distill(out: Path, as_json: bool, **options: Any) -> None:
    """Train a student by METHOD, which `training methods` lists, from one teacher or several.

    Without --store the samples are those of the first teacher. Each teacher is shown what it was
    trained on, normalised as it was. A teacher that knows other classes is refused, and one that
    was trained on samples which validate or test here.
    """
    train_and_print(parsed(lambda: _spec(options)), out, as_json)


def _spec(options: dict[str, Any]) -> RunSpec:
    teachers = options["teachers"]
    if not options["stores"] and options["like"] is None:
        options = {**options, "like": teachers[0]}
    told = split_pairs(options["method_settings"], "--set-method", dashes=True)
    settings = {
        **run_settings(options),
        "model": options["student"],
        "method": options["method"],
        "settings": told,
    }
    return made_spec(settings, data=data_spec(options), teachers=teachers, start=options["start"])
