"""The options of the `pipeline` command that say what to build and how, and what they mean.

No default is written here: an option that is not given leaves the choice to the recipe or spec.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pi_cache import catalogue
from pi_cache.errors import InvalidSpec
from pi_cache.specs import (
    CONSTRUCTIONS,
    DTYPES,
    ENGINES,
    FILTRATIONS,
    GRIDS,
    METRICS,
    NORMALISATIONS,
    PRECISIONS,
    SAMPLE_KINDS,
    SCANS,
)

if TYPE_CHECKING:
    from pi_cache.specs import DiagramSpec
    from pipeline.buildoptions import Options
    from pipeline.request import Request, Wanted
    from pipeline.sources.base import Source

Command = TypeVar("Command", bound=Callable[..., Any])

EMBEDDING = ("embedding_delay", "embedding_dimension")
DELAY_RULES = (
    "mutual-information", "autocorrelation", "autocorrelation-zero", "quarter-period", "giotto",
)  # fmt: skip
DIMENSION_RULES = ("false-nearest-neighbours", "giotto")
"""The names of `pipeline.delays.embedding`, which takes long to import."""


def numbers(kind: type) -> Callable[[Any, Any, str | None], tuple[Any, ...] | None]:
    """A click callback for values joined by commas."""

    def parse(context: Any, parameter: Any, value: str | None) -> tuple[Any, ...] | None:
        try:
            return None if value is None else tuple(kind(part) for part in value.split(","))
        except ValueError:
            raise click.BadParameter(
                f"{value!r} is not {kind.__name__} values with commas"
            ) from None

    return parse


def names(context: Any, parameter: Any, value: str) -> tuple[str, ...]:
    """A click callback for names joined by commas, each taken once."""
    return tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))


def _pairs(context: Any, parameter: Any, values: tuple[str, ...]) -> dict[str, str] | None:
    """NAME=VALUE words as a mapping, None where there are none."""
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE")
    return dict(value.split("=", 1) for value in values) or None


def _scale(context: Any, parameter: Any, value: str | None) -> float | str | None:
    try:
        return value if value in (None, "dataset-max") else float(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a number nor dataset-max") from None


def _number_or(rules: tuple[str, ...]) -> Callable[[Any, Any, str | None], int | str | None]:
    """A click callback for a whole number, or the name of a rule that chooses it."""

    def parse(context: Any, parameter: Any, value: str | None) -> int | str | None:
        try:
            return value if value is None or value in rules else int(value)
        except ValueError:
            known = ", ".join(rules)
            raise click.BadParameter(
                f"{value!r} is neither a whole number nor a rule: {known}"
            ) from None

    return parse


def _choice(name: str, choices: tuple[str, ...], text: str) -> Callable[[Command], Command]:
    return click.option(name, type=click.Choice(choices), help=text)


SPEC_FILE = click.option(
    "--spec", "spec_file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Start from a saved spec (JSON or TOML), such as the spec.json of a store.",
)  # fmt: skip
LIKE = click.option("--like", metavar="STORE", help="Of the samples of a store: its path or key.")
SAMPLE = _choice("--sample", SAMPLE_KINDS, "What the samples of an array are, where it is unclear.")

PART_OPTIONS = (
    click.option("--split", help="Only this part of the source, such as train."),
    click.option(
        "--source-option", "source_options", multiple=True, callback=_pairs, metavar="NAME=VALUE",
        help="An option of the kind of source; see `pipeline sources KIND`.",
    ),
    click.option("--limit", type=click.IntRange(min=1), help="Only the first so many samples."),
)  # fmt: skip
"""Which samples of a source."""

WHAT_OPTIONS = (
    click.option("--recipe", metavar="NAME", help="Start from a recipe; see `pipeline recipes`."),
    SPEC_FILE,
    SAMPLE,
    _choice("--filtration", FILTRATIONS, "What is filtered.  [default: sublevel]"),
    _choice("--scan", SCANS, "How image channels are read as signals.  [default: rows]"),
    _choice("--construction", CONSTRUCTIONS, "What a pixel is, cubical.  [default: cells]"),
    click.option("--homology", callback=numbers(int), metavar="0,1", help="Dimensions."),
    click.option(
        "--embedding-dimension", callback=_number_or(DIMENSION_RULES), metavar="N|RULE",
        help="Delay embedding of signals for rips: its dimension, or the rule that chooses it "
        f"({', '.join(DIMENSION_RULES)}); see `pipeline delays`.",
    ),
    click.option(
        "--embedding-delay", callback=_number_or(DELAY_RULES), metavar="N|RULE",
        help=f"Its delay, in samples, or the rule that chooses it ({', '.join(DELAY_RULES)}).",
    ),
    click.option("--max-length", type=float, help="Longest edge of a rips filtration."),
    _choice("--metric", METRICS, "Length of an edge of a cloud.  [default: euclidean]"),
    click.option("--centre/--no-centre", default=None, help="Subtract each signal's mean."),
    click.option("--scale", callback=_scale, metavar="X|dataset-max", help="Divide signals."),
    _choice("--precision", PRECISIONS, "Round values to this type before the topology."),
    _choice("--image-precision", PRECISIONS, "Arithmetic of the images.  [default: float64]"),
    click.option("--min-persistence", type=float, help="Keep pairs of larger persistence."),
    _choice("--engine", ENGINES, "What computes the diagrams.  [default: by filtration]"),
    click.option("--pixels", type=int, help="Image side.  [default: 50]"),
    click.option("--sigma", type=float, help="Standard deviation of the Gaussian, in field units."),
    click.option("--birth-range", callback=numbers(float), metavar="LO,HI", help="Columns."),
    click.option("--persistence-range", callback=numbers(float), metavar="LO,HI", help="Rows."),
    click.option("--weight", metavar="linear|power:N|one|relative", help="Weight of a point."),
    _choice("--grid", GRIDS, "Where the cells lie.  [default: regular]"),
    _choice("--normalise", NORMALISATIONS, "What images are divided by.  [default: own-max]"),
    click.option("--threshold", type=float, help="Draw points of larger persistence."),
    click.option("--essential", metavar="drop|clip:V", help="Classes that never die."),
    click.option("--floor", type=float, help="Images with no larger maximum become zeros."),
    _choice("--dtype", DTYPES, "Type of the stored images.  [default: float16]"),
    *PART_OPTIONS,
)  # fmt: skip

TIME_LIMIT = click.option(
    "--time-limit", type=click.FloatRange(min=0), metavar="SECONDS",
    help="A sample with a field (a channel) that takes longer is left out; 0 for none.  "
    "[default: 600]",
)  # fmt: skip

WHO_OPTIONS = (
    _choice("--executor", ("serial", "joblib", "dask"), "Who computes.  [default: joblib if long]"),
    click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: your cores]"),
    click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler, such as tcp://host:8786."),
    click.option(
        "--scheduler-file", type=click.Path(path_type=Path, dir_okay=False),
        help="The file that a Dask scheduler writes its address into.",
    ),
)  # fmt: skip
"""Who builds a store."""

CUT_OPTIONS = (
    click.option("--shard-samples", type=click.IntRange(min=1), help="Samples a shard."),
    click.option(
        "--chunk-samples", type=click.IntRange(min=1),
        help="Samples that are decoded together; 1 for random reads of single ones.  [default: 8]",
    ),
    click.option("--with-inputs/--no-inputs", default=True, help="Store the raw samples too."),
    click.option("--mapped", is_flag=True, help="Uncompressed shards, to be memory-mapped."),
    click.option(
        "--space-check/--no-space-check", default=True,
        help="Refuse a build for which the cache has no room; see `pi-cache budget`.",
    ),
)  # fmt: skip
"""How a store is cut into files."""

LAYOUT_OPTIONS = (*WHO_OPTIONS, *CUT_OPTIONS)

RETRY = click.option(
    "--retry", is_flag=True,
    help="Compute shards again that hold a TIMEOUT or CRASH sample, most often with a larger "
    "--time-limit.",
)  # fmt: skip

HOW_OPTIONS = (*LAYOUT_OPTIONS, TIME_LIMIT, RETRY)


def with_options(*groups: tuple[Callable[[Any], Any], ...]) -> Callable[[Command], Command]:
    """All options of some groups, in their order."""

    def add(command: Command) -> Command:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return add


def saved_request(
    spec_file: Path | None, like: str | None, root: Path | None, *, source: str | None = None
) -> dict[str, Any]:
    """What a file or a store says to start from; of a store below `root`, its samples alone.

    source: that is named beside, which may take the place of a file's, and not of a store's.
    Raises InvalidSpec where two of them say which samples; what reading them raises.
    """
    from pipeline.request import read_request, samples_of

    if spec_file is not None and like is not None:
        raise InvalidSpec("--spec and --like both name samples: give one of the two")
    if source is not None and like is not None:
        raise InvalidSpec(
            f"{source} and --like both name samples: give one of the two, or --spec with the"
            " spec.json of the store to take all but its samples"
        )
    if like is not None:
        return samples_of(catalogue.read_spec(catalogue.locate(like, catalogue.parse_root(root))))
    return {} if spec_file is None else read_request(spec_file)


def open_request(request: Wanted, say: Callable[[str], None]) -> Source:
    """The source of a request, with what there is to say of it."""
    from pipeline.sources import KINDS, open_source

    kind = KINDS.get(request.source.partition(":")[0])
    if kind is not None and kind.opening:
        say(kind.opening)
    data = open_source(request.source, split=request.split, **request.source_options)
    for note in data.notes:
        say(f"note: {note}")
    if request.limit is not None:
        data = replace(data[: request.limit], limit=request.limit)
    return data


def opened(
    source: str | None,
    given: dict[str, Any],
    say: Callable[[str], None],
    root: Path | None = None,
) -> tuple[Source, Request, Options]:
    """The source, the request and the build options that a command line means.

    root: of the cache in which the store of `--like` is looked for.
    """
    from pipeline.buildoptions import Options
    from pipeline.request import resolve
    from pipeline.scales import largest_magnitude

    saved = saved_request(given["spec_file"], given.get("like"), root, source=source)
    asked = {name: given.get(name) for name in EMBEDDING}
    by_rule = any(isinstance(value, str) for value in asked.values())
    known = {**given, **dict.fromkeys(EMBEDDING)} if by_rule else given
    request = resolve(saved, {**known, "source": source})
    if by_rule:
        asked = _completed(request.diagram, asked)
    data = open_request(request, say)
    if request.fingerprint is not None:
        request.check(data.spec())
    if request.recipe.name != "default":
        say(f"recipe: {request.recipe.name}: {request.recipe.summary}")
        say(f"recipe: from {request.recipe.citation}")
        if request.recipe.sample != data.sample:
            say(f"warning: this recipe is for {request.recipe.sample}s, not for {data.sample}s")
        if request.recipe.traps:
            say(f"recipe: what goes wrong with it: pipeline recipes {request.recipe.name}")
    if request.scale_by_dataset:
        scale = largest_magnitude(data, centre=request.diagram.centre)
        say(f"scale: {scale!r}, the largest magnitude of the data set")
        request = request.scaled(scale)
    how = {name: given.get(name) for name in Options.__dataclass_fields__}
    if by_rule:
        request, how["notes"] = _embedded(data, request, asked, say)
    return data, request, Options(**{name: v for name, v in how.items() if v is not None})


def _completed(diagram: DiagramSpec, asked: dict[str, Any]) -> dict[str, Any]:
    """Delay and dimension that are asked for, numbers or rules; of the spec where one is not given.

    Raises InvalidSpec where one is missing, or the filtration has no embedding.
    """
    if diagram.filtration != "rips":
        raise InvalidSpec("a delay embedding applies to rips only: add --filtration rips")
    found = {
        name: getattr(diagram, name) if asked[name] is None else asked[name] for name in EMBEDDING
    }
    for name, value in found.items():
        if value is None:
            raise InvalidSpec(f"--{name.replace('_', '-')} is missing: a number, or a rule")
    return found


def _embedded(
    data: Source, request: Request, asked: dict[str, Any], say: Callable[[str], None]
) -> tuple[Request, dict[str, Any]]:
    """The request with the delay and dimension that rules choose, and how they were chosen.

    asked: the fields of `EMBEDDING`, numbers or rules.
    """
    from pipeline.delays.embedding import Limits, find_embedding
    from pipeline.delays.told import chosen_lines, warning_lines
    from pipeline.delays.training import training_part

    part = training_part(data)
    for line in part.lines():
        say(f"embedding: {line}")
    found = find_embedding(
        part, asked["embedding_delay"], asked["embedding_dimension"], Limits.of(part)
    )
    diagram = request.diagram.replace(**found.numbers())
    for line in (*chosen_lines(found), *(f"warning: {text}" for text in warning_lines(found))):
        say(f"embedding: {line}")
    return replace(request, diagram=diagram), {"embedding": found.record()}
