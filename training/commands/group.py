"""The `training` command and what it can do."""

from __future__ import annotations

import click

from pi_cache.commands.options import CONTEXT
from training.commands import (
    distill,
    evaluate,
    experiment,
    fit,
    look,
    pinet,
    repeat,
    report,
    selftrain,
    timing,
)


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="pi-cache")
def cli() -> None:
    """Train networks on cached persistence images, alone or from teachers."""


for _command in (
    fit.fit,
    distill.distill,
    evaluate.evaluate_runs,
    repeat.repeat_plan,
    report.report_runs,
    experiment.experiment,
    pinet.pi_net,
    pinet.predict_pis,
    timing.timing,
    selftrain.pseudo_label,
    selftrain.noisy_students,
    look.show,
    look.list_models,
    look.list_methods,
    look.list_presets,
):
    cli.add_command(_command)
