"""`training pi-net` and `training predict-pis`: images without diagrams."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from pi_cache.commands.options import cache_option, examples, json_option, say
from training.commands.options import (
    CONFIG,
    DATA,
    config_settings,
    data_spec,
    out_option,
    parsed,
    with_options,
)
from training.models.catalogue import PI_NETS
from training.pinets.fit import TARGET, PINetSpec, fit_pi_net
from training.pinets.predictions import ALL, DTYPES
from training.runs.settings import find_preset
from training.tasks import Task
from training.trainer.config import TrainConfig
from training.views import NORMS

SIDES = (ALL, "train", "validation", "test")


@examples(
    "training pi-net --store pi=3f2a9c --net pi-net-image --epochs 1 --out runs/pi-net",
    "training pi-net --store pi=3f2a9c --net pi-net-image --start runs/pi-net --limit 20 --epochs 1"
    " --out runs/fine-tuned --json",
)
@click.command("pi-net")
@with_options(DATA)
@click.option("--net", type=click.Choice(tuple(PI_NETS)), required=True, help="The network.")
@click.option(
    "--target", default=TARGET, show_default=True, help="Name of the store of exact images."
)
@click.option("--view", default="inputs", show_default=True, help="What the network reads.")
@click.option(
    "--normalise",
    type=click.Choice(NORMS),
    help="How deviations are taken.  [default: values, or as of --start]",
)
@click.option(
    "--start", metavar="RUN", help="Fine-tune this PI-Net; with --limit on a subset of the samples."
)
@click.option(
    "--measured",
    type=click.IntRange(1),
    help="Errors of so many samples of each side at most.  [default: all]",
)
@with_options(CONFIG)
@out_option
@json_option
def pi_net(
    out: Path,
    as_json: bool,
    net: str,
    target: str,
    view: str,
    normalise: str | None,
    start: str | None,
    measured: int | None,
    **options: Any,
) -> None:
    """Fit a network that gives persistence images from raw samples, by their mean squared error.

    Without --preset the settings are those of the paper's code (`pi-net-signal` of `training
    presets`), but for what is given; --learning-rate without --schedule keeps that rate. No labels
    are needed. RUN/errors.json has the errors on each side that was held back, which are printed.
    """

    def spec() -> PINetSpec:
        return PINetSpec(
            data=data_spec(options),
            net=net,
            config=_config(options, net),
            target=target,
            view=view,
            normalise=normalise,
            start=start,
            measured=measured,
        )

    result, errors = fit_pi_net(parsed(spec), out, say=say)
    found = {side: each.to_dict() for side, each in errors.items()}
    document = {"run": str(out), **result.to_dict(), "errors": found}
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    click.echo(f"{out}: {result.epochs} epochs, epoch {result.chosen} chosen by {result.measured}")
    for side, each in found.items():
        for line in error_lines(side, each):
            click.echo(line)


def _config(options: Mapping[str, Any], net: str) -> TrainConfig:
    """The preset, with what is given in its place."""
    given = config_settings(options)
    if "learning_rate" in given:  # else the rates of the preset's schedule would hide it
        given = {"schedule": "constant", **given}
    return TrainConfig.from_dict(
        {**find_preset(options["preset"] or net).config.to_dict(), **given}
    )


def error_lines(side: str, errors: Mapping[str, Any]) -> list[str]:
    """A table of errors: all channels, and each."""
    rows = {"all": errors, **errors["by_channel"]}
    width = max(map(len, rows))
    correlation = errors["correlation"]
    shown = ", ".join(f"{name} {value:.3f}" for name, value in correlation.items())
    return [
        f"{side}, {errors['samples']:,} samples",
        f"  {'channel':<{width}}  {'MSE':>9}  {'RMSE':>7}  {'MAE':>7}  {'R2':>7}  {'over 0':>7}",
        *(
            f"  {name:<{width}}  {row['mse']:>9.6f}  {row['rmse']:>7.4f}  {row['mae']:>7.4f}"
            f"  {_share(row['explained'])}  {_share(row['over_zero'])}"
            for name, row in rows.items()
        ),
        f"  correlation of a sample's pixels: {shown or 'undefined'};"
        f" undefined for {errors['undefined']}",
    ]


def _share(value: float | None) -> str:
    return f"{'-':>7}" if value is None else f"{value:>7.3f}"


@examples(
    "training predict-pis runs/pi-net --out predicted.npz",
    "training predict-pis runs/pi-net --side test --out test.npz --json",
)
@click.command("predict-pis")
@click.argument("run", metavar="RUN")
@click.option(
    "--side",
    type=click.Choice(SIDES),
    default=ALL,
    show_default=True,
    help="Which samples. A file of all joins the stores as they are.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The .npz file; a .json beside it says how it came about.",
)
@click.option("--dtype", type=click.Choice(DTYPES), default=DTYPES[0], show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option(
    "--store",
    "stores",
    multiple=True,
    metavar="NAME=KEY",
    help="Another store in place of the one that the run gave this name.",
)
@cache_option
@json_option
def predict_pis(
    run: str,
    side: str,
    out: Path,
    dtype: str,
    device: str,
    stores: tuple[str, ...],
    cache: Path | None,
    as_json: bool,
) -> None:
    """Write the images that a PI-Net gives, as an array to train on in place of exact ones.

    `training fit --store pi=KEY --array pinet=FILE.npz --view pinet` reads it.
    """
    from training.evaluation.opened import data_of, rerooted
    from training.pinets.predictions import write_predictions
    from training.runs.values import split_pairs
    from training.tasks import open_task
    from training.trained import read_trained

    trained = read_trained(run, device=device)
    data = rerooted(
        data_of(trained.record, run), root=cache, stores=split_pairs(stores, "store"), folds=None
    )
    task = open_task(data, labelled=False)
    document = write_predictions(
        out,
        trained,
        _samples(task, side),
        every=side == ALL,
        dtype=dtype,
        device=device,
        record={"run": run, "side": side, **task.record, "training": dict(trained.record)},
    )
    told = {name: value for name, value in document.items() if name != "record"}
    if as_json:
        click.echo(json.dumps({"file": str(out), **told}, ensure_ascii=False))
        return
    click.echo(f"{out}: {document['predicted']:,} images {tuple(document['shape'][1:])} of {run}")
    if document["predicted"] < document["samples"]:
        count = document["samples"] - document["predicted"]
        say(f"note: {count} samples that are not OK have NaN in place of an image")


def _samples(task: Task, side: str) -> Any:
    """The samples of a side; for all, every sample that the stores hold."""
    if side == ALL:
        return task.train.view(np.arange(len(task.train.joined)))
    if side not in task.sides:
        raise click.UsageError(f"there is no {side} side; there are {', '.join(task.sides)}")
    return task.sides[side]
