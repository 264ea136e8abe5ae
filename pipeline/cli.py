"""The `pipeline` command: translates options, calls one function, prints."""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pi_cache import catalogue
from pi_cache.commands.options import CONTEXT, cache_option, examples, json_option
from pi_cache.errors import InvalidSpec, PiCacheError
from pi_cache.reader import open_store
from pi_cache.specs import ImageSpec, StoreSpec
from pipeline.cluster.commands import COMMANDS as CLUSTER_COMMANDS
from pipeline.delays.command import delays
from pipeline.gramian.command import build_gafs, explain_fields, report_fields
from pipeline.options import (
    HOW_OPTIONS,
    LIKE,
    TIME_LIMIT,
    WHAT_OPTIONS,
    names,
    numbers,
    opened,
    with_options,
)
from pipeline.printed import print_plan, root_hint, say_drawn, summary_lines, terminal_width

if TYPE_CHECKING:
    from pipeline.buildoptions import Options
    from pipeline.request import Request
    from pipeline.sources.base import Source

MISUSE, INTERRUPTED = 2, 130


STORE = click.argument("store")
PNG = click.option("--png", type=click.Path(path_type=Path, dir_okay=False), help="Draw it.")


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="pi-cache")
def cli() -> None:
    """Persistence images from real data, computed once, into a cache that training reads.

    Start with `pipeline build-pis`: it needs no data of yours.
    """


cli.add_command(delays)
cli.add_command(build_gafs)
for command in CLUSTER_COMMANDS:
    cli.add_command(command)


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
@cli.command("build-pis")
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
    data, request, how = opened(source, options, _say, root)
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
        _say(f"next: pipeline report {document['key'][:12]}{root_hint(cache)}")
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
            say=_say,
        )
    document = report.to_dict()
    facts = coverage(open_store(report.path))
    document["window"] = {name: facts[name] for name in ("points_inside", "persistence_inside")}
    told = told_parts(request.recipe, data, request.diagram, request.image)
    for line in warnings_of(facts, told):
        _say(f"warning: {line}")
    return document


@examples(
    "pipeline plan",
    "pipeline plan digits --filtration rips --homology 0,1",
    "pipeline plan cifar10:data/cifar-10-batches-bin --recipe tgd-cifar10 --json",
)
@cli.command()
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
    data, request, how = opened(source, options, _say, root)
    _say_warnings(data, request)
    spec = StoreSpec(source=data.spec(), diagram=request.diagram, image=request.image)
    found = find_finished(root, spec) is not None
    planned = make_plan(data, spec, options=how, root=root, say=_say)
    for line in expected_losses(root, spec, how):
        _say(line)
    print_plan(planned, root, found=found, as_json=as_json)


@examples("pipeline recipes", "pipeline recipes tgd-cifar10")
@cli.command()
@click.argument("name", required=False)
@json_option
def recipes(name: str | None, as_json: bool) -> None:
    """List the recipes, or say what one does and where it comes from."""
    from pipeline.recipes import RECIPES, describe_diagram, describe_image, find_recipe

    chosen = list(RECIPES.values()) if name is None else [find_recipe(name)]
    if as_json:
        documents = [
            {
                "name": r.name, "sample": r.sample, "summary": r.summary, "citation": r.citation,
                "published": r.published, "chosen": r.chosen,
                "diagram": r.diagram.to_dict(), "image": r.image.to_dict(),
                "values": r.values, "pixels_lit": r.lit,
                "warnings": r.warnings, "corrected": r.corrected,
            }
            for r in chosen
        ]  # fmt: skip
        click.echo(json.dumps(documents, ensure_ascii=False))
        return
    for recipe in chosen:
        click.echo(f"{recipe.name:<24} {recipe.summary}\n{'':<24} {recipe.citation}")
        if name is not None:
            parts = {
                "for": [f"{recipe.sample}s"],
                "published": recipe.published,
                "our choice": recipe.chosen,
                "diagram": describe_diagram(recipe.diagram),
                "image": describe_image(recipe.image),
                "pixels": [] if recipe.lit is None else [f"{recipe.lit:.0%} can be lit by a point"],
                "warning": recipe.warnings,
            }
            for title, lines in parts.items():
                for line in lines:
                    click.echo(f"  {title}: {line}")


