"""Options that the commands of training share: samples, networks, and how to train."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from pi_cache import files
from pi_cache.catalogue import parse_root
from pi_cache.commands.options import cache_option
from pi_cache.errors import InvalidSpec
from pi_cache.remote.address import is_remote
from training.runs.settings import parse_field
from training.runs.teachers import open_given
from training.runs.values import parse_for, parse_pairs, split_pairs
from training.tasks import VALIDATION, DataSpec
from training.trainer.config import OPTIMIZERS, PRECISIONS, SELECTIONS, TrainConfig
from training.views import NORMS

Command = TypeVar("Command", bound=Callable[..., Any])
Made = TypeVar("Made")


class Folder(click.Path):
    """A folder that is named: "" would be the one in which the command was called."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value).strip():
            self.fail("a folder needs a name, got ''", param, ctx)
        return super().convert(value, param, ctx)


FOLDER = Folder(path_type=Path, file_okay=False)
out_option = click.option(
    "--out",
    type=FOLDER,
    required=True,
    help="Folder of the run. The same command again goes on in it.",
)

DATA = (
    click.option(
        "--store",
        "stores",
        multiple=True,
        metavar="NAME=KEY",
        help="A store, its key, path or address, by a name of your own. The first that holds raw"
        " samples gives `inputs`.",
    ),
    click.option(
        "--array",
        "arrays",
        multiple=True,
        metavar="NAME=FILE",
        help="An .npz file with `ids` and an array of your own.",
    ),
    cache_option,
    click.option(
        "--folds",
        type=click.Path(dir_okay=False),
        help="File of `pi-cache folds --out`; without, the stored splits divide.",
    ),
    click.option("--fold", help="The fold of that file to train on."),
    click.option(
        "--validation",
        type=click.FloatRange(0, 1, max_open=True),
        help="Share of the training side that chooses the epoch, where there is no such split."
        f"  [default: {VALIDATION}]",
    ),
    click.option("--by-group", is_flag=True, default=None, help="Draw people for it, not samples."),
    click.option(
        "--limit",
        type=click.IntRange(1),
        help="So many training samples at most; the sides that validate and test stay whole.",
    ),
    click.option("--like", metavar="RUN", help="The samples and their division of another run."),
)
NETWORK = (
    click.option(
        "--view",
        help="What the network reads: inputs, the name of a store, `rows+columns`,"
        " `statistics(inputs)+vector(pi)`.",
    ),
    click.option("--normalise", type=click.Choice(NORMS), help="How deviations are taken."),
    click.option(
        "--model-option",
        "model_options",
        multiple=True,
        metavar="NAME=VALUE",
        help="What else the network takes, such as dropout=0.3 of mlp-8.",
    ),
    click.option(
        "--start", metavar="RUN", help="Begin with the weights of this run; none without."
    ),
    click.option(
        "--augment",
        multiple=True,
        metavar="NAME[:SETTING=VALUE,...]",
        help="Change raw inputs, in this order: flip, pad-crop, mixup:kept=0.9, ...",
    ),
    click.option("--no-augment", is_flag=True, help="None of the augmentations of the preset."),
    click.option(
        "--allow-stale",
        is_flag=True,
        default=None,
        help="Use stored images even where they do not follow an augmentation.",
    ),
)
CONFIG = (
    click.option("--preset", help="Settings of a paper; `training presets` lists them."),
    click.option("--epochs", type=click.IntRange(1), help="Passes over the training side."),
    click.option("--batch-size", type=click.IntRange(1), help="Samples of a step."),
    click.option("--learning-rate", type=float, help="Of the optimizer, before the schedule."),
    click.option("--schedule", help="constant, cosine, steps:0.2@40,80 or @20%,40%, ..."),
    click.option("--optimizer", type=click.Choice(OPTIMIZERS)),
    click.option("--precision", type=click.Choice(tuple(PRECISIONS))),
    click.option("--device", help="cpu, cuda or cuda:NUMBER."),
    click.option("--seed", type=click.IntRange(0), help="Of weights, orders and augmentations."),
    click.option(
        "--select",
        type=click.Choice(SELECTIONS),
        help="Which epoch is the run's; best-on-test is what some papers did.",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="FIELD=VALUE",
        help="Any other setting of training, such as weight-decay=5e-4 or clip=1.",
    ),
)


def with_options(*groups: tuple[Callable[[Any], Any], ...]) -> Callable[[Command], Command]:
    """Add options to a command, in the order in which help shows them."""

    def add(command: Command) -> Command:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return add


def parsed(make: Callable[[], Made]) -> Made:
    """What is made of words that the user gave; a mistake in them is misuse of the command."""
    try:
        return make()
    except InvalidSpec as error:
        raise click.UsageError(str(error)) from error


def asked() -> list[str]:
    """The words of the command that runs, for the record of what it makes."""
    return ["training", *sys.argv[1:]]


def data_spec(options: Mapping[str, Any]) -> DataSpec:
    """The samples that DATA options name. Raises InvalidSpec, click.UsageError."""
    given = {name: options[name] for name in ("fold", "validation", "by_group", "limit")}
    given["stores"] = {n: _place(v) for n, v in split_pairs(options["stores"], "store").items()}
    given["arrays"] = {n: _place(v) for n, v in split_pairs(options["arrays"], "array").items()}
    given["folds"] = None if options["folds"] is None else str(Path(options["folds"]).absolute())
    like = options.get("like")
    if like is None or options["cache"] is not None:
        given["root"] = str(parse_root(options["cache"]).absolute())
    told = {name: value for name, value in given.items() if value not in (None, {})}
    base = {} if like is None else _data_of(like)
    if not {**base, **told}.get("stores"):
        raise click.UsageError("give --store NAME=KEY, or --like RUN")
    return DataSpec(**{**base, **told})


def _place(text: str) -> str:
    """A path as an absolute one, so that the record holds anywhere; key or address as it is."""
    if is_remote(text):
        return text
    return str(Path(text).absolute()) if "/" in text or files.exists(Path(text)) else text


def _data_of(run: str) -> dict[str, Any]:
    """The fields of the DataSpec of a run, from its record."""
    if not run.strip():
        raise click.UsageError("a run is the folder of its --out, got ''")
    data = open_given(run).task_record.get("data")
    if data is None:
        raise click.UsageError(f"{run}: its record names no data; give --store NAME=KEY")
    return dict(data)


def config_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of TrainConfig that CONFIG options give. Raises InvalidSpec."""
    told = split_pairs(options["settings"], "--set", dashes=True)
    named = {parse_field(name): parse_for(TrainConfig, name, text) for name, text in told.items()}
    names = (
        "epochs", "batch_size", "learning_rate", "schedule", "optimizer", "precision", "device",
        "seed", "select",
    )  # fmt: skip
    given = {name: options[name] for name in names if options.get(name) is not None}
    twice = sorted(set(given) & set(named))
    if twice:
        raise click.UsageError(f"--set {twice[0]} and --{twice[0].replace('_', '-')}: give one")
    return {**named, **given}


def run_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """What `settings.made_spec` takes, of NETWORK and CONFIG options. Raises InvalidSpec."""
    if options["no_augment"] and options["augment"]:
        raise click.UsageError("give --augment or --no-augment, not both")
    augment = () if options["no_augment"] else options["augment"] or None
    return {
        "preset": options["preset"],
        "view": options["view"],
        "model_options": parse_pairs(options["model_options"], "--model-option"),
        "normalise": options["normalise"],
        "augment": augment,
        "allow_stale": options["allow_stale"],
        "config": config_settings(options),
    }
