"""`training fit`: a network on labels alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from pi_cache.commands.options import examples, json_option, say
from training.commands.options import (
    CONFIG,
    DATA,
    NETWORK,
    asked,
    data_spec,
    out_option,
    parsed,
    run_settings,
    with_options,
)
from training.runs.execute import run
from training.runs.settings import made_spec
from training.runs.spec import RunSpec
from training.trainer.ranks import own_rank


@examples(
    "training fit --store pi=3f2a9c --view inputs --model wrn-16-3 --epochs 2 --out runs/image",
    "training fit --store pi=3f2a9c --view pi --model wrn-16-1 --epochs 2 --out runs/pi",
    "training fit --store pi=3f2a9c --view inputs --model wrn-16-1 --epochs 2 --augment rot180"
    " --out runs/student --json",
)
@click.command("fit")
@with_options(DATA)
@click.option("--model", help="The network; `training models` lists them.")
@with_options(NETWORK, CONFIG)
@out_option
@json_option
def fit(out: Path, as_json: bool, model: str | None, **options: Any) -> None:
    """Train a network on a view of cached samples, by their labels.

    RUN/run.json says what was trained, log.jsonl has a line an epoch, best.safetensors is the
    epoch that scored best on the validation side, last.safetensors the last one. The test side is
    not touched: `training evaluate` reads it.
    """

    def spec() -> RunSpec:
        settings = {**run_settings(options), "model": model}
        return made_spec(settings, data=data_spec(options), start=options["start"])

    train_and_print(parsed(spec), out, as_json)


def train_and_print(spec: RunSpec, out: Path, as_json: bool) -> None:
    """Train, and print what the run gave; of several ranks the first one prints."""
    result = run(spec, out, say=say, command=asked())
    if own_rank() > 0:
        return
    document = {"run": str(out), **result.to_dict()}
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    for name, value in document.items():
        click.echo(f"{name:<19} {_text(value)}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    if isinstance(value, float):
        return f"{value:.4g}" if value < 1000 else f"{value:,.0f}"
    return "-" if value is None else str(value)
