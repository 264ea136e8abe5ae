"""What there is to choose from: recipes, engines, kinds of source."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import click
from click.core import ParameterSource

from pi_cache.commands.options import examples, json_option, say
from pi_cache.errors import PiCacheError
from pi_cache.specs import ImageSpec, StoreSpec
from pipeline.options import TIME_LIMIT, WHAT_OPTIONS, opened, with_options


@examples("pipeline recipes", "pipeline recipes tgd-cifar10")
@click.command()
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
@click.command()
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

    data, request, how = opened(source, options, say)
    if request.limit is None and len(data) > FIRST:
        say(f"the first {FIRST} of {len(data):,} samples; --limit N for others")
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
@click.command()
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
