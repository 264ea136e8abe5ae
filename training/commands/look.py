"""What there is: networks, methods and presets; and what a run is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import torch

from pi_cache.commands.options import examples, json_option, say
from pi_cache.commands.table import printable, table_lines
from pi_cache.errors import InvalidSpec
from pi_cache.nearest import hint
from training.commands.options import FOLDER
from training.methods.catalogue import METHODS, describe
from training.models import MODELS, PI_NETS, build, count_parameters
from training.models.network import KINDS
from training.presets import PRESETS
from training.runs.shown import describe_run

Row = Mapping[str, Any]


@examples("training models --json")
@click.command("models")
@json_option
def list_models(as_json: bool) -> None:
    """List the networks, with their parameters for three channels and ten classes.

    A network takes signals or images of any number of channels; mlp-8 takes vectors.
    """
    rows = [_model_row(name) for name in MODELS]
    rows += [{"name": name, "gives": "images", "parameters": {}} for name in PI_NETS]
    _print(rows, as_json, ("network", "gives", "1-D", "2-D", "vectors"), _model_cells, (2, 3, 4))


@examples("training methods", "training methods tgd", "training methods --json")
@click.command("methods")
@click.argument("name", required=False)
@json_option
def list_methods(name: str | None, as_json: bool) -> None:
    """List the methods of distillation, or show one by NAME: its settings, with their defaults."""
    rows = {method: describe(kind) for method, kind in METHODS.items()}
    header = ("method", "takes", "terms", "source")
    _print(_chosen(rows, name), as_json, header, _method_cells)


@examples("training presets", "training presets tgd-cifar10", "training presets --json")
@click.command("presets")
@click.argument("name", required=False)
@json_option
def list_presets(name: str | None, as_json: bool) -> None:
    """List the settings of papers, or show one by NAME, with what was not found."""
    rows = {name: {"name": name, **preset.to_dict()} for name, preset in PRESETS.items()}
    header = ("preset", "networks", "method", "training", "source")
    _print(_chosen(rows, name), as_json, header, _preset_cells)


@examples("training show runs/kd", "training show runs/kd --json")
@click.command("show")
@click.argument("run", type=FOLDER)
@json_option
def show(run: Path, as_json: bool) -> None:
    """Show a RUN: what it is, how far it has come, and what it gave."""
    document = describe_run(run)
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    _print_one(document)


def _chosen(rows: Mapping[str, Row], name: str | None) -> Sequence[Row]:
    """All rows, or that of a name. Raises click.UsageError with the nearest one."""
    if name is None:
        return list(rows.values())
    if name not in rows:
        raise click.UsageError(f"there is no {name!r}{hint(name, rows)}")
    return [rows[name]]


def _print(
    rows: Sequence[Row],
    as_json: bool,
    header: Sequence[str],
    cells: Callable[[Row], Sequence[str]],
    right: Sequence[int] = (),
) -> None:
    """A line for each of several rows; of a single one, a line for each value."""
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
    elif len(rows) == 1:
        _print_one(rows[0])
    else:
        for line in table_lines([header, *map(cells, rows)], right):
            click.echo(line)
        say(f"{len(rows)} {header[0]}s; --json says all of each")


def _print_one(document: Row) -> None:
    """A line for each value; those of a table within it each on a line of its own."""
    for name, value in document.items():
        inner = isinstance(value, Mapping) and bool(value)
        click.echo(f"{name:<13} {'' if inner else printable(_text(value))}".rstrip())
        for one, item in value.items() if inner else ():
            click.echo(f"  {one:<19} {printable(_text(item))}".rstrip())


def _model_row(name: str) -> dict[str, Any]:
    counts = {}
    for dimensions in KINDS:
        with suppress(InvalidSpec), torch.device("meta"):  # some families lack some dimensions
            counts[dimensions] = count_parameters(build(name, 3, 10, dimensions))
    return {"name": name, "gives": "logits", "parameters": counts}


def _model_cells(row: Row) -> list[str]:
    counts = [row["parameters"].get(dimensions) for dimensions in (1, 2, 0)]
    return [row["name"], row["gives"], *("-" if c is None else f"{c:,}" for c in counts)]


def _method_cells(row: Row) -> list[str]:
    takes = row["teachers"] + (", a start" if row["needs_start"] else "")
    return [row["name"], takes, " ".join(row["terms"]), row["source"]]


def _preset_cells(row: Row) -> list[str]:
    config, method = row["config"], row["method"]
    training = (
        f"{config['epochs']} epochs of {config['batch_size']}, {config['optimizer']}"
        f" {config['learning_rate']:g} {config['schedule']}"
    )
    networks = ", ".join(row["models"].values())
    return [row["name"], networks, "-" if method is None else method["name"], training,
            row["source"]]  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items()) or "-"
    if isinstance(value, list | tuple):
        return "; ".join(map(_text, value)) or "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else str(value)