@examples(
    "pipeline engines",
    "pipeline engines --compare digits --limit 8",
    "pipeline engines --compare digits --filtration rips --limit 4 --json",
)
@cli.command()
@click.option("--compare", "source", metavar="SOURCE", help="Run all side by side on this data.")
@with_options(WHAT_OPTIONS, (TIME_LIMIT,))
@json_option
def engines(source: str | None, as_json: bool, **options: Any) -> None:
    """Say what computes diagrams: what is installed, what each engine covers, and its limits.

    With --compare, every installed engine computes the same samples: times, the largest difference,
    and the smallest sample on which two disagree (exit status 1). All other options but --json go
    with it.
    """
    if source is None:
        _refuse_given(click.get_current_context(), but="as_json")
        from pipeline.engines.describe import describe_engines, engine_lines

        documents = describe_engines()
        if as_json:
            click.echo(json.dumps(documents))
            return
        for document in documents:
            for line in engine_lines(document):
                click.echo(line)
        return
    from pipeline.compare import FIRST, compare, comparison_lines

    data, request, how = opened(source, options, _say)
    if request.limit is None and len(data) > FIRST:
        _say(f"the first {FIRST} of {len(data):,} samples; --limit N for others")
        data = data[:FIRST]
    spec = StoreSpec(source=data.spec(), diagram=request.diagram, image=request.image)
    found = compare(data, spec.diagram, time_limit=how.time_limit)
    if as_json:
        click.echo(json.dumps(found.to_dict(), ensure_ascii=False))
    else:
        for line in comparison_lines(found):
            click.echo(line)
    if not found.compared:
        raise PiCacheError("nothing was compared: no sample was computed by two engines")
    if not found.agree:
        raise PiCacheError("two engines disagree; see the smallest sample of each pair above")


NOT_COMPARED = {f.name for f in fields(ImageSpec)} - {"precision"} | {
    "engine", "min_persistence", "image_precision",
}  # fmt: skip
"""Options of a build that say nothing to a comparison: it takes every engine, and draws nothing."""
engines.params = [option for option in engines.params if option.name not in NOT_COMPARED]


def _refuse_given(context: click.Context, *, but: str) -> None:
    """Raise UsageError where an option is given that goes with --compare."""
    given = [
        option.opts[0]
        for option in context.command.params
        if option.name not in (None, but)
        and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"{', '.join(given)}: only with --compare SOURCE", context)


@examples("pipeline sources", "pipeline sources cifar10", "pipeline sources pamap2 --json")
@cli.command()
@click.argument("name", required=False)
@json_option
def sources(name: str | None, as_json: bool) -> None:
    """List the kinds of source, or say what one reads, with its terms and citation."""
    from pipeline.sources import describe_sources

    chosen = describe_sources(name)
    if as_json:
        click.echo(json.dumps(chosen, ensure_ascii=False))
        return
    for document in chosen:
        click.echo(f"{document['name']:<14} {document['summary']}")
        if name is not None:
            for title, text in document.items():
                if title not in ("name", "summary") and text:
                    click.echo(f"  {title}: {text}")


@examples(
    "pipeline fetch --list", "pipeline fetch cifar10", "pipeline fetch cifar10 --to data/downloads"
)
@cli.command()
@click.argument("name", required=False)
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), help="Folder to unpack in.")
@click.option("--list", "list_all", is_flag=True, help="List what can be fetched.")
def fetch(name: str | None, to: Path | None, list_all: bool) -> None:
    """Download a public data set, checked and resumed, and say how to build from it."""
    from pipeline.fetch import fetch as download
    from pipeline.fetch import load_registry

    registry = load_registry()
    if list_all or name is None:
        for entry in registry.values():
            click.echo(
                f"{entry.name:<14} {entry.title}\n{'':<14} {entry.citation}; {entry.licence}"
            )
        return
    path = download(name, to, say=_say)
    click.echo(path)
    _say(f"next: pipeline plan {registry[name].source.format(path=path)}")


