"""A store as plain files, for programs that do not know it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from pi_cache.commands.options import cache_option, examples, json_option, say
from pi_cache.export import Exported, export, select
from pi_cache.export_npy import npy_files
from pi_cache.export_webdataset import default_shard, tar_files
from pi_cache.quantities import bytes_text
from pi_cache.reader import open_store

folder = click.Path(path_type=Path, file_okay=False)
HOW = {
    "npy": 'numpy.load("{0}/images.npy", mmap_mode="r")',
    "webdataset": 'webdataset.WebDataset("{0}/shard-{{000000..{1:06d}}}.tar")',
}


@examples(
    "pi-cache export 3f2a9c --npy digits-npy",
    "pi-cache export 3f2a9c --webdataset digits-tar --shard-samples 25 --inputs --json",
)
@click.command("export")
@click.argument("store")
@click.option("--npy", type=folder, metavar="DIR", help="Write NumPy arrays and lists there.")
@click.option("--webdataset", type=folder, metavar="DIR", help="Write tar files there.")
@click.option("--split", help="The samples of this split only.")
@click.option("--inputs", is_flag=True, help="The stored raw samples as well.")
@click.option(
    "--shard-samples",
    type=click.IntRange(min=1),
    help="Samples of a tar.  [default: for about 270 MB]",
)
@click.option("--no-space-check", is_flag=True, help="Begin even where the disk looks too small.")
@cache_option
@json_option
def export_store(
    store: str,
    npy: Path | None,
    webdataset: Path | None,
    split: str | None,
    inputs: bool,
    shard_samples: int | None,
    no_space_check: bool,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Write the OK samples of STORE as plain files that need nothing of this project.

    --npy: images.npy (samples, channels, persistence, birth), labels.npy, samples.npy (their
    numbers in the store), ids.txt, and groups.txt and splits.txt where there are such.
    --webdataset: tar files of NUMBER.npy and NUMBER.json, the same bytes each time. Both come with
    spec.json, which has the spec, the axes, the channels and the SHA-256 of every file. Values are
    as stored: uint8 images hold 255 times the value, Gramian angular fields 255 (value + 1) / 2.

    Run the same command again to go on after a stop. A folder that holds anything else is refused.
    """
    if (npy is None) == (webdataset is None):
        raise click.UsageError("give --npy DIR or --webdataset DIR")
    if npy is not None and shard_samples is not None:
        raise click.UsageError("--shard-samples goes with --webdataset")
    selected = select(open_store(store, root=cache), split=split, inputs=inputs)
    check = not no_space_check
    if npy is not None:
        done = export(selected, npy, "npy", npy_files(selected), check_space=check, say=say)
    elif webdataset is not None:
        size = shard_samples or default_shard(selected)
        contents, settings = tar_files(selected, size), {"shard_samples": size}
        done = export(
            selected,
            webdataset,
            "webdataset",
            contents,
            settings=settings,
            check_space=check,
            say=say,
        )
    _tell(done, as_json)


def _tell(done: Exported, as_json: bool) -> None:
    document = {**asdict(done), "folder": str(done.folder), "left_out": dict(done.left_out)}
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        for name in ("folder", "form", "samples", "files"):
            click.echo(f"{name:<8} {document[name]}")
        click.echo(f"{'size':<8} {bytes_text(done.bytes)}")
    for name, count in done.left_out.items():
        say(f"left out: {count} samples that are {name}")
    if done.found:
        say("it was there already, and its digests hold")
    elif done.kept:
        say(f"{done.kept} files were there already, of an export that was stopped")
    say(f"read it with {HOW[done.form].format(done.folder, done.files - 1)}")
