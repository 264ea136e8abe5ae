"""`training pseudo-label` and `training noisy-student`: samples without labels."""

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
    data_spec,
    out_option,
    parsed,
    run_settings,
    with_options,
)
from training.runs.settings import made_spec
from training.selftraining.pseudo import KINDS, THRESHOLD, Choice
from training.selftraining.student import ROUNDS, SelfTraining, noisy_student
from training.tasks import DataSpec

CHOICE = (
    click.option(
        "--kind",
        type=click.Choice(KINDS),
        default=KINDS[0],
        show_default=True,
        help="Shares of all classes, or the one that is most likely.",
    ),
    click.option(
        "--threshold",
        type=click.FloatRange(0, 1),
        default=THRESHOLD,
        show_default=True,
        help="Confidence that a sample must reach.",
    ),
    click.option(
        "--per-class",
        type=click.IntRange(1),
        help="So many of each class: the surest; of a class with fewer, some again.",
    ),
    click.option(
        "--temperature", type=float, default=1.0, show_default=True, help="Of the softmax."
    ),
)
share_option = click.option(
    "--unlabelled-share",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Share of the labelled training samples whose labels are hidden.",
)


@examples(
    "training pseudo-label runs/student --unlabelled-share 0.5 --threshold 0"
    " --out pseudo.safetensors",
)
@click.command("pseudo-label")
@click.argument("run", metavar="RUN")
@with_options(DATA, CHOICE)
@share_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file of pseudo-labels.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@json_option
def pseudo_label(
    run: str, unlabelled_share: float, out: Path, device: str, as_json: bool, **options: Any
) -> None:
    """Label what has no label by the network of RUN, and write what it said.

    The pool is what has no label on the training side: of RUN's own data, or of those that --store
    or --like name. Samples that RUN tests or validates by are refused.
    """
    from training.selftraining.pool import label_pool
    from training.selftraining.pseudo import write_pseudo

    choice = parsed(lambda: _choice(options))
    data = parsed(lambda: _data(options))
    made = label_pool(run, data, choice, share=unlabelled_share, device=device)
    write_pseudo(out, made)
    if as_json:
        shown = {"pool": made.record["pool"], "kept": made.record["kept"], "rows": len(made)}
        click.echo(json.dumps({"file": str(out), **shown, "classes": made.counts}))
        return
    click.echo(f"{out}: {made.record['kept']:,} of {made.record['pool']:,} samples")
    for name, count in made.counts.items():
        click.echo(f"  {name}: {count:,}")


@examples(
    "training noisy-student --store pi=3f2a9c --view inputs --model wrn-16-1 --epochs 1 --rounds 1"
    " --unlabelled-share 0.5 --augment rot180 --out runs/noisy",
)
@click.command("noisy-student")
@with_options(DATA)
@click.option("--model", help="The network; `training models` lists them.")
@with_options(NETWORK, CONFIG, CHOICE)
@share_option
@click.option(
    "--rounds", type=click.IntRange(1), default=ROUNDS, show_default=True, help="Students."
)
@click.option(
    "--teacher", metavar="RUN", help="Of the first round.  [default: one is trained on labels]"
)
@out_option
@json_option
def noisy_students(
    out: Path,
    as_json: bool,
    model: str | None,
    rounds: int,
    unlabelled_share: float,
    teacher: str | None,
    **options: Any,
) -> None:
    """Train students on labels and on what a teacher said, each the teacher of the next.

    DIR/round-N are runs, which `training evaluate` takes. The noise is --augment, and dropout where
    the network has it (--model-option dropout=0.3).
    """

    def spec() -> SelfTraining:
        settings = {**run_settings(options), "model": model}
        return SelfTraining(
            run=made_spec(settings, data=data_spec(options), start=options["start"]),
            choice=_choice(options),
            rounds=rounds,
            unlabelled_share=unlabelled_share,
            teacher=teacher,
        )

    for made in noisy_student(parsed(spec), out, say=say):
        if as_json:
            click.echo(json.dumps(made.to_dict(), ensure_ascii=False))
            continue
        result = made.result
        score = "-" if result.score is None else f"{result.score:.4f}"
        told = "" if made.correct is None else f", {made.correct:.1%} of them as hidden"
        click.echo(
            f"round {made.number}: {result.measured} {score}; {made.kept:,} of {made.pool:,}"
            f" pseudo-labelled{told}; {made.folder}"
        )


def _choice(options: dict[str, Any]) -> Choice:
    names = ("kind", "threshold", "per_class", "temperature")
    return Choice(**{name: options[name] for name in names})


def _data(options: dict[str, Any]) -> DataSpec | None:
    """The data that are named; None for those of the run."""
    named = options["stores"] or options["arrays"] or options["like"]
    return data_spec(options) if named else None