@examples(
    "pipeline explain 3f2a9c 0",
    "pipeline explain 3f2a9c 17 --pixel 4,10 --png seventeen.png",
)
@cli.command()
@STORE
@click.argument("index", type=int)
@click.option("--pixel", callback=numbers(int), metavar="ROW,COLUMN", help="Say what a pixel is.")
@PNG
@cache_option
@json_option
def explain(
    store: str,
    index: int,
    pixel: tuple[int, ...] | None,
    png: Path | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Say how the image of sample INDEX of STORE came about."""
    from pipeline.reports.explain import explain_sample, explanation_lines

    if pixel is not None and len(pixel) != 2:
        raise click.BadParameter("give two numbers, ROW,COLUMN", param_hint="--pixel")
    found = open_store(store, root=cache)
    if found.spec.gramian is not None:
        explain_fields(found, index, pixel, png, as_json=as_json)
        return
    facts = explain_sample(found, index, pixel)
    if png is not None:
        from pipeline.figures import draw_explanation

        draw_explanation(found, index, png)
        say_drawn(png, found, index)
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
        return
    for line in explanation_lines(found, facts):
        click.echo(line)


@examples("pipeline report 3f2a9c", "pipeline report 3f2a9c --png report.png --json")
@cli.command()
@STORE
@PNG
@cache_option
@json_option
def report(store: str, png: Path | None, cache: Path | None, as_json: bool) -> None:
    """Say what the window of STORE shows of its diagrams, and what went wrong.

    By channel too, with the values that were filtered. Of windows of recordings also how many there
    are by subject and class.
    """
    from pipeline.reports.coverage import coverage, warnings_of
    from pipeline.reports.text import WIDTH, report_lines

    found = open_store(store, root=cache)
    if found.spec.gramian is not None:
        report_fields(found, png, as_json=as_json)
        return
    facts = coverage(found)
    if png is not None:
        from pipeline.figures import draw_report

        draw_report(found, png)
        say_drawn(png, found)
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
    else:
        for line in report_lines(facts, terminal_width(WIDTH)):
            click.echo(line)
    for line in warnings_of(facts):
        _say(f"warning: {line}")


@examples("pipeline demo", "pipeline demo --png digits.png --cache demo-cache")
@cli.command()
@click.option(
    "--png",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("demo.png"),
    show_default=True,
    help="Where the picture goes.",
)
@cache_option
def demo(png: Path, cache: Path | None) -> None:
    """Build scikit-learn's digits by every filtration once, and draw a few samples."""
    from pipeline.demo import build_demo, draw_demo
    from pipeline.figures import check_picture

    check_picture(png)
    started, stores = time.perf_counter(), []
    for line, built in build_demo(catalogue.parse_root(cache)):
        click.echo(f"$ {line}")
        for text in summary_lines(built.to_dict()):
            click.echo(f"  {text}")
        stores.append(built.path)
    drawing = time.perf_counter()
    draw_demo(stores, png)
    ended = time.perf_counter()
    click.echo(f"picture  {png} ({ended - drawing:.1f} s)")
    click.echo(f"in all   {ended - started:.1f} s; see also: pi-cache ls{root_hint(cache)}")


def _say_warnings(data: Source, request: Request) -> None:
    """What the window of the images that are asked for cannot show, before any work."""
    from pipeline.recipes import warnings_for

    for line in warnings_for(request.recipe, data, request.diagram, request.image):
        _say(f"warning: {line}")


def _say(text: str) -> None:
    click.echo(text, err=True)


class _Signals:
    """SIGINT and SIGTERM as KeyboardInterrupt, remembered.

    A library that is interrupted may raise what it likes: numba does while it compiles.
    """

    def __init__(self) -> None:
        self.seen = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: object) -> None:
        self.seen = True
        raise KeyboardInterrupt


def main() -> None:
    """Run the command. An error of ours is one sentence; a stopped build says how to go on."""
    signals = _Signals()
    try:
        try:
            code = cli(standalone_mode=False)
        except Exception as error:
            raise (KeyboardInterrupt if signals.seen else error) from None
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say("stopped; finished shards are kept: run the same command again to go on")
        code = INTERRUPTED
    except InvalidSpec as error:
        _say(f"pipeline: {error}")
        code = MISUSE
    except PiCacheError as error:
        _say(f"pipeline: {error}")
        code = 1
    except ModuleNotFoundError as error:
        _say(f'pipeline: {error.name} is not installed; pip install "pi-cache[pipeline]"')
        code = 1
    except OSError as error:
        _say(f"pipeline: {error.filename or 'file system'}: {error.strerror or error}")
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
