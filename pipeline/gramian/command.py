"""The command `build-gafs`, and what `explain` and `report` print of what it built."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pi_cache import catalogue
from pi_cache.commands.options import cache_option, examples, json_option, say
from pi_cache.errors import InvalidSpec, PiCacheError
from pi_cache.reader import Store, open_store
from pi_cache.specs import DTYPES, FORMS, LARGEST_SIZE, RANGES, ROUNDINGS
from pipeline.options import (
    LAYOUT_OPTIONS,
    LIKE,
    PART_OPTIONS,
    SAMPLE,
    SPEC_FILE,
    open_request,
    saved_request,
    with_options,
)
from pipeline.printed import print_plan, root_hint, say_drawn, summary_lines, terminal_width

if TYPE_CHECKING:
    from pipeline.buildoptions import Options
    from pipeline.request import GramianRequest
    from pipeline.sources.base import Source


def _range(context: Any, parameter: Any, value: str | None) -> str | tuple[float, ...] | None:
    if value is None or value in RANGES:
        return value
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is none of {', '.join(RANGES)}, LO,HI") from None


FIELD_OPTIONS: Sequence[Callable[[Any], Any]] = (
    click.option("--form", type=click.Choice(FORMS), help="GASF or GADF.  [default: summation]"),
    click.option(
        "--size", type=int,
        help=f"Side of the field, up to the length of a window and {LARGEST_SIZE}.  "
        "[default: that length]",
    ),
    click.option(
        "--range", callback=_range, metavar="|".join((*RANGES, "LO,HI")),
        help="What of a signal becomes -1 and 1: the extremes of each window, those of its segments"
        " (as pyts does), or two numbers, values outside clipped.  [default: window]",
    ),
    click.option(
        "--dtype", type=click.Choice(DTYPES), help="Type of the stored fields.  [default: float16]"
    ),
    click.option(
        "--rounding", type=click.Choice(ROUNDINGS), help="How bytes are made.  [default: nearest]"
    ),
)  # fmt: skip


@examples(
    "pipeline build-gafs array:windows.npz --sample signal --size 32",
    "pipeline build-gafs array:windows.npz --sample signal --form difference --range -3,3 --plan",
    "pipeline build-gafs sisfall:data/SisFall --source-option window=3s --source-option step=1s "
    "--size 50 --dtype uint8 --json",
)
@click.command("build-gafs")
@click.argument("source", required=False)
@LIKE
@with_options((SPEC_FILE, SAMPLE, *FIELD_OPTIONS, *PART_OPTIONS), LAYOUT_OPTIONS)
@click.option("--plan", "only_plan", is_flag=True, help="Say what would be done; write nothing.")
@cache_option
@json_option
def build_gafs(
    source: str | None, only_plan: bool, cache: Path | None, as_json: bool, **options: Any
) -> None:
    """Build Gramian angular fields of SOURCE (KIND:PATH), which holds signals, or find them.

    The same SOURCE, split, limit and source options as of `build-pis` give the same samples, so the
    two stores join by id; --like STORE takes them from a store of persistence images, such as
    --like 3f2a9c. Running the same command again goes on where it stopped, and finds what is
    finished.
    """
    root = catalogue.parse_root(cache)
    data, request, how = opened_fields(source, options, root)
    if only_plan:
        _plan(data, request, how, root, as_json=as_json)
    else:
        _build(data, request, how, root, cache, as_json=as_json)


def opened_fields(
    source: str | None, given: dict[str, Any], root: Path
) -> tuple[Source, GramianRequest, Options]:
    """The source, the request and the build options that a command line means."""
    from pipeline.buildoptions import Options
    from pipeline.request import resolve_gramian

    saved = saved_request(given["spec_file"], given["like"], root, source=source)
    request = resolve_gramian(saved, {**given, "source": source})
    data = open_request(request, say)
    if request.fingerprint is not None:
        request.check(data.spec())
    how = {name: given.get(name) for name in Options.__dataclass_fields__}
    return data, request, Options(**{name: v for name, v in how.items() if v is not None})


def _plan(
    data: Source, request: GramianRequest, how: Options, root: Path, *, as_json: bool
) -> None:
    from pipeline.build import find_finished, gramian_store
    from pipeline.planning import make_plan

    spec = gramian_store(data, request.gramian)
    found = find_finished(root, spec) is not None
    planned = make_plan(data, spec, options=how, root=root, say=say)
    print_plan(planned, root, found=found, as_json=as_json)


def _build(
    data: Source,
    request: GramianRequest,
    how: Options,
    root: Path,
    cache: Path | None,
    *,
    as_json: bool,
) -> None:
    from pipeline.build import build_gramian
    from pipeline.gramian.report import facts_of, warnings_of
    from pipeline.progress import Progress

    with Progress() as progress:
        report = build_gramian(
            data, request.gramian, root=root, options=how, progress=progress, say=say
        )
    document, store = report.to_dict(), open_store(report.path)
    for line in warnings_of(facts_of(store)):
        say(f"warning: {line}")
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        for line in summary_lines(document):
            click.echo(line)
        say(f"next: {_next(root, store, cache)}")
    if not document["status"].get("OK"):
        raise PiCacheError("no sample is usable; see the status of each above")


def _next(root: Path, store: Store, cache: Path | None) -> str:
    """The command that joins these fields with other images of the same samples, or reports."""
    beside = [
        entry
        for entry in catalogue.stores(root)
        if entry.state == "finished" and entry.spec is not None and entry.key != store.key
        if entry.spec.source == store.spec.source
    ]
    beside.sort(key=lambda entry: entry.spec is not None and entry.spec.gramian is not None)
    if beside:
        return f"pi-cache join {beside[0].key[:12]} {store.key[:12]}{root_hint(cache)}"
    return f"pipeline report {store.key[:12]}{root_hint(cache)}"


def explain_fields(
    store: Store, sample: int, pixel: tuple[int, ...] | None, png: Path | None, *, as_json: bool
) -> None:
    """Print how the fields of a sample came about, and draw them."""
    from pipeline.gramian.report import explain_sample, explanation_lines

    facts = explain_sample(store, sample, pixel)
    if png is not None:
        from pipeline.gramian.figures import draw_explanation

        draw_explanation(store, sample, png)
        say_drawn(png, store, sample)
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
        return
    for line in explanation_lines(facts):
        click.echo(line)


def report_fields(store: Store, png: Path | None, *, as_json: bool) -> None:
    """Print what is known of a store of fields. Raises InvalidSpec where it is to be drawn."""
    from pipeline.gramian.report import fact_lines, facts_of, warnings_of
    from pipeline.reports.text import WIDTH

    if png is not None:
        raise InvalidSpec(
            "a picture of all fields of a store is not drawn: use pipeline explain"
            f" {store.key[:12]} INDEX --png {png} for those of one sample"
        )
    facts = facts_of(store)
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
    else:
        for line in fact_lines(facts, terminal_width(WIDTH)):
            click.echo(line)
    for line in warnings_of(facts):
        say(f"warning: {line}")
