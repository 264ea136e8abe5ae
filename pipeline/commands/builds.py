"""Build a store, or say what that would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pi_cache import catalogue
from pi_cache.commands.options import cache_option, examples, json_option, say
from pi_cache.errors import PiCacheError
from pi_cache.reader import open_store
from pi_cache.specs import StoreSpec
from pipeline.options import HOW_OPTIONS, LIKE, WHAT_OPTIONS, names, opened, with_options
from pipeline.printed import print_plan, root_hint, summary_lines

if TYPE_CHECKING:
    from pipeline.buildoptions import Options
    from pipeline.request import Request
    from pipeline.sources.base import Source


@examples(
    "pipeline build-pis",
    "pipeline build-pis digits --filtration cubical --limit 200 --json",
    "pipeline build-pis cifar10:data/cifar-10-batches-bin --recipe tgd-cifar10 --workers 4",
    "pipeline build-pis array:windows.npz --sample signal --birth-range -3,3 --dtype float32",
    "pipeline build-pis sisfall:data/SisFall --source-option window=3s --source-option step=1s",
    "pipeline build-pis --spec stores/3f2a.../spec.json --sigma 0.02",
    "pipeline build-pis --like 3f2a9c --filtration cubical",
    "pipeline build-pis digits --limit 200 --variants flip",
)
@click.command("build-pis")
@click.argument("source", required=False)
@LIKE
@with_options(WHAT_OPTIONS, HOW_OPTIONS)
@click.option(
    "--variants", callback=names, default="", metavar="flip,...",
    help="Build too the stores of samples that are flipped, turned or reversed: flip, "
    "flip-vertical, rot180, ... of images, reverse and negate of signals.",
)  # fmt: skip
@cache_option
@json_option
def build_pis(
    source: str | None,
    cache: Path | None,
    as_json: bool,
    variants: tuple[str, ...],
    **options: Any,
) -> None:
    """Build the store of SOURCE (`digits`, or KIND:PATH), or find it.

    Running the same command again goes on where it stopped, and finds what is finished.
    --like STORE takes the samples of a store, such as other images of the same windows.
    A variant is a store of its own, with the same ids, and costs as much again.
    """
    from pipeline.sources.variants import variants_of

    root = catalogue.parse_root(cache)
    data, request, how = opened(source, options, say, root)
    turned = variants_of(data, variants, request.image)
    _say_warnings(data, request)
    document = _built(data, request, how, root)
    beside = {each.variant: _built(each, request, how, root) for each in turned}
    if as_json:
        whole = document | ({"variants": beside} if beside else {})
        click.echo(json.dumps(whole, ensure_ascii=False))
    else:
        for line in summary_lines(document):
            click.echo(line)
        for name, each in beside.items():
            click.echo(f"variant  {name}")
            for line in summary_lines(each):
                click.echo(line)
        say(f"next: pipeline report {document['key'][:12]}{root_hint(cache)}")
    if not document["status"].get("OK"):
        raise PiCacheError("no sample is usable; see the status of each above")


def _built(data: Source, request: Request, how: Options, root: Path) -> dict[str, Any]:
    """What there is to tell of a store that was built or found, warnings said."""
    from pipeline.build import build
    from pipeline.progress import Progress
    from pipeline.recipes import told_parts
    from pipeline.reports.coverage import coverage, warnings_of

    with Progress() as progress:
        report = build(
            data,
            request.diagram,
            request.image,
            root=root,
            recipe="" if request.recipe.name == "default" else request.recipe.name,
            options=how,
            progress=progress,
            say=say,
        )
    document = report.to_dict()
    facts = coverage(open_store(report.path))
    document["window"] = {name: facts[name] for name in ("points_inside", "persistence_inside")}
    told = told_parts(request.recipe, data, request.diagram, request.image)
    for line in warnings_of(facts, told):
        say(f"warning: {line}")
    return document


@examples(
    "pipeline plan",
    "pipeline plan digits --filtration rips --homology 0,1",
    "pipeline plan cifar10:data/cifar-10-batches-bin --recipe tgd-cifar10 --json",
)
@click.command()
@click.argument("source", required=False)
@LIKE
@with_options(WHAT_OPTIONS, HOW_OPTIONS)
@cache_option
@json_option
def plan(source: str | None, cache: Path | None, as_json: bool, **options: Any) -> None:
    """Say what build-pis would do with the same options: build nothing, write nothing."""
    from pipeline.build import expected_losses, find_finished
    from pipeline.planning import make_plan

    root = catalogue.parse_root(cache)
    data, request, how = opened(source, options, say, root)
    _say_warnings(data, request)
    spec = StoreSpec(source=data.spec(), diagram=request.diagram, image=request.image)
    found = find_finished(root, spec) is not None
    planned = make_plan(data, spec, options=how, root=root, say=say)
    for line in expected_losses(root, spec, how):
        say(line)
    print_plan(planned, root, found=found, as_json=as_json)


def _say_warnings(data: Source, request: Request) -> None:
    """What the window of the images that are asked for cannot show, before any work."""
    from pipeline.recipes import warnings_for

    for line in warnings_for(request.recipe, data, request.diagram, request.image):
        say(f"warning: {line}")
