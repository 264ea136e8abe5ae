"""Import persistence images that were made elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pi_cache import catalogue
from pi_cache.builders import builder
from pi_cache.commands.options import cache_option, examples, json_option, say
from pi_cache.errors import InvalidSpec, PiCacheError
from pi_cache.specs import STATEABLE

Command = TypeVar("Command", bound=Callable[..., Any])

TURNS = (
    "flip-rows", "flip-columns", "rotate-180", "transpose", "anti-transpose", "rotate-left",
    "rotate-right",
)  # fmt: skip
FLOATS = ("float16", "float32", "float64")


def _whole(context: Any, parameter: Any, value: str | None) -> tuple[int, ...] | None:
    """Whole numbers joined by commas."""
    try:
        return None if value is None else tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not whole numbers with commas") from None


def _shape(context: Any, parameter: Any, value: str | None) -> tuple[int, ...] | None:
    shape = _whole(context, parameter, value)
    if shape is not None and (len(shape) != 3 or min(shape) < 1):
        raise click.BadParameter(f"{value!r} is not C,H,W, such as 3,50,50")
    return shape


def _words(context: Any, parameter: Any, value: str | None) -> tuple[str, ...]:
    return tuple(value.split(",")) if value else ()


def _pairs(context: Any, parameter: Any, values: tuple[str, ...]) -> dict[str, str]:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE")
    return dict(value.split("=", 1) for value in values)


def _folder(name: str, text: str) -> Callable[[Command], Command]:
    return click.option(name, type=click.Path(file_okay=False), metavar="DIR", help=text)


def _file(name: str, text: str) -> Callable[[Command], Command]:
    return click.option(name, multiple=True, metavar="FILE", help=text)


WHERE = (
    _folder("--rows", "Images of the row scan, a folder; with --columns: one store of both."),
    _folder("--columns", "Images of the column scan."),
    _file("--labels", "Labels: .npy, .txt, .csv (id,label under a header), or FILE.mat:NAME."),
    _file("--ids", "Ids, in the order of the images.  [default: file names, or numbers]"),
    _file("--groups", "Whom or what each image comes from."),
    _file("--splits", "The split of each image."),
    _file("--label-names", "Names of the labels, from label 0."),
    click.option("--key", metavar="NAME", help="The array in a .mat or .npz that holds images."),
    click.option("--shape", callback=_shape, metavar="C,H,W", help="Of one flattened image."),
    click.option("--channels", type=click.Choice(("first", "last")), help="Where, if unclear."),
    click.option("--channel-names", callback=_words, metavar="A,B,...", help="In their order."),
    click.option("--turn", type=click.Choice(TURNS), help="Turn every image so."),
    click.option("--channel-order", "order", callback=_whole, metavar="2,1,0", help="Sort them."),
)  # fmt: skip
WHAT = (
    click.option("--dtype", type=click.Choice(FLOATS), help="Store floats so.  [default: as is]"),
    click.option("--recipe", metavar="NAME", help="How they were made; see `pipeline recipes`."),
    click.option(
        "--spec", "spec_file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="How they were made: a saved spec (JSON or TOML).",
    ),
    click.option("--given", multiple=True, metavar="FIELD=VALUE",
                 help="A single field of it, such as image.sigma=0.01."),
    click.option("--space-check/--no-space-check", default=True,
                 help="Refuse an import for which the cache has no room; see `pi-cache budget`."),
)  # fmt: skip
PROOF = (
    click.option("--source", default="", metavar="SOURCE", help="Audit: what they were made from."),
    click.option("--source-split", "split", help="Only this part of it."),
    click.option("--source-option", "options", multiple=True, callback=_pairs,
                 metavar="NAME=VALUE", help="See `pipeline sources KIND`."),
    click.option("--audit", "count", type=click.IntRange(min=1), help="Images compared.  "
                 "[default: 50]"),
    click.option("--tolerance", type=click.FloatRange(min=0), help="Largest difference allowed.  "
                 "[default: by type; a level for uint8]"),
    click.option("--partial", is_flag=True, help="The source may have more samples."),
    click.option("--keep", is_flag=True, help="Import what fails, marked as failed."),
)  # fmt: skip


def _with_options(command: Command) -> Command:
    for option in reversed((*WHERE, *WHAT, *PROOF)):
        command = option(command)
    return command


@examples(
    "pi-cache import images/",
    "pi-cache import --rows train_PIr --columns train_PIc --recipe tgd-cifar10 "
    "--source imagefolder:train",
    "pi-cache import Data/cifar10 --recipe tgd-cifar10 --source imagefolder:Data/cifar10",
    "pi-cache import Result_img_id --recipe tda-kd-pamap2 --dtype float32",
    "pi-cache import Sample_Images_PI.mat --key PIs --shape 3,50,50 --recipe pi-net-cifar10",
    "pi-cache import images/ --given image.sigma=0.01 --given image.birth_range=0,0.3 --json",
)
@click.command("import")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@_with_options
@cache_option
@json_option
def import_images(
    paths: tuple[str, ...], cache: Path | None, as_json: bool, **options: Any
) -> None:
    """Make a store of persistence images that were made elsewhere; compute nothing.

    PATH is a folder of PNG images (CLASS/NAME.png, with or without train|test above; or the folder
    that holds train_PIr and train_PIc), a folder of .npy or .mat files with an image each, a folder
    of x<split>_org<fold>.npy, or one or several .npy, .npz or .mat files with an image a row.

    What nobody states of how they were made is recorded as unknown. With --source, some samples are
    computed again and compared, and ids and labels are those of the source; a difference is named,
    and the import refused. Running the same command again goes on where it stopped.
    """
    given = {name: value for name, value in options.items() if value not in (None, (), {})}
    import_folder = builder("import")
    try:
        done = import_folder(paths=paths, root=catalogue.parse_root(cache), say=say, **given)
    except InvalidSpec as error:
        raise click.UsageError(str(error)) from error
    document = done.to_dict()
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        for line in _summary(document):
            click.echo(line)
    if not document["status"].get("OK"):
        raise PiCacheError("no image is usable; see the problems of the store")


def _summary(document: dict[str, Any]) -> list[str]:
    """What an import did, for people."""
    status = ", ".join(f"{count:,} {name}" for name, count in document["status"].items())
    audit = document["audit"]
    verdict = "none: add --source to compare with recomputed samples"
    if audit is not None:
        verdict = f"{audit['verdict']}: {audit['compared']} samples compared"
    lines = [
        f"key      {document['key']}",
        f"path     {document['path']}",
        f"samples  {document['samples']:,}: {status}",
        f"known    {len(document['given'])} of {len(STATEABLE)} fields; see `pi-cache show`",
        f"audit    {verdict}",
        f"size     {document['bytes'] / 1e6:.1f} MB in {document['shards']} shards",
        f"time     {document['seconds']:.1f} s",
    ]
    if document["blank"]:
        lines.append(f"blank    {document['blank']:,} images hold nothing: empty diagrams?")
    return lines + [f"problem  {name}: {text}" for name, text in document["problems"].items()]
